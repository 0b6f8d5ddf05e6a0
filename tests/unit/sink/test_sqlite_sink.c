/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the sqlite output: the table it makes, upsert, existing tables, refused rows, a locked
 *            database, several databases, rows in any number.
 * Oracle:    what SELECT gives afterwards, as text with types; tables of messages.
 */
#include <sqlite3.h>

#include "support.h"

static const struct test_sink spec = {.kind = "sqlite",
                                      .target = "d/t.db",
                                      .columns = {"id", "v", "x"},
                                      .key = {"id"},
                                      .options = {{"table", "rows"}}};

/* Runs SQL; rows as "a|b" lines, each cell with its type. */
static char *query(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    struct op_buf out;
    op_buf_init(&out, 1 << 20);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    for (const char *rest = sql; *rest;) {
        if (sqlite3_prepare_v2(db, rest, -1, &stmt, &rest) != SQLITE_OK)
            fail_msg("%s: %s", sql, sqlite3_errmsg(db));
        int code;
        while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
            for (int i = 0; i < sqlite3_column_count(stmt); i++) {
                int type = sqlite3_column_type(stmt, i);
                const char *text = (const char *)sqlite3_column_text(stmt, i);
                op_buf_addf(&out, "%s%c%s", i ? "|" : "", "?IDTBN"[type], text ? text : "");
            }
            op_buf_addc(&out, '\n');
        }
        assert_int_equal(code, SQLITE_DONE);
        sqlite3_finalize(stmt);
    }
    sqlite3_close(db);
    char *text = op_buf_take(&out);
    op_buf_release(&out);
    return text;
}

static void query_is(const char *path, const char *sql, const char *want)
{
    char *got = query(path, sql);
    assert_string_equal(got, want);
    op_mem_free(got);
}

static const char all[] = "SELECT * FROM rows ORDER BY 1";

static void fresh_and_again(void **state)
{
    (void)state;
    int64_t live = op_mem_live();
    struct op_sink *sink = test_sink(&spec);
    test_rows(sink, "1|a|2.5\n-9000000000|N|text\n1|b|7", false);
    test_deliver(sink, 0, 0);
    test_file_is(test_target, "(none)");
    for (int again = 0; again < 2; again++) {
        test_deliver(sink, 0, test_end);
        query_is(test_target, all, "I-9000000000|N|Ttext\nI1|Tb|D7.0\n");
    }
    query_is(
        test_target, "SELECT sql FROM sqlite_schema",
        "TCREATE TABLE \"rows\"(\"id\" INTEGER, \"v\" TEXT, \"x\" REAL, PRIMARY KEY(\"id\"))\n");
    /* The table is gone: it is made again from the whole outbox. */
    op_mem_free(query(test_target, "DROP TABLE rows"));
    int64_t half = test_end;
    test_rows(sink, "5|c|N", false);
    test_deliver(sink, half, test_end);
    query_is(test_target, all, "I-9000000000|N|Ttext\nI1|Tb|D7.0\nI5|Tc|N\n");
    op_sink_close(sink);
    assert_int_equal(op_mem_live(), live);
}

static void types_and_modes(void **state)
{
    (void)state;
    static const struct test_sink missing = {.kind = "sqlite",
                                             .target = "t.db",
                                             .columns = {"a", "b", "v"},
                                             .key = {"a", "b"},
                                             .options = {{"table", "rows"},
                                                         {"types", "a TEXT, v VARCHAR"},
                                                         {"mode", "insert_missing"}}};
    struct op_sink *sink = test_sink(&missing);
    test_rows(sink, "1|1|x\n1|2|y\n1|1|z", false);
    test_deliver(sink, 0, test_end);
    query_is(test_target, all, "T1|I1|Tx\nT1|I2|Ty\n");
    op_sink_close(sink);
    static const struct test_sink only_key = {.kind = "sqlite",
                                              .target = "k.db",
                                              .columns = {"id"},
                                              .key = {"id"},
                                              .options = {{"table", "rows"}}};
    sink = test_sink(&only_key);
    unlink(test_outbox);
    test_end = 0;
    test_rows(sink, "a\nb\na", false);
    test_deliver(sink, 0, test_end);
    query_is(test_target, all, "Ta\nTb\n");
    op_sink_close(sink);
}

/* Every type and size of a value comes back as it was. */
static void round_trip(void **state)
{
    (void)state;
    static const struct test_sink plain = {.kind = "sqlite",
                                           .target = "t.db",
                                           .columns = {"id", "v"},
                                           .key = {"id"},
                                           .options = {{"table", "rows"}}};
    struct op_value values[] = {
        op_value_null(),
        op_value_int(INT64_MIN),
        op_value_int(INT64_MAX),
        op_value_int(-1),
        op_value_int(63),
        op_value_int(64),
        op_value_double(-0.1),
        op_value_double(1e300),
        {.type = OP_VALUE_BLOB, .s = {"\0\1\2", 3}},
        {.type = OP_VALUE_BLOB, .s = {"", 0}},
        test_text(""),
        test_text("\xC3\xA9|\n"),
    };
    struct op_sink *sink = test_sink(&plain);
    struct op_buf frames;
    op_buf_init(&frames, 1 << 20);
    for (size_t i = 0; i < OP_COUNT(values); i++) {
        struct op_value cells[2] = {op_value_int((int64_t)i), values[i]};
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(op_sink_encode(sink, OP_STR_NULL, cells, &frames, &err), OP_OK);
    }
    test_append(&frames);
    op_buf_release(&frames);
    test_deliver(sink, 0, test_end);
    query_is(test_target, "SELECT typeof(v), quote(v) FROM rows ORDER BY id",
             "Tnull|TNULL\nTinteger|T-9223372036854775808\nTinteger|T9223372036854775807\n"
             "Tinteger|T-1\nTinteger|T63\nTinteger|T64\nTreal|T-0.1\nTreal|T1.0e+300\n"
             "Tblob|TX'000102'\nTblob|TX''\nTtext|T''\nTtext|T'\xC3\xA9|\n'\n");
    op_sink_close(sink);
}

static void existing_tables(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *want; /* want NULL: it fits */
    } cases[] = {
        {"CREATE TABLE rows(id INT UNIQUE, X, extra DEFAULT 5, v)", NULL},
        {"CREATE TABLE rows(id INT, v, x); CREATE UNIQUE INDEX i ON rows(id)", NULL},
        {"CREATE TABLE rows(id INTEGER PRIMARY KEY)",
         "the table 'rows' lacks columns of the output's rows: v, x; add them"},
        {"CREATE TABLE rows(id INT, v, x)",
         "the table 'rows' has no unique index on the output's key; make one: CREATE UNIQUE INDEX "
         "\"rows_key\" ON \"rows\"(\"id\")"},
        {"CREATE TABLE rows(id INT UNIQUE, v, x CHECK (x < 100))",
         "table 'rows' refuses the row with id = 60: CHECK constraint failed: x < 100"},
        {"CREATE TABLE rows(id INT UNIQUE, v NOT NULL, x)",
         "table 'rows' refuses the row with id = 61: NOT NULL constraint failed: rows.v"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        int64_t live = op_mem_live();
        struct op_sink *sink = test_sink(&spec);
        struct op_err err = OP_ERR_INIT;
        int64_t delivered = -1;
        unlink(test_outbox);
        unlink(test_target);
        test_end = 0;
        char folder[128];
        snprintf(folder, sizeof(folder), "%s/d", test_folder);
        assert_true(mkdir(folder, 0700) == 0 || errno == EEXIST);
        op_mem_free(query(test_target, cases[i].sql));
        for (int row = 0; row < 80; row++) {
            char text[64];
            snprintf(text, sizeof(text), "%d|%s|%d", row, row == 61 ? "N" : "a",
                     row == 60 ? 100 : 1);
            test_rows(sink, text, false);
        }
        enum op_rc rc = op_sink_deliver(sink, test_outbox, 0, test_end, true, &delivered, &err);
        assert_int_equal(rc, cases[i].want ? OP_INVAL : OP_OK);
        assert_int_equal(delivered, cases[i].want ? -1 : test_end);
        if (cases[i].want && !strstr(err.msg, cases[i].want))
            fail_msg("got: %s\nwant: %s", err.msg, cases[i].want);
        /* A refused row takes its transaction with it, nothing is half done. */
        query_is(test_target, "SELECT count(*) FROM rows", cases[i].want ? "I0\n" : "I80\n");
        op_sink_close(sink);
        assert_int_equal(op_mem_live(), live);
    }
}

static void bad_options(void **state)
{
    (void)state;
    static const struct {
        struct test_sink sink;
        const char *want;
    } cases[] = {
        {{.kind = "sqlite", .target = "t", .columns = {"id"}, .key = {"id"}},
         "p:9: the output kind 'sqlite' needs the option 'table'"},
        {{.kind = "sqlite", .target = "t", .columns = {"id"}, .options = {{"table", "t"}}},
         "p:9: the output kind 'sqlite' needs 'key'"},
        {{.kind = "sqlite",
          .target = "t",
          .columns = {"id"},
          .key = {"id"},
          .options = {{"table", "a b"}}},
         "p:9: 'a b' is no name for a table"},
        {{.kind = "sqlite",
          .target = "t",
          .columns = {"i d"},
          .key = {"i d"},
          .options = {{"table", "t"}}},
         "p:9: 'i d' is no name for a table's column"},
        {{.kind = "sqlite",
          .target = "t",
          .columns = {"id"},
          .key = {"id"},
          .options = {{"table", "t"}, {"types", "x TEXT"}}},
         "p:9: 'types' names 'x'"},
        {{.kind = "sqlite",
          .target = "t",
          .columns = {"id"},
          .key = {"id"},
          .options = {{"table", "t"}, {"types", "id"}}},
         "p:9: 'types' says no type for 'id'"},
        {{.kind = "sqlite",
          .target = "t",
          .columns = {"id"},
          .key = {"id"},
          .options = {{"table", "t"}, {"types", "id TEXT)"}}},
         "p:9: 'types' says no type for 'id'"},
        {{.kind = "sqlite",
          .target = "t",
          .columns = {"id"},
          .key = {"id"},
          .options = {{"table", "t"}, {"mode", "replace"}}},
         "p:9: option 'mode' is upsert or insert_missing, not 'replace'"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        int64_t live = op_mem_live();
        struct op_sink *sink = NULL;
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(test_try_sink(&cases[i].sink, &sink, &err), OP_INVAL);
        if (!op_str_starts(op_str_from(err.msg), cases[i].want))
            fail_msg("got: %s\nwant: %s", err.msg, cases[i].want);
        assert_int_equal(op_mem_live(), live);
    }
    struct op_sink *sink = test_sink(&spec);
    struct op_value cells[3] = {op_value_null(), op_value_null(), op_value_null()};
    struct op_buf out;
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&out, 1000);
    assert_int_equal(op_sink_encode(sink, OP_STR_NULL, cells, &out, &err), OP_INVAL);
    assert_int_equal(err.disp, OP_DISP_REJECT);
    op_buf_release(&out);
    op_sink_close(sink);
}

static void many_rows(void **state)
{
    (void)state;
    struct op_sink *sink = test_sink(&spec);
    struct op_buf frames;
    op_buf_init(&frames, 1 << 28);
    for (int64_t i = 0; i < 120007; i++) {
        struct op_value cells[3] = {op_value_int(i % 100000), op_value_int(i), op_value_null()};
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(op_sink_encode(sink, OP_STR_NULL, cells, &frames, &err), OP_OK);
    }
    test_append(&frames);
    op_buf_release(&frames);
    test_deliver(sink, 0, test_end);
    query_is(test_target,
             "SELECT count(*), sum(v = id), sum(v = id + 100000), max(id) FROM rows",
             "I100000|I79993|I20007|I99999\n");
    op_sink_close(sink);
}

static void many_databases(void **state)
{
    (void)state;
    static const struct test_sink each = {.kind = "sqlite",
                                          .target = "{{g}}.db",
                                          .columns = {"id"},
                                          .key = {"id"},
                                          .options = {{"table", "rows"}},
                                          .per_row_path = true};
    struct op_sink *sink = test_sink(&each);
    test_rows(sink, "a.db|1\nb.db|2\na.db|3", true);
    test_deliver(sink, 0, test_end);
    char path[128];
    snprintf(path, sizeof(path), "%s/a.db", test_folder);
    query_is(path, all, "I1\nI3\n");
    snprintf(path, sizeof(path), "%s/b.db", test_folder);
    query_is(path, all, "I2\n");
    op_sink_close(sink);
}

static void not_a_database(void **state)
{
    (void)state;
    static const struct test_sink plain = {.kind = "sqlite",
                                           .target = "t.db",
                                           .columns = {"id"},
                                           .key = {"id"},
                                           .options = {{"table", "rows"}}};
    struct op_sink *sink = test_sink(&plain);
    struct op_err err = OP_ERR_INIT;
    int64_t delivered = -1;
    char text[200];
    memset(text, 'x', sizeof(text));
    test_write_file(test_target, text, sizeof(text));
    test_rows(sink, "1", false);
    assert_int_equal(op_sink_deliver(sink, test_outbox, 0, test_end, true, &delivered, &err),
                     OP_INVAL);
    assert_non_null(strstr(err.msg, "file is not a database"));
    op_sink_close(sink);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fresh_and_again), TEST(types_and_modes), TEST(round_trip),
        TEST(existing_tables), TEST(bad_options),     TEST(many_rows),
        TEST(many_databases),  TEST(not_a_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
