/* SPDX-License-Identifier: MIT */
/*
 * What a provider's API, or a proxy before it, answers to a create, a poll, a listing, an upload.
 * Input: a byte for the provider, one for what was asked, one for the status, one for how the transport
 * ended; then header lines up to an empty line, then the body.
 * Oracle: the table of the send protocol (reference/reliability.md 3.2): a create is only refused by
 *         the ten statuses that can, only accepted with a 2xx and an id; ids may be put into a URL; a
 *         listing goes on with another cursor or ends; waits are within int64.
 */
#include "fuzz.h"
#include "net/curl_common.h"
#include "provider/provider.h"
#include "provider/rate.h"

struct asked {
    const struct op_provider_ops *provider;
    struct op_http_reply reply;
    enum op_rc transport;
};

static bool may_refuse(int status)
{
    static const int statuses[] = {400, 401, 402, 403, 404, 405, 413, 415, 422, 429};
    for (size_t i = 0; i < OP_COUNT(statuses); i++)
        if (status == statuses[i])
            return true;
    return false;
}

static bool is_good(const struct asked *a)
{
    return a->reply.status >= 200 && a->reply.status < 300;
}

static void check_id(const char *id)
{
    FUZZ_CHECK(op_provider_id_ok(op_str_from(id)), "'%s' may not be put into a URL", id);
}

static void check_batch(const struct op_remote_batch *b)
{
    FUZZ_CHECK(b->state <= OP_REMOTE_UNKNOWN, "state %d", (int)b->state);
    FUZZ_CHECK(b->created_ms >= -1 && b->expires_ms >= -1 && b->ended_ms >= -1, "times");
    FUZZ_CHECK(b->total >= -1, "%lld requests", (long long)b->total);
    if (b->file_id[0])
        check_id(b->file_id);
    if (b->state == OP_REMOTE_FAILED)
        FUZZ_CHECK(b->failure[0], "failed without a reason");
}

static void on_batch(void *arg, const struct op_remote_batch *batch)
{
    (*(int *)arg)++;
    check_id(batch->id);
    check_batch(batch);
}

static void on_file(void *arg, const struct op_remote_file *file)
{
    (*(int *)arg)++;
    check_id(file->id);
    FUZZ_CHECK(file->bytes >= -1, "%lld bytes", (long long)file->bytes);
}

static void check_create(const struct asked *a)
{
    struct op_remote_batch batch = {.failure_limit = -1};
    struct op_err err = OP_ERR_INIT;
    if (a->transport)
        op_err_set(&err, a->transport, "the connection broke");
    enum op_create_class class_ =
        a->provider->decode_create(a->transport, &a->reply, &batch, &err);
    switch (class_) {
    case OP_CREATE_ACCEPTED:
        FUZZ_CHECK(!a->transport && is_good(a), "accepted with %d", a->reply.status);
        check_id(batch.id);
        check_batch(&batch);
        return;
    case OP_CREATE_REJECTED:
        FUZZ_CHECK(!a->transport && may_refuse(a->reply.status), "refused with %d",
                   a->reply.status);
        FUZZ_CHECK(err.disp != OP_DISP_AMBIGUOUS && err.disp != OP_DISP_FATAL, "%s: %s",
                   op_disp_name(err.disp), err.msg);
        break;
    case OP_CREATE_AMBIGUOUS:
        FUZZ_CHECK(err.disp == OP_DISP_AMBIGUOUS, "%s: %s", op_disp_name(err.disp), err.msg);
        break;
    }
    FUZZ_CHECK(err.msg[0] && err.rc, "without a word");
}

static void check_get(const struct asked *a)
{
    struct op_remote_batch batch = {0};
    struct op_err err = OP_ERR_INIT;
    enum op_rc rc = a->provider->decode_batch(&a->reply, &batch, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        if (rc == OP_NOTFOUND)
            FUZZ_CHECK(a->reply.status == 404 || a->reply.status == 410, "%d", a->reply.status);
        return;
    }
    FUZZ_CHECK(is_good(a), "%d", a->reply.status);
    if (batch.id[0])
        check_id(batch.id);
    check_batch(&batch);
}

static void check_list(const struct asked *a, bool files)
{
    static const char before[] = "cursor-0";
    char cursor[256];
    int count = 0;
    struct op_err err = OP_ERR_INIT;
    memset(cursor, 0, sizeof(cursor));
    memcpy(cursor, before, sizeof(before));
    enum op_rc rc = files ? a->provider->decode_files(&a->reply, on_file, &count, cursor, &err)
                          : a->provider->decode_list(&a->reply, on_batch, &count, cursor, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        return;
    }
    FUZZ_CHECK(is_good(a), "%d", a->reply.status);
    FUZZ_CHECK(memchr(cursor, 0, sizeof(cursor)), "a cursor without an end");
    FUZZ_CHECK(strcmp(cursor, before) != 0, "the same page for ever");
}

static void check_upload(const struct asked *a)
{
    struct op_remote_file file = {0};
    struct op_err err = OP_ERR_INIT;
    enum op_rc rc = a->provider->decode_upload(&a->reply, &file, &err);
    if (rc)
        fuzz_check_error(rc, &err);
    else
        check_id(file.id);
}

static void check_error(const struct asked *a)
{
    struct op_err err = OP_ERR_INIT;
    enum op_rc rc = a->provider->decode_error(&a->reply, &err);
    fuzz_check_error(rc, &err);
    FUZZ_CHECK(err.disp != OP_DISP_FATAL && err.disp != OP_DISP_AMBIGUOUS, "%s: %s",
               op_disp_name(err.disp), err.msg);
    FUZZ_CHECK(err.disp != OP_DISP_RETRY_AFTER || err.retry_after_ms >= 0, "%lld ms",
               (long long)err.retry_after_ms);
    FUZZ_CHECK(!strpbrk(err.msg, "\r\n\x1b"), "a message of two lines: %s", err.msg);
}

/* As the client reads them, line by line. */
static void take_headers(struct asked *a, struct fuzz_input *in)
{
    struct op_curl_head head = {.status = a->reply.status};
    for (;;) {
        struct op_str line = fuzz_until(in, '\n');
        if (line.len == 0 || op_str_is(line, "\r"))
            break;
        OP_CLEANUP(op_mem_freep)
        char *text = op_mem_printf(OP_STR_FMT "\n", OP_STR_ARG(line));
        if (!op_curl_head_line(&head, &a->reply, op_str_from(text)))
            break;
    }
    int64_t wait = op_http_retry_after_ms(&a->reply, 1800000000000);
    FUZZ_CHECK(wait >= -1, "%lld ms", (long long)wait);
    FUZZ_CHECK(op_http_date_ms(&a->reply) >= -1, "a date before 1970");
    struct op_rate rate;
    op_rate_read(&a->reply, 1800000000000, &rate);
    FUZZ_CHECK(rate.requests_left >= -1 && rate.tokens_left >= -1 &&
                   rate.requests_reset_ms >= -1 && rate.tokens_reset_ms >= -1,
               "limits below nothing");
}

FUZZ_TARGET(reply)
{
    static const int statuses[] = {0,   100, 200, 201, 202, 204, 301, 400, 401,
                                   402, 403, 404, 405, 408, 409, 410, 413, 415,
                                   422, 425, 429, 500, 502, 503, 504, 529, 599};
    size_t count = 0;
    while (op_providers()[count])
        count++;
    struct asked a = {.provider = op_providers()[fuzz_pick(in, count)]};
    size_t what = fuzz_pick(in, 6);
    op_http_reply_init(&a.reply);
    a.reply.status = statuses[fuzz_pick(in, OP_COUNT(statuses))];
    a.reply.released = a.reply.gate_passed = true;
    a.transport = fuzz_byte(in) & 1 ? OP_REMOTE : OP_OK;
    take_headers(&a, in);
    struct op_str body = fuzz_rest(in);
    op_buf_add_str(&a.reply.body, body);
    switch (what) {
    case 0:
        check_create(&a);
        break;
    case 1:
        check_get(&a);
        break;
    case 2:
        check_list(&a, false);
        break;
    case 3:
        check_list(&a, true);
        break;
    case 4:
        check_upload(&a);
        break;
    default:
        if (!is_good(&a))
            check_error(&a);
    }
    op_http_reply_release(&a.reply);
}
