/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "engine/listing.h"
#include "engine/work.h"

/*
 * Some providers want the batch file first: it is uploaded, which buys nothing, and the create names
 * it. The file is called by the tag of this purchase, so one whose answer was lost is found again.
 */

/* An upload this old is made anew: the shortest life of a file is 48 h (reference/gemini.md 3), and
 * the batch has to be read from it yet. */
#define STALE_MS OP_DAY_MS
/* Pages of a list of files; a provider that never ends it must not hold us for ever. */
#define PAGES_MAX 1000

void op_batch_tag(const struct op_engine *engine, const struct op_batch *batch,
                  char ret[OP_TAG_MAX])
{
    snprintf(ret, OP_TAG_MAX, "op-%s-%s", op_ledger_tag(engine->ledger), batch->nonce);
}

struct op_create op_batch_create(const struct op_batch *batch, const char *tag)
{
    return (struct op_create){
        .tag = tag,
        .file_id = batch->file_id ? batch->file_id : "",
        .model = batch->model,
        .endpoint = batch->endpoint,
        .sha256 = batch->sha256,
        .count = batch->count,
        .bytes = batch->bytes,
    };
}

bool op_batch_needs_upload(struct op_work *work, const struct op_batch *batch)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    if (!lane->provider->has_upload)
        return false;
    int64_t age = op_engine_now(work->engine) - batch->uploaded_ms;
    return batch->state != OP_BATCH_UPLOADED || !batch->file_id[0] || age > STALE_MS ||
           age < -STALE_MS || op_batch_sender(batch) != lane->id;
}

/* --- files of ours that are there ------------------------------------------------------------- */

struct search {
    const char *tag;
    int64_t server_ms, oldest_ms;
    struct op_remote_file *files;
    size_t count;
    bool unordered, reached_old;
};

static void take_file(void *arg, const struct op_remote_file *file)
{
    struct search *s = arg;
    s->reached_old = !s->unordered && file->created_ms > 0 && file->created_ms < s->oldest_ms;
    if (strcmp(file->name, s->tag) != 0)
        return;
    s->files = op_mem_realloc(s->files, (s->count + 1) * sizeof(*s->files));
    s->files[s->count++] = *file;
}

static enum op_rc read_page(struct op_engine *engine, const struct op_lane *lane,
                            char cursor[256], struct search *s, struct op_err *err)
{
    const struct op_provider_ops *provider = lane->provider;
    struct op_exchange x = {0};
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    char next[256];
    memcpy(next, cursor, sizeof(next));
    enum op_rc rc = provider->files(lane, cursor, &x, err);
    if (!rc)
        rc = op_lane_exchange(engine, lane, &x, NULL, NULL, &reply, err);
    int64_t date = op_http_date_ms(&reply);
    if (!rc && !s->server_ms && date > 0) {
        s->server_ms = date;
        s->oldest_ms = date - 2 * STALE_MS;
    }
    if (!rc)
        rc = provider->decode_files(&reply, take_file, s, next, err);
    op_http_reply_release(&reply);
    op_exchange_release(&x);
    /* A server that does not know the cursor would begin again for ever. */
    if (!rc && next[0] && strcmp(next, cursor) == 0)
        return op_fail_as(err, OP_REMOTE, OP_DISP_RETRY,
                          "the list of files repeats the page '%s'", cursor);
    memcpy(cursor, next, sizeof(next));
    return rc ? op_err_wrap(err, "listing the files of the account") : OP_OK;
}

/* Every file of that name, newest first. The list is read to the age that an upload can have. */
static enum op_rc find_files(struct op_engine *engine, const struct op_lane *lane,
                             const char *tag, struct search *ret, struct op_err *err)
{
    char cursor[256] = "";
    *ret = (struct search){.tag = tag, .unordered = lane->provider->list_is_unordered};
    enum op_rc rc = OP_OK;
    int pages = 0;
    do {
        rc = read_page(engine, lane, cursor, ret, err);
    } while (!rc && cursor[0] && !ret->reached_old && ++pages < PAGES_MAX);
    return rc;
}

static enum op_rc remove_file(struct op_engine *engine, const struct op_lane *lane,
                              const char *id, int64_t *ret_date_ms, struct op_err *err)
{
    struct op_exchange x = {0};
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    enum op_rc rc = lane->provider->remove_file(lane, id, &x, err);
    if (!rc)
        rc = op_lane_exchange(engine, lane, &x, NULL, NULL, &reply, err);
    /* Gone already is as good, in whatever words: Gemini's are 403, for a file that may not exist.
     * A crash behind the fence comes by here again. */
    if (rc == OP_NOTFOUND) {
        op_err_clear(err);
        rc = OP_OK;
    }
    *ret_date_ms = op_http_date_ms(&reply);
    op_http_reply_release(&reply);
    op_exchange_release(&x);
    return rc;
}

void op_upload_drop(struct op_work *work, const struct op_batch *batch)
{
    struct op_err err = OP_ERR_INIT;
    int64_t date = 0;
    const struct op_lane *lane = op_batch_lane(work, batch);
    if (!batch->file_id || !batch->file_id[0] || batch->fenced_ms)
        return;
    if (remove_file(work->engine, lane, batch->file_id, &date, &err))
        op_log(OP_EVENT_NOTE, OP_F("batch", batch->id), OP_T("problem", err.msg));
}

enum op_rc op_upload_fence(struct op_work *work, const struct op_batch *batch,
                           int64_t *ret_server_ms, struct op_err *err)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    char tag[OP_TAG_MAX];
    op_batch_tag(work->engine, batch, tag);
    struct search s = {0};
    int64_t date = -1;
    enum op_rc rc = find_files(work->engine, lane, tag, &s, err);
    for (size_t i = 0; !rc && i < s.count; i++)
        if (strcmp(s.files[i].id, batch->file_id) != 0)
            rc = remove_file(work->engine, lane, s.files[i].id, &date, err);
    /* A file that a list leaves out is still a file that a late create can read. */
    if (!rc && batch->file_id[0])
        rc = remove_file(work->engine, lane, batch->file_id, &date, err);
    if (date <= 0)
        date = s.server_ms;
    op_mem_free(s.files);
    if (!rc && date <= 0)
        rc = op_fail_as(err, OP_REMOTE, OP_DISP_RETRY,
                        "the reply carries no Date (does a proxy take it out?)");
    *ret_server_ms = date;
    return rc;
}

/* --- uploading -------------------------------------------------------------------------------- */

static enum op_rc check_file(const struct op_batch *batch, const struct op_remote_file *file,
                             struct op_err *err)
{
    if (!op_provider_id_ok(op_str_from(file->id)))
        return op_fail_as(err, OP_REMOTE, OP_DISP_RETRY,
                          "the upload was answered without a usable file id");
    if (file->bytes >= 0 && file->bytes != batch->bytes)
        return op_fail_as(err, OP_REMOTE, OP_DISP_RETRY,
                          "%lld bytes were uploaded, the provider has %lld",
                          (long long)batch->bytes, (long long)file->bytes);
    return OP_OK;
}

/* An upload whose answer was lost: the newest whole one is taken, the others are removed. */
static enum op_rc adopt_upload(struct op_work *work, const struct op_batch *batch,
                               const char *tag, struct op_remote_file *ret, int64_t *ret_date,
                               struct op_err *err)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    struct search s = {0};
    enum op_rc rc = find_files(work->engine, lane, tag, &s, err);
    for (size_t i = 0; !rc && i < s.count; i++) {
        const struct op_remote_file *file = &s.files[i];
        struct op_err bad = OP_ERR_INIT;
        bool fresh =
            !s.server_ms || file->created_ms <= 0 || s.server_ms - file->created_ms < STALE_MS;
        if (!ret->id[0] && fresh && !check_file(batch, file, &bad)) {
            *ret = *file;
            continue;
        }
        int64_t date = 0;
        bad = OP_ERR_INIT;
        if (remove_file(work->engine, lane, file->id, &date, &bad))
            op_log(OP_EVENT_NOTE, OP_F("batch", batch->id), OP_T("problem", bad.msg));
    }
    *ret_date = s.server_ms;
    op_mem_free(s.files);
    return rc;
}

/* The bytes are there: what is to be said then, and the file. */
static enum op_rc end_upload(struct op_engine *engine, const struct op_lane *lane,
                             const struct op_http_reply *begun, struct op_http_reply *reply,
                             struct op_remote_file *ret, struct op_err *err)
{
    const struct op_provider_ops *provider = lane->provider;
    struct op_exchange x = {0};
    enum op_rc rc = provider->upload_end(lane, begun, &x, err);
    if (rc == OP_NOTFOUND && !err->rc)
        return provider->decode_upload(reply, ret, err);
    op_http_reply_release(reply);
    op_http_reply_init(reply);
    if (!rc)
        rc = op_lane_exchange(engine, lane, &x, NULL, NULL, reply, err);
    if (!rc)
        rc = provider->decode_upload(reply, ret, err);
    op_exchange_release(&x);
    return rc;
}

static enum op_rc put_file(struct op_work *work, const struct op_batch *batch, const char *tag,
                           struct op_remote_file *ret, int64_t *ret_date, struct op_err *err)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    struct op_engine *engine = work->engine;
    const struct op_provider_ops *provider = lane->provider;
    const struct op_create what = op_batch_create(batch, tag);
    struct op_exchange first = {0}, x = {0};
    struct op_http_reply begun, reply;
    op_http_reply_init(&begun);
    op_http_reply_init(&reply);
    enum op_rc rc = provider->upload_begin(lane, &what, &first, err);
    if (rc == OP_NOTFOUND && !err->rc)
        rc = OP_OK;
    else if (!rc)
        rc = op_lane_exchange(engine, lane, &first, NULL, NULL, &begun, err);
    if (!rc)
        rc = provider->upload(lane, &what, &begun, &x, err);
    if (!rc)
        rc = op_lane_exchange_file(engine, lane, &x, batch->file, batch->bytes, &reply, err);
    if (!rc)
        rc = end_upload(engine, lane, &begun, &reply, ret, err);
    *ret_date = op_http_date_ms(&reply);
    if (!rc)
        rc = check_file(batch, ret, err);
    int64_t ignored = 0;
    struct op_err bad = OP_ERR_INIT;
    if (rc && ret->id[0] && op_provider_id_ok(op_str_from(ret->id)) &&
        remove_file(work->engine, lane, ret->id, &ignored, &bad))
        op_log(OP_EVENT_NOTE, OP_F("batch", batch->id), OP_T("problem", bad.msg));
    op_http_reply_release(&begun);
    op_http_reply_release(&reply);
    op_exchange_release(&first);
    op_exchange_release(&x);
    return rc;
}

static enum op_rc uploaded(struct op_work *work, struct op_batch *batch,
                           const struct op_remote_file *file, int64_t date, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    struct op_listing now = {.server_ms = date};
    struct op_buf text;
    op_buf_init(&text, 4096);
    /* The server's time before the create, and who sends it: what reconciling starts from. */
    op_baseline_write(&now, op_batch_lane(work, batch)->id, &text);
    op_mem_free(batch->baseline);
    batch->baseline = op_buf_take(&text);
    op_buf_release(&text);
    op_mem_free(batch->file_id);
    batch->file_id = op_mem_strdup(file->id);
    batch->intent_ms = date;
    batch->uploaded_ms = op_engine_now(engine);
    batch->tries = 0;
    batch->due_ms = 0;
    OP_FAULT(engine, "send.upload.done");
    enum op_rc rc = batch->state == OP_BATCH_UPLOADED
                        ? op_ledger_batch_save(engine->ledger, batch, err)
                        : op_work_move(work, batch, OP_BATCH_UPLOADED, file->id, err);
    OP_FAULT(engine, "send.upload.after");
    if (!rc)
        op_log(OP_EVENT_BATCH_UPLOADED, OP_F("batch", batch->id), OP_F("bytes", batch->bytes),
               OP_T("file", file->id));
    return rc;
}

enum op_rc op_batch_upload(struct op_work *work, struct op_batch *batch, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    const struct op_lane *lane = op_batch_lane(work, batch);
    char tag[OP_TAG_MAX];
    op_batch_tag(engine, batch, tag);
    struct op_remote_file file = {.bytes = -1};
    struct op_err why = OP_ERR_INIT;
    int64_t date = -1;
    enum op_rc rc =
        batch->uploads > 0 ? adopt_upload(work, batch, tag, &file, &date, &why) : OP_OK;
    if (!rc && !file.id[0]) {
        /* Before the first byte goes: whoever comes after a crash looks for it first. */
        batch->uploads++;
        rc = op_ledger_batch_save(engine->ledger, batch, err);
        if (rc)
            return rc;
        OP_FAULT(engine, "send.upload.before");
        rc = put_file(work, batch, tag, &file, &date, &why);
    }
    if (!rc && date <= 0)
        rc = op_fail_as(&why, OP_REMOTE, OP_DISP_RETRY,
                        "the reply to the upload carries no Date (does a proxy take it out?)");
    if (!rc)
        return uploaded(work, batch, &file, date, err);
    if (rc == OP_STOPPED)
        return op_fail(err, OP_STOPPED, "%s", why.msg);
    bool fell_back = false;
    rc = op_work_fall_back(work, lane, &why, &fell_back, err);
    if (rc || fell_back)
        return rc;
    if (why.disp == OP_DISP_REJECT || why.disp == OP_DISP_SPLIT)
        return op_batch_refused(work, batch, OP_BATCH_DROPPED, -1, &why, err);
    if (op_disp_pauses(why.disp))
        op_lane_pause(engine, lane, &why);
    return op_batch_later(work, batch, &why, err);
}
