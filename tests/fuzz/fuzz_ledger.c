/* SPDX-License-Identifier: MIT */
/*
 * A ledger file that was damaged. Input: patches of an image, five bytes each: page, offset (two),
 * what to do, with what.
 * Oracle: nothing that is done with it crashes or hangs; what is read has a known state; a batch that
 *         was sent is never sent again; the audit says something or the ledger works.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "fuzz.h"
#include "ledger/ledger.h"

enum { PAGE = 8192, SENT_BATCHES = 2 };

static char dir[200], path[220];
static struct op_buf image;

static void must(enum op_rc rc, const struct op_err *err)
{
    FUZZ_CHECK(!rc, "%s", err->msg);
}

static void add_batch(struct op_ledger *ledger, int64_t job, int64_t lane)
{
    struct op_err err = OP_ERR_INIT;
    char file[] = "payload/1-aabbccddeeff.json", model[] = "m";
    int64_t id = op_ledger_next_batch(ledger), record = 0, lo = op_ledger_next_request(ledger);
    for (int i = 0; i < 3; i++) {
        char key[32];
        snprintf(key, sizeof(key), "k%lld-%d", (long long)id, i);
        must(op_ledger_record_add(ledger, job, op_str_from(key), OP_STR("{\"a\":1}"), &record,
                                  &err),
             &err);
        struct op_request r = {.id = op_ledger_next_request(ledger),
                               .job_id = job,
                               .record_id = record,
                               .state = OP_REQUEST_PACKED,
                               .batch_id = id,
                               .payload = {id, 10, 20}};
        must(op_ledger_request_add(ledger, &r, &err), &err);
    }
    struct op_batch b = {.id = id,
                         .job_id = job,
                         .lane_id = lane,
                         .count = 3,
                         .request_lo = lo,
                         .request_hi = lo + 2,
                         .file = file,
                         .bytes = 100,
                         .model = model};
    snprintf(b.nonce, sizeof(b.nonce), "abcdefg%lld", (long long)id);
    memset(b.sha256, 'a', 64);
    must(op_ledger_batch_add(ledger, &b, &err), &err);
}

static void go(struct op_ledger *ledger, int64_t id, enum op_batch_state to)
{
    struct op_err err = OP_ERR_INIT;
    OP_CLEANUP(op_batch_release) struct op_batch b = {0};
    must(op_ledger_batch_get(ledger, id, &b, &err), &err);
    must(op_ledger_batch_go(ledger, &b, to, "made for the test", &err), &err);
}

/* Batch 1 is accepted and has a result, batch 2 is being sent, batch 3 is only built. */
static void fill(struct op_ledger *ledger)
{
    struct op_err err = OP_ERR_INIT;
    struct op_lane_row lane = {0};
    char text[] = "labels", empty[] = "{}", none[] = "";
    struct op_job job = {.pipeline = text,
                         .identity = text,
                         .definition = text,
                         .params = empty,
                         .options = empty,
                         .reason = none,
                         .round = 1};
    must(op_ledger_lane(ledger, "anthropic", "https://x", "ab12", &lane, &err), &err);
    job.lane_id = lane.id;
    op_lane_row_release(&lane);
    must(op_ledger_definition_put(ledger, text, OP_STR("text"), &err), &err);
    must(op_ledger_job_add(ledger, &job, &err), &err);
    for (int i = 0; i <= SENT_BATCHES; i++)
        add_batch(ledger, job.id, job.lane_id);
    for (int64_t id = 1; id <= SENT_BATCHES; id++)
        go(ledger, id, OP_BATCH_SENDING);
    go(ledger, 1, OP_BATCH_ACCEPTED);
    struct op_result_row row = {.batch_id = 1, .request_id = 1, .valid = true, .part = -1};
    bool inserted = false;
    must(op_ledger_result_add(ledger, &row, &inserted, &err), &err);
    must(op_ledger_note_add(ledger, job.id, 1, 1, "warning", OP_STR("odd"), &err), &err);
}

static void remove_dir(void)
{
    static const char *const names[] = {"ledger.db", "ledger.lock", "ledger.db-journal"};
    for (size_t i = 0; i < OP_COUNT(names); i++) {
        OP_CLEANUP(op_mem_freep) char *file = op_io_join(dir, names[i]);
        (void)unlink(file);
    }
    (void)rmdir(dir);
}

static void make_image(void)
{
    const char *base = getenv("TMPDIR");
    struct op_ledger *ledger = NULL;
    struct op_err err = OP_ERR_INIT;
    snprintf(dir, sizeof(dir), "%s/op-fuzz-ledger-XXXXXX", base && *base ? base : "/tmp");
    FUZZ_CHECK(mkdtemp(dir), "cannot make %s", dir);
    snprintf(path, sizeof(path), "%s/ledger.db", dir);
    must(op_ledger_open(op_env_default(), dir, OP_LEDGER_WRITE, NULL, &ledger, &err), &err);
    fill(ledger);
    op_ledger_close(ledger);
    op_buf_init(&image, 64 * 1024 * 1024);
    must(op_io_read_file(op_env_default(), path, &image, &err), &err);
    fuzz_keeps_blocks();
    (void)atexit(remove_dir);
}

static void patch(struct op_buf *file, struct fuzz_input *in)
{
    size_t pages = file->len / PAGE;
    size_t page = fuzz_pick(in, pages) * PAGE;
    size_t at = page + ((size_t)fuzz_byte(in) << 8 | fuzz_byte(in)) % PAGE;
    uint8_t how = fuzz_byte(in), with = fuzz_byte(in);
    size_t left = file->len - at;
    switch (how % 5) {
    case 0:
        file->ptr[at] = (char)with;
        break;
    case 1:
        memset(file->ptr + at, 0, left < with ? left : with);
        break;
    case 2: /* a page of another place */
        memcpy(file->ptr + page, file->ptr + with % pages * PAGE, PAGE);
        break;
    case 3: /* the word of a state for another of the same length */
        if (left >= 8)
            memcpy(file->ptr + at, with & 1 ? "uploaded" : "accepted", 8);
        break;
    default:
        file->len = how & 64 ? at : file->len;
    }
}

static void write_image(struct op_str text)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len && close(fd) == 0,
               "cannot write %s", path);
    OP_CLEANUP(op_mem_freep) char *journal = op_mem_printf("%s-journal", path);
    (void)unlink(journal);
}

static enum op_rc see_request(void *arg, const struct op_request *r, struct op_err *err)
{
    (void)arg, (void)err;
    FUZZ_CHECK(r->state < OP_REQUEST_STATE_COUNT, "state %d", (int)r->state);
    return OP_OK;
}

static enum op_rc see_batch(void *arg, const struct op_batch *b, struct op_err *err)
{
    (void)arg, (void)err;
    FUZZ_CHECK(b->state < OP_BATCH_STATE_COUNT, "state %d", (int)b->state);
    return OP_OK;
}

static enum op_rc see_job(void *arg, const struct op_job *job, struct op_err *err)
{
    (void)arg, (void)err;
    FUZZ_CHECK(job->state < OP_JOB_STATE_COUNT, "state %d", (int)job->state);
    return OP_OK;
}

static enum op_rc see_result(void *arg, const struct op_result_row *row, struct op_err *err)
{
    (void)arg, (void)err;
    FUZZ_CHECK(row->class_ < OP_RESULT_CLASS_COUNT, "class %d", (int)row->class_);
    return OP_OK;
}

static void check_rc(enum op_rc rc, struct op_err *err)
{
    if (rc)
        fuzz_check_error(rc, err);
    op_err_clear(err);
}

static void read_all(struct op_ledger *ledger)
{
    struct op_err err = OP_ERR_INIT;
    struct op_batch_filter any = {0};
    struct op_member *members = NULL;
    size_t count = 0;
    check_rc(op_ledger_jobs(ledger, false, see_job, NULL, &err), &err);
    check_rc(op_ledger_batches(ledger, &any, see_batch, NULL, &err), &err);
    check_rc(op_ledger_batch_requests(ledger, 1, see_request, NULL, &err), &err);
    check_rc(op_ledger_request_results(ledger, 1, see_result, NULL, &err), &err);
    check_rc(op_ledger_batch_members(ledger, 2, &members, &count, &err), &err);
    op_mem_free(members);
    OP_CLEANUP(op_buf_release) struct op_buf report;
    int64_t problems = 0;
    op_buf_init(&report, 16 * 1024 * 1024);
    enum op_rc rc = op_ledger_audit(ledger, &report, &problems, &err);
    FUZZ_CHECK(rc || (problems > 0) == (report.len > 0), "%lld problems: %s",
               (long long)problems, report.ptr);
    check_rc(rc, &err);
}

/* As the engine would: every batch that is not sent yet is sent. */
static void send_all(struct op_ledger *ledger)
{
    for (int64_t id = 1; id <= SENT_BATCHES + 1; id++) {
        OP_CLEANUP(op_batch_release) struct op_batch b = {0};
        struct op_err err = OP_ERR_INIT;
        if (op_ledger_batch_get(ledger, id, &b, &err) ||
            !op_batch_may_go(b.state, OP_BATCH_SENDING))
            continue;
        op_err_clear(&err);
        enum op_rc rc = op_ledger_batch_go(ledger, &b, OP_BATCH_SENDING, "again", &err);
        if (rc)
            fuzz_check_error(rc, &err);
        FUZZ_CHECK(rc || id > SENT_BATCHES, "batch %lld is sent a second time", (long long)id);
    }
}

FUZZ_TARGET(ledger)
{
    if (!image.len)
        make_image();
    OP_CLEANUP(op_buf_release) struct op_buf file;
    struct op_ledger *ledger = NULL;
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&file, 64 * 1024 * 1024);
    op_buf_add_str(&file, op_buf_str(&image));
    while (in->len >= 5 && file.len >= PAGE)
        patch(&file, in);
    write_image(op_buf_str(&file));
    enum op_rc rc = op_ledger_open(op_env_default(), dir, OP_LEDGER_WRITE, NULL, &ledger, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        return;
    }
    read_all(ledger);
    send_all(ledger);
    op_ledger_close(ledger);
}
