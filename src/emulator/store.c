/* SPDX-License-Identifier: MIT */
#include "emulator/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/map.h"
#include "base/mem.h"
#include "emulator/journal.h"

#define STORE_LINE_MAX ((size_t)1024 * 1024)

struct row {
    struct op_emu_batch batch;
    char *provider, *model, *meta;
    int64_t looks[2]; /* before and after the end */
    bool billed;      /* its requests are on the bill: before, nobody may see it */
};

struct op_emu_store {
    struct op_env *env;
    char *dir; /* DIR/batches */
    uint64_t seed;
    struct op_emu_journal *journal;
    struct op_emu_bill *bill;
    pthread_mutex_t lock;
    struct row **rows; /* by seq; never freed before close */
    size_t count, room;
    struct op_map by_id;
    int64_t last_us;
    atomic_int_fast64_t next_seq, next_upload;
};

#define OUTCOME_NAME(outcome, name) name,
static const char *const outcome_names[] = {OP_EMU_OUTCOMES(OUTCOME_NAME)};
#undef OUTCOME_NAME

const char *op_emu_outcome_name(enum op_emu_outcome outcome)
{
    return outcome_names[outcome];
}

/* ---- the line of a batch ---- */

static void write_quirks(struct op_json_out *out, const struct op_emu_quirks *quirks)
{
    op_json_out_name(out, "quirks");
    op_json_out_object(out);
    for (int i = 0; i < OP_EMU_ACTION_COUNT; i++) {
        if (op_emu_quirk(quirks, (enum op_emu_action)i))
            op_json_out_kv_int(out, op_emu_action_name((enum op_emu_action)i),
                               quirks->value[i]);
    }
    op_json_out_end_object(out);
}

static void write_batch(struct op_buf *buf, const struct op_emu_batch *b)
{
    struct op_json_out out;
    op_json_out_init(&out, buf, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "id", b->id);
    op_json_out_kv_text(&out, "provider", b->provider);
    op_json_out_kv_text(&out, "model", b->model);
    op_json_out_kv_int(&out, "seq", b->seq);
    op_json_out_kv_int(&out, "created_us", b->created_us);
    op_json_out_kv_int(&out, "start_us", b->start_us);
    op_json_out_kv_int(&out, "full_us", b->full_us);
    op_json_out_kv_int(&out, "due_us", b->due_us);
    op_json_out_kv_int(&out, "expires_us", b->expires_us);
    op_json_out_kv_int(&out, "cancel_us", b->cancel_us);
    op_json_out_kv_int(&out, "ended_us", b->ended_us);
    op_json_out_kv_bool(&out, "settled", b->settled);
    op_json_out_kv_bool(&out, "deleted", b->deleted);
    op_json_out_kv_int(&out, "total", b->total);
    op_json_out_kv_int(&out, "tokens", b->tokens);
    op_json_out_name(&out, "done");
    op_json_out_array(&out);
    for (int i = 0; i < OP_EMU_OUTCOME_COUNT; i++)
        op_json_out_int(&out, b->done[i]);
    op_json_out_end_array(&out);
    op_json_out_kv_int(&out, "input_tokens", b->usage.input);
    op_json_out_kv_int(&out, "output_tokens", b->usage.output);
    op_json_out_kv_int(&out, "cache_read_tokens", b->usage.cache_read);
    op_json_out_kv_int(&out, "thinking_tokens", b->thinking);
    write_quirks(&out, &b->quirks);
    op_json_out_name(&out, "meta");
    op_json_out_raw(&out, op_str_from(b->meta));
    op_json_out_end_object(&out);
    op_buf_addc(buf, '\n');
}

/* Whoever holds the lock writes, so that the last line of a batch is its newest. */
static enum op_rc log_batch(struct op_emu_store *store, const struct op_emu_batch *batch,
                            struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
    op_buf_init(&buf, STORE_LINE_MAX);
    write_batch(&buf, batch);
    enum op_rc rc = op_buf_finish(&buf, "a line of the store", err);
    return rc ? rc : op_emu_journal_add(store->journal, op_buf_str(&buf), err);
}

static struct row *find_row(struct op_emu_store *store, struct op_str id)
{
    int64_t at = 0;
    return op_map_get(&store->by_id, id, &at) ? store->rows[at] : NULL;
}

static struct row *add_row(struct op_emu_store *store, const struct op_emu_batch *batch)
{
    struct row *row = op_mem_alloc(sizeof(*row));
    row->provider = op_mem_strdup(batch->provider);
    row->model = op_mem_strdup(batch->model ? batch->model : "");
    row->meta = op_mem_strdup(batch->meta);
    row->batch = *batch;
    row->batch.provider = row->provider;
    row->batch.model = row->model;
    row->batch.meta = row->meta;
    if (store->count == store->room) {
        store->room = store->room ? 2 * store->room : 64;
        store->rows = op_mem_realloc(store->rows, store->room * sizeof(struct row *));
    }
    op_map_add(&store->by_id, op_str_from(row->batch.id), (int64_t)store->count, NULL);
    store->rows[store->count++] = row;
    return row;
}

static void read_batch(struct op_json line, struct op_emu_batch *b)
{
    struct op_str id = op_json_str(op_json_get(line, "id"));
    *b = (struct op_emu_batch){
        .seq = op_json_int(op_json_get(line, "seq"), 0),
        .created_us = op_json_int(op_json_get(line, "created_us"), 0),
        .start_us = op_json_int(op_json_get(line, "start_us"), 0),
        .full_us = op_json_int(op_json_get(line, "full_us"), 0),
        .due_us = op_json_int(op_json_get(line, "due_us"), 0),
        .expires_us = op_json_int(op_json_get(line, "expires_us"), 0),
        .cancel_us = op_json_int(op_json_get(line, "cancel_us"), 0),
        .ended_us = op_json_int(op_json_get(line, "ended_us"), 0),
        .settled = op_json_bool(op_json_get(line, "settled"), false),
        .deleted = op_json_bool(op_json_get(line, "deleted"), false),
        .total = op_json_int(op_json_get(line, "total"), 0),
        .tokens = op_json_int(op_json_get(line, "tokens"), 0),
        .usage.input = op_json_int(op_json_get(line, "input_tokens"), 0),
        .usage.output = op_json_int(op_json_get(line, "output_tokens"), 0),
        .usage.cache_read = op_json_int(op_json_get(line, "cache_read_tokens"), 0),
        .thinking = op_json_int(op_json_get(line, "thinking_tokens"), 0),
    };
    if (id.ptr && id.len < sizeof(b->id))
        memcpy(b->id, id.ptr, id.len);
    struct op_json_iter it = op_json_iter(op_json_get(line, "done"));
    while (op_json_next(&it) && it.index < OP_EMU_OUTCOME_COUNT)
        b->done[it.index] = op_json_int(it.value, 0);
    it = op_json_iter(op_json_get(line, "quirks"));
    enum op_emu_action action;
    while (op_json_next(&it)) {
        if (op_emu_quirk_named(it.name, &action))
            op_emu_quirks_set(&b->quirks, action, op_json_int(it.value, 0));
    }
}

static void load_line(struct op_emu_store *store, struct op_json line)
{
    struct op_emu_batch batch;
    OP_CLEANUP(op_buf_release) struct op_buf meta = {0};
    read_batch(line, &batch);
    struct op_str provider = op_json_str(op_json_get(line, "provider"));
    struct op_str model = op_json_str(op_json_get(line, "model"));
    OP_CLEANUP(op_mem_freep)
    char *name = op_mem_strndup(provider.ptr ? provider.ptr : "", provider.len);
    OP_CLEANUP(op_mem_freep)
    char *model_name = op_mem_strndup(model.ptr ? model.ptr : "", model.len);
    op_buf_init(&meta, STORE_LINE_MAX);
    op_json_write(&meta, op_json_get(line, "meta"));
    batch.provider = name;
    batch.model = model_name;
    batch.meta = meta.len ? meta.ptr : "null";
    int64_t times[] = {batch.created_us, batch.cancel_us, batch.ended_us};
    for (size_t i = 0; i < OP_COUNT(times); i++) {
        if (times[i] > store->last_us)
            store->last_us = times[i];
    }
    if (batch.seq >= store->next_seq)
        store->next_seq = batch.seq + 1;
    struct row *row = find_row(store, op_str_from(batch.id));
    if (row) {
        batch.provider = row->provider;
        batch.model = row->model;
        batch.meta = row->meta;
        row->batch = batch;
    } else {
        add_row(store, &batch);
    }
}

static enum op_rc load(struct op_emu_store *store, struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    const char *path = op_emu_journal_path(store->journal);
    enum op_rc rc = op_lines_open(store->env, path, 0, STORE_LINE_MAX, &lines, err);
    struct op_line line;
    struct op_json value;
    while (!rc && !(rc = op_lines_next(lines, &line, err))) {
        if (line.oversize || line.len == 0)
            continue;
        if (op_json_parse(parser, line.ptr, line.len, true, &value, err))
            return op_err_wrap(err, "%s:%lld is damaged", path, (long long)line.number);
        load_line(store, value);
    }
    return rc == OP_NOTFOUND ? OP_OK : rc;
}

/* ---- files ---- */

char *op_emu_store_path(const struct op_emu_store *store, const struct op_emu_batch *batch,
                        const char *name)
{
    return op_mem_printf("%s/%s.%s", store->dir, batch->id, name);
}

static void remove_file(const struct op_emu_store *store, const struct op_emu_batch *batch,
                        const char *name)
{
    OP_CLEANUP(op_mem_freep) char *path = op_emu_store_path(store, batch, name);
    /* A file that stays behind costs room and nothing else. */
    (void)store->env->ops->unlink(store->env, path);
}

/* What a kill left behind, once everything is billed: uploads that never became batches, results
 * that were not finished, side files that are on the bill. */
static void remove_leftovers(struct op_emu_store *store)
{
    static const char *const ends[] = {".tmp", ".accepted", ".entries"};
    DIR *dir = opendir(store->dir);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        struct op_str name = op_str_from(entry->d_name);
        bool left = op_str_starts(name, "upload-");
        for (size_t i = 0; i < OP_COUNT(ends) && !left; i++)
            left = op_str_ends(name, ends[i]);
        if (!left)
            continue;
        OP_CLEANUP(op_mem_freep) char *path = op_io_join(store->dir, entry->d_name);
        (void)store->env->ops->unlink(store->env, path);
    }
    if (dir)
        closedir(dir);
}

/* Copies a side file to the bill, from the line on that the bill ends with, and drops it. */
static enum op_rc post(struct op_emu_store *store, const struct op_emu_batch *batch,
                       const char *name, int64_t skip, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *side = op_emu_store_path(store, batch, name);
    bool accepted = op_str_is(op_str_from(name), "accepted");
    bool forgotten = accepted && op_emu_quirk(&batch->quirks, OP_EMU_VANISH);
    struct op_emu_posting posting = {
        .time_us = accepted ? batch->created_us : batch->ended_us,
        .provider = batch->provider,
        .batch = batch->id,
        .side = side,
        .skip = skip,
        .fault = forgotten ? op_emu_action_name(OP_EMU_VANISH) : NULL,
    };
    enum op_rc rc = op_emu_bill_post(store->bill, &posting, err);
    if (rc)
        return op_err_wrap(err,
                           "cannot bill batch %s (if bill.jsonl was removed, use a fresh"
                           " folder)",
                           batch->id);
    remove_file(store, batch, name);
    return OP_OK;
}

static enum op_rc mark_settled(struct op_emu_store *store, struct row *row, struct op_err *err)
{
    struct op_emu_batch next = row->batch;
    next.settled = true;
    enum op_rc rc = log_batch(store, &next, err);
    if (!rc)
        row->batch = next;
    return rc;
}

/* Finishes what a kill interrupted after a commit point. */
static enum op_rc recover(struct op_emu_store *store, struct op_err *err)
{
    for (size_t i = 0; i < store->count; i++) {
        struct row *row = store->rows[i];
        int64_t accepted, ended;
        if (row->batch.deleted)
            continue;
        op_emu_bill_counts(store->bill, op_str_from(row->batch.id), &accepted, &ended);
        enum op_rc rc = OP_OK;
        if (accepted < row->batch.total)
            rc = post(store, &row->batch, "accepted", accepted, err);
        row->billed = !rc;
        if (!rc && row->batch.ended_us && !row->batch.settled) {
            /* With all of them billed, the side file may be gone already. */
            if (ended < row->batch.total)
                rc = post(store, &row->batch, "entries", ended, err);
            if (!rc)
                rc = mark_settled(store, row, err);
        }
        if (rc)
            return rc;
    }
    return OP_OK;
}

/* ---- lifecycle ---- */

static enum op_rc store_start(struct op_emu_store *store, const char *dir, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, "store.jsonl");
    enum op_rc rc = op_io_mkdirs(store->env, store->dir, err);
    if (!rc)
        rc = op_emu_journal_open(store->env, path, &store->journal, err);
    if (!rc)
        rc = op_emu_bill_open(store->env, dir, &store->bill, err);
    if (rc)
        return rc;
    rc = load(store, err);
    if (!rc)
        rc = recover(store, err);
    if (!rc)
        remove_leftovers(store);
    if (op_emu_bill_last_us(store->bill) > store->last_us)
        store->last_us = op_emu_bill_last_us(store->bill);
    return rc;
}

enum op_rc op_emu_store_open(struct op_env *env, const char *dir, uint64_t seed,
                             struct op_emu_store **ret, struct op_err *err)
{
    struct op_emu_store *store = op_mem_alloc(sizeof(*store));
    store->env = env;
    store->seed = seed;
    store->dir = op_io_join(dir, "batches");
    store->next_seq = 1;
    pthread_mutex_init(&store->lock, NULL);
    enum op_rc rc = store_start(store, dir, err);
    if (rc) {
        op_emu_store_close(store);
        return rc;
    }
    *ret = store;
    return OP_OK;
}

void op_emu_store_close(struct op_emu_store *store)
{
    if (!store)
        return;
    op_emu_journal_close(store->journal);
    op_emu_bill_close(store->bill);
    for (size_t i = 0; i < store->count; i++) {
        op_mem_free(store->rows[i]->provider);
        op_mem_free(store->rows[i]->model);
        op_mem_free(store->rows[i]->meta);
        op_mem_free(store->rows[i]);
    }
    op_mem_free(store->rows);
    op_map_release(&store->by_id);
    pthread_mutex_destroy(&store->lock);
    op_mem_free(store->dir);
    op_mem_free(store);
}

struct op_emu_bill *op_emu_store_bill(struct op_emu_store *store)
{
    return store->bill;
}

int64_t op_emu_store_last_us(const struct op_emu_store *store)
{
    return store->last_us;
}

uint64_t op_emu_store_seed(const struct op_emu_store *store)
{
    return store->seed;
}

int64_t op_emu_store_next_seq(struct op_emu_store *store)
{
    return atomic_fetch_add(&store->next_seq, 1);
}

void op_emu_store_id_of(const struct op_emu_store *store, const char *prefix,
                        const char *alphabet, size_t count, int64_t a, int64_t b,
                        char ret[OP_EMU_ID_MAX])
{
    const uint64_t words[] = {store->seed, (uint64_t)a, (uint64_t)b};
    uint8_t digest[OP_SHA256_LEN];
    size_t letters = strlen(alphabet), len = strlen(prefix);
    op_sha256(words, sizeof(words), digest);
    memcpy(ret, prefix, len);
    /* Beyond the digest's bytes their sums with a neighbour go on: ids of 36 characters exist. */
    for (size_t i = 0; i < count; i++) {
        uint8_t byte = digest[i % OP_SHA256_LEN];
        if (i >= OP_SHA256_LEN)
            byte = (uint8_t)(byte + digest[(i + 1) % OP_SHA256_LEN]);
        ret[len + i] = alphabet[byte % letters];
    }
    ret[len + count] = '\0';
}

void op_emu_store_id(const struct op_emu_store *store, const char *prefix, int64_t a, int64_t b,
                     char ret[OP_EMU_ID_MAX])
{
    op_emu_store_id_of(store, prefix,
                       "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", 22, a,
                       b, ret);
}

/* ---- uploads ---- */

enum op_rc op_emu_upload_open(struct op_emu_store *store, struct op_emu_upload *upload,
                              struct op_err *err)
{
    int64_t number = atomic_fetch_add(&store->next_upload, 1);
    *upload = (struct op_emu_upload){.store = store};
    upload->requests.fd = upload->entries.fd = -1;
    OP_CLEANUP(op_mem_freep)
    char *requests = op_mem_printf("%s/upload-%lld.requests", store->dir, (long long)number);
    OP_CLEANUP(op_mem_freep)
    char *entries = op_mem_printf("%s/upload-%lld.accepted", store->dir, (long long)number);
    enum op_rc rc = op_writer_open(&upload->requests, store->env, requests, false, err);
    return rc ? rc : op_writer_open(&upload->entries, store->env, entries, false, err);
}

enum op_rc op_emu_upload_add(struct op_emu_upload *upload, struct op_str request,
                             const struct op_emu_entry *entry, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf line = {0};
    op_buf_init(&line, STORE_LINE_MAX);
    op_emu_bill_write(&line, entry);
    enum op_rc rc = op_buf_finish(&line, "a bill entry", err);
    if (!rc)
        rc = op_writer_add(&upload->requests, request.ptr, request.len, err);
    if (!rc)
        rc = op_writer_add(&upload->requests, "\n", 1, err);
    if (!rc)
        rc = op_writer_add(&upload->entries, line.ptr, line.len, err);
    upload->count += !rc;
    return rc;
}

void op_emu_upload_abort(struct op_emu_upload *upload)
{
    if (!upload->store)
        return;
    op_writer_abort(&upload->requests);
    op_writer_abort(&upload->entries);
}

static enum op_rc place_file(struct op_emu_store *store, struct op_writer *writer,
                             const struct op_emu_batch *batch, const char *name,
                             struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *from = op_mem_strdup(writer->path);
    OP_CLEANUP(op_mem_freep) char *path = op_emu_store_path(store, batch, name);
    enum op_rc rc = op_writer_close(writer, false, NULL, err);
    if (rc)
        return rc;
    int failed = store->env->ops->rename(store->env, from, path, true);
    if (!failed)
        return OP_OK;
    errno = -failed;
    return op_fail_errno(err, OP_IO, "cannot rename %s to %s", from, path);
}

enum op_rc op_emu_store_commit(struct op_emu_store *store, struct op_emu_upload *upload,
                               struct op_emu_batch *batch, struct op_err *err)
{
    batch->total = upload->count;
    enum op_rc rc = place_file(store, &upload->requests, batch, "requests", err);
    if (!rc)
        rc = place_file(store, &upload->entries, batch, "accepted", err);
    if (rc)
        return rc;
    struct row *row = NULL;
    pthread_mutex_lock(&store->lock);
    rc = log_batch(store, batch, err); /* the commit point */
    if (!rc) {
        row = add_row(store, batch);
        batch->provider = row->provider;
        batch->model = row->model;
        batch->meta = row->meta;
    }
    pthread_mutex_unlock(&store->lock);
    if (!rc)
        rc = post(store, batch, "accepted", 0, err);
    if (rc)
        return rc;
    pthread_mutex_lock(&store->lock);
    row->billed = true;
    pthread_mutex_unlock(&store->lock);
    return OP_OK;
}

/* ---- reading and changing ---- */

bool op_emu_store_get(struct op_emu_store *store, struct op_str id, struct op_emu_batch *ret)
{
    pthread_mutex_lock(&store->lock);
    const struct row *row = find_row(store, id);
    bool found = row && row->billed && !row->batch.deleted;
    if (found)
        *ret = row->batch;
    pthread_mutex_unlock(&store->lock);
    return found;
}

enum op_rc op_emu_store_change(struct op_emu_store *store, struct op_str id,
                               op_emu_change_fn fn, void *arg, struct op_emu_batch *ret,
                               struct op_err *err)
{
    enum op_rc rc = OP_OK;
    pthread_mutex_lock(&store->lock);
    struct row *row = find_row(store, id);
    if (!row || row->batch.deleted) {
        rc = op_fail(err, OP_NOTFOUND, "no batch " OP_STR_FMT, OP_STR_ARG(id));
    } else {
        struct op_emu_batch next = row->batch;
        if (fn(arg, &next))
            rc = log_batch(store, &next, err);
        else
            next = row->batch;
        if (!rc) {
            row->batch = next;
            *ret = next;
        }
    }
    pthread_mutex_unlock(&store->lock);
    return rc;
}

int64_t op_emu_store_look(struct op_emu_store *store, struct op_str id, bool after_end)
{
    pthread_mutex_lock(&store->lock);
    struct row *row = find_row(store, id);
    int64_t looks = row ? ++row->looks[after_end] : 0;
    pthread_mutex_unlock(&store->lock);
    return looks;
}

static int newer_first(const void *a, const void *b)
{
    const struct op_emu_batch *x = &(*(struct row *const *)a)->batch;
    const struct op_emu_batch *y = &(*(struct row *const *)b)->batch;
    if (x->created_us != y->created_us)
        return x->created_us > y->created_us ? -1 : 1;
    return x->seq > y->seq ? -1 : x->seq < y->seq;
}

static size_t collect(const struct op_emu_store *store, const struct op_emu_page *page,
                      struct row **ret)
{
    size_t count = 0;
    for (size_t i = store->count; i-- > 0;) {
        const struct op_emu_batch *batch = &store->rows[i]->batch;
        if (store->rows[i]->billed && !batch->deleted &&
            op_str_is(op_str_from(batch->provider), page->provider) &&
            page->accept(page->arg, batch))
            ret[count++] = store->rows[i];
    }
    /* Newest first already, unless large ones took long to be read. */
    for (size_t i = 1; i < count; i++) {
        if (newer_first(&ret[i - 1], &ret[i]) > 0) {
            qsort(ret, count, sizeof(ret[0]), newer_first);
            break;
        }
    }
    return count;
}

/* Where a page begins and ends in a list of count. */
static bool cut_page(struct row *const *rows, size_t count, const struct op_emu_page *page,
                     size_t *ret_from, size_t *ret_to)
{
    struct op_str mark = page->after_id.ptr ? page->after_id : page->before_id;
    size_t at = 0, from = 0, to = count;
    while (mark.ptr && at < count && !op_str_is(mark, rows[at]->batch.id))
        at++;
    if (mark.ptr && at == count)
        return false;
    if (page->after_id.ptr) {
        int64_t start = (int64_t)at + 1 + page->shift;
        from = start < 0 ? 0 : start > (int64_t)count ? count : (size_t)start;
    } else if (mark.ptr) {
        to = at;
        from = to > page->limit ? to - page->limit : 0;
    }
    if (to - from > page->limit)
        to = from + page->limit;
    *ret_from = from;
    *ret_to = to;
    return true;
}

enum op_rc op_emu_store_page(struct op_emu_store *store, const struct op_emu_page *page,
                             struct op_emu_batch **ret_batches, size_t *ret_count,
                             bool *ret_more)
{
    size_t from = 0, to = 0;
    pthread_mutex_lock(&store->lock);
    OP_CLEANUP(op_mem_freep)
    struct row **rows = op_mem_array(store->count + 1, sizeof(struct row *));
    size_t count = collect(store, page, rows);
    bool found = cut_page(rows, count, page, &from, &to);
    if (found) {
        *ret_batches = op_mem_array(to - from + 1, sizeof(**ret_batches));
        for (size_t i = from; i < to; i++)
            (*ret_batches)[i - from] = rows[i]->batch;
        *ret_count = to - from;
        *ret_more = page->before_id.ptr && !page->after_id.ptr ? from > 0 : to < count;
    }
    pthread_mutex_unlock(&store->lock);
    return found ? OP_OK : OP_NOTFOUND;
}

bool op_emu_store_due(struct op_emu_store *store, struct op_emu_batch *ret)
{
    const struct op_emu_batch *first = NULL;
    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < store->count; i++) {
        const struct op_emu_batch *batch = &store->rows[i]->batch;
        if (!store->rows[i]->billed || batch->deleted || batch->ended_us)
            continue;
        if (!first || batch->due_us < first->due_us)
            first = batch;
    }
    if (first)
        *ret = *first;
    pthread_mutex_unlock(&store->lock);
    return first != NULL;
}

int64_t op_emu_store_queued(struct op_emu_store *store)
{
    int64_t queued = 0;
    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < store->count; i++) {
        if (!store->rows[i]->batch.deleted && !store->rows[i]->batch.settled)
            queued += store->rows[i]->batch.total;
    }
    pthread_mutex_unlock(&store->lock);
    return queued;
}

int64_t op_emu_store_enqueued(struct op_emu_store *store, const char *provider,
                              struct op_str model)
{
    int64_t tokens = 0;
    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < store->count; i++) {
        const struct op_emu_batch *batch = &store->rows[i]->batch;
        if (!batch->deleted && !batch->settled && strcmp(batch->provider, provider) == 0 &&
            op_str_is(model, batch->model))
            tokens += batch->tokens;
    }
    pthread_mutex_unlock(&store->lock);
    return tokens;
}

int64_t op_emu_store_count(struct op_emu_store *store, const char *provider, int64_t since_us,
                           bool open)
{
    int64_t count = 0;
    pthread_mutex_lock(&store->lock);
    for (size_t i = store->count; i-- > 0;) {
        const struct op_emu_batch *batch = &store->rows[i]->batch;
        if (!batch->deleted && batch->created_us > since_us && !(open && batch->settled) &&
            strcmp(batch->provider, provider) == 0)
            count++;
    }
    pthread_mutex_unlock(&store->lock);
    return count;
}

static bool take_end(void *arg, struct op_emu_batch *batch)
{
    const struct op_emu_batch *ended = arg;
    batch->ended_us = ended->ended_us;
    memcpy(batch->done, ended->done, sizeof(batch->done));
    batch->usage = ended->usage;
    batch->thinking = ended->thinking;
    return true;
}

static bool take_settled(void *arg, struct op_emu_batch *batch)
{
    (void)arg;
    batch->settled = true;
    return true;
}

enum op_rc op_emu_store_settle(struct op_emu_store *store, const struct op_emu_batch *batch,
                               struct op_err *err)
{
    struct op_emu_batch now = *batch, given = *batch;
    struct op_str id = op_str_from(batch->id);
    /* The commit point of the results: after it a kill leads to recover(), before it the batch is
     * processed again and nothing of it is on the bill. */
    enum op_rc rc = op_emu_store_change(store, id, take_end, &given, &now, err);
    if (!rc)
        rc = post(store, &now, "entries", 0, err);
    return rc ? rc : op_emu_store_change(store, id, take_settled, NULL, &now, err);
}

static bool take_deleted(void *arg, struct op_emu_batch *batch)
{
    (void)arg;
    batch->deleted = true;
    return true;
}

enum op_rc op_emu_store_delete(struct op_emu_store *store, struct op_str id, struct op_err *err)
{
    struct op_emu_batch batch;
    enum op_rc rc = op_emu_store_change(store, id, take_deleted, NULL, &batch, err);
    if (rc)
        return rc;
    remove_file(store, &batch, "requests");
    remove_file(store, &batch, "results");
    remove_file(store, &batch, "errors");
    return OP_OK;
}
