/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/hash.h"
#include "ledger/sqlite/sqlite.h"

/* Texts that rows refer to by their hash: they are never changed, so one copy serves all. */

static enum op_rc put(struct op_ledger *ledger, enum op_sq_id id, const char *sql,
                      const char *sha_hex, struct op_str text, const char *what,
                      struct op_err *err)
{
    if (text.len > OP_SQ_MAX_TEXT)
        return op_fail(err, OP_INVAL, "%s is larger than %lld bytes", what,
                       (long long)OP_SQ_MAX_TEXT);
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(ledger, id, sql, &stmt, err);
    if (rc)
        return rc;
    op_sq_text(stmt, 1, sha_hex);
    (void)sqlite3_bind_blob64(stmt, 2, text.ptr ? text.ptr : "", text.len, SQLITE_STATIC);
    return op_sq_run(ledger, stmt, what, NULL, err);
}

/* *ret stays NULL when there is no such text. */
static enum op_rc get(struct op_ledger *ledger, enum op_sq_id id, const char *sql,
                      const char *sha_hex, char **ret, size_t *ret_len, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, id, sql, &stmt, err);
    if (rc)
        return rc;
    op_sq_text(stmt, 1, sha_hex);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "read a frozen text", &row, err);
    if (rc)
        return rc;
    *ret = NULL;
    if (row) {
        const void *ptr = sqlite3_column_blob(stmt, 0);
        *ret_len = (size_t)sqlite3_column_bytes(stmt, 0);
        *ret = op_mem_strndup(ptr ? ptr : "", *ret_len);
    }
    op_sq_done(ledger, stmt);
    return OP_OK;
}

enum op_rc op_ledger_definition_put(struct op_ledger *ledger, const char *sha_hex,
                                    struct op_str text, struct op_err *err)
{
    return put(ledger, OP_SQ_DEFINITION_PUT,
               "INSERT INTO definition(sha256, text) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
               sha_hex, text, "the definition", err);
}

enum op_rc op_ledger_definition_get(struct op_ledger *ledger, const char *sha_hex, char **ret,
                                    size_t *ret_len, struct op_err *err)
{
    char *text = NULL;
    enum op_rc rc =
        get(ledger, OP_SQ_DEFINITION_GET, "SELECT text FROM definition WHERE sha256 = ?1",
            sha_hex, &text, ret_len, err);
    if (rc)
        return rc;
    if (!text)
        return op_fail(err, OP_NOTFOUND, "there is no definition %s in %s", sha_hex,
                       ledger->path);
    *ret = text;
    return OP_OK;
}

enum op_rc op_ledger_prices_put(struct op_ledger *ledger, const char *sha_hex,
                                struct op_str text, struct op_err *err)
{
    return put(ledger, OP_SQ_PRICES_PUT,
               "INSERT INTO price_list(sha256, text) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
               sha_hex, text, "the price list", err);
}

enum op_rc op_ledger_prices_get(struct op_ledger *ledger, const char *sha_hex, char **ret,
                                size_t *ret_len, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *text = NULL;
    size_t len = 0;
    char sha[OP_SHA256_HEX];
    enum op_rc rc =
        get(ledger, OP_SQ_PRICES_GET, "SELECT text FROM price_list WHERE sha256 = ?1", sha_hex,
            &text, &len, err);
    if (rc)
        return rc;
    if (text)
        op_sha256_hex(text, len, sha);
    if (!text || strcmp(sha, sha_hex) != 0)
        return op_fail(err, OP_IO,
                       "the price list %s in %s, with which batches were built, is %s; put a "
                       "copy of the ledger back",
                       sha_hex, ledger->path, text ? "changed" : "missing");
    *ret = OP_TAKE(text);
    *ret_len = len;
    return OP_OK;
}
