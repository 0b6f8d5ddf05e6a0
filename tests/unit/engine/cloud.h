/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_ENGINE_CLOUD_H
#define OP_TESTS_ENGINE_CLOUD_H

/*
 * A provider in memory: files, batches with tags, one model a batch, two result files or one document,
 * a queue of tokens per model, and the faults that cost money elsewhere. It lives in shared memory and
 * has no pointers, so that a child process may be killed and another go on with it. What it bills is
 * the tests' oracle: it counts the answers it gave to each question.
 */

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "net/http.h"

#define CLOUD_FILES     512
#define CLOUD_BATCHES   512
#define CLOUD_TEXT      (16 * 1024)
#define CLOUD_QUESTIONS 4096
#define CLOUD_EPOCH     1790000000000LL

enum cloud_state {
    CLOUD_LATE, /* asked for, and not yet carried out */
    CLOUD_RUNS,
    CLOUD_CANCELING,
    CLOUD_ENDED,
    CLOUD_FAILED,
};

struct cloud_file {
    char id[24], name[80];
    int64_t created_ms;
    bool deleted;
    size_t len;
    char text[CLOUD_TEXT];
};

struct cloud_batch {
    char id[24], tag[80], file[24], model[40], endpoint[24];
    enum cloud_state state;
    int64_t created_ms, acts_ms, tokens;
    int file_no, count;
    char failure[120], disp[16];
    int64_t limit; /* that it failed by; -1 none */
    size_t out_len, err_len;
    char out[CLOUD_TEXT], err[CLOUD_TEXT];
};

struct cloud {
    int64_t now_ms;
    int file_count, batch_count;
    struct cloud_file files[CLOUD_FILES];
    struct cloud_batch batches[CLOUD_BATCHES];
    int answers[CLOUD_QUESTIONS]; /* good ones given, by the number in the question */
    int seen[CLOUD_QUESTIONS];    /* times it came up in a batch that ran */
    int uploads, creates, lists, removes, asks, cancels;
    int64_t most_queued; /* tokens of one model, at any time */
    /* how it behaves */
    int64_t run_ms;      /* from create to end */
    int64_t queue_limit; /* tokens of a model; 0 none */
    int64_t hide_ms;     /* batches are listed so long after their creation */
    int64_t late_ms;     /* the next create whose answer is lost is carried out so late */
    bool tells_limit, refuses_at_once, retry_after;
    bool document, no_date, sheds_err, hides_results;
    /* so often each, from now on */
    int lose_create, drop_create, twin_create, lose_upload, short_upload, fail_upload,
        lose_error;
    int strangers;  /* batches of others, made right behind a create whose answer is lost */
    int fail_batch; /* whole batches, with fail_disp */
    char fail_disp[16], fail_text[80];
};

static inline struct cloud *cloud_new(void)
{
    struct cloud *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert(c != MAP_FAILED);
    c->now_ms = CLOUD_EPOCH;
    c->run_ms = 60 * OP_SECOND_MS;
    return c;
}

static inline void cloud_free(struct cloud *c)
{
    munmap(c, sizeof(*c));
}

static inline bool cloud_uses(int *left)
{
    if (*left <= 0)
        return false;
    (*left)--;
    return true;
}

static inline struct cloud_batch *cloud_batch(struct cloud *c, const char *id)
{
    for (int i = 0; i < c->batch_count; i++)
        if (strcmp(c->batches[i].id, id) == 0 && c->batches[i].state != CLOUD_LATE)
            return &c->batches[i];
    return NULL;
}

static inline struct cloud_file *cloud_file(struct cloud *c, const char *id)
{
    for (int i = 0; i < c->file_count; i++)
        if (strcmp(c->files[i].id, id) == 0 && !c->files[i].deleted)
            return &c->files[i];
    return NULL;
}

static inline int64_t cloud_queued(const struct cloud *c, const char *model)
{
    int64_t sum = 0;
    for (int i = 0; i < c->batch_count; i++)
        if ((c->batches[i].state == CLOUD_RUNS || c->batches[i].state == CLOUD_CANCELING) &&
            strcmp(c->batches[i].model, model) == 0)
            sum += c->batches[i].tokens;
    return sum;
}

/* What a prompt is billed: a fifth of its bytes; estimates are 2/7 of them. */
static inline int64_t cloud_tokens(size_t bytes)
{
    return (int64_t)(bytes / 5) + 1;
}

/* --- answering -------------------------------------------------------------------------------- */

/* Questions are "ask N ...". One with the word refuse is an error of its own, one with the word flaky is
 * an error the first time. */
static inline void cloud_answer(struct cloud *c, struct cloud_batch *b, struct op_json line)
{
    struct op_str id = op_json_str(op_json_get(line, "custom_id"));
    struct op_json params = op_json_get(line, "params");
    struct op_str user = op_json_str(op_json_get(params, "user"));
    int n = atoi(user.ptr + 4);
    assert(n >= 0 && n < CLOUD_QUESTIONS);
    c->seen[n]++;
    bool refuse = memmem(user.ptr, user.len, "refuse", 6) != NULL;
    bool flaky = memmem(user.ptr, user.len, "flaky", 5) && c->seen[n] == 1;
    bool good = !refuse && !flaky;
    size_t *len = good ? &b->out_len : &b->err_len;
    char *to = good ? b->out : b->err;
    int64_t in = cloud_tokens(user.len);
    int wrote = 0;
    if (good)
        wrote = snprintf(
            to + *len, CLOUD_TEXT - *len,
            "{\"custom_id\":\"%.*s\",\"text\":\"answer %d by %s\",\"in\":%lld,\"out\":7}\n",
            OP_STR_ARG(id), n, b->model, (long long)in);
    else
        wrote =
            snprintf(to + *len, CLOUD_TEXT - *len,
                     "{\"custom_id\":\"%.*s\",\"error\":\"%s\",\"again\":%s}\n", OP_STR_ARG(id),
                     refuse ? "refused" : "overloaded", refuse ? "false" : "true");
    assert(wrote > 0 && *len + (size_t)wrote < CLOUD_TEXT);
    *len += (size_t)wrote;
    c->answers[n] += good;
}

static inline void cloud_run(struct cloud *c, struct cloud_batch *b, int most)
{
    const struct cloud_file *f = &c->files[b->file_no];
    struct op_json_parser *parser = op_json_parser_new();
    struct op_str rest = {f->text, f->len};
    for (int i = 0; rest.len && i < most; i++) {
        struct op_str line = op_str_cut(&rest, '\n');
        struct op_json root;
        struct op_err err = OP_ERR_INIT;
        if (!line.len)
            continue;
        enum op_rc bad = op_json_parse(parser, line.ptr, line.len, false, &root, &err);
        assert(bad == OP_OK && "the batch file has a line that is no JSON");
        (void)bad;
        cloud_answer(c, b, root);
    }
    op_json_parser_free(parser);
}

static inline void cloud_fail(struct cloud_batch *b, const char *disp, const char *why,
                              int64_t limit)
{
    b->state = CLOUD_FAILED;
    snprintf(b->failure, sizeof(b->failure), "%s", why);
    snprintf(b->disp, sizeof(b->disp), "%s", disp);
    b->limit = limit;
}

/* What its prompts take in the queue. */
static inline int64_t cloud_file_tokens(const struct cloud_file *f)
{
    struct op_json_parser *parser = op_json_parser_new();
    struct op_str rest = {f->text, f->len};
    int64_t sum = 0;
    while (rest.len) {
        struct op_str line = op_str_cut(&rest, '\n');
        struct op_json root;
        struct op_err err = OP_ERR_INIT;
        if (!line.len || op_json_parse(parser, line.ptr, line.len, false, &root, &err))
            continue;
        sum += cloud_tokens(op_json_str(op_json_pointer(root, OP_STR("/params/user"))).len);
    }
    op_json_parser_free(parser);
    return sum;
}

/* Looks into the file, and at the queue: as the real ones, after the create was answered. */
static inline void cloud_begin(struct cloud *c, struct cloud_batch *b)
{
    b->state = CLOUD_RUNS;
    b->created_ms = c->now_ms;
    b->acts_ms = c->now_ms + c->run_ms;
    const struct cloud_file *f = cloud_file(c, b->file);
    if (!f) {
        cloud_fail(b, "retry", "Cannot find the file", -1);
        return;
    }
    b->file_no = (int)(f - c->files);
    b->count = 0;
    for (size_t i = 0; i < f->len; i++)
        b->count += f->text[i] == '\n';
    b->tokens = cloud_file_tokens(f);
    if (cloud_uses(&c->fail_batch))
        cloud_fail(b, c->fail_disp, c->fail_text, -1);
    else if (c->queue_limit && cloud_queued(c, b->model) > c->queue_limit)
        cloud_fail(b, c->retry_after ? "after" : "retry", "Enqueued token limit reached",
                   c->tells_limit ? c->queue_limit : -1);
    int64_t queued = cloud_queued(c, b->model);
    c->most_queued = queued > c->most_queued ? queued : c->most_queued;
}

static inline void cloud_tick(struct cloud *c)
{
    for (int i = 0; i < c->batch_count; i++) {
        struct cloud_batch *b = &c->batches[i];
        if (c->now_ms < b->acts_ms)
            continue;
        if (b->state == CLOUD_LATE) {
            cloud_begin(c, b);
        } else if (b->state == CLOUD_RUNS) {
            cloud_run(c, b, INT32_MAX);
            b->state = CLOUD_ENDED;
        } else if (b->state == CLOUD_CANCELING) {
            cloud_run(c, b, 1); /* one was answered before the cancel took effect */
            b->state = CLOUD_ENDED;
        }
    }
}

/* --- the API ---------------------------------------------------------------------------------- */

struct cloud_http {
    struct op_http base;
    struct cloud *cloud;
};

static inline const char *cloud_header(const struct op_http_request *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return "";
}

static inline void cloud_put_batch(struct op_buf *out, const struct cloud_batch *b)
{
    static const char *const names[] = {"late", "running", "canceling", "ended", "failed"};
    op_buf_addf(
        out,
        "{\"id\":\"%s\",\"tag\":\"%s\",\"file\":\"%s\",\"state\":\"%s\",\"created\":%lld,"
        "\"count\":%d,\"failure\":\"%s\",\"disp\":\"%s\",\"limit\":%lld}",
        b->id, b->tag, b->file, names[b->state], (long long)b->created_ms, b->count, b->failure,
        b->disp, (long long)b->limit);
}

static inline int cloud_upload(struct cloud *c, const struct op_http_request *r,
                               const struct op_buf *body, struct op_buf *out)
{
    if (cloud_uses(&c->fail_upload)) {
        op_buf_addz(out, "{\"error\":\"try again\"}");
        return 503;
    }
    assert(c->file_count < CLOUD_FILES && body->len > 9 && body->len - 9 <= CLOUD_TEXT);
    /* "HEAD" and "TAIL!" come around the file, as a multipart body has. */
    assert(memcmp(body->ptr, "HEAD", 4) == 0);
    assert(memcmp(body->ptr + body->len - 5, "TAIL!", 5) == 0);
    struct cloud_file *f = &c->files[c->file_count++];
    snprintf(f->id, sizeof(f->id), "file-%d", c->file_count);
    snprintf(f->name, sizeof(f->name), "%s", cloud_header(r, "X-Name"));
    f->created_ms = c->now_ms;
    f->len = body->len - 9;
    memcpy(f->text, body->ptr + 4, f->len);
    c->uploads++;
    if (cloud_uses(&c->lose_upload))
        return 0;
    bool is_short = cloud_uses(&c->short_upload);
    op_buf_addf(out, "{\"id\":\"%s\",\"name\":\"%s\",\"bytes\":%zu,\"created\":%lld}", f->id,
                f->name, f->len - is_short, (long long)f->created_ms);
    return 200;
}

static inline struct cloud_batch *cloud_add_batch(struct cloud *c, struct op_json what)
{
    assert(c->batch_count < CLOUD_BATCHES);
    struct cloud_batch *b = &c->batches[c->batch_count++];
    snprintf(b->id, sizeof(b->id), "batch_%d", c->batch_count);
    const struct {
        const char *name;
        char *to;
        size_t size;
    } rows[] = {{"tag", b->tag, sizeof(b->tag)},
                {"file", b->file, sizeof(b->file)},
                {"model", b->model, sizeof(b->model)},
                {"endpoint", b->endpoint, sizeof(b->endpoint)}};
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct op_str text = op_json_str(op_json_get(what, rows[i].name));
        snprintf(rows[i].to, rows[i].size, OP_STR_FMT, OP_STR_ARG(text));
    }
    c->creates++;
    return b;
}

static inline int cloud_create(struct cloud *c, const struct op_buf *body, struct op_buf *out)
{
    struct op_json_parser *parser = op_json_parser_new();
    struct op_json what;
    struct op_err err = OP_ERR_INIT;
    int status = 200;
    enum op_rc bad = op_json_parse(parser, body->ptr, body->len, false, &what, &err);
    assert(bad == OP_OK && "a create that is no JSON");
    (void)bad;
    const struct cloud_file *f = NULL;
    char id[24], model[40];
    snprintf(id, sizeof(id), OP_STR_FMT, OP_STR_ARG(op_json_str(op_json_get(what, "file"))));
    snprintf(model, sizeof(model), OP_STR_FMT,
             OP_STR_ARG(op_json_str(op_json_get(what, "model"))));
    f = cloud_file(c, id);
    if (c->refuses_at_once && f && c->queue_limit &&
        cloud_queued(c, model) + cloud_file_tokens(f) > c->queue_limit) {
        op_buf_addf(out, "{\"error\":\"Enqueued token limit reached\",\"limit\":%lld}",
                    (long long)(c->tells_limit ? c->queue_limit : 0));
        status = 429;
    } else if (cloud_uses(&c->drop_create)) {
        status = 0;
    } else {
        bool lost = cloud_uses(&c->lose_create);
        struct cloud_batch *b = cloud_add_batch(c, what);
        b->state = CLOUD_LATE;
        b->acts_ms = c->now_ms + (lost ? c->late_ms : 0);
        for (int i = 0; lost && i < c->twin_create; i++) {
            struct cloud_batch *twin = cloud_add_batch(c, what);
            twin->state = CLOUD_LATE;
            twin->acts_ms = b->acts_ms;
        }
        cloud_tick(c);
        for (int i = 0; lost && i < c->strangers; i++) {
            struct cloud_batch *other = &c->batches[c->batch_count++];
            snprintf(other->id, sizeof(other->id), "batch_%d", c->batch_count);
            other->created_ms = c->now_ms;
            other->state = CLOUD_ENDED;
            other->limit = -1;
        }
        cloud_put_batch(out, b);
        status = lost ? 0 : 200;
    }
    op_json_parser_free(parser);
    return status;
}

static inline int cloud_list(struct cloud *c, const char *url, struct op_buf *out)
{
    bool files = strstr(url, "/files") != NULL;
    const char *after = strstr(url, "after=");
    int end = after ? atoi(after + 6) : (files ? c->file_count : c->batch_count);
    int at = end;
    op_buf_addz(out, "{\"data\":[");
    c->lists += !files;
    /* Two entries a page, newest first. */
    int put = 0;
    for (; at > 0 && put < 2; at--) {
        const struct cloud_file *f = &c->files[at - 1];
        const struct cloud_batch *b = &c->batches[at - 1];
        if (files ? f->deleted
                  : b->state == CLOUD_LATE || c->now_ms < b->created_ms + c->hide_ms)
            continue;
        op_buf_addz(out, put++ ? "," : "");
        if (files)
            op_buf_addf(out, "{\"id\":\"%s\",\"name\":\"%s\",\"bytes\":%zu,\"created\":%lld}",
                        f->id, f->name, f->len, (long long)f->created_ms);
        else
            cloud_put_batch(out, b);
    }
    op_buf_addf(out, "],\"next\":%d}", at);
    return 200;
}

static inline int cloud_results(struct cloud *c, const char *id, const char *part,
                                struct op_buf *out)
{
    char name[24];
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(id, "/"), id);
    const struct cloud_batch *b = cloud_batch(c, name);
    if (!b || b->state != CLOUD_ENDED)
        return 404;
    if (strcmp(part, "out") == 0)
        op_buf_add(out, b->out, b->out_len);
    else if (strcmp(part, "err") == 0 && cloud_uses(&c->lose_error))
        return 404;
    else if (strcmp(part, "err") == 0)
        op_buf_add(out, b->err, b->err_len);
    if (strcmp(part, "doc") != 0)
        return 200;
    op_buf_addz(out, "{\"results\":[");
    struct op_str rest = {b->out, b->out_len};
    for (int i = 0; rest.len; i++) {
        struct op_str line = op_str_cut(&rest, '\n');
        if (line.len)
            op_buf_addf(out, "%s\n  " OP_STR_FMT, i ? "," : "", OP_STR_ARG(line));
    }
    op_buf_addz(out, "]}");
    return 200;
}

static inline int cloud_serve(struct cloud *c, const struct op_http_request *r,
                              const struct op_buf *body, struct op_buf *out)
{
    const char *path = r->url + strlen("https://fake.test");
    bool post = strcmp(r->method, "POST") == 0;
    if (strcmp(path, "/begin") == 0)
        return 200;
    if (post && strcmp(path, "/put/here") == 0)
        return cloud_upload(c, r, body, out);
    if (strcmp(r->method, "DELETE") == 0) {
        struct cloud_file *f = cloud_file(c, path + strlen("/files/"));
        c->removes++;
        if (f)
            f->deleted = true;
        op_buf_addz(out, "{}");
        return f ? 200 : 404;
    }
    if (strncmp(path, "/results/", 9) == 0)
        return cloud_results(c, path + 9, strrchr(path, '/') + 1, out);
    if (strncmp(path, "/files?", 7) == 0 || strncmp(path, "/batches?", 9) == 0)
        return cloud_list(c, path, out);
    if (post && strcmp(path, "/batches") == 0)
        return cloud_create(c, body, out);
    char id[24];
    snprintf(id, sizeof(id), "%.*s", (int)strcspn(path + 9, "/"), path + 9);
    struct cloud_batch *b = cloud_batch(c, id);
    if (!b)
        return 404;
    c->asks++;
    if (post) { /* cancel */
        c->cancels++;
        if (b->state != CLOUD_RUNS)
            return 409;
        b->state = CLOUD_CANCELING;
        b->acts_ms = c->now_ms + 10 * OP_SECOND_MS;
    }
    cloud_put_batch(out, b);
    return 200;
}

/* The body as libcurl would take it: the gate before the last byte. */
static inline enum op_rc cloud_read(const struct op_http_request *r,
                                    struct op_http_reply *reply, struct op_buf *body,
                                    struct op_err *err)
{
    op_buf_add_str(body, r->body);
    int64_t hold = r->gate ? 1 : 0;
    char block[700]; /* no round size: pieces end anywhere */
    while (r->body_fn && (int64_t)body->len < r->body_len) {
        int64_t left = r->body_len - (int64_t)body->len;
        if (left == hold && !reply->gate_passed) {
            enum op_rc rc = r->gate(r->gate_arg, err);
            if (rc)
                return rc;
            reply->gate_passed = reply->released = true;
        }
        size_t room = (size_t)(reply->gate_passed ? left : left - hold);
        int64_t n = r->body_fn(r->body_arg, (int64_t)body->len, block,
                               room < sizeof(block) ? room : sizeof(block));
        if (n <= 0)
            return op_fail_as(err, OP_IO, OP_DISP_RETRY, "the body could not be read");
        op_buf_add(body, block, (size_t)n);
    }
    return OP_OK;
}

static enum op_rc cloud_perform(struct op_http *http, const struct op_http_request *r,
                                struct op_http_reply *reply, struct op_err *err)
{
    struct cloud *c = ((struct cloud_http *)http)->cloud;
    OP_CLEANUP(op_buf_release) struct op_buf body;
    OP_CLEANUP(op_buf_release) struct op_buf out;
    op_buf_init(&body, 1 << 20);
    op_buf_init(&out, 1 << 20);
    cloud_tick(c);
    enum op_rc rc = cloud_read(r, reply, &body, err);
    if (rc)
        return rc;
    int status = cloud_serve(c, r, &body, &out);
    if (status == 0)
        return op_fail_as(err, OP_REMOTE, reply->released ? OP_DISP_AMBIGUOUS : OP_DISP_RETRY,
                          "the connection was lost");
    reply->status = status;
    time_t seconds = (time_t)(c->now_ms / 1000);
    struct tm tm;
    char date[64];
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&seconds, &tm));
    if (!c->no_date)
        op_buf_addf(&reply->headers, "Date: %s\r\n", date);
    op_buf_addz(&reply->headers, "X-Put: https://fake.test/put/here\r\n");
    if (status == 200 && r->sink)
        return r->sink(r->sink_arg, out.ptr, out.len, err);
    op_buf_add_str(&reply->body, op_buf_str(&out));
    return OP_OK;
}

static void cloud_close(struct op_http *http)
{
    (void)http;
}

static const struct op_http_ops cloud_http_ops = {
    .name = "cloud", .perform = cloud_perform, .close = cloud_close};

#endif
