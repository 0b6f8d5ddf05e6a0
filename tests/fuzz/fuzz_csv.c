/* SPDX-License-Identifier: MIT */
/*
 * CSV, read and written. Input: a byte of options, a byte for how much a read yields, the file.
 * Oracle: where the reads end makes no difference; the records that were read, written and read
 *         again, are the same cells; a guarded cell is the same but for one apostrophe in front.
 */
#include "base/csv.h"
#include "memory_files.h"

enum { MAX_RECORD = 4096 };

struct table {
    struct op_buf cells; /* length and bytes of each; records end with a mark */
    int64_t records, bad;
};

static void add_number(struct op_buf *out, uint64_t n)
{
    op_buf_add(out, &n, sizeof(n));
}

/* Reads all of a file; prefix: what a cell that a spreadsheet would run is given. */
static void read_table(struct memory_files *fs, char separator, struct table *ret)
{
    struct op_csv_reader *csv = NULL;
    struct op_err err = OP_ERR_INIT;
    FUZZ_CHECK(!op_csv_open(&fs->env, "t.csv", separator, MAX_RECORD, &csv, &err), "%s",
               err.msg);
    *ret = (struct table){0};
    op_buf_init(&ret->cells, 64 * 1024 * 1024);
    for (;;) {
        const struct op_str *fields = NULL;
        size_t count = 0;
        op_err_clear(&err);
        enum op_rc rc = op_csv_next(csv, &fields, &count, &err);
        if (rc == OP_NOTFOUND)
            break;
        FUZZ_CHECK(op_csv_line(csv) > 0, "line %lld", (long long)op_csv_line(csv));
        if (rc) {
            FUZZ_CHECK(rc == OP_INVAL, "%s", err.msg);
            fuzz_check_error(rc, &err);
            ret->bad++;
            op_buf_addz(&ret->cells, err.msg);
            continue;
        }
        FUZZ_CHECK(count > 0, "a record without a field");
        ret->records++;
        add_number(&ret->cells, count);
        for (size_t i = 0; i < count; i++) {
            FUZZ_CHECK(!memchr(fields[i].ptr, 0, fields[i].len), "a NUL in a field");
            add_number(&ret->cells, fields[i].len);
            op_buf_add_str(&ret->cells, fields[i]);
        }
    }
    op_csv_close(csv);
}

static bool is_run(struct op_str s)
{
    double number;
    return s.len > 0 && memchr("=+-@\t\r", s.ptr[0], 6) && !op_str_double(s, &number);
}

/* Writes what a table holds, and beside it what reading it should give. */
static void write_table(const struct table *table, const struct op_csv_style *style,
                        struct op_buf *file, struct op_buf *expected)
{
    const char *at = table->cells.ptr, *end = at + table->cells.len;
    while (at < end) {
        uint64_t count, len;
        memcpy(&count, at, sizeof(count));
        at += sizeof(count);
        struct op_value *cells = op_mem_array((size_t)count, sizeof(*cells));
        add_number(expected, count);
        for (uint64_t i = 0; i < count; i++) {
            memcpy(&len, at, sizeof(len));
            struct op_str s = {at + sizeof(len), (size_t)len};
            at = s.ptr + s.len;
            cells[i] = op_value_text(s);
            bool guarded = style->guard && is_run(s);
            add_number(expected, s.len + guarded);
            if (guarded)
                op_buf_addc(expected, '\'');
            op_buf_add_str(expected, s);
        }
        op_csv_add_record(file, style, cells, (size_t)count);
        op_mem_free(cells);
    }
}

FUZZ_TARGET(csv)
{
    uint8_t choice = fuzz_byte(in);
    size_t step = fuzz_byte(in);
    struct op_csv_style style = {
        .separator = choice & 1 ? ';' : ',', .crlf = choice & 2, .guard = choice & 4};
    struct memory_files fs;
    struct table whole, pieces;
    memory_files_init(&fs, 0);
    memory_files_put(&fs, "t.csv", fuzz_rest(in));
    read_table(&fs, style.separator, &whole);
    fs.step = step;
    read_table(&fs, style.separator, &pieces);
    FUZZ_CHECK(whole.records == pieces.records && whole.bad == pieces.bad &&
                   op_str_eq(op_buf_str(&whole.cells), op_buf_str(&pieces.cells)),
               "%lld and %lld records, %lld and %lld bad ones", (long long)whole.records,
               (long long)pieces.records, (long long)whole.bad, (long long)pieces.bad);
    if (!whole.bad) {
        OP_CLEANUP(op_buf_release) struct op_buf file, expected;
        op_buf_init(&file, 64 * 1024 * 1024);
        op_buf_init(&expected, 64 * 1024 * 1024);
        write_table(&whole, &style, &file, &expected);
        memory_files_put(&fs, "t.csv", op_buf_str(&file));
        op_buf_release(&pieces.cells);
        read_table(&fs, style.separator, &pieces);
        /* A record that only just fitted may have grown by its quotes. */
        if (!pieces.bad || file.len < MAX_RECORD)
            FUZZ_CHECK(op_str_eq(op_buf_str(&expected), op_buf_str(&pieces.cells)),
                       "written:\n%s", file.ptr);
    }
    op_buf_release(&whole.cells);
    op_buf_release(&pieces.cells);
    memory_files_release(&fs);
}
