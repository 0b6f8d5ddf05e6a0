/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "ledger/blackbox.h"
#include "ledger/manifest.h"
#include "ledger/sqlite/sqlite.h"

/*
 * A ledger must be one: a copy of it that sends would buy everything a second time, and one that
 * was put back from a backup has forgotten what it bought since. Two witnesses outside the database
 * show that: the manifest names every batch before it is sent, and place (the inode of the folder)
 * with machine tells a copied or moved folder. Either makes the ledger suspect: it goes on polling
 * and applying, but sends nothing until the operator has said that this is the one.
 */
struct identity {
    char place[32];
    char machine[40];
    char *suspect;
    int64_t manifest_seen;
    int64_t highest; /* batch id in the table */
};

static void identity_release(struct identity *id)
{
    op_mem_freep(&id->suspect);
}

static void look_place(struct op_ledger *ledger, struct identity *ret)
{
    struct stat st;
    ret->place[0] = '\0';
    if (stat(ledger->dir, &st) == 0)
        snprintf(ret->place, sizeof(ret->place), "%llu", (unsigned long long)st.st_ino);
    struct op_buf text;
    op_buf_init(&text, 4096);
    struct op_err ignored = OP_ERR_INIT; /* containers often have none, and that is no harm */
    ret->machine[0] = '\0';
    if (op_io_read_file(ledger->env, "/etc/machine-id", &text, &ignored) == OP_OK) {
        struct op_str id = op_str_trim(op_buf_str(&text));
        snprintf(ret->machine, sizeof(ret->machine), OP_STR_FMT,
                 (int)(id.len < 39 ? id.len : 39), id.ptr);
    }
    op_buf_release(&text);
}

static void make_uuid(struct op_env *env, char ret[37])
{
    uint8_t b[16];
    env->ops->random(env, b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(ret, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
             b[13], b[14], b[15]);
}

static enum op_rc step_once(struct op_ledger *ledger, sqlite3_stmt *stmt, const char *what,
                            struct op_err *err)
{
    enum op_rc rc = OP_OK;
    if (sqlite3_step(stmt) != SQLITE_DONE)
        rc = op_sq_describe(ledger->db, ledger->path, what, err);
    sqlite3_finalize(stmt);
    return rc;
}

static enum op_rc create(struct op_ledger *ledger, const struct identity *here,
                         struct op_err *err)
{
    char uuid[37], nonce[OP_NONCE_LEN + 1];
    uint8_t random[5];
    make_uuid(ledger->env, uuid);
    ledger->env->ops->random(ledger->env, random, sizeof(random));
    op_nonce_format(random, nonce);
    nonce[OP_LEDGER_TAG_LEN] = '\0';
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(ledger->db,
                           "INSERT INTO identity(id, uuid, tag, created_ms, place, machine)"
                           " VALUES (1, ?1, ?2, ?3, ?4, ?5)",
                           -1, &stmt, NULL))
        return op_sq_describe(ledger->db, ledger->path, "name the ledger", err);
    op_sq_text(stmt, 1, uuid);
    op_sq_text(stmt, 2, nonce);
    op_sq_int(stmt, 3, ledger->env->ops->now_ms(ledger->env));
    op_sq_text(stmt, 4, here->place);
    op_sq_text(stmt, 5, here->machine);
    return step_once(ledger, stmt, "name the ledger", err);
}

static enum op_rc load(struct op_ledger *ledger, struct identity *ret, bool *ret_found,
                       struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int step = sqlite3_prepare_v2(
        ledger->db,
        "SELECT uuid, tag, place, machine, suspect, manifest_seen,"
        " max(first_batch - 1, (SELECT coalesce(max(id), 0) FROM batch)) FROM identity",
        -1, &stmt, NULL);
    if (step == SQLITE_OK)
        step = sqlite3_step(stmt);
    *ret_found = step == SQLITE_ROW;
    enum op_rc rc = OP_OK;
    if (step == SQLITE_ROW) {
        op_sq_chars(stmt, 0, ledger->uuid, sizeof(ledger->uuid));
        op_sq_chars(stmt, 1, ledger->tag, sizeof(ledger->tag));
        op_sq_chars(stmt, 2, ret->place, sizeof(ret->place));
        op_sq_chars(stmt, 3, ret->machine, sizeof(ret->machine));
        ret->suspect = op_sq_dup(stmt, 4);
        ret->manifest_seen = sqlite3_column_int64(stmt, 5);
        ret->highest = sqlite3_column_int64(stmt, 6);
    } else if (step != SQLITE_DONE) {
        rc = op_sq_describe(ledger->db, ledger->path, "read who the ledger is", err);
    }
    sqlite3_finalize(stmt);
    return rc;
}

/* The nonce the ledger knows for a batch; "" when it has no such batch. */
static enum op_rc known_nonce(struct op_ledger *ledger, int64_t batch_id,
                              char ret[OP_NONCE_LEN + 1], struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int step = sqlite3_prepare_v2(ledger->db, "SELECT nonce FROM batch WHERE id = ?1", -1,
                                  &stmt, NULL);
    if (step == SQLITE_OK) {
        op_sq_int(stmt, 1, batch_id);
        step = sqlite3_step(stmt);
    }
    enum op_rc rc = OP_OK;
    ret[0] = '\0';
    if (step == SQLITE_ROW)
        op_sq_chars(stmt, 0, ret, OP_NONCE_LEN + 1);
    else if (step != SQLITE_DONE)
        rc = op_sq_describe(ledger->db, ledger->path, "compare the manifest", err);
    sqlite3_finalize(stmt);
    return rc;
}

/* Why the ledger is not to be trusted, as an op_mem block; NULL: no reason. */
static enum op_rc find_reason(struct op_ledger *ledger, const struct identity *stored,
                              const struct identity *here, char **ret, struct op_err *err)
{
    struct op_witness witness;
    char nonce[OP_NONCE_LEN + 1];
    enum op_rc rc = op_manifest_witness(ledger->env, ledger->dir, ledger->uuid,
                                        stored->manifest_seen, &witness, err);
    if (!rc)
        rc = known_nonce(ledger, witness.batch_id, nonce, err);
    if (rc)
        return rc;
    if (strcmp(stored->place, here->place) != 0 || strcmp(stored->machine, here->machine) != 0)
        *ret =
            op_mem_printf("the folder %s is not where this ledger was made: it was copied or "
                          "moved, and a copy that sends would buy everything twice",
                          ledger->dir);
    else if (witness.batch_id > stored->highest)
        *ret = op_mem_printf(
            "batch %lld was sent according to %s, but the ledger ends at batch "
            "%lld: it was put back from a backup or has lost transactions",
            (long long)witness.batch_id, OP_MANIFEST_FILE, (long long)stored->highest);
    else if (witness.batch_id && nonce[0] && strcmp(nonce, witness.nonce) != 0)
        *ret =
            op_mem_printf("batch %lld was sent as '%s' according to %s, but the ledger knows "
                          "it as '%s': it was put back from a backup",
                          (long long)witness.batch_id, witness.nonce, OP_MANIFEST_FILE, nonce);
    else if (witness.foreign)
        *ret =
            op_mem_printf("%s names %lld batches of another ledger (%s): the ledger that "
                          "bought them is missing",
                          OP_MANIFEST_FILE, (long long)witness.foreign, witness.foreign_uuid);
    return OP_OK;
}

static enum op_rc store_reason(struct op_ledger *ledger, const char *reason, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(ledger->db, "UPDATE identity SET suspect = ?1", -1, &stmt, NULL))
        return op_sq_describe(ledger->db, ledger->path, "note a suspicion", err);
    op_sq_text(stmt, 1, reason);
    return step_once(ledger, stmt, "note a suspicion", err);
}

enum op_rc op_sq_identity(struct op_ledger *ledger, struct op_err *err)
{
    OP_CLEANUP(identity_release) struct identity stored = {.suspect = NULL};
    OP_CLEANUP(identity_release) struct identity here = {.suspect = NULL};
    look_place(ledger, &here);
    bool found = false;
    enum op_rc rc = load(ledger, &stored, &found, err);
    if (!rc && !found && ledger->mode == OP_LEDGER_READ)
        return op_fail(err, OP_NOTFOUND, "there is no ledger in %s yet", ledger->dir);
    if (!rc && !found) {
        rc = create(ledger, &here, err);
        if (!rc)
            rc = load(ledger, &stored, &found, err);
    }
    if (rc)
        return rc;
    if (stored.suspect[0]) {
        ledger->suspect = OP_TAKE(stored.suspect);
        return OP_OK;
    }
    rc = find_reason(ledger, &stored, &here, &ledger->suspect, err);
    /* Kept, because building further batches would bring the ledger level with its witness. */
    if (!rc && ledger->suspect && ledger->mode == OP_LEDGER_WRITE)
        rc = store_reason(ledger, ledger->suspect, err);
    return rc;
}

bool op_ledger_is_suspect(const struct op_ledger *ledger, struct op_str *ret_why)
{
    const char *why = ledger->suspect ? ledger->suspect : ledger->doubt;
    if (why && ret_why)
        *ret_why = op_str_from(why);
    return why != NULL;
}

bool op_ledger_in_doubt(const struct op_ledger *ledger)
{
    return ledger->doubt != NULL;
}

const char *op_ledger_remedy(const struct op_ledger *ledger)
{
    return ledger->suspect ? "offpeak recover --trust" : "offpeak recover";
}

enum op_rc op_ledger_proved(struct op_ledger *ledger, struct op_err *err)
{
    enum op_rc rc = op_blackbox_doubt(ledger->env, ledger->dir, ledger->uuid, "", err);
    if (!rc)
        op_mem_freep(&ledger->doubt);
    return rc;
}

enum op_rc op_ledger_trust(struct op_ledger *ledger, struct op_err *err)
{
    if (ledger->tx != OP_SQ_TX_NONE)
        return op_fail(err, OP_INVAL, "a transaction is open on %s", ledger->path);
    struct identity here = {.suspect = NULL};
    look_place(ledger, &here);
    struct op_witness witness;
    enum op_rc rc =
        op_manifest_witness(ledger->env, ledger->dir, ledger->uuid, 0, &witness, err);
    sqlite3_stmt *stmt = NULL;
    if (!rc)
        rc = op_sq_get_write(ledger, OP_SQ_IDENTITY_TRUST,
                             "UPDATE identity SET suspect = '', place = ?1, machine = ?2,"
                             " manifest_seen = ?3, first_batch = max(first_batch, ?4)",
                             &stmt, err);
    if (rc)
        return rc;
    op_sq_text(stmt, 1, here.place);
    op_sq_text(stmt, 2, here.machine);
    op_sq_int(stmt, 3, witness.size);
    /* Ids that the lost transactions had given out are never used again. */
    op_sq_int(stmt, 4, witness.highest + 1);
    rc = op_sq_run(ledger, stmt, "trust the ledger", NULL, err);
    if (!rc)
        rc = op_sq_read_next(ledger, err);
    if (!rc)
        op_mem_freep(&ledger->suspect);
    return rc;
}
