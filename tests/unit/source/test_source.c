/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: csv, jsonl and sqlite inputs: columns, cells, malformed rows passed over, missing
 *            files, options, the guess by name.
 * Oracle:    tables of file content and the rows it must give, written as "a|b" with N for NULL and
 *            a type letter before each cell; real files: counts known from their publisher.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include <sqlite3.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/mem.h"
#include "source/source.h"

static char folder[] = "/tmp/op-source-XXXXXX";
static char path[200];

static void write_file(const char *text, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

struct setup {
    const char *kind;
    struct op_source_option options[6]; /* ends with name NULL */
};

static enum op_rc open_source(const struct setup *setup, const char *target,
                              struct op_source **ret, struct op_err *err)
{
    struct op_source_config config = {.env = op_env_default(),
                                      .name = "in",
                                      .target = target,
                                      .options = setup->options,
                                      .place = "p/pipeline.yaml:3"};
    while (setup->options[config.option_count].name)
        config.option_count++;
    return op_source_open(op_source_find(setup->kind), &config, ret, err);
}

static void add_row(struct op_buf *out, const struct op_value *cells, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char scratch[32];
        op_buf_addz(out, i ? "|" : "");
        op_buf_addc(out, "NIDTB"[cells[i].type]);
        struct op_str text = op_value_to_text(cells[i], scratch);
        op_buf_add(out, text.ptr ? text.ptr : "", text.len);
    }
}

/* Columns, then rows, a line each; a rejected row is "! " and its message, any other failure "!! "
 * and ends. The folder's name is taken out of messages. */
static char *dump(const struct setup *setup)
{
    struct op_buf out;
    struct op_source *source = NULL;
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&out, 1 << 20);
    enum op_rc rc = open_source(setup, path, &source, &err);
    for (size_t i = 0; !rc && i < source->column_count; i++)
        op_buf_addf(&out, "%s%s", i ? "|" : "", source->columns[i]);
    op_buf_addz(&out, rc ? "" : "\n");
    bool ended = false;
    while (!rc) {
        const struct op_value *cells = NULL;
        op_err_clear(&err);
        rc = op_source_next(source, &cells, &err);
        if (rc == OP_NOTFOUND) {
            assert_string_equal(err.msg, "");
            ended = true;
            break;
        }
        if (!rc)
            add_row(&out, cells, source->column_count);
        else if (rc == OP_INVAL && err.disp == OP_DISP_REJECT)
            op_buf_addf(&out, "! %s", err.msg);
        if (!rc || err.disp == OP_DISP_REJECT)
            op_buf_addc(&out, '\n');
        if (err.disp == OP_DISP_REJECT)
            rc = OP_OK;
    }
    if (rc && !ended)
        op_buf_addf(&out, "!! %s\n", err.msg);
    op_source_close(source);
    char *text = op_buf_take(&out);
    op_buf_release(&out);
    for (char *at; (at = strstr(text, path));)
        memmove(at, at + strlen(path) - 1, strlen(at + strlen(path) - 1) + 1), *at = 'F';
    return text;
}

struct check {
    const char *label;
    struct setup setup;
    const char *file; /* NULL: there is none */
    const char *want;
};

static void run_checks(const struct check *checks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t live = op_mem_live();
        unlink(path);
        if (checks[i].file)
            write_file(checks[i].file, strlen(checks[i].file));
        char *got = dump(&checks[i].setup);
        if (strcmp(got, checks[i].want) != 0)
            fail_msg("%s: got\n%s\nwant\n%s", checks[i].label, got, checks[i].want);
        op_mem_free(got);
        assert_int_equal(op_mem_live(), live);
    }
}

#define CSV(...)        \
    {                   \
        "csv",          \
        {               \
            __VA_ARGS__ \
        }               \
    }
#define JSONL(...)      \
    {                   \
        "jsonl",        \
        {               \
            __VA_ARGS__ \
        }               \
    }
#define SQLITE(...)     \
    {                   \
        "sqlite",       \
        {               \
            __VA_ARGS__ \
        }               \
    }

static void csv_rows(void **state)
{
    (void)state;
    static const struct check checks[] = {
        {"plain", CSV({NULL}), "id,text\n1,a\n2,\"b,\n\"\"c\"\"\"\n",
         "id|text\nT1|Ta\nT2|Tb,\n\"c\"\n"},
        {"BOM, CRLF, blank lines, no last newline", CSV({NULL}),
         "\xEF\xBB\xBFid,t\r\n\r\n1,x\r\n2,", "id|t\nT1|Tx\nT2|T\n"},
        {"only a header", CSV({NULL}), "id,t\n", "id|t\n"},
        {"separator", CSV({"separator", ";"}), "a;b\n1;2,3\n", "a|b\nT1|T2,3\n"},
        {"tab", CSV({"separator", "tab"}), "a\tb\n1\t2\n", "a|b\nT1|T2\n"},
        {"header option", CSV({"header", "key, value"}), "topic,x\nurl,y\n",
         "key|value\nTtopic|Tx\nTurl|Ty\n"},
        {"columns picked", CSV({"columns", "b,none,A"}), "a,x,b\n1,\xff,2\n3\n",
         "b|none|A\nT2|N|T1\n! F:3: the row has 1 fields, the header 3; a field with a separator "
         "or a line end in it must be quoted\n"},
        {"bad rows are passed over", CSV({"on_error", "skip"}),
         "a,b\n1,2\n3\n4,5,6\n7,8\n9,x\"y\n10,11\n12,\xff\n13,14\n",
         "a|b\nT1|T2\n"
         "! F:3: the row has 1 fields, the header 2; a field with a separator or a line end in it "
         "must be quoted\n"
         "! F:4: the row has 3 fields, the header 2; a field with a separator or a line end in it "
         "must be quoted\n"
         "T7|T8\n"
         "! F:6: record 6 has a quote inside an unquoted field; quote the whole field and double "
         "the quotes in it\n"
         "T10|T11\n"
         "! F:8: column 'b' is not UTF-8 at its byte 1 (0xff); convert the file to UTF-8\n"
         "T13|T14\n"},
        {"duplicate header", CSV({NULL}), "id,ID\n",
         "!! p/pipeline.yaml:3: input 'in': is the first line of the file a header? if not, name "
         "the columns with the option 'header': F:1: the header: columns 1 and 2 are both called "
         "'ID' (upper and lower case count as equal)\n"},
        {"empty header name", CSV({NULL}), "id,,x\n",
         "!! p/pipeline.yaml:3: input 'in': is the first line of the file a header? if not, name "
         "the columns with the option 'header': F:1: the header: column 2 has no name\n"},
        {"empty file", CSV({NULL}), "",
         "!! p/pipeline.yaml:3: input 'in': F is empty: a header line was expected\n"},
        {"empty optional file", CSV({"optional", "true"}, {"columns", "a,b"}), "", "a|b\n"},
        {"missing", CSV({NULL}), NULL,
         "!! p/pipeline.yaml:3: input 'in': there is no file 'F'; check the path (a relative one "
         "starts in the current folder), or say 'optional: true'\n"},
        {"missing, optional", CSV({"optional", "yes"}, {"columns", "a,b"}), NULL, "a|b\n"},
        {"missing, optional, nameless", CSV({"optional", "yes"}), NULL,
         "!! p/pipeline.yaml:3: input 'in': 'F' is not there and "
         "'optional' is set, so the option 'columns' must name its columns\n"},
        {"bad option", CSV({"seperator", ";"}), "a\n",
         "!! p/pipeline.yaml:3: input 'in': csv has no option 'seperator'; did you mean "
         "'separator'?\n"},
        {"bad separator", CSV({"separator", "ab"}), "a\n",
         "!! p/pipeline.yaml:3: input 'in': option 'separator' is one character (no quote, no line "
         "end) or 'tab', not 'ab'\n"},
        {"bad flag", CSV({"optional", "maybe"}), "a\n",
         "!! p/pipeline.yaml:3: input 'in': option 'optional' is true or false, not 'maybe'\n"},
    };
    run_checks(checks, OP_COUNT(checks));
}

static void jsonl_rows(void **state)
{
    (void)state;
    static const struct check checks[] = {
        {"types", JSONL({NULL}),
         "{\"i\":7,\"d\":1.5,\"t\":\"x\\ny\",\"n\":null,\"b\":true,\"o\":{\"a\": [1, 2]},\"a\":[]}\n"
         "{\"o\":{\"k\":\"v\"},\"i\":-1}\n",
         "i|d|t|n|b|o|a\nI7|D1.5|Tx\ny|N|I1|T{\"a\":[1,2]}|T[]\nI-1|N|N|N|N|T{\"k\":\"v\"}|N\n"},
        {"BOM, CRLF, blank lines", JSONL({NULL}), "\xEF\xBB\xBF{\"a\":1}\r\n\r\n  \n{\"a\":2}",
         "a\nI1\nI2\n"},
        {"union of the first lines", JSONL({NULL}), "{\"a\":1}\n{\"b\":2}\n",
         "a|b\nI1|N\nN|I2\n"},
        {"columns and the line", JSONL({"columns", "b,_json"}), "{\"a\":1,\"b\":2}\n",
         "b|_json\nI2|T{\"a\":1,\"b\":2}\n"},
        {"broken lines", JSONL({"on_error", "skip"}), "{\"a\":1}\n[1]\n{\"a\":2}\n7\n",
         "a\nI1\n! F:2: the line is a JSON array, not an object\nI2\n"
         "! F:4: the line is a JSON integer, not an object\n"},
        {"last of equal members", JSONL({NULL}), "{\"a\":1,\"a\":{\"x\":1},\"a\":3}\n",
         "a\nI3\n"},
        {"no object", JSONL({NULL}), "1\n2\n",
         "!! p/pipeline.yaml:3: input 'in': F: no JSON object in the first 100 lines; if that is "
         "as it should be, name the columns with the option 'columns'\n"},
        {"names that differ by case", JSONL({NULL}), "{\"a\":1,\"A\":2}\n",
         "!! p/pipeline.yaml:3: input 'in': choose with the option 'columns': F:1: the members: "
         "columns 1 and 2 are both called 'A' (upper and lower case count as equal)\n"},
        {"missing, optional", JSONL({"optional", "yes"}, {"columns", "a,b"}), NULL, "a|b\n"},
        {"big numbers", JSONL({NULL}),
         "{\"a\":9223372036854775807,\"b\":9223372036854775808}\n",
         "a|b\nI9223372036854775807|D9.22337203685478e+18\n"},
    };
    run_checks(checks, OP_COUNT(checks));
    write_file("{\"a\":1}\n{\"a\":\n{\"a\":3}\n", 23);
    char *got = dump(&(struct setup)JSONL({NULL}));
    assert_non_null(strstr(got, "! F:2: "));
    assert_non_null(strstr(got, "\nI3\n"));
    op_mem_free(got);
}

/* A line of 40 MB is not held in memory, only counted. */
static void jsonl_huge_line(void **state)
{
    (void)state;
    size_t size = 40u * 1024 * 1024;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs("{\"a\":1}\n", f);
    char *block = op_mem_alloc(1 << 20);
    memset(block, 'x', 1 << 20);
    for (size_t i = 0; i < size >> 20; i++)
        assert_int_equal(fwrite(block, 1, 1 << 20, f), 1 << 20);
    op_mem_free(block);
    fputs("\n{\"a\":2}\n", f);
    fclose(f);
    char *got = dump(&(struct setup)JSONL({"columns", "a"}));
    assert_string_equal(got, "a\nI1\n! F:2: the line has 41943040 bytes, more than the "
                             "limit of 16777216\nI2\n");
    op_mem_free(got);
}

static void make_db(const char *sql)
{
    sqlite3 *db = NULL;
    unlink(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void sqlite_rows(void **state)
{
    (void)state;
    static const struct {
        struct setup setup;
        const char *want;
    } checks[] = {
        {SQLITE({"table", "t"}), "id|v|x\nI1|Tone|N\nI2|D2.5|Bzz\n"},
        {SQLITE({"query", "SELECT v, id*2 AS d FROM t WHERE id > 1"}), "v|d\nD2.5|I4\n"},
        {SQLITE({"query", "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE "
                          "n<2) SELECT n FROM c;"}),
         "n\nI1\nI2\n"},
        {SQLITE({"table", "done"}, {"optional", "true"}, {"columns", "key"}), "key\n"},
        {SQLITE({"table", "done"}),
         "!! p/pipeline.yaml:3: input 'in': F has no table 'done'; it has: t\n"},
        {SQLITE({"query", "DELETE FROM t"}),
         "!! p/pipeline.yaml:3: input 'in': F, the query: not authorized\n"},
        {SQLITE({"query", "PRAGMA user_version"}),
         "!! p/pipeline.yaml:3: input 'in': F, the query: not authorized\n"},
        {SQLITE({"query", "ATTACH 'x.db' AS x"}),
         "!! p/pipeline.yaml:3: input 'in': F, the query: not authorized\n"},
        {SQLITE({"query", "SELECT 1 AS a; SELECT 2 AS b"}),
         "!! p/pipeline.yaml:3: input 'in': F, the query: one SELECT, but 'SELECT 2 AS b' follows "
         "it\n"},
        {SQLITE({"query", "SELECT 1 AS a, 2 AS A"}),
         "!! p/pipeline.yaml:3: input 'in': F: give the column another name with AS: the query: "
         "columns 1 and 2 are both called 'A' (upper and lower case count as equal)\n"},
        {SQLITE({"table", "t"}, {"query", "SELECT 1"}),
         "!! p/pipeline.yaml:3: input 'in': sqlite needs 'table' or 'query', and not both\n"},
        {SQLITE({NULL}),
         "!! p/pipeline.yaml:3: input 'in': sqlite needs 'table' or 'query', and not both\n"},
    };
    make_db(
        "CREATE TABLE t(id INTEGER, v, x); INSERT INTO t VALUES (1,'one',NULL), (2,2.5,x'7a7a');");
    for (size_t i = 0; i < OP_COUNT(checks); i++) {
        int64_t live = op_mem_live();
        char *got = dump(&checks[i].setup);
        assert_string_equal(got, checks[i].want);
        op_mem_free(got);
        assert_int_equal(op_mem_live(), live);
    }
    write_file(
        "this is no database, but long enough to be looked at as one by SQLite..........", 79);
    char *got = dump(&(struct setup)SQLITE({"table", "t"}));
    assert_string_equal(
        got, "!! p/pipeline.yaml:3: input 'in': F, table 't': file is not a database\n");
    op_mem_free(got);
    unlink(path);
    got = dump(&(struct setup)SQLITE({"table", "t"}, {"optional", "true"}, {"columns", "a"}));
    assert_string_equal(got, "a\n");
    op_mem_free(got);
}

static void plain_lines(void **state)
{
    (void)state;
    static const struct check checks[] = {
        {"lines", {"lines", {{NULL}}}, "\xEF\xBB\xBF{a}\r\n\n b ", "line\nT{a}\nT b \n"},
        {"missing, optional", {"lines", {{"optional", "true"}}}, NULL, "line\n"},
    };
    run_checks(checks, OP_COUNT(checks));
}

static void guesses(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"a.csv", "csv"},      {"A.CSV", "csv"},   {"x/y.tsv", "csv"},
        {"a.jsonl", "jsonl"},  {"a.db", "sqlite"}, {"a.sqlite3", "sqlite"},
        {"a.ndjson", "jsonl"}, {"a.txt", NULL},    {".csv", NULL},
    };
    for (size_t i = 0; i < OP_COUNT(table); i++) {
        const struct op_source_ops *ops = op_source_guess(table[i][0]);
        if (table[i][1])
            assert_string_equal(ops->kind, table[i][1]);
        else
            assert_null(ops);
    }
    assert_null(op_source_find("parquet"));
    for (const struct op_source_ops *const *ops = op_sources(); *ops; ops++)
        assert_ptr_equal(op_source_find((*ops)->kind), *ops);
}

static int64_t count_rows(const struct setup *setup, const char *target, int64_t *ret_rejected,
                          size_t *ret_columns)
{
    struct op_source *source = NULL;
    struct op_err err = OP_ERR_INIT;
    if (open_source(setup, target, &source, &err))
        fail_msg("%s", err.msg);
    *ret_columns = source->column_count;
    int64_t rows = 0;
    *ret_rejected = 0;
    for (;;) {
        const struct op_value *cells;
        op_err_clear(&err);
        enum op_rc rc = op_source_next(source, &cells, &err);
        if (rc == OP_NOTFOUND)
            break;
        if (rc && err.disp != OP_DISP_REJECT)
            fail_msg("%s", err.msg);
        rows += !rc;
        *ret_rejected += rc != OP_OK;
    }
    op_source_close(source);
    return rows;
}

/* Real files of both kinds. */
static void real_files(void **state)
{
    (void)state;
    const char *summary = OP_SHARED_DIR "/data/polis-opendata/bg2050-volunteers/summary.csv";
    if (access(summary, R_OK) != 0)
        skip();
    int64_t rejected = 0;
    size_t columns = 0;
    int64_t rows =
        count_rows(&(struct setup)CSV({"header", "key,value"}), summary, &rejected, &columns);
    assert_int_equal(rows, 9);
    assert_int_equal(rejected, 0);
    rows = count_rows(&(struct setup)CSV({NULL}),
                      OP_SHARED_DIR "/data/polis-opendata/bg2050-volunteers/comments.csv",
                      &rejected, &columns);
    assert_true(rows >= 371);
    assert_int_equal(rejected, 0);
    rows = count_rows(&(struct setup)JSONL({NULL}),
                      OP_SHARED_DIR "/data/claude-code-transcripts/edge_cases.jsonl", &rejected,
                      &columns);
    assert_int_equal(rows + rejected, 19);
    assert_int_equal(rejected, 3);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(path, sizeof(path), "%s/file", mkdtemp(folder));
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* Every option is described where people look for it. */
static void options_are_documented(void **state)
{
    (void)state;
    struct op_buf text;
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&text, 1 << 20);
    assert_int_equal(op_io_read_file(op_env_default(),
                                     OP_SOURCE_DIR "/docs/reference/inputs.md", &text, &err),
                     OP_OK);
    for (const struct op_source_ops *const *ops = op_sources(); *ops; ops++) {
        char word[64];
        snprintf(word, sizeof(word), "\n## %s\n", (*ops)->kind);
        char *begin = strstr(text.ptr, word);
        assert_non_null(begin);
        char *end = strstr(begin + 4, "\n## ");
        char *section = op_mem_strndup(begin, end ? (size_t)(end - begin) : strlen(begin));
        for (const struct op_source_option_spec *spec = (*ops)->options; spec->name; spec++) {
            snprintf(word, sizeof(word), "\n| `%s` |", spec->name);
            if (!strstr(section, word))
                fail_msg("%s: %s is not documented", (*ops)->kind, spec->name);
        }
        op_mem_free(section);
    }
    op_buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_rows),        cmocka_unit_test(jsonl_rows),
        cmocka_unit_test(jsonl_huge_line), cmocka_unit_test(sqlite_rows),
        cmocka_unit_test(guesses),         cmocka_unit_test(plain_lines),
        cmocka_unit_test(real_files),      cmocka_unit_test(options_are_documented),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
