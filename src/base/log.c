/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/env.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/time.h"

enum { LINE_MAX_BYTES = 64 * 1024, SHORTEST_SECRET = 4 };

static const struct {
    const char *name;
    enum op_log_level level;
} events[OP_EVENT_COUNT] = {
#define EVENT_ROW(event, name, level) [OP_EVENT_##event] = {(name), (level)},
    OP_EVENTS(EVENT_ROW)
#undef EVENT_ROW
};

static const char *const level_names[] = {
    [OP_LOG_ERROR] = "error",
    [OP_LOG_WARN] = "warn",
    [OP_LOG_INFO] = "info",
    [OP_LOG_DEBUG] = "debug",
};

/* Guards everything below and keeps the lines of two threads apart. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int most_level = OP_LOG_INFO;
static enum op_log_format line_format = OP_LOG_TEXT;
static op_log_line_fn line_fn;
static void *line_arg;

struct secret {
    struct secret *next;
    size_t len;
    const char *text; /* kept by secret.c */
};

static struct secret *secrets;

void op_log_setup(enum op_log_level most, enum op_log_format format, op_log_line_fn fn,
                  void *arg)
{
    pthread_mutex_lock(&lock);
    atomic_store(&most_level, (int)most);
    line_format = format;
    line_fn = fn;
    line_arg = arg;
    pthread_mutex_unlock(&lock);
}

static void forget_secrets(void) __attribute__((destructor));

/* So that a leak checker finds nothing. */
static void forget_secrets(void)
{
    while (secrets) {
        struct secret *secret = secrets;
        secrets = secret->next;
        op_mem_free(secret);
    }
}

void op_log_secret(struct op_str secret)
{
    if (secret.len < SHORTEST_SECRET)
        return;
    pthread_mutex_lock(&lock);
    struct secret *known = secrets;
    while (known &&
           (known->len != secret.len || memcmp(known->text, secret.ptr, secret.len) != 0))
        known = known->next;
    if (!known) {
        struct secret *added = op_mem_alloc(sizeof(*added));
        added->len = secret.len;
        added->text = op_secret_keep(secret);
        /* Longest first: where one is the beginning of another, no tail may stay readable. */
        struct secret **place = &secrets;
        while (*place && (*place)->len > secret.len)
            place = &(*place)->next;
        added->next = *place;
        *place = added;
    }
    pthread_mutex_unlock(&lock);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* What keys and bearer tokens are made of (RFC 6750). */
static bool is_token(char c)
{
    return is_word(c) || (c != '\0' && strchr("-_.~+/=", c));
}

static bool is_key(char c)
{
    return is_word(c) || c == '-' || c == '_';
}

static void mask_registered(char *text, size_t len)
{
    for (const struct secret *secret = secrets; secret; secret = secret->next) {
        char *at = text, *end = text + len;
        while ((at = memmem(at, (size_t)(end - at), secret->text, secret->len))) {
            memset(at, '*', secret->len);
            at += secret->len;
        }
    }
}

/* Masks prefix and what follows it when that is long enough to be a key; yields the length. */
static size_t mask_key(char *text, size_t len, const char *prefix, size_t shortest)
{
    size_t end = strlen(prefix);
    if (len < end || memcmp(text, prefix, end) != 0)
        return 0;
    while (end < len && is_key(text[end]))
        end++;
    if (end < strlen(prefix) + shortest)
        return 0;
    memset(text, '*', end);
    return end;
}

/* Masks the token after "Bearer ", in any case as HTTP allows; yields the length of both. */
static size_t mask_bearer(char *text, size_t len)
{
    size_t at = strlen("bearer");
    if (len <= at || strncasecmp(text, "bearer", at) != 0 || text[at] != ' ')
        return 0;
    while (at < len && text[at] == ' ')
        at++;
    size_t end = at;
    while (end < len && is_token(text[end]))
        end++;
    memset(text + at, '*', end - at);
    return end;
}

static void mask_patterns(char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        /* Only at the start of a word: "task-list" holds no key. */
        if (at > 0 && is_word(text[at - 1])) {
            at++;
            continue;
        }
        size_t step = mask_key(text + at, len - at, "sk-", 8);
        if (!step)
            step = mask_key(text + at, len - at, "AIza", 16);
        if (!step)
            step = mask_bearer(text + at, len - at);
        at += step ? step : 1;
    }
}

static void mask_locked(char *text, size_t len)
{
    mask_registered(text, len);
    mask_patterns(text, len);
}

void op_log_mask(char *text, size_t len)
{
    pthread_mutex_lock(&lock);
    mask_locked(text, len);
    pthread_mutex_unlock(&lock);
}

/* Whether a value in a text line needs no quotes to be told from what surrounds it. */
static bool is_plain(struct op_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7F)
            return false;
    }
    return s.len > 0;
}

/* Overwrites DEL and the C1 controls, which JSON's escapes let pass and terminals may obey. */
static void defuse(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == 0x7F)
            text[i] = '?';
        else if (c == 0xC2 && i + 1 < len && ((unsigned char)text[i + 1] & 0xE0) == 0x80)
            text[i] = text[i + 1] = '?';
    }
}

static void add_text_line(struct op_buf *line, const char *time, enum op_event event,
                          const struct op_log_field *fields, size_t count)
{
    op_buf_addf(line, "%s %-5s %s", time, level_names[events[event].level], events[event].name);
    for (size_t i = 0; i < count; i++) {
        op_buf_addf(line, " %s=", fields[i].name);
        if (!fields[i].text.ptr) {
            op_buf_add_int(line, fields[i].number);
        } else if (is_plain(fields[i].text)) {
            op_buf_add_str(line, fields[i].text);
        } else {
            /* Escaped, so that no reply of a server can start a line or steer a terminal. */
            op_buf_addc(line, '"');
            op_json_escape(line, fields[i].text.ptr, fields[i].text.len);
            op_buf_addc(line, '"');
        }
    }
}

static void add_json_line(struct op_buf *line, const char *time, enum op_event event,
                          const struct op_log_field *fields, size_t count)
{
    struct op_json_out out;
    op_json_out_init(&out, line, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "time", time);
    op_json_out_kv_text(&out, "level", level_names[events[event].level]);
    op_json_out_kv_text(&out, "event", events[event].name);
    for (size_t i = 0; i < count; i++) {
        if (fields[i].text.ptr)
            op_json_out_kv_str(&out, fields[i].name, fields[i].text);
        else
            op_json_out_kv_int(&out, fields[i].name, fields[i].number);
    }
    op_json_out_end_object(&out);
}

static void write_line(struct op_buf *line)
{
    op_buf_addc(line, '\n');
    size_t at = 0;
    while (at < line->len) {
        ssize_t n = write(STDERR_FILENO, line->ptr + at, line->len - at);
        if (n < 0 && errno == EINTR)
            continue;
        /* Nobody reads the log any more: that is no reason to stop working. */
        if (n <= 0)
            return;
        at += (size_t)n;
    }
}

/* The fields with their secrets masked, in an arena of one buffer. Masking comes before
 * escaping, which would change how a secret is spelt. */
static struct op_log_field *mask_fields(const struct op_log_field *fields, size_t count,
                                        struct op_buf *texts)
{
    struct op_log_field *masked = op_mem_array(count, sizeof(*masked));
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += fields[i].text.len;
    op_buf_grow(texts, total);
    for (size_t i = 0; i < count; i++) {
        masked[i] = fields[i];
        if (!fields[i].text.ptr)
            continue;
        char *copy = texts->ptr + texts->len;
        op_buf_add_str(texts, fields[i].text);
        mask_locked(copy, fields[i].text.len);
        if (line_format == OP_LOG_TEXT)
            defuse(copy, fields[i].text.len);
        masked[i].text.ptr = copy;
    }
    return masked;
}

/* What is longer than a line may be is cut in its texts, so that the line stays well formed. */
static struct op_str shorten(struct op_str text, size_t most)
{
    while (text.len > most && ((unsigned char)text.ptr[most] & 0xC0) == 0x80)
        most--;
    if (text.len > most)
        text.len = most;
    return text;
}

void op_log_fields(enum op_event event, const struct op_log_field *fields, size_t count)
{
    if ((int)events[event].level > atomic_load(&most_level))
        return;
    struct op_env *env = op_env_default();
    char time[OP_TIME_TEXT];
    op_time_format(env->ops->now_ms(env), time);

    OP_CLEANUP(op_buf_release) struct op_buf texts = {0};
    OP_CLEANUP(op_buf_release) struct op_buf line = {0};
    op_buf_init(&texts, SIZE_MAX);
    op_buf_init(&line, SIZE_MAX);
    pthread_mutex_lock(&lock);
    OP_CLEANUP(op_mem_freep) struct op_log_field *masked = mask_fields(fields, count, &texts);
    for (size_t i = 0; i < count; i++)
        masked[i].text = shorten(masked[i].text, LINE_MAX_BYTES / (count ? count : 1));
    if (line_format == OP_LOG_JSON)
        add_json_line(&line, time, event, masked, count);
    else
        add_text_line(&line, time, event, masked, count);
    if (line_fn)
        line_fn(line_arg, events[event].level, line.ptr);
    else
        write_line(&line);
    pthread_mutex_unlock(&lock);
}

const char *op_event_name(enum op_event event)
{
    return (unsigned)event < OP_EVENT_COUNT ? events[event].name : "unknown";
}
