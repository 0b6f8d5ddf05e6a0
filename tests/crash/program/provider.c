/* SPDX-License-Identifier: MIT */
/* The providers' end of the wire: the emulator's own code below an HTTP server that is a function call. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"
#include "emulator/emulator.h"
#include "emulator/libmicrohttpd.h"
#include "emulator/state.h"
#include "raw.h"
#include "wire.h"
#include "world.h"

#define PAIRS 48

struct pair {
    char *name, *value;
};

struct MHD_Response {
    void *ptr;
    size_t len; /* announced */
    MHD_ContentReaderFreeCallback free_;
    MHD_ContentReaderCallback read_;
    void *read_arg;
    int fd;
    struct op_buf head;
};

struct MHD_Connection {
    struct pair headers[PAIRS], args[PAIRS];
    size_t header_count, arg_count;
    struct MHD_Response *response; /* borrowed from queue to send */
    struct wire_answer answer;
    char *head, *body;
};

struct MHD_Daemon {
    MHD_AccessHandlerCallback handler;
    void *handler_arg;
    MHD_RequestCompletedCallback completed;
    void *completed_arg;
    int socket;
};

static struct MHD_Daemon daemon_;
static struct op_emulator *emulator;

/* ---- in the place of libmicrohttpd ---- */

static struct MHD_Daemon *start(unsigned flags, uint16_t port, MHD_AcceptPolicyCallback accept,
                                void *accept_arg, MHD_AccessHandlerCallback handler,
                                void *handler_arg, ...)
{
    (void)flags;
    (void)port;
    (void)accept;
    (void)accept_arg;
    daemon_ = (struct MHD_Daemon){.handler = handler, .handler_arg = handler_arg, .socket = -1};
    va_list args;
    va_start(args, handler_arg);
    for (int option; (option = va_arg(args, int)) != MHD_OPTION_END;) {
        if (option == MHD_OPTION_LISTEN_SOCKET) {
            daemon_.socket = va_arg(args, int);
        } else if (option == MHD_OPTION_NOTIFY_COMPLETED) {
            daemon_.completed = va_arg(args, MHD_RequestCompletedCallback);
            daemon_.completed_arg = va_arg(args, void *);
        } else if (option == MHD_OPTION_CONNECTION_LIMIT) {
            (void)va_arg(args, unsigned);
        } else {
            (void)va_arg(args, size_t);
        }
    }
    va_end(args);
    return &daemon_;
}

static void stop(struct MHD_Daemon *daemon)
{
    raw_close(daemon->socket);
}

static const char *look_up(struct MHD_Connection *connection, enum MHD_ValueKind kind,
                           const char *name)
{
    bool header = kind == MHD_HEADER_KIND;
    const struct pair *pairs = header ? connection->headers : connection->args;
    size_t count = header ? connection->header_count : connection->arg_count;
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(pairs[i].name, name) == 0)
            return pairs[i].value;
    }
    return NULL;
}

static struct MHD_Response *response_new(size_t len)
{
    struct MHD_Response *r = op_mem_alloc(sizeof(*r));
    r->len = len;
    r->fd = -1;
    op_buf_init(&r->head, (size_t)1 << 20);
    return r;
}

static struct MHD_Response *from_buffer(size_t len, void *ptr,
                                        MHD_ContentReaderFreeCallback free_)
{
    struct MHD_Response *r = response_new(len);
    r->ptr = ptr;
    r->free_ = free_;
    return r;
}

static struct MHD_Response *from_callback(uint64_t len, size_t block,
                                          MHD_ContentReaderCallback read_, void *arg,
                                          MHD_ContentReaderFreeCallback free_)
{
    (void)block;
    struct MHD_Response *r = response_new(len);
    r->read_ = read_;
    r->read_arg = arg;
    r->free_ = free_;
    return r;
}

static struct MHD_Response *from_fd(uint64_t len, int fd)
{
    struct MHD_Response *r = response_new(len);
    r->fd = fd;
    return r;
}

static enum MHD_Result add_header(struct MHD_Response *r, const char *name, const char *value)
{
    op_buf_addf(&r->head, "%s: %s\r\n", name, value);
    return MHD_YES;
}

/* The body as it goes over the wire. */
static void fill_answer(struct MHD_Connection *connection, struct MHD_Response *r)
{
    struct wire_answer *answer = &connection->answer;
    connection->body = op_mem_alloc(r->len + 1);
    size_t len = 0;
    if (r->fd >= 0) {
        ssize_t n = raw_pread(r->fd, connection->body, r->len, 0);
        len = n > 0 ? (size_t)n : 0;
    } else if (r->read_) {
        for (ssize_t n; len < r->len; len += (size_t)n) {
            n = r->read_(r->read_arg, len, connection->body + len, r->len - len);
            if (n <= 0)
                break;
        }
    } else {
        len = r->len;
        memcpy(connection->body, r->ptr ? r->ptr : "", len);
    }
    answer->body_size = (int64_t)len;
    answer->announced = (int64_t)r->len;
    answer->cut = len < r->len;
    op_buf_addf(&r->head, "content-length: %zu\r\n", r->len);
    answer->head_size = (int64_t)r->head.len;
    connection->head = op_buf_take(&r->head);
}

static enum MHD_Result queue(struct MHD_Connection *connection, unsigned status,
                             struct MHD_Response *response)
{
    connection->answer.status = (int32_t)status;
    fill_answer(connection, response);
    return MHD_YES;
}

static void destroy(struct MHD_Response *r)
{
    if (r->free_)
        r->free_(r->read_ ? r->read_arg : r->ptr);
    raw_close(r->fd);
    op_buf_release(&r->head);
    op_mem_free(r);
}

static const union MHD_ConnectionInfo *info(struct MHD_Connection *connection,
                                            enum MHD_ConnectionInfoType type, ...)
{
    (void)connection;
    (void)type;
    return NULL;
}

struct op_libmicrohttpd op_libmicrohttpd = {
    .add_response_header_ = add_header,
    .create_response_from_buffer_with_free_callback_ = from_buffer,
    .create_response_from_callback_ = from_callback,
    .create_response_from_fd64_ = from_fd,
    .destroy_response_ = destroy,
    .get_connection_info_ = info,
    .lookup_connection_value_ = look_up,
    .queue_response_ = queue,
    .start_daemon_ = start,
    .stop_daemon_ = stop,
};

enum op_rc op_libmicrohttpd_load(struct op_err *err)
{
    (void)err;
    return OP_OK;
}

/* In the place of emulator/processor.c: time passes when the harness says so. */
void *op_emu_process(void *em)
{
    return em;
}

/* ---- the harness's side ---- */

static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "fault program: %s: %s\n", what, why);
    exit(97);
}

void provider_open(const struct provider_setting *setting)
{
    struct op_err err = OP_ERR_INIT;
    const struct op_emulator_options options = {
        .dir = setting->dir,
        .faults = setting->faults,
        .seed = setting->seed,
        .process_min_ms = 1000,
        .process_max_ms = 9000,
    };
    if (op_emulator_start(&options, &emulator, &err))
        give_up("the emulator does not start", err.msg);
}

void provider_close(void)
{
    op_emulator_stop(emulator);
    emulator = NULL;
}

void provider_pass_time(void)
{
    struct op_err err = OP_ERR_INIT;
    int64_t due_us = 0;
    while (due_us <= world->now_us) {
        if (op_emu_process_due(emulator, &due_us, &err))
            give_up("the emulator cannot go on", err.msg);
    }
}

static char *unescape(char *text, bool is_query)
{
    char *out = text;
    for (char *c = text; *c; c++) {
        unsigned value;
        if (*c == '%' && sscanf(c + 1, "%2x", &value) == 1) {
            *out++ = (char)value;
            c += 2;
        } else {
            *out++ = *c == '+' && is_query ? ' ' : *c;
        }
    }
    *out = '\0';
    return text;
}

static void add_pair(struct pair *pairs, size_t *count, char *name, char *value)
{
    if (*count == PAIRS)
        give_up("too many headers", name);
    pairs[(*count)++] = (struct pair){name, value};
}

static void parse_headers(struct MHD_Connection *connection, char *text)
{
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *colon = strstr(line, ": ");
        if (!colon)
            continue;
        *colon = '\0';
        add_pair(connection->headers, &connection->header_count, line, colon + 2);
    }
}

/* The path; the query goes into the connection. */
static char *parse_url(struct MHD_Connection *connection, char *url)
{
    char *host = strstr(url, "://");
    char *path = host ? strchr(host + 3, '/') : url;
    if (!path)
        give_up("a URL without a path", url);
    char *query = strchr(path, '?'), *rest = NULL;
    if (!query)
        return unescape(path, false);
    *query++ = '\0';
    for (char *word = strtok_r(query, "&", &rest); word; word = strtok_r(NULL, "&", &rest)) {
        char *value = strchr(word, '=');
        if (value)
            *value++ = '\0';
        add_pair(connection->args, &connection->arg_count, unescape(word, true),
                 value ? unescape(value, true) : NULL);
    }
    return unescape(path, false);
}

static void serve(struct MHD_Connection *connection, const char *method, const char *path,
                  const char *body, size_t len)
{
    void *state = NULL;
    size_t left = 0;
    enum MHD_Result result = daemon_.handler(daemon_.handler_arg, connection, path, method,
                                             "HTTP/1.1", NULL, &left, &state);
    left = len;
    if (result == MHD_YES && len)
        result = daemon_.handler(daemon_.handler_arg, connection, path, method, "HTTP/1.1",
                                 body, &left, &state);
    left = 0;
    if (result == MHD_YES)
        result = daemon_.handler(daemon_.handler_arg, connection, path, method, "HTTP/1.1",
                                 NULL, &left, &state);
    if (result != MHD_YES)
        connection->answer = (struct wire_answer){0};
    daemon_.completed(daemon_.completed_arg, connection, &state,
                      MHD_REQUEST_TERMINATED_COMPLETED_OK);
}

void provider_answer(int fd, const struct wire_head *head)
{
    static char host_name[] = "Host", host[] = "127.0.0.1:9";
    struct MHD_Connection connection = {0};
    char *text = op_mem_alloc((size_t)head->size + 1);
    if (!wire_receive(fd, text, (size_t)head->size)) {
        op_mem_free(text);
        return;
    }
    provider_pass_time();
    char *method = text, *url = method + strlen(method) + 1;
    char *headers = url + strlen(url) + 1, *body = headers + strlen(headers) + 1;
    add_pair(connection.headers, &connection.header_count, host_name, host);
    parse_headers(&connection, headers);
    const char *path = parse_url(&connection, url);
    serve(&connection, method, path, body, (size_t)(text + head->size - body));
    wire_send(fd, &connection.answer, sizeof(connection.answer));
    wire_send(fd, connection.head, (size_t)connection.answer.head_size);
    wire_send(fd, connection.body, (size_t)connection.answer.body_size);
    op_mem_free(connection.head);
    op_mem_free(connection.body);
    op_mem_free(text);
}
