/* SPDX-License-Identifier: MIT */
#include "engine/export.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "core/custom_id.h"
#include "core/raw_key.h"
#include "engine/digest.h"
#include "engine/walk.h"

/* One file of the spool, kept open: neighbours lie in the same one. */
struct reader {
    int64_t batch_id, part; /* part -1: the payload */
    int fd;
    char *path;
    int64_t bytes;
    char nonce[OP_NONCE_LEN + 1];
};

/* Where a payload file holds the params of each of its requests. */
struct place {
    int64_t id, offset, len;
};

struct exporting {
    struct op_work *work;
    struct op_work *leg; /* whose form the request at hand is in */
    int64_t leg_batch;
    struct op_export *out;
    struct reader payload, first, result;
    struct place *places; /* of first.batch_id */
    size_t place_count;
    struct op_sha256 *sha;
    struct op_json_parser *parser;
    struct op_buf key, params, line, own;
};

bool op_custom_id_is_legal(struct op_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-'))
            return false;
    }
    return text.len > 0 && text.len <= OP_CUSTOM_ID_MAX;
}

/* --- files ---------------------------------------------------------------------------------- */

static void reader_close(struct op_env *env, struct reader *r)
{
    if (r->path)
        (void)env->ops->close(env, r->fd);
    op_mem_free(r->path);
    *r = (struct reader){0};
}

static enum op_rc reader_open(struct exporting *e, struct reader *r, int64_t batch_id,
                              int64_t part, struct op_err *err)
{
    struct op_engine *engine = e->work->engine;
    if (r->path && r->batch_id == batch_id && r->part == part)
        return OP_OK;
    reader_close(engine->env, r);
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    OP_CLEANUP(op_result_file_release) struct op_result_file file = {0};
    enum op_rc rc = op_ledger_batch_get(engine->ledger, batch_id, &batch, err);
    if (!rc && part >= 0)
        rc = op_ledger_result_file_get(engine->ledger, batch_id, part, &file, err);
    if (rc)
        return rc;
    char *path = op_spool_path(engine->spool, part < 0 ? batch.file : file.file);
    int fd = engine->env->ops->open(engine->env, path, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0) {
        rc = op_fail(err, OP_IO, "cannot open %s: %s", path, strerror(-fd));
        op_mem_free(path);
        return rc;
    }
    *r = (struct reader){.batch_id = batch_id,
                         .part = part,
                         .fd = fd,
                         .path = path,
                         .bytes = part < 0 ? batch.bytes : file.bytes};
    memcpy(r->nonce, batch.nonce, sizeof(r->nonce));
    return OP_OK;
}

static enum op_rc read_at(struct exporting *e, const struct reader *r, int64_t offset,
                          int64_t len, struct op_buf *ret, struct op_err *err)
{
    op_buf_clear(ret);
    if (offset < 0 || len < 0 || offset > r->bytes || len > r->bytes - offset)
        return op_fail(err, OP_IO, "%s has no bytes %lld to %lld", r->path, (long long)offset,
                       (long long)(offset + len));
    op_buf_grow(ret, (size_t)len);
    enum op_rc rc = op_io_pread_all(e->work->engine->env, r->fd, ret->ptr, (size_t)len, offset,
                                    r->path, err);
    if (!rc)
        ret->len = (size_t)len;
    return rc;
}

static void framing(const struct exporting *e, const struct op_request *request,
                    struct op_batch_framing *ret)
{
    const struct op_plan_request *asked = &e->leg->plan->requests[request->name];
    asked->lane->provider->framing(asked->lane, asked->endpoint, ret);
}

static enum op_rc use_leg(struct exporting *e, int64_t batch_id, struct op_err *err)
{
    if (e->leg && e->leg_batch == batch_id)
        return OP_OK;
    e->leg_batch = batch_id;
    return op_work_leg_of_batch(e->work, batch_id, &e->leg, err);
}

/* --- what was planned ----------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void cut_end(struct op_str *text, const char *end, size_t len)
{
    if (len > 0 && text->len >= len && memcmp(text->ptr + text->len - len, end, len) == 0)
        text->len -= len;
}

/* A line holds head (the first), before + custom_id + between + params + after, and what joins it
 * to the next, or the tail (the last); params have no line ends. The id holds random bits of this
 * batch, so nothing inside a request looks like that. */
static void find_place(struct exporting *e, const struct op_batch_framing *f,
                       const struct op_line *line)
{
    const char *tag = op_ledger_tag(e->work->engine->ledger);
    struct op_str text = {line->ptr, line->len};
    cut_end(&text, f->separator, strcspn(f->separator, "\n"));
    cut_end(&text, f->tail, strlen(f->tail));
    cut_end(&text, f->after, strlen(f->after));
    OP_CLEANUP(op_mem_freep)
    char *mark = op_mem_printf("%s%s-%s-", f->before, tag, e->first.nonce);
    const char *at = text.len ? memmem(text.ptr, text.len, mark, strlen(mark)) : NULL;
    if (!at)
        return;
    const char *end = text.ptr + text.len;
    const char *custom = at + strlen(f->before);
    const char *quote = memchr(custom, '"', (size_t)(end - custom));
    int64_t id = 0;
    if (!quote || !op_custom_id_parse((struct op_str){custom, (size_t)(quote - custom)}, tag,
                                      e->first.nonce, &id))
        return;
    const char *params = quote + strlen(f->between);
    if (e->place_count % 1024 == 0)
        e->places = op_mem_realloc(e->places, (e->place_count + 1024) * sizeof(*e->places));
    e->places[e->place_count++] = (struct place){
        .id = id, .offset = line->offset + (params - text.ptr), .len = end - params};
}

static enum op_rc index_first(struct exporting *e, int64_t batch_id,
                              const struct op_batch_framing *f, struct op_err *err)
{
    if (e->first.path && e->first.batch_id == batch_id)
        return OP_OK;
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    enum op_rc rc = reader_open(e, &e->first, batch_id, -1, err);
    if (!rc)
        rc = op_lines_open(e->work->engine->env, e->first.path, 0, OP_RESULT_LINE_MAX, &lines,
                           err);
    e->place_count = 0;
    while (!rc) {
        struct op_line line;
        rc = op_lines_next(lines, &line, err);
        if (!rc && line.ptr)
            find_place(e, f, &line);
    }
    if (rc != OP_NOTFOUND || err->rc)
        return rc;
    if (e->place_count)
        qsort(e->places, e->place_count, sizeof(*e->places), by_id);
    return OP_OK;
}

struct first {
    struct op_work *leg;
    int64_t batch;
};

/* Of the purchases at the provider in whose form the request is. */
static enum op_rc take_first(void *arg, const struct op_result_row *row, struct op_err *err)
{
    struct first *first = arg;
    struct op_work *leg = NULL;
    if (first->batch)
        return OP_OK;
    enum op_rc rc = op_work_leg_of_batch(first->leg, row->batch_id, &leg, err);
    if (leg == first->leg)
        first->batch = row->batch_id;
    return rc;
}

/* A request that was asked again has its amended params in the row; what was planned lies in the
 * payload of its first purchase. Left as they are when that one is gone. */
static enum op_rc planned_params(struct exporting *e, const struct op_request *request,
                                 struct op_err *err)
{
    uint8_t hash[OP_HASH_LEN];
    struct first first = {.leg = e->leg};
    const struct op_plan_request *asked = &e->leg->plan->requests[request->name];
    op_request_hash(asked->lane, e->sha, asked->model, asked->endpoint, op_buf_str(&e->params),
                    hash);
    if (!request->record_id || memcmp(hash, request->hash, OP_HASH_LEN) == 0)
        return OP_OK;
    enum op_rc rc = op_ledger_request_results(e->work->engine->ledger, request->id, take_first,
                                              &first, err);
    if (rc || !first.batch)
        return rc;
    struct op_batch_framing f;
    framing(e, request, &f);
    rc = index_first(e, first.batch, &f, err);
    const struct place key = {.id = request->id};
    const struct place *found =
        rc || !e->place_count ? NULL
                              : bsearch(&key, e->places, e->place_count, sizeof(key), by_id);
    return found ? read_at(e, &e->first, found->offset, found->len, &e->params, err) : rc;
}

/* --- lines ---------------------------------------------------------------------------------- */

static enum op_rc load_key(struct exporting *e, const struct op_request *request,
                           struct op_err *err)
{
    op_buf_clear(&e->key);
    return op_ledger_record_data(e->work->engine->ledger, request->record_id, &e->key, NULL,
                                 err);
}

/* NAME_KEY, or KEY alone where there is one request, if that can be an id and means one request
 * only: `a` and `a_b` of the keys b_c and c do not. */
static bool readable_id(struct exporting *e, int name, struct op_str key,
                        char ret[OP_CUSTOM_ID_MAX + 1])
{
    const struct op_definition *def = &e->work->def;
    const char *own = def->request_count > 1 ? def->requests[name].name : "";
    size_t own_len = strlen(own);
    for (size_t i = 0; own_len && i < def->request_count; i++) {
        const char *other = def->requests[i].name;
        size_t len = strlen(other);
        if ((len > own_len && strncmp(other, own, own_len) == 0 && other[own_len] == '_') ||
            (len < own_len && strncmp(own, other, len) == 0 && own[len] == '_'))
            return false;
    }
    int len = snprintf(ret, OP_CUSTOM_ID_MAX + 1, "%s%s" OP_STR_FMT, own, own_len ? "_" : "",
                       OP_STR_ARG(key));
    struct op_str id = {ret, len > 0 ? (size_t)len : 0};
    return id.len <= OP_CUSTOM_ID_MAX && key.len > 0 && op_custom_id_is_legal(id) &&
           !op_str_starts(id, OP_EXPORT_PREFIX);
}

static enum op_rc request_line(struct exporting *e, const struct op_request *request,
                               struct op_err *err)
{
    const struct op_definition *def = &e->work->def;
    char id[OP_CUSTOM_ID_MAX + 1];
    struct op_str key = op_buf_str(&e->key);
    char readable[OP_CUSTOM_ID_MAX + 1];
    bool legal = readable_id(e, request->name, key, readable);
    struct op_batch_framing f;
    framing(e, request, &f);
    snprintf(id, sizeof(id), OP_EXPORT_PREFIX "%lld", (long long)request->id);
    op_buf_clear(&e->line);
    op_buf_addz(&e->line, f.before);
    op_buf_addz(&e->line, legal ? readable : id);
    op_buf_addz(&e->line, f.between);
    op_buf_add_str(&e->line, op_buf_str(&e->params));
    op_buf_addz(&e->line, f.after);
    enum op_rc rc = op_buf_finish(&e->line, "a request", err);
    if (!rc)
        rc = e->out->line(e->out->arg, op_buf_str(&e->line), err);
    if (rc || legal)
        return rc;
    e->out->ids_mapped++;
    return e->out->mapped(e->out->arg, id, key, def->requests[request->name].name, err);
}

static enum op_rc export_request(struct exporting *e, const struct op_request *request,
                                 const struct op_payload_ref *ref, struct op_err *err)
{
    enum op_rc rc = use_leg(e, ref->batch_id, err);
    if (!rc)
        rc = reader_open(e, &e->payload, ref->batch_id, -1, err);
    if (!rc)
        rc = read_at(e, &e->payload, ref->offset, ref->len, &e->params, err);
    if (!rc)
        rc = planned_params(e, request, err);
    if (!rc)
        rc = load_key(e, request, err);
    if (!rc)
        rc = request_line(e, request, err);
    if (!rc)
        e->out->lines++;
    return rc;
}

/* The result that stands: of the batch that settled the request, else the last there is. */
struct standing {
    int64_t batch_id;
    struct op_result_row row;
};

static enum op_rc keep_standing(void *arg, const struct op_result_row *row, struct op_err *err)
{
    (void)err;
    struct standing *s = arg;
    if (row->part >= 0 && (s->row.part < 0 || s->row.batch_id != s->batch_id))
        s->row = *row;
    return OP_OK;
}

static enum op_rc result_line(struct exporting *e, const struct op_request *request,
                              struct op_err *err)
{
    struct op_json root;
    struct op_result result;
    enum op_rc rc = op_json_parse(e->parser, e->line.ptr, e->line.len, true, &root, err);
    op_buf_clear(&e->params);
    if (!rc)
        rc = op_result_read(e->leg->plan->requests[request->name].lane->provider, root,
                            &e->params, &result, err);
    if (!rc)
        rc = load_key(e, request, err);
    if (rc)
        return rc;
    struct op_str ours = result.custom_id;
    const char *at = memmem(e->line.ptr, e->line.len, ours.ptr, ours.len);
    if (!at)
        return e->out->line(e->out->arg, op_buf_str(&e->line), err);
    size_t before = (size_t)(at - e->line.ptr);
    op_buf_clear(&e->own);
    op_buf_add(&e->own, e->line.ptr, before);
    struct op_str id = op_buf_str(&e->key);
    if (e->work->def.requests[request->name].raw)
        id = op_raw_key_id(id);
    char readable[OP_CUSTOM_ID_MAX + 1];
    bool several = e->work->def.request_count > 1;
    if (several && readable_id(e, request->name, id, readable)) {
        id = op_str_from(readable);
        several = false;
    }
    op_json_escape(&e->own, id.ptr, id.len);
    if (several)
        op_buf_addf(&e->own, "#%s", e->work->def.requests[request->name].name);
    op_buf_add(&e->own, at + ours.len, e->line.len - before - ours.len);
    return e->out->line(e->out->arg, op_buf_str(&e->own), err);
}

static enum op_rc export_result(struct exporting *e, const struct op_request *request,
                                const struct op_request *bought, struct op_err *err)
{
    struct standing s = {.batch_id = bought->batch_id, .row = {.part = -1}};
    enum op_rc rc =
        op_ledger_request_results(e->work->engine->ledger, bought->id, keep_standing, &s, err);
    if (!rc && s.row.part < 0) {
        e->out->missing++;
        return OP_OK;
    }
    if (!rc)
        rc = use_leg(e, s.row.batch_id, err);
    if (!rc)
        rc = reader_open(e, &e->result, s.row.batch_id, s.row.part, err);
    if (!rc)
        rc = read_at(e, &e->result, s.row.offset, s.row.len, &e->line, err);
    if (!rc)
        rc = result_line(e, request, err);
    if (!rc)
        e->out->lines++;
    return rc;
}

static enum op_rc export_one(void *arg, const struct op_request *request, struct op_err *err)
{
    struct exporting *e = arg;
    if (op_engine_stopped(e->work->engine))
        return op_fail(err, OP_STOPPED, "stopped");
    if (!request->record_id)
        return OP_OK; /* the stub that warmed a cache */
    OP_CLEANUP(op_request_release) struct op_request other = {0};
    const struct op_request *bought = request;
    enum op_rc rc = OP_OK;
    if (request->same_as) { /* an identical request has the text, and perhaps the answer */
        rc = op_ledger_request_get(e->work->engine->ledger, request->same_as, &other, err);
        bought = &other;
    }
    if (rc)
        return rc;
    if (e->out->results)
        return export_result(e, request, bought, err);
    const struct op_payload_ref *ref =
        request->payload.batch_id ? &request->payload : &bought->payload;
    return export_request(e, request, ref, err);
}

static void exporting_release(struct exporting *e)
{
    struct op_env *env = e->work->engine->env;
    reader_close(env, &e->payload);
    reader_close(env, &e->first);
    reader_close(env, &e->result);
    op_mem_free(e->places);
    op_sha256_free(e->sha);
    op_json_parser_free(e->parser);
    op_buf_release(&e->key);
    op_buf_release(&e->params);
    op_buf_release(&e->line);
    op_buf_release(&e->own);
}

enum op_rc op_engine_export(struct op_engine *engine, int64_t job, struct op_export *ret,
                            struct op_err *err)
{
    struct op_work *work = NULL;
    enum op_rc rc = op_work_get(engine, job, &work, err);
    if (rc)
        return rc;
    if (work->job.state == OP_JOB_PLANNING || work->job.state == OP_JOB_FAILED)
        return op_fail(err, OP_CONFLICT, "job-%lld is %s: it has no requests to take out",
                       (long long)job, op_job_state_name(work->job.state));
    OP_CLEANUP(exporting_release)
    struct exporting e = {
        .work = work, .out = ret, .sha = op_sha256_new(), .parser = op_json_parser_new()};
    op_buf_init(&e.key, OP_SOURCE_MAX_RECORD);
    op_buf_init(&e.params, OP_RESULT_LINE_MAX);
    op_buf_init(&e.line, OP_RESULT_LINE_MAX);
    op_buf_init(&e.own, OP_RESULT_LINE_MAX);
    return op_ledger_requests(engine->ledger, job, OP_REQUEST_STATE_COUNT, 0, export_one, &e,
                              err);
}
