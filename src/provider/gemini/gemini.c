/* SPDX-License-Identifier: MIT */
#include "provider/gemini/gemini.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "provider/driver.h"
#include "provider/reply.h"

/* The largest page that the Files API documents (gemini.md 3); the list of batches tells none. */
#define PAGE_MAX 100
/* Of the names for JSON Lines that the API has taken, the one to try first (gemini.md 3). */
#define FILE_MIME "application/jsonl"

bool op_gemini_embeds(const char *endpoint)
{
    return endpoint && strcmp(endpoint, "embeddings") == 0;
}

bool op_gemini_name_ok(struct op_str name, const char *kind)
{
    size_t len = strlen(kind);
    if (!op_provider_id_ok(name) || !op_str_starts(name, kind) || name.len < len + 2 ||
        name.ptr[len] != '/')
        return false;
    return memchr(name.ptr + len + 1, '/', name.len - len - 1) == NULL;
}

/* --- parts of exchanges --------------------------------------------------------------------- */

static enum op_rc read_version(const struct op_lane *lane, const char **ret, struct op_err *err)
{
    const char *said = lane->extras[0] ? lane->extras[0] : "";
    if (!*said || strcmp(said, OP_GEMINI_VERSION) == 0 || strcmp(said, "beta") == 0)
        *ret = OP_GEMINI_VERSION;
    else if (strcmp(said, OP_GEMINI_VERSION_NEW) == 0)
        *ret = OP_GEMINI_VERSION_NEW;
    else
        return op_fail(err, OP_INVAL,
                       "unknown version '%s' of the Gemini API; use " OP_GEMINI_VERSION
                       " (the default) or " OP_GEMINI_VERSION_NEW,
                       said);
    return OP_OK;
}

static enum op_rc add_key(const struct op_lane *lane, struct op_exchange *x, struct op_err *err)
{
    if (!lane->key || !*lane->key)
        return op_fail_as(err, OP_INVAL, OP_DISP_PAUSE, "there is no Gemini key; set %s or %s",
                          op_provider_gemini.key_env, op_provider_gemini.key_env_2);
    return op_exchange_header(x, "x-goog-api-key", lane->key, err);
}

/* Begins an exchange with base + [service] + version + path; on failure nothing is left to release.
 * path is text of ours, with what came from outside already escaped. */
static enum op_rc begin(const struct op_lane *lane, const char *method, const char *service,
                        const char *path, struct op_exchange *ret, struct op_err *err)
{
    const char *version;
    enum op_rc rc = read_version(lane, &version, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_exchange_release) struct op_exchange x;
    op_exchange_init(&x);
    x.method = method;
    op_buf_addf(&x.url, "%s%s/%s%s", lane->base_url, service, version, path);
    rc = op_buf_finish(&x.url, "the URL of a request", err);
    if (!rc)
        rc = add_key(lane, &x, err);
    if (rc)
        return rc;
    *ret = x;
    x = (struct op_exchange){0};
    return OP_OK;
}

/* As begin, with a JSON body that the caller has written. */
static enum op_rc begin_json(const struct op_lane *lane, const char *service, const char *path,
                             const struct op_buf *body, struct op_exchange *ret,
                             struct op_err *err)
{
    struct op_exchange x;
    enum op_rc rc = op_buf_finish(body, "the body of a request", err);
    if (!rc)
        rc = begin(lane, "POST", service, path, &x, err);
    if (rc)
        return rc;
    op_buf_add_str(&x.body, op_buf_str(body));
    rc = op_exchange_header(&x, "content-type", "application/json", err);
    if (!rc)
        rc = op_buf_finish(&x.body, "the body of a request", err);
    if (rc) {
        op_exchange_release(&x);
        return rc;
    }
    *ret = x;
    return OP_OK;
}

/* "/batches/ID" + tail */
static enum op_rc begin_named(const struct op_lane *lane, const char *method, const char *kind,
                              const char *name, const char *tail, struct op_exchange *ret,
                              struct op_err *err)
{
    if (!op_gemini_name_ok(op_str_from(name), kind))
        return op_fail(err, OP_INVAL, "'%.80s' is no name of the form %s/ID at Gemini", name,
                       kind);
    OP_CLEANUP(op_buf_release) struct op_buf path;
    op_buf_init(&path, 4 * 1024);
    op_buf_addf(&path, "/%s/", kind);
    op_url_add_escaped(&path, name + strlen(kind) + 1);
    op_buf_addz(&path, tail);
    enum op_rc rc = op_buf_finish(&path, "the URL of a request", err);
    return rc ? rc : begin(lane, method, "", path.ptr, ret, err);
}

/* A page of the list of kind. */
static enum op_rc begin_list(const struct op_lane *lane, const char *kind, const char *cursor,
                             int limit, struct op_exchange *ret, struct op_err *err)
{
    int asked = limit < 1 || limit > PAGE_MAX ? PAGE_MAX : limit;
    OP_CLEANUP(op_buf_release) struct op_buf path;
    op_buf_init(&path, 4 * 1024);
    op_buf_addf(&path, "/%s?pageSize=%d", kind, asked);
    if (*cursor) {
        op_buf_addz(&path, "&pageToken=");
        op_url_add_escaped(&path, cursor);
    }
    enum op_rc rc = op_buf_finish(&path, "the URL of a list request", err);
    return rc ? rc : begin(lane, "GET", "", path.ptr, ret, err);
}

/* "/models/M:verb"; a tuned model is named with its kind. */
static enum op_rc model_path(const char *model, const char *verb, struct op_buf *ret,
                             struct op_err *err)
{
    static const char *const kinds[] = {"models", "tunedModels"};
    struct op_str name = op_str_from(model);
    for (size_t i = 0; i < OP_COUNT(kinds); i++) {
        if (!op_gemini_name_ok(name, kinds[i]))
            continue;
        size_t skip = strlen(kinds[i]) + 1;
        op_buf_addf(ret, "/%s/", kinds[i]);
        op_url_add_escaped(ret, model + skip);
        op_buf_addf(ret, ":%s", verb);
        return op_buf_finish(ret, "the URL of a request", err);
    }
    if (!op_provider_id_ok(name) || memchr(name.ptr, '/', name.len))
        return op_fail(err, OP_INVAL, "'%.80s' is no name of a model at Gemini", model);
    op_buf_addz(ret, "/models/");
    op_url_add_escaped(ret, model);
    op_buf_addf(ret, ":%s", verb);
    return op_buf_finish(ret, "the URL of a request", err);
}

/* --- uploading ------------------------------------------------------------------------------ */

static enum op_rc add_headers(struct op_exchange *x, const struct op_http_header *headers,
                              size_t count, struct op_err *err)
{
    for (size_t i = 0; i < count; i++) {
        enum op_rc rc = op_exchange_header(x, headers[i].name, headers[i].value, err);
        if (rc)
            return rc;
    }
    return OP_OK;
}

static enum op_rc gemini_upload_begin(const struct op_lane *lane, const struct op_create *what,
                                      struct op_exchange *ret, struct op_err *err)
{
    char bytes[24];
    snprintf(bytes, sizeof(bytes), "%lld", (long long)what->bytes);
    OP_CLEANUP(op_buf_release) struct op_buf body;
    op_buf_init(&body, 4 * 1024);
    struct op_json_out o;
    op_json_out_init(&o, &body, 0);
    op_json_out_object(&o);
    op_json_out_name(&o, "file");
    op_json_out_object(&o);
    op_json_out_kv_text(&o, "displayName", what->tag);
    op_json_out_kv_text(&o, "mimeType", FILE_MIME);
    op_json_out_kv_text(&o, "sizeBytes", bytes);
    op_json_out_end_object(&o);
    op_json_out_end_object(&o);
    struct op_exchange x;
    enum op_rc rc = begin_json(lane, "/upload", "/files", &body, &x, err);
    if (rc)
        return rc;
    const struct op_http_header headers[] = {
        {"X-Goog-Upload-Protocol", "resumable"},
        {"X-Goog-Upload-Command", "start"},
        {"X-Goog-Upload-Header-Content-Length", bytes},
        {"X-Goog-Upload-Header-Content-Type", FILE_MIME},
    };
    rc = add_headers(&x, headers, OP_COUNT(headers), err);
    if (rc) {
        op_exchange_release(&x);
        return rc;
    }
    *ret = x;
    return OP_OK;
}

/* Where the bytes go. The URL is a capability: it is in no message. */
static enum op_rc upload_url(const struct op_lane *lane, const struct op_http_reply *begun,
                             struct op_exchange *x, bool *ret_ours, struct op_err *err)
{
    if (!op_reply_good(begun))
        return op_gemini_decode_error(begun, err);
    struct op_str told = op_http_header_get(begun, "X-Goog-Upload-URL");
    if (told.len == 0)
        return op_reply_unusable(begun, "Gemini", "an upload URL", err);
    op_buf_add_str(&x->url, told);
    enum op_rc rc = op_buf_finish(&x->url, "the upload URL", err);
    if (rc)
        return rc;
    *ret_ours = op_url_same_origin(lane->base_url, x->url.ptr);
    /* A gateway passes on the API's own URL. It is itself the right to upload, and gets no key; but
     * the prompts must not go out in clear text because a reply says so. */
    if (!*ret_ours && !op_str_starts(told, "https://"))
        return op_fail_as(err, OP_REMOTE, OP_DISP_PAUSE,
                          "Gemini's upload URL is on another host and not https");
    return OP_OK;
}

static enum op_rc gemini_upload(const struct op_lane *lane, const struct op_create *what,
                                const struct op_http_reply *begun, struct op_exchange *ret,
                                struct op_err *err)
{
    (void)what;
    static const struct op_http_header headers[] = {
        {"content-type", FILE_MIME},
        {"X-Goog-Upload-Offset", "0"},
        {"X-Goog-Upload-Command", "upload, finalize"},
    };
    OP_CLEANUP(op_exchange_release) struct op_exchange x;
    op_exchange_init(&x);
    x.method = "POST";
    x.with_file = true;
    bool ours;
    enum op_rc rc = upload_url(lane, begun, &x, &ours, err);
    if (!rc)
        rc = add_headers(&x, headers, OP_COUNT(headers), err);
    if (!rc && ours)
        rc = add_key(lane, &x, err);
    if (rc)
        return rc;
    *ret = x;
    x = (struct op_exchange){0};
    return OP_OK;
}

static enum op_rc gemini_files(const struct op_lane *lane, const char *cursor,
                               struct op_exchange *ret, struct op_err *err)
{
    return begin_list(lane, "files", cursor, PAGE_MAX, ret, err);
}

static enum op_rc gemini_remove_file(const struct op_lane *lane, const char *file_id,
                                     struct op_exchange *ret, struct op_err *err)
{
    return begin_named(lane, "DELETE", "files", file_id, "", ret, err);
}

/* --- batches -------------------------------------------------------------------------------- */

static enum op_rc gemini_create(const struct op_lane *lane, const struct op_create *what,
                                struct op_exchange *ret, struct op_err *err)
{
    if (!op_gemini_name_ok(op_str_from(what->file_id), "files"))
        return op_fail(err, OP_INVAL, "'%.80s' is no name of a file at Gemini", what->file_id);
    const char *verb =
        op_gemini_embeds(what->endpoint) ? "asyncBatchEmbedContent" : "batchGenerateContent";
    OP_CLEANUP(op_buf_release) struct op_buf path;
    OP_CLEANUP(op_buf_release) struct op_buf body;
    op_buf_init(&path, 4 * 1024);
    op_buf_init(&body, 4 * 1024);
    struct op_json_out o;
    op_json_out_init(&o, &body, 0);
    op_json_out_object(&o);
    op_json_out_name(&o, "batch");
    op_json_out_object(&o);
    op_json_out_kv_text(&o, "displayName", what->tag);
    op_json_out_name(&o, "inputConfig");
    op_json_out_object(&o);
    op_json_out_kv_text(&o, "fileName", what->file_id);
    op_json_out_end_object(&o);
    op_json_out_end_object(&o);
    op_json_out_end_object(&o);
    enum op_rc rc = model_path(what->model, verb, &path, err);
    return rc ? rc : begin_json(lane, "", path.ptr, &body, ret, err);
}

static enum op_rc gemini_get(const struct op_lane *lane, const char *id,
                             struct op_exchange *ret, struct op_err *err)
{
    return begin_named(lane, "GET", "batches", id, "", ret, err);
}

static enum op_rc gemini_cancel(const struct op_lane *lane, const char *id,
                                struct op_exchange *ret, struct op_err *err)
{
    struct op_exchange x;
    enum op_rc rc = begin_named(lane, "POST", "batches", id, ":cancel", &x, err);
    if (rc)
        return rc;
    op_buf_addz(&x.body, "{}"); /* as the SDKs do */
    rc = op_exchange_header(&x, "content-type", "application/json", err);
    if (rc) {
        op_exchange_release(&x);
        return rc;
    }
    *ret = x;
    return OP_OK;
}

static enum op_rc gemini_list(const struct op_lane *lane, const char *cursor, int limit,
                              struct op_exchange *ret, struct op_err *err)
{
    return begin_list(lane, "batches", cursor, limit, ret, err);
}

static enum op_rc gemini_results(const struct op_lane *lane,
                                 const struct op_remote_batch *batch, int part,
                                 struct op_exchange *ret, struct op_err *err)
{
    /* A batch that was canceled or expired has often no results at all. */
    if (part != 0 || batch->state != OP_REMOTE_ENDED || !batch->results_url[0])
        return OP_NOTFOUND;
    if (strcmp(batch->results_url, OP_GEMINI_INLINE) != 0)
        return begin_named(lane, "GET", "files", batch->results_url, ":download?alt=media", ret,
                           err);
    enum op_rc rc = gemini_get(lane, batch->id, ret, err);
    if (!rc)
        ret->document = true;
    return rc;
}

/* --- the realtime lane ---------------------------------------------------------------------- */

/* Adds a member to params that are a JSON object, as the first one. */
static void add_member(struct op_buf *body, struct op_str params, const char *member)
{
    struct op_str rest = op_str_trim(params);
    if (rest.len == 0)
        return;
    struct op_str inner = op_str_trim((struct op_str){rest.ptr + 1, rest.len - 1});
    op_buf_addf(body, "{%s", member);
    if (inner.len > 1)
        op_buf_addc(body, ',');
    op_buf_add_str(body, inner);
}

static enum op_rc gemini_ask(const struct op_lane *lane, const char *model,
                             const char *endpoint, const char *tier, struct op_str params,
                             struct op_exchange *ret, struct op_err *err)
{
    bool embeds = op_gemini_embeds(endpoint);
    if (tier && (strcmp(tier, "flex") != 0 || embeds))
        return op_fail(err, OP_INVAL, "Gemini has no service tier '%s' for this request", tier);
    OP_CLEANUP(op_buf_release) struct op_buf path;
    op_buf_init(&path, 4 * 1024);
    enum op_rc rc = model_path(model, embeds ? "embedContent" : "generateContent", &path, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_buf_release) struct op_buf body;
    op_buf_init(&body, params.len + 1024);
    if (tier)
        add_member(&body, params, "\"serviceTier\":\"flex\"");
    else
        op_buf_add_str(&body, params);
    return begin_json(lane, "", path.ptr, &body, ret, err);
}

/* --- the table ------------------------------------------------------------------------------ */

static void gemini_framing(const struct op_lane *lane, const char *endpoint,
                           struct op_batch_framing *ret)
{
    (void)lane;
    (void)endpoint;
    *ret = (struct op_batch_framing){
        .head = "",
        .before = "{\"key\":\"",
        .between = "\",\"request\":",
        .after = "}",
        .separator = "\n",
        .tail = "\n",
    };
}

static const char *const prefixes[] = {"gemini-", "models/gemini-", NULL};
static const char *const endpoints[] = {"generate", "embeddings", NULL};

const struct op_provider_ops op_provider_gemini = {
    .name = "gemini",
    .key_env = "GOOGLE_API_KEY",
    .key_env_2 = "GEMINI_API_KEY",
    .url_env = "GOOGLE_GEMINI_BASE_URL",
    .extra_env = {"GOOGLE_GENAI_API_VERSION"},
    .default_url = "https://generativelanguage.googleapis.com",
    .emulator_path = "/gemini",
    .stops_without_file = true,
    .default_model = "gemini-3.5-flash-lite",
    .model_prefixes = prefixes,
    .endpoints = endpoints,
    .limits =
        {
            /* None is documented. Vertex's, as a reseller tells it (gemini.md 11), so that one
             * batch that expires does not take a million answers with it. */
            .max_requests = 200000,
            /* 2 GB, not said whether decimal or inclusive (gemini.md 5): one byte under goes. */
            .max_bytes = 2000LL * 1000 * 1000 - 1,
            .max_open = 100, /* gemini.md 5 */
            /* A table of models and tiers that changes monthly (gemini.md 5): learned instead. */
            .max_enqueued_tokens = 0,
            /* Not documented for a line; what the API takes for one request (gemini.md 5). */
            .max_line_bytes = 20 * 1000 * 1000,
            .window_ms = 48 * OP_HOUR_MS, /* gemini.md 5: then EXPIRED */
            .keep_ms = 42 * OP_DAY_MS,    /* gemini.md 3: six weeks */
        },
    .has_tags = true,
    .has_upload = true,
    .one_model = true,
    .lane_is_serial = false,
    .has_batch = true,
    .list_is_unordered = true,
    .framing = gemini_framing,
    .params = op_gemini_params,
    .split_line = op_gemini_split_line,
    .amend = op_gemini_amend,
    .create = gemini_create,
    .get = gemini_get,
    .list = gemini_list,
    .cancel = gemini_cancel,
    .upload_begin = gemini_upload_begin,
    .upload_end = op_no_upload_end,
    .upload = gemini_upload,
    .decode_upload = op_gemini_decode_upload,
    .files = gemini_files,
    .decode_files = op_gemini_decode_files,
    .remove_file = gemini_remove_file,
    .results = gemini_results,
    .decode_create = op_gemini_decode_create,
    .decode_batch = op_gemini_decode_batch,
    .decode_list = op_gemini_decode_list,
    .decode_result = op_gemini_decode_result,
    .unfold = op_gemini_unfold,
    .decode_error = op_gemini_decode_error,
    .ask = gemini_ask,
    .fold = op_gemini_fold,
};
