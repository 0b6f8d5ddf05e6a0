/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "base/str.h"
#include "provider/driver.h"
#include "provider/openai/openai.h"

#define LIST_MAX 100 /* of GET /batches */

/* --- beginnings ----------------------------------------------------------------------------- */

static enum op_rc add_headers(const struct op_lane *lane, struct op_exchange *x,
                              struct op_err *err)
{
    static const char *const names[] = {"OpenAI-Organization", "OpenAI-Project"};
    if (!lane->key || !*lane->key)
        return op_fail_as(err, OP_INVAL, OP_DISP_PAUSE, "there is no %s key; set %s",
                          lane->provider->dialect->title, lane->provider->key_env);
    enum op_rc rc = OP_OK;
    const char *own = lane->provider->dialect->key_header;
    if (own) {
        rc = op_exchange_header(x, own, lane->key, err);
    } else {
        OP_CLEANUP(op_mem_freep) char *bearer = op_mem_printf("Bearer %s", lane->key);
        rc = op_exchange_header(x, "Authorization", bearer, err);
        /* The copy of the secret must not outlive its use. */
        explicit_bzero(bearer, strlen(bearer));
    }
    for (size_t i = 0; !rc && i < OP_COUNT(names); i++)
        if (lane->provider->extra_env[i] && lane->extras[i] && *lane->extras[i])
            rc = op_exchange_header(x, names[i], lane->extras[i], err);
    return rc;
}

/* An address without a path ("https://x.openai.azure.com") gets the usual one. */
static void add_base(const struct op_lane *lane, struct op_buf *url)
{
    op_buf_addz(url, lane->base_url);
    const char *host = strstr(lane->base_url, "://");
    if (host && !strchr(host + 3, '/'))
        op_buf_addz(url, lane->provider->dialect->base_path);
}

enum op_rc op_openai_begin(const struct op_lane *lane, const char *method, const char *path,
                           const char *id, const char *tail, struct op_exchange *ret,
                           struct op_err *err)
{
    if (id && !op_provider_id_ok(op_str_from(id)))
        return op_fail(err, OP_INVAL, "'%.80s' is no id at %s", id,
                       lane->provider->dialect->title);
    OP_CLEANUP(op_exchange_release) struct op_exchange x;
    op_exchange_init(&x);
    x.method = method;
    add_base(lane, &x.url);
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

enum op_rc op_openai_page(const struct op_lane *lane, const char *query, const char *cursor,
                          struct op_buf *ret, struct op_err *err)
{
    for (const unsigned char *p = (const unsigned char *)cursor; *p; p++)
        if (*p <= ' ' || *p >= 0x7f)
            return op_fail(err, OP_INVAL, "the cursor of a list is no plain text");
    op_buf_addz(ret, query);
    if (*cursor) {
        op_buf_addf(ret, "&%s=", lane->provider->dialect->cursor_query);
        op_url_add_escaped(ret, cursor);
    }
    return op_buf_finish(ret, "the URL of a list request", err);
}

/* A POST whose body is JSON; body is empty and to be filled. */
static enum op_rc begin_post(const struct op_lane *lane, const char *path,
                             struct op_exchange *ret, struct op_err *err)
{
    struct op_exchange x;
    enum op_rc rc = op_openai_begin(lane, "POST", path, NULL, "", &x, err);
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

static enum op_rc finish_post(struct op_exchange *x, struct op_exchange *ret,
                              struct op_err *err)
{
    enum op_rc rc = op_buf_finish(&x->body, "the body of a request", err);
    if (rc) {
        op_exchange_release(x);
        return rc;
    }
    *ret = *x;
    return OP_OK;
}

/* --- batches -------------------------------------------------------------------------------- */

enum op_rc op_openai_create(const struct op_lane *lane, const struct op_create *what,
                            struct op_exchange *ret, struct op_err *err)
{
    const struct op_dialect *dialect = lane->provider->dialect;
    enum op_openai_endpoint endpoint;
    enum op_rc rc = op_openai_endpoint_find(lane->provider, what->endpoint, &endpoint, err);
    if (rc)
        return rc;
    if (!op_provider_id_ok(op_str_from(what->file_id)))
        return op_fail(err, OP_INVAL, "'%.80s' is no id of a file at %s", what->file_id,
                       dialect->title);
    struct op_exchange x;
    rc = begin_post(lane, "/batches", &x, err);
    if (rc)
        return rc;
    struct op_json_out o;
    op_json_out_init(&o, &x.body, 0);
    op_json_out_object(&o);
    op_json_out_kv_text(&o, "input_file_id", what->file_id);
    op_json_out_kv_text(&o, "endpoint", dialect->urls[endpoint]);
    op_json_out_kv_text(&o, "completion_window", dialect->window);
    if (dialect->tag_member) {
        char count[24];
        snprintf(count, sizeof(count), "%lld", (long long)what->count);
        op_json_out_name(&o, "metadata");
        op_json_out_object(&o);
        op_json_out_kv_text(&o, dialect->tag_member, what->tag);
        op_json_out_kv_text(&o, "op_sha256", what->sha256);
        op_json_out_kv_text(&o, "op_n", count);
        op_json_out_end_object(&o);
    }
    op_json_out_end_object(&o);
    return finish_post(&x, ret, err);
}

enum op_rc op_openai_get(const struct op_lane *lane, const char *id, struct op_exchange *ret,
                         struct op_err *err)
{
    return op_openai_begin(lane, "GET", "/batches", id, "", ret, err);
}

enum op_rc op_openai_cancel(const struct op_lane *lane, const char *id, struct op_exchange *ret,
                            struct op_err *err)
{
    return op_openai_begin(lane, "POST", "/batches", id, "/cancel", ret, err);
}

enum op_rc op_openai_list(const struct op_lane *lane, const char *cursor, int limit,
                          struct op_exchange *ret, struct op_err *err)
{
    char query[32];
    snprintf(query, sizeof(query), "?limit=%d",
             limit < 1 || limit > LIST_MAX ? LIST_MAX : limit);
    OP_CLEANUP(op_buf_release) struct op_buf tail;
    op_buf_init(&tail, 4096);
    enum op_rc rc = op_openai_page(lane, query, cursor, &tail, err);
    return rc ? rc : op_openai_begin(lane, "GET", "/batches", NULL, tail.ptr, ret, err);
}

enum op_rc op_openai_remove_file(const struct op_lane *lane, const char *file_id,
                                 struct op_exchange *ret, struct op_err *err)
{
    return op_openai_begin(lane, "DELETE", "/files", file_id, "", ret, err);
}

/* results_url is "OUTPUT,ERROR", either side empty. The parts are the files there are: a batch of
 * which every line failed has its error file as part 0. */
enum op_rc op_openai_results(const struct op_lane *lane, const struct op_remote_batch *batch,
                             int part, struct op_exchange *ret, struct op_err *err)
{
    if (batch->state != OP_REMOTE_ENDED || part < 0)
        return OP_NOTFOUND;
    struct op_str rest = op_str_from(batch->results_url);
    while (rest.ptr) {
        struct op_str id = op_str_cut(&rest, ',');
        if (id.len == 0 || part-- > 0)
            continue;
        OP_CLEANUP(op_mem_freep) char *name = op_mem_strndup(id.ptr, id.len);
        return op_openai_begin(lane, "GET", "/files", name, "/content", ret, err);
    }
    return OP_NOTFOUND;
}

/* --- one by one ----------------------------------------------------------------------------- */

/* The tier goes to the end of the object: where a line brought its own, the last one counts. */
static enum op_rc add_tier(struct op_str params, const char *tier, struct op_buf *body,
                           struct op_err *err)
{
    struct op_str text = op_str_trim(params);
    if (text.len < 2 || text.ptr[text.len - 1] != '}')
        return op_fail(err, OP_INVAL, "the params are not a JSON object");
    op_buf_add(body, text.ptr, text.len - 1);
    op_buf_addf(body, ",\"service_tier\":\"%s\"}", tier);
    return OP_OK;
}

enum op_rc op_openai_ask(const struct op_lane *lane, const char *model, const char *endpoint,
                         const char *tier, struct op_str params, struct op_exchange *ret,
                         struct op_err *err)
{
    static const char *const paths[] = {"/responses", "/chat/completions", "/embeddings"};
    (void)model; /* the params name it */
    enum op_openai_endpoint which;
    enum op_rc rc = op_openai_endpoint_find(lane->provider, endpoint, &which, err);
    if (rc)
        return rc;
    bool flex = lane->provider->dialect->has_flex && which != OP_OPENAI_EMBEDDINGS;
    if (tier && (!flex || strcmp(tier, "flex") != 0))
        return op_fail(err, OP_INVAL, "%s has no service tier '%s' for %s",
                       lane->provider->dialect->title, tier, op_openai_endpoint_name(which));
    struct op_exchange x;
    rc = begin_post(lane, paths[which], &x, err);
    if (rc)
        return rc;
    if (tier)
        rc = add_tier(params, tier, &x.body, err);
    else
        op_buf_add_str(&x.body, params);
    if (rc) {
        op_exchange_release(&x);
        return rc;
    }
    return finish_post(&x, ret, err);
}
