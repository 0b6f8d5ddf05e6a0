/* SPDX-License-Identifier: MIT */
/*
 * What a crash, or somebody else, may have left in the spool: manifest, black box, realtime log.
 * Input: a byte for the file, one for how much a read yields, then the file.
 * Oracle: a reader tells of no batch that is not positive, of none of another ledger, of no request
 *         behind damage; what is written behind such a file is read again.
 */
#include "base/hash.h"
#include "fuzz.h"
#include "ledger/asklog.h"
#include "ledger/blackbox.h"
#include "ledger/manifest.h"
#include "ledger/spool_dir.h"
#include "memory_files.h"

#define UUID "00000000-0000-4000-8000-000000000001"

static enum op_rc on_batch(void *arg, int64_t batch, const char *nonce,
                           enum op_manifest_word word, struct op_err *err)
{
    (void)err;
    FUZZ_CHECK(batch > 0 && strlen(nonce) <= OP_NONCE_LEN, "batch %lld '%s'", (long long)batch,
               nonce);
    FUZZ_CHECK(word <= OP_MANIFEST_WITHDRAWN, "word %d", (int)word);
    *(int64_t *)arg = batch;
    return OP_OK;
}

static void manifest(struct memory_files *fs, struct op_spool *spool, struct op_str text)
{
    struct op_err err = OP_ERR_INIT;
    struct op_witness witness;
    int64_t last = 0;
    memory_files_put(fs, "/s/" OP_MANIFEST_FILE, text);
    FUZZ_CHECK(!op_manifest_witness(&fs->env, "/s", UUID, 0, &witness, &err), "%s", err.msg);
    FUZZ_CHECK(witness.size == (int64_t)text.len && witness.batch_id <= witness.highest,
               "%lld of %zu bytes", (long long)witness.size, text.len);
    FUZZ_CHECK(!op_manifest_walk(&fs->env, "/s", UUID, on_batch, &last, &err), "%s", err.msg);
    FUZZ_CHECK(!op_manifest_add(spool,
                                "{\"ledger\":\"" UUID "\",\"batch\":77,\"nonce\":\"abcdefgh\"}",
                                &err),
               "%s", err.msg);
    FUZZ_CHECK(!op_manifest_walk(&fs->env, "/s", UUID, on_batch, &last, &err) && last == 77,
               "the line that was added is not the last: %lld", (long long)last);
}

static enum op_rc on_slot(void *arg, const struct op_blackbox_entry *entry, struct op_err *err)
{
    (void)err;
    bool *found = arg;
    FUZZ_CHECK(entry->nonce && entry->provider_id, "NULL");
    *found |= entry->batch_id == 9 && strcmp(entry->provider_id, "batch_x") == 0;
    return OP_OK;
}

/* The text as slots; where a slot begins like one, its checksum is mended, so that the reading goes on
 * behind it. */
static void blackbox(struct memory_files *fs, struct op_str text)
{
    enum { TEXT = OP_BLACKBOX_SLOT - 17 };
    struct op_err err = OP_ERR_INIT;
    bool found = false;
    OP_CLEANUP(op_buf_release) struct op_buf file;
    op_buf_init(&file, OP_BLACKBOX_BYTES);
    while (text.len > 0 && file.len + OP_BLACKBOX_SLOT <= OP_BLACKBOX_BYTES) {
        char slot[OP_BLACKBOX_SLOT], hex[OP_SHA256_HEX];
        struct op_str line = op_str_cut(&text, '\n');
        memset(slot, ' ', sizeof(slot));
        memcpy(slot, line.ptr, line.len < TEXT ? line.len : TEXT);
        op_sha256_hex(slot, TEXT, hex);
        memcpy(slot + TEXT, hex, 16);
        op_buf_add(&file, slot, sizeof(slot));
    }
    memory_files_put(fs, "/s/blackbox", op_buf_str(&file));
    enum op_rc rc = op_blackbox_walk(&fs->env, "/s", UUID, on_slot, &found, &err);
    FUZZ_CHECK(!rc, "%s", err.msg);
    found = false;
    struct op_blackbox_entry entry = {9, "abcdefgh", "batch_x", 5};
    rc = op_blackbox_write(&fs->env, "/s", UUID, &entry, &err);
    if (!rc)
        rc = op_blackbox_walk(&fs->env, "/s", UUID, on_slot, &found, &err);
    FUZZ_CHECK(!rc && found, "the entry that was written is not there: %s", err.msg);
}

static enum op_rc on_ask(void *arg, enum op_ask_event event, int64_t request,
                         struct op_str line, struct op_err *err)
{
    (void)err;
    FUZZ_CHECK(event <= OP_ASK_BACK && request > 0, "request %lld", (long long)request);
    FUZZ_CHECK((event == OP_ASK_ANSWERED) == (line.ptr != NULL), "a line");
    if (line.ptr)
        FUZZ_CHECK(!memchr(line.ptr, '\n', line.len), "two lines");
    *(int64_t *)arg = request;
    return OP_OK;
}

/* Each line of the text is a block, with a sum that fits unless it begins with 'x'. */
static void write_blocks(struct op_buf *file, struct op_str text)
{
    while (text.ptr) {
        struct op_str block = op_str_cut(&text, '\x1e');
        char hex[OP_SHA256_HEX];
        op_sha256_hex(block.ptr, block.len, hex);
        if (op_str_starts(block, "x"))
            hex[0] = '-';
        op_buf_addf(file, "= %zu %.16s\n", block.len, hex);
        op_buf_add_str(file, block);
    }
}

static void asklog(struct memory_files *fs, struct op_spool *spool, struct op_str text)
{
    OP_CLEANUP(op_buf_release) struct op_buf file;
    struct op_err err = OP_ERR_INIT;
    struct op_asklog log;
    int64_t last = 0;
    op_buf_init(&file, 64 * 1024 * 1024);
    if (op_str_starts(text, "raw")) {
        op_buf_add(&file, text.ptr + 3, text.len - 3);
    } else {
        write_blocks(&file, text);
    }
    memory_files_put(fs, "/s/spool/realtime/1-abcdefgh.log", op_buf_str(&file));
    enum op_rc rc = op_asklog_read(spool, "realtime/1-abcdefgh.log", on_ask, &last, &err);
    if (rc)
        fuzz_check_error(rc, &err);
    op_err_clear(&err);
    rc = op_asklog_open(spool, "realtime/1-abcdefgh.log", on_ask, &last, &log, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        return;
    }
    op_asklog_answered(&log, 4711, OP_STR("{}"));
    rc = op_asklog_commit(&log, &err);
    FUZZ_CHECK(!rc, "%s", err.msg);
    op_asklog_close(&log);
    rc = op_asklog_read(spool, "realtime/1-abcdefgh.log", on_ask, &last, &err);
    FUZZ_CHECK(!rc && last == 4711, "the answer that was written is not there: %s", err.msg);
}

FUZZ_TARGET(spool)
{
    char state[] = "/s", root[] = "/s/spool";
    size_t which = fuzz_pick(in, 3);
    struct memory_files fs;
    memory_files_init(&fs, fuzz_byte(in));
    struct op_spool spool = {
        .env = &fs.env, .state_dir = state, .root = root, .writable = true};
    struct op_str text = fuzz_rest(in);
    if (which == 0)
        manifest(&fs, &spool, text);
    else if (which == 1)
        blackbox(&fs, text);
    else
        asklog(&fs, &spool, text);
    memory_files_release(&fs);
}
