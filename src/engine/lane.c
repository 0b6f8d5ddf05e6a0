/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "core/retry.h"
#include "engine/work.h"
#include "provider/key.h"

/* The emulator takes any key; this one says in every log and bill what it is. */
#define EMULATOR_KEY "emulator-key"

static void lane_free(struct op_lane *lane)
{
    if (!lane)
        return;
    op_mem_free(lane->base_url);
    for (size_t i = 0; i < OP_LANE_EXTRAS; i++)
        op_mem_free(lane->extras[i]);
    op_mem_free(lane);
}

void op_engine_lanes_free(struct op_engine *engine)
{
    for (size_t i = 0; i < engine->lane_count; i++)
        lane_free(engine->lanes[i]);
    op_mem_free(engine->lanes);
}

static const char *env_value(const char *name)
{
    const char *value = name ? getenv(name) : NULL;
    return value && value[0] ? value : NULL;
}

static char *trimmed_url(const char *url)
{
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        len--;
    return op_mem_strndup(url, len);
}

/* Tells keys apart without storing them: salted with the ledger's own id. */
static void fingerprint(struct op_engine *engine, const char *key, char ret[17])
{
    struct op_buf text;
    op_buf_init(&text, 64 * 1024);
    op_buf_addz(&text, op_ledger_uuid(engine->ledger));
    op_buf_addc(&text, '\n');
    op_buf_addz(&text, key);
    char hex[OP_SHA256_HEX];
    op_sha256_hex(text.ptr, text.len, hex);
    explicit_bzero(text.ptr, text.len);
    op_buf_release(&text);
    memcpy(ret, hex, 16);
    ret[16] = '\0';
}

static enum op_rc lane_settings(struct op_engine *engine, struct op_lane *lane, bool need_key,
                                struct op_err *err)
{
    const struct op_provider_ops *provider = lane->provider;
    for (size_t i = 0; i < OP_LANE_EXTRAS; i++) {
        const char *value = env_value(provider->extra_env[i]);
        lane->extras[i] = op_mem_strdup(value ? value : "");
    }
    if (lane->emulated) {
        if (need_key && !engine->options.emulator_url)
            return op_fail(err, OP_INVAL,
                           "this job was made with --emulate; run it again with --emulate");
        const char *url = engine->options.emulator_url;
        OP_CLEANUP(op_mem_freep)
        char *own =
            op_mem_printf("%s%s", url ? url : "http://127.0.0.1:9", provider->emulator_path);
        lane->base_url = trimmed_url(own);
        lane->key = EMULATOR_KEY;
        return OP_OK;
    }
    const char *url = env_value(provider->url_env);
    if (!url && !provider->default_url)
        return op_fail_as(err, OP_INVAL, OP_DISP_PAUSE,
                          "%s has no address of its own: set the environment variable %s",
                          provider->name, provider->url_env);
    lane->base_url = trimmed_url(url ? url : provider->default_url);
    const char *key = NULL;
    enum op_rc rc = op_key_get(provider, &key, err);
    if (rc)
        return rc;
    if (!key && need_key)
        return op_fail_as(err, OP_INVAL, OP_DISP_PAUSE,
                          "no key for %s: set the environment variable %s (or try it without "
                          "money: add --emulate)",
                          provider->name, provider->key_env);
    lane->key = key ? key : "";
    return OP_OK;
}

struct known_lane {
    struct op_lane *lane;
    const char *url;
};

static enum op_rc see_known(void *arg, const struct op_lane_row *row, struct op_err *err)
{
    struct known_lane *known = arg;
    struct op_lane *lane = known->lane;
    (void)err;
    bool same_key = !lane->key[0] || strcmp(row->fingerprint, lane->fingerprint) == 0;
    if (!lane->id && same_key && !strcmp(row->provider, lane->provider->name) &&
        !strcmp(row->base_url, known->url))
        lane->id = row->id;
    return OP_OK;
}

/* What the ledger has learned of a lane may be wanted where nothing may be written: its id
 * stays 0 when there is none yet. Without a key the first at this address stands for it. */
static enum op_rc find_known(struct op_engine *engine, struct op_lane *lane, struct op_err *err)
{
    struct known_lane known = {.lane = lane,
                               .url = lane->emulated ? "emulator" : lane->base_url};
    fingerprint(engine, lane->key, lane->fingerprint);
    return op_ledger_lanes(engine->ledger, see_known, &known, err);
}

enum op_rc op_engine_lane(struct op_engine *engine, const struct op_provider_ops *provider,
                          bool emulated, bool need_key, struct op_lane **ret,
                          struct op_err *err)
{
    for (size_t i = 0; i < engine->lane_count; i++) {
        struct op_lane *lane = engine->lanes[i];
        if (lane->provider == provider && lane->emulated == emulated &&
            (lane->key[0] || !need_key)) {
            *ret = lane;
            return OP_OK;
        }
    }
    struct op_lane *lane = op_mem_alloc(sizeof(*lane));
    lane->provider = provider;
    lane->emulated = emulated;
    enum op_rc rc = lane_settings(engine, lane, need_key, err);
    if (!rc && !engine->options.read_only) {
        /* The emulator's port changes from run to run; its lane does not. */
        struct op_lane_row row = {0};
        fingerprint(engine, lane->key, lane->fingerprint);
        rc = op_ledger_lane(engine->ledger, provider->name,
                            emulated ? "emulator" : lane->base_url, lane->fingerprint, &row,
                            err);
        lane->id = row.id;
        op_lane_row_release(&row);
    }
    if (!rc && engine->options.read_only && engine->ledger)
        rc = find_known(engine, lane, err);
    if (rc) {
        lane_free(lane);
        return rc;
    }
    engine->lanes =
        op_mem_realloc(engine->lanes, (engine->lane_count + 1) * sizeof(struct op_lane *));
    engine->lanes[engine->lane_count++] = lane;
    *ret = lane;
    return OP_OK;
}

static void add_lane(struct op_work *work, const struct op_lane *lane)
{
    for (size_t i = 0; i < work->lane_count; i++)
        if (work->lanes[i].lane == lane)
            return;
    work->lanes = op_mem_realloc(work->lanes, (work->lane_count + 1) * sizeof(*work->lanes));
    work->lanes[work->lane_count++] = (struct op_job_lane){.lane = lane};
}

static enum op_rc note_name(void *arg, const struct op_lane_row *row, struct op_err *err)
{
    struct op_work *work = arg;
    (void)err;
    for (size_t i = 0; i < work->lane_count; i++) {
        const struct op_lane *lane = work->lanes[i].lane;
        if (strcmp(lane->provider->name, row->provider) != 0)
            continue;
        work->lane_names = op_mem_realloc(work->lane_names, (work->lane_name_count + 1) *
                                                                sizeof(*work->lane_names));
        work->lane_names[work->lane_name_count++] =
            (struct op_lane_name){.id = row->id, .lane = lane};
    }
    return OP_OK;
}

enum op_rc op_work_find_lanes(struct op_work *work, const struct op_chain *chain, size_t at,
                              bool emulated, bool need_key, const struct op_lane ***ret,
                              struct op_err *err)
{
    struct op_engine *engine = work->engine;
    size_t count = work->def.request_count;
    const struct op_lane **lanes = op_mem_array(count + 1, sizeof(*lanes));
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < count; i++) {
        struct op_lane *lane = NULL;
        rc = op_engine_lane(engine, op_chain_provider(chain, at, i), emulated, need_key, &lane,
                            err);
        lanes[i] = lane;
        if (!rc)
            add_lane(work, lane);
    }
    if (!rc && engine->ledger)
        rc = op_ledger_lanes(engine->ledger, note_name, work, err);
    if (rc)
        op_mem_free(lanes);
    else
        *ret = lanes;
    return rc;
}

const struct op_lane *op_batch_lane(const struct op_work *work, const struct op_batch *batch)
{
    for (size_t i = 0; i < work->lane_name_count; i++)
        if (work->lane_names[i].id == batch->lane_id)
            return work->lane_names[i].lane;
    return work->lanes[0].lane;
}

enum op_rc op_lane_exchange(struct op_engine *engine, const struct op_lane *lane,
                            const struct op_exchange *x, op_http_sink_fn sink, void *sink_arg,
                            struct op_http_reply *reply, struct op_err *err)
{
    struct op_http_request request = {
        .method = x->method,
        .url = x->url.ptr,
        .headers = x->headers,
        .header_count = x->header_count,
        .body = x->body.len ? op_buf_str(&x->body) : OP_STR_NULL,
        .sink = sink,
        .sink_arg = sink_arg,
    };
    enum op_rc rc = op_http_perform(engine->http, &request, reply, err);
    if (rc)
        return rc;
    bool fine = (reply->status >= 200 && reply->status <= 299) ||
                (x->redirects && reply->status == 302);
    return fine ? OP_OK : lane->provider->decode_error(reply, err);
}

const char op_no_quota[] = "no quota: ";

struct lane_state {
    int64_t id;
    int64_t until_ms;
    bool quota;
};

static enum op_rc find_lane(void *arg, const struct op_lane_row *row, struct op_err *err)
{
    (void)err;
    struct lane_state *state = arg;
    if (row->id != state->id)
        return OP_OK;
    state->until_ms = row->paused_until_ms;
    state->quota = op_str_starts(op_str_from(row->reason), op_no_quota);
    return OP_OK;
}

enum op_rc op_lane_is_exhausted(struct op_engine *engine, const struct op_lane *lane, bool *ret,
                                struct op_err *err)
{
    struct lane_state state = {.id = lane->id};
    enum op_rc rc = op_ledger_lanes(engine->ledger, find_lane, &state, err);
    *ret =
        !rc && state.quota && !op_engine_is_due(engine, state.until_ms, op_engine_now(engine));
    return rc;
}

enum op_rc op_lane_is_paused(struct op_engine *engine, const struct op_lane *lane, bool *ret,
                             struct op_err *err)
{
    struct lane_state state = {.id = lane->id};
    enum op_rc rc = op_ledger_lanes(engine->ledger, find_lane, &state, err);
    if (rc)
        return rc;
    *ret = !op_engine_is_due(engine, state.until_ms, op_engine_now(engine));
    if (*ret)
        op_engine_due(engine, state.until_ms);
    return OP_OK;
}

/* A PAUSE disposition (credit, spend cap, key) needs a person; it is looked at again every
 * quarter of an hour, so that topping up is enough. */
void op_lane_pause(struct op_engine *engine, const struct op_lane *lane,
                   const struct op_err *why)
{
    int64_t wait = why->disp == OP_DISP_RETRY_AFTER && why->retry_after_ms > 0
                       ? why->retry_after_ms
                       : OP_RETRY_MAX_MS;
    if (wait > OP_RETRY_MAX_MS)
        wait = OP_RETRY_MAX_MS;
    if (wait < OP_RETRY_MIN_MS)
        wait = OP_RETRY_MIN_MS;
    struct op_err err = OP_ERR_INIT;
    int64_t until = op_engine_now(engine) + wait;
    OP_CLEANUP(op_mem_freep)
    char *reason =
        op_mem_printf("%s%s", why->disp == OP_DISP_QUOTA ? op_no_quota : "", why->msg);
    if (op_ledger_lane_pause(engine->ledger, lane->id, until, reason, &err))
        op_log(OP_EVENT_NOTE, OP_T("problem", err.msg));
    char text[OP_TIME_TEXT];
    op_duration_format(wait, text);
    op_log(OP_EVENT_LANE_PAUSED, OP_T("provider", lane->provider->name), OP_T("for", text),
           OP_T("why", reason));
}
