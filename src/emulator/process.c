/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/arena.h"
#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "emulator/api.h"
#include "emulator/state.h"
#include "emulator/words.h"

#define REQUEST_MAX ((size_t)256 * 1024 * 1024)
#define RESULT_MAX  ((size_t)512 * 1024 * 1024)
#define INDEX_LINE  ((size_t)64) /* longer lines are skipped over: only their place matters */

/* Where a request lies in the requests file. */
struct place {
    int64_t offset;
    int64_t number;
    size_t len;
};

struct run {
    struct op_emulator *em;
    struct op_emu_batch batch;
    const struct op_emu_api *api;
    struct place *places;
    size_t count;
    char *requests_path;
    int requests_fd;
    struct op_writer results, errors, entries;
    struct op_emu_output output;
    struct op_json_parser *parser;
    struct op_buf request, line, entry;
    struct op_arena arena;
};

enum op_rc op_emu_place_nothing(struct op_emulator *emulator, const struct op_emu_batch *batch,
                                const struct op_emu_output *output, struct op_err *err)
{
    (void)emulator;
    (void)batch;
    (void)output;
    (void)err;
    return OP_OK;
}

static const struct op_emu_api *find_api(const char *name)
{
    for (const struct op_emu_api *const *api = op_emu_apis; *api; api++) {
        if (strcmp((*api)->name, name) == 0)
            return *api;
    }
    return NULL;
}

static void run_release(struct run *run)
{
    op_writer_abort(&run->results);
    op_writer_abort(&run->errors);
    op_writer_abort(&run->entries);
    if (run->requests_fd >= 0)
        run->em->env->ops->close(run->em->env, run->requests_fd);
    op_json_parser_free(run->parser);
    op_buf_release(&run->request);
    op_buf_release(&run->line);
    op_buf_release(&run->entry);
    op_arena_release(&run->arena);
    op_mem_free(run->requests_path);
    op_mem_free(run->places);
}

static enum op_rc index_requests(struct run *run, struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    enum op_rc rc = op_lines_open(run->em->env, run->requests_path, 0, INDEX_LINE, &lines, err);
    struct op_line line;
    run->places = op_mem_array((size_t)run->batch.total + 1, sizeof(*run->places));
    while (!rc && !(rc = op_lines_next(lines, &line, err))) {
        if ((int64_t)run->count == run->batch.total)
            break;
        run->places[run->count] = (struct place){line.offset, (int64_t)run->count, line.len};
        run->count++;
    }
    return rc == OP_NOTFOUND ? OP_OK : rc;
}

static void shuffle(struct run *run)
{
    uint64_t random = run->em->seed ^ (uint64_t)run->batch.seq * 0x100000001b3ULL;
    const struct op_emu_quirks *quirks = &run->batch.quirks;
    if (op_emu_quirk(quirks, OP_EMU_NO_SHUFFLE) ||
        (run->api->in_order && !op_emu_quirk(quirks, OP_EMU_SHUFFLE)))
        return;
    for (size_t i = run->count; i > 1; i--) {
        size_t k = op_emu_random_below(&random, i);
        struct place place = run->places[k];
        run->places[k] = run->places[i - 1];
        run->places[i - 1] = place;
    }
}

static enum op_rc open_writers(struct run *run, struct op_err *err)
{
    struct op_env *env = run->em->env;
    OP_CLEANUP(op_mem_freep)
    char *results = op_emu_store_path(run->em->store, &run->batch, "results.tmp");
    OP_CLEANUP(op_mem_freep)
    char *errors = op_emu_store_path(run->em->store, &run->batch, "errors.tmp");
    OP_CLEANUP(op_mem_freep)
    char *entries = op_emu_store_path(run->em->store, &run->batch, "entries.tmp");
    run->requests_fd = env->ops->open(env, run->requests_path, O_RDONLY, 0);
    if (run->requests_fd < 0) {
        errno = -run->requests_fd;
        return op_fail_errno(err, OP_IO, "cannot open %s", run->requests_path);
    }
    enum op_rc rc = op_writer_open(&run->results, env, results, false, err);
    if (!rc && run->api->keeps_errors)
        rc = op_writer_open(&run->errors, env, errors, false, err);
    return rc ? rc : op_writer_open(&run->entries, env, entries, false, err);
}

/* The share of a batch that was processed when it ended before its time; 1 when it did not. */
static double share_done(const struct op_emu_batch *b, int64_t end_us)
{
    if (end_us >= b->full_us)
        return 1;
    if (b->full_us == INT64_MAX)
        return 0;
    if (end_us < b->start_us)
        return 0;
    return (double)(end_us - b->start_us) / (double)(b->full_us - b->start_us);
}

/* What is to become of a request, decided by its number alone, so that it comes out the same
 * however often it is asked. */
static enum op_emu_outcome outcome_of(const struct run *run, int64_t number)
{
    const struct op_emu_batch *b = &run->batch;
    uint64_t random = run->em->seed + (uint64_t)b->seq * 1000003 + (uint64_t)number;
    double lot = (double)(op_emu_random(&random) >> 11) * 0x1.0p-53;
    double share = 1;
    enum op_emu_outcome rest = OP_EMU_CANCELED;
    if (b->cancel_us) {
        share = share_done(b, b->cancel_us);
        /* Before the start there is nothing to race with. */
        if (op_emu_quirk(&b->quirks, OP_EMU_CANCEL_RACE) && b->cancel_us >= b->start_us)
            share = (double)b->quirks.value[OP_EMU_CANCEL_RACE] / 100;
    } else if (op_emu_quirk(&b->quirks, OP_EMU_EXPIRE)) {
        share = 1 - (double)b->quirks.value[OP_EMU_EXPIRE] / 100;
        rest = OP_EMU_EXPIRED;
    } else {
        share = share_done(b, b->due_us);
        rest = OP_EMU_EXPIRED;
    }
    if (rest == OP_EMU_EXPIRED && share < 1 && run->api->expires_whole)
        share = 0;
    return lot < share ? OP_EMU_SUCCEEDED : rest;
}

static const char *line_fault(const struct op_emu_fired *fired)
{
    return fired->count ? op_emu_action_name(fired->rules[0]->action) : NULL;
}

static enum op_rc write_result(struct run *run, bool for_errors, struct op_str text,
                               struct op_err *err)
{
    struct op_writer *writer = for_errors ? &run->errors : &run->results;
    int64_t *lines = for_errors ? &run->output.error_lines : &run->output.result_lines;
    bool separate = *lines > 0 && !run->api->last_newline;
    enum op_rc rc = separate ? op_writer_add(writer, "\n", 1, err) : OP_OK;
    ++*lines;
    if (!rc)
        rc = op_writer_add(writer, text.ptr, text.len, err);
    return rc || !run->api->last_newline ? rc : op_writer_add(writer, "\n", 1, err);
}

static enum op_rc write_line(struct run *run, const struct op_emu_line *line,
                             struct op_err *err)
{
    struct op_str text = op_buf_str(&run->line);
    if (op_emu_fired_rule(line->fired, OP_EMU_DROP_LINE))
        return OP_OK;
    if (op_emu_fired_rule(line->fired, OP_EMU_CORRUPT_LINE))
        text.len /= 2;
    bool for_errors = line->for_errors && run->api->keeps_errors;
    enum op_rc rc = write_result(run, for_errors, text, err);
    if (!rc && op_emu_fired_rule(line->fired, OP_EMU_DUPLICATE_LINE))
        rc = write_result(run, for_errors, text, err);
    return rc;
}

static enum op_rc write_entry(struct run *run, const struct op_emu_line *line,
                              struct op_err *err)
{
    bool paid = line->outcome == OP_EMU_SUCCEEDED;
    struct op_emu_entry entry = {
        .custom_id = line->custom_id,
        .hash = line->hash,
        .state = op_emu_outcome_name(line->outcome),
        .model = line->model,
        .usage = paid ? &line->usage : NULL,
        .answer = line->answer[0] ? line->answer : NULL,
        .fault = line_fault(line->fired),
    };
    op_buf_clear(&run->entry);
    op_emu_bill_write(&run->entry, &entry);
    enum op_rc rc = op_buf_finish(&run->entry, "a bill entry", err);
    return rc ? rc : op_writer_add(&run->entries, run->entry.ptr, run->entry.len, err);
}

static enum op_rc do_request(struct run *run, const struct place *place, struct op_err *err)
{
    struct op_json request;
    struct op_emu_fired fired;
    op_buf_clear(&run->request);
    op_buf_clear(&run->line);
    op_arena_reset(&run->arena);
    op_buf_grow(&run->request, place->len);
    enum op_rc rc = op_io_pread_all(run->em->env, run->requests_fd, run->request.ptr,
                                    place->len, place->offset, run->requests_path, err);
    run->request.len = place->len;
    if (!rc)
        rc = op_json_parse(run->parser, run->request.ptr, place->len, true, &request, err);
    if (rc)
        return rc;
    struct op_emu_line line = {
        .emulator = run->em,
        .batch = &run->batch,
        .request = request,
        .text = op_buf_str(&run->request),
        .fired = &fired,
        .arena = &run->arena,
        .number = place->number,
        .outcome = outcome_of(run, place->number),
        .out = &run->line,
    };
    const struct op_str subjects[2] = {run->api->custom_id(request), line.text};
    op_emu_faults_event(run->em->faults, OP_EMU_ON_RESULTS, true, subjects, &fired);
    if (op_emu_fired_rule(&fired, OP_EMU_EXPIRE_LINE))
        line.outcome = OP_EMU_EXPIRED;
    if (op_emu_fired_rule(&fired, OP_EMU_CANCEL_LINE))
        line.outcome = OP_EMU_CANCELED;
    line.rename_id = op_emu_fired_rule(&fired, OP_EMU_RENAME_ID) != NULL;
    line.null_id = op_emu_fired_rule(&fired, OP_EMU_NULL_ID) != NULL;
    run->api->line(&line);
    run->batch.done[line.outcome]++;
    if (line.outcome == OP_EMU_SUCCEEDED) {
        run->batch.usage.input += line.usage.input;
        run->batch.usage.output += line.usage.output;
        run->batch.usage.cache_read += line.usage.cache_read;
        run->batch.thinking += line.thinking;
    }
    rc = op_buf_finish(&run->line, "a result line", err);
    if (!rc)
        rc = write_line(run, &line, err);
    return rc ? rc : write_entry(run, &line, err);
}

static enum op_rc place_file(struct run *run, struct op_writer *writer, const char *name,
                             struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *from = op_mem_strdup(writer->path);
    OP_CLEANUP(op_mem_freep) char *path = op_emu_store_path(run->em->store, &run->batch, name);
    enum op_rc rc = op_writer_close(writer, false, NULL, err);
    if (rc)
        return rc;
    int failed = run->em->env->ops->rename(run->em->env, from, path, true);
    if (!failed)
        return OP_OK;
    errno = -failed;
    return op_fail_errno(err, OP_IO, "cannot rename %s to %s", from, path);
}

static enum op_rc run_all(struct run *run, struct op_err *err)
{
    enum op_rc rc = index_requests(run, err);
    if (!rc)
        rc = open_writers(run, err);
    if (rc)
        return rc;
    shuffle(run);
    for (size_t i = 0; i < run->count && !rc; i++) {
        /* What is half done is done anew after the next start. */
        if (i % 256 == 0 && op_emu_stopping(run->em))
            return op_fail(err, OP_STOPPED, "the emulator stops");
        rc = do_request(run, &run->places[i], err);
    }
    run->output.result_bytes = run->results.total;
    run->output.error_bytes = run->errors.total;
    /* The files are whole before the store says that there are results. */
    if (!rc)
        rc = place_file(run, &run->entries, "entries", err);
    if (!rc)
        rc = place_file(run, &run->results, "results", err);
    if (!rc && run->api->keeps_errors)
        rc = place_file(run, &run->errors, "errors", err);
    if (!rc)
        rc = run->api->place(run->em, &run->batch, &run->output, err);
    return rc ? rc : op_emu_store_settle(run->em->store, &run->batch, err);
}

static enum op_rc end_batch(struct op_emulator *em, const struct op_emu_batch *batch,
                            struct op_err *err)
{
    OP_CLEANUP(run_release)
    struct run run = {
        .em = em, .batch = *batch, .requests_fd = -1, .parser = op_json_parser_new()};
    run.results.fd = run.errors.fd = run.entries.fd = -1;
    run.api = find_api(batch->provider);
    if (!run.api)
        return op_fail(err, OP_INVAL,
                       "batch %s is of provider '%s', which this emulator does not"
                       " know",
                       batch->id, batch->provider);
    run.requests_path = op_emu_store_path(em->store, batch, "requests");
    run.batch.ended_us = op_emu_clock_now(&em->clock);
    memset(run.batch.done, 0, sizeof(run.batch.done));
    run.batch.usage = (struct op_emu_usage){0};
    run.batch.thinking = 0;
    op_buf_init(&run.request, REQUEST_MAX);
    op_buf_init(&run.line, RESULT_MAX);
    op_buf_init(&run.entry, (size_t)64 * 1024);
    enum op_rc rc = run_all(&run, err);
    return rc ? op_err_wrap(err, "cannot process batch %s", batch->id) : OP_OK;
}

enum op_rc op_emu_process_due(struct op_emulator *em, int64_t *ret_due_us, struct op_err *err)
{
    struct op_emu_batch batch = {0};
    *ret_due_us = INT64_MAX;
    if (!op_emu_store_due(em->store, &batch))
        return OP_OK;
    *ret_due_us = batch.due_us;
    if (batch.due_us > op_emu_clock_now(&em->clock))
        return OP_OK;
    enum op_rc rc = end_batch(em, &batch, err);
    return rc == OP_NOTFOUND ? OP_OK : rc; /* deleted meanwhile */
}
