/* SPDX-License-Identifier: MIT */
#include "emulator/bill.h"

#include <pthread.h>
#include <time.h>

#include "base/io.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/time.h"
#include "emulator/clock.h"
#include "emulator/journal.h"

#define BILL_LINE_MAX ((size_t)64 * 1024)
#define BILL_BLOCK    ((size_t)1024 * 1024)

struct op_emu_bill {
    struct op_env *env;
    struct op_emu_journal *journal;
    struct op_map accepted, ended; /* batch -> lines, as found on open */
    int64_t last_us;
    pthread_t syncer;
    bool has_syncer;
    pthread_mutex_t lock; /* of the fields below */
    pthread_cond_t changed;
    bool dirty, stopping;
};

static void count_line(struct op_emu_bill *bill, struct op_json line)
{
    int64_t ms = 0, n = 0;
    if (op_time_parse(op_json_str(op_json_get(line, "time")), &ms) &&
        (ms + 1) * 1000 > bill->last_us)
        bill->last_us = (ms + 1) * 1000;
    struct op_str batch = op_json_str(op_json_get(line, "batch"));
    struct op_str state = op_json_str(op_json_get(line, "state"));
    if (!batch.ptr)
        return;
    struct op_map *map = op_str_is(state, "accepted") ? &bill->accepted : &bill->ended;
    op_map_get(map, batch, &n);
    op_map_set(map, batch, n + 1);
}

static enum op_rc count_lines(struct op_emu_bill *bill, struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    const char *path = op_emu_journal_path(bill->journal);
    enum op_rc rc = op_lines_open(bill->env, path, 0, BILL_LINE_MAX, &lines, err);
    struct op_line line;
    struct op_json value;
    while (!rc && !(rc = op_lines_next(lines, &line, err))) {
        if (line.oversize || line.len == 0)
            continue;
        if (op_json_parse(parser, line.ptr, line.len, true, &value, err))
            return op_err_wrap(err, "%s:%lld is damaged", path, (long long)line.number);
        count_line(bill, value);
    }
    return rc == OP_NOTFOUND ? OP_OK : rc;
}

/* A failed sync breaks the journal: the next entry reports it. */
static void *sync_in_groups(void *arg)
{
    const struct timespec pause = {0, OP_EMU_BILL_SYNC_MS * 1000000L};
    struct op_emu_bill *bill = arg;
    pthread_mutex_lock(&bill->lock);
    while (!bill->stopping) {
        if (!bill->dirty) {
            pthread_cond_wait(&bill->changed, &bill->lock);
            continue;
        }
        bill->dirty = false;
        pthread_mutex_unlock(&bill->lock);
        struct op_err err = OP_ERR_INIT;
        nanosleep(&pause, NULL);
        enum op_rc rc = op_emu_journal_sync(bill->journal, &err);
        pthread_mutex_lock(&bill->lock);
        bill->stopping |= rc != OP_OK;
    }
    pthread_mutex_unlock(&bill->lock);
    return NULL;
}

static enum op_rc start_syncer(struct op_emu_bill *bill, struct op_err *err)
{
    if (pthread_create(&bill->syncer, NULL, sync_in_groups, bill))
        return op_fail(err, OP_IO, "cannot start a thread");
    bill->has_syncer = true;
    return OP_OK;
}

static void stop_syncer(struct op_emu_bill *bill)
{
    if (!bill->has_syncer)
        return;
    pthread_mutex_lock(&bill->lock);
    bill->stopping = true;
    pthread_cond_signal(&bill->changed);
    pthread_mutex_unlock(&bill->lock);
    pthread_join(bill->syncer, NULL);
}

static void wake_syncer(struct op_emu_bill *bill)
{
    pthread_mutex_lock(&bill->lock);
    if (!bill->dirty)
        pthread_cond_signal(&bill->changed);
    bill->dirty = true;
    pthread_mutex_unlock(&bill->lock);
}

enum op_rc op_emu_bill_open(struct op_env *env, const char *dir, struct op_emu_bill **ret,
                            struct op_err *err)
{
    OP_CLEANUP(op_emu_bill_closep) struct op_emu_bill *bill = op_mem_alloc(sizeof(*bill));
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, "bill.jsonl");
    bill->env = env;
    pthread_mutex_init(&bill->lock, NULL);
    pthread_cond_init(&bill->changed, NULL);
    enum op_rc rc = op_emu_journal_open(env, path, &bill->journal, err);
    if (!rc)
        rc = count_lines(bill, err);
    if (!rc)
        rc = start_syncer(bill, err);
    if (rc)
        return rc;
    *ret = OP_TAKE(bill);
    return OP_OK;
}

void op_emu_bill_close(struct op_emu_bill *bill)
{
    if (!bill)
        return;
    stop_syncer(bill);
    op_emu_journal_close(bill->journal);
    pthread_cond_destroy(&bill->changed);
    pthread_mutex_destroy(&bill->lock);
    op_map_release(&bill->accepted);
    op_map_release(&bill->ended);
    op_mem_free(bill);
}

void op_emu_bill_closep(struct op_emu_bill **bill)
{
    op_emu_bill_close(*bill);
    *bill = NULL;
}

int64_t op_emu_bill_last_us(const struct op_emu_bill *bill)
{
    return bill->last_us;
}

void op_emu_bill_counts(const struct op_emu_bill *bill, struct op_str batch,
                        int64_t *ret_accepted, int64_t *ret_ended)
{
    *ret_accepted = *ret_ended = 0;
    op_map_get(&bill->accepted, batch, ret_accepted);
    op_map_get(&bill->ended, batch, ret_ended);
}

/* The head and the entry are two halves of one object: the head is only known at the commit. */
static void write_head(struct op_buf *buf, int64_t time_us, const char *provider,
                       const char *batch, const char *fault)
{
    char time[OP_EMU_TIME_TEXT];
    op_emu_time_format(time_us, true, time);
    op_buf_addf(buf, "{\"time\":\"%s\",\"provider\":\"%s\",\"batch\":", time, provider);
    if (batch)
        op_buf_addf(buf, "\"%s\",", batch);
    else
        op_buf_addz(buf, "null,");
    if (fault)
        op_buf_addf(buf, "\"fault\":\"%s\",", fault);
}

void op_emu_bill_write(struct op_buf *side, const struct op_emu_entry *entry)
{
    struct op_json_out out;
    size_t start = side->len;
    op_json_out_init(&out, side, 0);
    op_json_out_object(&out);
    op_json_out_kv_str(&out, "custom_id", entry->custom_id);
    op_json_out_kv_text(&out, "hash", entry->hash);
    op_json_out_kv_text(&out, "state", entry->state);
    op_json_out_kv_str(&out, "model", entry->model);
    if (entry->usage) {
        op_json_out_kv_int(&out, "input_tokens", entry->usage->input);
        op_json_out_kv_int(&out, "output_tokens", entry->usage->output);
        op_json_out_kv_int(&out, "cache_read_tokens", entry->usage->cache_read);
        op_json_out_kv_int(&out, "cache_write_5m_tokens", entry->usage->cache_write_5m);
        op_json_out_kv_int(&out, "cache_write_1h_tokens", entry->usage->cache_write_1h);
    }
    if (entry->answer)
        op_json_out_kv_text(&out, "answer", entry->answer);
    if (entry->fault)
        op_json_out_kv_text(&out, "fault", entry->fault);
    op_json_out_end_object(&out);
    op_buf_addc(side, '\n');
    if (!side->failed) /* the brace comes with the head */
        side->ptr[start] = ' ';
}

enum op_rc op_emu_bill_add(struct op_emu_bill *bill, int64_t time_us, const char *provider,
                           struct op_str entries, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
    op_buf_init(&buf, BILL_BLOCK);
    while (entries.len > 0) {
        struct op_str line = op_str_cut(&entries, '\n');
        write_head(&buf, time_us, provider, NULL, NULL);
        op_buf_add_str(&buf, line);
        op_buf_addc(&buf, '\n');
    }
    enum op_rc rc = op_buf_finish(&buf, "a bill entry", err);
    if (!rc)
        rc = op_emu_journal_add(bill->journal, op_buf_str(&buf), err);
    if (!rc)
        wake_syncer(bill);
    return rc;
}

enum op_rc op_emu_bill_post(struct op_emu_bill *bill, const struct op_emu_posting *posting,
                            struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
    op_buf_init(&buf, BILL_BLOCK + 2 * BILL_LINE_MAX);
    enum op_rc rc = op_lines_open(bill->env, posting->side, 0, BILL_LINE_MAX, &lines, err);
    struct op_line line;
    while (!rc && !(rc = op_lines_next(lines, &line, err))) {
        if (line.oversize || line.number <= posting->skip)
            continue;
        write_head(&buf, posting->time_us, posting->provider, posting->batch, posting->fault);
        op_buf_add(&buf, line.ptr, line.len);
        op_buf_addc(&buf, '\n');
        if (buf.len < BILL_BLOCK)
            continue;
        rc = op_emu_journal_add(bill->journal, op_buf_str(&buf), err);
        op_buf_clear(&buf);
    }
    if (rc == OP_NOTFOUND)
        rc = buf.len ? op_emu_journal_add(bill->journal, op_buf_str(&buf), err) : OP_OK;
    return rc ? rc : op_emu_journal_sync(bill->journal, err);
}
