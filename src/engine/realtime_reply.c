/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/realtime.h"
#include "provider/rate.h"

/* What one call came to (docs/design/realtime.md has the table). */
enum fate {
    FATE_ANSWERED, /* a line: an answer, or the API's word about this request */
    FATE_UNSENT,   /* provably never arrived: asked again when the network is better */
    FATE_SLOWER,   /* refused for now, nothing bought: asked again, more slowly */
    FATE_PAUSED,   /* refused until a person acts: asked again then */
    FATE_REFUSED,  /* the API refuses this very request for good */
    FATE_UNKNOWN,  /* it may have been bought */
};

static bool is_object(struct op_json v)
{
    return op_json_is(v, OP_JSON_OBJECT);
}

/* The API itself has spoken, and no proxy in front of it: every provider's errors are a JSON object
 * with "error", or one with "object":"error" (Mistral); Gemini puts it into an array at times. */
static bool is_api_error(const struct op_http_reply *reply)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    struct op_err ignored = OP_ERR_INIT;
    if (op_json_parse(parser, reply->body.ptr, reply->body.len, true, &root, &ignored))
        return false;
    struct op_json_iter it = op_json_iter(root);
    if (op_json_is(root, OP_JSON_ARRAY) && op_json_next(&it))
        root = it.value;
    return is_object(op_json_get(root, "error")) ||
           op_str_is(op_json_str(op_json_get(root, "object")), "error");
}

/* Refused as in the table of reference/reliability.md 3.2: the driver knows its API's own form of a
 * refusal from that of its creates. Throttling and overload are told by 5xx too. */
static bool is_refusal(const struct op_provider_ops *provider,
                       const struct op_http_reply *reply)
{
    struct op_remote_batch remote;
    struct op_err why = OP_ERR_INIT;
    if (reply->status >= 400 && reply->status < 500)
        return provider->decode_create(OP_OK, reply, &remote, &why) == OP_CREATE_REJECTED;
    return (reply->status == 503 || reply->status == 529) && is_api_error(reply);
}

static enum fate fate_of_refusal(const struct op_http_reply *reply, const struct op_err *why)
{
    switch (why->disp) {
    case OP_DISP_PAUSE:
    case OP_DISP_QUOTA:
        return FATE_PAUSED;
    case OP_DISP_RETRY:
    case OP_DISP_RETRY_AFTER:
        /* A model that is not there answers 404, which heals for batches only. */
        return reply->status == 404 ? FATE_REFUSED : FATE_SLOWER;
    case OP_DISP_FATAL:
    case OP_DISP_REJECT:
    case OP_DISP_SPLIT:
    case OP_DISP_AMBIGUOUS:
    default:
        return FATE_REFUSED;
    }
}

/* why: the transport's error, and on return what is to be said. The line is in rt->line. */
static enum fate fate_of(struct op_ask_call *call, enum op_rc rc,
                         const struct op_http_reply *reply, struct op_err *why)
{
    const struct op_provider_ops *provider = call->ask->lane->provider;
    struct op_buf *line = &call->ask->rt->line;
    if (rc) {
        if (why->disp == OP_DISP_AMBIGUOUS)
            return FATE_UNKNOWN;
        return op_disp_pauses(why->disp) ? FATE_PAUSED : FATE_UNSENT;
    }
    char id[OP_CUSTOM_ID_MAX + 1];
    op_ask_custom_id(call->list, call->at, id);
    op_buf_clear(line);
    if (!provider->fold(op_str_from(id), reply, line, why))
        return FATE_ANSWERED;
    return is_refusal(provider, reply) ? fate_of_refusal(reply, why) : FATE_UNKNOWN;
}

static void see_rate(struct op_ask_lane *ask, const struct op_http_reply *reply)
{
    struct op_engine *engine = ask->rt->engine;
    struct op_env *env = engine->env;
    struct op_rate rate;
    op_rate_read(reply, op_engine_now(engine), &rate);
    int64_t mono = env->ops->mono_ms(env);
    if (rate.requests_left >= 0)
        op_flow_told(&ask->flow.requests, rate.requests_left, ask->under_way,
                     mono + rate.requests_reset_ms);
    if (rate.tokens_left >= 0)
        op_flow_told(&ask->flow.tokens, rate.tokens_left, ask->tokens_under_way,
                     mono + rate.tokens_reset_ms);
}

static void refuse_one(struct op_ask_call *call, const char *why)
{
    char id[OP_CUSTOM_ID_MAX + 1];
    struct op_buf *line = &call->ask->rt->line;
    op_ask_custom_id(call->list, call->at, id);
    op_buf_clear(line);
    op_own_line_write(op_str_from(id), OP_RESULT_ERRORED, "refused", why, OP_DISP_REJECT, line);
    op_ask_list_answer(call->list, call->at, op_buf_str(line));
}

static void pause_lane(struct op_ask_call *call, const struct op_err *why)
{
    struct op_ask_lane *ask = call->ask;
    if (!ask->is_paused)
        op_lane_pause(ask->rt->engine, ask->lane, why);
    ask->is_paused = true;
}

/* A page of somebody's that says "not here" or "not you" to one says it to all: a wrong address, or
 * a proxy's own key. */
static bool is_for_all(int status)
{
    return status == 401 || status == 403 || status == 404 || status == 407;
}

static void slow_down(struct op_ask_call *call, const struct op_err *why)
{
    struct op_flow *flow = &call->ask->flow;
    struct op_engine *engine = call->ask->rt->engine;
    struct op_env *env = engine->env;
    bool is_news = call->epoch == flow->epoch;
    op_flow_refused(flow, env->ops->mono_ms(env), call->epoch,
                    why->disp == OP_DISP_RETRY_AFTER ? why->retry_after_ms : -1,
                    op_engine_random32(engine));
    if (is_news) /* of a burst of refusals one is told */
        op_log(OP_EVENT_REALTIME_SLOWER, OP_T("provider", call->ask->lane->provider->name),
               OP_F("window", op_flow_window(flow)), OP_T("why", why->msg));
}

void op_ask_ended(struct op_ask_call *call, enum op_rc rc, const struct op_http_reply *reply,
                  const struct op_err *transport)
{
    struct op_ask_lane *ask = call->ask;
    struct op_ask_list *list = call->list;
    struct op_err why = *transport;
    enum fate fate = fate_of(call, rc, reply, &why);
    ask->under_way--;
    ask->tokens_under_way -= call->tokens;
    if (!rc)
        see_rate(ask, reply);
    switch (fate) {
    case FATE_ANSWERED:
        /* The window was as full as it gets when this one was under way too. */
        op_flow_answered(&ask->flow, ask->under_way + 1);
        op_ask_list_answer(list, call->at, op_buf_str(&ask->rt->line));
        ask->answered++;
        return;
    case FATE_REFUSED:
        refuse_one(call, why.msg);
        return;
    case FATE_PAUSED:
        op_ask_list_back(list, call->at);
        pause_lane(call, &why);
        return;
    case FATE_UNSENT:
    case FATE_SLOWER:
        op_ask_list_back(list, call->at);
        slow_down(call, &why);
        return;
    case FATE_UNKNOWN:
        list->under_way--;
        op_ask_list_doubt(list, call->at, why.msg, &ask->rt->line);
        op_log(OP_EVENT_REQUEST_UNKNOWN, OP_F("batch", list->batch.id),
               OP_F("request", list->asks[call->at].request_id), OP_T("why", why.msg));
        /* Whatever loses answers must not be fed at full speed. */
        slow_down(call, &why);
        if (!rc && is_for_all(reply->status))
            pause_lane(call, &why);
        return;
    }
}
