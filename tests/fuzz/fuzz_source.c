/* SPDX-License-Identifier: MIT */
/*
 * Inputs of the user. Input: a byte for the kind, one for how much a read yields, then the file.
 * Oracle: columns are named and unique; where reads end makes no difference; a bad row says its place
 *         and can be skipped.
 */
#include "memory_files.h"
#include "source/source.h"

static const char *const kinds[] = {"csv", "jsonl", "lines", "pages"};

static void add_cell(struct op_buf *out, struct op_value v)
{
    char scratch[32];
    struct op_str text = op_value_to_text(v, scratch);
    op_buf_addf(out, "%d:%zu:", (int)v.type, text.len);
    if (text.ptr)
        op_buf_add_str(out, text);
}

static void check_columns(const struct op_source *source)
{
    for (size_t i = 0; i < source->column_count; i++) {
        FUZZ_CHECK(source->columns[i][0], "a column without a name");
        for (size_t j = 0; j < i; j++)
            FUZZ_CHECK(strcmp(source->columns[i], source->columns[j]) != 0, "'%s' twice",
                       source->columns[i]);
    }
}

static void read_all(struct memory_files *fs, const char *kind, struct op_buf *ret)
{
    struct op_source *source = NULL;
    struct op_err err = OP_ERR_INIT;
    struct op_source_config config = {
        .env = &fs->env, .name = "t", .target = "/w/t", .place = "p:3"};
    op_buf_init(ret, 64 * 1024 * 1024);
    op_buf_addz(ret, "");
    enum op_rc rc = op_source_open(op_source_find(kind), &config, &source, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        op_buf_addz(ret, err.msg);
        return;
    }
    check_columns(source);
    for (;;) {
        const struct op_value *cells = NULL;
        op_err_clear(&err);
        rc = op_source_next(source, &cells, &err);
        if (rc == OP_NOTFOUND)
            break;
        if (rc) {
            fuzz_check_error(rc, &err);
            op_buf_addz(ret, err.msg);
            if (rc != OP_INVAL || err.disp != OP_DISP_REJECT)
                break;
            continue;
        }
        for (size_t i = 0; i < source->column_count; i++)
            add_cell(ret, cells[i]);
    }
    op_source_close(source);
}

FUZZ_TARGET(source)
{
    const char *kind = kinds[fuzz_pick(in, OP_COUNT(kinds))];
    size_t step = fuzz_byte(in);
    struct memory_files fs;
    OP_CLEANUP(op_buf_release) struct op_buf whole, pieces;
    memory_files_init(&fs, 0);
    memory_files_put(&fs, "/w/t", fuzz_rest(in));
    read_all(&fs, kind, &whole);
    fs.step = step;
    read_all(&fs, kind, &pieces);
    FUZZ_CHECK(op_str_eq(op_buf_str(&whole), op_buf_str(&pieces)), "%s\nin pieces\n%s",
               whole.ptr, pieces.ptr);
    memory_files_release(&fs);
}
