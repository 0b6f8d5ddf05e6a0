/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "pipeline/sql_internal.h"
#include "pipeline/sql_quick.h"

/* What one check says at most of one answer: hostile answers must not make long lists. */
#define MAX_LISTED 20

/* --- checks ------------------------------------------------------------------------------- */

/* One line, whatever the sentence holds. */
static void add_line(struct op_buf *list, struct op_value v, const char *place)
{
    char scratch[32];
    struct op_str text = op_value_to_text(v, scratch);
    if (!text.ptr) {
        op_buf_addf(list, "%s: this check objects, but its sentence is NULL\n", place);
        return;
    }
    size_t from = list->len;
    op_buf_add_str(list, text);
    for (size_t i = from; i < list->len; i++)
        if (list->ptr[i] == '\n' || list->ptr[i] == '\r')
            list->ptr[i] = ' ';
    op_buf_addc(list, '\n');
}

static enum op_rc run_check(struct op_query *query, struct op_buf *list, size_t *count,
                            struct op_err *err)
{
    const struct op_value *cells = NULL;
    struct op_err why = OP_ERR_INIT;
    enum op_rc rc = OP_OK;
    size_t listed = 0;
    while (!(rc = op_query_next(query, &cells, &why))) {
        (*count)++;
        add_line(list, cells[0], op_query_place(query));
        if (++listed == MAX_LISTED)
            break;
    }
    op_query_reset(query);
    if (rc == OP_INVAL) { /* the answer is not what the check can read: that is a finding too */
        (*count)++;
        op_buf_addf(list, "%s\n", why.msg);
        return OP_OK;
    }
    if (rc == OP_OK || (rc == OP_NOTFOUND && !why.rc))
        return OP_OK;
    *err = why;
    return rc;
}

enum op_rc op_sqlenv_check(struct op_sqlenv *sql, struct op_buf *list, size_t *ret_violations,
                           struct op_buf *warnings, size_t *ret_warnings, struct op_err *err)
{
    const struct op_definition *def = sql->plan->def;
    size_t violations = 0, warned = 0;
    for (size_t i = 0; i < def->check_count; i++) {
        const struct op_check_def *check = &def->checks[i];
        if (check->request &&
            (sql->context.request < 0 ||
             strcmp(check->request, def->requests[sql->context.request].name) != 0))
            continue;
        enum op_rc rc = run_check(sql->checks[i], check->warning ? warnings : list,
                                  check->warning ? &warned : &violations, err);
        if (rc)
            return rc;
    }
    *ret_violations = violations;
    *ret_warnings = warned;
    return OP_OK;
}

/* --- rows --------------------------------------------------------------------------------- */

static enum op_rc encode_row(struct op_sqlenv *sql, const struct op_plan_output *output,
                             const struct op_value *cells, struct op_buf *frames,
                             struct op_err *err)
{
    struct op_str path = OP_STR_NULL;
    if (output->path) {
        struct op_template_root root = {
            .columns = output->columns, .cells = cells, .count = output->column_count};
        op_buf_clear(&sql->path);
        if (op_template_render(output->path, sql->scratch, &root, &sql->path, err) ||
            op_buf_finish(&sql->path, "a row's path", err))
            return err->rc;
        path = op_buf_str(&sql->path);
    }
    return op_sink_encode(output->sink, path, cells, frames, err);
}

static enum op_rc next_row(struct op_quick *quick, struct op_query *query,
                           const struct op_value **ret_cells, struct op_err *err)
{
    if (!quick)
        return op_query_next(query, ret_cells, err);
    *ret_cells = op_quick_next(quick);
    return *ret_cells ? OP_OK : OP_NOTFOUND;
}

/* The rows of one output. A row that is refused is a problem said; a SELECT that the data breaks
 * (malformed JSON, say) gives no row at all of this context, so that a result is either in the
 * output whole or named in the problems. */
static enum op_rc run_rows(struct op_sqlenv *sql, size_t ix, struct op_buf *frames,
                           int64_t *rows, struct op_buf *problems, struct op_err *err)
{
    const struct op_plan_output *output = &sql->plan->outputs[ix];
    struct op_query *query = sql->rows[ix];
    const struct op_value *cells = NULL;
    size_t from = frames->len;
    int64_t count = 0;
    struct op_err why = OP_ERR_INIT;
    enum op_rc rc = OP_OK;
    struct op_quick *quick = sql->quick[ix];
    if (quick && !op_quick_begin(quick))
        quick = NULL;
    while (!(rc = next_row(quick, query, &cells, &why))) {
        rc = encode_row(sql, output, cells, frames, &why);
        if (rc == OP_INVAL) {
            op_buf_addf(problems, "%s: a row was refused: %s\n", output->def->place, why.msg);
            op_err_clear(&why);
        } else if (rc) {
            break;
        } else {
            count++;
        }
    }
    op_query_reset(query);
    if (rc == OP_INVAL) {
        frames->len = from;
        frames->ptr[from] = '\0';
        op_buf_addf(problems, "no rows: %s\n", why.msg);
        return OP_OK;
    }
    if (rc != OP_NOTFOUND || why.rc) {
        *err = why;
        return rc;
    }
    *rows += count;
    return OP_OK;
}

enum op_rc op_sqlenv_rows(struct op_sqlenv *sql, enum op_output_event on, struct op_buf *frames,
                          int64_t *rows, struct op_buf *problems, struct op_err *err)
{
    const struct op_definition *def = sql->plan->def;
    for (size_t i = 0; i < def->output_count; i++) {
        if (def->outputs[i].on != on)
            continue;
        enum op_rc rc = run_rows(sql, i, &frames[i], &rows[i], problems, err);
        if (rc)
            return rc;
    }
    return OP_OK;
}
