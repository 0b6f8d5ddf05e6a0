/* SPDX-License-Identifier: MIT */
/*
 * Our ->, ->>, json_extract, json_type, json_array_length and json_each. Input: a path up to a NUL
 * byte, then the document.
 * Oracle: SQLite's own functions of the same names on a plain connection, value by value.
 */
#include <sqlite3.h>

#include "fuzz.h"
#include "pipeline_fixture.h"

#define EACH                                                                                \
    "(SELECT group_concat(key || ':' || type || ':' || quote(atom) || ':' || fullkey, ' ')" \
    " FROM json_each(?1, ?2))"

static const char *const selects[] = {
    "json_extract(?1, ?2)",
    "?1 -> ?2",
    "?1 ->> ?2",
    "json_type(?1, ?2)",
    "json_array_length(?1, ?2)",
    "json_type(?1)",
    EACH,
    "(SELECT group_concat(quote(value), ' ') FROM json_each(?1))",
};

static void quote(struct op_buf *out, const char *text)
{
    op_buf_addc(out, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            op_buf_addc(out, '\'');
        op_buf_addc(out, *text);
    }
    op_buf_addc(out, '\'');
}

/* The expression with its two parameters written out: both sides are given the same text. */
static void write_select(struct op_buf *out, const char *expression, const char *document,
                         const char *path)
{
    op_buf_addz(out, "SELECT ");
    for (const char *p = expression; *p; p++) {
        if (p[0] == '?' && (p[1] == '1' || p[1] == '2'))
            quote(out, *++p == '1' ? document : path);
        else
            op_buf_addc(out, *p);
    }
}

/* As pipeline_select, but by SQLite alone; any error is "!". */
static char *plain_select(sqlite3 *db, const char *text)
{
    struct op_buf out;
    sqlite3_stmt *stmt = NULL;
    op_buf_init(&out, 64 * 1024 * 1024);
    op_buf_addz(&out, "");
    int rc = sqlite3_prepare_v2(db, text, -1, &stmt, NULL);
    while (!rc && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct op_str s = {(const char *)sqlite3_column_text(stmt, 0),
                           (size_t)sqlite3_column_bytes(stmt, 0)};
        struct op_value v = op_value_text(s);
        if (sqlite3_column_type(stmt, 0) == SQLITE_INTEGER)
            v = op_value_int(sqlite3_column_int64(stmt, 0));
        else if (sqlite3_column_type(stmt, 0) == SQLITE_FLOAT)
            v = op_value_double(sqlite3_column_double(stmt, 0));
        pipeline_add_cell(&out, v);
        op_buf_addc(&out, '\n');
        rc = SQLITE_OK;
    }
    if (rc && rc != SQLITE_DONE) {
        op_buf_clear(&out);
        op_buf_addc(&out, '!');
    }
    sqlite3_finalize(stmt);
    char *all = op_buf_take(&out);
    op_buf_release(&out);
    return all;
}

FUZZ_TARGET(sql_json)
{
    static sqlite3 *plain;
    const struct pipeline_fixture *f = pipeline_fixture();
    /* Later versions read more than JSON; what all agree on is a unit test's. */
    if (sqlite3_libversion_number() >= 3041000)
        return;
    if (!plain)
        FUZZ_CHECK(!sqlite3_open(":memory:", &plain), "no memory");
    OP_CLEANUP(op_mem_freep) char *path = fuzz_text(fuzz_until(in, '\0'));
    OP_CLEANUP(op_mem_freep) char *document = fuzz_text(fuzz_rest(in));
    /* SQLite makes text that is no UTF-8 of a lone surrogate, we make U+FFFD: that is meant. */
    if (strcasestr(document, "\\ud") || strcasestr(path, "\\ud"))
        return;
    op_sqlenv_set(f->sql, &(struct op_context){.request = -1, .problem = OP_STR("")});
    for (size_t i = 0; i < OP_COUNT(selects); i++) {
        OP_CLEANUP(op_buf_release) struct op_buf text;
        op_buf_init(&text, 64 * 1024 * 1024);
        write_select(&text, selects[i], document, path);
        OP_CLEANUP(op_mem_freep) char *want = plain_select(plain, text.ptr);
        OP_CLEANUP(op_mem_freep) char *got = pipeline_select(f->sql, op_buf_str(&text));
        bool same = want[0] == '!' ? got[0] == '!' : strcmp(want, got) == 0;
        FUZZ_CHECK(same, "%s\n gives %s\n want %s", text.ptr, got, want);
    }
}
