/* SPDX-License-Identifier: MIT */
#include "engine/walk.h"

#include "base/ahead.h"
#include "base/hash.h"
#include "base/mem.h"

/* The longest params of one request; a provider's own limit is checked by op_plan_compose. */
#define PARAMS_MAX (64 * 1024 * 1024)
/* A chunk is handed over when it holds so many records or bytes. */
#define CHUNK_RECORDS 256
#define CHUNK_BYTES   (1024 * 1024)
#define CHUNKS        4

/* One record or one of its requests; texts are places in the chunk's bytes. */
struct item {
    int name;                 /* -1: a record */
    size_t at, len;           /* key, or params */
    size_t data_at, data_len; /* record: data; data_len 0 none */
    size_t place_at;          /* record: NUL-terminated */
    uint8_t hash[OP_HASH_LEN];
    int64_t tokens;
};

struct chunk {
    struct op_buf bytes;
    struct item *items;
    size_t count, room;
};

struct composing {
    struct op_walk *walk;
    struct op_select *select;
    struct op_compose_scratch *scratch;
    struct op_sha256 *sha;
    int *when;
};

static bool is_true(struct op_value v)
{
    switch (v.type) {
    case OP_VALUE_NULL:
        return false;
    case OP_VALUE_INT:
        return v.i != 0;
    case OP_VALUE_DOUBLE:
        return v.d < 0 || v.d > 0;
    case OP_VALUE_TEXT:
    case OP_VALUE_BLOB:
        return v.s.len > 0 && !op_str_is(v.s, "0") && !op_str_is(v.s, "false");
    }
    return false;
}

/* Column number of each request's `when`, -1 for none. */
static enum op_rc bind_when(const struct op_work *work, int *ret, struct op_err *err)
{
    for (size_t i = 0; i < work->def.request_count; i++) {
        const struct op_request_def *def = &work->def.requests[i];
        ret[i] = -1;
        for (size_t c = 0; def->when && c < work->plan->record_column_count; c++) {
            if (!strcmp(work->plan->record_columns[c], def->when))
                ret[i] = (int)c;
        }
        if (def->when && ret[i] < 0)
            return op_fail(err, OP_INVAL,
                           "%s: `when` names the column '%s', which records lack", def->place,
                           def->when);
    }
    return OP_OK;
}

static struct item *add_item(struct chunk *chunk)
{
    if (chunk->count == chunk->room) {
        chunk->room = chunk->room ? chunk->room * 2 : CHUNK_RECORDS * 2;
        chunk->items = op_mem_realloc(chunk->items, chunk->room * sizeof(*chunk->items));
    }
    struct item *item = &chunk->items[chunk->count++];
    *item = (struct item){0};
    return item;
}

void op_request_hash(const struct op_lane *lane, struct op_sha256 *sha, const char *model,
                     const char *endpoint, struct op_str params, uint8_t ret[OP_HASH_LEN])
{
    const char *server = lane->emulated ? "emulator" : lane->base_url;
    uint8_t digest[OP_SHA256_LEN];
    op_sha256_reset(sha);
    op_sha256_add(sha, lane->provider->name, strlen(lane->provider->name) + 1);
    op_sha256_add(sha, server, strlen(server) + 1);
    if (lane->provider->one_model) {
        op_sha256_add(sha, model, strlen(model) + 1);
        op_sha256_add(sha, endpoint, strlen(endpoint) + 1);
    }
    op_sha256_add(sha, params.ptr, params.len);
    op_sha256_end(sha, digest);
    memcpy(ret, digest, OP_HASH_LEN);
}

static enum op_rc take_request(struct composing *c, struct chunk *chunk, int name,
                               const struct op_record *record, struct op_err *err)
{
    size_t at = chunk->bytes.len;
    enum op_rc rc = op_plan_compose(c->walk->work->plan, (size_t)name, record->cells,
                                    c->scratch, &chunk->bytes, err);
    if (!rc)
        rc = op_buf_finish(&chunk->bytes, "a request", err);
    if (rc)
        return op_err_wrap(err, "%s (key '%.*s')", record->place,
                           record->key.len > 60 ? 60 : (int)record->key.len, record->key.ptr);
    struct item *item = add_item(chunk);
    item->name = name;
    item->at = at;
    item->len = chunk->bytes.len - at;
    struct op_str params = {chunk->bytes.ptr + at, item->len};
    const struct op_work *work = c->walk->work;
    const struct op_plan_request *request = &work->plan->requests[name];
    op_request_hash(request->lane, c->sha, request->model, request->endpoint, params,
                    item->hash);
    item->tokens = op_tokens_estimate(params.ptr, params.len);
    return OP_OK;
}

static enum op_rc take_record(struct composing *c, struct chunk *chunk,
                              const struct op_record *record, struct op_err *err)
{
    struct op_work *work = c->walk->work;
    struct op_buf *bytes = &chunk->bytes;
    struct item *item = add_item(chunk);
    item->name = -1;
    item->at = bytes->len;
    item->len = record->key.len;
    op_buf_add_str(bytes, record->key);
    item->place_at = bytes->len;
    op_buf_add(bytes, record->place, strlen(record->place) + 1);
    item->data_at = bytes->len;
    if (work->plan->keeps_data)
        op_record_write(work->plan, record, bytes);
    item->data_len = bytes->len - item->data_at;
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < work->def.request_count; i++) {
        if (c->when[i] < 0 || is_true(record->cells[c->when[i]]))
            rc = take_request(c, chunk, (int)i, record, err);
    }
    return rc;
}

static enum op_rc fill_chunk(void *arg, void *item, bool *ret_last, struct op_err *err)
{
    struct composing *c = arg;
    struct chunk *chunk = item;
    op_buf_clear(&chunk->bytes);
    chunk->count = 0;
    for (int i = 0; i < CHUNK_RECORDS && chunk->bytes.len < CHUNK_BYTES; i++) {
        struct op_record record;
        enum op_rc rc = op_select_next(c->select, &record, err);
        if (rc == OP_NOTFOUND && !err->rc) {
            *ret_last = true;
            return OP_OK;
        }
        if (!rc)
            rc = take_record(c, chunk, &record, err);
        if (rc)
            return rc;
    }
    return OP_OK;
}

static enum op_rc visit(struct op_walk *walk, const struct chunk *chunk, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < chunk->count; i++) {
        const struct item *item = &chunk->items[i];
        const char *bytes = chunk->bytes.ptr;
        struct op_str text = {bytes + item->at, item->len};
        if (item->name < 0) {
            struct op_walk_record record = {.key = text, .place = bytes + item->place_at};
            if (item->data_len)
                record.data = (struct op_str){bytes + item->data_at, item->data_len};
            rc = walk->record(walk->arg, &record, err);
            continue;
        }
        struct op_walk_request request = {
            .name = item->name, .params = text, .tokens = item->tokens};
        memcpy(request.hash, item->hash, OP_HASH_LEN);
        rc = walk->request(walk->arg, &request, err);
    }
    return rc;
}

static enum op_rc visit_all(struct op_walk *walk, struct op_ahead *ahead, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (bool last = false; !rc && !last;) {
        if (op_engine_stopped(walk->work->engine))
            return op_fail(err, OP_STOPPED, "stopped while reading the records");
        void *chunk = NULL;
        rc = op_ahead_next(ahead, &chunk, &last, err);
        if (rc)
            break;
        rc = visit(walk, chunk, err);
        op_ahead_done(ahead, chunk);
    }
    return rc;
}

static enum op_rc walk_chunks(struct op_walk *walk, struct composing *c, struct op_err *err)
{
    struct chunk chunks[CHUNKS] = {0};
    void *items[CHUNKS];
    for (size_t i = 0; i < CHUNKS; i++) {
        op_buf_init(&chunks[i].bytes, PARAMS_MAX);
        items[i] = &chunks[i];
    }
    struct op_ahead *ahead = NULL;
    enum op_rc rc = op_ahead_start(items, CHUNKS, fill_chunk, c, &ahead, err);
    if (!rc)
        rc = visit_all(walk, ahead, err);
    op_ahead_stop(ahead);
    for (size_t i = 0; i < CHUNKS; i++) {
        op_buf_release(&chunks[i].bytes);
        op_mem_free(chunks[i].items);
    }
    return rc;
}

enum op_rc op_walk(struct op_walk *walk, struct op_err *err)
{
    struct op_work *work = walk->work;
    OP_CLEANUP(op_select_closep) struct op_select *select = NULL;
    enum op_rc rc = op_select_open(work->engine->env, work->plan, work->inputs_db,
                                   walk->skipped, walk->arg, &select, err);
    if (rc)
        return rc;
    work->columns_known = true;
    OP_CLEANUP(op_mem_freep) int *when = op_mem_array(work->def.request_count + 1, sizeof(int));
    rc = bind_when(work, when, err);
    if (rc)
        return rc;
    struct composing c = {.walk = walk,
                          .select = select,
                          .when = when,
                          .scratch = op_compose_scratch_new(),
                          .sha = op_sha256_new()};
    rc = walk_chunks(walk, &c, err);
    walk->done = op_select_done(select);
    walk->bad = op_select_skipped(select);
    op_compose_scratch_free(c.scratch);
    op_sha256_free(c.sha);
    return rc;
}
