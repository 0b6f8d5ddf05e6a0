/* SPDX-License-Identifier: MIT */

/*
 * Merging in constant memory. Every row has a place: its offset in the old file, or, for a frame,
 * its offset in the outbox with the highest bit set. Pairs (key hash, place) of all rows are
 * sorted by hash; where a hash occurs more than once, a plan entry (place, what to do) is made for
 * each of its rows; the plan is sorted by place and followed in one pass over both files. Rows
 * without an entry are copied as they are, runs of them as one block.
 *
 * That equal hashes mean equal keys is verified while the plan is followed, against the row that is
 * read there anyway; should it ever fail, everything is done again with the keys themselves
 * compared while planning (careful). A file that does not exist yet is first written on the
 * assumption that no key occurs twice, which the sort then proves or not.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ahead.h"
#include "base/arena.h"
#include "base/io.h"
#include "base/map.h"
#include "base/mem.h"
#include "sink/sorter.h"
#include "sink/target.h"
#include "sink/text_file.h"

#define FRAME_BIT (1ULL << 63)

/* What is copied at once into a new file. */
#define BLOCK ((size_t)512 * 1024)

/* What the plan says about a row, beside the offset of the frame that decides it: */
#define DROP_BIT 1ULL /* else: that frame's payload stands here */

struct merge {
    const struct op_text_sink *sink;
    const char *path;
    struct op_frames *frames;
    struct op_window old;      /* fd -1: there is none */
    struct op_window probe;    /* a second view of the outbox, for deciding frames */
    int64_t old_body, old_end; /* rows of the old file */
    struct op_sorter hashes, plan;
    int64_t plan_at;
    struct op_target out;
    struct op_text_row row;
    struct op_buf key_a, key_b;
    bool careful;
    bool collision; /* set when equal hashes turned out not to mean equal keys */
};

static void merge_release(struct merge *m)
{
    op_window_release(&m->old);
    op_window_release(&m->probe);
    op_sorter_release(&m->hashes);
    op_sorter_release(&m->plan);
    op_target_release(&m->out);
    op_text_row_release(&m->row);
    op_buf_release(&m->key_a);
    op_buf_release(&m->key_b);
}

static void init_sorters(struct merge *m)
{
    const struct op_text_sink *sink = m->sink;
    OP_CLEANUP(op_mem_freep) char *hashes = op_mem_printf("%s-hashes", sink->work_name);
    OP_CLEANUP(op_mem_freep) char *plan = op_mem_printf("%s-plan", sink->work_name);
    op_sorter_release(&m->hashes);
    op_sorter_release(&m->plan);
    op_sorter_init(&m->hashes, sink->env, sink->work_dir, hashes);
    op_sorter_init(&m->plan, sink->env, sink->work_dir, plan);
    m->plan_at = 0;
}

static void merge_init(struct merge *m, const struct op_text_sink *sink, const char *path,
                       struct op_frames *frames)
{
    *m = (struct merge){.sink = sink, .path = path, .frames = frames};
    m->old.fd = -1;
    m->probe.fd = -1;
    op_target_init(&m->out, sink->env);
    op_text_row_init(&m->row, sink);
    op_buf_init(&m->key_a, 2 * (size_t)OP_FRAME_MAX);
    op_buf_init(&m->key_b, 2 * (size_t)OP_FRAME_MAX);
    init_sorters(m);
}

/* --- the old file --- */

/* The record at the window's offset; OP_NOTFOUND (err untouched) at the end. */
static enum op_rc peek_record(struct merge *m, struct op_str *ret, struct op_err *err)
{
    struct op_str bytes = {"", 0};
    for (size_t want = 4096;; want *= 2) {
        enum op_rc rc = op_window_peek(&m->old, want, &bytes, err);
        if (rc)
            return rc;
        bool at_end = bytes.len < want;
        if (bytes.len == 0)
            return OP_NOTFOUND;
        size_t len = m->sink->format->record_len(bytes, at_end);
        if (len > 0) {
            *ret = (struct op_str){bytes.ptr, len};
            return OP_OK;
        }
        if (at_end || bytes.len > 2 * (size_t)OP_FRAME_MAX)
            return op_fail(err, OP_INVAL,
                           "%s: the record at byte %lld does not end (a quote that is never "
                           "closed?); repair the file or move it away",
                           m->path, (long long)m->old.offset);
    }
}

/* In CSV white space is a value: only an empty line is blank. */
static bool is_blank(const struct merge *m, struct op_str record)
{
    size_t line_end = record.len >= 2 && record.ptr[0] == '\r' ? 2 : 1;
    return m->sink->format->has_header ? record.len <= line_end && op_str_ends(record, "\n")
                                       : op_str_trim(record).len == 0;
}

/* Messages say the line, which nobody counted on the way here. */
static enum op_rc fail_old(struct merge *m, int64_t offset, struct op_err *err)
{
    int64_t line = 1;
    struct op_str bytes = {"", 0};
    struct op_err ignored = OP_ERR_INIT;
    op_window_seek(&m->old, 0);
    while (m->old.offset < offset) {
        if (op_window_peek(&m->old, 1, &bytes, &ignored) || bytes.len == 0)
            break;
        int64_t left = offset - m->old.offset;
        size_t len = left < (int64_t)bytes.len ? (size_t)left : bytes.len;
        for (size_t i = 0; i < len; i++)
            line += bytes.ptr[i] == '\n';
        op_window_skip(&m->old, len);
    }
    return op_err_wrap(err, "%s:%lld: the existing file cannot be merged, it stays as it is",
                       m->path, (long long)line);
}

static enum op_rc open_old(struct merge *m, struct op_err *err)
{
    const struct op_text_sink *sink = m->sink;
    enum op_rc rc = op_window_open(&m->old, sink->env, m->path, err);
    if (rc == OP_NOTFOUND)
        return OP_OK;
    if (rc)
        return rc;
    m->old_end = sink->env->ops->size(sink->env, m->old.fd);
    if (m->old_end == 0) {
        op_window_release(&m->old);
        return OP_OK;
    }
    struct op_str bytes;
    rc = op_window_peek(&m->old, 3, &bytes, err);
    if (rc)
        return rc;
    if (op_str_starts(bytes, "\xEF\xBB\xBF"))
        op_window_skip(&m->old, 3);
    while (!rc && sink->format->has_header) {
        struct op_str record;
        rc = peek_record(m, &record, err);
        if (rc)
            break;
        if (!is_blank(m, record)) {
            rc = sink->format->check_header(sink, record, err);
            if (rc)
                return fail_old(m, m->old.offset, err);
            op_window_skip(&m->old, record.len);
            break;
        }
        op_window_skip(&m->old, record.len);
    }
    m->old_body = m->old.offset;
    return rc == OP_NOTFOUND ? OP_OK : rc;
}

/* --- keys --- */

static enum op_rc frame_key(struct merge *m, const struct op_frame_view *view,
                            struct op_key *key, struct op_buf *bytes, struct op_err *err)
{
    enum op_rc rc = m->sink->format->read(m->sink, view->body, &m->row, err);
    if (rc)
        return op_err_wrap(err, "the outbox row at byte %lld", (long long)view->offset);
    op_text_row_key(m->sink, &m->row, key, bytes);
    return OP_OK;
}

static enum op_rc old_key(struct merge *m, struct op_str record, struct op_key *key,
                          struct op_buf *bytes, struct op_err *err)
{
    int64_t offset = m->old.offset;
    enum op_rc rc = m->sink->format->read(m->sink, record, &m->row, err);
    if (rc)
        return fail_old(m, offset, err);
    op_text_row_key(m->sink, &m->row, key, bytes);
    return OP_OK;
}

/* The normalized key of the row at a place. */
static enum op_rc key_at(struct merge *m, uint64_t place, struct op_buf *bytes,
                         struct op_err *err)
{
    struct op_key key;
    enum op_rc rc;
    if (place & FRAME_BIT) {
        struct op_frame_view view;
        rc = op_frame_read(&m->probe, (int64_t)(place & ~FRAME_BIT), &view, err);
        return rc ? rc : frame_key(m, &view, &key, bytes, err);
    }
    struct op_str record;
    op_window_seek(&m->old, (int64_t)place);
    rc = peek_record(m, &record, err);
    return rc ? rc : old_key(m, record, &key, bytes, err);
}

/* --- planning --- */

static enum op_rc collect(struct merge *m, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    struct op_key key;
    struct op_str record;
    if (m->old.fd >= 0) {
        op_window_seek(&m->old, m->old_body);
        while (!(rc = peek_record(m, &record, err))) {
            uint64_t place = (uint64_t)m->old.offset;
            if (!is_blank(m, record)) {
                rc = old_key(m, record, &key, NULL, err);
                if (!rc)
                    rc = op_sorter_add(&m->hashes, key.hash, place, err);
                if (rc)
                    return rc;
            }
            op_window_skip(&m->old, record.len);
        }
        if (rc != OP_NOTFOUND)
            return rc;
    }
    struct op_frame_view view;
    op_frames_rewind(m->frames);
    while (!(rc = op_frames_next(m->frames, &view, err))) {
        rc = op_sorter_add(&m->hashes, view.head.key_hash, (uint64_t)view.offset | FRAME_BIT,
                           err);
        if (rc)
            return rc;
    }
    return rc == OP_NOTFOUND ? op_sorter_sort(&m->hashes, err) : rc;
}

/* Rows of one key: the first of them is where the key stands, the last frame is what stands there.
 * Old rows sort before frames. */
struct owner {
    uint64_t first, last_frame; /* 0: no frame, nothing to do */
    int64_t rows;
};

static void note_row(struct owner *owner, uint64_t place)
{
    if (owner->rows++ == 0)
        owner->first = place;
    if (place & FRAME_BIT)
        owner->last_frame = place;
}

static enum op_rc plan_row(struct merge *m, const struct owner *owner, uint64_t place,
                           struct op_err *err)
{
    bool is_first = place == owner->first;
    if (!owner->last_frame || owner->rows == 1 || (is_first && place == owner->last_frame))
        return OP_OK;
    uint64_t what = (owner->last_frame & ~FRAME_BIT) << 1;
    return op_sorter_add(&m->plan, place, is_first ? what : what | DROP_BIT, err);
}

static enum op_rc plan_group(struct merge *m, int64_t begin, int64_t end, struct op_err *err)
{
    struct owner owner = {0};
    struct op_pair pair = {0};
    enum op_rc rc = OP_OK;
    for (int64_t i = begin; !rc && i < end; i++) {
        rc = op_sorter_get(&m->hashes, i, &pair, err);
        note_row(&owner, pair.value);
    }
    for (int64_t i = begin; !rc && i < end; i++) {
        rc = op_sorter_get(&m->hashes, i, &pair, err);
        if (!rc)
            rc = plan_row(m, &owner, pair.value, err);
    }
    return rc;
}

/* As plan_group, but the rows of one hash are told apart by their keys. */
static enum op_rc plan_carefully(struct merge *m, int64_t begin, int64_t end,
                                 struct op_err *err)
{
    OP_CLEANUP(op_map_release) struct op_map keys = {0};
    OP_CLEANUP(op_mem_freep) struct owner *owners = NULL;
    struct op_pair pair = {0};
    enum op_rc rc = OP_OK;
    for (int64_t i = begin; !rc && i < end; i++) {
        rc = op_sorter_get(&m->hashes, i, &pair, err);
        if (!rc)
            rc = key_at(m, pair.value, &m->key_a, err);
        if (rc)
            break;
        int64_t index = (int64_t)keys.count;
        if (op_map_add(&keys, op_buf_str(&m->key_a), index, &index)) {
            owners = op_mem_realloc(owners, keys.count * sizeof(*owners));
            owners[index] = (struct owner){0};
        }
        note_row(&owners[index], pair.value);
    }
    for (int64_t i = begin; !rc && i < end; i++) {
        rc = op_sorter_get(&m->hashes, i, &pair, err);
        if (!rc)
            rc = key_at(m, pair.value, &m->key_a, err);
        int64_t index = 0;
        if (!rc && op_map_get(&keys, op_buf_str(&m->key_a), &index))
            rc = plan_row(m, &owners[index], pair.value, err);
    }
    return rc;
}

static enum op_rc make_plan(struct merge *m, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    struct op_pair first = {0}, pair = {0};
    for (int64_t begin = 0, end; !rc && begin < m->hashes.total; begin = end) {
        rc = op_sorter_get(&m->hashes, begin, &first, err);
        for (end = begin + 1; !rc && end < m->hashes.total; end++) {
            rc = op_sorter_get(&m->hashes, end, &pair, err);
            if (rc || pair.key != first.key)
                break;
        }
        if (!rc && end - begin > 1)
            rc = m->careful ? plan_carefully(m, begin, end, err)
                            : plan_group(m, begin, end, err);
    }
    return rc ? rc : op_sorter_sort(&m->plan, err);
}

/* Whether any key hash occurs twice, once the hashes are sorted. */
static enum op_rc find_repeat(struct merge *m, bool *ret, struct op_err *err)
{
    struct op_pair pair = {0}, before = {0};
    *ret = false;
    for (int64_t i = 0; i < m->hashes.total; i++) {
        enum op_rc rc = op_sorter_get(&m->hashes, i, &pair, err);
        if (rc)
            return rc;
        if (i > 0 && pair.key == before.key) {
            *ret = true;
            return OP_OK;
        }
        before = pair;
    }
    return OP_OK;
}

/* --- writing --- */

static enum op_rc write_header(struct merge *m, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf head = {0};
    op_buf_init(&head, OP_FRAME_MAX);
    m->sink->format->header(m->sink, &head);
    enum op_rc rc = op_buf_finish(&head, "the header", err);
    return rc ? rc : op_target_add(&m->out, head.ptr, head.len, err);
}

/* Copies old bytes from the window's offset up to end. */
static enum op_rc copy_old(struct merge *m, int64_t end, struct op_err *err)
{
    while (m->old.offset < end) {
        struct op_str bytes;
        enum op_rc rc = op_window_peek(&m->old, 1, &bytes, err);
        if (rc)
            return rc;
        if (bytes.len == 0)
            return op_fail(err, OP_IO, "%s became shorter while it was read", m->path);
        int64_t left = end - m->old.offset;
        size_t len = left < (int64_t)bytes.len ? (size_t)left : bytes.len;
        rc = op_target_add(&m->out, bytes.ptr, len, err);
        if (rc)
            return rc;
        op_window_skip(&m->old, len);
    }
    return OP_OK;
}

/* Does what the plan says about the row whose key is in key_a. */
static enum op_rc apply(struct merge *m, uint64_t what, struct op_err *err)
{
    struct op_frame_view view;
    struct op_key key;
    enum op_rc rc = op_frame_read(&m->probe, (int64_t)(what >> 1), &view, err);
    if (!rc && !m->careful) {
        rc = frame_key(m, &view, &key, &m->key_b, err);
        if (!rc && !op_str_eq(op_buf_str(&m->key_a), op_buf_str(&m->key_b))) {
            m->collision = true;
            return OP_CONFLICT;
        }
    }
    if (rc || (what & DROP_BIT))
        return rc;
    return op_target_add(&m->out, view.body.ptr, view.body.len, err);
}

/* The next plan entry when it is for a place below limit. */
static enum op_rc next_entry(struct merge *m, uint64_t limit, bool *ret_is, struct op_pair *ret,
                             struct op_err *err)
{
    *ret_is = false;
    if (m->plan_at == m->plan.total)
        return OP_OK;
    enum op_rc rc = op_sorter_get(&m->plan, m->plan_at, ret, err);
    *ret_is = !rc && ret->key < limit;
    return rc;
}

static enum op_rc write_old(struct merge *m, struct op_err *err)
{
    op_window_seek(&m->old, 0);
    for (;;) {
        struct op_pair entry;
        bool is;
        enum op_rc rc = next_entry(m, FRAME_BIT, &is, &entry, err);
        if (rc)
            return rc;
        if (!is)
            return copy_old(m, m->old_end, err);
        m->plan_at++;
        struct op_str record;
        struct op_key key;
        rc = copy_old(m, (int64_t)entry.key, err);
        if (!rc)
            rc = peek_record(m, &record, err);
        if (rc)
            return rc;
        size_t len = record.len;
        if (!m->careful && (rc = old_key(m, record, &key, &m->key_a, err)))
            return rc;
        op_window_skip(&m->old, len);
        rc = apply(m, entry.value, err);
        if (rc)
            return rc;
    }
}

/* A payload that follows an old last line without a line end must not be glued to it. */
static enum op_rc end_line(struct merge *m, struct op_err *err)
{
    if (m->out.total == 0 || m->out.last == '\n')
        return OP_OK;
    const char *end = m->sink->style.crlf ? "\r\n" : "\n";
    return op_target_add(&m->out, end, strlen(end), err);
}

static enum op_rc write_frames(struct merge *m, struct op_err *err)
{
    struct op_frame_view view;
    struct op_key key;
    enum op_rc rc;
    op_frames_rewind(m->frames);
    while (!(rc = op_frames_next(m->frames, &view, err))) {
        uint64_t place = (uint64_t)view.offset | FRAME_BIT;
        struct op_pair entry;
        bool is;
        rc = next_entry(m, place + 1, &is, &entry, err);
        if (!rc && !(is && (entry.value & DROP_BIT)))
            rc = end_line(m, err);
        if (!rc && is) {
            m->plan_at++;
            if (!m->careful)
                rc = frame_key(m, &view, &key, &m->key_a, err);
            if (!rc)
                rc = apply(m, entry.value, err);
        } else if (!rc) {
            rc = op_target_add(&m->out, view.body.ptr, view.body.len, err);
        }
        if (rc)
            return rc;
    }
    return rc == OP_NOTFOUND ? OP_OK : rc;
}

static enum op_rc write_planned(struct merge *m, struct op_err *err)
{
    init_sorters(m);
    enum op_rc rc = collect(m, err);
    if (!rc)
        rc = make_plan(m, err);
    if (!rc)
        rc = op_target_begin(&m->out, m->path, err);
    if (!rc)
        rc = m->old.fd >= 0 ? write_old(m, err) : write_header(m, err);
    return rc ? rc : write_frames(m, err);
}

/* The next payloads of the outbox, their hashes noted on the way; behind the last the hashes are
 * sorted. On a thread of its own, so that this is done while the block before is written. */
static enum op_rc fill_block(void *arg, void *item, bool *ret_last, struct op_err *err)
{
    struct merge *m = arg;
    struct op_buf *block = item;
    struct op_frame_view view;
    enum op_rc rc = OP_OK;
    op_buf_clear(block);
    while (!rc && block->len < BLOCK) {
        rc = op_frames_next(m->frames, &view, err);
        if (rc)
            break;
        op_buf_add_str(block, view.body);
        if (m->sink->key_count > 0)
            rc = op_sorter_add(&m->hashes, view.head.key_hash, 0, err);
    }
    if (rc != OP_NOTFOUND || err->rc)
        return rc ? rc : op_buf_finish(block, "rows for a file", err);
    *ret_last = true;
    return op_sorter_sort(&m->hashes, err);
}

static enum op_rc write_blocks(struct merge *m, struct op_ahead *ahead, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (bool last = false; !rc && !last;) {
        void *item = NULL;
        rc = op_ahead_next(ahead, &item, &last, err);
        if (rc)
            break;
        const struct op_buf *block = item;
        rc = op_target_add(&m->out, block->ptr, block->len, err);
        op_ahead_done(ahead, item);
    }
    return rc;
}

/* The first write of a file: the outbox as it is. */
static enum op_rc write_fresh(struct merge *m, bool *ret_repeat, struct op_err *err)
{
    enum { BLOCKS = 3 };
    struct op_buf blocks[BLOCKS];
    void *items[BLOCKS];
    struct op_ahead *ahead = NULL;
    for (size_t i = 0; i < BLOCKS; i++) {
        op_buf_init(&blocks[i], BLOCK + (size_t)OP_FRAME_MAX);
        items[i] = &blocks[i];
    }
    *ret_repeat = false;
    enum op_rc rc = op_target_begin(&m->out, m->path, err);
    if (!rc)
        rc = write_header(m, err);
    if (!rc)
        rc = op_ahead_start(items, BLOCKS, fill_block, m, &ahead, err);
    if (!rc)
        rc = write_blocks(m, ahead, err);
    op_ahead_stop(ahead);
    for (size_t i = 0; i < BLOCKS; i++)
        op_buf_release(&blocks[i]);
    return rc ? rc : find_repeat(m, ret_repeat, err);
}

static enum op_rc write_rows(struct merge *m, struct op_err *err)
{
    enum op_rc rc;
    bool repeat = true;
    if (m->old.fd < 0) {
        rc = write_fresh(m, &repeat, err);
        if (rc || !repeat)
            return rc;
    }
    rc = op_window_open(&m->probe, m->sink->env, m->frames->window.path, err);
    if (rc == OP_NOTFOUND)
        return op_fail(err, OP_IO, "the outbox file %s is missing", m->frames->window.path);
    if (rc)
        return rc;
    rc = write_planned(m, err);
    if (m->collision) {
        m->careful = true;
        rc = write_planned(m, err);
    }
    return rc;
}

/* --- sorting (option sort) --- */

struct sort_row {
    struct op_str record;
    const struct op_text_sink *sink;
    struct op_value *cells; /* the sort columns */
};

static int compare_cells(struct op_value a, struct op_value b)
{
    double da = 0, db = 0;
    char text_a[32], text_b[32];
    struct op_str sa = op_value_to_text(a, text_a), sb = op_value_to_text(b, text_b);
    bool na = sa.ptr && op_str_double(sa, &da), nb = sb.ptr && op_str_double(sb, &db);
    int64_t ia, ib;
    if (na && nb && op_str_int64(sa, &ia) && op_str_int64(sb, &ib))
        return (ia > ib) - (ia < ib);
    if (na && nb)
        return (da > db) - (da < db);
    if (na != nb)
        return na ? -1 : 1;
    size_t len = sa.len < sb.len ? sa.len : sb.len;
    int order = len ? memcmp(sa.ptr, sb.ptr, len) : 0;
    return order ? order : (sa.len > sb.len) - (sa.len < sb.len);
}

static int compare_rows(const void *pa, const void *pb)
{
    const struct sort_row *a = pa, *b = pb;
    for (size_t i = 0; i < a->sink->sort_count; i++) {
        int order = compare_cells(a->cells[i], b->cells[i]);
        if (order)
            return order;
    }
    /* Rows that sort alike keep their order: it is that of their addresses. */
    return (a->record.ptr > b->record.ptr) - (a->record.ptr < b->record.ptr);
}

static enum op_rc read_back(struct merge *m, struct op_buf *text, struct op_err *err)
{
    enum op_rc rc = op_target_flush(&m->out, err);
    if (rc)
        return rc;
    if (m->out.total > (int64_t)OP_TEXT_MAX_SORTED)
        return op_fail(err, OP_INVAL,
                       "%s would have %lld bytes, more than the %zu that the option 'sort' can "
                       "sort; leave it out or write to sqlite",
                       m->path, (long long)m->out.total, OP_TEXT_MAX_SORTED);
    return op_io_read_file(m->sink->env, m->out.temp, text, err);
}

struct sorting {
    struct op_buf text;
    struct sort_row *rows;
    size_t count, room;
    struct op_arena arena;
    size_t head; /* bytes before the first row */
};

static void sorting_release(struct sorting *s)
{
    op_buf_release(&s->text);
    op_mem_free(s->rows);
    op_arena_release(&s->arena);
}

static enum op_rc split_rows(struct merge *m, struct sorting *s, struct op_err *err)
{
    const struct op_text_sink *sink = m->sink;
    size_t at = op_str_starts(op_buf_str(&s->text), "\xEF\xBB\xBF") ? 3 : 0;
    bool header = sink->format->has_header;
    s->head = at;
    while (at < s->text.len) {
        struct op_str rest = {s->text.ptr + at, s->text.len - at};
        struct op_str record = {rest.ptr, sink->format->record_len(rest, true)};
        if (record.len == 0)
            record = rest;
        at += record.len;
        if (header || is_blank(m, record)) {
            header = header && is_blank(m, record);
            s->head = s->count ? s->head : at;
            continue;
        }
        enum op_rc rc = sink->format->read(sink, record, &m->row, err);
        if (rc)
            return op_err_wrap(err, "%s: cannot sort", m->path);
        if (s->count == s->room) {
            s->room = s->room ? s->room * 2 : 256;
            s->rows = op_mem_realloc(s->rows, s->room * sizeof(*s->rows));
        }
        struct sort_row *row = &s->rows[s->count++];
        *row = (struct sort_row){
            record, sink, op_arena_array(&s->arena, sink->sort_count, sizeof(struct op_value))};
        for (size_t i = 0; i < sink->sort_count; i++) {
            row->cells[i] = m->row.cells[sink->sort[i]];
            if (row->cells[i].type >= OP_VALUE_TEXT)
                row->cells[i].s.ptr = op_arena_strdup(&s->arena, row->cells[i].s);
        }
    }
    return OP_OK;
}

static enum op_rc sort_target(struct merge *m, struct op_err *err)
{
    OP_CLEANUP(sorting_release) struct sorting s = {0};
    op_buf_init(&s.text, OP_TEXT_MAX_SORTED);
    enum op_rc rc = read_back(m, &s.text, err);
    if (!rc)
        rc = split_rows(m, &s, err);
    if (rc)
        return rc;
    if (s.count > 1)
        qsort(s.rows, s.count, sizeof(*s.rows), compare_rows);
    rc = op_target_begin(&m->out, m->path, err);
    if (!rc)
        rc = op_target_add(&m->out, s.text.ptr, s.head, err);
    for (size_t i = 0; !rc && i < s.count; i++) {
        rc = end_line(m, err);
        if (!rc)
            rc = op_target_add(&m->out, s.rows[i].record.ptr, s.rows[i].record.len, err);
    }
    return rc;
}

enum op_rc op_text_merge(const struct op_text_sink *sink, const char *path,
                         struct op_frames *frames, struct op_err *err)
{
    OP_CLEANUP(merge_release) struct merge m = {0};
    merge_init(&m, sink, path, frames);
    enum op_rc rc = sink->key_count > 0 ? open_old(&m, err) : OP_OK;
    if (!rc)
        rc = write_rows(&m, err);
    if (!rc && sink->sort_count > 0)
        rc = sort_target(&m, err);
    return rc ? rc : op_target_commit(&m.out, err);
}
