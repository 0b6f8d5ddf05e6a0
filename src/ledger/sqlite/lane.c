/* SPDX-License-Identifier: MIT */
#include "ledger/sqlite/sqlite.h"

#define LANE_COLUMNS "id, provider, base_url, fingerprint, paused_until_ms, reason"

void op_lane_row_release(struct op_lane_row *row)
{
    op_mem_free(row->provider);
    op_mem_free(row->base_url);
    op_mem_free(row->fingerprint);
    op_mem_free(row->reason);
    *row = (struct op_lane_row){0};
}

static void read_lane(sqlite3_stmt *stmt, struct op_lane_row *ret)
{
    *ret = (struct op_lane_row){
        .id = sqlite3_column_int64(stmt, 0),
        .provider = op_sq_dup(stmt, 1),
        .base_url = op_sq_dup(stmt, 2),
        .fingerprint = op_sq_dup(stmt, 3),
        .paused_until_ms = sqlite3_column_int64(stmt, 4),
        .reason = op_sq_dup(stmt, 5),
    };
}

static void bind_lane(sqlite3_stmt *stmt, const char *provider, const char *base_url,
                      const char *fingerprint)
{
    op_sq_text(stmt, 1, provider);
    op_sq_text(stmt, 2, base_url);
    op_sq_text(stmt, 3, fingerprint);
}

static enum op_rc find_lane(struct op_ledger *ledger, const char *provider,
                            const char *base_url, const char *fingerprint,
                            struct op_lane_row *ret, bool *ret_found, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_LANE_FIND,
                              "SELECT " LANE_COLUMNS " FROM lane WHERE provider = ?1"
                              " AND base_url = ?2 AND fingerprint = ?3",
                              &stmt, err);
    if (rc)
        return rc;
    bind_lane(stmt, provider, base_url, fingerprint);
    rc = op_sq_row(ledger, stmt, "look up a lane", ret_found, err);
    if (rc)
        return rc;
    if (*ret_found)
        read_lane(stmt, ret);
    op_sq_done(ledger, stmt);
    return OP_OK;
}

enum op_rc op_ledger_lane(struct op_ledger *ledger, const char *provider, const char *base_url,
                          const char *fingerprint, struct op_lane_row *ret, struct op_err *err)
{
    bool found = false;
    enum op_rc rc = find_lane(ledger, provider, base_url, fingerprint, ret, &found, err);
    if (rc || found)
        return rc;
    sqlite3_stmt *stmt = NULL;
    rc = op_sq_get_write(ledger, OP_SQ_LANE_ADD,
                         "INSERT INTO lane(provider, base_url, fingerprint) VALUES (?1, ?2, ?3)"
                         " ON CONFLICT DO NOTHING",
                         &stmt, err);
    if (rc)
        return rc;
    bind_lane(stmt, provider, base_url, fingerprint);
    rc = op_sq_run(ledger, stmt, "add a lane", NULL, err);
    if (!rc)
        rc = find_lane(ledger, provider, base_url, fingerprint, ret, &found, err);
    if (!rc && !found)
        return op_fail(err, OP_IO, "a lane just added is not in %s", ledger->path);
    return rc;
}

enum op_rc op_ledger_lane_pause(struct op_ledger *ledger, int64_t lane_id, int64_t until_ms,
                                const char *reason, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(
        ledger, OP_SQ_LANE_PAUSE,
        "UPDATE lane SET paused_until_ms = ?2, reason = ?3 WHERE id = ?1", &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, lane_id);
    op_sq_int(stmt, 2, until_ms);
    op_sq_text(stmt, 3, reason);
    int64_t changes = 0;
    rc = op_sq_run(ledger, stmt, "pause a lane", &changes, err);
    if (!rc && !changes)
        return op_fail(err, OP_NOTFOUND, "there is no lane %lld", (long long)lane_id);
    return rc;
}

enum op_rc op_ledger_lanes(struct op_ledger *ledger, op_lane_fn fn, void *arg,
                           struct op_err *err)
{
    enum op_rc rc = OP_OK;
    int64_t after = 0;
    while (!rc) {
        sqlite3_stmt *stmt = NULL;
        rc = op_sq_get(ledger, OP_SQ_LANES,
                       "SELECT " LANE_COLUMNS " FROM lane WHERE id > ?1 ORDER BY id LIMIT 1",
                       &stmt, err);
        if (rc)
            break;
        op_sq_int(stmt, 1, after);
        bool row = false;
        rc = op_sq_row(ledger, stmt, "list the lanes", &row, err);
        if (rc)
            break;
        OP_CLEANUP(op_lane_row_release) struct op_lane_row lane = {0};
        if (row)
            read_lane(stmt, &lane);
        op_sq_done(ledger, stmt);
        if (!row)
            break;
        after = lane.id;
        rc = fn(arg, &lane, err);
    }
    return rc;
}
