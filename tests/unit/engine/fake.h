/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_ENGINE_FAKE_H
#define OP_TESTS_ENGINE_FAKE_H

/*
 * The driver for cloud.h, and a registry that knows it and one other name: a test program that has
 * these three functions does not link those of the real registry.
 */

#include "base/json_out.h"
#include "provider/driver.h"
#include "provider/provider.h"

static struct cloud *fake_cloud; /* results() asks it what a driver would read off the batch */

static void fake_framing(const struct op_lane *lane, const char *endpoint,
                         struct op_batch_framing *ret)
{
    (void)lane;
    *ret = (struct op_batch_framing){.head = "",
                                     .before = "{\"custom_id\":\"",
                                     .after = "}",
                                     .separator = "\n",
                                     .tail = "\n"};
    snprintf(ret->between, sizeof(ret->between), "\",\"url\":\"/%s\",\"params\":", endpoint);
}

static enum op_rc fake_params(const struct op_lane *lane, const struct op_request_settings *s,
                              struct op_params_form *ret, struct op_err *err)
{
    (void)lane;
    struct op_json_out o;
    op_params_form_init(ret);
    op_json_out_init(&o, &ret->text, 0);
    op_json_out_object(&o);
    op_json_out_kv_int(&o, "max_tokens", s->max_tokens);
    op_json_out_kv_text(&o, "user", "");
    op_params_form_hole(ret, OP_HOLE_USER);
    op_json_out_end_object(&o);
    return op_params_form_finish(ret, s->file, err);
}

static enum op_rc fake_split(struct op_json root, struct op_str line, struct op_str *ret_id,
                             struct op_str *ret_params, const char **ret_endpoint,
                             struct op_err *err)
{
    struct op_str url = op_json_str(op_json_get(root, "url"));
    *ret_endpoint = url.ptr && op_str_is(url, "/embed") ? "embed" : "chat";
    *ret_id = op_json_str(op_json_get(root, "custom_id"));
    if (!ret_id->ptr || op_raw_member(root, line, "params", ret_params, err))
        return op_fail(err, OP_INVAL, "no custom_id or params");
    return OP_OK;
}

static enum op_rc fake_amend(struct op_json params, const struct op_amend *amend,
                             struct op_buf *ret, struct op_err *err)
{
    (void)amend;
    op_json_write(ret, params);
    return op_buf_finish(ret, "params", err);
}

static enum op_rc fake_begin(struct op_exchange *x, const char *method, const char *path,
                             struct op_err *err)
{
    op_exchange_init(x);
    x->method = method;
    op_buf_addf(&x->url, "https://fake.test%s", path);
    return op_buf_finish(&x->url, "url", err);
}

static enum op_rc fake_path(struct op_exchange *x, const char *method, const char *fmt,
                            const char *id, struct op_err *err)
{
    char path[200];
    snprintf(path, sizeof(path), "/%s/%s%s", fmt, id, "");
    return fake_begin(x, method, path, err);
}

static enum op_rc fake_create(const struct op_lane *lane, const struct op_create *what,
                              struct op_exchange *ret, struct op_err *err)
{
    (void)lane;
    enum op_rc rc = fake_begin(ret, "POST", "/batches", err);
    op_buf_addf(&ret->body,
                "{\"tag\":\"%s\",\"file\":\"%s\",\"model\":\"%s\",\"endpoint\":\"%s\"}",
                what->tag, what->file_id, what->model, what->endpoint);
    return rc;
}

static enum op_rc fake_get(const struct op_lane *lane, const char *id, struct op_exchange *ret,
                           struct op_err *err)
{
    (void)lane;
    return fake_path(ret, "GET", "batches", id, err);
}

static enum op_rc fake_list(const struct op_lane *lane, const char *cursor, int limit,
                            struct op_exchange *ret, struct op_err *err)
{
    (void)lane;
    (void)limit;
    char path[300];
    snprintf(path, sizeof(path), "/batches?%s%s", cursor[0] ? "after=" : "", cursor);
    return fake_begin(ret, "GET", path, err);
}

static enum op_rc fake_cancel(const struct op_lane *lane, const char *id,
                              struct op_exchange *ret, struct op_err *err)
{
    (void)lane;
    char path[100];
    snprintf(path, sizeof(path), "/batches/%s/cancel", id);
    return fake_begin(ret, "POST", path, err);
}

static enum op_rc fake_upload_begin(const struct op_lane *lane, const struct op_create *what,
                                    struct op_exchange *ret, struct op_err *err)
{
    (void)lane;
    (void)what;
    return fake_begin(ret, "POST", "/begin", err);
}

static enum op_rc fake_upload(const struct op_lane *lane, const struct op_create *what,
                              const struct op_http_reply *begun, struct op_exchange *ret,
                              struct op_err *err)
{
    (void)lane;
    struct op_str to = op_http_header_get(begun, "X-Put");
    op_exchange_init(ret);
    ret->method = "POST";
    ret->with_file = true;
    op_buf_add_str(&ret->url, to);
    op_buf_addz(&ret->body, "HEAD");
    op_buf_addz(&ret->tail, "TAIL!");
    return op_exchange_header(ret, "X-Name", what->tag, err);
}

static enum op_rc fake_upload_end(const struct op_lane *lane, const struct op_http_reply *begun,
                                  struct op_exchange *ret, struct op_err *err)
{
    (void)lane;
    (void)begun;
    (void)ret;
    (void)err;
    return OP_NOTFOUND;
}

static void fake_text(struct op_json root, const char *name, char *ret, size_t size)
{
    snprintf(ret, size, OP_STR_FMT, OP_STR_ARG(op_json_str(op_json_get(root, name))));
}

static void fake_read_file(struct op_json root, struct op_remote_file *ret)
{
    *ret = (struct op_remote_file){.bytes = op_json_int(op_json_get(root, "bytes"), -1),
                                   .created_ms = op_json_int(op_json_get(root, "created"), -1)};
    fake_text(root, "id", ret->id, sizeof(ret->id));
    fake_text(root, "name", ret->name, sizeof(ret->name));
}

static void fake_read_batch(struct op_json root, struct op_remote_batch *ret)
{
    static const struct {
        const char *name;
        enum op_remote_state state;
    } states[] = {{"running", OP_REMOTE_IN_PROGRESS},
                  {"canceling", OP_REMOTE_CANCELING},
                  {"ended", OP_REMOTE_ENDED},
                  {"failed", OP_REMOTE_FAILED}};
    static const struct {
        const char *name;
        enum op_disp disp;
    } disps[] = {{"retry", OP_DISP_RETRY},
                 {"after", OP_DISP_RETRY_AFTER},
                 {"split", OP_DISP_SPLIT},
                 {"pause", OP_DISP_PAUSE},
                 {"reject", OP_DISP_REJECT}};
    *ret =
        (struct op_remote_batch){.state = OP_REMOTE_UNKNOWN, .expires_ms = -1, .ended_ms = -1};
    fake_text(root, "id", ret->id, sizeof(ret->id));
    fake_text(root, "tag", ret->tag, sizeof(ret->tag));
    fake_text(root, "file", ret->file_id, sizeof(ret->file_id));
    fake_text(root, "state", ret->state_name, sizeof(ret->state_name));
    fake_text(root, "failure", ret->failure, sizeof(ret->failure));
    for (size_t i = 0; i < OP_COUNT(states); i++)
        if (strcmp(states[i].name, ret->state_name) == 0)
            ret->state = states[i].state;
    char disp[16];
    fake_text(root, "disp", disp, sizeof(disp));
    for (size_t i = 0; i < OP_COUNT(disps); i++)
        if (strcmp(disps[i].name, disp) == 0)
            ret->failure_disp = disps[i].disp;
    ret->created_ms = op_json_int(op_json_get(root, "created"), -1);
    ret->total = op_json_int(op_json_get(root, "count"), -1);
    ret->failure_limit = op_json_int(op_json_get(root, "limit"), -1);
    snprintf(ret->results_url, sizeof(ret->results_url), "known");
}

/* Parses a reply and hands its root to a reader. */
static enum op_rc fake_parse(const struct op_http_reply *reply, struct op_json_parser **parser,
                             struct op_json *ret, struct op_err *err)
{
    *parser = op_json_parser_new();
    return op_json_parse(*parser, reply->body.ptr ? reply->body.ptr : "", reply->body.len,
                         false, ret, err);
}

static enum op_rc fake_decode_upload(const struct op_http_reply *reply,
                                     struct op_remote_file *ret, struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = NULL;
    struct op_json root;
    enum op_rc rc = fake_parse(reply, &parser, &root, err);
    if (!rc)
        fake_read_file(root, ret);
    return rc;
}

static void fake_next(struct op_json root, char next[256])
{
    int64_t n = op_json_int(op_json_get(root, "next"), 0);
    next[0] = '\0';
    if (n > 0)
        snprintf(next, 256, "%lld", (long long)n);
}

static enum op_rc fake_files(const struct op_lane *lane, const char *cursor,
                             struct op_exchange *ret, struct op_err *err)
{
    (void)lane;
    char path[300];
    snprintf(path, sizeof(path), "/files?%s%s", cursor[0] ? "after=" : "", cursor);
    return fake_begin(ret, "GET", path, err);
}

static enum op_rc fake_decode_files(const struct op_http_reply *reply,
                                    void (*fn)(void *arg, const struct op_remote_file *file),
                                    void *arg, char next_cursor[256], struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = NULL;
    struct op_json root;
    enum op_rc rc = fake_parse(reply, &parser, &root, err);
    struct op_json_iter it = op_json_iter(rc ? (struct op_json){0} : op_json_get(root, "data"));
    while (!rc && op_json_next(&it)) {
        struct op_remote_file file;
        fake_read_file(it.value, &file);
        fn(arg, &file);
    }
    if (!rc)
        fake_next(root, next_cursor);
    return rc;
}

static enum op_rc fake_remove(const struct op_lane *lane, const char *id,
                              struct op_exchange *ret, struct op_err *err)
{
    (void)lane;
    return fake_path(ret, "DELETE", "files", id, err);
}

/* Output and error file; either is left out when it is empty. */
static enum op_rc fake_results(const struct op_lane *lane, const struct op_remote_batch *batch,
                               int part, struct op_exchange *ret, struct op_err *err)
{
    (void)lane;
    const struct cloud_batch *b = cloud_batch(fake_cloud, batch->id);
    char path[100];
    if (!b || part > 1 || fake_cloud->hides_results || (part == 0 && !b->out_len) ||
        (part == 1 && !b->err_len))
        return OP_NOTFOUND;
    bool document = fake_cloud->document && part == 0;
    snprintf(path, sizeof(path), "/results/%s/%s", batch->id,
             document ? "doc"
             : part   ? "err"
                      : "out");
    enum op_rc rc = fake_begin(ret, "GET", path, err);
    ret->document = document;
    return rc;
}

static enum op_rc fake_error(const struct op_http_reply *reply, struct op_err *err)
{
    if (reply->status == 404)
        return op_fail_as(err, OP_NOTFOUND, OP_DISP_RETRY, "there is none (404)");
    enum op_disp disp = reply->status == 409 ? OP_DISP_REJECT : OP_DISP_RETRY;
    return op_fail_as(err, OP_REMOTE, disp, "HTTP %d: %s", reply->status,
                      reply->body.ptr ? reply->body.ptr : "");
}

static enum op_rc fake_decode_batch(const struct op_http_reply *reply,
                                    struct op_remote_batch *ret, struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = NULL;
    struct op_json root;
    enum op_rc rc = fake_parse(reply, &parser, &root, err);
    if (!rc)
        fake_read_batch(root, ret);
    return rc;
}

static enum op_create_class fake_decode_create(enum op_rc transport,
                                               const struct op_http_reply *reply,
                                               struct op_remote_batch *ret, struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = NULL;
    struct op_json root;
    struct op_err bad = OP_ERR_INIT;
    if (transport || fake_parse(reply, &parser, &root, &bad)) {
        op_err_set_as(err, OP_REMOTE, OP_DISP_AMBIGUOUS, "the answer to the create was lost");
        return OP_CREATE_AMBIGUOUS;
    }
    if (reply->status == 200) {
        fake_read_batch(root, ret);
        return OP_CREATE_ACCEPTED;
    }
    ret->failure_limit = op_json_int(op_json_get(root, "limit"), -1);
    op_err_set_as(err, OP_REMOTE, OP_DISP_RETRY, "Enqueued token limit reached");
    return OP_CREATE_REJECTED;
}

static enum op_rc fake_decode_list(const struct op_http_reply *reply,
                                   void (*fn)(void *arg, const struct op_remote_batch *batch),
                                   void *arg, char next_cursor[256], struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = NULL;
    struct op_json root;
    enum op_rc rc = fake_parse(reply, &parser, &root, err);
    struct op_json_iter it = op_json_iter(rc ? (struct op_json){0} : op_json_get(root, "data"));
    while (!rc && op_json_next(&it)) {
        struct op_remote_batch batch;
        fake_read_batch(it.value, &batch);
        fn(arg, &batch);
    }
    if (!rc)
        fake_next(root, next_cursor);
    return rc;
}

static enum op_rc fake_decode_result(struct op_json line, struct op_buf *scratch,
                                     struct op_result *ret, struct op_err *err)
{
    (void)scratch;
    *ret = (struct op_result){.custom_id = op_json_str(op_json_get(line, "custom_id"))};
    if (!ret->custom_id.ptr)
        return op_fail(err, OP_INVAL, "no custom_id");
    ret->text = op_json_str(op_json_get(line, "text"));
    ret->class_ = ret->text.ptr ? OP_RESULT_SUCCEEDED : OP_RESULT_ERRORED;
    ret->error_message = op_json_str(op_json_get(line, "error"));
    ret->disp =
        op_json_bool(op_json_get(line, "again"), false) ? OP_DISP_RETRY : OP_DISP_REJECT;
    ret->has_usage = ret->text.ptr != NULL;
    ret->usage.tokens[OP_TOKEN_INPUT] = op_json_int(op_json_get(line, "in"), 0);
    ret->usage.tokens[OP_TOKEN_OUTPUT] = op_json_int(op_json_get(line, "out"), 0);
    return OP_OK;
}

static enum op_rc fake_unfold(struct op_json document, struct op_buf *ret, struct op_err *err)
{
    struct op_json_iter it = op_json_iter(op_json_get(document, "results"));
    while (op_json_next(&it)) {
        op_json_write(ret, it.value);
        op_buf_addc(ret, '\n');
    }
    return op_buf_finish(ret, "lines", err);
}

static enum op_rc fake_ask(const struct op_lane *lane, const char *model, const char *endpoint,
                           const char *tier, struct op_str params, struct op_exchange *ret,
                           struct op_err *err)
{
    (void)lane;
    (void)model;
    (void)endpoint;
    (void)tier;
    (void)params;
    (void)ret;
    return op_fail(err, OP_INVAL, "not asked here");
}

static enum op_rc fake_fold(struct op_str custom_id, const struct op_http_reply *reply,
                            struct op_buf *ret_line, struct op_err *err)
{
    (void)custom_id;
    (void)reply;
    (void)ret_line;
    return op_fail(err, OP_INVAL, "not asked here");
}

static const char *const fake_prefixes[] = {"fake-", NULL};
static const char *const fake_endpoints[] = {"chat", "embed", NULL};
static const char *const other_prefixes[] = {"other-", NULL};

static struct op_provider_ops fake_ops = {
    .name = "fake",
    .key_env = "FAKE_API_KEY",
    .url_env = "FAKE_BASE_URL",
    .default_url = "https://fake.test",
    .default_model = "fake-1",
    .model_prefixes = fake_prefixes,
    .endpoints = fake_endpoints,
    .limits = {.max_requests = 1000,
               .max_bytes = CLOUD_TEXT - 1024,
               .max_line_bytes = 4096,
               .window_ms = OP_DAY_MS,
               .keep_ms = 30 * OP_DAY_MS},
    .has_tags = true,
    .has_upload = true,
    .one_model = true,
    .has_batch = true,
    .emulator_path = "",
    .stops_without_file = true,
    .framing = fake_framing,
    .params = fake_params,
    .split_line = fake_split,
    .amend = fake_amend,
    .create = fake_create,
    .get = fake_get,
    .list = fake_list,
    .cancel = fake_cancel,
    .upload_begin = fake_upload_begin,
    .upload = fake_upload,
    .upload_end = fake_upload_end,
    .decode_upload = fake_decode_upload,
    .files = fake_files,
    .decode_files = fake_decode_files,
    .remove_file = fake_remove,
    .results = fake_results,
    .decode_create = fake_decode_create,
    .decode_batch = fake_decode_batch,
    .decode_list = fake_decode_list,
    .decode_result = fake_decode_result,
    .unfold = fake_unfold,
    .decode_error = fake_error,
    .ask = fake_ask,
    .fold = fake_fold,
};
static struct op_provider_ops other_ops;
static const struct op_provider_ops *const fake_registry[] = {&fake_ops, &other_ops, NULL};

const struct op_provider_ops *const *op_providers(void)
{
    return fake_registry;
}

const struct op_provider_ops *op_provider_find(const char *name)
{
    for (size_t i = 0; fake_registry[i]; i++)
        if (strcmp(fake_registry[i]->name, name) == 0)
            return fake_registry[i];
    return NULL;
}

const struct op_provider_ops *op_provider_for_model(const char *model)
{
    for (size_t i = 0; fake_registry[i]; i++)
        if (op_str_starts(op_str_from(model), fake_registry[i]->model_prefixes[0]))
            return fake_registry[i];
    return NULL;
}

#endif
