/* SPDX-License-Identifier: MIT */
#include "emulator/emulator.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "emulator/api.h"
#include "emulator/http.h"
#include "emulator/libmicrohttpd.h"
#include "emulator/state.h"

#define BODY_DEFAULT_MAX ((size_t)32 * 1024 * 1024)
#define REPLY_MAX        ((size_t)512 * 1024 * 1024)
/* Cleared by libmicrohttpd before each request, so not larger than headers and a piece of a body
 * need. */
#define CONNECTION_MEMORY ((size_t)48 * 1024)
#define LISTEN_DEFAULT    "127.0.0.1:0"

const struct op_emu_api *const op_emu_apis[] = {&op_emu_anthropic, &op_emu_gemini,
                                                &op_emu_mistral, &op_emu_openai, NULL};

/* ---- shared state ---- */

struct timespec op_emu_until(int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

void op_emu_wait(struct op_emulator *em, int64_t ms)
{
    struct timespec until = op_emu_until(ms);
    pthread_mutex_lock(&em->lock);
    int waited = 0;
    while (!em->stopping && waited != ETIMEDOUT) {
        waited = ms > 0 ? pthread_cond_timedwait(&em->changed, &em->lock, &until)
                        : pthread_cond_wait(&em->changed, &em->lock);
    }
    pthread_mutex_unlock(&em->lock);
}

bool op_emu_stopping(struct op_emulator *em)
{
    pthread_mutex_lock(&em->lock);
    bool stopping = em->stopping;
    pthread_mutex_unlock(&em->lock);
    return stopping;
}

void op_emu_wake(struct op_emulator *em)
{
    pthread_mutex_lock(&em->lock);
    em->work++;
    pthread_cond_broadcast(&em->changed);
    pthread_mutex_unlock(&em->lock);
}

void op_emu_fail(struct op_emulator *em, const struct op_err *err)
{
    pthread_mutex_lock(&em->lock);
    if (!em->failed.rc)
        em->failed = *err;
    pthread_cond_broadcast(&em->changed);
    pthread_mutex_unlock(&em->lock);
}

/* ---- routing ---- */

/* Whether path has the form of pattern; the one {} is handed over. */
static bool path_fits(const char *pattern, struct op_str path, struct op_str *ret_id)
{
    size_t at = 0;
    for (const char *p = pattern; *p; p++) {
        if (p[0] == '{' && p[1] == '}') {
            size_t start = at;
            while (at < path.len && path.ptr[at] != '/' && path.ptr[at] != p[2])
                at++;
            if (at == start)
                return false;
            *ret_id = (struct op_str){path.ptr + start, at - start};
            p++;
        } else if (*p == '*') {
            while (at < path.len && path.ptr[at] != '/')
                at++;
        } else if (at >= path.len || path.ptr[at++] != *p) {
            return false;
        }
    }
    return at == path.len;
}

static bool find_route(struct op_emu_call *call, const struct op_emu_api *api)
{
    for (size_t i = 0; i < api->route_count; i++) {
        const struct op_emu_route *route = &api->routes[i];
        struct op_str id = OP_STR_NULL;
        if (!path_fits(route->path, call->path, &id))
            continue;
        call->api = api; /* also when only the method is wrong: the error has its form */
        if (strcmp(route->method, call->method) != 0 ||
            (route->query && !op_emu_call_query(call, route->query).ptr))
            continue;
        call->route = route;
        if (id.ptr)
            call->id = op_str_from(op_arena_strdup(&call->arena, id));
        return true;
    }
    return false;
}

static void route_call(struct op_emu_call *call, const char *url)
{
    struct op_str path = op_str_from(op_arena_strdup(&call->arena, op_str_from(url)));
    for (const struct op_emu_api *const *api = op_emu_apis; *api; api++) {
        size_t len = strlen((*api)->name);
        if (path.len <= len + 1 || path.ptr[len + 1] != '/' ||
            memcmp(path.ptr + 1, (*api)->name, len) != 0)
            continue;
        call->api = *api;
        call->prefix = (struct op_str){path.ptr, len + 1};
        call->path = (struct op_str){path.ptr + len + 1, path.len - len - 1};
        find_route(call, *api);
        return;
    }
    call->path = path;
    for (const struct op_emu_api *const *api = op_emu_apis; *api; api++) {
        if ((*api)->claims(call) && find_route(call, *api))
            return;
    }
    if (!call->api)
        call->api = op_emu_apis[0];
}

/* ---- one request ---- */

static struct op_emu_call *call_new(struct op_emulator *em, struct MHD_Connection *connection,
                                    const char *url, const char *method)
{
    struct op_emu_call *call = op_mem_alloc(sizeof(*call));
    int64_t number = atomic_fetch_add(&em->next_request, 1);
    call->emulator = em;
    call->connection = connection;
    call->prefix = OP_STR("");
    call->method = op_arena_strdup(&call->arena, op_str_from(method));
    op_emu_store_id(em->store, "req_01", em->clock.start_us, number, call->request_id);
    op_buf_init(&call->reply.body, REPLY_MAX);
    route_call(call, url);
    size_t most =
        call->route && call->route->body_max ? call->route->body_max : BODY_DEFAULT_MAX;
    op_buf_init(&call->body, most);
    return call;
}

static void call_free(struct op_emu_call *call)
{
    if (!call)
        return;
    if (call->state && call->route && call->route->release)
        call->route->release(call);
    op_emu_call_give_back(call);
    op_buf_release(&call->body);
    op_buf_release(&call->reply.body);
    op_mem_free(call->reply.file);
    op_arena_release(&call->arena);
    op_mem_free(call);
}

/* The headers are here. What is refused already is answered when the body has passed, because a
 * client that is still sending does not read. */
static void call_begin(struct op_emu_call *call)
{
    if (!call->route)
        call->api->error(call, 404, NULL, "Not found");
    else if (call->api->admit(call) && call->route->begin)
        call->route->begin(call);
}

static void call_add(struct op_emu_call *call, const char *ptr, size_t len)
{
    size_t most =
        call->route && call->route->body_max ? call->route->body_max : BODY_DEFAULT_MAX;
    call->body_len += (int64_t)len;
    if (call->body_len > (int64_t)most)
        call->too_large = true;
    if (call->reply.status || call->too_large || !call->route)
        return;
    if (call->route->add)
        call->route->add(call, ptr, len);
    else
        op_buf_add(&call->body, ptr, len);
}

static bool call_end(struct op_emu_call *call)
{
    if (!call->reply.status && call->too_large)
        call->api->error(call, 413, NULL, NULL);
    bool answered = call->reply.status != 0;
    if (!answered && !op_emu_call_before(call)) {
        call->route->handle(call);
        if (!call->reply.status && !call->reply.drop)
            call->api->error(call, 500, NULL, "Internal server error");
        call->api->decorate(call);
        op_emu_call_after(call);
    } else {
        call->api->decorate(call);
    }
    return op_emu_call_send(call);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version,
                                  const char *upload_data, size_t *upload_data_size,
                                  void **con_cls)
{
    struct op_emulator *em = cls;
    struct op_emu_call *call = *con_cls;
    (void)version;
    if (!call) {
        call = call_new(em, connection, url, method);
        *con_cls = call;
        call_begin(call);
        return MHD_YES;
    }
    if (*upload_data_size) {
        call_add(call, upload_data, *upload_data_size);
        *upload_data_size = 0;
        return MHD_YES;
    }
    return call_end(call) ? MHD_YES : MHD_NO;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode toe)
{
    (void)cls;
    (void)connection;
    (void)toe;
    call_free(*con_cls);
    *con_cls = NULL;
}

/* ---- start and stop ---- */

static enum op_rc split_listen(const char *listen, char **ret_host, char **ret_port,
                               struct op_err *err)
{
    const char *colon = strrchr(listen, ':');
    int64_t port = 0;
    if (!colon || colon == listen || !op_str_int64(op_str_from(colon + 1), &port) || port < 0 ||
        port > 65535)
        return op_fail(err, OP_INVAL,
                       "'%s' is not HOST:PORT (for example 127.0.0.1:8080; port"
                       " 0 takes a free one)",
                       listen);
    size_t len = (size_t)(colon - listen);
    bool bracketed = listen[0] == '[' && len > 2 && listen[len - 1] == ']';
    *ret_host = bracketed ? op_mem_strndup(listen + 1, len - 2) : op_mem_strndup(listen, len);
    *ret_port = op_mem_strdup(colon + 1);
    return OP_OK;
}

static enum op_rc open_socket(const struct addrinfo *at, const char *listen_on, int *ret,
                              struct op_err *err)
{
    int one = 1;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return op_fail_errno(err, OP_IO, "cannot make a socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, at->ai_addr, at->ai_addrlen) || listen(fd, 1024)) {
        op_err_set_errno(err, OP_IO, "cannot listen on %s", listen_on);
        close(fd);
        return err->rc;
    }
    *ret = fd;
    return OP_OK;
}

static enum op_rc set_url(struct op_emulator *em, int fd, const char *host, struct op_err *err)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len))
        return op_fail_errno(err, OP_IO, "cannot ask for the port listened on");
    /* Any family keeps the port at the same place. */
    int port = ntohs(((struct sockaddr_in *)&address)->sin_port);
    bool v6 = strchr(host, ':') != NULL;
    em->url = op_mem_printf("http://%s%s%s:%d", v6 ? "[" : "", host, v6 ? "]" : "", port);
    return OP_OK;
}

static enum op_rc open_listener(struct op_emulator *em, const char *listen, int *ret,
                                struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *host = NULL;
    OP_CLEANUP(op_mem_freep) char *port = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int fd = -1;
    enum op_rc rc = split_listen(listen, &host, &port, err);
    if (rc)
        return rc;
    int failed = getaddrinfo(host, port, &hints, &found);
    if (failed)
        return op_fail(err, OP_INVAL, "cannot listen on %s: %s", listen, gai_strerror(failed));
    rc = open_socket(found, listen, &fd, err);
    freeaddrinfo(found);
    if (!rc)
        rc = set_url(em, fd, host, err);
    if (rc) {
        if (fd >= 0)
            close(fd);
        return rc;
    }
    *ret = fd;
    return OP_OK;
}

static enum op_rc start_threads(struct op_emulator *em, const char *listen, struct op_err *err)
{
    int fd = -1;
    enum op_rc rc = open_listener(em, listen ? listen : LISTEN_DEFAULT, &fd, err);
    if (rc)
        return rc;
    if (pthread_create(&em->processor, NULL, op_emu_process, em)) {
        close(fd);
        return op_fail(err, OP_IO, "cannot start a thread");
    }
    em->processing = true;
    /* A thread for each connection: an answer that hangs, or waits for the disk, then hinders no
     * other. */
    em->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL,
        NULL, on_request, em, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT, 4096U,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_END);
    if (em->daemon)
        return OP_OK;
    close(fd);
    return op_fail(err, OP_IO, "cannot start the HTTP server");
}

static enum op_rc check_options(const struct op_emulator_options *options, struct op_err *err)
{
    if (!options->dir || !*options->dir)
        return op_fail(err, OP_INVAL, "the emulator needs a folder for its bill and batches");
    if (!(options->speed >= 0 && options->speed <= 1e6))
        return op_fail(err, OP_INVAL, "the speed must be above 0 and at most 1000000");
    if (options->process_min_ms < 0 || options->process_max_ms < options->process_min_ms)
        return op_fail(err, OP_INVAL, "the processing time is a range from least to most");
    return OP_OK;
}

static enum op_rc open_parts(struct op_emulator *em, const struct op_emulator_options *options,
                             struct op_err *err)
{
    enum op_rc rc =
        op_emu_faults_open(em->env, options->faults, options->seed, &em->faults, err);
    if (!rc)
        rc = op_emu_script_open(em->env, options->answers, &em->script, err);
    if (!rc)
        rc = op_emu_store_open(em->env, options->dir, options->seed, &em->store, err);
    if (!rc)
        rc = op_emu_files_open(em->env, options->dir, &em->files, err);
    if (rc)
        return rc;
    /* A folder that ran ahead of the wall clock goes on from where it was. */
    int64_t start_us =
        (options->start_ms ? options->start_ms : em->env->ops->now_ms(em->env)) * 1000;
    if (op_emu_store_last_us(em->store) > start_us)
        start_us = op_emu_store_last_us(em->store);
    if (op_emu_files_last_us(em->files) > start_us)
        start_us = op_emu_files_last_us(em->files);
    op_emu_clock_init(&em->clock, start_us, em->speed);
    em->resumables = op_emu_resumables_new(em->files);
    return OP_OK;
}

static struct op_emulator *emulator_new(const struct op_emulator_options *options)
{
    struct op_emulator *em = op_mem_alloc(sizeof(*em));
    pthread_condattr_t attr;
    em->env = op_env_default();
    em->speed = options->speed > 0 ? options->speed : 1;
    em->seed = options->seed;
    em->api_key = op_mem_strdup(options->api_key);
    em->process_min_us = options->process_max_ms ? options->process_min_ms * 1000 : 30000000;
    em->process_max_us = options->process_max_ms ? options->process_max_ms * 1000 : 90000000;
    em->cache = op_emu_cache_new();
    pthread_mutex_init(&em->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&em->changed, &attr);
    pthread_condattr_destroy(&attr);
    return em;
}

enum op_rc op_emulator_start(const struct op_emulator_options *options,
                             struct op_emulator **ret, struct op_err *err)
{
    enum op_rc rc = check_options(options, err);
    if (!rc)
        rc = op_libmicrohttpd_load(err);
    if (rc)
        return rc;
    OP_CLEANUP(op_emulator_stopp) struct op_emulator *em = emulator_new(options);
    rc = open_parts(em, options, err);
    if (!rc)
        rc = start_threads(em, options->listen, err);
    if (rc)
        return rc;
    *ret = OP_TAKE(em);
    return OP_OK;
}

const char *op_emulator_url(const struct op_emulator *emulator)
{
    return emulator->url;
}

int64_t op_emulator_now_ms(struct op_emulator *emulator)
{
    return op_emu_clock_now(&emulator->clock) / 1000;
}

enum op_rc op_emulator_wait(struct op_emulator *em, op_emulator_stop_fn stop, void *arg,
                            struct op_err *err)
{
    const struct timespec pause = {0, 50000000};
    while (!stop(arg)) {
        pthread_mutex_lock(&em->lock);
        struct op_err failed = em->failed;
        pthread_mutex_unlock(&em->lock);
        if (failed.rc)
            return op_fail(err, failed.rc, "%s", failed.msg);
        nanosleep(&pause, NULL);
    }
    return OP_OK;
}

void op_emulator_stop(struct op_emulator *em)
{
    if (!em)
        return;
    pthread_mutex_lock(&em->lock);
    em->stopping = true;
    pthread_cond_broadcast(&em->changed);
    pthread_mutex_unlock(&em->lock);
    if (em->daemon)
        MHD_stop_daemon(em->daemon);
    if (em->processing)
        pthread_join(em->processor, NULL);
    op_emu_resumables_free(em->resumables);
    op_emu_files_close(em->files);
    op_emu_store_close(em->store);
    op_emu_script_close(em->script);
    op_emu_faults_close(em->faults);
    op_emu_cache_free(em->cache);
    while (em->parser_count > 0)
        op_json_parser_free(em->parsers[--em->parser_count]);
    pthread_cond_destroy(&em->changed);
    pthread_mutex_destroy(&em->lock);
    op_mem_free(em->api_key);
    op_mem_free(em->url);
    op_mem_free(em);
}

void op_emulator_stopp(struct op_emulator **emulator)
{
    op_emulator_stop(*emulator);
    *emulator = NULL;
}
