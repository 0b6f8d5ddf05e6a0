/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: reading and writing CSV: quoting, line ends, errors with their line and record,
 *            resuming after an error, records over the window's edge, formula guard.
 * Oracle:    tables after RFC 4180; a byte-by-byte reader in this file over random texts, read
 *            through windows filled in pieces of any size; what is written must read back equal.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
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

#include "base/csv.h"
#include "base/mem.h"

/* An environment whose only file is a text in memory, handed out in pieces of step bytes. */
static struct op_env memory_env;
static struct op_env_ops memory_ops;
static struct op_str memory_text;
static size_t memory_at, memory_step;
static int memory_open_files;

static int memory_open(struct op_env *env, const char *path, int flags, mode_t mode)
{
    (void)env, (void)flags, (void)mode;
    if (strcmp(path, "none.csv") == 0)
        return -ENOENT;
    memory_at = 0;
    memory_open_files++;
    return 100;
}

static int memory_close(struct op_env *env, int fd)
{
    (void)env, (void)fd;
    memory_open_files--;
    return 0;
}

static ssize_t memory_read(struct op_env *env, int fd, void *ptr, size_t len)
{
    (void)env, (void)fd;
    static unsigned calls;
    if (++calls % 5 == 0)
        return -EINTR;
    if (memory_step == 0)
        return -EIO;
    if (len > memory_step)
        len = memory_step;
    if (len > memory_text.len - memory_at)
        len = memory_text.len - memory_at;
    if (len > 0)
        memcpy(ptr, memory_text.ptr + memory_at, len);
    memory_at += len;
    return (ssize_t)len;
}

static struct op_csv_reader *open_text(struct op_str text, size_t step, char separator,
                                       size_t max_record)
{
    memory_ops = *op_env_default()->ops;
    memory_ops.open = memory_open;
    memory_ops.close = memory_close;
    memory_ops.read = memory_read;
    memory_env.ops = &memory_ops;
    memory_text = text;
    memory_step = step;
    struct op_csv_reader *csv = NULL;
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_csv_open(&memory_env, "t.csv", separator, max_record, &csv, &err),
                     OP_OK);
    return csv;
}

/* All that a reader says about a text: "[a|b]" a record with its line before it, "!7" an error
 * met at line 7. */
static void dump(struct op_csv_reader *csv, struct op_buf *out)
{
    for (;;) {
        const struct op_str *fields = NULL;
        size_t count = 0;
        struct op_err err = OP_ERR_INIT;
        enum op_rc rc = op_csv_next(csv, &fields, &count, &err);
        if (rc == OP_NOTFOUND)
            return;
        if (rc) {
            assert_int_equal(rc, OP_INVAL);
            assert_memory_equal(err.msg, "t.csv:", 6);
            op_buf_addf(out, "!%d", atoi(err.msg + 6));
            continue;
        }
        op_buf_addf(out, "%d[", (int)op_csv_line(csv));
        for (size_t i = 0; i < count; i++) {
            assert_non_null(fields[i].ptr);
            if (i > 0)
                op_buf_addc(out, '|');
            op_buf_add_str(out, fields[i]);
        }
        op_buf_addc(out, ']');
    }
}

static void assert_reads(const char *ptr, size_t len, size_t max_record, const char *wanted)
{
    OP_CLEANUP(op_csv_closep)
    struct op_csv_reader *csv = open_text((struct op_str){ptr, len}, SIZE_MAX, ',', max_record);
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&out, SIZE_MAX);
    dump(csv, &out);
    if (strcmp(out.ptr, wanted) != 0)
        fail_msg("<%s> gave <%s> instead of <%s>", ptr, out.ptr, wanted);
}

static void reading(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"\n\r\n\n", ""},
        {"a", "1[a]"},
        {"a,b\n", "1[a|b]"},
        {"a,b\r\nc,d\r\n", "1[a|b]2[c|d]"},
        {"\xEF\xBB\xBF"
         "a,b\n",
         "1[a|b]"},
        {"\xEF\xBB\xBF", ""},
        {"\xEF\xBB\xBF\"a\"", "1[a]"},
        {"a\n\xEF\xBB\xBF"
         "b\n",
         "1[a]2[\xEF\xBB\xBF"
         "b]"},
        {",\n", "1[|]"},
        {",", "1[|]"},
        {"a,", "1[a|]"},
        {"\"\"\n", "1[]"},
        {"\"\"", "1[]"},
        {"\"a\"\"b\",c", "1[a\"b|c]"},
        {"\"\"\"\"", "1[\"]"},
        {"\"\"\"a\"\"\"\"b\"\"\",\"\"\"\"\n", "1[\"a\"\"b\"|\"]"},
        {"\"a\nb\",\"c\r\nd\"\ne", "1[a\nb|c\r\nd]4[e]"},
        {"\"x,y\",z", "1[x,y|z]"},
        {" a , b ", "1[ a | b ]"},
        {"a\rb\n", "1[a\rb]"},
        {"a,b\r", "1[a|b]"},
        {"\"a\"\r", "1[a]"},
        {"\n\na\n\nb\n", "3[a]5[b]"},
        {"0123456789abcdef,0123456789abcdefg,h\n", "1[0123456789abcdef|0123456789abcdefg|h]"},
        {"a\nb,c,d\ne,f\n", "1[a]2[b|c|d]3[e|f]"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++)
        assert_reads(cases[i][0], strlen(cases[i][0]), 1000, cases[i][1]);
}

static void errors_name_their_line_and_the_next_line_is_read(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a\nb\"c,d\ne\n", "1[a]!2"
                           "3[e]"},
        {"a\n\"b\"c,d\ne\n", "1[a]!2"
                             "3[e]"},
        {"a\n\"b\" ,d\ne\n", "1[a]!2"
                             "3[e]"},
        {"\"a\"\rb\nc\n", "!1"
                          "2[c]"},
        {"\"x\ny\"z\nc\n", "!2"
                           "3[c]"},
        {"a,\"open\nb\nc", "!1"
                           "2[b]3[c]"},
        {"k\na,\"x\ny\",\"open\nb", "1[k]!3"
                                    "4[b]"},
        {"\"", "!1"},
        {"\"a", "!1"},
        {"\"a\"\"", "!1"},
        {"a\"", "!1"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++)
        assert_reads(cases[i][0], strlen(cases[i][0]), 1000, cases[i][1]);
    static const char nul[] = "a\nb\0c,d\ne\n\"\n\0\n\"\nf,\0\ng\n";
    assert_reads(nul, sizeof(nul) - 1, 1000,
                 "1[a]!2"
                 "3[e]!5!6!7"
                 "8[g]");
    static const char large[] = "1234567890\n12345678901\n\"12345678\"\n\"123456789\"\nx\n";
    assert_reads(large, sizeof(large) - 1, 10,
                 "1[1234567890]!2"
                 "3[12345678]!4"
                 "5[x]");
}

static void messages(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"h\n\nb\"c\n",
         "t.csv:3: record 2 has a quote inside an unquoted field; quote the whole "
         "field and double the quotes in it"},
        {"h\n\"b\"c\n",
         "t.csv:2: record 2 has text after a closing quote; a quote inside a quoted "
         "field must be doubled"},
        {"h\n\"b\nc\n", "t.csv:2: record 2 opens a quote here that is never closed"},
        {"h\n12345678901234567890\n", "t.csv:2: record 2 is larger than the 15 bytes allowed"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        OP_CLEANUP(op_csv_closep)
        struct op_csv_reader *csv = open_text(op_str_from(cases[i][0]), 3, ',', 15);
        const struct op_str *fields;
        size_t count;
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(op_csv_next(csv, &fields, &count, &err), OP_OK);
        assert_int_equal(op_csv_next(csv, &fields, &count, &err), OP_INVAL);
        assert_string_equal(err.msg, cases[i][1]);
    }
}

static void files_that_cannot_be_read(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_csv_reader *csv = open_text(OP_STR("a"), 0, ',', 100);
    const struct op_str *fields;
    size_t count;
    assert_int_equal(op_csv_next(csv, &fields, &count, &err), OP_IO);
    assert_int_equal(err.native, EIO);
    op_csv_closep(&csv);
    assert_null(csv);
    assert_int_equal(memory_open_files, 0);
    op_err_clear(&err);
    assert_int_equal(op_csv_open(&memory_env, "none.csv", ',', 9, &csv, &err), OP_NOTFOUND);
    assert_null(csv);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return *seed >> 33;
}

/* The same dump by the plainest reader there is; false at the first error. */
static bool read_plainly(struct op_str text, char separator, struct op_buf *out)
{
    size_t at = 0;
    int line = 1;
    while (at < text.len) {
        if (text.ptr[at] == '\n' || (text.ptr[at] == '\r' && at + 1 == text.len) ||
            (text.ptr[at] == '\r' && text.ptr[at + 1] == '\n')) {
            line += text.ptr[at] == '\n';
            at++;
            continue;
        }
        op_buf_addf(out, "%d[", line);
        bool start = true, quoted = false, closed = false;
        for (;; at++) {
            bool end = at == text.len;
            char c = end ? '\n' : text.ptr[at];
            bool cr_end = c == '\r' && (at + 1 == text.len || text.ptr[at + 1] == '\n');
            if (quoted) {
                if (end)
                    return false;
                line += c == '\n';
                if (c != '"') {
                    op_buf_addc(out, c);
                } else if (at + 1 < text.len && text.ptr[at + 1] == '"') {
                    op_buf_addc(out, c);
                    at++;
                } else {
                    quoted = false;
                    closed = true;
                }
            } else if (c == '\n' || (cr_end && (!closed || at + 1 <= text.len))) {
                if (cr_end)
                    continue;
                break;
            } else if (c == separator) {
                op_buf_addc(out, '|');
                start = true;
                closed = false;
            } else if (closed || (c == '"' && !start)) {
                return false;
            } else if (c == '"') {
                quoted = true;
                start = false;
            } else {
                start = false;
                op_buf_addc(out, c);
            }
        }
        if (at < text.len)
            line++;
        at++;
        op_buf_addc(out, ']');
    }
    return true;
}

static void agrees_with_the_plain_reader(void **state)
{
    (void)state;
    static const char alphabet[] = "ab;;\"\"\"\n\n\r\xC3";
    uint64_t seed = 11;
    int readable = 0;
    for (int i = 0; i < 300000; i++) {
        char bytes[40];
        size_t len = next_random(&seed) % sizeof(bytes);
        for (size_t b = 0; b < len; b++)
            bytes[b] = alphabet[next_random(&seed) % (sizeof(alphabet) - 1)];
        struct op_str text = {bytes, len};
        OP_CLEANUP(op_buf_release) struct op_buf wanted = {0};
        OP_CLEANUP(op_buf_release) struct op_buf got = {0};
        op_buf_init(&wanted, 1000);
        op_buf_init(&got, 1000);
        bool ok = read_plainly(text, ';', &wanted);
        /* A reader's own allocations cost more than the text: only some of the bad ones. */
        if (!ok && i % 10)
            continue;
        OP_CLEANUP(op_csv_closep)
        struct op_csv_reader *csv = open_text(text, 1 + next_random(&seed) % 9, ';', 100);
        dump(csv, &got);
        readable += ok;
        if (!ok)
            assert_non_null(memchr(got.ptr, '!', got.len));
        else if (strcmp(got.ptr, wanted.ptr) != 0)
            fail_msg("<%.*s> gave <%s> instead of <%s>", (int)len, bytes, got.ptr, wanted.ptr);
    }
    assert_true(readable > 1000);
}

/* Field number of a record as text: mostly short, now and then larger than the window. */
static void make_field(uint64_t *seed, struct op_buf *field)
{
    static const char bytes[] = "the quick, brown\n\"fox\" ; jumps\r\n over =1 \xE2\x82\xAC";
    op_buf_clear(field);
    uint64_t kind = next_random(seed) % 3000;
    size_t len =
        kind == 0 ? next_random(seed) % 2000000 : next_random(seed) % (kind < 300 ? 900 : 12);
    size_t shift = next_random(seed);
    for (size_t i = 0; i < len; i++)
        op_buf_addc(field, kind % 2 ? bytes[(i + shift) % (sizeof(bytes) - 1)] : 'p');
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        struct op_csv_style style = {.separator = variant & 1 ? ';' : ',', .crlf = variant & 2};
        OP_CLEANUP(op_buf_release) struct op_buf text = {0};
        OP_CLEANUP(op_buf_release) struct op_buf field = {0};
        op_buf_init(&text, SIZE_MAX);
        op_buf_init(&field, SIZE_MAX);
        uint64_t seed = 5;
        int records = 4000;
        for (int r = 0; r < records; r++) {
            struct op_value cells[4];
            char *owned[4];
            size_t count = 1 + next_random(&seed) % 4;
            for (size_t c = 0; c < count; c++) {
                make_field(&seed, &field);
                owned[c] = op_mem_strndup(field.ptr, field.len);
                cells[c] = op_value_text((struct op_str){owned[c], field.len});
            }
            op_csv_add_record(&text, &style, cells, count);
            for (size_t c = 0; c < count; c++)
                op_mem_free(owned[c]);
        }
        OP_CLEANUP(op_csv_closep)
        struct op_csv_reader *csv =
            open_text(op_buf_str(&text), 100003, style.separator, 10000000);
        seed = 5;
        for (int r = 0; r < records; r++) {
            const struct op_str *fields;
            size_t count;
            struct op_err err = OP_ERR_INIT;
            assert_int_equal(op_csv_next(csv, &fields, &count, &err), OP_OK);
            assert_int_equal(count, 1 + next_random(&seed) % 4);
            for (size_t c = 0; c < count; c++) {
                make_field(&seed, &field);
                assert_int_equal(fields[c].len, field.len);
                assert_memory_equal(fields[c].ptr, field.ptr, field.len);
            }
        }
        const struct op_str *fields;
        size_t count;
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(op_csv_next(csv, &fields, &count, &err), OP_NOTFOUND);
    }
}

/* A line and a quoted field longer than max_record and the window cost one error each. */
static void oversize_records_are_skipped(void **state)
{
    (void)state;
    enum { HUGE = 3000000 };
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    OP_CLEANUP(op_mem_freep) char *pad = op_mem_alloc(HUGE);
    memset(pad, 'x', HUGE);
    op_buf_init(&text, SIZE_MAX);
    op_buf_addz(&text, "a\n");
    op_buf_add(&text, pad, HUGE);
    op_buf_addz(&text, "\nb\nc,\"open\nd\n");
    for (int i = 0; i < 300000; i++)
        op_buf_addz(&text, "e,e,e,e\n");
    OP_CLEANUP(op_csv_closep)
    struct op_csv_reader *csv = open_text(op_buf_str(&text), SIZE_MAX, ',', 1000000);
    static const int wanted[] = {1, -2, 3, -4, 5, 6};
    for (size_t i = 0; i < OP_COUNT(wanted); i++) {
        const struct op_str *fields;
        size_t count;
        struct op_err err = OP_ERR_INIT;
        enum op_rc rc = op_csv_next(csv, &fields, &count, &err);
        assert_int_equal(rc, wanted[i] < 0 ? OP_INVAL : OP_OK);
        assert_int_equal(op_csv_line(csv), abs(wanted[i]));
    }
}

static void writing(void **state)
{
    (void)state;
    const struct op_csv_style plain = {.separator = ','};
    const struct op_csv_style guarded = {.separator = ',', .guard = true, .crlf = true};
    const struct op_value null = op_value_null();
    struct op_value blob = op_value_text(OP_STR("by\"te"));
    blob.type = OP_VALUE_BLOB;
    const struct {
        struct op_csv_style style;
        struct op_value cells[3];
        size_t count;
        const char *text;
    } cases[] = {
        {plain, {op_value_int(-5), op_value_double(1.0), null}, 3, "-5,1,\n"},
        {plain,
         {op_value_double(0.1), op_value_double(1.5e300), blob},
         3,
         "0.1,1.5e+300,\"by\"\"te\"\n"},
        {plain, {op_value_double((double)INFINITY), op_value_double((double)NAN)}, 2, "Inf,\n"},
        {plain, {null}, 1, "\"\"\n"},
        {plain, {op_value_text(OP_STR(""))}, 1, "\"\"\n"},
        {plain, {op_value_text(OP_STR("")), null}, 2, ",\n"},
        {plain, {null, null}, 0, "\n"},
        {plain,
         {op_value_text(OP_STR("a,b")), op_value_text(OP_STR("c\nd"))},
         2,
         "\"a,b\",\"c\nd\"\n"},
        {plain,
         {op_value_text(OP_STR("a\rb")), op_value_text(OP_STR(" c ;'"))},
         2,
         "\"a\rb\", c ;'\n"},
        {plain,
         {op_value_text(OP_STR("a text of more than sixteen bytes, with a comma"))},
         1,
         "\"a text of more than sixteen bytes, with a comma\"\n"},
        {plain, {op_value_text(OP_STR("=1+1")), op_value_text(OP_STR("@x"))}, 2, "=1+1,@x\n"},
        {guarded,
         {op_value_text(OP_STR("=1+1")), op_value_text(OP_STR("-2.5e3"))},
         2,
         "'=1+1,-2.5e3\r\n"},
        {guarded,
         {op_value_text(OP_STR("=a,\"b\"")), op_value_text(OP_STR("-x"))},
         2,
         "\"'=a,\"\"b\"\"\",'-x\r\n"},
        {guarded,
         {op_value_text(OP_STR("\tx")), op_value_text(OP_STR("\rx"))},
         2,
         "'\tx,\"'\rx\"\r\n"},
        {guarded,
         {op_value_int(-1), op_value_double(-0.5), op_value_text(OP_STR("+"))},
         3,
         "-1,-0.5,'+\r\n"},
        {{.separator = '\t'},
         {op_value_text(OP_STR("a\tb")), op_value_text(OP_STR("a,b"))},
         2,
         "\"a\tb\"\ta,b\n"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
        op_buf_init(&buf, 1000);
        op_csv_add_record(&buf, &cases[i].style, cases[i].cells, cases[i].count);
        assert_string_equal(buf.ptr, cases[i].text);
    }
}

static int nothing_is_left(void **state)
{
    (void)state;
    assert_int_equal(op_mem_live(), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading),
        cmocka_unit_test(errors_name_their_line_and_the_next_line_is_read),
        cmocka_unit_test(messages),
        cmocka_unit_test(files_that_cannot_be_read),
        cmocka_unit_test(agrees_with_the_plain_reader),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(oversize_records_are_skipped),
        cmocka_unit_test(writing),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
