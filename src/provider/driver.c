/* SPDX-License-Identifier: MIT */
#include "provider/driver.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

/* --- params with holes ---------------------------------------------------------------------- */

void op_params_form_init(struct op_params_form *form)
{
    *form = (struct op_params_form){0};
    op_buf_init(&form->text, OP_PARAMS_MAX);
}

static size_t form_end(const struct op_params_form *form)
{
    size_t end = 0;
    for (size_t i = 0; i < form->count; i++)
        end += form->parts[i].literal.len;
    return end;
}

void op_params_form_hole(struct op_params_form *form, enum op_prompt_hole hole)
{
    assert(form->count + 1 < OP_COUNT(form->parts));
    if (form->text.failed)
        return; /* reported once, by finish */
    assert(form->text.len >= 2 && memcmp(form->text.ptr + form->text.len - 2, "\"\"", 2) == 0);
    size_t begin = form_end(form);
    form->parts[form->count++] = (struct op_params_part){
        .literal = {NULL, form->text.len - 1 - begin},
        .hole = hole,
    };
}

enum op_rc op_params_form_finish(struct op_params_form *form, const char *file,
                                 struct op_err *err)
{
    enum op_rc rc = op_buf_finish(&form->text, "the request's parameters", err);
    if (rc) {
        op_err_wrap(err, "%s", file);
        return rc;
    }
    size_t begin = form_end(form);
    form->parts[form->count++] = (struct op_params_part){
        .literal = {NULL, form->text.len - begin},
        .hole = OP_HOLE_NONE,
    };
    size_t at = 0;
    for (size_t i = 0; i < form->count; i++) {
        form->parts[i].literal.ptr = form->text.ptr + at;
        at += form->parts[i].literal.len;
    }
    return OP_OK;
}

/* --- slots a provider has no use for -------------------------------------------------------- */

enum op_rc op_no_upload_begin(const struct op_lane *lane, const struct op_create *what,
                              struct op_exchange *ret, struct op_err *err)
{
    (void)lane, (void)what, (void)ret, (void)err;
    return OP_NOTFOUND;
}

enum op_rc op_no_upload_end(const struct op_lane *lane, const struct op_http_reply *begun,
                            struct op_exchange *ret, struct op_err *err)
{
    (void)lane, (void)begun, (void)ret, (void)err;
    return OP_NOTFOUND;
}

static enum op_rc no_files(struct op_err *err)
{
    return op_fail(err, OP_INVAL, "this provider takes no files");
}

enum op_rc op_no_upload(const struct op_lane *lane, const struct op_create *what,
                        const struct op_http_reply *begun, struct op_exchange *ret,
                        struct op_err *err)
{
    (void)lane, (void)what, (void)begun, (void)ret;
    return no_files(err);
}

enum op_rc op_no_decode_upload(const struct op_http_reply *reply, struct op_remote_file *ret,
                               struct op_err *err)
{
    (void)reply, (void)ret;
    return no_files(err);
}

enum op_rc op_no_files(const struct op_lane *lane, const char *cursor, struct op_exchange *ret,
                       struct op_err *err)
{
    (void)lane, (void)cursor, (void)ret;
    return no_files(err);
}

enum op_rc op_no_decode_files(const struct op_http_reply *reply,
                              void (*fn)(void *arg, const struct op_remote_file *file),
                              void *arg, char next_cursor[256], struct op_err *err)
{
    (void)reply, (void)fn, (void)arg, (void)next_cursor;
    return no_files(err);
}

enum op_rc op_no_remove_file(const struct op_lane *lane, const char *file_id,
                             struct op_exchange *ret, struct op_err *err)
{
    (void)lane, (void)file_id, (void)ret;
    return no_files(err);
}

enum op_rc op_no_unfold(struct op_json document, struct op_buf *ret_lines, struct op_err *err)
{
    (void)document, (void)ret_lines;
    return op_fail(err, OP_INVAL, "this provider's results are lines");
}

/* --- URLs ----------------------------------------------------------------------------------- */

void op_url_add_escaped(struct op_buf *url, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool plain = (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') ||
                     (*p >= '0' && *p <= '9') || *p == '-' || *p == '.' || *p == '_' ||
                     *p == '~';
        if (plain)
            op_buf_addc(url, (char)*p);
        else
            op_buf_addf(url, "%%%02X", *p);
    }
}

struct origin {
    struct op_str scheme, host, port;
};

static bool origin_read(const char *url, struct origin *ret)
{
    for (const unsigned char *p = (const unsigned char *)url; *p; p++)
        if (*p <= ' ' || *p >= 0x7f || *p == '\\')
            return false;
    const char *mark = strstr(url, "://");
    if (!mark)
        return false;
    ret->scheme = (struct op_str){url, (size_t)(mark - url)};
    const char *host = mark + 3;
    size_t len = strcspn(host, "/?#");
    if (len == 0 || memchr(host, '@', len))
        return false;
    size_t host_len = len;
    /* A colon inside an IPv6 literal is no port separator. */
    for (size_t i = len; i > 0 && host[i - 1] != ']'; i--)
        if (host[i - 1] == ':')
            host_len = i - 1;
    ret->host = (struct op_str){host, host_len};
    ret->port = OP_STR("");
    if (host_len + 1 < len)
        ret->port = (struct op_str){host + host_len + 1, len - host_len - 1};
    else if (op_str_is(ret->scheme, "https"))
        ret->port = OP_STR("443");
    else if (op_str_is(ret->scheme, "http"))
        ret->port = OP_STR("80");
    return true;
}

bool op_url_same_origin(const char *base, const char *url)
{
    struct origin a, b;
    if (!origin_read(base, &a) || !origin_read(url, &b))
        return false;
    return op_str_eq(a.scheme, b.scheme) && a.host.len == b.host.len &&
           strncasecmp(a.host.ptr, b.host.ptr, a.host.len) == 0 && op_str_eq(a.port, b.port);
}

/* --- raw text ------------------------------------------------------------------------------- */

struct scan {
    const char *at, *end;
};

static void skip_space(struct scan *s)
{
    while (s->at < s->end && memchr(" \t\r\n", *s->at, 4))
        s->at++;
}

static bool skip_char(struct scan *s, char c)
{
    skip_space(s);
    if (s->at >= s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool skip_string(struct scan *s)
{
    if (!skip_char(s, '"'))
        return false;
    while (s->at < s->end) {
        char c = *s->at++;
        if (c == '"')
            return true;
        if (c == '\\' && s->at < s->end)
            s->at++;
    }
    return false;
}

/* Brackets are only counted, never matched by kind: the text is known to have parsed. */
static bool skip_value(struct scan *s)
{
    skip_space(s);
    size_t depth = 0;
    while (s->at < s->end) {
        char c = *s->at;
        if (c == '"') {
            if (!skip_string(s))
                return false;
        } else if (c == '{' || c == '[') {
            depth++;
            s->at++;
            continue;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return false;
            depth--;
            s->at++;
        } else if (depth > 0) {
            s->at++;
            continue;
        } else {
            const char *begin = s->at;
            while (s->at < s->end && !memchr(" \t\r\n,]}", *s->at, 7))
                s->at++;
            return s->at > begin;
        }
        if (depth == 0)
            return true;
    }
    return false;
}

/* The value of the index-th member, counted from 0. */
static bool scan_member(struct op_str line, size_t index, struct op_str *ret)
{
    struct scan s = {line.ptr, line.ptr + line.len};
    if (line.len >= 3 && memcmp(line.ptr, "\xef\xbb\xbf", 3) == 0)
        s.at += 3;
    if (!skip_char(&s, '{'))
        return false;
    for (size_t i = 0;; i++) {
        if (i > 0 && !skip_char(&s, ','))
            return false;
        if (!skip_string(&s) || !skip_char(&s, ':'))
            return false;
        skip_space(&s);
        const char *begin = s.at;
        if (!skip_value(&s))
            return false;
        if (i == index) {
            *ret = (struct op_str){begin, (size_t)(s.at - begin)};
            return true;
        }
    }
}

enum op_rc op_raw_member(struct op_json root, struct op_str line, const char *name,
                         struct op_str *ret, struct op_err *err)
{
    size_t index = 0, wanted = SIZE_MAX;
    if (op_json_is(root, OP_JSON_OBJECT)) {
        struct op_json_iter it = op_json_iter(root);
        for (; op_json_next(&it); index++)
            if (op_str_is(it.name, name))
                wanted = index;
    }
    if (wanted == SIZE_MAX)
        return OP_NOTFOUND;
    struct op_str slice;
    if (!scan_member(line, wanted, &slice))
        return op_fail(err, OP_INVAL, "member \"%s\" cannot be cut out of the line", name);
    *ret = slice;
    return OP_OK;
}

const char *op_remote_text(struct op_str text, char *ret, size_t size)
{
    size_t len = text.ptr ? text.len : 0;
    if (len > size - 1) {
        len = size - 1;
        while (len > 0 && ((unsigned char)text.ptr[len] & 0xc0) == 0x80)
            len--;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        ret[i] = c < ' ' || c == 0x7f ? ' ' : (char)c;
    }
    ret[len] = '\0';
    return ret;
}

bool op_str_mentions(struct op_str text, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; text.ptr && i + len <= text.len; i++)
        if (strncasecmp(text.ptr + i, word, len) == 0)
            return true;
    return false;
}
