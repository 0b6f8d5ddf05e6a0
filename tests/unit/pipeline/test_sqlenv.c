/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the views over a context, params, errors with their lines, what SQL may not do, checks
 *            and warnings, rows as frames, data that breaks a SELECT.
 * Oracle:    rows and messages in tables; attacks that must fail when they are compiled, with the
 *            world looked at afterwards; docs/reference/sql.md lists the views' columns.
 */
#include <sqlite3.h>

#include "pipeline/sql_internal.h"
#include "support_sql.h"

#define INPUT "inputs: {t: {csv: \"{{dir}}/t.csv\"}}\n"

struct record_source {
    const char *json;
    int calls;
    enum op_rc rc;
};

static enum op_rc give_record(void *arg, struct op_buf *ret, struct op_err *err)
{
    struct record_source *source = arg;
    source->calls++;
    if (source->rc)
        return op_fail(err, source->rc, "the ledger is on fire");
    op_buf_addz(ret, source->json);
    return OP_OK;
}

static struct op_sqlenv *open_env(struct world *w, const char *tail)
{
    world_begin(w);
    world_file(w, "t.csv", "id,x\na,1\nb,2\nc,3\n");
    OP_CLEANUP(op_mem_freep) char *yaml = op_mem_printf("%s%s%s", SQL_HEAD, INPUT, tail);
    world_open(w, yaml);
    return world_sql(w);
}

static void close_env(struct world *w, struct op_sqlenv *sql)
{
    op_sqlenv_close(sql);
    world_end(w);
    assert_int_equal(op_mem_live(), 0);
}

/* --- the views --- */

static void full_context(struct op_context *x, struct op_job *job, struct op_batch *batch,
                         struct op_result *result, const struct world *w)
{
    *job = (struct op_job){.id = 3,
                           .state = OP_JOB_RUNNING,
                           .pipeline = (char *)(uintptr_t) "p",
                           .reason = (char *)(uintptr_t) "",
                           .params = (char *)(uintptr_t) "{\"a\":1}",
                           .round = 2,
                           .created_ms = 1000,
                           .counts = {.records = 10,
                                      .skipped = 2,
                                      .requests = 11,
                                      .reused = 1,
                                      .done = 5,
                                      .failed = 4,
                                      .canceled = 3,
                                      .invalid = 6,
                                      .warnings = 7,
                                      .reasked = 8,
                                      .rows = 9,
                                      .spent_microusd = 12,
                                      .usage = {.tokens = {1, 2, 4, 8, 16}}}};
    *batch = (struct op_batch){.id = 7,
                               .state = OP_BATCH_ENDED,
                               .count = 20,
                               .ok = 15,
                               .failed = 4,
                               .absent = 1,
                               .file = (char *)(uintptr_t) "payload/7",
                               .model = (char *)(uintptr_t) "m",
                               .provider_id = (char *)(uintptr_t) "msgbatch_1",
                               .remote_state = (char *)(uintptr_t) "ended",
                               .evidence = (char *)(uintptr_t) "{}",
                               .accepted_ms = 1763640000000,
                               .spent_microusd = 99,
                               .usage = {.tokens = {100, 0, 0, 1, 50}}};
    *result = (struct op_result){.class_ = OP_RESULT_SUCCEEDED,
                                 .text = OP_STR("raw {\"a\":1}"),
                                 .model = OP_STR("claude-x-2"),
                                 .stop = OP_STR("end_turn"),
                                 .usage = {.tokens = {10, 20, 30, 40, 50}},
                                 .has_usage = true};
    *x = (struct op_context){.job = job,
                             .batch = batch,
                             .lane = &w->lane,
                             .request = 0,
                             .request_id = 41,
                             .buy_no = 2,
                             .key = OP_STR("k1"),
                             .result = result,
                             .microusd = 123,
                             .line = OP_STR("{\"custom_id\":1}"),
                             .answer = OP_STR("{\"a\":[1,2.50]}"),
                             .problem = OP_STR("")};
}

static void test_views(void **state)
{
    (void)state;
    struct world w;
    struct op_context x;
    struct op_job job;
    struct op_batch batch;
    struct op_result result;
    struct op_sqlenv *sql = open_env(&w, SQL_ASK);
    static const char *const names[] = {"answers", "results", "records",
                                        "request", "batch",   "job"};
    for (size_t i = 0; i < OP_COUNT(names); i++) { /* nothing is at hand yet */
        OP_CLEANUP(op_mem_freep)
        char *count = op_mem_printf("SELECT count(*) FROM %s", names[i]);
        expect_sql(sql, count, "I0\n");
    }
    full_context(&x, &job, &batch, &result, &w);
    op_sqlenv_set(sql, &x);
    expect_sql(sql, "SELECT * FROM answers",
               "Tk1|Task|T{\"a\":[1,2.50]}|Tanthropic|Tclaude-x-2|I41\n");
    expect_sql(
        sql, "SELECT * FROM results",
        "Tk1|Task|Tsucceeded|Tend_turn|Tanthropic|Tclaude-x-2|Traw {\"a\":1}|N|N|T|I10|I50|I40|I50|"
        "I123|T{\"custom_id\":1}|I2|I41\n");
    expect_sql(sql, "SELECT * FROM request", "Task|I41|Tclaude-haiku-4-5|I2\n");
    expect_sql(sql, "SELECT * FROM batch",
               "Tbatch-7|I7|Tanthropic|Tmsgbatch_1|Tm|Tended|Tended|I20|I15|I4|I1|"
               "T2025-11-20T12:00:00.000Z|N|N|I99|I101|I50|T{}|Tpayload/7\n");
    expect_sql(
        sql, "SELECT * FROM job",
        "Tjob-3|I3|Tp|Trunning|T|T{\"a\":1}|Tanthropic|Tclaude-haiku-4-5|I2|I10|I2|I11|I1|"
        "I5|I4|I3|I6|I7|I8|I9|I12|I15|I16|T1970-01-01T00:00:01.000Z|N\n");
    expect_sql(sql, "SELECT count(*) FROM answers, results, request, batch, job, records",
               "I1\n");
    result = (struct op_result){.class_ = OP_RESULT_ABSENT};
    x.answer = x.line = OP_STR_NULL;
    x.problem = OP_STR("gone");
    op_sqlenv_set(sql, &x);
    expect_sql(sql,
               "SELECT key, class, stop, text, problem, input_tokens, line, model FROM results",
               "Tk1|Tabsent|N|N|Tgone|N|N|Tclaude-haiku-4-5\n");
    expect_sql(sql, "SELECT count(*) FROM answers", "I0\n");
    x = (struct op_context){.job = &job, .request = -1};
    op_sqlenv_set(sql, &x);
    expect_sql(sql,
               "SELECT (SELECT count(*) FROM results), (SELECT count(*) FROM records), "
               "(SELECT count(*) FROM batch), (SELECT count(*) FROM job)",
               "I0|I0|I0|I1\n");
    assert_null(op_sqlenv_view_columns("nothing"));
    close_env(&w, sql);
}

/* What op_record_write stores comes back with its types, and is fetched once and only when it is
 * read. */
static void test_records(void **state)
{
    (void)state;
    struct world w;
    struct op_err err = OP_ERR_INIT;
    struct op_select *select = NULL;
    struct op_record record;
    struct op_sqlenv *sql = open_env(
        &w, "records: SELECT 5 AS key, 9223372036854775807 AS i, 2.0 AS d, NULL AS n, "
            "'a\"b' || char(10) AS s, '[1, {\"a\":2}]' AS j, '' AS e FROM t LIMIT 1\n" SQL_ASK
            "outputs: [{csv: out, rows: SELECT i FROM records}]\n");
    assert_int_equal(
        op_select_open(op_env_default(), w.plan, w.staged, NULL, NULL, &select, &err), OP_OK);
    assert_int_equal(op_select_next(select, &record, &err), OP_OK);
    struct op_buf json;
    op_buf_init(&json, 4096);
    op_record_write(w.plan, &record, &json);
    struct record_source source = {.json = json.ptr};
    struct op_context x = {.key = record.key,
                           .record_data = give_record,
                           .record_arg = &source,
                           .problem = OP_STR("")};
    op_sqlenv_set(sql, &x);
    expect_sql(sql, "SELECT key FROM records", "T5\n");
    assert_int_equal(source.calls, 0);
    expect_sql(sql, "SELECT * FROM records",
               "T5|I9223372036854775807|D2.0|N|Ta\"b\n|T[1, {\"a\":2}]|T\n");
    expect_sql(sql, "SELECT json_extract(j, '$[1].a'), j ->> 0 FROM records", "I2|I1\n");
    expect_sql(sql, "SELECT value FROM records, json_each(j)", "I1\nT{\"a\":2}\n");
    assert_int_equal(source.calls, 1);
    source = (struct record_source){.json = "{\"i\":1}"};
    op_sqlenv_set(sql, &x);
    expect_sql(sql, "SELECT i, d FROM records", "I1|N\n");
    source = (struct record_source){.json = "{\"i\":1}", .rc = OP_IO};
    op_sqlenv_set(sql, &x);
    expect_sql_error(sql, "SELECT i FROM records", "p/pipeline.yaml:5: the ledger is on fire");
    source.rc = OP_OK;
    expect_sql(sql, "SELECT i FROM records", "I1\n");
    source = (struct record_source){.json = "{"};
    op_sqlenv_set(sql, &x);
    expect_sql_error(sql, "SELECT i FROM records", "the ledger's data of record '5'");
    op_buf_release(&json);
    op_select_close(select);
    close_env(&w, sql);
}

/* The documentation has each view's columns, all of them and in their order. */
static void test_documented(void **state)
{
    (void)state;
    static const char *const names[] = {"answers", "results", "request",
                                        "batch",   "job",     "requests"};
    struct op_err err = OP_ERR_INIT;
    struct op_buf doc;
    op_buf_init(&doc, 1024 * 1024);
    if (op_io_read_file(op_env_default(), OP_SOURCE_DIR "/docs/reference/sql.md", &doc, &err))
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < OP_COUNT(names); i++) {
        OP_CLEANUP(op_mem_freep) char *title = op_mem_printf("\n### `%s`\n", names[i]);
        const char *at = strstr(doc.ptr, title);
        assert_non_null(at);
        const char *next = strstr(at + 4, "\n##");
        OP_CLEANUP(op_mem_freep) char *part = op_mem_strndup(at, (size_t)(next - at));
        const char *row = strstr(part, "|---|---|");
        const char *const *column = op_sqlenv_view_columns(names[i]);
        for (; *column; column++) {
            OP_CLEANUP(op_mem_freep) char *cell = op_mem_printf("\n| `%s` | ", *column);
            row = strchr(row, '\n');
            if (!row || strncmp(row, cell, strlen(cell)) != 0)
                fail_msg("docs/reference/sql.md, %s: no %s here: %.40s", names[i], cell, row);
            row++;
        }
        assert_null(strstr(row, "\n| `"));
    }
    op_buf_release(&doc);
}

/* --- params and errors --- */

static const struct {
    const char *sql, *error;
} mistakes[] = {
    {"SELECT 1 WHERE 1 = :wurd",
     "p/pipeline.yaml:5: the SQL uses :wurd, but there is no such param "
     "(did you mean ':word'?); there are: :dir, :word, :number"},
    {"SELECT ?", "the SQL uses ?, but params go by name: write :name"},
    {"SELECT ?1", "the SQL uses ?"},
    {"", "p/pipeline.yaml:5: a SELECT is wanted here"},
    {"-- nothing\n", "a SELECT is wanted here"},
    {";", "a SELECT is wanted here"},
    {"SELECT 1; SELECT 2", "one SELECT is wanted here, but 'SELECT 2' follows it"},
    {"SELECT 1;\n\n garbage", "p/pipeline.yaml:5: one SELECT is wanted here, but 'garbage'"},
    {"SELECT\n  1,\n  nothere\nFROM t", "p/pipeline.yaml:7: no such column: nothere"},
    {"SELECT 1 FROM\nnowhere", "no such table: nowhere"},
    {"SELEC 1", "p/pipeline.yaml:5: near \"SELEC\": syntax error"},
    {"SELECT \"it\"", "no such column: it"},
    {"SELECT nofunction(1)", "no such function: nofunction"},
    {"EXPLAIN SELECT 1", "a SELECT is wanted here"},
    {"SELECT json_extract('{', '$')", "p/pipeline.yaml:5: malformed JSON"},
    {"SELECT abs(-9223372036854775808)", "integer overflow"},
    {"SELECT zeroblob(1000000000)", "too big"},
};

static void test_mistakes(void **state)
{
    (void)state;
    struct world w;
    struct op_sqlenv *sql = open_env(&w, "records: SELECT id AS key FROM t\n" SQL_ASK);
    for (size_t i = 0; i < OP_COUNT(mistakes); i++)
        expect_sql_error(sql, mistakes[i].sql, mistakes[i].error);
    expect_sql(sql, "SELECT :word, @word, $number + 1, :share, :nothing, :word -- ; SELECT",
               "Tit's; DROP TABLE t|Tit's; DROP TABLE t|I8|D0.5|N|Tit's; DROP TABLE t\n");
    expect_sql(sql, "SELECT 1 ; ; -- the end\n /* really */ ;", "I1\n");
    expect_sql(sql, "VALUES (1), (2)", "I1\nI2\n");
    expect_sql(sql,
               "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) "
               "SELECT group_concat(i) FROM n",
               "T1,2,3\n");
    expect_sql(sql,
               "SELECT id FROM t WHERE x > '1' UNION SELECT x FROM inputs.t WHERE id = 'a'",
               "T1\nTb\nTc\n");
    expect_sql(sql, "SELECT x'41', typeof(x''), ''", "BA|Tblob|T\n");
    close_env(&w, sql);
}

/* --- what SQL may not do --- */

static const char *const attacks[] = {
    "ATTACH 'DIR/evil.db' AS evil",
    "ATTACH ':memory:' AS evil",
    "DETACH inputs",
    "PRAGMA journal_mode=WAL",
    "PRAGMA writable_schema=1",
    "PRAGMA inputs.user_version",
    "SELECT * FROM pragma_table_info('t')",
    "SELECT * FROM pragma_database_list",
    "SELECT * FROM dbstat",
    "SELECT * FROM sqlite_stmt",
    "SELECT * FROM bytecode('SELECT 1')",
    "SELECT * FROM fsdir('/')",
    "SELECT load_extension('DIR/evil.so')",
    "SELECT writefile('DIR/evil', 'x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT edit('x')",
    "SELECT fts3_tokenizer('x', x'00')",
    "INSERT INTO t VALUES(1, 2)",
    "INSERT INTO inputs.t VALUES(1, 2) RETURNING *",
    "UPDATE t SET x = 1 RETURNING x",
    "DELETE FROM t RETURNING x",
    "DROP TABLE t",
    "DROP TABLE answers",
    "UPDATE sqlite_schema SET sql = ''",
    "CREATE TABLE evil(a)",
    "CREATE TEMP TABLE evil(a)",
    "CREATE TEMP TABLE evil AS SELECT * FROM t",
    "CREATE VIEW evil AS SELECT 1",
    "CREATE TEMP TRIGGER evil AFTER INSERT ON t BEGIN SELECT 1; END",
    "CREATE VIRTUAL TABLE evil USING answers",
    "CREATE VIRTUAL TABLE evil USING fts5(a)",
    "CREATE INDEX evil ON t(x)",
    "ALTER TABLE t RENAME TO evil",
    "REINDEX",
    "ANALYZE",
    "VACUUM",
    "VACUUM INTO 'DIR/evil.db'",
    "VACUUM inputs INTO 'DIR/evil.db'",
    "BEGIN",
    "COMMIT",
    "SAVEPOINT evil",
    "SELECT 1; DROP TABLE t",
    "WITH x AS (SELECT 1) DELETE FROM t",
};

static void test_attacks(void **state)
{
    (void)state;
    struct world w;
    struct op_sqlenv *sql = open_env(&w, "records: SELECT id AS key FROM t\n" SQL_ASK);
    for (size_t i = 0; i < OP_COUNT(attacks); i++) {
        struct op_buf text;
        op_buf_init(&text, 4096);
        const char *dir = strstr(attacks[i], "DIR");
        if (dir)
            op_buf_addf(&text, "%.*s%s%s", (int)(dir - attacks[i]), attacks[i], w.dir, dir + 3);
        else
            op_buf_addz(&text, attacks[i]);
        OP_CLEANUP(op_mem_freep) char *got = run_sql(sql, text.ptr);
        if (got[0] != '!')
            fail_msg("%s was allowed: %s", text.ptr, got);
        op_buf_release(&text);
    }
    expect_sql_error(sql, "ATTACH 'x' AS y", "may only read: no writes, ATTACH, PRAGMA");
    expect_sql(sql, "SELECT count(*) FROM t", "I3\n");
    char *evil = op_mem_printf("%s/evil.db", w.dir);
    assert_int_not_equal(access(evil, F_OK), 0);
    op_mem_free(evil);
    close_env(&w, sql);
}

#define ENDLESS \
    "(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c)"

/* Over one result a SELECT ends after so many steps, counted anew for each; memory has an end too. The
 * scenario test waits for the real number of them. */
static void test_limits(void **state)
{
    (void)state;
    struct world w;
    struct op_sqlenv *sql = open_env(&w, "records: SELECT id AS key FROM t\n" SQL_ASK);
    struct op_context context = {.request = 0};
    for (int i = 0; i < 3; i++) {
        op_sqlenv_set(sql, &context);
        assert_int_equal(sql->most_steps, OP_SQL_RESULT_STEPS);
        sql->most_steps = 3000000;
        expect_sql_error(sql, "SELECT " ENDLESS,
                         "p/pipeline.yaml:5: the SELECTs take more than 3000000 steps");
        op_sqlenv_set(sql, &context);
        expect_sql(sql, "SELECT count(*) FROM t", "I3\n");
    }
    context.request = -1;
    op_sqlenv_set(sql, &context);
    assert_int_equal(sql->most_steps, OP_SQL_INPUT_STEPS);
    sqlite3_int64 before = sqlite3_hard_heap_limit64(32 * 1024 * 1024);
    assert_int_equal(before, 2LL * 1024 * 1024 * 1024);
    expect_sql_error(sql, "SELECT hex(zeroblob(50000000)) || 'x'",
                     "p/pipeline.yaml:5: out of memory");
    sqlite3_hard_heap_limit64(0);
    expect_sql_error(sql, "SELECT zeroblob(300000000)", "too big");
    expect_sql(sql, "SELECT count(*) FROM t", "I3\n");
    close_env(&w, sql);
}

/* In the definition's places the same holds. */
static void test_attacks_in_place(void **state)
{
    (void)state;
    static const char *const tails[] = {
        "records: DROP TABLE t\n" SQL_ASK,
        "records: SELECT 1 AS key\ndone: DELETE FROM t RETURNING x\n" SQL_ASK,
        SQL_ASK "records: SELECT 1 AS key\nchecks: [PRAGMA journal_mode]\n",
        SQL_ASK "records: SELECT 1 AS key\noutputs: [{csv: out, rows: CREATE TABLE x(a)}]\n",
    };
    for (size_t i = 0; i < OP_COUNT(tails); i++) {
        struct world w;
        struct op_err err = OP_ERR_INIT;
        struct op_select *select = NULL;
        struct op_record record;
        struct op_sqlenv *sql = NULL;
        world_begin(&w);
        world_file(&w, "t.csv", "id,x\na,1\n");
        OP_CLEANUP(op_mem_freep)
        char *yaml = op_mem_printf("%s%s%s", SQL_HEAD, INPUT, tails[i]);
        world_open(&w, yaml);
        enum op_rc rc =
            op_select_open(op_env_default(), w.plan, w.staged, NULL, NULL, &select, &err);
        if (!rc)
            rc = op_select_next(select, &record, &err);
        if (!rc)
            rc = op_sqlenv_open(w.plan, w.staged, &sql, &err);
        assert_int_equal(rc, OP_INVAL);
        if (!strstr(err.msg, "may only read"))
            fail_msg("%s: %s", tails[i], err.msg);
        op_select_close(select);
        world_end(&w);
    }
    assert_int_equal(op_mem_live(), 0);
}

/* --- checks and rows --- */

#define CHECKS                                                         \
    "records: SELECT id AS key FROM t\n"                               \
    "requests:\n  ask: {model: claude-haiku-4-5, user: \"{{key}}\"}\n" \
    "  other: {model: claude-haiku-4-5, user: \"{{key}}\"}\n"

static void test_checks(void **state)
{
    (void)state;
    struct world w;
    struct op_err err = OP_ERR_INIT;
    struct op_sqlenv *sql = open_env(
        &w, CHECKS
        "checks:\n"
        "  - SELECT 'bad ' || value || char(10) || 'really' FROM answers, json_each(answer, '$.a') "
        "WHERE value > 5\n"
        "  - {sql: \"SELECT 'only other' FROM answers\", request: other}\n"
        "  - SELECT NULL FROM answers WHERE answer ->> 'n' = 1\n"
        "warnings:\n"
        "  - SELECT 'hm ' || (answer ->> 'w') FROM answers WHERE answer ->> 'w' IS NOT NULL\n");
    static const struct {
        const char *answer;
        int request;
        size_t violations, warnings;
        const char *list, *warned;
    } wants[] = {
        {"{\"a\":[1,2]}", 0, 0, 0, "", ""},
        {"{\"a\":[7,2,9]}", 0, 2, 0, "bad 7 really\nbad 9 really\n", ""},
        {"{\"a\":[7],\"w\":3}", 1, 2, 1, "bad 7 really\nonly other\n", "hm 3\n"},
        {"{\"n\":1}", 0, 1, 0, "p/pipeline.yaml:16: this check objects", ""},
        {"{", 0, 2, 1, "p/pipeline.yaml:14: malformed JSON\n", "malformed JSON\n"},
        {"{\"a\":[9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9]}", 0, 20, 0,
         "bad 9 really\n", ""},
    };
    struct op_buf list, warned;
    op_buf_init(&list, 4096);
    op_buf_init(&warned, 4096);
    for (size_t i = 0; i < OP_COUNT(wants); i++) {
        size_t violations = 99, warnings = 99;
        struct op_context x = {.key = OP_STR("a"),
                               .request = wants[i].request,
                               .answer = op_str_from(wants[i].answer),
                               .problem = OP_STR("")};
        op_buf_clear(&list);
        op_buf_clear(&warned);
        op_sqlenv_set(sql, &x);
        if (op_sqlenv_check(sql, &list, &violations, &warned, &warnings, &err))
            fail_msg("%s", err.msg);
        if (strncmp(list.ptr, wants[i].list, strlen(wants[i].list)) != 0 ||
            !strstr(warned.ptr, wants[i].warned) || violations != wants[i].violations)
            fail_msg("%s: %zu, %s; %s", wants[i].answer, violations, list.ptr, warned.ptr);
        assert_int_equal(warnings, wants[i].warnings);
        assert_true((list.len == 0) == (wants[i].violations == 0));
    }
    op_buf_release(&list);
    op_buf_release(&warned);
    close_env(&w, sql);
}

/* The frames' payloads, each with its path in front. */
static void list_frames(const struct op_buf *frames, struct op_buf *out)
{
    op_buf_clear(out);
    for (size_t at = 0; at < frames->len;) {
        struct op_frame frame;
        memcpy(&frame, frames->ptr + at, sizeof(frame));
        at += sizeof(frame);
        op_buf_addf(out, "[%.*s]", (int)frame.path_len, frames->ptr + at);
        op_buf_add(out, frames->ptr + at + frame.path_len, frame.len - frame.path_len);
        at += frame.len;
    }
}

#define OUTPUTS                                                                              \
    "outputs:\n"                                                                             \
    "  - {jsonl: \"{{dir}}/out\", rows: \"SELECT a.key AS id, value FROM answers AS a, "     \
    "json_each(answer, '$.v')\"}\n"                                                          \
    "  - {jsonl: \"{{dir}}/{{id}}.jsonl\", key: [id], rows: \"SELECT value AS id, t.x FROM " \
    "answers AS a JOIN t ON t.id = a.key, json_each(answer, '$.v')\"}\n"                     \
    "  - {jsonl: \"{{dir}}/out\", on: batch, rows: SELECT state FROM batch}\n"               \
    "  - {jsonl: \"{{dir}}/out\", on: job, rows: \"SELECT id, 7 AS n FROM job\"}\n"

static void test_rows(void **state)
{
    (void)state;
    struct world w;
    struct op_err err = OP_ERR_INIT;
    struct op_sqlenv *sql = open_env(&w, "records: SELECT id AS key FROM t\n" SQL_ASK OUTPUTS);
    struct op_buf frames[4], problems, text;
    int64_t rows[4] = {0};
    for (size_t i = 0; i < OP_COUNT(frames); i++)
        op_buf_init(&frames[i], 4096);
    op_buf_init(&problems, 4096);
    op_buf_init(&text, 4096);
    struct op_context x = {
        .key = OP_STR("b"), .answer = OP_STR("{\"v\":[\"p\",\"q\"]}"), .problem = OP_STR("")};
    op_sqlenv_set(sql, &x);
    if (op_sqlenv_rows(sql, OP_ON_ANSWER, frames, rows, &problems, &err))
        fail_msg("%s", err.msg);
    assert_string_equal(problems.ptr, "");
    list_frames(&frames[0], &text);
    assert_non_null(strstr(text.ptr, "[]{\"id\":\"b\",\"value\":\"p\"}"));
    assert_non_null(strstr(text.ptr, "[]{\"id\":\"b\",\"value\":\"q\"}"));
    list_frames(&frames[1], &text);
    char *want = op_mem_printf("[%s/p.jsonl]{\"id\":\"p\",\"x\":\"2\"}", w.dir);
    assert_non_null(strstr(text.ptr, want));
    op_mem_free(want);
    assert_int_equal(rows[0], 2);
    assert_int_equal(rows[1], 2);
    assert_int_equal(rows[2] + rows[3], 0);

    /* A row that a sink refuses leaves the others; a SELECT that breaks gives none at all. */
    size_t before[2] = {frames[0].len, frames[1].len};
    x.answer = OP_STR("{\"v\":[\"../../p\",\"ok\"]}");
    op_sqlenv_set(sql, &x);
    assert_int_equal(op_sqlenv_rows(sql, OP_ON_ANSWER, frames, rows, &problems, &err), OP_OK);
    assert_int_equal(rows[0], 4);
    assert_int_equal(rows[1], 3);
    assert_non_null(strstr(problems.ptr, "a row was refused"));
    assert_true(frames[0].len > before[0] && frames[1].len > before[1]);
    op_buf_clear(&problems);
    before[0] = frames[0].len;
    x.answer = OP_STR("no JSON");
    op_sqlenv_set(sql, &x);
    assert_int_equal(op_sqlenv_rows(sql, OP_ON_ANSWER, frames, rows, &problems, &err), OP_OK);
    assert_int_equal(rows[0], 4);
    assert_int_equal(frames[0].len, before[0]);
    assert_non_null(strstr(problems.ptr, "no rows: p/pipeline.yaml:"));
    assert_non_null(strstr(problems.ptr, ": malformed JSON\n"));

    struct op_job job = {.id = 3, .state = OP_JOB_DONE};
    x = (struct op_context){.job = &job, .request = -1};
    op_sqlenv_set(sql, &x);
    assert_int_equal(op_sqlenv_rows(sql, OP_ON_JOB, frames, rows, &problems, &err), OP_OK);
    assert_int_equal(rows[3], 1);
    assert_int_equal(rows[2], 0);
    list_frames(&frames[3], &text);
    assert_non_null(strstr(text.ptr, "{\"id\":\"job-3\",\"n\":7}"));
    for (size_t i = 0; i < OP_COUNT(frames); i++)
        op_buf_release(&frames[i]);
    op_buf_release(&problems);
    op_buf_release(&text);
    close_env(&w, sql);
}

/* Two connections of one plan, one after the other: each has its own place in the world. */
static void test_two(void **state)
{
    (void)state;
    struct world w;
    struct op_err err = OP_ERR_INIT;
    struct op_sqlenv *second = NULL;
    struct op_sqlenv *first =
        open_env(&w, "records: SELECT id AS key FROM t\n" SQL_ASK OUTPUTS);
    assert_int_equal(op_sqlenv_open(w.plan, w.staged, &second, &err), OP_OK);
    struct op_context x = {.key = OP_STR("b"), .answer = OP_STR("1"), .problem = OP_STR("")};
    op_sqlenv_set(first, &x);
    expect_sql(first, "SELECT answer ->> '$' FROM answers", "I1\n");
    expect_sql(second, "SELECT answer FROM answers", "");
    op_sqlenv_close(first);
    close_env(&w, second);
}

/* A walk that is ended early, and one that begins anew. */
static void test_reset(void **state)
{
    (void)state;
    struct world w;
    struct op_err err = OP_ERR_INIT;
    struct op_query *query = NULL;
    const struct op_value *cells = NULL;
    const char *const *names = NULL;
    struct op_sqlenv *sql = open_env(&w, "records: SELECT id AS key FROM t\n" SQL_ASK);
    struct op_text text = {OP_STR("SELECT id AS \"the id\", x FROM t"), "p/pipeline.yaml:5"};
    assert_int_equal(op_query_open(sql, &text, &query, &err), OP_OK);
    assert_int_equal(op_query_columns(query, &names), 2);
    assert_string_equal(names[0], "the id");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(op_query_next(query, &cells, &err), OP_OK);
        assert_true(test_str_is(cells[0].s, "a"));
        op_query_reset(query);
        op_query_reset(query);
    }
    for (int i = 0; i < 3; i++) {
        int rows = 0;
        while (op_query_next(query, &cells, &err) == OP_OK)
            rows++;
        assert_int_equal(rows, 3);
        assert_int_equal(err.rc, OP_OK);
    }
    op_query_close(query);
    close_env(&w, sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),      cmocka_unit_test(test_records),
        cmocka_unit_test(test_documented), cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_attacks),    cmocka_unit_test(test_attacks_in_place),
        cmocka_unit_test(test_checks),     cmocka_unit_test(test_rows),
        cmocka_unit_test(test_two),        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
