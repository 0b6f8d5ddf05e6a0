/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <string.h>

#include "base/json_tape.h"
#include "base/mem.h"

struct op_json_parser {
    struct op_json_simd *simd;
    struct op_json_text text;
    char *copy; /* padded copy of an unpadded text */
    size_t copy_room;
    bool repaired;
};

struct op_json_parser *op_json_parser_new(void)
{
    struct op_json_parser *parser = op_mem_alloc(sizeof(*parser));
    parser->simd = op_json_simd_new();
    return parser;
}

void op_json_parser_free(struct op_json_parser *parser)
{
    if (!parser)
        return;
    op_json_simd_free(parser->simd);
    op_json_text_release(&parser->text);
    op_mem_free(parser->copy);
    op_mem_free(parser);
}

void op_json_parser_freep(struct op_json_parser **parser)
{
    op_json_parser_free(*parser);
    *parser = NULL;
}

static const char *padded_copy(struct op_json_parser *parser, const char *text, size_t len)
{
    if (parser->copy_room < len + OP_BUF_PADDING) {
        op_mem_free(parser->copy);
        parser->copy_room = 2 * len + OP_BUF_PADDING;
        parser->copy = op_mem_alloc(parser->copy_room);
    }
    if (len > 0)
        memcpy(parser->copy, text, len);
    memset(parser->copy + len, 0, OP_BUF_PADDING);
    return parser->copy;
}

enum op_rc op_json_parse(struct op_json_parser *parser, const char *text, size_t len,
                         bool padded, struct op_json *ret, struct op_err *err)
{
    const uint64_t *tape = NULL;
    const uint8_t *strings = NULL;

    parser->repaired = false;
    if (!padded)
        text = padded_copy(parser, text, len);
    if (!op_json_simd_parse(parser->simd, text, len, &tape, &strings)) {
        enum op_rc rc = op_json_text_parse(&parser->text, text, len, err);
        if (rc)
            return rc;
        tape = parser->text.tape;
        strings = parser->text.strings;
        parser->repaired = parser->text.mended;
    }
    *ret = (struct op_json){tape, strings, 1};
    return OP_OK;
}

bool op_json_parser_repaired(const struct op_json_parser *parser)
{
    return parser->repaired;
}

static inline char tape_kind(struct op_json v)
{
    return (char)(v.tape[v.at] >> 56);
}

/* Index of the word after the value at. */
static inline size_t tape_skip(const uint64_t *tape, size_t at)
{
    switch ((char)(tape[at] >> 56)) {
    case '{':
    case '[':
        return (uint32_t)tape[at];
    case 'l':
    case 'u':
    case 'd':
        return at + 2;
    default:
        return at + 1;
    }
}

static inline struct op_str tape_string(const uint64_t *tape, const uint8_t *strings, size_t at)
{
    const uint8_t *p = strings + (tape[at] & OP_TAPE_PAYLOAD);
    uint32_t len;

    memcpy(&len, p, sizeof(len));
    return (struct op_str){(const char *)p + sizeof(len), len};
}

enum op_json_type op_json_type(struct op_json v)
{
    if (!v.tape)
        return OP_JSON_NULL;
    switch (tape_kind(v)) {
    case '{':
        return OP_JSON_OBJECT;
    case '[':
        return OP_JSON_ARRAY;
    case '"':
        return OP_JSON_STRING;
    case 'l':
        return OP_JSON_INT;
    case 'u':
    case 'd':
        return OP_JSON_DOUBLE;
    case 't':
        return OP_JSON_TRUE;
    case 'f':
        return OP_JSON_FALSE;
    default:
        return OP_JSON_NULL;
    }
}

const char *op_json_type_name(enum op_json_type type)
{
    switch (type) {
    case OP_JSON_NULL:
        return "null";
    case OP_JSON_FALSE:
    case OP_JSON_TRUE:
        return "boolean";
    case OP_JSON_INT:
        return "integer";
    case OP_JSON_DOUBLE:
        return "number";
    case OP_JSON_STRING:
        return "string";
    case OP_JSON_ARRAY:
        return "array";
    case OP_JSON_OBJECT:
        return "object";
    }
    return "unknown";
}

bool op_json_is(struct op_json v, enum op_json_type type)
{
    return v.tape && op_json_type(v) == type;
}

struct op_str op_json_str(struct op_json v)
{
    if (!v.tape || tape_kind(v) != '"')
        return OP_STR_NULL;
    return tape_string(v.tape, v.strings, v.at);
}

static double word_double(uint64_t word)
{
    double d;

    memcpy(&d, &word, sizeof(d));
    return d;
}

int64_t op_json_int(struct op_json v, int64_t fallback)
{
    if (!v.tape)
        return fallback;
    if (tape_kind(v) == 'l')
        return (int64_t)v.tape[v.at + 1];
    if (tape_kind(v) != 'd')
        return fallback;
    double d = word_double(v.tape[v.at + 1]);
    if (!(d >= -0x1p63 && d < 0x1p63) || (double)(int64_t)d != d)
        return fallback;
    return (int64_t)d;
}

double op_json_double(struct op_json v, double fallback)
{
    if (!v.tape)
        return fallback;
    switch (tape_kind(v)) {
    case 'l':
        return (double)(int64_t)v.tape[v.at + 1];
    case 'u':
        return (double)v.tape[v.at + 1];
    case 'd':
        return word_double(v.tape[v.at + 1]);
    default:
        return fallback;
    }
}

bool op_json_bool(struct op_json v, bool fallback)
{
    if (!v.tape)
        return fallback;
    return tape_kind(v) == 't' ? true : tape_kind(v) == 'f' ? false : fallback;
}

static inline bool name_equal(const uint8_t *stored, struct op_str name)
{
    uint32_t len;

    memcpy(&len, stored, sizeof(len));
    return len == name.len && memcmp(stored + sizeof(len), name.ptr, name.len) == 0;
}

struct op_json op_json_get_str(struct op_json object, struct op_str name)
{
    struct op_json found = {0};

    if (!object.tape || tape_kind(object) != '{')
        return found;
    const uint64_t *tape = object.tape;
    size_t end = (uint32_t)tape[object.at] - 1;
    for (size_t at = object.at + 1; at < end; at = tape_skip(tape, at + 1))
        if (name_equal(object.strings + (tape[at] & OP_TAPE_PAYLOAD), name))
            found = (struct op_json){tape, object.strings, at + 1};
    return found;
}

struct op_json op_json_get(struct op_json object, const char *name)
{
    return op_json_get_str(object, op_str_from(name));
}

/* Whether the reference token, with its ~0 and ~1, spells name. */
static bool token_is(struct op_str token, struct op_str name)
{
    size_t n = 0;

    for (size_t i = 0; i < token.len; i++, n++) {
        char c = token.ptr[i];
        if (c == '~') {
            if (++i == token.len || (token.ptr[i] != '0' && token.ptr[i] != '1'))
                return false;
            c = token.ptr[i] == '0' ? '~' : '/';
        }
        if (n == name.len || name.ptr[n] != c)
            return false;
    }
    return n == name.len;
}

static struct op_json step_object(struct op_json object, struct op_str token)
{
    struct op_json found = {0};
    struct op_json_iter it = op_json_iter(object);

    if (!memchr(token.ptr, '~', token.len))
        return op_json_get_str(object, token);
    while (op_json_next(&it))
        if (token_is(token, it.name))
            found = it.value;
    return found;
}

static struct op_json step_array(struct op_json array, struct op_str token)
{
    struct op_json none = {0};
    struct op_json_iter it = op_json_iter(array);
    size_t index = 0;

    if (token.len == 0 || token.len > 9 || (token.ptr[0] == '0' && token.len > 1))
        return none;
    for (size_t i = 0; i < token.len; i++) {
        if (token.ptr[i] < '0' || token.ptr[i] > '9')
            return none;
        index = index * 10 + (size_t)(token.ptr[i] - '0');
    }
    while (op_json_next(&it))
        if (it.index == index)
            return it.value;
    return none;
}

struct op_json op_json_pointer(struct op_json v, struct op_str pointer)
{
    struct op_json none = {0};

    while (pointer.len > 0 && v.tape) {
        if (pointer.ptr[0] != '/')
            return none;
        pointer.ptr++;
        pointer.len--;
        const char *slash = memchr(pointer.ptr, '/', pointer.len);
        size_t len = slash ? (size_t)(slash - pointer.ptr) : pointer.len;
        struct op_str token = {pointer.ptr, len};
        if (tape_kind(v) == '{')
            v = step_object(v, token);
        else if (tape_kind(v) == '[')
            v = step_array(v, token);
        else
            return none;
        pointer.ptr += len;
        pointer.len -= len;
    }
    return v;
}

size_t op_json_count(struct op_json v)
{
    if (!v.tape || (tape_kind(v) != '{' && tape_kind(v) != '['))
        return 0;
    size_t count = (v.tape[v.at] >> 32) & OP_TAPE_COUNT_MAX;
    if (count < OP_TAPE_COUNT_MAX)
        return count;
    struct op_json_iter it = op_json_iter(v);
    for (count = 0; op_json_next(&it);)
        count++;
    return count;
}

struct op_json_iter op_json_iter(struct op_json container)
{
    struct op_json_iter it = {0};

    if (!container.tape || (tape_kind(container) != '{' && tape_kind(container) != '['))
        return it;
    it.value = (struct op_json){container.tape, container.strings, container.at};
    it.index = SIZE_MAX;
    it.next = container.at + 1;
    it.end = (uint32_t)container.tape[container.at] - 1;
    it.object = tape_kind(container) == '{';
    return it;
}

bool op_json_next(struct op_json_iter *it)
{
    if (it->next >= it->end)
        return false;
    size_t at = it->next;
    if (it->object) {
        it->name = tape_string(it->value.tape, it->value.strings, at);
        at++;
    }
    it->value.at = at;
    it->index++;
    it->next = tape_skip(it->value.tape, at);
    return true;
}

/* A double against an integer word, without rounding the integer to a double. */
static bool mixed_equal(double d, char kind, uint64_t word)
{
    if (kind == 'l')
        return d >= -0x1p63 && d < 0x1p63 && (int64_t)d == (int64_t)word &&
               (double)(int64_t)d == d;
    return d >= 0 && d < 0x1p64 && (uint64_t)d == word && (double)(uint64_t)d == d;
}

static bool numbers_equal(struct op_json a, struct op_json b)
{
    char ka = tape_kind(a), kb = tape_kind(b);
    uint64_t wa = a.tape[a.at + 1], wb = b.tape[b.at + 1];

    if (ka == 'd' && kb == 'd')
        return word_double(wa) == word_double(wb);
    if (ka == 'd')
        return mixed_equal(word_double(wa), kb, wb);
    if (kb == 'd')
        return mixed_equal(word_double(wb), ka, wa);
    return ka == kb && wa == wb;
}

static bool arrays_equal(struct op_json a, struct op_json b)
{
    struct op_json_iter x = op_json_iter(a), y = op_json_iter(b);

    if (op_json_count(a) != op_json_count(b))
        return false;
    while (op_json_next(&x) && op_json_next(&y))
        if (!op_json_equal(x.value, y.value))
            return false;
    return true;
}

/* A later member of the same name takes the place of this one. */
static bool shadowed(struct op_json object, const struct op_json_iter *it)
{
    return op_json_get_str(object, it->name).at != it->value.at;
}

static bool same_names(struct op_json a, struct op_json b)
{
    struct op_json_iter x = op_json_iter(a), y = op_json_iter(b);

    if (op_json_count(a) != op_json_count(b))
        return false;
    while (op_json_next(&x) && op_json_next(&y))
        if (!op_str_eq(x.name, y.name))
            return false;
    return true;
}

/* Each pair of values is compared once at most: a second look per level would double the work
 * with every level of nesting. */
static bool objects_equal(struct op_json a, struct op_json b)
{
    struct op_json_iter x = op_json_iter(a), y = op_json_iter(b);

    if (same_names(a, b)) {
        while (op_json_next(&x) && op_json_next(&y))
            if (!op_json_equal(x.value, y.value) && !shadowed(a, &x))
                return false;
        return true;
    }
    while (op_json_next(&y))
        if (!op_json_ok(op_json_get_str(a, y.name)))
            return false;
    while (op_json_next(&x)) {
        struct op_json other = op_json_get_str(b, x.name);
        if (!op_json_ok(other))
            return false;
        if (!shadowed(a, &x) && !op_json_equal(x.value, other))
            return false;
    }
    return true;
}

bool op_json_equal(struct op_json a, struct op_json b)
{
    if (!a.tape || !b.tape)
        return !a.tape && !b.tape;
    char ka = tape_kind(a), kb = tape_kind(b);
    bool number_a = ka == 'l' || ka == 'u' || ka == 'd';
    bool number_b = kb == 'l' || kb == 'u' || kb == 'd';
    if (number_a || number_b)
        return number_a && number_b && numbers_equal(a, b);
    if (ka != kb)
        return false;
    if (ka == '"')
        return op_str_eq(op_json_str(a), op_json_str(b));
    if (ka == '[')
        return arrays_equal(a, b);
    if (ka == '{')
        return objects_equal(a, b);
    return true;
}
