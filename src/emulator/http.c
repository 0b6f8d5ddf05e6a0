/* SPDX-License-Identifier: MIT */
#include "emulator/http.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/mem.h"
#include "emulator/api.h"
#include "emulator/libmicrohttpd.h"
#include "emulator/state.h"

struct op_str op_emu_call_header(const struct op_emu_call *call, const char *name)
{
    return op_str_from(MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name));
}

struct op_str op_emu_call_query(const struct op_emu_call *call, const char *name)
{
    const char *value =
        MHD_lookup_connection_value(call->connection, MHD_GET_ARGUMENT_KIND, name);
    return op_str_from(value);
}

const char *op_emu_call_base(struct op_emu_call *call)
{
    struct op_str host = op_emu_call_header(call, "Host");
    if (!host.len)
        return op_arena_printf(&call->arena, "%s" OP_STR_FMT, call->emulator->url,
                               OP_STR_ARG(call->prefix));
    return op_arena_printf(&call->arena, "http://" OP_STR_FMT OP_STR_FMT, OP_STR_ARG(host),
                           OP_STR_ARG(call->prefix));
}

struct op_json_parser *op_emu_call_parser(struct op_emu_call *call, enum op_emu_parser which)
{
    struct op_emulator *em = call->emulator;
    if (call->parsers[which])
        return call->parsers[which];
    pthread_mutex_lock(&em->lock);
    if (em->parser_count > 0)
        call->parsers[which] = em->parsers[--em->parser_count];
    pthread_mutex_unlock(&em->lock);
    if (!call->parsers[which])
        call->parsers[which] = op_json_parser_new();
    return call->parsers[which];
}

void op_emu_call_give_back(struct op_emu_call *call)
{
    struct op_emulator *em = call->emulator;
    for (size_t i = 0; i < OP_EMU_PARSER_COUNT; i++) {
        struct op_json_parser *parser = OP_TAKE(call->parsers[i]);
        /* What a large document has made large is not kept. */
        if (parser && call->body_len > OP_EMU_PARSER_BODY) {
            op_json_parser_free(parser);
            continue;
        }
        pthread_mutex_lock(&em->lock);
        if (parser && em->parser_count < OP_EMU_PARSERS_MAX)
            em->parsers[em->parser_count++] = OP_TAKE(parser);
        pthread_mutex_unlock(&em->lock);
        op_json_parser_free(parser);
    }
}

bool op_emu_call_json(struct op_emu_call *call, struct op_json *ret, struct op_err *err)
{
    struct op_json_parser *parser = op_emu_call_parser(call, OP_EMU_PARSE_BODY);
    return !op_json_parse(parser, call->body.ptr, call->body.len, true, ret, err);
}

void op_emu_reply_remove_header(struct op_emu_call *call, const char *name)
{
    struct op_emu_reply *reply = &call->reply;
    for (size_t i = 0; i < reply->header_count; i++) {
        if (strcasecmp(reply->header_names[i], name) != 0)
            continue;
        reply->header_count--;
        reply->header_names[i] = reply->header_names[reply->header_count];
        reply->header_values[i] = reply->header_values[reply->header_count];
        i--;
    }
}

void op_emu_reply_header(struct op_emu_call *call, const char *name, const char *value)
{
    struct op_emu_reply *reply = &call->reply;
    op_emu_reply_remove_header(call, name);
    if (reply->header_count == OP_EMU_HEADERS_MAX)
        return;
    reply->header_names[reply->header_count] = name;
    reply->header_values[reply->header_count++] =
        op_arena_strdup(&call->arena, op_str_from(value));
}

void op_emu_reply_begin(struct op_emu_call *call, int status, const char *content_type)
{
    struct op_emu_reply *reply = &call->reply;
    reply->status = status;
    reply->content_type = content_type;
    op_buf_clear(&reply->body);
    op_mem_free(OP_TAKE(reply->file));
}

/* ---- fault rules ---- */

static void answer_status(struct op_emu_call *call, const struct op_emu_rule *rule)
{
    int status = rule->status < 0 ? 500 : (int)rule->status;
    if (rule->body) {
        const char *type = rule->body[0] == '{' ? "application/json" : "text/html";
        op_emu_reply_begin(call, status, type);
        op_buf_addz(&call->reply.body, rule->body);
    } else {
        call->api->error(call, status, rule->type, rule->message);
    }
    for (size_t i = 0; i < rule->header_count; i++)
        op_emu_reply_header(call, rule->header_names[i], rule->header_values[i]);
}

static void answer_html(struct op_emu_call *call, const struct op_emu_rule *rule)
{
    int status = rule->status < 0 ? 502 : (int)rule->status;
    op_emu_reply_begin(call, status, "text/html; charset=UTF-8");
    op_buf_addf(&call->reply.body,
                "<html>\r\n<head><title>%d</title></head>\r\n<body>\r\n<center><h1>%d</h1>"
                "</center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n",
                status, status);
}

static void drop(struct op_emu_call *call, const struct op_emu_rule *rule)
{
    call->reply.drop = true;
    call->reply.reset = rule->reset;
}

/* The client is gone, the call is still on its way: nothing of it is known until it arrives. True
 * when it never does, because the emulator stops before. */
static bool arrives_late(struct op_emu_call *call, int64_t ms)
{
    struct op_emulator *em = call->emulator;
    int64_t at = op_emu_clock_now(&em->clock) + ms * 1000, wait = 0;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info)
        (void)shutdown(info->connect_fd, SHUT_RDWR);
    call->reply.drop = true;
    while (!op_emu_stopping(em) && (wait = op_emu_clock_until_ms(&em->clock, at)) > 0)
        op_emu_wait(em, wait);
    return op_emu_stopping(em);
}

static bool apply_before(struct op_emu_call *call, const struct op_emu_rule *rule)
{
    switch ((int)rule->action) {
    case OP_EMU_ACCEPT_LATE:
        return arrives_late(call, rule->ms < 0 ? 60000 : rule->ms);
    case OP_EMU_HANG_BEFORE:
        op_emu_wait(call->emulator, rule->ms);
        return false;
    case OP_EMU_DROP_BEFORE_COMMIT:
        drop(call, rule);
        return true;
    case OP_EMU_STATUS_BEFORE_COMMIT:
        answer_status(call, rule);
        return true;
    case OP_EMU_HTML_BODY:
        answer_html(call, rule);
        return true;
    case OP_EMU_SPEND_CAP:
        call->api->spend_cap(call);
        return true;
    case OP_EMU_NOT_FOUND:
        call->api->error(call, 404, rule->type, rule->message);
        return true;
    case OP_EMU_NO_BATCH:
        call->api->error(call, 404, rule->type, rule->message ? rule->message : "Not found");
        return true;
    case OP_EMU_RATE_LIMIT:
        call->api->rate_limit(call, rule->seconds);
        return true;
    case OP_EMU_ERROR_WITH_200:
        call->api->error(call, rule->status < 0 ? 400 : (int)rule->status, rule->type,
                         rule->message);
        call->reply.status = 200;
        return true;
    default:
        return false;
    }
}

bool op_emu_call_before(struct op_emu_call *call)
{
    struct op_str body = {call->body.ptr, call->body.len};
    const struct op_str subjects[2] = {call->id, body};
    op_emu_faults_event(call->emulator->faults, call->route->on, false, subjects, &call->fired);
    for (size_t i = 0; i < call->fired.count; i++) {
        if (apply_before(call, call->fired.rules[i]))
            return true;
    }
    return false;
}

/* Keeps the first lines of a results file, or half of them: a complete answer that lacks some. */
static void truncate_lines(struct op_emu_call *call, int64_t keep)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    struct op_emu_reply *reply = &call->reply;
    struct op_err err = OP_ERR_INIT;
    struct op_line line;
    if (!reply->file)
        return;
    if (keep < 0) {
        int64_t count = 0;
        if (op_lines_open(call->emulator->env, reply->file, 0, 4096, &lines, &err))
            return;
        while (op_lines_next(lines, &line, &err) == OP_OK)
            count++;
        op_lines_closep(&lines);
        keep = count / 2;
    }
    if (op_lines_open(call->emulator->env, reply->file, 0, 4096, &lines, &err))
        return;
    for (int64_t i = 0; i < keep; i++) {
        if (op_lines_next(lines, &line, &err))
            return;
        reply->file_len = line.end;
    }
    reply->file_len = keep == 0 ? 0 : reply->file_len;
}

static void apply_after(struct op_emu_call *call, const struct op_emu_rule *rule)
{
    char seconds[32];
    switch ((int)rule->action) {
    case OP_EMU_HANG:
        op_emu_wait(call->emulator, rule->ms);
        break;
    case OP_EMU_STATUS_AFTER_COMMIT:
        answer_status(call, rule);
        break;
    case OP_EMU_DROP_AFTER_COMMIT:
        drop(call, rule);
        break;
    case OP_EMU_NO_CONTENT_TYPE:
        call->reply.content_type = NULL;
        break;
    case OP_EMU_RETRY_AFTER:
        snprintf(seconds, sizeof(seconds), "%lld", (long long)rule->seconds);
        op_emu_reply_remove_header(call, "retry-after");
        if (rule->seconds >= 0)
            op_emu_reply_header(call, "retry-after", seconds);
        break;
    case OP_EMU_TRUNCATE_RESULTS:
        truncate_lines(call, rule->lines);
        break;
    default:
        break;
    }
}

void op_emu_call_after(struct op_emu_call *call)
{
    for (size_t i = 0; i < call->fired.count; i++)
        apply_after(call, call->fired.rules[i]);
}

/* ---- sending ---- */

/* A body that ends before its announced length: the socket is then closed in the middle of it. */
struct cut {
    char *ptr; /* op_mem: the bytes that are sent */
    int64_t len;
};

static ssize_t cut_read(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct cut *cut = cls;
    if ((int64_t)pos >= cut->len)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t left = (size_t)(cut->len - (int64_t)pos);
    size_t len = left < max ? left : max;
    memcpy(buf, cut->ptr + pos, len);
    return (ssize_t)len;
}

static void cut_free(void *cls)
{
    struct cut *cut = cls;
    op_mem_free(cut->ptr);
    op_mem_free(cut);
}

static struct MHD_Response *cut_response(struct op_emu_call *call, int fd, int64_t len,
                                         int64_t keep)
{
    struct op_emu_reply *reply = &call->reply;
    struct cut *cut = op_mem_alloc(sizeof(*cut));
    struct op_err err = OP_ERR_INIT;
    cut->len = keep < 0 ? len / 2 : keep < len ? keep : len;
    cut->ptr = op_mem_alloc((size_t)cut->len + 1);
    if (fd < 0)
        memcpy(cut->ptr, reply->body.ptr, (size_t)cut->len);
    else if (op_io_pread_all(call->emulator->env, fd, cut->ptr, (size_t)cut->len, 0,
                             reply->file, &err))
        cut->len = 0;
    if (fd >= 0)
        call->emulator->env->ops->close(call->emulator->env, fd);
    /* With nothing missing there would be nothing to cut: one byte more is announced. */
    uint64_t announced = (uint64_t)(cut->len < len ? len : len + 1);
    return MHD_create_response_from_callback(announced, 64 * 1024, cut_read, cut, cut_free);
}

static struct MHD_Response *make_response(struct op_emu_call *call)
{
    struct op_emu_reply *reply = &call->reply;
    const struct op_emu_rule *cut = op_emu_fired_rule(&call->fired, OP_EMU_CUT_BODY);
    int fd = -1;
    if (reply->file) {
        fd = call->emulator->env->ops->open(call->emulator->env, reply->file, O_RDONLY, 0);
        if (fd < 0) {
            call->api->error(call, 500, NULL, "The results file cannot be opened.");
            fd = -1;
        }
    }
    int64_t len = reply->file ? reply->file_len : (int64_t)reply->body.len;
    if (cut)
        return cut_response(call, fd, len, cut->bytes);
    if (fd >= 0)
        return MHD_create_response_from_fd64((uint64_t)len, fd);
    char *body = op_buf_take(&reply->body);
    return MHD_create_response_from_buffer_with_free_callback((size_t)len, body, op_mem_free);
}

/* With a linger of zero the kernel answers whatever comes next with a RST. */
static void reset_on_close(const struct op_emu_call *call)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct linger linger = {1, 0};
    if (info)
        (void)setsockopt(info->connect_fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

bool op_emu_call_send(struct op_emu_call *call)
{
    struct op_emu_reply *reply = &call->reply;
    if (reply->drop) {
        if (reply->reset)
            reset_on_close(call);
        return false;
    }
    struct MHD_Response *response = make_response(call);
    if (!response)
        return false;
    if (reply->content_type)
        MHD_add_response_header(response, "content-type", reply->content_type);
    for (size_t i = 0; i < reply->header_count; i++)
        MHD_add_response_header(response, reply->header_names[i], reply->header_values[i]);
    /* The clients' idea of the server's clock: it runs as fast as everything else here. */
    char date[OP_EMU_TIME_TEXT];
    op_emu_http_date(op_emu_clock_now(&call->emulator->clock), date);
    MHD_add_response_header(response, "Date", date);
    enum MHD_Result queued =
        MHD_queue_response(call->connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    return queued == MHD_YES;
}
