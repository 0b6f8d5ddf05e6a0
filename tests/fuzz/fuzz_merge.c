/* SPDX-License-Identifier: MIT */
/*
 * Rows delivered into a file that is there already, as a user may have left it. Input: a byte for the
 * kind, one for options, one for how much a read yields; then rows, a line each of "key,value", up to
 * an empty line; then the old file.
 * Oracle: a file that does not fit is refused and stays as it was; delivering a second time, or in two
 *         parts, gives the same file.
 */
#include "base/io.h"
#include "memory_files.h"
#include "sink/frame.h"
#include "sink/sink.h"

static const char *const kinds[] = {"csv", "jsonl", "json", "lines"};
static const char *const columns[] = {"id", "value"};

struct merge {
    struct memory_files fs;
    struct op_sink *sink;
    struct op_buf outbox;
    int64_t middle; /* the end of the first half's frames */
};

static bool open_sink(struct merge *m, const char *kind, uint8_t choice)
{
    struct op_sink_option options[2] = {{"guard", choice & 2 ? "true" : "false"}};
    bool lines = strcmp(kind, "lines") == 0, csv = strcmp(kind, "csv") == 0;
    struct op_sink_config config = {.env = &m->fs.env,
                                    .target = "/w/out",
                                    .columns = lines ? columns + 1 : columns,
                                    .column_count = lines ? 1 : 2,
                                    .key = columns,
                                    .key_count = lines || choice & 1 ? 0 : 1,
                                    .options = options,
                                    .option_count = csv ? 1 : 0,
                                    .place = "p:9",
                                    .work_dir = "/w/work"};
    struct op_err err = OP_ERR_INIT;
    enum op_rc rc = op_sink_open(op_sink_find(kind), &config, &m->sink, &err);
    if (rc)
        fuzz_check_error(rc, &err);
    return !rc;
}

static void encode(struct merge *m, struct fuzz_input *in, bool lines)
{
    int rows = 0;
    for (;;) {
        struct op_str line = fuzz_until(in, '\n');
        if (line.len == 0)
            break;
        struct op_str value = line, key = op_str_cut(&value, ',');
        int64_t n;
        struct op_value cells[2] = {
            op_str_int64(key, &n) ? op_value_int(n) : op_value_text(key), op_value_text(value)};
        struct op_err err = OP_ERR_INIT;
        enum op_rc rc = op_sink_encode(m->sink, OP_STR_NULL, cells + lines, &m->outbox, &err);
        if (rc)
            fuzz_check_error(rc, &err);
        if (rows++ == 0)
            m->middle = (int64_t)m->outbox.len;
    }
}

static enum op_rc deliver(struct merge *m, int64_t from, int64_t to)
{
    struct op_err err = OP_ERR_INIT;
    int64_t delivered = -1;
    enum op_rc rc = op_sink_deliver(m->sink, "/w/outbox", from, to, true, &delivered, &err);
    if (rc)
        fuzz_check_error(rc, &err);
    else
        FUZZ_CHECK(delivered == to, "%lld of %lld", (long long)delivered, (long long)to);
    return rc;
}

/* The target's text, owned; an absent one is empty. */
static void copy_target(const struct merge *m, struct op_buf *ret)
{
    struct op_str text = memory_files_get(&m->fs, "/w/out");
    op_buf_init(ret, 64 * 1024 * 1024);
    op_buf_add(ret, text.ptr, text.len);
}

static void check_same(const struct merge *m, const struct op_buf *want, const char *what)
{
    OP_CLEANUP(op_buf_release) struct op_buf got;
    copy_target(m, &got);
    FUZZ_CHECK(op_str_eq(op_buf_str(want), op_buf_str(&got)), "%s:\n%s\nnot\n%s", what, got.ptr,
               want->ptr);
}

FUZZ_TARGET(merge)
{
    const char *kind = kinds[fuzz_pick(in, OP_COUNT(kinds))];
    uint8_t choice = fuzz_byte(in);
    struct merge m = {0};
    memory_files_init(&m.fs, fuzz_byte(in));
    op_buf_init(&m.outbox, 64 * 1024 * 1024);
    if (open_sink(&m, kind, choice)) {
        encode(&m, in, strcmp(kind, "lines") == 0);
        struct op_str old = fuzz_rest(in);
        OP_CLEANUP(op_buf_release) struct op_buf before, once;
        int64_t end = (int64_t)m.outbox.len;
        memory_files_put(&m.fs, "/w/outbox", op_buf_str(&m.outbox));
        if (old.len > 0)
            memory_files_put(&m.fs, "/w/out", old);
        copy_target(&m, &before);
        enum op_rc rc = deliver(&m, 0, end);
        copy_target(&m, &once);
        if (rc) {
            check_same(&m, &before, "refused, but changed");
        } else {
            FUZZ_CHECK(!deliver(&m, 0, end), "refuses what it wrote");
            check_same(&m, &once, "twice");
            if (choice & 1 || strcmp(kind, "lines") == 0)
                m.middle = end; /* without a key every delivery begins at the start */
            memory_files_put(&m.fs, "/w/out", op_buf_str(&before));
            if (!before.len)
                (void)m.fs.env.ops->unlink(&m.fs.env, "/w/out");
            FUZZ_CHECK(!deliver(&m, 0, m.middle) && !deliver(&m, m.middle, end),
                       "refuses in parts");
            check_same(&m, &once, "in parts");
        }
        op_sink_close(m.sink);
    }
    op_buf_release(&m.outbox);
    memory_files_release(&m.fs);
}
