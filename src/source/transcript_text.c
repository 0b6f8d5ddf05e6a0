/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "source/transcript_impl.h"

/* --- one line of a text --- */

/* Behind an escape sequence of a terminal that begins at ptr[i]. */
static size_t behind_escape(struct op_str text, size_t i)
{
    if (i + 1 >= text.len || text.ptr[i + 1] != '[')
        return i + 1;
    for (i += 2; i < text.len; i++)
        if (text.ptr[i] >= '@' && text.ptr[i] <= '~')
            return i + 1;
    return i;
}

static size_t char_len(unsigned char first)
{
    return first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
}

void op_clip(char *ret, size_t room, struct op_str text)
{
    static const char ellipsis[] = "\xE2\x80\xA6";
    const size_t most = room - sizeof(ellipsis); /* of text, when an ellipsis follows */
    size_t len = 0, fits = 0, i = 0;
    bool space = false;
    while (text.ptr && i < text.len) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == 0x1b) {
            i = behind_escape(text, i);
            continue;
        }
        if (c <= ' ' || c == 0x7f) {
            space = len > 0;
            i++;
            continue;
        }
        size_t n = char_len(c);
        bool good = n == 1 || (i + n <= text.len && op_utf8_valid_len(text.ptr + i, n) == n);
        n = good ? n : 1;
        if (len + space + n > room - 1) {
            memcpy(ret + fits, ellipsis, sizeof(ellipsis));
            return;
        }
        if (space)
            ret[len++] = ' ';
        space = false;
        memcpy(ret + len, good ? text.ptr + i : "?", n);
        len += n;
        i += n;
        if (len <= most)
            fits = len;
    }
    ret[len] = '\0';
}

/* --- words --- */

const char *const op_pass_words[] = {
    " passed",       "passed ",  "tests pass", "build succeeded", "successfully",
    "build success", "0 errors", "0 failed",   "no errors",       "all checks",
    "found 0",       "finished", "ok",         "0 warnings",      NULL,
};
const char *const op_solution_words[] = {
    "fixed",       "resolved",     "solved",         "works now",
    "working now", "now works",    "the issue was",  "the problem was",
    "root cause",  "successfully", "all tests pass", NULL,
};
static const char *const failure_words[] = {
    "error",
    "exception",
    "traceback",
    "failed",
    "failure",
    "fatal",
    "panic",
    "not found",
    "cannot ",
    "permission denied",
    "no such file",
    "segmentation fault",
    "undefined reference",
    "timed out",
    NULL,
};
/* They hold such a word and mean the opposite. */
static const char *const harmless_words[] = {
    "0 error",   "no error",  "0 failed",    "0 failure", "without error",
    "errors: 0", "failed: 0", "failures: 0", "errors=0",  NULL,
};
static const char *const check_words[] = {
    "test",   "build", "make",   "lint", "tsc",  "mypy",  "ruff", "cargo",
    "go vet", "check", "gradle", "mvn",  "jest", "ninja", NULL,
};

static size_t lower(char *ret, const char *ptr, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ret[i] = ptr[i] >= 'A' && ptr[i] <= 'Z' ? (char)(ptr[i] | 0x20) : ptr[i];
    return len;
}

static bool has_any(const char *ptr, size_t len, const char *const *words)
{
    for (; *words; words++)
        if (memmem(ptr, len, *words, strlen(*words)))
            return true;
    return false;
}

void op_scan(struct op_transcript *t, struct op_str text)
{
    size_t half = SCAN_BYTES / 2;
    if (text.len <= SCAN_BYTES) {
        t->scan_len = lower(t->scan, text.ptr, text.len);
        return;
    }
    t->scan_len = lower(t->scan, text.ptr, half);
    t->scan_len += lower(t->scan + half, text.ptr + text.len - half, half);
}

bool op_scan_has(const struct op_transcript *t, const char *const *words)
{
    return has_any(t->scan, t->scan_len, words);
}

struct op_str op_failing_line(const struct op_transcript *t, struct op_str text)
{
    char small[512];
    struct op_str rest = text;
    if (!op_scan_has(t, failure_words)) /* mostly so, and told faster than line by line */
        return OP_STR_NULL;
    size_t half = SCAN_BYTES / 2; /* the ends that op_scan has seen */
    while (rest.ptr && rest.len) {
        size_t from = (size_t)(rest.ptr - text.ptr);
        if (text.len > 2 * half && from > half && from < text.len - half)
            rest = (struct op_str){text.ptr + text.len - half, half};
        struct op_str line = op_str_trim(op_str_cut(&rest, '\n'));
        size_t len =
            lower(small, line.ptr, line.len < sizeof(small) ? line.len : sizeof(small));
        if (has_any(small, len, failure_words) && !has_any(small, len, harmless_words))
            return line;
    }
    return OP_STR_NULL;
}

bool op_is_check_command(const char *command)
{
    char small[128];
    size_t len = strlen(command);
    len = lower(small, command, len < sizeof(small) ? len : sizeof(small));
    return has_any(small, len, check_words);
}

/* --- subjects --- */

struct subject {
    const char *name;
    const char *words[8]; /* beginnings of words; NULL-terminated */
};

static const struct subject concepts[] = {
    {"security", {"secur", "vulnerab", "injection", "xss", "csrf", "encrypt"}},
    {"performance", {"performance", "optimi", "latency", "slow", "profil", "throughput"}},
    {"testing", {"test", "pytest", "jest", "assert", "coverage"}},
    {"docker", {"docker", "container"}},
    {"api", {"api", "endpoint", "graphql", "http"}},
    {"database", {"database", "sql", "postgres", "mysql", "migration"}},
    {"authentication", {"auth", "login", "oauth", "jwt", "password", "credential"}},
    {"debugging", {"debug", "traceback", "breakpoint", "stack trace", "bug"}},
    {"refactoring", {"refactor", "rename", "clean up", "restructur"}},
    {"deployment", {"deploy", "kubernetes", "helm", "release", "rollback"}},
    {"git", {"git", "commit", "rebase", "merge"}},
    {"architecture", {"architect", "design pattern", "interface", "layer"}},
    {"mcp", {"mcp", "model context protocol"}},
    {"embeddings", {"embedding", "vector", "qdrant", "semantic"}},
    {"search", {"search", "grep", "index", "query"}},
};
static const char *const frameworks[] = {
    "react",      "vue",     "angular", "svelte", "next.js",    "django",
    "flask",      "fastapi", "rails",   "spring", "express",    "laravel",
    "pytest",     "jest",    "vitest",  "docker", "kubernetes", "terraform",
    "postgresql", "sqlite",  "redis",   "qdrant", "tailwind",   "node",
    "cargo",      "cmake",   "meson",   "pandas", "numpy",      "pytorch",
};

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static bool sample_has(const struct op_transcript *t, const char *word, bool whole)
{
    size_t len = strlen(word);
    const char *at = t->sample, *end = t->sample + t->sample_len;
    while ((at = memmem(at, (size_t)(end - at), word, len))) {
        bool begins = at == t->sample || !is_word(at[-1]);
        if (begins && (!whole || !is_word(at[len])))
            return true;
        at++;
    }
    return false;
}

void op_add_concepts(struct op_transcript *t, struct op_buf *out)
{
    struct op_json_out json;
    size_t count = 0;
    op_json_out_init(&json, out, 0);
    op_json_out_array(&json);
    for (size_t i = 0; i < OP_COUNT(concepts) && count < CONCEPT_MAX; i++) {
        const char *const *words = concepts[i].words;
        while (*words && !sample_has(t, *words, false))
            words++;
        if (!*words)
            continue;
        op_json_out_text(&json, concepts[i].name);
        count++;
    }
    if (!count)
        op_json_out_text(&json, "development");
    op_json_out_end_array(&json);
}

void op_add_frameworks(struct op_transcript *t, struct op_buf *out)
{
    struct op_json_out json;
    size_t count = 0;
    op_json_out_init(&json, out, 0);
    op_json_out_array(&json);
    for (size_t i = 0; i < OP_COUNT(frameworks) && count < CONCEPT_MAX; i++) {
        if (!sample_has(t, frameworks[i], true))
            continue;
        op_json_out_text(&json, frameworks[i]);
        count++;
    }
    op_json_out_end_array(&json);
}
