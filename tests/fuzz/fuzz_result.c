/* SPDX-License-Identifier: MIT */
/*
 * Lines of result files, and replies of the realtime lane made into such lines. Input: a byte for the
 * provider, one for the status of a reply, then the line or the reply's body.
 * Oracle: what is decoded names a request, has a class, and money that is not negative; a folded reply
 *         is one strict JSON line that names the request it was asked for, or is refused with a reason.
 */
#include "base/json.h"
#include "base/json_out.h"
#include "fuzz.h"
#include "provider/own_line.h"

static const struct op_provider_ops *pick_provider(struct fuzz_input *in)
{
    size_t count = 0;
    while (op_providers()[count])
        count++;
    return op_providers()[fuzz_pick(in, count)];
}

static void check_result(const struct op_result *r)
{
    FUZZ_CHECK(r->custom_id.ptr && r->custom_id.len > 0, "nobody's result");
    FUZZ_CHECK(r->class_ < OP_RESULT_CLASS_COUNT && r->class_ != OP_RESULT_ABSENT, "class %d",
               (int)r->class_);
    if (r->class_ == OP_RESULT_ERRORED)
        FUZZ_CHECK(r->disp == OP_DISP_RETRY || r->disp == OP_DISP_REJECT ||
                       r->disp == OP_DISP_PAUSE,
                   "disposition %s", op_disp_name(r->disp));
    for (int i = 0; i < OP_TOKEN_KIND_COUNT; i++)
        FUZZ_CHECK(!r->has_usage || r->usage.tokens[i] >= 0, "%lld tokens",
                   (long long)r->usage.tokens[i]);
}

static enum op_rc decode(const struct op_provider_ops *provider, struct op_str line,
                         struct op_json_parser *parser, struct op_buf *scratch,
                         struct op_result *ret)
{
    struct op_err err = OP_ERR_INIT;
    struct op_json root;
    enum op_rc rc = op_json_parse(parser, line.ptr, line.len, false, &root, &err);
    if (!rc)
        rc = op_result_read(provider, root, scratch, ret, &err);
    if (rc)
        fuzz_check_error(rc, &err);
    else
        check_result(ret);
    return rc;
}

static void show(const struct op_result *r)
{
    OP_CLEANUP(op_buf_release) struct op_buf out;
    struct op_json_out o;
    op_buf_init(&out, 64 * 1024 * 1024);
    op_json_out_init(&o, &out, 0);
    op_json_out_object(&o);
    op_json_out_kv_str(&o, "custom_id", r->custom_id);
    op_json_out_kv_text(&o, "class", op_result_class_name(r->class_));
    op_json_out_kv_str(&o, "text", r->text);
    op_json_out_end_object(&o);
    fuzz_show("%s\n", out.ptr);
}

static void check_fold(const struct op_provider_ops *provider, int status, struct op_str body,
                       struct op_json_parser *parser)
{
    OP_CLEANUP(op_buf_release) struct op_buf line, scratch;
    struct op_http_reply reply;
    struct op_err err = OP_ERR_INIT;
    struct op_result result = {0};
    op_buf_init(&line, 64 * 1024 * 1024);
    op_buf_init(&scratch, 64 * 1024 * 1024);
    op_http_reply_init(&reply);
    reply.status = status;
    op_buf_add_str(&reply.body, body);
    enum op_rc rc = provider->fold(OP_STR("id-1"), &reply, &line, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
    } else {
        struct op_str text = op_str_trim(op_buf_str(&line));
        FUZZ_CHECK(!memchr(text.ptr, '\n', text.len), "two lines: %s", line.ptr);
        bool decoded = !decode(provider, text, parser, &scratch, &result);
        FUZZ_CHECK(!op_json_parser_repaired(parser), "not strict: %s", line.ptr);
        FUZZ_CHECK(!decoded || op_str_is(result.custom_id, "id-1"), "%s", line.ptr);
    }
    op_http_reply_release(&reply);
}

FUZZ_TARGET(result)
{
    static const int statuses[] = {200, 201, 400, 401, 403, 404, 408, 413, 422, 429, 500, 529};
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf scratch;
    op_buf_init(&scratch, 64 * 1024 * 1024);
    const struct op_provider_ops *provider = pick_provider(in);
    int status = statuses[fuzz_pick(in, OP_COUNT(statuses))];
    struct op_str text = fuzz_rest(in);
    struct op_result result = {0};
    if (!decode(provider, text, parser, &scratch, &result))
        show(&result);
    else
        fuzz_show("null\n");
    check_fold(provider, status, text, parser);

    struct op_json root;
    struct op_err err = OP_ERR_INIT;
    if (op_json_parse(parser, text.ptr, text.len, false, &root, &err))
        return;
    OP_CLEANUP(op_buf_release) struct op_buf lines;
    op_buf_init(&lines, 64 * 1024 * 1024);
    enum op_rc rc = provider->unfold(root, &lines, &err);
    if (rc)
        fuzz_check_error(rc, &err);
    else
        FUZZ_CHECK(lines.len == 0 || lines.ptr[lines.len - 1] == '\n', "%s", lines.ptr);
}
