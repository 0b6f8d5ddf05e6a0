/* SPDX-License-Identifier: MIT */
#include "provider/anthropic/anthropic.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "provider/driver.h"

#define BATCHES_PATH "/v1/messages/batches"
#define LIST_MAX     1000

enum op_rc op_anthropic_version(const struct op_lane *lane, const char **ret,
                                struct op_err *err)
{
    const char *version =
        lane->version && *lane->version ? lane->version : OP_ANTHROPIC_VERSION;
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
static enum op_rc begin(const struct op_lane *lane, const char *method, const char *id,
                        const char *tail, struct op_exchange *ret, struct op_err *err)
{
    if (id && !op_provider_id_ok(op_str_from(id)))
        return op_fail(err, OP_INVAL, "'%.80s' is no id of a batch at Anthropic", id);
    OP_CLEANUP(op_exchange_release) struct op_exchange x;
    op_exchange_init(&x);
    x.method = method;
    op_buf_addz(&x.url, lane->base_url);
    op_buf_addz(&x.url, BATCHES_PATH);
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

static enum op_rc anthropic_create(const struct op_lane *lane, struct op_exchange *ret,
                                   struct op_err *err)
{
    struct op_exchange x;
    enum op_rc rc = begin(lane, "POST", NULL, "", &x, err);
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

const struct op_provider_ops op_provider_anthropic = {
    .name = "anthropic",
    .key_env = "ANTHROPIC_API_KEY",
    .url_env = "ANTHROPIC_BASE_URL",
    .default_url = "https://api.anthropic.com",
    .default_model = "claude-haiku-5-5",
    .model_prefix = "claude-",
    .limits =
        {
            .max_requests = 100000,
            /* 256 MB, not said whether decimal: the smaller one, and room below it. */
            .max_bytes = 255 * 1000 * 1000,
            /* Not documented for a line; what the API takes for a single message. */
            .max_line_bytes = 32 * 1000 * 1000,
            .window_ms = OP_DAY_MS,
            .keep_ms = 29 * OP_DAY_MS,
        },
    .framing =
        {
            .head = "{\"requests\":[",
            .before = "{\"custom_id\":\"",
            .between = "\",\"params\":",
            .after = "}",
            .separator = ",\n",
            .tail = "]}",
        },
    .has_tags = false,
    .has_upload = false,
    .lane_is_serial = true,
    .params = op_anthropic_params,
    .split_line = op_anthropic_split_line,
    .amend = op_anthropic_amend,
    .create = anthropic_create,
    .get = anthropic_get,
    .list = anthropic_list,
    .cancel = anthropic_cancel,
    .results = anthropic_results,
    .decode_create = op_anthropic_decode_create,
    .decode_batch = op_anthropic_decode_batch,
    .decode_list = op_anthropic_decode_list,
    .decode_result = op_anthropic_decode_result,
    .decode_error = op_anthropic_decode_error,
};
