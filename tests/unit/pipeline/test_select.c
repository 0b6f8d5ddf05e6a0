/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: inputs staged and streamed, keys, done, limit, malformed rows, require, the records as
 *            JSON, indexes where a SELECT per result searches.
 * Oracle:    the records listed as text, and messages, in tables.
 */
#include <sqlite3.h>

#include "base/json.h"
#include "support_sql.h"

#define CSV "inputs: {t: {csv: \"{{dir}}/t.csv\"}}\n"

static void note(void *arg, const char *message)
{
    op_buf_addf(arg, "~%s\n", message);
}

/* Every record: "key=cells" with the place; or "!" and the message. */
static char *list_records(struct world *w)
{
    struct op_buf out;
    struct op_err err = OP_ERR_INIT;
    struct op_select *select = NULL;
    struct op_record record;
    op_buf_init(&out, 1024 * 1024);
    enum op_rc rc =
        op_select_open(op_env_default(), w->plan, w->staged, note, &out, &select, &err);
    while (!rc && !(rc = op_select_next(select, &record, &err))) {
        assert_int_equal(record.key.ptr[record.key.len], '\0');
        op_buf_addf(&out, "%s=", record.key.ptr);
        for (size_t i = 0; i < w->plan->record_column_count; i++) {
            if (i)
                op_buf_addc(&out, '|');
            add_cell(&out, record.cells[i]);
        }
        const char *place = strrchr(record.place, '/');
        op_buf_addf(&out, " %lld@%s\n", (long long)record.number,
                    place ? place + 1 : record.place);
    }
    if (rc != OP_NOTFOUND || err.rc)
        op_buf_addf(&out, "!%s\n", err.msg);
    else
        op_buf_addf(&out, "done %lld bad %lld\n", (long long)op_select_done(select),
                    (long long)op_select_skipped(select));
    op_select_close(select);
    char *text = op_buf_take(&out);
    op_buf_release(&out);
    return text;
}

static void expect_records(struct world *w, const char *expected)
{
    OP_CLEANUP(op_mem_freep) char *got = list_records(w);
    if (got[0] == '!' || strstr(got, "\n!")) {
        if (!strstr(expected, "!") || !strstr(got, strchr(expected, '!') + 1))
            fail_msg("got: %s\nwant: %s", got, expected);
        return;
    }
    if (strcmp(got, expected) != 0)
        fail_msg("got: %s\nwant: %s", got, expected);
}

struct select_case {
    const char *what, *yaml, *csv, *expected;
    bool streams;
    int64_t limit;
};

static const struct select_case cases[] = {
    {"key", CSV SQL_ASK, "key,x\na,1\nb,\n",
     "a=Ta|T1 1@t.csv:2\nb=Tb|T 2@t.csv:3\ndone 0 bad 0\n", true, 0},
    {"id", CSV SQL_ASK, "x,id\n1,a\n2,b\n",
     "a=T1|Ta|Ta 1@t.csv:2\nb=T2|Tb|Tb 2@t.csv:3\ndone 0 bad 0\n", true, 0},
    {"row number", CSV SQL_ASK, "x\nq\n\"r\ns\"\nt\n",
     "1=Tq|T1 1@t.csv:2\n2=Tr\ns|T2 2@t.csv:3\n3=Tt|T3 3@t.csv:5\ndone 0 bad 0\n", true, 0},
    {"limit", CSV SQL_ASK, "key\na\nb\nc\n", "a=Ta 1@t.csv:2\nb=Tb 2@t.csv:3\ndone 0 bad 0\n",
     true, 2},
    {"empty key", CSV SQL_ASK, "key,x\n,1\n", "!t.csv:2: the key (column 'key') is empty", true,
     0},
    {"malformed", CSV SQL_ASK, "key,x\na,1\nb\n", "!t.csv:3", true, 0},
    {"records",
     CSV "records: SELECT id AS key, x FROM t WHERE x > 1 ORDER BY id DESC\n" SQL_ASK,
     "id,x\n1,5\n2,0\n3,7\n",
     "3=T3|T7 1@records row 1\n2=T2|T0 2@records row 2\n1=T1|T5 3@records row 3\ndone 0 bad 0\n",
     false, 0},
    {"typed keys",
     CSV "records: SELECT 41 + 1 AS key, 1.5 AS d, NULL AS n, x'00ff' AS b\n" SQL_ASK,
     "id\n1\n", "42=I42|D1.5|N|BZZ 1@records row 1\ndone 0 bad 0\n", false, 0},
    {"params",
     CSV "records: SELECT :word AS key, @number AS n, $share AS s, :nothing AS z\n" SQL_ASK,
     "id\n1\n",
     "it's; DROP TABLE t=Tit's; DROP TABLE t|I7|D0.5|N 1@records row 1\ndone 0 bad 0\n", false,
     0},
    {"done",
     CSV "done: SELECT id FROM t WHERE x = 'y'\nrecords: SELECT id AS key FROM t\n" SQL_ASK,
     "id,x\na,y\nb,n\nc,y\nd,n\n", "b=Tb 2@records row 2\nd=Td 4@records row 4\ndone 2 bad 0\n",
     false, 0},
    {"done, limit",
     CSV "done: SELECT CAST(id AS INTEGER) FROM t WHERE x = 'y'\n"
         "records: SELECT id AS key FROM t\n" SQL_ASK,
     "id,x\n1,y\n2,n\n3,y\n4,n\n", "2=T2 2@records row 2\ndone 1 bad 0\n", false, 1},
    {"done without records", CSV "done: SELECT NULL UNION SELECT 'b'\n" SQL_ASK,
     "x,id\n1,a\n2,b\n", "a=T1|Ta|Ta 1@records row 1\ndone 1 bad 0\n", false, 0},
    {"done of two columns", CSV "done: SELECT 1, 2\n" SQL_ASK, "id\na\n",
     "!'done' selects one column", false, 0},
    {"no key", CSV "records: SELECT id FROM t\n" SQL_ASK, "id\na\n",
     "!the records need a column 'key'", false, 0},
    {"NULL key", CSV "records: SELECT NULL AS key\n" SQL_ASK, "id\na\n",
     "!records row 1: the key (column 'key') is NULL", false, 0},
    {"long key", CSV "records: SELECT hex(zeroblob(513)) AS key\n" SQL_ASK, "id\na\n",
     "!has 1026 bytes; 1024 is the most", false, 0},
    {"bad UTF-8", CSV "records: SELECT CAST(x'ff' AS TEXT) AS key\n" SQL_ASK, "id\na\n",
     "!is not UTF-8", false, 0},
    {"NUL", CSV "records: SELECT 'a' || char(0) AS key\n" SQL_ASK, "id\na\n", "!is not UTF-8",
     false, 0},
    {"two columns of one name", CSV "records: SELECT 1 AS key, id, id FROM t\n" SQL_ASK,
     "id\na\n", "!two columns have the name 'id'", false, 0},
    {"no such column", CSV "records: |\n  SELECT id AS key,\n    idd FROM t\n" SQL_ASK,
     "id\na\n", "!pipeline.yaml:11: no such column: idd", false, 0},
    {"quoted misspelling", CSV "records: SELECT \"idd\" AS key FROM t\n" SQL_ASK, "id\na\n",
     "!no such column: idd", false, 0},
    {"answers are not there yet", CSV "records: SELECT key FROM answers\n" SQL_ASK, "id\na\n",
     "!no such table: answers", false, 0},
    {"odd names", CSV "records: SELECT \"a \"\"b\" AS key, \"select\" AS x FROM t\n" SQL_ASK,
     "\"a \"\"b\",select\n1,2\n", "1=T1|T2 1@records row 1\ndone 0 bad 0\n", false, 0},
    {"qualified", CSV "records: SELECT id AS key FROM inputs.t\n" SQL_ASK, "id\n1\n",
     "1=T1 1@records row 1\ndone 0 bad 0\n", false, 0},
    {"rows that read the input",
     CSV SQL_ASK "outputs: [{csv: out, rows: SELECT x FROM answers JOIN t ON t.id = key}]\n",
     "x,id\n1,a\n", "a=T1|Ta|Ta 1@records row 1\ndone 0 bad 0\n", false, 0},
};

static void test_records(void **state)
{
    (void)state;
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        const struct select_case *c = &cases[i];
        struct world w;
        world_begin(&w);
        w.limit = c->limit;
        world_file(&w, "t.csv", c->csv);
        OP_CLEANUP(op_mem_freep) char *yaml = op_mem_printf("%s%s", SQL_HEAD, c->yaml);
        world_open(&w, yaml);
        assert_int_equal(op_plan_streams(w.plan), c->streams);
        char *blob = op_mem_strdup(c->expected);
        char *bytes = strstr(blob, "BZZ");
        if (bytes) { /* a NUL in the middle of a cell ends the text that is compared */
            bytes[1] = '\0';
            OP_CLEANUP(op_mem_freep) char *got = list_records(&w);
            assert_true(strncmp(got, blob, strlen(blob)) == 0);
        } else {
            expect_records(&w, c->expected);
        }
        op_mem_free(blob);
        world_end(&w);
    }
    assert_int_equal(op_mem_live(), 0);
}

static void test_no_cache(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w);
    w.no_cache = true;
    world_file(&w, "t.csv", "id\na\nb\n");
    world_open(&w, SQL_HEAD CSV "done: SELECT id FROM t\n" SQL_ASK);
    expect_records(&w, "a=Ta|Ta 1@records row 1\nb=Tb|Tb 2@records row 2\ndone 0 bad 0\n");
    world_end(&w);
}

/* Malformed rows are told and counted alike, streamed and staged. */
static void test_skipped(void **state)
{
    (void)state;
    static const char *const yamls[] = {
        SQL_HEAD "inputs: {t: {csv: \"{{dir}}/t.csv\", on_error: skip}}\n" SQL_ASK,
        SQL_HEAD "inputs: {t: {csv: \"{{dir}}/t.csv\", on_error: skip}}\n"
                 "records: SELECT * FROM t\n" SQL_ASK,
    };
    for (size_t i = 0; i < OP_COUNT(yamls); i++) {
        struct world w;
        world_begin(&w);
        world_file(&w, "t.csv", "key,x\na,1\nb\nc,3\nd,4,5\n");
        world_open(&w, yamls[i]);
        OP_CLEANUP(op_mem_freep) char *got = list_records(&w);
        assert_non_null(strstr(got, "t.csv:3"));
        assert_non_null(strstr(got, "t.csv:5"));
        assert_non_null(strstr(got, "a=Ta|T1"));
        assert_non_null(strstr(got, "c=Tc|T3"));
        assert_non_null(strstr(got, "done 0 bad 2\n"));
        world_end(&w);
    }
}

static void test_raw_keys(void **state)
{
    (void)state;
    static const char line[] =
        "{\"custom_id\":\"r-%d\",\"params\":{\"model\":\"claude-haiku-4-5\",\"max_tokens\":5,"
        "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}}\n";
    static const char *const yamls[] = {
        SQL_HEAD "inputs: {t: {lines: \"{{dir}}/t.txt\"}}\n"
                 "requests: {r: {raw: true, provider: anthropic}}\n",
        SQL_HEAD "inputs: {t: {lines: \"{{dir}}/t.txt\"}}\nrecords: SELECT line FROM t\n"
                 "requests: {r: {raw: true, provider: anthropic}}\n",
    };
    for (size_t i = 0; i < OP_COUNT(yamls); i++) {
        struct world w;
        world_begin(&w);
        OP_CLEANUP(op_buf_release) struct op_buf text;
        op_buf_init(&text, 4096);
        for (int k = 0; k < 3; k++) {
            char one[512];
            snprintf(one, sizeof(one), line, k); /* NOLINT: a literal of this file */
            op_buf_addz(&text, one);
        }
        op_buf_addz(&text, "{\"params\":{}}\n");
        world_file(&w, "t.txt", text.ptr);
        world_open(&w, yamls[i]);
        OP_CLEANUP(op_mem_freep) char *got = list_records(&w);
        assert_true(strncmp(got, "r-0=T{", 6) == 0);
        assert_non_null(strstr(got, "|Tr-2 3@"));
        assert_non_null(strstr(got, "this line is no request in the form of anthropic"));
        world_end(&w);
    }
}

static void test_require(void **state)
{
    (void)state;
    struct world w;
    struct op_err err = OP_ERR_INIT;
    world_begin(&w);
    world_file(&w, "t.csv", "id,n\na,1\n");
    world_open(&w, SQL_HEAD CSV "require:\n"
                                "  - {sql: SELECT count(*) > 0 FROM t, message: never}\n"
                                "  - {sql: \"SELECT 0 AS good, count(*) AS found FROM t\",\n"
                                "     message: \"{{found}} of {{number}} for {{word}}\"}\n"
                                "records: SELECT id AS key FROM t\n" SQL_ASK);
    struct op_sqlenv *sql = world_sql(&w);
    assert_int_equal(op_require(sql, w.plan, &err), OP_INVAL);
    assert_string_equal(err.msg, "1 of 7 for it's; DROP TABLE t");
    op_sqlenv_close(sql);
    world_end(&w);
    assert_int_equal(op_mem_live(), 0);
}

/* What op_record_write says is what the view `records` reads; see test_sqlenv. */
static void test_record_write(void **state)
{
    (void)state;
    struct world w;
    struct op_err err = OP_ERR_INIT;
    struct op_select *select = NULL;
    struct op_record record;
    world_begin(&w);
    world_file(&w, "t.csv", "id\n1\n");
    world_open(
        &w, SQL_HEAD CSV
        "records: SELECT 'k' AS key, 9223372036854775807 AS i, 2.0 AS d, 1e15 AS e, NULL "
        "AS n, 'a\"b' || char(10) AS s, x'00ff' AS b, '[1, 2]' AS j, 9e999 AS inf\n" SQL_ASK);
    assert_int_equal(
        op_select_open(op_env_default(), w.plan, w.staged, NULL, NULL, &select, &err), OP_OK);
    assert_int_equal(op_select_next(select, &record, &err), OP_OK);
    struct op_buf out;
    op_buf_init(&out, 4096);
    op_record_write(w.plan, &record, &out);
    assert_string_equal(
        out.ptr, "{\"key\":\"k\",\"i\":9223372036854775807,\"d\":2.0,\"e\":1000000000000000.0,"
                 "\"n\":null,\"s\":\"a\\\"b\\n\",\"b\":\"00ff\",\"j\":\"[1, 2]\","
                 "\"inf\":null}");
    op_buf_release(&out);
    op_select_close(select);
    world_end(&w);
    assert_int_equal(op_mem_live(), 0);
}

/* --- indexes --- */

static char *list_indexes(const char *path)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    struct op_buf out;
    op_buf_init(&out, 4096);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT m.tbl_name || '.' || i.name FROM sqlite_schema "
                                        "AS m, pragma_index_info(m.name) AS i WHERE m.type = "
                                        "'index' ORDER BY 1",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        op_buf_addf(&out, "%s ", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    char *text = op_buf_take(&out);
    op_buf_release(&out);
    return text;
}

static void test_indexes(void **state)
{
    (void)state;
    static const struct {
        const char *tail, *indexes;
    } wants[] = {
        {"records: SELECT t.id AS key FROM t JOIN u ON u.id = t.id WHERE t.x = 5\n" SQL_ASK,
         ""},
        {"records: SELECT id AS key FROM t\n" SQL_ASK
         "outputs: [{csv: out, rows: SELECT z.x FROM answers AS a JOIN t AS z ON z.id = a.key}]\n",
         "t.id "},
        {"records: SELECT id AS key FROM t\n" SQL_ASK
         "outputs: [{csv: out, rows: \"SELECT (SELECT x FROM u WHERE u.id = a.key) AS x FROM "
         "answers AS a\"}]\nchecks: [SELECT 'no' FROM answers WHERE key NOT IN (SELECT x FROM t)]\n",
         "t.x u.id "},
        {"records: SELECT id AS key FROM t\n" SQL_ASK
         "outputs: [{csv: out, rows: SELECT t.y FROM answers AS a JOIN inputs.t ON t.id = a.key "
         "AND t.x = a.request}]\n",
         "t.id t.x "},
        {"records: SELECT id AS key FROM t\n" SQL_ASK
         "outputs: [{csv: out, on: job, rows: SELECT t.y FROM job JOIN t ON t.id = job.id}]\n",
         ""},
    };
    for (size_t i = 0; i < OP_COUNT(wants); i++) {
        struct world w;
        world_begin(&w);
        world_file(&w, "t.csv", "id,x,y\n1,2,3\n");
        world_file(&w, "u.csv", "id,x\n1,2\n");
        OP_CLEANUP(op_mem_freep)
        char *yaml = op_mem_printf("%s%s%s", SQL_HEAD,
                                   "inputs:\n  t: {csv: \"{{dir}}/t.csv\"}\n"
                                   "  u: {csv: \"{{dir}}/u.csv\"}\n",
                                   wants[i].tail);
        world_open(&w, yaml);
        OP_CLEANUP(op_mem_freep) char *got = list_indexes(w.staged);
        assert_string_equal(got, wants[i].indexes);
        op_sqlenv_close(world_sql(&w));
        world_end(&w);
    }
}

/* --- staging --- */

static void test_stage(void **state)
{
    (void)state;
    struct world w;
    struct op_err err = OP_ERR_INIT;
    int64_t rows = 0;
    world_begin(&w);
    world_file(&w, "u.jsonl", "{\"id\":5,\"x\":1.5,\"y\":[1,{\"a\":null}]}\n{\"id\":\"s\"}\n");
    assert_int_equal(
        world_plan(&w,
                   SQL_HEAD
                   "inputs:\n  t: {csv: \"{{dir}}/t.csv\", optional: true, columns: [id, x]}\n"
                   "  u: {jsonl: \"{{dir}}/u.jsonl\"}\n"
                   "records: SELECT u.id AS key, typeof(u.id) AS a, typeof(u.x) AS b, u.y, t.x "
                   "FROM u LEFT JOIN t ON t.id = u.id\n" SQL_ASK,
                   &err),
        OP_OK);
    w.staged = op_mem_printf("%s/a b%%?#.db", w.dir);
    for (int i = 0; i < 2; i++) { /* the second time over the first */
        if (op_stage(op_env_default(), w.plan, w.staged, NULL, NULL, &rows, &err))
            fail_msg("%s", err.msg);
        assert_int_equal(rows, 2);
    }
    expect_records(&w, "5=I5|Tinteger|Treal|T[1,{\"a\":null}]|N 1@records row 1\n"
                       "s=Ts|Ttext|Tnull|N|N 2@records row 2\ndone 0 bad 0\n");
    world_file(&w, "u.jsonl", "{\"id\":5\n");
    assert_int_equal(op_stage(op_env_default(), w.plan, w.staged, NULL, NULL, &rows, &err),
                     OP_INVAL);
    assert_non_null(strstr(err.msg, "u.jsonl"));
    assert_int_not_equal(access(w.staged, F_OK), 0); /* nothing half-done stays */
    world_end(&w);
    assert_int_equal(op_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records), cmocka_unit_test(test_no_cache),
        cmocka_unit_test(test_skipped), cmocka_unit_test(test_raw_keys),
        cmocka_unit_test(test_require), cmocka_unit_test(test_record_write),
        cmocka_unit_test(test_indexes), cmocka_unit_test(test_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
