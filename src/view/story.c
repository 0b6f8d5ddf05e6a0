/* SPDX-License-Identifier: MIT */
#include "view/story.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "core/raw_key.h"
#include "engine/work.h"
#include "pipeline/answer.h"
#include "pipeline/select.h"
#include "view/money.h"
#include "view/prompt.h"
#include "view/summary.h"
#include "view/text.h"

#define LINE_MAX_BYTES (256 * 1024 * 1024)

struct buys {
    struct op_result_row *rows;
    size_t count;
};

/* One request with everything that is known about it. */
struct chapter {
    struct op_engine *engine;
    struct op_work *work;
    const struct op_request *request;
    struct op_str key;
    struct op_buf params;
    struct buys buys;
    struct op_json_parser *parser;
    struct op_buf line, scratch, answer, data;
    struct op_result result; /* the one the answer comes from */
    struct op_result_row row;
    bool has_answer;
};

static void chapter_release(struct chapter *c)
{
    op_buf_release(&c->params);
    op_buf_release(&c->line);
    op_buf_release(&c->scratch);
    op_buf_release(&c->answer);
    op_buf_release(&c->data);
    op_json_parser_free(c->parser);
    op_mem_free(c->buys.rows);
}

static enum op_rc add_buy(void *arg, const struct op_result_row *row, struct op_err *err)
{
    (void)err;
    struct buys *buys = arg;
    buys->rows = op_mem_realloc(buys->rows, (buys->count + 1) * sizeof(*buys->rows));
    buys->rows[buys->count++] = *row;
    return OP_OK;
}

/* --- reading back ------------------------------------------------------------------------- */

static enum op_rc read_params(struct chapter *c, struct op_err *err)
{
    struct op_ledger *ledger = op_engine_ledger(c->engine);
    struct op_payload_ref ref = c->request->payload;
    enum op_rc rc = OP_OK;
    if (!ref.batch_id && c->request->same_as) {
        OP_CLEANUP(op_request_release) struct op_request primary = {0};
        rc = op_ledger_request_get(ledger, c->request->same_as, &primary, err);
        ref = primary.payload;
    }
    if (rc || !ref.batch_id)
        return rc;
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    rc = op_ledger_batch_get(ledger, ref.batch_id, &batch, err);
    return rc ? rc
              : op_spool_read(op_engine_spool(c->engine), batch.file, ref.offset, ref.len,
                              &c->params, err);
}

/* The result line that the answer stands in. */
static enum op_rc read_line(struct chapter *c, const struct op_result_row *row,
                            struct op_err *err)
{
    struct op_result_file file = {0};
    struct op_json root;
    enum op_rc rc = op_ledger_result_file_get(op_engine_ledger(c->engine), row->batch_id,
                                              row->part, &file, err);
    op_buf_clear(&c->line);
    op_buf_clear(&c->scratch);
    if (!rc)
        rc = op_spool_read(op_engine_spool(c->engine), file.file, row->offset, row->len,
                           &c->line, err);
    op_result_file_release(&file);
    if (!rc)
        rc = op_json_parse(c->parser, c->line.ptr, c->line.len, true, &root, err);
    if (!rc) /* whoever of a chain has answered */
        rc = op_work_leg_of_batch(c->work, row->batch_id, &c->work, err);
    if (!rc)
        rc = op_result_read(c->work->plan->requests[c->request->name].lane->provider, root,
                            &c->scratch, &c->result, err);
    return rc;
}

static enum op_rc read_answer(struct chapter *c, struct op_err *err)
{
    /* A request that took another one's answer has no purchase of its own. */
    struct buys *buys = &c->buys;
    struct buys primary = {0};
    enum op_rc rc = OP_OK;
    if (buys->count == 0 && c->request->same_as) {
        rc = op_ledger_request_results(op_engine_ledger(c->engine), c->request->same_as,
                                       add_buy, &primary, err);
        buys = &primary;
    }
    const struct op_result_row *last = NULL;
    for (size_t i = 0; i < buys->count; i++)
        if (buys->rows[i].part >= 0)
            last = &buys->rows[i];
    if (last)
        c->row = *last;
    op_mem_free(primary.rows);
    if (rc || !last)
        return rc;
    rc = read_line(c, &c->row, err);
    if (rc || !c->result.text.ptr)
        return rc;
    struct op_answer_checker *checker = op_answer_checker_new(c->work->plan);
    struct op_str answer = OP_STR_NULL;
    bool mended = false;
    OP_CLEANUP(op_buf_release) struct op_buf list; /* the notes tell what is wrong */
    op_buf_init(&list, LINE_MAX_BYTES);
    op_answer_check(checker, (size_t)c->request->name, c->result.text, &answer, &mended, &list);
    op_buf_add_str(&c->answer, answer.ptr ? answer : c->result.text);
    op_answer_checker_free(checker);
    c->has_answer = true;
    return OP_OK;
}

static enum op_rc chapter_open(struct chapter *c, struct op_engine *engine,
                               const struct op_request *request, struct op_err *err)
{
    *c = (struct chapter){.engine = engine, .request = request};
    c->parser = op_json_parser_new();
    op_buf_init(&c->params, LINE_MAX_BYTES);
    op_buf_init(&c->line, LINE_MAX_BYTES);
    op_buf_init(&c->scratch, LINE_MAX_BYTES);
    op_buf_init(&c->answer, LINE_MAX_BYTES);
    op_buf_init(&c->data, OP_SOURCE_MAX_RECORD);
    enum op_rc rc = op_engine_work(engine, request->job_id, &c->work, err);
    if (!rc)
        rc = op_work_refresh(c->work, err);
    if (!rc)
        rc = read_params(c, err);
    if (!rc)
        rc = op_ledger_request_results(op_engine_ledger(engine), request->id, add_buy, &c->buys,
                                       err);
    return rc ? rc : read_answer(c, err);
}

static bool is_good(const struct chapter *c)
{
    return c->has_answer && c->request->state == OP_REQUEST_DONE;
}

/* --- rows --------------------------------------------------------------------------------- */

/* A raw request's line goes back under the id that its file gave it. */
static struct op_str own_line(struct chapter *c, struct op_buf *out)
{
    struct op_str line = op_buf_str(&c->line), ours = c->result.custom_id;
    const char *at = ours.len ? memmem(line.ptr, line.len, ours.ptr, ours.len) : NULL;
    if (!at || !c->work->def.requests[c->request->name].raw)
        return line;
    op_buf_add(out, line.ptr, (size_t)(at - line.ptr));
    struct op_str id = op_raw_key_id(c->key);
    op_json_escape(out, id.ptr, id.len);
    op_buf_add(out, at + ours.len, line.len - (size_t)(at - line.ptr) - ours.len);
    return op_buf_str(out);
}

typedef void (*row_fn)(void *arg, const struct op_plan_output *output, const char *const *names,
                       const struct op_value *cells, size_t count);

static enum op_rc fetch_data(void *arg, struct op_buf *ret, struct op_err *err)
{
    struct chapter *c = arg;
    return op_ledger_record_data(op_engine_ledger(c->engine), c->request->record_id, NULL, ret,
                                 err);
}

/* The inputs of a finished job are gone; what the ledger keeps of the record is often enough.
 * */
static enum op_rc open_sql(struct chapter *c, struct op_sqlenv **ret, bool *ret_own,
                           struct op_err *err)
{
    struct op_err gone = OP_ERR_INIT;
    *ret_own = false;
    if (!op_work_sql(c->work, ret, &gone))
        return OP_OK;
    OP_CLEANUP(op_buf_release) struct op_buf data = {0};
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    op_buf_init(&data, OP_SOURCE_MAX_RECORD);
    struct op_json root = {0};
    enum op_rc rc = fetch_data(c, &data, err);
    if (!rc && data.len)
        rc = op_json_parse(parser, data.ptr, data.len, true, &root, err);
    if (rc)
        return rc;
    /* Set by hand: prompts, which want all columns of the inputs, are not rendered here. */
    struct op_plan *plan = c->work->plan;
    size_t count = 0;
    const char **names = op_arena_array(&plan->arena, op_json_count(root) + 2, sizeof(*names));
    struct op_json_iter it = op_json_iter(root);
    while (op_json_next(&it))
        names[count++] = op_arena_strdup(&plan->arena, it.name);
    if (count == 0)
        names[count++] = "key";
    plan->record_columns = names;
    plan->record_column_count = count;
    rc = op_sqlenv_open(plan, NULL, ret, err);
    *ret_own = !rc;
    return rc;
}

static enum op_rc each_row_of(struct op_sqlenv *sql, const struct op_plan_output *output,
                              row_fn fn, void *arg, struct op_err *err)
{
    struct op_query *query = NULL;
    const char *const *names = NULL;
    const struct op_value *cells = NULL;
    if (output->def->on != OP_ON_ANSWER)
        return OP_OK;
    enum op_rc rc = op_query_open(sql, &output->def->rows, &query, err);
    size_t count = rc ? 0 : op_query_columns(query, &names);
    while (!rc) {
        rc = op_query_next(query, &cells, err);
        if (!rc)
            fn(arg, output, names, cells, count);
    }
    op_query_close(query);
    return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
}

static enum op_rc each_row(struct chapter *c, row_fn fn, void *arg, struct op_err *err)
{
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    OP_CLEANUP(op_buf_release) struct op_buf line = {0};
    struct op_sqlenv *sql = NULL;
    bool own = false;
    op_buf_init(&line, LINE_MAX_BYTES);
    enum op_rc rc =
        op_ledger_batch_get(op_engine_ledger(c->engine), c->row.batch_id, &batch, err);
    if (!rc)
        rc = open_sql(c, &sql, &own, err);
    if (rc)
        return rc;
    struct op_context context = {
        .job = &c->work->job,
        .batch = &batch,
        .lane = op_batch_lane(c->work, &batch),
        .request = c->request->name,
        .request_id = c->request->id,
        .buy_no = c->request->buy_no,
        .key = c->key,
        .record_data = fetch_data,
        .record_arg = c,
        .result = &c->result,
        .microusd = c->row.microusd,
        .line = own_line(c, &line),
        .answer = is_good(c) ? op_buf_str(&c->answer) : OP_STR_NULL,
        .problem = op_str_from(c->request->reason ? c->request->reason : ""),
    };
    op_sqlenv_set(sql, &context);
    for (size_t i = 0; !rc && i < c->work->def.output_count; i++)
        rc = each_row_of(sql, &c->work->plan->outputs[i], fn, arg, err);
    const struct op_context none = {.request = -1};
    op_sqlenv_set(sql, &none);
    if (own)
        op_sqlenv_close(sql);
    return rc;
}

/* --- the answer --------------------------------------------------------------------------- */

/* Through the pipeline's own template; as pretty JSON when it has none or the template fails.
 * */
static void display(struct chapter *c, int indent, struct op_buf *out)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    struct op_err err = OP_ERR_INIT;
    struct op_template_root root = {0};
    op_buf_init(&text, OP_TEMPLATE_MAX_OUTPUT);
    const struct op_template *tpl = c->work->plan->display;
    if (tpl && !op_json_parse(parser, c->answer.ptr, c->answer.len, true, &root.json, &err)) {
        struct op_template_scratch *scratch = op_template_scratch_new();
        enum op_rc rc = op_template_render(tpl, scratch, &root, &text, &err);
        op_template_scratch_free(scratch);
        if (!rc) {
            op_text_block(out, op_buf_str(&text), indent);
            return;
        }
    }
    op_pretty_json(op_buf_str(&c->answer), indent, out);
}

enum op_rc op_story_answer(struct op_engine *engine, const struct op_request *request,
                           struct op_buf *out, struct op_err *err)
{
    OP_CLEANUP(chapter_release) struct chapter c;
    enum op_rc rc = chapter_open(&c, engine, request, err);
    if (rc)
        return rc;
    if (!c.has_answer)
        return OP_NOTFOUND;
    display(&c, 0, out);
    return OP_OK;
}

/* --- purchases ---------------------------------------------------------------------------- */

static enum op_rc keep_problem(void *arg, const struct op_note *note, struct op_err *err)
{
    (void)err;
    struct op_buf *text = arg;
    if (!strcmp(note->kind, "schema") || !strcmp(note->kind, "check") ||
        !strcmp(note->kind, "error")) {
        op_buf_clear(text);
        op_buf_addz(text, note->text);
    }
    return OP_OK;
}

/* What was wrong with purchase number i; "" when nothing was. */
static enum op_rc read_problem(struct chapter *c, size_t i, struct op_buf *ret,
                               struct op_err *err)
{
    const struct op_result_row *row = &c->buys.rows[i];
    op_buf_init(ret, LINE_MAX_BYTES);
    return row->valid ? OP_OK
                      : op_ledger_notes(op_engine_ledger(c->engine), 0, row->batch_id,
                                        row->request_id, keep_problem, ret, err);
}

/* Whether the request was asked again after purchase number i. */
static bool is_asked_again(const struct chapter *c, size_t i)
{
    return i + 1 < c->buys.count || c->request->batch_id != c->buys.rows[i].batch_id;
}

/* --- text --------------------------------------------------------------------------------- */

static void text_problem(const struct chapter *c, size_t i, const struct op_buf *problem,
                         struct op_buf *out)
{
    const struct op_result_row *row = &c->buys.rows[i];
    if (row->valid)
        return;
    op_buf_addf(out, "  %-8s %s%s%s", "", op_loss_name(row->class_),
                is_asked_again(c, i) ? ", asked again" : "", problem->len ? ": " : "");
    struct op_str rest = op_buf_str(problem);
    op_text_line(out, op_str_cut(&rest, '\n'), 200);
    op_buf_addc(out, '\n');
}

static enum op_rc text_buys(struct chapter *c, struct op_buf *out, struct op_err *err)
{
    char a[OP_TEXT_SHORT], b[OP_TEXT_SHORT], d[OP_TEXT_SHORT];
    if (c->buys.count == 0 && c->request->same_as && c->row.batch_id)
        op_buf_addf(out,
                    "  bought   not again: an identical request was answered in batch-%lld\n",
                    (long long)c->row.batch_id);
    else if (c->buys.count == 0 && c->request->batch_id)
        op_buf_addf(out, "  bought   with batch-%lld, no result yet\n",
                    (long long)c->request->batch_id);
    for (size_t i = 0; i < c->buys.count; i++) {
        const struct op_result_row *row = &c->buys.rows[i];
        OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
        enum op_rc rc =
            op_ledger_batch_get(op_engine_ledger(c->engine), row->batch_id, &batch, err);
        if (rc)
            return rc;
        bool invalid = row->class_ == OP_RESULT_SUCCEEDED && !row->valid;
        const char *provider = NULL;
        rc = op_engine_provider(c->engine, batch.lane_id, &provider, err);
        if (rc)
            return rc;
        op_buf_addf(out, "  %-8s batch-%lld at %s (%s): %s%s, %s in + %s out tokens, %s\n",
                    i ? "again" : "bought", (long long)batch.id, provider, batch.provider_id,
                    op_result_class_name(row->class_), invalid ? " but invalid" : "",
                    op_text_count(op_usage_prompt(&row->usage), a),
                    op_text_count(row->usage.tokens[OP_TOKEN_OUTPUT], b),
                    op_text_usd(row->microusd, d));
        OP_CLEANUP(op_buf_release) struct op_buf problem = {0};
        rc = read_problem(c, i, &problem, err);
        if (rc)
            return rc;
        text_problem(c, i, &problem, out);
    }
    return OP_OK;
}

static enum op_rc text_note(void *arg, const struct op_note *note, struct op_err *err)
{
    (void)err;
    struct op_buf *out = arg;
    op_buf_addf(out, "  %s (batch-%lld)\n", note->kind, (long long)note->batch_id);
    op_text_block(out, op_str_from(note->text), 4);
    return OP_OK;
}

static void text_row(void *arg, const struct op_plan_output *output, const char *const *names,
                     const struct op_value *cells, size_t count)
{
    struct op_buf *out = arg;
    op_buf_addf(out, "  row in %s\n", output->target);
    for (size_t i = 0; i < count; i++) {
        char number[32];
        struct op_str text = op_value_to_text(cells[i], number);
        op_buf_addf(out, "    %s = ", names[i]);
        op_text_line(out, text.ptr ? text : OP_STR("NULL"), 200);
        op_buf_addc(out, '\n');
    }
}

static enum op_rc text_chapter(struct chapter *c, struct op_buf *out, struct op_err *err)
{
    op_buf_addf(out, "\n%s: %s\n", c->work->def.requests[c->request->name].name,
                op_request_state_name(c->request->state));
    enum op_rc rc = text_buys(c, out, err);
    if (rc)
        return rc;
    if (c->request->state == OP_REQUEST_FAILED && c->request->reason) {
        op_buf_addz(out, "  failed   ");
        op_text_line(out, op_str_from(c->request->reason), 0);
        op_buf_addc(out, '\n');
    }
    if (c->params.len)
        op_prompt_text(op_buf_str(&c->params), out);
    rc =
        op_ledger_notes(op_engine_ledger(c->engine), 0, 0, c->request->id, text_note, out, err);
    if (rc)
        return rc;
    if (c->has_answer) {
        op_buf_addz(out, is_good(c) ? "  answer\n" : "  answer (not good)\n");
        display(c, 4, out);
    }
    struct op_err gone = OP_ERR_INIT;
    if (is_good(c) && each_row(c, text_row, out, &gone)) {
        op_buf_addz(out, "  rows     cannot be shown: ");
        op_text_line(out, op_str_from(gone.msg), 0);
        op_buf_addc(out, '\n');
    }
    return OP_OK;
}

/* --- JSON --------------------------------------------------------------------------------- */

static enum op_rc json_buys(struct chapter *c, struct op_json_out *out, struct op_err *err)
{
    op_json_out_name(out, "results");
    op_json_out_array(out);
    for (size_t i = 0; i < c->buys.count; i++) {
        const struct op_result_row *row = &c->buys.rows[i];
        OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
        enum op_rc rc =
            op_ledger_batch_get(op_engine_ledger(c->engine), row->batch_id, &batch, err);
        if (rc)
            return rc;
        OP_CLEANUP(op_mem_freep) char *id = op_mem_printf("batch-%lld", (long long)batch.id);
        const char *provider = NULL;
        rc = op_engine_provider(c->engine, batch.lane_id, &provider, err);
        if (rc)
            return rc;
        op_json_out_object(out);
        op_json_out_kv_text(out, "batch", id);
        op_json_out_kv_text(out, "provider", provider);
        op_json_out_kv_text(out, "provider_id", batch.provider_id);
        op_json_out_kv_text(out, "class", op_result_class_name(row->class_));
        op_json_out_kv_bool(out, "valid", row->valid);
        op_json_out_kv_int(out, "microusd", row->microusd);
        op_usage_json(&row->usage, out);
        OP_CLEANUP(op_buf_release) struct op_buf problem = {0};
        rc = read_problem(c, i, &problem, err);
        op_json_out_kv_bool(out, "asked_again", !row->valid && is_asked_again(c, i));
        op_json_out_kv_text(out, "lost", row->valid ? NULL : op_loss_name(row->class_));
        op_json_out_kv_str(out, "why", problem.len ? op_buf_str(&problem) : OP_STR_NULL);
        op_json_out_end_object(out);
        if (rc)
            return rc;
    }
    op_json_out_end_array(out);
    return OP_OK;
}

static enum op_rc json_note(void *arg, const struct op_note *note, struct op_err *err)
{
    (void)err;
    struct op_json_out *out = arg;
    char at[OP_TIME_TEXT];
    op_time_format(note->at_ms, at);
    op_json_out_object(out);
    op_json_out_kv_text(out, "at", at);
    op_json_out_kv_text(out, "kind", note->kind);
    op_json_out_kv_text(out, "text", note->text);
    op_json_out_end_object(out);
    return OP_OK;
}

static void json_row(void *arg, const struct op_plan_output *output, const char *const *names,
                     const struct op_value *cells, size_t count)
{
    struct op_json_out *out = arg;
    op_json_out_object(out);
    op_json_out_kv_text(out, "target", output->target);
    op_json_out_name(out, "row");
    op_json_out_object(out);
    for (size_t i = 0; i < count; i++) {
        op_json_out_name(out, names[i]);
        if (cells[i].type == OP_VALUE_INT)
            op_json_out_int(out, cells[i].i);
        else if (cells[i].type == OP_VALUE_DOUBLE)
            op_json_out_double(out, cells[i].d);
        else
            op_json_out_str(out, cells[i].type == OP_VALUE_TEXT ? cells[i].s : OP_STR_NULL);
    }
    op_json_out_end_object(out);
    op_json_out_end_object(out);
}

/* An answer with a schema is JSON, any other one text. */
static void json_answer(struct chapter *c, struct op_json_out *out)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_err err = OP_ERR_INIT;
    struct op_json root;
    op_json_out_name(out, "answer");
    if (!c->has_answer)
        op_json_out_null(out);
    else if (c->work->plan->requests[c->request->name].schema &&
             !op_json_parse(parser, c->answer.ptr, c->answer.len, true, &root, &err))
        op_json_out_value(out, root);
    else
        op_json_out_str(out, op_buf_str(&c->answer));
}

static enum op_rc json_chapter(struct chapter *c, struct op_json_out *out, struct op_err *err)
{
    op_json_out_object(out);
    op_json_out_kv_text(out, "request", c->work->def.requests[c->request->name].name);
    op_json_out_kv_text(out, "state", op_request_state_name(c->request->state));
    op_json_out_kv_text(out, "reason", c->request->reason);
    op_json_out_kv_bool(out, "reused", c->request->same_as != 0 && c->buys.count == 0);
    op_json_out_name(out, "params");
    if (c->params.len)
        op_json_out_raw(out, op_buf_str(&c->params));
    else
        op_json_out_null(out);
    enum op_rc rc = json_buys(c, out, err);
    op_json_out_name(out, "notes");
    op_json_out_array(out);
    if (!rc)
        rc = op_ledger_notes(op_engine_ledger(c->engine), 0, 0, c->request->id, json_note, out,
                             err);
    op_json_out_end_array(out);
    json_answer(c, out);
    op_json_out_kv_bool(out, "good", is_good(c));
    op_json_out_name(out, "rows");
    op_json_out_array(out);
    struct op_err gone = OP_ERR_INIT;
    if (!rc && is_good(c))
        (void)!each_row(c, json_row, out, &gone);
    op_json_out_end_array(out);
    if (gone.rc)
        op_json_out_kv_text(out, "rows_problem", gone.msg);
    op_json_out_end_object(out);
    return rc;
}

/* --- the record --------------------------------------------------------------------------- */

struct telling {
    struct op_engine *engine;
    struct op_str key;
    struct op_buf *text;      /* or */
    struct op_json_out *json; /* one of the two */
};

static enum op_rc tell_request(void *arg, const struct op_request *request, struct op_err *err)
{
    struct telling *t = arg;
    OP_CLEANUP(chapter_release) struct chapter c;
    enum op_rc rc = chapter_open(&c, t->engine, request, err);
    c.key = t->key;
    if (rc)
        return rc;
    return t->text ? text_chapter(&c, t->text, err) : json_chapter(&c, t->json, err);
}

enum op_rc op_story_text(struct op_engine *engine, int64_t job, int64_t record,
                         struct op_buf *out, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf key = {0};
    OP_CLEANUP(op_job_release) struct op_job row = {0};
    op_buf_init(&key, OP_SOURCE_MAX_RECORD);
    struct op_ledger *ledger = op_engine_ledger(engine);
    enum op_rc rc = op_ledger_record_data(ledger, record, &key, NULL, err);
    if (!rc)
        rc = op_ledger_job_get(ledger, job, &row, err);
    if (rc)
        return rc;
    op_text_line(out, op_buf_str(&key), 0);
    op_buf_addf(out, ", of job-%lld %s\n", (long long)job, row.pipeline);
    struct telling t = {.engine = engine, .key = op_buf_str(&key), .text = out};
    return op_ledger_record_requests(ledger, record, tell_request, &t, err);
}

enum op_rc op_story_json(struct op_engine *engine, int64_t job, int64_t record,
                         struct op_json_out *out, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf key = {0};
    OP_CLEANUP(op_buf_release) struct op_buf data = {0};
    op_buf_init(&key, OP_SOURCE_MAX_RECORD);
    op_buf_init(&data, OP_SOURCE_MAX_RECORD);
    struct op_ledger *ledger = op_engine_ledger(engine);
    enum op_rc rc = op_ledger_record_data(ledger, record, &key, &data, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_mem_freep) char *id = op_mem_printf("job-%lld", (long long)job);
    op_json_out_kv_str(out, "key", op_buf_str(&key));
    op_json_out_kv_text(out, "job", id);
    op_json_out_name(out, "data");
    if (data.len)
        op_json_out_raw(out, op_buf_str(&data));
    else
        op_json_out_null(out);
    op_json_out_name(out, "requests");
    op_json_out_array(out);
    struct telling t = {.engine = engine, .key = op_buf_str(&key), .json = out};
    rc = op_ledger_record_requests(ledger, record, tell_request, &t, err);
    op_json_out_end_array(out);
    return rc;
}
