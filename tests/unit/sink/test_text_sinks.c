/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: csv and jsonl outputs: encoding, merging by key, several targets, sorting, putting
 *            off, failures of the disk, leftovers of a killed process, rows in any number.
 * Oracle:    tables of files; a naive merge over lists of lines, against random old files and rows
 *            delivered whole, in pieces, again and from the start; hash collisions are forged.
 */
#include "base/io.h"
#include "support.h"

static const struct test_sink csv = {
    .kind = "csv", .target = "out/t.csv", .columns = {"id", "text"}, .key = {"id"}};
static const struct test_sink jsonl = {
    .kind = "jsonl", .target = "t.jsonl", .columns = {"id", "text"}, .key = {"id"}};

struct merge_case {
    const char *label;
    struct test_sink sink;
    const char *old, *rows, *want;
};

static const struct merge_case merge_cases[] = {
    {"fresh csv",
     {.kind = "csv", .target = "t", .columns = {"id", "text"}, .key = {"id"}},
     NULL,
     "1|a\n2|b, c\n3|N",
     "id,text\n1,a\n2,\"b, c\"\n3,\n"},
    {"the last of a key wins, where the first stood",
     {.kind = "csv", .target = "t", .columns = {"id", "text"}, .key = {"id"}},
     NULL,
     "1|a\n2|b\n1|c\n3|d\n1|e",
     "id,text\n1,e\n2,b\n3,d\n"},
    {"replaced in place, others keep their bytes",
     {.kind = "csv", .target = "t", .columns = {"id", "text"}, .key = {"id"}},
     "id,text\r\n\"7\",\"old\"\r\n1,old\r\n\"x\",\"a\nb\"",
     "1|new\n9|nine",
     "id,text\r\n\"7\",\"old\"\r\n1,new\n\"x\",\"a\nb\"\n9,nine\n"},
    {"quoted and unquoted keys are equal",
     {.kind = "csv", .target = "t", .columns = {"id", "text"}, .key = {"id"}},
     "id,text\n\"7\",old\n",
     "7|new",
     "id,text\n7,new\n"},
    {"old rows of one key become one",
     {.kind = "csv", .target = "t", .columns = {"id", "text"}, .key = {"id"}},
     "id,text\n1,a\n2,b\n1,c\n2,d\n",
     "1|new",
     "id,text\n1,new\n2,b\n2,d\n"},
    {"BOM and header without line end",
     {.kind = "csv", .target = "t", .columns = {"id", "text"}, .key = {"id"}},
     "\xEF\xBB\xBFid,text",
     "1|a",
     "\xEF\xBB\xBFid,text\n1,a\n"},
    {"an empty file is none",
     {.kind = "csv", .target = "t", .columns = {"id", "text"}, .key = {"id"}},
     "",
     "1|a",
     "id,text\n1,a\n"},
    {"guarded keys are found again",
     {.kind = "csv", .target = "t", .columns = {"id", "text"}, .key = {"id"}},
     "id,text\n'=A,old\n",
     "=A|new\n-5|num",
     "id,text\n'=A,new\n-5,num\n"},
    {"guard off",
     {.kind = "csv", .target = "t", .columns = {"id"}, .options = {{"guard", "off"}}},
     NULL,
     "=A",
     "id\n=A\n"},
    {"one column",
     {.kind = "csv", .target = "t", .columns = {"id"}, .key = {"id"}},
     "id\n\"\"\n \n",
     "N\na",
     "id\n\"\"\n \na\n"},
    {"separator and crlf",
     {.kind = "csv",
      .target = "t",
      .columns = {"id", "text"},
      .key = {"id"},
      .options = {{"separator", "tab"}, {"crlf", "true"}}},
     NULL,
     "1|a,b\n2|c\td",
     "id\ttext\r\n1\ta,b\r\n2\t\"c\td\"\r\n"},
    {"no key: written anew",
     {.kind = "csv", .target = "t", .columns = {"id", "text"}},
     "foreign,columns\n",
     "1|a\n1|b",
     "id,text\n1,a\n1,b\n"},
    {"two key columns",
     {.kind = "csv", .target = "t", .columns = {"a", "b", "v"}, .key = {"b", "a"}},
     "a,b,v\n1,2,x\n2,1,y\n",
     "2|1|new\n12||z",
     "a,b,v\n1,2,x\n2,1,new\n12,,z\n"},
    {"sorted by value",
     {.kind = "csv",
      .target = "t",
      .columns = {"id", "text"},
      .key = {"id"},
      .options = {{"sort", "id"}, {"crlf", "yes"}}},
     "id,text\n10,x\n9,\"y\nz\"\nabc,q",
     "2|a\n1.5|b",
     "id,text\n1.5,b\r\n2,a\r\n9,\"y\nz\"\n10,x\nabc,q\r\n"},
    {"sorted by two columns",
     {.kind = "jsonl",
      .target = "t",
      .columns = {"id", "g"},
      .key = {"id"},
      .options = {{"sort", "g, id"}}},
     NULL,
     "3|b\n2|a\n1|b",
     "{\"id\":2,\"g\":\"a\"}\n{\"id\":1,\"g\":\"b\"}\n{\"id\":3,\"g\":\"b\"}\n"},
    {"fresh jsonl",
     {.kind = "jsonl", .target = "t", .columns = {"id", "text"}, .key = {"id"}},
     NULL,
     "1|a \"q\"\n2|N\n3.0|2.5",
     "{\"id\":1,\"text\":\"a \\\"q\\\"\"}\n{\"id\":2,\"text\":null}\n{\"id\":3,\"text\":2.5}\n"},
    {"jsonl merged; 7 and 7.0 are equal, \"7\" is not",
     {.kind = "jsonl", .target = "t", .columns = {"id", "text"}, .key = {"id"}},
     "{\"more\":[1], \"id\": 7.0}\n\n{\"id\":\"7\"}\n{\"text\":1}",
     "7|new\nN|null",
     "{\"id\":7,\"text\":\"new\"}\n\n{\"id\":\"7\"}\n{\"id\":null,\"text\":\"null\"}\n"},
    {"lines",
     {.kind = "lines", .target = "t", .columns = {"line"}},
     "old\n",
     "{x}\nb,\"",
     "{x}\nb,\"\n"},
    {"json columns",
     {.kind = "jsonl",
      .target = "t",
      .columns = {"id", "a", "b"},
      .key = {"id"},
      .options = {{"json_columns", "a,b"}}},
     NULL,
     "1|{\"x\": [1, 2.50]}|true\n2|N|\"s\"",
     "{\"id\":1,\"a\":{\"x\":[1,2.50]},\"b\":true}\n{\"id\":2,\"a\":null,\"b\":\"s\"}\n"},
};

static void merges(void **state)
{
    (void)state;
    for (size_t i = 0; i < OP_COUNT(merge_cases); i++) {
        int64_t live = op_mem_live();
        struct op_sink *sink = test_sink(&merge_cases[i].sink);
        unlink(test_target);
        unlink(test_outbox);
        test_end = 0;
        if (merge_cases[i].old)
            test_put(test_target, merge_cases[i].old);
        test_rows(sink, merge_cases[i].rows, false);

        /* Twice is as once. */
        for (int again = 0; again < 2; again++) {
            test_deliver(sink, 0, test_end);
            test_file_label(merge_cases[i].label, merge_cases[i].want);
        }
        op_sink_close(sink);
        assert_int_equal(op_mem_live(), live);
    }
}

/* An old file that does not fit is refused and stays as it is. */
static void refusals(void **state)
{
    (void)state;
    static const struct {
        const struct test_sink *sink;
        const char *old, *want; /* part of the message */
    } cases[] = {
        {&csv, "id,text,extra\n",
         ":1: the existing file cannot be merged, it stays as it is: it has a column 'extra'"},
        {&csv, "id\n", "it lacks the column 'text'"},
        {&csv, "text,id\n", "in another order"},
        {&csv, "id,text\n1,a\n2\n",
         ":3: the existing file cannot be merged, it stays as it is: the row has 1 fields, but there are 2 columns"},
        {&csv, "id,text\n1,a\n2,b\"c\"\n",
         ":3: the existing file cannot be merged, it stays as it is: a quote stands inside an unquoted field"},
        {&csv, "id,text\n1,\"a\n", "a quote that is never closed"},
        {&jsonl, "{\"id\":1}\n[1]\n",
         ":2: the existing file cannot be merged, it stays as it is: the line is a JSON array"},
        {&jsonl, "{\"id\":\n", ":1: the existing file"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_sink *sink = test_sink(cases[i].sink);
        unlink(test_outbox);
        test_end = 0;
        test_rows(sink, "1|new", false);
        if (i == 0) /* makes the folder */
            test_deliver(sink, 0, test_end);
        test_put(test_target, cases[i].old);
        struct op_err err = OP_ERR_INIT;
        int64_t delivered = -1;
        assert_int_equal(
            op_sink_deliver(sink, test_outbox, 0, test_end, true, &delivered, &err), OP_INVAL);
        if (!strstr(err.msg, cases[i].want))
            fail_msg("got: %s\nwant: %s", err.msg, cases[i].want);
        test_file_is(test_target, cases[i].old);
        op_sink_close(sink);
    }
}

static void bad_rows(void **state)
{
    (void)state;
    static const struct test_sink json_column = {.kind = "jsonl",
                                                 .target = "t",
                                                 .columns = {"id", "text"},
                                                 .key = {"id"},
                                                 .options = {{"json_columns", "text"}}};
    static const struct {
        const struct test_sink *sink;
        struct op_value cells[2];
        const char *want;
    } cases[] = {
        {&csv,
         {{.type = OP_VALUE_INT}, {.type = OP_VALUE_BLOB, .s = {"x", 1}}},
         "column 'text' is a blob"},
        {&csv,
         {{.type = OP_VALUE_INT}, {.type = OP_VALUE_TEXT, .s = {"a\0b", 3}}},
         "NUL character"},
        {&jsonl,
         {{.type = OP_VALUE_INT}, {.type = OP_VALUE_BLOB, .s = {"x", 1}}},
         "column 'text' is a blob"},
        {&jsonl,
         {{.type = OP_VALUE_TEXT, .s = {"\xff", 1}}, {.type = OP_VALUE_NULL}},
         "'id' is not valid UTF-8"},
        {&json_column,
         {{.type = OP_VALUE_INT}, {.type = OP_VALUE_TEXT, .s = {"{\"a\":}", 6}}},
         "its text is no JSON value"},
        {&json_column,
         {{.type = OP_VALUE_INT}, {.type = OP_VALUE_TEXT, .s = {"1 2", 3}}},
         "its text is no JSON value"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_sink *sink = test_sink(cases[i].sink);
        struct op_err err = OP_ERR_INIT;
        struct op_buf out;
        op_buf_init(&out, 1 << 20);
        op_buf_addz(&out, "before");
        assert_int_equal(op_sink_encode(sink, OP_STR_NULL, cases[i].cells, &out, &err),
                         OP_INVAL);
        assert_int_equal(err.disp, OP_DISP_REJECT);
        if (!strstr(err.msg, cases[i].want))
            fail_msg("got: %s\nwant: %s", err.msg, cases[i].want);
        assert_true(op_str_is(op_buf_str(&out), "before"));
        op_buf_release(&out);
        op_sink_close(sink);
    }
    /* A row too large for a frame, and a full buffer. */
    struct op_sink *sink = test_sink(&csv);
    size_t len = OP_FRAME_MAX + 1;
    char *big = op_mem_alloc(len);
    memset(big, 'x', len);
    struct op_value cells[2] = {op_value_int(1), op_value_text((struct op_str){big, len})};
    for (int full = 0; full < 2; full++) {
        struct op_err err = OP_ERR_INIT;
        struct op_buf out;
        op_buf_init(&out, full ? 1000 : 1 << 30);
        op_buf_addz(&out, "before");
        assert_int_equal(op_sink_encode(sink, OP_STR_NULL, cells, &out, &err), OP_INVAL);
        assert_int_equal(err.disp == OP_DISP_REJECT, !full);
        assert_int_equal(out.len, 6);
        op_buf_release(&out);
    }
    op_mem_free(big);
    op_sink_close(sink);
}

static void bad_options(void **state)
{
    (void)state;
    static const struct {
        struct test_sink sink;
        const char *want;
    } cases[] = {
        {{.kind = "csv", .target = "t", .columns = {"id"}, .key = {"Id"}},
         "p:9: 'key' names 'Id', which is no column of 'rows'; did you mean 'id'?"},
        {{.kind = "csv", .target = "t", .columns = {"id"}, .options = {{"sort", "id,x"}}},
         "p:9: 'sort' names 'x', which is no column of 'rows'"},
        {{.kind = "csv", .target = "t", .columns = {"id"}, .options = {{"gaurd", "x"}}},
         "p:9: the output kind 'csv' has no option 'gaurd'; did you mean 'guard'?"},
        {{.kind = "csv", .target = "t", .columns = {"id"}, .options = {{"guard", "x"}}},
         "p:9: option 'guard' is true or false, not 'x'"},
        {{.kind = "csv", .target = "t", .columns = {"id"}, .options = {{"separator", "\""}}},
         "p:9: option 'separator' is one character"},
        {{.kind = "csv", .target = "t", .columns = {NULL}}, "p:9: 'rows' yields no columns"},
        {{.kind = "jsonl",
          .target = "t",
          .columns = {"id"},
          .key = {"id"},
          .options = {{"json_columns", "id"}}},
         "p:9: the key column 'id' cannot be in 'json_columns'"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        int64_t live = op_mem_live();
        struct op_sink *sink = NULL;
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(test_try_sink(&cases[i].sink, &sink, &err), OP_INVAL);
        if (!op_str_starts(op_str_from(err.msg), cases[i].want))
            fail_msg("got: %s\nwant: %s", err.msg, cases[i].want);
        assert_null(sink);
        assert_int_equal(op_mem_live(), live);
    }
}

static void nothing_to_write(void **state)
{
    (void)state;
    struct op_sink *sink = test_sink(&csv);
    test_deliver(sink, 0, 0); /* there is no outbox at all */
    test_file_is(test_target, "id,text\n");
    test_put(test_target, "foreign");
    test_deliver(sink, 0, 0);
    test_file_is(test_target, "foreign");
    op_sink_close(sink);
}

static void full_disk(void **state)
{
    (void)state;
    struct op_sink *sink = test_sink(&csv);
    test_rows(sink, "1|new\n2|b\n2|c", false);
    test_deliver(sink, 0, test_end);
    op_sink_close(sink);
    test_full_disk(&csv, "id,text\n0,z\n1,old\n", "id,text\n0,z\n1,new\n2,c\n");
    test_full_disk(&csv, "", "id,text\n1,new\n2,c\n");
}

static void leftover(void **state)
{
    (void)state;
    struct op_sink *sink = test_sink(&jsonl);
    char *temp = op_mem_printf("%s/.t.jsonl.offpeak-tmp", test_folder);
    test_put(temp, "torn");
    test_rows(sink, "1|a", false);
    test_deliver(sink, 0, test_end);
    test_file_is(test_target, "{\"id\":1,\"text\":\"a\"}\n");
    test_file_is(temp, "(none)");
    op_mem_free(temp);
    op_sink_close(sink);
}

/* The file is gone in the middle of the job: it is made again from the whole outbox. */
static void vanished_target(void **state)
{
    (void)state;
    struct op_sink *sink = test_sink(&csv);
    test_rows(sink, "1|a\n2|b", false);
    int64_t half = test_end;
    test_deliver(sink, 0, half);
    unlink(test_target);
    test_rows(sink, "3|c", false);
    test_deliver(sink, half, test_end);
    test_file_is(test_target, "id,text\n1,a\n2,b\n3,c\n");
    op_sink_close(sink);
}

static void damaged_outbox(void **state)
{
    (void)state;
    struct op_sink *sink = test_sink(&csv);
    test_rows(sink, "1|a\n2|b", false);
    static const int64_t cuts[] = {1, 15, 17, 25};
    for (size_t i = 0; i < OP_COUNT(cuts); i++) {
        struct op_err err = OP_ERR_INIT;
        int64_t delivered = -1;
        assert_int_equal(truncate(test_outbox, test_end - cuts[i]), 0);
        assert_int_equal(
            op_sink_deliver(sink, test_outbox, 0, test_end, true, &delivered, &err), OP_IO);
        assert_non_null(strstr(err.msg, "no whole frame at byte"));
        test_file_is(test_target, "(none)");
    }
    op_sink_close(sink);
}

static void put_off(void **state)
{
    (void)state;
    struct op_sink *sink = test_sink(&jsonl);
    struct op_buf old;
    op_buf_init(&old, 1 << 30);
    for (int i = 0; i < 300000; i++)
        op_buf_addf(&old, "{\"id\":\"old-%d\",\"text\":\"%040d\"}\n", i, i);
    test_write_file(test_target, old.ptr, old.len);
    test_rows(sink, "1|a\n2|b", false);
    struct op_err err = OP_ERR_INIT;
    int64_t delivered = -1;
    assert_int_equal(op_sink_deliver(sink, test_outbox, 0, test_end, false, &delivered, &err),
                     OP_OK);
    assert_int_equal(delivered, 0);
    test_file_is(test_target, old.ptr);
    test_deliver(sink, 0, test_end);
    op_buf_addz(&old, "{\"id\":1,\"text\":\"a\"}\n{\"id\":2,\"text\":\"b\"}\n");
    test_file_is(test_target, old.ptr);
    op_buf_release(&old);
    op_sink_close(sink);
}

/* Frames whose hash is that of another key: neither may take the other's place. */
static void collisions(void **state)
{
    (void)state;
    struct op_sink *sink = test_sink(&csv);
    struct op_buf frames;
    op_buf_init(&frames, 1 << 20);
    test_rows(sink, "1|x", false);
    test_deliver(sink, 0, test_end);
    uint64_t hash;
    char *bytes = test_read_file(test_outbox);
    memcpy(&hash, bytes + 8, 8);
    op_mem_free(bytes);
    static const char *const rows[] = {"2,b\n", "1,new\n", "3,c\n", "2,bb\n", "4,d\n"};
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct op_err err = OP_ERR_INIT;
        size_t start = op_frame_begin(&frames, OP_STR_NULL);
        op_buf_addz(&frames, rows[i]);
        assert_int_equal(op_frame_end(&frames, start, 0, hash, &err), OP_OK);
    }
    int64_t from = test_end;
    test_append(&frames);
    test_put(test_target, "id,text\n0,z\n1,old\n");
    test_deliver(sink, from, test_end);
    test_file_is(test_target, "id,text\n0,z\n1,new\n2,bb\n3,c\n4,d\n");
    unlink(test_target);
    test_put(test_target, "");
    test_deliver(sink, 0, test_end);
    test_file_is(test_target, "id,text\n1,new\n2,bb\n3,c\n4,d\n");
    op_buf_release(&frames);
    op_sink_close(sink);
}

static void many_targets(void **state)
{
    (void)state;
    static const struct test_sink spec = {.kind = "csv",
                                          .target = "out/{{g}}/r.csv",
                                          .columns = {"id", "text"},
                                          .key = {"id"},
                                          .per_row_path = true};
    struct op_sink *sink = test_sink(&spec);
    test_rows(sink, "out/a/r.csv|1|x\nout/b/r.csv|1|y\nout/a/r.csv|2|z\nout/a/r.csv|1|w", true);
    int64_t half = test_end;
    test_deliver(sink, 0, half);
    test_rows(sink, "out/b/r.csv|1|yy\nout/b/q.csv|5|q", true);
    test_deliver(sink, half, test_end);
    char path[128];
    static const char *const want[][2] = {
        {"a/r", "id,text\n1,w\n2,z\n"}, {"b/r", "id,text\n1,yy\n"}, {"b/q", "id,text\n5,q\n"}};
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < OP_COUNT(want); i++) {
            snprintf(path, sizeof(path), "%s/out/%s.csv", test_folder, want[i][0]);
            test_file_is(path, want[i][1]);
        }
        test_deliver(sink, 0, test_end);
    }
    static const char *const bad[] = {
        "out/../x.csv", "other/x.csv",           "out//x", "out/x/", "out/a/./b",
        "out/a\nb",     "out/.r.csv.offpeak-tmp"};
    struct op_value cells[2] = {op_value_int(1), op_value_null()};
    struct op_buf out;
    op_buf_init(&out, 1000);
    for (size_t i = 0; i < OP_COUNT(bad); i++) {
        struct op_err err = OP_ERR_INIT;
        snprintf(path, sizeof(path), "%s/%s", test_folder, bad[i]);
        assert_int_equal(op_sink_encode(sink, op_str_from(path), cells, &out, &err), OP_INVAL);
        assert_int_equal(err.disp, OP_DISP_REJECT);
        assert_int_equal(out.len, 0);
    }
    op_buf_release(&out);
    op_sink_close(sink);
}

/* More rows than the sorter holds in memory: keys repeat, far apart. */
static void many_rows(void **state)
{
    (void)state;
    enum { ROWS = 700000, KEYS = 600000 };
    struct op_sink *sink = test_sink(&csv);
    struct op_buf frames;
    op_buf_init(&frames, 1 << 30);
    for (int64_t i = 0; i < ROWS; i++) {
        struct op_value cells[2] = {op_value_int(i % KEYS), op_value_int(i)};
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(op_sink_encode(sink, OP_STR_NULL, cells, &frames, &err), OP_OK);
    }
    test_append(&frames);
    op_buf_clear(&frames);
    op_buf_addz(&frames, "id,text\n");
    for (int64_t i = 0; i < KEYS; i++)
        op_buf_addf(&frames, "%lld,%lld\n", (long long)i,
                    (long long)(i + KEYS < ROWS ? i + KEYS : i));
    for (int again = 0; again < 2; again++) {
        test_deliver(sink, 0, test_end);
        test_file_is(test_target, frames.ptr);
    }
    op_buf_release(&frames);
    op_sink_close(sink);
}

/* --- the random comparison --- */

static uint64_t random_state = 1;
static unsigned draw(unsigned below)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(random_state >> 33) % below;
}

struct model {
    struct {
        unsigned key;
        char *line;
        bool old;
    } rows[400];
    size_t count;
};

static const char *const words[] = {"",     "a",        "b c", "x,y", "q\"q",
                                    "l\nm", "\xC3\xA9", "'",   "12"};

/* Keys are small numbers, written with an odd word that needs quoting. */
static const char *key_text(unsigned key, char text[32])
{
    snprintf(text, 32, key % 3 ? "%u" : "k\"%u,\n", key);
    return text;
}

static void add_csv(struct op_buf *out, const char *text, bool always)
{
    bool quote = always || strpbrk(text, "\",\n");
    op_buf_addz(out, quote ? "\"" : "");
    for (; *text; text++)
        op_buf_addf(out, *text == '"' && quote ? "\"\"" : "%c", *text);
    op_buf_addz(out, quote ? "\"" : "");
}

static void add_json(struct op_buf *out, const char *text)
{
    op_buf_addz(out, "\"");
    for (; *text; text++) {
        if (*text == '\n')
            op_buf_addz(out, "\\n");
        else
            op_buf_addf(out, *text == '"' ? "\\\"" : "%c", *text);
    }
    op_buf_addz(out, "\"");
}

/* A line as this program writes it, or (odd) as another might. */
static char *line_of(bool is_csv, unsigned key, const char *text, bool odd)
{
    struct op_buf out;
    char key_buf[32];
    op_buf_init(&out, 10000);
    if (is_csv) {
        add_csv(&out, key_text(key, key_buf), odd);
        op_buf_addz(&out, ",");
        add_csv(&out, text, odd);
    } else {
        op_buf_addz(&out, odd ? "{ \"id\" : " : "{\"id\":");
        add_json(&out, key_text(key, key_buf));
        op_buf_addz(&out, odd ? ", \"text\":" : ",\"text\":");
        add_json(&out, text);
        op_buf_addz(&out, "}");
    }
    char *line = op_buf_take(&out);
    op_buf_release(&out);
    return line;
}

static void model_deliver(struct model *m, unsigned key, const char *line)
{
    bool found = false;
    for (size_t i = 0; i < m->count; i++) {
        if (m->rows[i].key != key)
            continue;
        op_mem_free(m->rows[i].line);
        m->rows[i].line = op_mem_strdup(line);
        if (found) {
            op_mem_free(m->rows[i].line);
            memmove(&m->rows[i], &m->rows[i + 1], (m->count - i - 1) * sizeof(m->rows[0]));
            m->count--;
            i--;
        }
        found = true;
    }
    if (!found) {
        m->rows[m->count].key = key;
        m->rows[m->count++].line = op_mem_strdup(line);
    }
}

static char *model_text(const struct model *m, bool is_csv)
{
    struct op_buf out;
    op_buf_init(&out, 1 << 20);
    op_buf_addz(&out, is_csv ? "id,text\n" : "");
    for (size_t i = 0; i < m->count; i++)
        op_buf_addf(&out, "%s\n", m->rows[i].line);
    char *text = op_buf_take(&out);
    op_buf_release(&out);
    return text;
}

static void one_comparison(bool is_csv)
{
    struct model m = {.count = 0};
    struct op_sink *sink = test_sink(is_csv ? &csv : &jsonl);
    int64_t ends[128];
    size_t deliveries = 0, delivered = 0;
    unsigned keys = 1 + draw(60), old = draw(3) ? draw(80) : 0, frames = 1 + draw(120);
    unlink(test_outbox);
    unlink(test_target);
    test_end = 0;
    for (unsigned i = 0; i < old; i++) {
        m.rows[m.count].key = draw(keys);
        m.rows[m.count].line =
            line_of(is_csv, m.rows[m.count].key, words[draw(OP_COUNT(words))], draw(2));
        m.count++;
    }
    char *text = model_text(&m, is_csv);
    if (old) {
        test_put(test_target, text);
        if (draw(2)) /* without the last line end */
            assert_int_equal(truncate(test_target, (off_t)strlen(text) - 1), 0);
    }
    op_mem_free(text);
    struct op_buf out;
    op_buf_init(&out, 1 << 20);
    ends[0] = 0;
    for (unsigned i = 0; i < frames; i++) {
        unsigned key = draw(keys);
        char key_buf[32];
        const char *word = words[draw(OP_COUNT(words))];
        struct op_value cells[2] = {test_text(key_text(key, key_buf)), test_text(word)};
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(op_sink_encode(sink, OP_STR_NULL, cells, &out, &err), OP_OK);
        ends[i + 1] = (int64_t)out.len;
        char *line = line_of(is_csv, key, word, false);
        model_deliver(&m, key, line);
        op_mem_free(line);
    }
    test_append(&out);
    op_buf_release(&out);
    while (delivered < frames) {
        size_t from = draw(4) ? delivered : draw((unsigned)delivered + 1);
        size_t to = draw(4) ? delivered + 1 + draw(frames - (unsigned)delivered) : frames;
        test_deliver(sink, ends[from], ends[to]);
        delivered = to;
        deliveries++;
    }
    text = model_text(&m, is_csv);
    char *got = test_read_file(test_target);
    /* An old last line that nobody touched keeps its missing line end. */
    size_t len = strlen(got);
    if (!(strlen(text) == len + 1 && strncmp(text, got, len) == 0))
        assert_string_equal(got, text);
    op_mem_free(got);
    got = test_read_file(test_target);
    test_deliver(sink, 0, test_end);
    test_file_is(test_target, got);
    op_mem_free(got);
    op_mem_free(text);
    for (size_t i = 0; i < m.count; i++)
        op_mem_free(m.rows[i].line);
    op_sink_close(sink);
}

static void random_merges(void **state)
{
    (void)state;
    struct op_sink *sink = test_sink(&csv);
    test_deliver(sink, 0, 0); /* makes the folder */
    op_sink_close(sink);
    int64_t live = op_mem_live();
    for (int i = 0; i < 400; i++) {
        random_state = (uint64_t)i + 1;
        one_comparison(i % 2);
        assert_int_equal(op_mem_live(), live);
    }
}

static void guesses(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"a.csv", "csv"},   {"a.tsv", "csv"},       {"a.jsonl", "jsonl"}, {"a.json", "json"},
        {"a.db", "sqlite"}, {"a.sqlite", "sqlite"}, {"a.txt", NULL}};
    for (size_t i = 0; i < OP_COUNT(table); i++) {
        const struct op_sink_ops *ops = op_sink_guess(table[i][0]);
        if (table[i][1])
            assert_string_equal(ops->kind, table[i][1]);
        else
            assert_null(ops);
    }
    for (const struct op_sink_ops *const *ops = op_sinks(); *ops; ops++)
        assert_ptr_equal(op_sink_find((*ops)->kind), *ops);
    assert_null(op_sink_find("parquet"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)

/* Every option is described where people look for it. */
static void options_are_documented(void **state)
{
    (void)state;
    struct op_buf text;
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&text, 1 << 20);
    assert_int_equal(op_io_read_file(op_env_default(),
                                     OP_SOURCE_DIR "/docs/reference/outputs.md", &text, &err),
                     OP_OK);
    for (const struct op_sink_ops *const *ops = op_sinks(); *ops; ops++) {
        char word[64];
        snprintf(word, sizeof(word), "\n## %s\n", (*ops)->kind);
        char *begin = strstr(text.ptr, word);
        assert_non_null(begin);
        char *end = strstr(begin + 4, "\n## ");
        char *section = op_mem_strndup(begin, end ? (size_t)(end - begin) : strlen(begin));
        for (const struct op_sink_option_spec *spec = (*ops)->options; spec->name; spec++) {
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
        TEST(merges),           TEST(refusals),
        TEST(bad_rows),         TEST(bad_options),
        TEST(nothing_to_write), TEST(full_disk),
        TEST(leftover),         TEST(vanished_target),
        TEST(damaged_outbox),   TEST(put_off),
        TEST(collisions),       TEST(many_targets),
        TEST(many_rows),        TEST(random_merges),
        TEST(guesses),          TEST(options_are_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
