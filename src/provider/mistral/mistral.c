/* SPDX-License-Identifier: MIT */
#include "provider/mistral/mistral.h"

#include <stdio.h>
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "provider/driver.h"

#define JOBS_PATH  "/v1/batch/jobs"
#define FILES_PATH "/v1/files"
/* The default (openai.md 9); said, so that a changed one does not surprise. */
#define TIMEOUT_HOURS 24

bool op_mistral_embeds(const char *endpoint)
{
    return endpoint && strcmp(endpoint, "embeddings") == 0;
}

static const char *endpoint_path(const char *endpoint)
{
    return op_mistral_embeds(endpoint) ? "/v1/embeddings" : "/v1/chat/completions";
}

/* --- parts of exchanges --------------------------------------------------------------------- */

static enum op_rc add_key(const struct op_lane *lane, struct op_exchange *x, struct op_err *err)
{
    if (!lane->key || !*lane->key)
        return op_fail_as(err, OP_INVAL, OP_DISP_PAUSE, "there is no Mistral key; set %s",
                          op_provider_mistral.key_env);
    OP_CLEANUP(op_mem_freep) char *bearer = op_mem_printf("Bearer %s", lane->key);
    enum op_rc rc = op_exchange_header(x, "Authorization", bearer, err);
    /* The copy of the secret must not outlive its use. */
    explicit_bzero(bearer, strlen(bearer));
    return rc;
}

/* Begins an exchange with base + path + [/id] + tail; type: of the body, NULL when there is none.
 * On failure nothing is left to release. */
static enum op_rc begin(const struct op_lane *lane, const char *method, const char *path,
                        const char *id, const char *tail, const char *type,
                        struct op_exchange *ret, struct op_err *err)
{
    if (id && (!op_provider_id_ok(op_str_from(id)) || strchr(id, '/')))
        return op_fail(err, OP_INVAL, "'%.80s' is no id of a job or file at Mistral", id);
    OP_CLEANUP(op_exchange_release) struct op_exchange x;
    op_exchange_init(&x);
    x.method = method;
    op_buf_addz(&x.url, lane->base_url);
    op_buf_addz(&x.url, path);
    if (id) {
        op_buf_addc(&x.url, '/');
        op_url_add_escaped(&x.url, id);
    }
    op_buf_addz(&x.url, tail);
    enum op_rc rc = op_buf_finish(&x.url, "the URL of a request", err);
    if (!rc)
        rc = add_key(lane, &x, err);
    if (!rc && type)
        rc = op_exchange_header(&x, "content-type", type, err);
    if (rc)
        return rc;
    *ret = x;
    x = (struct op_exchange){0};
    return OP_OK;
}

/* path + "?page=N&page_size=S"; the cursor is the page's number. */
static enum op_rc begin_page(const struct op_lane *lane, const char *path, const char *cursor,
                             int limit, struct op_exchange *ret, struct op_err *err)
{
    int64_t page = 0;
    if (*cursor && (!op_str_int64(op_str_from(cursor), &page) || page < 0))
        return op_fail(err, OP_INVAL, "'%.80s' is no cursor of a list at Mistral", cursor);
    char tail[80];
    snprintf(tail, sizeof(tail), "?page=%lld&page_size=%d", (long long)page, limit);
    return begin(lane, "GET", path, NULL, tail, NULL, ret, err);
}

/* --- uploading ------------------------------------------------------------------------------ */

/* No file holds its own hash, so that no line can be taken for the boundary. */
static void write_boundary(const struct op_create *what, char ret[64])
{
    snprintf(ret, 64, "offpeak-%.48s", what->sha256);
}

static enum op_rc mistral_upload(const struct op_lane *lane, const struct op_create *what,
                                 const struct op_http_reply *begun, struct op_exchange *ret,
                                 struct op_err *err)
{
    (void)begun;
    char boundary[64], type[128];
    write_boundary(what, boundary);
    snprintf(type, sizeof(type), "multipart/form-data; boundary=%s", boundary);
    if (!op_provider_id_ok(op_str_from(what->tag)))
        return op_fail(err, OP_INVAL, "'%.80s' is no tag", what->tag);
    struct op_exchange x;
    enum op_rc rc = begin(lane, "POST", FILES_PATH, NULL, "", type, &x, err);
    if (rc)
        return rc;
    op_buf_addf(&x.body,
                "--%s\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n"
                "--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s%s\"\r\n"
                "Content-Type: application/jsonl\r\n\r\n",
                boundary, boundary, what->tag, OP_MISTRAL_SUFFIX);
    op_buf_addf(&x.tail, "\r\n--%s--\r\n", boundary);
    x.with_file = true;
    *ret = x;
    return OP_OK;
}

static enum op_rc mistral_files(const struct op_lane *lane, const char *cursor,
                                struct op_exchange *ret, struct op_err *err)
{
    return begin_page(lane, FILES_PATH, cursor, OP_MISTRAL_PAGE, ret, err);
}

static enum op_rc mistral_remove_file(const struct op_lane *lane, const char *file_id,
                                      struct op_exchange *ret, struct op_err *err)
{
    return begin(lane, "DELETE", FILES_PATH, file_id, "", NULL, ret, err);
}

/* --- jobs ----------------------------------------------------------------------------------- */

static void write_job(const struct op_create *what, struct op_buf *body)
{
    struct op_json_out o;
    op_json_out_init(&o, body, 0);
    op_json_out_object(&o);
    op_json_out_name(&o, "input_files");
    op_json_out_array(&o);
    op_json_out_text(&o, what->file_id);
    op_json_out_end_array(&o);
    op_json_out_kv_text(&o, "endpoint", endpoint_path(what->endpoint));
    op_json_out_kv_text(&o, "model", what->model);
    op_json_out_kv_int(&o, "timeout_hours", TIMEOUT_HOURS);
    op_json_out_name(&o, "metadata");
    op_json_out_object(&o);
    op_json_out_kv_text(&o, OP_MISTRAL_TAG, what->tag);
    op_json_out_end_object(&o);
    op_json_out_end_object(&o);
}

static enum op_rc mistral_create(const struct op_lane *lane, const struct op_create *what,
                                 struct op_exchange *ret, struct op_err *err)
{
    if (!op_provider_id_ok(op_str_from(what->file_id)))
        return op_fail(err, OP_INVAL, "'%.80s' is no id of a file at Mistral", what->file_id);
    if (!what->model || !*what->model)
        return op_fail(err, OP_INVAL, "a job at Mistral needs a model");
    struct op_exchange x;
    enum op_rc rc = begin(lane, "POST", JOBS_PATH, NULL, "", "application/json", &x, err);
    if (rc)
        return rc;
    write_job(what, &x.body);
    rc = op_buf_finish(&x.body, "the body of a request", err);
    if (rc) {
        op_exchange_release(&x);
        return rc;
    }
    *ret = x;
    return OP_OK;
}

static enum op_rc mistral_get(const struct op_lane *lane, const char *id,
                              struct op_exchange *ret, struct op_err *err)
{
    return begin(lane, "GET", JOBS_PATH, id, "", NULL, ret, err);
}

static enum op_rc mistral_cancel(const struct op_lane *lane, const char *id,
                                 struct op_exchange *ret, struct op_err *err)
{
    return begin(lane, "POST", JOBS_PATH, id, "/cancel", NULL, ret, err);
}

static enum op_rc mistral_list(const struct op_lane *lane, const char *cursor, int limit,
                               struct op_exchange *ret, struct op_err *err)
{
    (void)limit; /* pages are counted, so that all of them have one size */
    return begin_page(lane, JOBS_PATH, cursor, OP_MISTRAL_PAGE, ret, err);
}

/* results_url is the ids of the files, good lines first, with a blank between them. */
static enum op_rc mistral_results(const struct op_lane *lane,
                                  const struct op_remote_batch *batch, int part,
                                  struct op_exchange *ret, struct op_err *err)
{
    if (batch->state != OP_REMOTE_ENDED)
        return OP_NOTFOUND;
    struct op_str rest = op_str_from(batch->results_url), id = OP_STR_NULL;
    for (int i = 0; i <= part; i++) {
        if (rest.len == 0)
            return OP_NOTFOUND;
        id = op_str_cut(&rest, ' ');
    }
    OP_CLEANUP(op_mem_freep) char *name = op_mem_strndup(id.ptr, id.len);
    return begin(lane, "GET", FILES_PATH, name, "/content", NULL, ret, err);
}

/* --- the realtime lane ---------------------------------------------------------------------- */

/* A line's body does not name the model, a single request does. */
static enum op_rc write_asked(struct op_str params, const char *model, struct op_buf *ret,
                              struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    enum op_rc rc = op_json_parse(parser, params.ptr, params.len, false, &root, err);
    if (rc)
        return rc;
    struct op_json_out o;
    op_json_out_init(&o, ret, 0);
    op_json_out_object(&o);
    op_json_out_kv_text(&o, "model", model);
    struct op_json_iter it = op_json_iter(root);
    while (op_json_is(root, OP_JSON_OBJECT) && op_json_next(&it)) {
        if (op_str_is(it.name, "model"))
            continue;
        op_json_out_name_str(&o, it.name);
        op_json_out_value(&o, it.value);
    }
    op_json_out_end_object(&o);
    return op_buf_finish(ret, "the body of a request", err);
}

static enum op_rc mistral_ask(const struct op_lane *lane, const char *model,
                              const char *endpoint, const char *tier, struct op_str params,
                              struct op_exchange *ret, struct op_err *err)
{
    if (tier)
        return op_fail(err, OP_INVAL, "Mistral has no service tier '%s'", tier);
    struct op_exchange x;
    enum op_rc rc =
        begin(lane, "POST", endpoint_path(endpoint), NULL, "", "application/json", &x, err);
    if (rc)
        return rc;
    rc = write_asked(params, model, &x.body, err);
    if (rc) {
        op_exchange_release(&x);
        return rc;
    }
    *ret = x;
    return OP_OK;
}

/* --- the table ------------------------------------------------------------------------------ */

static void mistral_framing(const struct op_lane *lane, const char *endpoint,
                            struct op_batch_framing *ret)
{
    (void)lane;
    (void)endpoint;
    *ret = (struct op_batch_framing){
        .head = "",
        .before = "{\"custom_id\":\"",
        .between = "\",\"body\":",
        .after = "}",
        .separator = "\n",
        .tail = "\n",
    };
}

static const char *const prefixes[] = {"mistral-",      "ministral-",    "codestral-",
                                       "magistral-",    "devstral-",     "pixtral-",
                                       "open-mistral-", "open-mixtral-", NULL};
static const char *const endpoints[] = {"chat", "embeddings", NULL};

const struct op_provider_ops op_provider_mistral = {
    .name = "mistral",
    .key_env = "MISTRAL_API_KEY",
    .url_env = "MISTRAL_BASE_URL",
    .default_url = "https://api.mistral.ai",
    .emulator_path = "/mistral",
    .default_model = "mistral-small-latest",
    .model_prefixes = prefixes,
    .endpoints = endpoints,
    .limits =
        {
            /* The API's documents disagree (openai.md 9): the smaller ones. */
            .max_requests = 100000,
            .max_bytes = 512 * 1000 * 1000,
            /* Not documented; as much as the other providers take for one request. */
            .max_line_bytes = 20 * 1000 * 1000,
            .window_ms = TIMEOUT_HOURS * OP_HOUR_MS,
            /* 24 h from the end of the job, which may end at once. */
            .keep_ms = OP_DAY_MS,
        },
    .has_tags = true,
    .has_upload = true,
    .one_model = true,
    .lane_is_serial = false,
    .has_batch = true,
    .list_is_unordered = true,
    .framing = mistral_framing,
    .params = op_mistral_params,
    .split_line = op_mistral_split_line,
    .amend = op_mistral_amend,
    .create = mistral_create,
    .get = mistral_get,
    .list = mistral_list,
    .cancel = mistral_cancel,
    .upload_begin = op_no_upload_begin,
    .upload_end = op_no_upload_end,
    .upload = mistral_upload,
    .decode_upload = op_mistral_decode_upload,
    .files = mistral_files,
    .decode_files = op_mistral_decode_files,
    .remove_file = mistral_remove_file,
    .results = mistral_results,
    .decode_create = op_mistral_decode_create,
    .decode_batch = op_mistral_decode_batch,
    .decode_list = op_mistral_decode_list,
    .decode_result = op_mistral_decode_result,
    .unfold = op_no_unfold,
    .decode_error = op_mistral_decode_error,
    .ask = mistral_ask,
    .fold = op_mistral_fold,
};
