/* SPDX-License-Identifier: MIT */
/*
 * The short way for rows, and SELECTs as a pipeline has them. Input: the SELECT up to a NUL byte, then
 * the answer it reads.
 * Oracle: where the short way is taken, the same rows as SQLite's; a SELECT that is refused says why.
 */
#include "fuzz.h"
#include "pipeline/sql_quick.h"
#include "pipeline_fixture.h"

static char *run_quick(struct op_quick *quick)
{
    struct op_buf out;
    op_buf_init(&out, 64 * 1024 * 1024);
    op_buf_addz(&out, "");
    for (const struct op_value *cells; (cells = op_quick_next(quick));) {
        for (size_t i = 0; i < op_quick_columns(quick); i++) {
            if (i)
                op_buf_addc(&out, '|');
            pipeline_add_cell(&out, cells[i]);
        }
        op_buf_addc(&out, '\n');
    }
    char *text = op_buf_take(&out);
    op_buf_release(&out);
    return text;
}

FUZZ_TARGET(sql_quick)
{
    struct op_sqlenv *sql = pipeline_fixture()->sql;
    OP_CLEANUP(op_mem_freep) char *select = fuzz_text(fuzz_until(in, '\0'));
    struct op_context x = {
        .key = OP_STR("k|1"), .request_id = 17, .answer = fuzz_rest(in), .problem = OP_STR("")};
    struct op_quick *quick = op_quick_open(sql, op_str_from(select));
    if (!quick)
        return;
    op_sqlenv_set(sql, &x);
    if (op_quick_begin(quick)) {
        OP_CLEANUP(op_mem_freep) char *got = run_quick(quick);
        op_sqlenv_set(sql, &x);
        OP_CLEANUP(op_mem_freep) char *want = pipeline_select(sql, op_str_from(select));
        FUZZ_CHECK(strcmp(got, want) == 0, "%s\n of " OP_STR_FMT "\n gives %s\n want %s",
                   select, OP_STR_ARG(x.answer), got, want);
    }
    op_quick_close(quick);
}
