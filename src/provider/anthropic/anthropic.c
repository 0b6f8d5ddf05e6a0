/* SPDX-License-Identifier: MIT */
#include "provider/anthropic/anthropic.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "provider/driver.h"

#define BATCHES_PATH  "/v1/messages/batches"
#define MESSAGES_PATH "/v1/messages"
#define LIST_MAX      1000

enum op_rc op_anthropic_version(const struct op_lane *lane, const char **ret,
                                struct op_err *err)
{
    const char *version =
        lane->extras[0] && *lane->extras[0] ? lane->extras[0] : OP_ANTHROPIC_VERSION;
    if (strcmp(version, OP_ANTHROPIC_VERSION) != 0 &&
        strcmp(version, OP_ANTHROPIC_VERSION_OLD) != 0)
        return op_fail(err, OP_INVAL,
                       "unknown anthropic-version '%s'; use " OP_ANTHROPIC_VERSION
                       " (the default) or " OP_ANTHROPIC_VERSION_OLD,
                       version);
    *ret = version;
    return OP_OK;
}

/* --- exchanges ------------------------------------------------------------------------------ */

static enum op_rc add_headers(const struct op_lane *lane, struct op_exchange *x,
                              struct op_err *err)
{
    const char *version;
    enum op_rc rc = op_anthropic_version(lane, &version, err);
    if (rc)
        return rc;
    if (!lane->key || !*lane->key)
        return op_fail_as(err, OP_INVAL, OP_DISP_PAUSE, "there is no Anthropic key; set %s",
                          op_provider_anthropic.key_env);
    rc = op_exchange_header(x, "anthropic-version", version, err);
    if (rc)
        return rc;
    if (strcmp(version, OP_ANTHROPIC_VERSION_OLD) == 0)
        return op_exchange_header(x, "x-api-key", lane->key, err);
    OP_CLEANUP(op_mem_freep) char *bearer = op_mem_printf("Bearer %s", lane->key);
    rc = op_exchange_header(x, "Authorization", bearer, err);
    /* The copy of the secret must not outlive its use. */
    explicit_bzero(bearer, strlen(bearer));
    return rc;
}

/* Begins an exchange with base + path + [/id] + tail; on failure nothing is left to release. */
static enum op_rc begin_at(const struct op_lane *lane, const char *method, const char *path,
                           const char *id, const char *tail, struct op_exchange *ret,
                           struct op_err *err)
{
    if (id && !op_provider_id_ok(op_str_from(id)))
        return op_fail(err, OP_INVAL, "'%.80s' is no id of a batch at Anthropic", id);
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
        rc = add_headers(lane, &x, err);
    if (rc)
        return rc;
    *ret = x;
    x = (struct op_exchange){0};
    return OP_OK;
}

static enum op_rc begin(const struct op_lane *lane, const char *method, const char *id,
                        const char *tail, struct op_exchange *ret, struct op_err *err)
{
    return begin_at(lane, method, BATCHES_PATH, id, tail, ret, err);
}

static enum op_rc begin_post(const struct op_lane *lane, const char *path,
                             struct op_exchange *ret, struct op_err *err)
{
    struct op_exchange x;
    enum op_rc rc = begin_at(lane, "POST", path, NULL, "", &x, err);
    if (rc)
        return rc;
    rc = op_exchange_header(&x, "content-type", "application/json", err);
    if (rc) {
        op_exchange_release(&x);
        return rc;
    }
    *ret = x;
    return OP_OK;
}

static enum op_rc anthropic_create(const struct op_lane *lane, const struct op_create *what,
                                   struct op_exchange *ret, struct op_err *err)
{
    (void)what; /* the API takes no tag */
    enum op_rc rc = begin_post(lane, BATCHES_PATH, ret, err);
    if (!rc)
        ret->with_file = true;
    return rc;
}

/* The params of a batch line are the body of a single message. */
static enum op_rc anthropic_ask(const struct op_lane *lane, const char *model,
                                const char *endpoint, const char *tier, struct op_str params,
                                struct op_exchange *ret, struct op_err *err)
{
    (void)model;
    (void)endpoint;
    if (tier)
        return op_fail(err, OP_INVAL, "Anthropic has no service tier '%s' for offpeak", tier);
    struct op_exchange x;
    enum op_rc rc = begin_post(lane, MESSAGES_PATH, &x, err);
    if (rc)
        return rc;
    op_buf_add_str(&x.body, params);
    rc = op_buf_finish(&x.body, "the body of a request", err);
    if (rc) {
        op_exchange_release(&x);
        return rc;
    }
    *ret = x;
    return OP_OK;
}

static enum op_rc anthropic_get(const struct op_lane *lane, const char *id,
                                struct op_exchange *ret, struct op_err *err)
{
    return begin(lane, "GET", id, "", ret, err);
}

static enum op_rc anthropic_cancel(const struct op_lane *lane, const char *id,
                                   struct op_exchange *ret, struct op_err *err)
{
    return begin(lane, "POST", id, "/cancel", ret, err);
}

static enum op_rc anthropic_list(const struct op_lane *lane, const char *cursor, int limit,
                                 struct op_exchange *ret, struct op_err *err)
{
    if (*cursor && !op_provider_id_ok(op_str_from(cursor)))
        return op_fail(err, OP_INVAL, "'%.80s' is no cursor of a batch list at Anthropic",
                       cursor);
    int asked = limit < 1 || limit > LIST_MAX ? LIST_MAX : limit;
    OP_CLEANUP(op_buf_release) struct op_buf tail;
    op_buf_init(&tail, 4096);
    op_buf_addf(&tail, "?limit=%d", asked);
    if (*cursor) {
        op_buf_addz(&tail, "&after_id=");
        op_url_add_escaped(&tail, cursor);
    }
    enum op_rc rc = op_buf_finish(&tail, "the URL of a list request", err);
    return rc ? rc : begin(lane, "GET", NULL, tail.ptr, ret, err);
}

static enum op_rc anthropic_results(const struct op_lane *lane,
                                    const struct op_remote_batch *batch, int part,
                                    struct op_exchange *ret, struct op_err *err)
{
    if (part != 0 || batch->state != OP_REMOTE_ENDED)
        return OP_NOTFOUND;
    struct op_exchange x;
    enum op_rc rc = begin(lane, "GET", batch->id, "/results", &x, err);
    if (rc)
        return rc;
    /* Only the lane's own origin gets the key; from anywhere else the path we know is asked. */
    if (batch->results_url[0] && op_url_same_origin(lane->base_url, batch->results_url)) {
        op_buf_clear(&x.url);
        op_buf_addz(&x.url, batch->results_url);
    }
    *ret = x;
    return OP_OK;
}

static void anthropic_framing(const struct op_lane *lane, const char *endpoint,
                              struct op_batch_framing *ret)
{
    (void)lane;
    (void)endpoint;
    *ret = (struct op_batch_framing){
        .head = "{\"requests\":[",
        .before = "{\"custom_id\":\"",
        .between = "\",\"params\":",
        .after = "}",
        .separator = ",\n",
        .tail = "]}",
    };
}

static const char *const prefixes[] = {"claude-", NULL};
static const char *const endpoints[] = {"messages", NULL};

const struct op_provider_ops op_provider_anthropic = {
    .name = "anthropic",
    .key_env = "ANTHROPIC_API_KEY",
    .url_env = "ANTHROPIC_BASE_URL",
    .extra_env = {"ANTHROPIC_VERSION"},
    .default_url = "https://api.anthropic.com",
    .emulator_path = "/anthropic",
    .default_model = "claude-haiku-5-5",
    .model_prefixes = prefixes,
    .endpoints = endpoints,
    .limits =
        {
            .max_requests = 100000,
            /* 256 MB, not said whether decimal: the smaller one (anthropic.md 4.1). The body is
             * the file and nothing else. */
            .max_bytes = 256 * 1000 * 1000,
            /* Not documented for a line; what the API takes for a single message. */
            .max_line_bytes = 32 * 1000 * 1000,
            .window_ms = OP_DAY_MS,
            .keep_ms = 29 * OP_DAY_MS,
        },
    .has_tags = false,
    .has_upload = false,
    .one_model = false,
    .lane_is_serial = true,
    .has_batch = true,
    .framing = anthropic_framing,
    .params = op_anthropic_params,
    .split_line = op_anthropic_split_line,
    .amend = op_anthropic_amend,
    .create = anthropic_create,
    .get = anthropic_get,
    .list = anthropic_list,
    .cancel = anthropic_cancel,
    .upload_begin = op_no_upload_begin,
    .upload_end = op_no_upload_end,
    .upload = op_no_upload,
    .decode_upload = op_no_decode_upload,
    .files = op_no_files,
    .decode_files = op_no_decode_files,
    .remove_file = op_no_remove_file,
    .results = anthropic_results,
    .decode_create = op_anthropic_decode_create,
    .decode_batch = op_anthropic_decode_batch,
    .decode_list = op_anthropic_decode_list,
    .decode_result = op_anthropic_decode_result,
    .unfold = op_no_unfold,
    .decode_error = op_anthropic_decode_error,
    .ask = anthropic_ask,
    .fold = op_anthropic_fold,
};
