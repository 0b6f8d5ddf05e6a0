/* SPDX-License-Identifier: MIT */
#include "engine/digest.h"

#include <stdio.h>

#include "base/json.h"
#include "base/json_out.h"
#include "base/map.h"
#include "base/mem.h"
#include "core/raw_key.h"
#include "engine/pack.h"

#define TEXT_MAX      (64 * 1024 * 1024)
#define VIOLATION_MAX (64 * 1024)

/* Keys that are read from the ledger at once: lines come in the order of their requests. */
#define KEYS_AHEAD    1024
#define KEY_BYTES     (1024 * 1024)
#define KEY_BYTES_MAX (KEY_BYTES + 128 * (size_t)OP_SOURCE_MAX_RECORD)

struct op_digest {
    struct op_work *work;
    struct op_batch batch;
    const struct op_lane *lane; /* of the batch */
    bool owns_batch;
    const struct op_price_list *prices; /* the batch's */
    const struct op_member *members;
    size_t member_count;
    uint8_t *seen; /* by member: has a result in this chunk */
    struct op_sqlenv *sql;
    struct op_json_parser *parser;
    struct op_answer_checker *checker;
    struct op_buf raw; /* the line that is read */
    struct op_buf scratch, key, line, list, warnings, problems;
    int64_t record_id; /* of the context now set, for record_data */
    /* keys of the records of members[keys_from, keys_from + keys_count) */
    struct op_buf keys;
    size_t *key_ends, keys_from, keys_count;
    struct op_map models; /* named by raw lines' results */
};

static enum op_rc fetch_record(void *arg, struct op_buf *ret, struct op_err *err)
{
    struct op_digest *d = arg;
    return op_ledger_record_data(d->work->engine->ledger, d->record_id, NULL, ret, err);
}

enum op_rc op_digest_open(struct op_work *work, const struct op_batch *batch,
                          const struct op_member *members, size_t member_count,
                          struct op_digest **ret, struct op_err *err)
{
    const struct op_price_list *prices = NULL;
    enum op_rc rc = op_work_columns(work, err);
    if (!rc)
        rc = op_batch_prices(work->engine, batch, &prices, err);
    if (rc)
        return rc;
    struct op_digest *d = op_mem_alloc(sizeof(*d));
    d->work = work;
    d->batch = *batch;
    d->lane = op_batch_lane(work, batch);
    d->prices = prices;
    d->members = members;
    d->member_count = member_count;
    d->seen = op_mem_alloc(member_count + 1);
    d->parser = op_json_parser_new();
    d->checker = op_answer_checker_new(work->plan);
    op_buf_init(&d->raw, OP_RESULT_LINE_MAX);
    op_buf_init(&d->scratch, TEXT_MAX);
    op_buf_init(&d->key, OP_SOURCE_MAX_RECORD);
    op_buf_init(&d->keys, KEY_BYTES_MAX);
    d->key_ends = op_mem_array(KEYS_AHEAD, sizeof(*d->key_ends));
    op_buf_init(&d->line, OP_RESULT_LINE_MAX);
    op_buf_init(&d->list, VIOLATION_MAX);
    op_buf_init(&d->warnings, VIOLATION_MAX);
    op_buf_init(&d->problems, VIOLATION_MAX);
    rc = op_sqlenv_open(work->plan, work->inputs_db, &d->sql, err);
    if (rc) {
        op_digest_close(d);
        return rc;
    }
    *ret = d;
    return OP_OK;
}

enum op_rc op_digest_take_batch(struct op_digest *d, struct op_batch *batch, struct op_err *err)
{
    enum op_rc rc = op_batch_prices(d->work->engine, batch, &d->prices, err);
    if (d->owns_batch)
        op_batch_release(&d->batch);
    d->batch = *batch;
    d->lane = op_batch_lane(d->work, batch);
    d->owns_batch = true;
    *batch = (struct op_batch){0};
    return rc;
}

void op_digest_close(struct op_digest *d)
{
    if (!d)
        return;
    if (d->owns_batch)
        op_batch_release(&d->batch);
    op_sqlenv_close(d->sql);
    op_answer_checker_free(d->checker);
    op_json_parser_free(d->parser);
    op_buf_release(&d->raw);
    op_buf_release(&d->scratch);
    op_buf_release(&d->key);
    op_buf_release(&d->keys);
    op_mem_free(d->key_ends);
    op_buf_release(&d->line);
    op_buf_release(&d->list);
    op_buf_release(&d->warnings);
    op_buf_release(&d->problems);
    op_map_release(&d->models);
    op_mem_free(d->seen);
    op_mem_free(d);
}

struct op_chunk *op_chunk_new(const struct op_work *work)
{
    size_t outputs = work->def.output_count;
    struct op_chunk *chunk = op_mem_alloc(sizeof(*chunk));
    chunk->entries = op_mem_array(OP_CHUNK_ENTRIES, sizeof(*chunk->entries));
    chunk->frames = op_frames_new(work);
    chunk->rows = op_mem_array(outputs + 1, sizeof(*chunk->rows));
    chunk->frame_at = op_mem_array((OP_CHUNK_ENTRIES + 1) * (outputs + 1), sizeof(size_t));
    chunk->row_at = op_mem_array((OP_CHUNK_ENTRIES + 1) * (outputs + 1), sizeof(int64_t));
    op_buf_init(&chunk->texts, TEXT_MAX);
    return chunk;
}

void op_chunk_clear(const struct op_work *work, struct op_chunk *chunk)
{
    chunk->count = 0;
    chunk->last = false;
    op_buf_clear(&chunk->texts);
    for (size_t i = 0; i < work->def.output_count; i++) {
        op_buf_clear(&chunk->frames[i]);
        chunk->rows[i] = 0;
    }
}

void op_chunk_free(const struct op_work *work, struct op_chunk *chunk)
{
    if (!chunk)
        return;
    op_frames_free(work, chunk->frames);
    op_mem_free(chunk->rows);
    op_mem_free(chunk->frame_at);
    op_mem_free(chunk->row_at);
    op_mem_free(chunk->entries);
    op_buf_release(&chunk->texts);
    op_mem_free(chunk);
}

static void keep_text(struct op_chunk *chunk, struct op_str text, size_t *ret_at,
                      size_t *ret_len)
{
    *ret_at = chunk->texts.len;
    op_buf_add_str(&chunk->texts, text);
    *ret_len = chunk->texts.len - *ret_at;
}

static const struct op_member *find_member(struct op_digest *d, int64_t request_id,
                                           size_t *ret_at)
{
    size_t lo = 0, hi = d->member_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (d->members[mid].request_id < request_id)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == d->member_count || d->members[lo].request_id != request_id)
        return NULL;
    *ret_at = lo;
    return &d->members[lo];
}

/* In raw mode the user gets the line back under the id it came with. */
static struct op_str with_own_id(struct op_digest *d, struct op_str line, struct op_str ours,
                                 struct op_str key)
{
    const char *at = ours.len ? memmem(line.ptr, line.len, ours.ptr, ours.len) : NULL;
    if (!at)
        return line;
    size_t before = (size_t)(at - line.ptr);
    op_buf_clear(&d->line);
    op_buf_add(&d->line, line.ptr, before);
    struct op_str id = op_raw_key_id(key);
    op_json_escape(&d->line, id.ptr, id.len);
    op_buf_add(&d->line, at + ours.len, line.len - before - ours.len);
    return op_buf_str(&d->line);
}

/* Lines that came ready name a model each: what the provider says it was, is what it cost. */
static const char *model_of(struct op_digest *d, const struct op_result *result,
                            const struct op_entry *entry)
{
    bool told = d->work->def.requests[entry->member.name].raw && result->model.len &&
                result->model.len < OP_MODEL_MAX;
    if (!told)
        return d->lane->provider->one_model ? d->batch.model
                                            : d->work->plan->requests[entry->member.name].model;
    int64_t at = 0;
    (void)op_map_add(&d->models, result->model, (int64_t)d->models.count, &at);
    return d->models.entries[at].key;
}

static void price(struct op_digest *d, const struct op_result *result, struct op_entry *entry)
{
    entry->model = model_of(d, result, entry);
    if (!result->has_usage)
        return;
    entry->usage = result->usage;
    const struct op_price *row = op_price_find(d->prices, d->lane->provider->name, entry->model,
                                               op_usage_prompt(&result->usage));
    if (row)
        entry->microusd =
            op_price_cost(row, op_batch_pays_batch_price(&d->batch), &result->usage);
    entry->priced = row != NULL;
}

static void set_context(struct op_digest *d, const struct op_entry *entry,
                        const struct op_result *result, struct op_str line,
                        struct op_str answer, struct op_str problem)
{
    const struct op_work *work = d->work;
    d->record_id = entry->member.record_id;
    struct op_context context = {
        .job = &work->job,
        .batch = &d->batch,
        .lane = d->lane,
        .request = entry->member.name,
        .request_id = entry->member.request_id,
        .buy_no = entry->member.buy_no,
        .key = op_buf_str(&d->key),
        .record_data = fetch_record,
        .record_arg = d,
        .result = result,
        .microusd = entry->microusd,
        .line = line,
        .answer = answer,
        .problem = problem,
    };
    op_sqlenv_set(d->sql, &context);
}

static enum op_rc load_keys(struct op_digest *d, size_t from, struct op_err *err)
{
    size_t left = d->member_count - from;
    op_buf_clear(&d->keys);
    d->keys_count = 0;
    d->keys_from = from;
    return op_ledger_member_keys(d->work->engine->ledger, d->members + from,
                                 left < KEYS_AHEAD ? left : KEYS_AHEAD, KEY_BYTES, &d->keys,
                                 d->key_ends, &d->keys_count, err);
}

/* at: the member's place, when the others will be asked for too. */
static enum op_rc load_key(struct op_digest *d, int64_t record_id, size_t at,
                           struct op_err *err)
{
    op_buf_clear(&d->key);
    if (at == OP_NO_MEMBER)
        return op_ledger_record_data(d->work->engine->ledger, record_id, &d->key, NULL, err);
    if (at < d->keys_from || at >= d->keys_from + d->keys_count) {
        enum op_rc rc = load_keys(d, at, err);
        if (rc)
            return rc;
    }
    size_t i = at - d->keys_from, begin = i ? d->key_ends[i - 1] : 0;
    op_buf_add(&d->key, d->keys.ptr + begin, d->key_ends[i] - begin);
    return op_buf_finish(&d->key, "the key of a record", err);
}

/* A good answer's rows; one that breaks a rule leaves the list of violations. */
static enum op_rc check_answer(struct op_digest *d, struct op_entry *entry,
                               const struct op_result *result, struct op_str line,
                               struct op_chunk *chunk, struct op_err *err)
{
    struct op_str answer;
    op_buf_clear(&d->list);
    op_buf_clear(&d->warnings);
    struct op_str text = result->text.ptr ? result->text : OP_STR("");
    size_t violations = op_answer_check(d->checker, (size_t)entry->member.name, text, &answer,
                                        &entry->mended, &d->list);
    entry->by_schema = violations > 0;
    enum op_rc rc = OP_OK;
    if (!violations) {
        size_t warned = 0;
        set_context(d, entry, result, line, answer, OP_STR(""));
        rc = op_sqlenv_check(d->sql, &d->list, &violations, &d->warnings, &warned, err);
    }
    if (rc)
        return rc;
    entry->valid = violations == 0;
    keep_text(chunk, op_buf_str(&d->warnings), &entry->warn_at, &entry->warn_len);
    if (!entry->valid) {
        keep_text(chunk, op_buf_str(&d->list), &entry->text_at, &entry->text_len);
        return OP_OK;
    }
    op_buf_clear(&d->problems);
    rc = op_sqlenv_rows(d->sql, OP_ON_ANSWER, chunk->frames, chunk->rows, &d->problems, err);
    if (!rc && d->problems.len) {
        if (entry->warn_len == 0)
            entry->warn_at = chunk->texts.len;
        op_buf_add_str(&chunk->texts, op_buf_str(&d->problems));
        entry->warn_len = chunk->texts.len - entry->warn_at;
    }
    return rc;
}

static void keep_problem(struct op_chunk *chunk, struct op_entry *entry,
                         const struct op_result *result)
{
    entry->text_at = chunk->texts.len;
    switch (result->class_) {
    case OP_RESULT_ERRORED:
        op_buf_addf(&chunk->texts, OP_STR_FMT ": " OP_STR_FMT, OP_STR_ARG(result->error_type),
                    OP_STR_ARG(result->error_message));
        break;
    case OP_RESULT_REFUSED:
        op_buf_addf(&chunk->texts, "the model refused%s" OP_STR_FMT,
                    result->error_message.len ? ": " : "", OP_STR_ARG(result->error_message));
        break;
    case OP_RESULT_TRUNCATED:
        op_buf_addz(&chunk->texts, "the answer was cut at max_tokens");
        break;
    case OP_RESULT_EXPIRED:
        op_buf_addz(&chunk->texts, "not processed within the provider's window");
        break;
    case OP_RESULT_CANCELED:
        if (result->disp == OP_DISP_QUOTA) /* our own words */
            op_buf_add_str(&chunk->texts, result->error_message);
        else
            op_buf_addz(&chunk->texts, "canceled at the provider");
        break;
    case OP_RESULT_SUCCEEDED:
    case OP_RESULT_ABSENT:
    case OP_RESULT_CLASS_COUNT:
    default:
        break;
    }
    entry->text_len = chunk->texts.len - entry->text_at;
}

static void quarantine(struct op_chunk *chunk, struct op_entry *entry, const char *why)
{
    entry->kind = OP_ENTRY_QUARANTINE;
    keep_text(chunk, op_str_from(why), &entry->text_at, &entry->text_len);
}

static bool is_raw(const struct op_digest *d, const struct op_entry *entry)
{
    return d->work->def.requests[entry->member.name].raw;
}

static enum op_rc digest_member(struct op_digest *d, struct op_entry *entry,
                                const struct op_result *result, struct op_str line,
                                struct op_chunk *chunk, struct op_err *err)
{
    entry->class_ = result->class_;
    entry->disp = result->disp;
    price(d, result, entry);
    if (!entry->member
             .record_id) { /* the stub that warmed the cache: nobody reads its answer */
        entry->valid = true;
        return OP_OK;
    }
    if (result->class_ != OP_RESULT_SUCCEEDED) {
        keep_problem(chunk, entry, result);
        return OP_OK;
    }
    enum op_rc rc = load_key(d, entry->member.record_id, entry->member_at, err);
    if (rc)
        return rc;
    if (is_raw(d, entry))
        line = with_own_id(d, line, result->custom_id, op_buf_str(&d->key));
    return check_answer(d, entry, result, line, chunk, err);
}

/* Parsed and found to be of this batch; else *ret_why says what is wrong with it. */
static bool decode_line(struct op_digest *d, const struct op_line *raw,
                        struct op_result *ret_result, int64_t *ret_id, struct op_err *ret_why)
{
    struct op_json root;
    op_buf_clear(&d->scratch);
    *ret_result = (struct op_result){0};
    if (op_json_parse(d->parser, raw->ptr, raw->len, true, &root, ret_why) ||
        op_result_read(d->lane->provider, root, &d->scratch, ret_result, ret_why))
        return false;
    if (op_custom_id_parse(ret_result->custom_id, op_ledger_tag(d->work->engine->ledger),
                           d->batch.nonce, ret_id) &&
        *ret_id >= d->batch.request_lo && *ret_id <= d->batch.request_hi)
        return true;
    op_err_set(ret_why, OP_INVAL, "its custom_id is not one of this batch");
    return false;
}

static bool is_late(enum op_result_class class_)
{
    return class_ == OP_RESULT_ERRORED || class_ == OP_RESULT_EXPIRED ||
           class_ == OP_RESULT_CANCELED;
}

static enum op_rc digest_line(struct op_digest *d, const struct op_line *raw,
                              const uint8_t *seen, struct op_entry *entry,
                              struct op_chunk *chunk, struct op_err *err)
{
    entry->part = chunk->part;
    entry->offset = raw->offset;
    entry->len = (int64_t)raw->len;
    if (raw->oversize) {
        quarantine(chunk, entry, "the line is too long to be read; it is kept as it came");
        return OP_OK;
    }
    struct op_err bad = OP_ERR_INIT;
    struct op_result result;
    int64_t id = 0;
    if (!decode_line(d, raw, &result, &id, &bad)) {
        quarantine(chunk, entry, bad.msg);
        return OP_OK;
    }
    size_t at = 0;
    const struct op_member *member = find_member(d, id, &at);
    entry->class_ = result.class_;
    if (!member || d->seen[at] || (seen && seen[at])) {
        entry->kind = OP_ENTRY_AGAIN;
        entry->member.request_id = id;
        return OP_OK;
    }
    entry->member = *member;
    entry->member_at = at;
    if (is_late(result.class_)) {
        entry->kind = OP_ENTRY_LATE;
        return OP_OK;
    }
    d->seen[at] = 1;
    entry->kind = OP_ENTRY_RESULT;
    return digest_member(d, entry, &result, (struct op_str){raw->ptr, raw->len}, chunk, err);
}

static void mark_frames(const struct op_work *work, struct op_chunk *chunk)
{
    size_t outputs = work->def.output_count;
    for (size_t o = 0; o < outputs; o++) {
        chunk->frame_at[chunk->count * outputs + o] = chunk->frames[o].len;
        chunk->row_at[chunk->count * outputs + o] = chunk->rows[o];
    }
}

/* The flags of a chunk are of no use to another one. */
static void forget_seen(struct op_digest *d, const struct op_chunk *chunk)
{
    for (size_t i = 0; i < chunk->count; i++) {
        if (chunk->entries[i].member_at != OP_NO_MEMBER)
            d->seen[chunk->entries[i].member_at] = 0;
    }
}

enum op_rc op_digest_chunk(struct op_digest *d, const struct op_ordered *lines,
                           const uint8_t *seen, struct op_chunk *chunk, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    mark_frames(d->work, chunk);
    for (int64_t at = chunk->from; !rc && at < chunk->end; at++) {
        struct op_line line;
        struct op_entry *entry = &chunk->entries[chunk->count];
        *entry = (struct op_entry){.member_at = OP_NO_MEMBER};
        rc = op_ordered_read(lines, at, &d->raw, &line, err);
        if (!rc)
            rc = digest_line(d, &line, seen, entry, chunk, err);
        chunk->count++;
        mark_frames(d->work, chunk);
    }
    forget_seen(d, chunk);
    return rc;
}

bool op_digest_late_class(struct op_digest *d, const struct op_line *line, int64_t *ret_request,
                          enum op_result_class *ret)
{
    struct op_err bad = OP_ERR_INIT;
    struct op_result result;
    if (line->oversize || !decode_line(d, line, &result, ret_request, &bad) ||
        !is_late(result.class_))
        return false;
    *ret = result.class_;
    return true;
}

enum op_rc op_digest_late(struct op_digest *d, const struct op_member *member, int64_t part,
                          const struct op_line *line, struct op_chunk *chunk,
                          struct op_err *err)
{
    struct op_entry *entry = &chunk->entries[chunk->count];
    *entry = (struct op_entry){.kind = OP_ENTRY_RESULT,
                               .member = *member,
                               .member_at = OP_NO_MEMBER,
                               .part = part,
                               .offset = line->offset,
                               .len = (int64_t)line->len};
    struct op_result result;
    int64_t id = 0;
    struct op_err bad = OP_ERR_INIT;
    mark_frames(d->work, chunk);
    if (!decode_line(d, line, &result, &id, &bad) || id != member->request_id)
        return op_fail(err, OP_IO, "a result line can no longer be read: %s", bad.msg);
    enum op_rc rc =
        digest_member(d, entry, &result, (struct op_str){line->ptr, line->len}, chunk, err);
    if (rc)
        return rc;
    chunk->count++;
    mark_frames(d->work, chunk);
    return OP_OK;
}

enum op_rc op_digest_final(struct op_digest *d, const struct op_entry *entry,
                           struct op_str line, const char *problem, struct op_buf *frames,
                           int64_t *rows, struct op_err *err)
{
    if (!entry->member.record_id)
        return OP_OK;
    struct op_result result = {.class_ = entry->class_};
    struct op_json root;
    struct op_err bad = OP_ERR_INIT;
    op_buf_clear(&d->scratch);
    if (line.ptr && (op_json_parse(d->parser, line.ptr, line.len, false, &root, &bad) ||
                     op_result_read(d->lane->provider, root, &d->scratch, &result, &bad)))
        return op_fail(err, OP_IO, "a result line can no longer be read: %s", bad.msg);
    enum op_rc rc = load_key(d, entry->member.record_id, OP_NO_MEMBER, err);
    if (rc)
        return rc;
    if (line.ptr && is_raw(d, entry))
        line = with_own_id(d, line, result.custom_id, op_buf_str(&d->key));
    set_context(d, entry, &result, line, OP_STR_NULL, op_str_from(problem));
    op_buf_clear(&d->problems);
    return op_sqlenv_rows(d->sql, OP_ON_ANSWER, frames, rows, &d->problems, err);
}

enum op_rc op_digest_reuse(struct op_digest *d, const struct op_member *member,
                           struct op_str line, struct op_chunk *chunk, struct op_err *err)
{
    struct op_entry *entry = &chunk->entries[chunk->count];
    *entry = (struct op_entry){
        .kind = OP_ENTRY_RESULT, .member = *member, .member_at = OP_NO_MEMBER};
    struct op_json root;
    struct op_result result = {0};
    op_buf_clear(&d->scratch);
    enum op_rc rc = op_json_parse(d->parser, line.ptr, line.len, false, &root, err);
    if (!rc)
        rc = op_result_read(d->lane->provider, root, &d->scratch, &result, err);
    mark_frames(d->work, chunk);
    if (!rc)
        rc = digest_member(d, entry, &result, line, chunk, err);
    /* It was paid for where it was bought. */
    entry->microusd = 0;
    entry->usage = (struct op_usage){0};
    if (rc)
        return rc;
    chunk->count++;
    mark_frames(d->work, chunk);
    return OP_OK;
}
