/* SPDX-License-Identifier: MIT */
#include <fcntl.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/digest.h"
#include "engine/import.h"
#include "engine/import_index.h"
#include "engine/walk.h"
#include "provider/driver.h"

/* Ids that match no record, and lines that are none, are named up to so many bytes; the raw files,
 * which are kept, have them all. */
#define NAMED_MAX (32 * 1024)

struct file {
    char *path;
    const char *name;
    int fd;
    int64_t source;
};

/* What was made elsewhere in one piece: a provider's batch, or a file. Becomes one batch. */
struct source {
    struct op_json options;
    bool open;
    struct op_batch batch;
    struct op_spool_file payload, result;
    int64_t payload_at;
};

struct planning {
    struct op_work *work;
    struct op_json_parser *options_parser, *parser;
    struct file *files;
    size_t file_count;
    struct source *sources;
    size_t source_count;
    struct op_import_index *index;
    struct op_buf key, data, line, scratch, bad;
    int64_t bad_count, lines;
    const char *place;
    int64_t record_id; /* 0: none of its requests has a result so far */
    bool any_record;
    const struct op_walk_request *asked;
    int64_t request_id; /* 0: the request has no result so far */
    struct op_job_counts counts;
};

/* --- the files ------------------------------------------------------------------------------ */

static enum op_rc open_file(struct planning *p, struct op_json spec, int64_t source,
                            struct op_err *err)
{
    struct op_engine *engine = p->work->engine;
    struct op_str name = op_json_str(op_json_get(spec, "file"));
    struct op_str sha = op_json_str(op_json_get(spec, "sha256"));
    OP_CLEANUP(op_mem_freep) char *text = op_mem_strndup(name.ptr, name.len);
    OP_CLEANUP(op_mem_freep) char *hex = op_mem_strndup(sha.ptr, sha.len);
    enum op_rc rc = op_spool_verify(engine->spool, text,
                                    op_json_int(op_json_get(spec, "bytes"), -1), hex, err);
    if (rc)
        return rc;
    char *path = op_spool_path(engine->spool, text);
    int fd = engine->env->ops->open(engine->env, path, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0) {
        rc = op_fail(err, OP_IO, "cannot open %s: %s", path, strerror(-fd));
        op_mem_free(path);
        return rc;
    }
    p->files = op_mem_realloc(p->files, (p->file_count + 1) * sizeof(*p->files));
    p->files[p->file_count++] =
        (struct file){.path = path, .name = name.ptr, .fd = fd, .source = source};
    return OP_OK;
}

static enum op_rc open_sources(struct planning *p, struct op_json import, struct op_err *err)
{
    struct op_json all = op_json_get(import, "sources");
    p->sources = op_mem_array(op_json_count(all) + 1, sizeof(*p->sources));
    struct op_json_iter it = op_json_iter(all);
    enum op_rc rc = OP_OK;
    while (!rc && op_json_next(&it)) {
        int64_t source = (int64_t)p->source_count;
        p->sources[p->source_count++].options = it.value;
        struct op_json_iter files = op_json_iter(op_json_get(it.value, "files"));
        while (!rc && op_json_next(&files))
            rc = open_file(p, files.value, source, err);
    }
    return rc;
}

static void name_bad(struct planning *p, const struct file *file, const struct op_line *line,
                     const char *why)
{
    p->bad_count++;
    if (p->bad.len < NAMED_MAX)
        op_buf_addf(&p->bad, "%s, byte %lld: %s\n", file->name, (long long)line->offset, why);
}

static enum op_rc index_line(struct planning *p, int64_t at, struct op_line *line,
                             struct op_err *err)
{
    const struct file *file = &p->files[at];
    struct op_json root;
    struct op_result result;
    struct op_err bad = OP_ERR_INIT;
    op_buf_clear(&p->scratch);
    if (line->offset == 0 &&
        op_str_starts((struct op_str){line->ptr, line->len}, "\xEF\xBB\xBF")) {
        line->ptr += 3;
        line->len -= 3;
        line->offset = 3;
    }
    if (line->oversize) {
        name_bad(p, file, line, "too long to be read");
        return OP_OK;
    }
    if (line->len == 0)
        return OP_OK;
    p->lines++;
    if (op_json_parse(p->parser, line->ptr, line->len, true, &root, &bad) ||
        p->work->lanes[0].lane->provider->decode_result(root, &p->scratch, &result, &bad)) {
        name_bad(p, file, line, bad.msg);
        return OP_OK;
    }
    const struct op_import_line place = {.source = file->source,
                                         .file = at,
                                         .offset = line->offset,
                                         .len = (int64_t)line->len,
                                         .class_ = result.class_};
    return op_import_index_add(p->index, result.custom_id, &place, err);
}

static enum op_rc index_file(struct planning *p, int64_t at, struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    enum op_rc rc = op_lines_open(p->work->engine->env, p->files[at].path, 0,
                                  OP_RESULT_LINE_MAX, &lines, err);
    while (!rc) {
        struct op_line line;
        rc = op_lines_next(lines, &line, err);
        if (!rc)
            rc = index_line(p, at, &line, err);
    }
    return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
}

/* The map: JSON lines with custom_id, key and, where it matters, request; as `export` writes it. */
static enum op_rc read_map(struct planning *p, struct op_json spec, struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    if (!op_json_is(spec, OP_JSON_OBJECT))
        return OP_OK;
    enum op_rc rc = open_file(p, spec, -1, err);
    if (rc)
        return rc;
    struct file map = p->files[--p->file_count];
    rc = op_lines_open(p->work->engine->env, map.path, 0, OP_RESULT_LINE_MAX, &lines, err);
    while (!rc) {
        struct op_line line;
        struct op_json root;
        rc = op_lines_next(lines, &line, err);
        if (rc || line.len == 0)
            continue;
        struct op_err bad = OP_ERR_INIT;
        (void)!op_json_parse(p->parser, line.ptr ? line.ptr : "", line.ptr ? line.len : 0,
                             line.ptr != NULL, &root, &bad);
        struct op_str id = bad.rc ? OP_STR_NULL : op_json_str(op_json_get(root, "custom_id"));
        struct op_str key = bad.rc ? OP_STR_NULL : op_json_str(op_json_get(root, "key"));
        if (!id.ptr || !key.ptr) {
            rc = op_fail(err, OP_INVAL,
                         "--map, line %lld: it must be {\"custom_id\": TEXT, \"key\": TEXT, "
                         "\"request\": TEXT}; the request may be left out",
                         (long long)line.number);
            break;
        }
        rc = op_import_index_map(p->index, id, key, op_json_str(op_json_get(root, "request")),
                                 err);
    }
    (void)p->work->engine->env->ops->close(p->work->engine->env, map.fd);
    op_mem_free(map.path);
    return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
}

/* --- batches -------------------------------------------------------------------------------- */

static enum op_rc open_batch(struct planning *p, struct source *s, int name, struct op_err *err)
{
    struct op_work *work = p->work;
    struct op_engine *engine = work->engine;
    enum op_rc rc = op_spool_begin(engine->spool, "payload", &s->payload, err);
    if (rc)
        return rc;
    rc = op_spool_begin(engine->spool, "result", &s->result, err);
    if (rc) {
        op_spool_abort(engine->spool, &s->payload);
        return rc;
    }
    s->open = true;
    const struct op_plan_request *request = &work->plan->requests[name];
    s->batch = (struct op_batch){.id = op_ledger_take_batch(engine->ledger),
                                 .job_id = work->job.id,
                                 .lane_id = request->lane->id,
                                 .model = op_mem_strdup(request->model),
                                 .endpoint = op_mem_strdup(request->endpoint)};
    uint8_t random[5];
    engine->env->ops->random(engine->env, random, sizeof(random));
    op_nonce_format(random, s->batch.nonce);
    return OP_OK;
}

static enum op_rc write_params(struct planning *p, struct source *s, const char *id,
                               struct op_payload_ref *ret, struct op_err *err)
{
    struct op_batch_framing f;
    const struct op_plan_request *request = &p->work->plan->requests[p->asked->name];
    struct op_str params = p->asked->params;
    request->lane->provider->framing(request->lane, request->endpoint, &f);
    const struct op_str parts[] = {op_str_from(f.before),  op_str_from(id),
                                   op_str_from(f.between), params,
                                   op_str_from(f.after),   OP_STR("\n")};
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < OP_COUNT(parts); i++) {
        if (i == 3)
            *ret = (struct op_payload_ref){s->batch.id, s->payload_at, (int64_t)params.len};
        rc = op_writer_add(&s->payload.writer, parts[i].ptr, parts[i].len, err);
        s->payload_at += (int64_t)parts[i].len;
    }
    return rc;
}

/* The request's row, in the batch of its first line's source. */
static enum op_rc add_request(struct planning *p, struct source *s, struct op_err *err)
{
    struct op_ledger *ledger = p->work->engine->ledger;
    enum op_rc rc = s->open ? OP_OK : open_batch(p, s, p->asked->name, err);
    if (!rc && !p->record_id) {
        rc = op_ledger_record_add(ledger, p->work->job.id, op_buf_str(&p->key),
                                  p->data.len ? op_buf_str(&p->data) : OP_STR_NULL,
                                  &p->record_id, err);
        if (rc == OP_CONFLICT) {
            op_err_clear(err);
            rc = op_fail(err, OP_INVAL,
                         "%s: the key '%.80s' occurs twice; keys must be unique in a job",
                         p->place, p->key.ptr);
        }
        p->counts.records += !rc;
    }
    struct op_request request = {.id = op_ledger_next_request(ledger),
                                 .job_id = p->work->job.id,
                                 .record_id = p->record_id,
                                 .name = p->asked->name,
                                 .state = OP_REQUEST_PACKED,
                                 .batch_id = s->batch.id};
    memcpy(request.hash, p->asked->hash, OP_HASH_LEN);
    char id[OP_CUSTOM_ID_MAX + 1];
    op_custom_id_format(op_ledger_tag(ledger), s->batch.nonce, request.id, id);
    if (!rc)
        rc = write_params(p, s, id, &request.payload, err);
    if (!rc)
        rc = op_ledger_request_add(ledger, &request, err);
    if (!rc)
        rc = op_ledger_asked_put(ledger, request.hash, request.id, err);
    p->request_id = request.id;
    p->counts.requests++;
    s->batch.count++;
    s->batch.request_hi = request.id;
    if (!s->batch.request_lo)
        s->batch.request_lo = request.id;
    return rc;
}

/* The line as it came, but for the id. */
static enum op_rc write_line(struct planning *p, struct source *s, const char *id,
                             struct op_err *err)
{
    struct op_json root;
    struct op_str slice = OP_STR_NULL, line = op_buf_str(&p->line);
    enum op_rc rc = op_json_parse(p->parser, line.ptr, line.len, true, &root, err);
    if (!rc)
        rc = op_raw_member(root, line, "custom_id", &slice, err);
    if (rc == OP_NOTFOUND && !err->rc)
        rc = op_raw_member(root, line, "key", &slice, err);
    if (rc)
        return err->rc ? rc : op_fail(err, OP_INVAL, "a result line has no id to replace");
    size_t before = (size_t)(slice.ptr - line.ptr);
    const struct op_str parts[] = {
        {line.ptr, before},
        OP_STR("\""),
        op_str_from(id),
        OP_STR("\""),
        {slice.ptr + slice.len, line.len - before - slice.len},
        OP_STR("\n"),
    };
    for (size_t i = 0; !rc && i < OP_COUNT(parts); i++)
        rc = op_writer_add(&s->result.writer, parts[i].ptr, parts[i].len, err);
    return rc;
}

static enum op_rc take_line(void *arg, const struct op_import_line *line, struct op_err *err)
{
    struct planning *p = arg;
    struct op_engine *engine = p->work->engine;
    struct source *s = &p->sources[line->source];
    const struct file *file = &p->files[line->file];
    enum op_rc rc = p->request_id ? OP_OK : add_request(p, s, err);
    if (rc)
        return rc;
    op_buf_clear(&p->line);
    op_buf_grow(&p->line, (size_t)line->len);
    rc = op_io_pread_all(engine->env, file->fd, p->line.ptr, (size_t)line->len, line->offset,
                         file->path, err);
    p->line.len = (size_t)line->len;
    char id[OP_CUSTOM_ID_MAX + 1];
    op_custom_id_format(op_ledger_tag(engine->ledger), s->batch.nonce, p->request_id, id);
    return rc ? rc : write_line(p, s, id, err);
}

/* --- records -------------------------------------------------------------------------------- */

static void count_skipped(struct planning *p)
{
    if (p->any_record && !p->record_id)
        p->counts.skipped++;
}

static enum op_rc plan_record(void *arg, const struct op_walk_record *record,
                              struct op_err *err)
{
    struct planning *p = arg;
    (void)err;
    count_skipped(p);
    p->any_record = true;
    p->record_id = 0;
    p->place = record->place;
    op_buf_clear(&p->key);
    op_buf_clear(&p->data);
    op_buf_add_str(&p->key, record->key);
    if (record->data.ptr)
        op_buf_add_str(&p->data, record->data);
    return OP_OK;
}

static enum op_rc plan_request(void *arg, const struct op_walk_request *asked,
                               struct op_err *err)
{
    struct planning *p = arg;
    const struct op_definition *def = &p->work->def;
    p->asked = asked;
    p->request_id = 0;
    return op_import_index_take(p->index, op_buf_str(&p->key), def->requests[asked->name].name,
                                def->request_count == 1, take_line, p, err);
}

static void plan_skipped(void *arg, const char *message)
{
    struct planning *p = arg;
    op_log(OP_EVENT_INPUT_SKIPPED, OP_F("job", p->work->job.id), OP_T("why", message));
}

/* --- the end -------------------------------------------------------------------------------- */

static void replace(char **field, char *text)
{
    op_mem_free(*field);
    *field = text;
}

static enum op_rc adopt(struct planning *p, struct source *s, struct op_result_file *file,
                        struct op_err *err)
{
    struct op_ledger *ledger = p->work->engine->ledger;
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    enum op_rc rc = op_ledger_batch_get(ledger, s->batch.id, &batch, err);
    if (rc)
        return rc;
    struct op_str id = op_json_str(op_json_get(s->options, "provider_id"));
    int64_t now = op_engine_now(p->work->engine);
    replace(&batch.provider_id, op_mem_strndup(id.ptr ? id.ptr : "", id.len));
    replace(&batch.remote_state, op_mem_strdup("imported"));
    batch.accepted_ms = op_json_int(op_json_get(s->options, "created_ms"), now);
    batch.ended_ms = op_json_int(op_json_get(s->options, "ended_ms"), now);
    batch.fetches = 1;
    rc = op_ledger_batch_go(ledger, &batch, OP_BATCH_ACCEPTED,
                            "made elsewhere and imported; never sent from here", err);
    if (!rc)
        rc = op_ledger_batch_go(ledger, &batch, OP_BATCH_ENDED, "", err);
    if (!rc)
        rc = op_ledger_result_file_add(ledger, file, err);
    if (!rc)
        rc = op_ledger_batch_go(ledger, &batch, OP_BATCH_FETCHED, "", err);
    return rc ? rc : op_work_event(p->work, &batch, err);
}

static enum op_rc close_batch(struct planning *p, struct source *s, struct op_err *err)
{
    struct op_engine *engine = p->work->engine;
    struct op_batch *batch = &s->batch;
    OP_CLEANUP(op_mem_freep) char *prefix = op_mem_printf("%lld", (long long)batch->id);
    OP_CLEANUP(op_mem_freep) char *part = op_mem_printf("%lld-0", (long long)batch->id);
    OP_CLEANUP(op_result_file_release)
    struct op_result_file file = {.batch_id = batch->id};
    enum op_rc rc = op_spool_commit(engine->spool, &s->payload, prefix, ".json", &batch->file,
                                    batch->sha256, &batch->bytes, err);
    if (!rc)
        rc = op_spool_commit(engine->spool, &s->result, part, ".jsonl", &file.file, file.sha256,
                             &file.bytes, err);
    if (!rc)
        rc = op_batch_freeze_prices(engine, batch, err);
    if (!rc)
        rc = op_ledger_batch_add(engine->ledger, batch, err);
    return rc ? rc : adopt(p, s, &file, err);
}

static enum op_rc note_rest(struct planning *p, struct op_err *err)
{
    struct op_ledger *ledger = p->work->engine->ledger;
    int64_t unused = 0, job = p->work->job.id;
    OP_CLEANUP(op_buf_release) struct op_buf ids, text;
    op_buf_init(&ids, 2 * NAMED_MAX);
    op_buf_init(&text, 8 * NAMED_MAX);
    enum op_rc rc = op_import_index_unused(p->index, &ids, NAMED_MAX, &unused, err);
    if (rc)
        return rc;
    if (!p->counts.requests)
        return op_fail(
            err, OP_INVAL,
            "none of the %lld results matches a record of '%s': a custom_id must be a "
            "record's key, or KEY#REQUEST, or be in --map; the first that are not: "
            "%.300s",
            (long long)p->lines, p->work->def.name, ids.ptr ? ids.ptr : "");
    if (unused) {
        op_buf_addf(&text, "%lld results match no record; they are kept in the spool:\n%s",
                    (long long)unused, ids.ptr);
        rc = op_ledger_note_add(ledger, job, 0, 0, "import", op_buf_str(&text), err);
    }
    if (!rc && p->bad_count) {
        op_buf_clear(&text);
        op_buf_addf(&text, "%lld lines are no results; they are kept in the spool:\n%s",
                    (long long)p->bad_count, p->bad.ptr);
        rc = op_ledger_note_add(ledger, job, 0, 0, "import", op_buf_str(&text), err);
    }
    return rc;
}

/* One transaction, so that a crash anywhere means the same plan again. */
static enum op_rc plan_inside(struct planning *p, struct op_err *err)
{
    struct op_work *work = p->work;
    struct op_ledger *ledger = work->engine->ledger;
    struct op_walk walk = {.work = work,
                           .arg = p,
                           .record = plan_record,
                           .request = plan_request,
                           .skipped = plan_skipped};
    enum op_rc rc = op_walk(&walk, err);
    count_skipped(p);
    p->counts.skipped += walk.done + walk.bad;
    if (!rc)
        rc = note_rest(p, err);
    for (size_t i = 0; !rc && i < p->source_count; i++) {
        if (p->sources[i].open)
            rc = close_batch(p, &p->sources[i], err);
    }
    if (!rc)
        rc = op_ledger_job_count(ledger, work->job.id, &p->counts, err);
    if (!rc)
        rc = op_ledger_job_go(ledger, work->job.id, OP_JOB_PLANNING, OP_JOB_RUNNING, "", err);
    if (!rc)
        rc = op_work_event(work, NULL, err);
    OP_FAULT(work->engine, "plan.commit");
    return rc;
}

static enum op_rc plan_all(struct planning *p, struct op_err *err)
{
    struct op_ledger *ledger = p->work->engine->ledger;
    enum op_rc rc = op_ledger_begin(ledger, err);
    if (rc)
        return rc;
    rc = plan_inside(p, err);
    if (!rc)
        rc = op_ledger_commit(ledger, err);
    if (rc) {
        op_ledger_rollback(ledger);
        return rc;
    }
    op_log(OP_EVENT_JOB_PLANNED, OP_F("job", p->work->job.id),
           OP_F("records", p->counts.records), OP_F("requests", p->counts.requests),
           OP_F("results", p->lines));
    return OP_OK;
}

static enum op_rc read_sources(struct planning *p, struct op_err *err)
{
    struct op_work *work = p->work;
    struct op_json root;
    const char *options = work->job.options;
    OP_CLEANUP(op_mem_freep)
    char *name = op_mem_printf("work/import-%lld.db", (long long)work->job.id);
    OP_CLEANUP(op_mem_freep) char *path = op_spool_path(work->engine->spool, name);
    enum op_rc rc =
        op_json_parse(p->options_parser, options, strlen(options), false, &root, err);
    struct op_json import = rc ? (struct op_json){0} : op_json_get(root, "import");
    if (!rc)
        rc = op_import_index_open(path, &p->index, err);
    if (!rc)
        rc = read_map(p, op_json_get(import, "map"), err);
    if (!rc)
        rc = open_sources(p, import, err);
    for (size_t i = 0; !rc && i < p->file_count; i++)
        rc = index_file(p, (int64_t)i, err);
    return rc ? rc : op_import_index_finish(p->index, err);
}

static void planning_release(struct planning *p)
{
    struct op_engine *engine = p->work->engine;
    for (size_t i = 0; i < p->source_count; i++) {
        if (p->sources[i].open) {
            op_spool_abort(engine->spool, &p->sources[i].payload);
            op_spool_abort(engine->spool, &p->sources[i].result);
        }
        op_batch_release(&p->sources[i].batch);
    }
    for (size_t i = 0; i < p->file_count; i++) {
        (void)engine->env->ops->close(engine->env, p->files[i].fd);
        op_mem_free(p->files[i].path);
    }
    op_import_index_close(p->index);
    op_mem_free(p->files);
    op_mem_free(p->sources);
    op_json_parser_free(p->options_parser);
    op_json_parser_free(p->parser);
    struct op_buf *const bufs[] = {&p->key, &p->data, &p->line, &p->scratch, &p->bad};
    for (size_t i = 0; i < OP_COUNT(bufs); i++)
        op_buf_release(bufs[i]);
}

enum op_rc op_import_plan(struct op_work *work, struct op_err *err)
{
    OP_CLEANUP(planning_release)
    struct planning p = {
        .work = work, .options_parser = op_json_parser_new(), .parser = op_json_parser_new()};
    op_buf_init(&p.key, OP_SOURCE_MAX_RECORD);
    op_buf_init(&p.data, OP_SOURCE_MAX_RECORD);
    op_buf_init(&p.line, OP_RESULT_LINE_MAX);
    op_buf_init(&p.scratch, OP_RESULT_LINE_MAX);
    op_buf_init(&p.bad, 2 * NAMED_MAX);
    enum op_rc rc = read_sources(&p, err);
    return rc ? rc : plan_all(&p, err);
}
