/* SPDX-License-Identifier: MIT */
#include "base/csv.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#ifdef __SSE2__
#    include <emmintrin.h>
#endif

#include "base/json_out.h"
#include "base/mem.h"

enum { FIRST_ROOM = 512 * 1024, FIRST_FIELDS = 32 };

/* What is still to be done to a field when its record is complete. Doubled quotes are collapsed
 * in place, and until then a refill may have to read the record again. */
enum { PLAIN = 0, QUOTED = 1, DOUBLED = 2 };

/* Where separators, quotes and newlines are in a block of 64 bytes: short fields share the work
 * of looking for their ends. */
struct finder {
    const char *block; /* NULL: none looked at yet; never behind what is read next */
    uint64_t mask;     /* bit i: block[i] is one of the three */
};

struct op_csv_reader {
    struct op_env *env;
    int fd;
    char *path;
    char separator;
    size_t max_record;

    char *window; /* room bytes and OP_BUF_PADDING */
    size_t room;
    size_t start, end; /* what was read and is not yet consumed */
    size_t clean;      /* window[start, clean) holds no NUL */
    bool nul;          /* window[clean] is one */
    bool at_end;
    bool begun;     /* the place of a BOM has passed */
    bool skip_line; /* after an error: the rest of the line is dropped first */

    struct op_str *fields;
    uint8_t *kinds; /* of each field */
    size_t count, field_room;
    bool any_quoted; /* in the record being read */
    struct finder finder;

    int64_t line;        /* of window[start] */
    int64_t record_line; /* where the last record began */
    int64_t record;      /* its number */
};

/* How reading one record ended. */
enum outcome {
    COMPLETE,
    MORE,        /* the window ends inside it */
    STRAY_QUOTE, /* a quote in an unquoted field */
    TEXT_AFTER,  /* text after a closing quote */
    UNCLOSED,
    TOO_LARGE,
    NUL_BYTE,
};

struct scan {
    size_t end;   /* COMPLETE: after the line end; errors: the place of the error */
    size_t raw;   /* COMPLETE: where the line end begins; otherwise 0 */
    size_t quote; /* last opening quote, for UNCLOSED and TOO_LARGE */
    bool quoted;  /* the window ended inside quotes */
};

enum op_rc op_csv_open(struct op_env *env, const char *path, char separator, size_t max_record,
                       struct op_csv_reader **ret, struct op_err *err)
{
    int fd;
    do {
        fd = env->ops->open(env, path, O_RDONLY, 0);
    } while (fd == -EINTR);
    if (fd < 0) {
        errno = -fd;
        enum op_rc rc = errno == ENOENT                       ? OP_NOTFOUND
                        : errno == EACCES || errno == ENOTDIR ? OP_INVAL
                                                              : OP_IO;
        return op_fail_errno(err, rc, "cannot open %s", path);
    }
    struct op_csv_reader *csv = op_mem_alloc(sizeof(*csv));
    *csv = (struct op_csv_reader){.env = env,
                                  .fd = fd,
                                  .path = op_mem_strdup(path),
                                  .separator = separator,
                                  .max_record = max_record,
                                  .room = FIRST_ROOM,
                                  .field_room = FIRST_FIELDS,
                                  .line = 1};
    csv->window = op_mem_alloc(csv->room + OP_BUF_PADDING);
    csv->fields = op_mem_array(csv->field_room, sizeof(*csv->fields));
    csv->kinds = op_mem_array(csv->field_room, sizeof(*csv->kinds));
    *ret = csv;
    return OP_OK;
}

void op_csv_close(struct op_csv_reader *csv)
{
    if (!csv)
        return;
    csv->env->ops->close(csv->env, csv->fd);
    op_mem_free(csv->path);
    op_mem_free(csv->window);
    op_mem_free(csv->fields);
    op_mem_free(csv->kinds);
    op_mem_free(csv);
}

void op_csv_closep(struct op_csv_reader **csv)
{
    op_csv_close(OP_TAKE(*csv));
}

int64_t op_csv_line(const struct op_csv_reader *csv)
{
    return csv->record_line;
}

static int64_t count_newlines(const char *ptr, size_t len)
{
    int64_t count = 0;
    const char *end = ptr + len;
    while (ptr < end && (ptr = memchr(ptr, '\n', (size_t)(end - ptr)))) {
        count++;
        ptr++;
    }
    return count;
}

static void look_for_nul(struct op_csv_reader *csv, size_t from)
{
    const char *nul =
        csv->end > from ? memchr(csv->window + from, '\0', csv->end - from) : NULL;
    csv->nul = nul != NULL;
    csv->clean = nul ? (size_t)(nul - csv->window) : csv->end;
}

/* Moves what is not consumed to the front and reads until the window is full. A record that
 * fills more than half of the window doubles it: each byte is then scanned twice on average. */
static enum op_rc refill(struct op_csv_reader *csv, struct op_err *err)
{
    size_t have = csv->end - csv->start;
    size_t clean = csv->clean > csv->start ? csv->clean - csv->start : 0;
    if (have > csv->room / 2) {
        size_t room = csv->room * 2;
        char *window = op_mem_alloc(room + OP_BUF_PADDING);
        memcpy(window, csv->window + csv->start, have);
        op_mem_free(csv->window);
        csv->window = window;
        csv->room = room;
    } else if (have > 0) {
        memmove(csv->window, csv->window + csv->start, have);
    }
    csv->start = 0;
    csv->end = have;
    csv->finder = (struct finder){0};
    while (csv->end < csv->room) {
        ssize_t n = csv->env->ops->read(csv->env, csv->fd, csv->window + csv->end,
                                        csv->room - csv->end);
        if (n == -EINTR)
            continue;
        if (n < 0) {
            errno = (int)-n;
            return op_fail_errno(err, errno == EISDIR ? OP_INVAL : OP_IO,
                                 "cannot read %s after line %lld", csv->path,
                                 (long long)csv->line);
        }
        if (n == 0) {
            csv->at_end = true;
            break;
        }
        csv->end += (size_t)n;
    }
    csv->clean = clean;
    if (!csv->nul)
        look_for_nul(csv, clean);
    return OP_OK;
}

/* Reads up to 63 bytes past the window, which its padding allows. */
static uint64_t look_at(const char *block, char separator)
{
    uint64_t mask = 0;
#ifdef __SSE2__
    const __m128i sep = _mm_set1_epi8(separator);
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i newline = _mm_set1_epi8('\n');
    for (size_t i = 0; i < 4; i++) {
        __m128i part = _mm_loadu_si128((const __m128i *)(const void *)(block + 16 * i));
        __m128i hit =
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(part, sep), _mm_cmpeq_epi8(part, quote)),
                         _mm_cmpeq_epi8(part, newline));
        mask |= (uint64_t)(unsigned)_mm_movemask_epi8(hit) << (16 * i);
    }
#else
    for (int i = 0; i < 64; i++) {
        bool hit = block[i] == separator || block[i] == '"' || block[i] == '\n';
        mask |= (uint64_t)hit << i;
    }
#endif
    return mask;
}

/* First separator, quote or newline in [at, end), or end. */
static const char *find_special(struct finder *finder, const char *at, const char *end,
                                char separator)
{
    if (at == end)
        return end;
    if (finder->block && at - finder->block < 64) {
        finder->mask &= ~(uint64_t)0 << (at - finder->block);
    } else {
        finder->block = at;
        finder->mask = look_at(at, separator);
    }
    while (!finder->mask) {
        if (end - finder->block <= 64)
            return end;
        finder->block += 64;
        finder->mask = look_at(finder->block, separator);
    }
    const char *found = finder->block + __builtin_ctzll(finder->mask);
    return found < end ? found : end;
}

static void add_field(struct op_csv_reader *csv, const char *ptr, size_t len, uint8_t kind)
{
    if (csv->count == csv->field_room) {
        csv->field_room *= 2;
        csv->fields = op_mem_realloc(csv->fields, csv->field_room * sizeof(*csv->fields));
        csv->kinds = op_mem_realloc(csv->kinds, csv->field_room * sizeof(*csv->kinds));
    }
    csv->fields[csv->count] = (struct op_str){ptr, len};
    csv->kinds[csv->count++] = kind;
}

/* Reads the quoted field that opens at *at and leaves *at behind its closing quote. */
static enum outcome scan_quoted(struct op_csv_reader *csv, const char *base, const char *end,
                                const char **at, struct scan *scan)
{
    const char *first = *at + 1;
    const char *p = first;
    uint8_t kind = QUOTED;
    scan->quote = (size_t)(*at - base);
    for (;;) {
        p = p < end ? memchr(p, '"', (size_t)(end - p)) : NULL;
        /* A quote as the last byte of the window may be the first half of a doubled one. */
        if (!p || (p + 1 == end && !csv->at_end)) {
            scan->quoted = true;
            return csv->at_end ? UNCLOSED : MORE;
        }
        if (p + 1 == end || p[1] != '"')
            break;
        kind = DOUBLED;
        p += 2;
    }
    add_field(csv, first, (size_t)(p - first), kind);
    csv->any_quoted = true;
    *at = p + 1;
    return COMPLETE;
}

/* Whether a line end begins at at: its length, 0 for none, -1 when the window is too short to
 * tell. A CR as the last byte of the file is taken for one. */
static int line_end(const struct op_csv_reader *csv, const char *at, const char *end)
{
    if (at < end && *at == '\n')
        return 1;
    if (at < end && *at == '\r') {
        if (at + 1 < end)
            return at[1] == '\n' ? 2 : 0;
        return csv->at_end ? 1 : -1;
    }
    return 0;
}

/* What follows a closing quote: a separator, the end of the record, or an error. */
static enum outcome scan_after_quote(const struct op_csv_reader *csv, const char *at,
                                     const char *end, int *ret_line_end)
{
    *ret_line_end = 0;
    if (at == end)
        return csv->at_end ? COMPLETE : MORE;
    if (*at == csv->separator)
        return COMPLETE;
    *ret_line_end = line_end(csv, at, end);
    if (*ret_line_end < 0)
        return MORE;
    return *ret_line_end > 0 ? COMPLETE : TEXT_AFTER;
}

/* Reads the unquoted field at *at and leaves *at behind it, at a separator or the line end. */
static enum outcome scan_plain(struct op_csv_reader *csv, const char *end, const char **at,
                               int *ret_line_end)
{
    const char *first = *at;
    const char *stop = find_special(&csv->finder, first, end, csv->separator);
    *at = stop;
    if (stop == end && !csv->at_end)
        return MORE;
    if (stop < end && *stop == '"')
        return STRAY_QUOTE;
    bool record_ends = stop == end || *stop == '\n';
    if (record_ends && stop > first && stop[-1] == '\r')
        (*at)--;
    *ret_line_end = record_ends ? (int)(stop - *at) + (stop < end) : 0;
    add_field(csv, first, (size_t)(*at - first), PLAIN);
    return COMPLETE;
}

/* Reads one record from the start of the window; positions count from there. */
static enum outcome scan_record(struct op_csv_reader *csv, struct scan *scan)
{
    const char *base = csv->window + csv->start, *end = csv->window + csv->end;
    const char *at = base;
    *scan = (struct scan){0};
    csv->count = 0;
    csv->any_quoted = false;
    for (;;) {
        int newline_len = 0;
        enum outcome outcome;
        if (at < end && *at == '"') {
            outcome = scan_quoted(csv, base, end, &at, scan);
            if (!outcome)
                outcome = scan_after_quote(csv, at, end, &newline_len);
        } else {
            outcome = scan_plain(csv, end, &at, &newline_len);
        }
        if (outcome) {
            scan->end = outcome == UNCLOSED ? scan->quote : (size_t)(at - base);
            return outcome;
        }
        if (newline_len > 0 || at == end) {
            scan->raw = (size_t)(at - base);
            scan->end = scan->raw + (size_t)newline_len;
            return COMPLETE;
        }
        at++; /* the separator: a field follows it, be it empty */
    }
}

/* Makes one quote of each doubled one, in place; yields the new length. */
static size_t collapse(char *text, size_t len)
{
    size_t to = 0;
    for (size_t from = 0; from < len;) {
        const char *quote = memchr(text + from, '"', len - from);
        size_t step = quote ? (size_t)(quote - (text + from)) + 1 : len - from;
        if (to != from)
            memmove(text + to, text + from, step);
        to += step;
        from += step + (quote != NULL);
    }
    return to;
}

static void finish_record(struct op_csv_reader *csv, const struct scan *scan)
{
    char *base = csv->window + csv->start;
    csv->line += base[scan->end - 1] == '\n';
    csv->start += scan->end;
    if (!csv->any_quoted)
        return;
    for (size_t i = 0; i < csv->count; i++) {
        struct op_str *field = &csv->fields[i];
        if (csv->kinds[i] == PLAIN)
            continue;
        csv->line += count_newlines(field->ptr, field->len);
        if (csv->kinds[i] == DOUBLED)
            field->len = collapse(base + (field->ptr - base), field->len);
    }
}

/* Drops the rest of the line an error was found in, however long it is. */
static enum op_rc skip_line(struct op_csv_reader *csv, struct op_err *err)
{
    for (;;) {
        const char *at = csv->window + csv->start;
        size_t have = csv->end - csv->start;
        const char *newline = have > 0 ? memchr(at, '\n', have) : NULL;
        csv->start += newline ? (size_t)(newline - at) + 1 : have;
        if (newline || csv->at_end) {
            csv->line += newline != NULL;
            csv->skip_line = false;
            if (csv->nul && csv->clean < csv->start)
                look_for_nul(csv, csv->start);
            return OP_OK;
        }
        csv->nul = false;
        csv->clean = csv->start;
        enum op_rc rc = refill(csv, err);
        if (rc)
            return rc;
    }
}

/* Places the reader at the error, so that the next call goes on with the line after it; behind
 * the record when its end is known. */
static enum op_rc fail_record(struct op_csv_reader *csv, enum outcome outcome,
                              const struct scan *scan, struct op_err *err)
{
    const char *base = csv->window + csv->start;
    size_t place = outcome == TOO_LARGE && scan->quoted ? scan->quote : scan->end;
    long long record = csv->record;
    csv->start += place;
    csv->line += count_newlines(base, place);
    csv->skip_line = scan->raw == 0;
    csv->finder = (struct finder){0};
    long long line = outcome == TOO_LARGE && !scan->quoted ? csv->record_line : csv->line;
    switch (outcome) {
    case STRAY_QUOTE:
        return op_fail(err, OP_INVAL,
                       "%s:%lld: record %lld has a quote inside an unquoted field; quote the "
                       "whole field and double the quotes in it",
                       csv->path, line, record);
    case TEXT_AFTER:
        return op_fail(err, OP_INVAL,
                       "%s:%lld: record %lld has text after a closing quote; a quote inside a "
                       "quoted field must be doubled",
                       csv->path, line, record);
    case UNCLOSED:
        return op_fail(err, OP_INVAL,
                       "%s:%lld: record %lld opens a quote here that is never closed",
                       csv->path, line, record);
    case NUL_BYTE:
        return op_fail(
            err, OP_INVAL,
            "%s:%lld: record %lld holds a NUL byte; the file is no CSV text in UTF-8",
            csv->path, line, record);
    case TOO_LARGE:
    case COMPLETE:
    case MORE:
        break;
    }
    return op_fail(err, OP_INVAL, "%s:%lld: record %lld is larger than the %zu bytes allowed%s",
                   csv->path, line, record, csv->max_record,
                   scan->quoted ? "; the quote opened here may never be closed" : "");
}

/* Consumes a BOM at the start of the file and empty lines. False: the window has to be refilled
 * before it can be told. */
static bool skip_empty(struct op_csv_reader *csv)
{
    if (!csv->begun) {
        if (csv->end - csv->start < 3 && !csv->at_end)
            return false;
        if (csv->end - csv->start >= 3 &&
            memcmp(csv->window + csv->start, "\xEF\xBB\xBF", 3) == 0)
            csv->start += 3;
        csv->begun = true;
    }
    while (csv->start < csv->end) {
        const char *at = csv->window + csv->start;
        int len = line_end(csv, at, csv->window + csv->end);
        if (len < 0)
            return false;
        if (len == 0)
            return true;
        csv->start += (size_t)len;
        csv->line++;
    }
    return csv->at_end;
}

/* One record, the window refilled as often as it takes. */
static enum op_rc read_record(struct op_csv_reader *csv, struct scan *scan,
                              enum outcome *ret_outcome, struct op_err *err)
{
    for (;;) {
        enum outcome outcome = scan_record(csv, scan);
        size_t size = outcome == COMPLETE ? scan->raw : csv->end - csv->start;
        size_t line_end_len = outcome == MORE ? 2 : 0;
        if ((outcome == COMPLETE || outcome == MORE) && size > line_end_len &&
            size - line_end_len > csv->max_record)
            outcome = TOO_LARGE;
        size_t place = outcome == MORE ? csv->end : csv->start + scan->end;
        if (csv->nul && csv->clean < place) {
            scan->end = csv->clean - csv->start;
            scan->raw = 0;
            outcome = NUL_BYTE;
        }
        if (outcome != MORE) {
            *ret_outcome = outcome;
            return OP_OK;
        }
        enum op_rc rc = refill(csv, err);
        if (rc)
            return rc;
    }
}

enum op_rc op_csv_next(struct op_csv_reader *csv, const struct op_str **ret_fields,
                       size_t *ret_count, struct op_err *err)
{
    enum op_rc rc;
    if (csv->skip_line && (rc = skip_line(csv, err)))
        return rc;
    while (!skip_empty(csv)) {
        if ((rc = refill(csv, err)))
            return rc;
    }
    if (csv->start == csv->end)
        return OP_NOTFOUND;
    csv->record++;
    csv->record_line = csv->line;
    struct scan scan;
    enum outcome outcome;
    if ((rc = read_record(csv, &scan, &outcome, err))) {
        csv->record--;
        return rc;
    }
    if (outcome != COMPLETE)
        return fail_record(csv, outcome, &scan, err);
    finish_record(csv, &scan);
    *ret_fields = csv->fields;
    *ret_count = csv->count;
    return OP_OK;
}

/* Whether a field has to be quoted because of what it holds. */
static bool needs_quotes(struct op_str s, char separator)
{
    size_t at = 0;
    /* At the start of a file a byte order mark would be taken for the file's own. */
    if (s.len >= 3 && memcmp(s.ptr, "\xEF\xBB\xBF", 3) == 0)
        return true;
#ifdef __SSE2__
    const __m128i sep = _mm_set1_epi8(separator);
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i newline = _mm_set1_epi8('\n');
    const __m128i cr = _mm_set1_epi8('\r');
    for (; s.len - at >= 16; at += 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)(s.ptr + at));
        __m128i hit = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(block, sep), _mm_cmpeq_epi8(block, quote)),
            _mm_or_si128(_mm_cmpeq_epi8(block, newline), _mm_cmpeq_epi8(block, cr)));
        if (_mm_movemask_epi8(hit))
            return true;
    }
#endif
    for (; at < s.len; at++) {
        char c = s.ptr[at];
        if (c == separator || c == '"' || c == '\n' || c == '\r')
            return true;
    }
    return false;
}

static void add_quoted(struct op_buf *buf, struct op_str s, bool guarded)
{
    op_buf_add(buf, "\"'", guarded ? 2 : 1);
    while (s.len > 0) {
        const char *quote = memchr(s.ptr, '"', s.len);
        size_t step = quote ? (size_t)(quote - s.ptr) + 1 : s.len;
        op_buf_add(buf, s.ptr, step);
        if (quote)
            op_buf_addc(buf, '"');
        s.ptr += step;
        s.len -= step;
    }
    op_buf_addc(buf, '"');
}

/* A spreadsheet would run it as a formula: it begins like one and is no plain number. */
static bool is_formula(struct op_str s)
{
    double number;
    if (s.len == 0 || s.ptr[0] == '\0' || !strchr("=+-@\t\r", s.ptr[0]))
        return false;
    return !op_str_double(s, &number);
}

static void add_text(struct op_buf *buf, const struct op_csv_style *style, struct op_str s)
{
    bool guarded = style->guard && is_formula(s);
    if (needs_quotes(s, style->separator)) {
        add_quoted(buf, s, guarded);
        return;
    }
    if (guarded)
        op_buf_addc(buf, '\'');
    op_buf_add_str(buf, s);
}

void op_csv_add_field(struct op_buf *buf, const struct op_csv_style *style, struct op_value v)
{
    char text[32];
    switch (v.type) {
    case OP_VALUE_NULL:
        return;
    case OP_VALUE_INT:
        op_buf_add_int(buf, v.i);
        return;
    case OP_VALUE_DOUBLE:
        if (isfinite(v.d))
            op_buf_add(buf, text, op_json_format_double(v.d, text));
        else
            op_buf_add_str(buf, op_value_to_text(v, text));
        return;
    case OP_VALUE_TEXT:
    case OP_VALUE_BLOB:
        add_text(buf, style, v.s);
        return;
    }
}

void op_csv_add_record(struct op_buf *buf, const struct op_csv_style *style,
                       const struct op_value *cells, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t before = buf->len;
        if (i > 0)
            op_buf_addc(buf, style->separator);
        op_csv_add_field(buf, style, cells[i]);
        /* Readers skip empty lines: a record of one empty field must not look like one. */
        if (count == 1 && buf->len == before)
            op_buf_addz(buf, "\"\"");
    }
    if (style->crlf)
        op_buf_add(buf, "\r\n", 2);
    else
        op_buf_addc(buf, '\n');
}
