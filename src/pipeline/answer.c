/* SPDX-License-Identifier: MIT */
#include "pipeline/answer.h"

#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "pipeline/answer_null.h"

/* How much is said about one answer, and how many places of a text are tried as JSON: hostile text
 * of nothing but brackets must not cost more than so many readings. */
#define MAX_LISTED     20
#define MAX_CANDIDATES 32
#define MAX_ANSWER     (64 * 1024 * 1024)

struct op_answer_checker {
    const struct op_plan *plan;
    struct op_json_parser *parser;
    struct op_json_parser *second; /* for the answer written anew */
    struct op_buf text;            /* a padded copy: the parser need not copy again */
    struct op_buf clean; /* the answer written anew, where its own bytes were not strict JSON */
    struct op_buf trial; /* violations of a candidate */
};

struct op_answer_checker *op_answer_checker_new(const struct op_plan *plan)
{
    struct op_answer_checker *checker = op_mem_alloc(sizeof(*checker));
    checker->plan = plan;
    checker->parser = op_json_parser_new();
    checker->second = op_json_parser_new();
    op_buf_init(&checker->text, MAX_ANSWER);
    op_buf_init(&checker->clean, 6 * (size_t)MAX_ANSWER);
    op_buf_init(&checker->trial, 256 * 1024);
    return checker;
}

void op_answer_checker_free(struct op_answer_checker *checker)
{
    if (!checker)
        return;
    op_json_parser_free(checker->parser);
    op_json_parser_free(checker->second);
    op_buf_release(&checker->text);
    op_buf_release(&checker->clean);
    op_buf_release(&checker->trial);
    op_mem_free(checker);
}

static struct op_str own_bytes(struct op_answer_checker *checker, struct op_str bytes,
                               struct op_json root)
{
    if (!op_json_parser_repaired(checker->parser))
        return bytes;
    /* What only the tolerant reader takes would be refused by SQL and by the user's tools. */
    op_buf_clear(&checker->clean);
    op_json_write(&checker->clean, root);
    return op_buf_str(&checker->clean);
}

/* The length of the bracketed value at the start of s; 0 when it does not end. */
static size_t bracketed(struct op_str s)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && --depth == 0) {
            return i + 1;
        }
    }
    return 0;
}

struct search {
    struct op_answer_checker *checker;
    const struct op_schema *schema;
    int tries;
    bool parsed; /* the last bytes tried were JSON */
    bool found;
    size_t violations;
    struct op_str answer;
    struct op_buf *list;
    size_t list_from;
};

/* Takes bytes as the answer when they are JSON, and better than what was found before. */
static bool try_bytes(struct search *s, struct op_str bytes)
{
    struct op_answer_checker *checker = s->checker;
    struct op_err ignored = OP_ERR_INIT;
    struct op_json root;
    s->tries++;
    s->parsed =
        op_json_parse(checker->parser, bytes.ptr, bytes.len, false, &root, &ignored) == 0;
    if (!s->parsed)
        return false;
    op_buf_clear(&checker->trial);
    size_t violations = op_schema_check(s->schema, root, MAX_LISTED, &checker->trial);
    if (s->found && violations > 0)
        return false;
    s->found = true;
    s->violations = violations;
    s->answer = own_bytes(checker, bytes, root);
    s->list->len = s->list_from;
    s->list->ptr[s->list_from] = '\0';
    op_buf_add_str(s->list, op_buf_str(&checker->trial));
    return violations == 0;
}

/* Markdown fences: what stands between a line that begins with ``` and the next such line. */
static bool search_fences(struct search *s, struct op_str text)
{
    const char *end = text.ptr + text.len;
    const char *fence = memmem(text.ptr, text.len, "```", 3);
    while (fence && s->tries < MAX_CANDIDATES) {
        const char *body = memchr(fence, '\n', (size_t)(end - fence));
        if (!body)
            return false;
        const char *close = memmem(body, (size_t)(end - body), "\n```", 4);
        const char *stop = close ? close : end; /* a fence that was forgotten to be closed */
        struct op_str inner = {body + 1, stop > body ? (size_t)(stop - body - 1) : 0};
        inner = op_str_trim(inner);
        if (inner.len > 0 && try_bytes(s, inner))
            return true;
        fence = close ? memmem(close + 4, (size_t)(end - close - 4), "```", 3) : NULL;
    }
    return false;
}

static bool search_brackets(struct search *s, struct op_str text)
{
    size_t at = 0;
    while (at < text.len && s->tries < MAX_CANDIDATES) {
        if (text.ptr[at] != '{' && text.ptr[at] != '[') {
            at++;
            continue;
        }
        struct op_str rest = {text.ptr + at, text.len - at};
        size_t len = bracketed(rest);
        s->parsed = false;
        if (len == 0)
            s->tries++; /* a bracket of the prose */
        else if (try_bytes(s, (struct op_str){rest.ptr, len}))
            return true;
        /* A value that was JSON is left behind whole: what it holds is not the answer. */
        at += s->parsed ? len : 1;
    }
    return false;
}

static size_t extract(struct op_answer_checker *checker, const struct op_schema *schema,
                      struct op_str text, const struct op_err *cause, struct op_str *ret_answer,
                      bool *ret_mended, struct op_buf *list)
{
    struct search s = {
        .checker = checker, .schema = schema, .list = list, .list_from = list->len};
    if (!search_fences(&s, text))
        search_brackets(&s, text);
    if (!s.found) {
        op_buf_addf(list, "the answer is not JSON: %s\n", cause->msg);
        *ret_answer = text;
        return 1;
    }
    *ret_answer = s.answer;
    *ret_mended = true;
    return s.violations;
}

size_t op_answer_check(struct op_answer_checker *checker, size_t request, struct op_str text,
                       struct op_str *ret_answer, bool *ret_mended, struct op_buf *list)
{
    const struct op_schema *schema = checker->plan->requests[request].schema;
    *ret_answer = text;
    *ret_mended = false;
    if (!schema)
        return 0;
    struct op_str trimmed = op_str_trim(text);
    if (trimmed.len == 0) {
        op_buf_addz(list, "the answer is empty\n");
        return 1;
    }
    op_buf_clear(&checker->text);
    op_buf_add_str(&checker->text, trimmed);
    if (checker->text.failed) {
        op_buf_addf(list, "the answer is larger than %d bytes\n", MAX_ANSWER);
        return 1;
    }
    struct op_str copy = op_buf_str(&checker->text);
    struct op_err cause = OP_ERR_INIT;
    struct op_json root;
    if (op_json_parse(checker->parser, copy.ptr, copy.len, true, &root, &cause))
        return extract(checker, schema, copy, &cause, ret_answer, ret_mended, list);
    *ret_answer = own_bytes(checker, copy, root);
    /* A good answer is the hot path, and its caller may want no list. */
    if (op_schema_check(schema, root, 0, NULL) == 0)
        return 0;
    if (memmem(copy.ptr, copy.len, "null", 4) &&
        op_answer_drop_nulls(schema, root, checker->second, &checker->clean)) {
        *ret_answer = op_buf_str(&checker->clean);
        return 0;
    }
    *ret_answer = own_bytes(checker, copy, root);
    return op_schema_check(schema, root, MAX_LISTED, list);
}
