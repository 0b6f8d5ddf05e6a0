/* SPDX-License-Identifier: MIT */
#include "emulator/answers.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "emulator/pattern.h"
#include "emulator/words.h"

#define DEPTH_FRUGAL 10 /* from here on only what is required: recursive schemas end */
#define DEPTH_MOST   30
#define SHAPE_PARTS  16
#define IDS_MOST     64

struct maker {
    struct op_json root;
    struct op_emu_words words;
    uint64_t random;
    struct op_json_out *out;
    enum op_emu_spoil spoil;
    int depth;
};

/* A schema with what it refers to: $ref, allOf and the alternative taken, side by side. */
struct shape {
    struct op_json parts[SHAPE_PARTS];
    size_t count;
};

static void make_value(struct maker *m, struct op_json schema, struct op_str name);

static int64_t between(struct maker *m, int64_t least, int64_t most)
{
    if (most <= least)
        return least;
    return least + (int64_t)op_emu_random_below(&m->random, (uint64_t)(most - least) + 1);
}

static struct op_json resolve(const struct maker *m, struct op_str ref)
{
    if (ref.len == 0 || ref.ptr[0] != '#')
        return (struct op_json){0};
    return op_json_pointer(m->root, (struct op_str){ref.ptr + 1, ref.len - 1});
}

static bool is_null_type(const struct maker *m, struct op_json schema)
{
    struct op_str ref = op_json_str(op_json_get(schema, "$ref"));
    if (ref.ptr)
        schema = resolve(m, ref);
    return op_str_is(op_json_str(op_json_get(schema, "type")), "null");
}

/* The first alternative that says something other than null; deep down null comes first. */
static struct op_json alternative(const struct maker *m, struct op_json any)
{
    struct op_json first = {0};
    bool frugal = m->depth >= DEPTH_FRUGAL;
    struct op_json_iter it = op_json_iter(any);
    while (op_json_next(&it)) {
        if (op_json_is(it.value, OP_JSON_FALSE))
            continue;
        if (!op_json_ok(first))
            first = it.value;
        if (is_null_type(m, it.value) == frugal)
            return it.value;
    }
    return first;
}

static void shape_add(const struct maker *m, struct shape *shape, struct op_json schema)
{
    if (!op_json_is(schema, OP_JSON_OBJECT) || shape->count == SHAPE_PARTS)
        return;
    shape->parts[shape->count++] = schema;
    struct op_str ref = op_json_str(op_json_get(schema, "$ref"));
    if (ref.ptr)
        shape_add(m, shape, resolve(m, ref));
    struct op_json_iter it = op_json_iter(op_json_get(schema, "allOf"));
    while (op_json_next(&it))
        shape_add(m, shape, it.value);
    shape_add(m, shape, alternative(m, op_json_get(schema, "anyOf")));
    shape_add(m, shape, alternative(m, op_json_get(schema, "oneOf")));
}

static struct op_json keyword(const struct shape *shape, const char *name)
{
    struct op_json found = {0};
    for (size_t i = 0; i < shape->count && !op_json_ok(found); i++)
        found = op_json_get(shape->parts[i], name);
    return found;
}

static bool has(const struct shape *shape, const char *name)
{
    return op_json_ok(keyword(shape, name));
}

/* Google writes the types of its schemas in capitals. */
static struct op_str small_letters(struct op_str type)
{
    static const char *const types[] = {"object", "array",   "string", "integer",
                                        "number", "boolean", "null"};
    for (size_t i = 0; i < OP_COUNT(types); i++) {
        if (type.len == strlen(types[i]) && strncasecmp(type.ptr, types[i], type.len) == 0)
            return op_str_from(types[i]);
    }
    return type;
}

static struct op_str type_of(const struct maker *m, const struct shape *shape)
{
    struct op_json type = keyword(shape, "type");
    bool frugal = m->depth >= DEPTH_FRUGAL;
    struct op_str first = op_json_str(type);
    struct op_json_iter it = op_json_iter(type);
    while (op_json_next(&it)) {
        bool is_null = op_str_is(op_json_str(it.value), "null");
        if (!first.ptr || (is_null && frugal) || (op_str_is(first, "null") && !frugal))
            first = op_json_str(it.value);
    }
    if (first.ptr)
        return small_letters(first);
    if (has(shape, "properties") || has(shape, "required"))
        return OP_STR("object");
    if (has(shape, "items") || has(shape, "prefixItems"))
        return OP_STR("array");
    if (has(shape, "minimum") || has(shape, "maximum") || has(shape, "multipleOf"))
        return OP_STR("number");
    return OP_STR("string");
}

static bool contains_nocase(struct op_str text, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; text.ptr && i + len <= text.len; i++) {
        bool starts = i == 0 || !isalnum((unsigned char)text.ptr[i - 1]);
        bool ends = i + len == text.len || !isalnum((unsigned char)text.ptr[i + len]);
        if (starts && ends && strncasecmp(text.ptr + i, word, len) == 0)
            return true;
    }
    return false;
}

static bool asks_for_ids(const struct shape *shape, struct op_str name)
{
    struct op_str about = op_json_str(keyword(shape, "description"));
    return op_emu_names_ids(name) || contains_nocase(about, "id") ||
           contains_nocase(about, "ids") || contains_nocase(about, "citation") ||
           contains_nocase(about, "citations");
}

/* ---- numbers ---- */

static void number_range(const struct shape *shape, double *least, double *most)
{
    double low = op_json_double(keyword(shape, "minimum"), -INFINITY);
    double high = op_json_double(keyword(shape, "maximum"), INFINITY);
    double above = op_json_double(keyword(shape, "exclusiveMinimum"), -INFINITY);
    double below = op_json_double(keyword(shape, "exclusiveMaximum"), INFINITY);
    if (above >= low && above > -INFINITY)
        low = nextafter(above, INFINITY);
    if (below <= high && below < INFINITY)
        high = nextafter(below, -INFINITY);
    if (low == -INFINITY)
        low = high >= 0 ? 0 : high - 100;
    if (high == INFINITY)
        high = low + 100;
    *least = low;
    *most = high;
}

static size_t utf8_count(struct op_str s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.len; i++)
        count += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return count;
}

static bool id_fits(const struct shape *shape, const struct op_emu_id *id, bool number)
{
    int64_t length = (int64_t)utf8_count(id->value);
    double value = (double)id->number, step = op_json_double(keyword(shape, "multipleOf"), 0);
    if (!number)
        return !has(shape, "pattern") && !has(shape, "format") &&
               length >= op_json_int(keyword(shape, "minLength"), 0) &&
               length <= op_json_int(keyword(shape, "maxLength"), INT64_MAX);
    return value >= op_json_double(keyword(shape, "minimum"), -INFINITY) &&
           value <= op_json_double(keyword(shape, "maximum"), INFINITY) &&
           value > op_json_double(keyword(shape, "exclusiveMinimum"), -INFINITY) &&
           value < op_json_double(keyword(shape, "exclusiveMaximum"), INFINITY) &&
           (!(step > 0) || fmod(value, step) == 0);
}

/* The ids of the prompt that a schema lets through. */
static size_t fitting_ids(const struct maker *m, const struct shape *shape, struct op_str name,
                          bool numbers, const struct op_emu_id *ids[IDS_MOST])
{
    size_t count = op_emu_ids_for(&m->words, name, numbers, ids, IDS_MOST), kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (id_fits(shape, ids[i], numbers))
            ids[kept++] = ids[i];
    }
    return kept;
}

static bool make_id_number(struct maker *m, const struct shape *shape, struct op_str name)
{
    const struct op_emu_id *ids[IDS_MOST];
    if (!asks_for_ids(shape, name))
        return false;
    size_t count = fitting_ids(m, shape, name, true, ids);
    if (count)
        op_json_out_int(m->out, ids[op_emu_random_below(&m->random, count)]->number);
    return count > 0;
}

static void make_integer(struct maker *m, const struct shape *shape, struct op_str name)
{
    double least, most;
    if (make_id_number(m, shape, name))
        return;
    number_range(shape, &least, &most);
    double step = op_json_double(keyword(shape, "multipleOf"), 1);
    if (!(step >= 1))
        step = 1;
    /* Beyond 2^53 doubles are not exact, and nobody asks for such numbers by range. */
    double first = fmin(fmax(ceil(least / step), -9e15), 9e15);
    double last = fmin(fmax(floor(most / step), -9e15), 9e15);
    double value = (double)between(m, (int64_t)first, (int64_t)last) * step;
    op_json_out_int(m->out, (int64_t)fmin(fmax(value, -9e15), 9e15));
}

static void make_number(struct maker *m, const struct shape *shape, struct op_str name)
{
    static const char *const shares[] = {"confidence", "score",     "probability", "ratio",
                                         "weight",     "relevance", "certainty"};
    double least, most, step = op_json_double(keyword(shape, "multipleOf"), 0);
    if (make_id_number(m, shape, name))
        return;
    number_range(shape, &least, &most);
    for (size_t i = 0; i < OP_COUNT(shares); i++) {
        if (contains_nocase(name, shares[i]) && least <= 0 && most >= 1)
            most = 1;
    }
    double value = least + (most - least) * (double)between(m, 0, 1000) / 1000;
    double rounded = round(value * 100) / 100;
    if (rounded >= least && rounded <= most)
        value = rounded;
    if (step > 0)
        value = fmin(ceil(value / step), floor(most / step)) * step;
    op_json_out_double(m->out, value);
}

/* ---- strings ---- */

static struct op_str utf8_cut(struct op_str s, size_t most)
{
    size_t count = 0;
    for (size_t i = 0; i < s.len; i++) {
        count += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
        if (count > most)
            return (struct op_str){s.ptr, i};
    }
    return s;
}

static struct op_str word_at(const struct maker *m, size_t at)
{
    if (m->words.word_count == 0)
        return OP_STR("nothing");
    return m->words.words[at % m->words.word_count];
}

/* A run of the prompt's words, as a person would quote it. */
static void add_words(struct maker *m, struct op_buf *text, int64_t count)
{
    size_t at = op_emu_random_below(&m->random, m->words.word_count);
    for (int64_t i = 0; i < count; i++) {
        if (text->len)
            op_buf_addc(text, ' ');
        op_buf_add_str(text, word_at(m, at++));
    }
}

static void add_sentences(struct maker *m, struct op_buf *text, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        size_t start = text->len + (text->len ? 1 : 0);
        add_words(m, text, between(m, 6, 14));
        if (start < text->len)
            text->ptr[start] = (char)toupper((unsigned char)text->ptr[start]);
        op_buf_addc(text, '.');
    }
}

static bool add_format(struct maker *m, struct op_str format, struct op_buf *text)
{
    int year = (int)between(m, 2020, 2029), month = (int)between(m, 1, 12);
    int day = (int)between(m, 1, 28), hour = (int)between(m, 0, 23);
    int minute = (int)between(m, 0, 59);
    uint64_t a = op_emu_random(&m->random), b = op_emu_random(&m->random);
    if (op_str_is(format, "date"))
        op_buf_addf(text, "%04d-%02d-%02d", year, month, day);
    else if (op_str_is(format, "date-time"))
        op_buf_addf(text, "%04d-%02d-%02dT%02d:%02d:00Z", year, month, day, hour, minute);
    else if (op_str_is(format, "time"))
        op_buf_addf(text, "%02d:%02d:00Z", hour, minute);
    else if (op_str_is(format, "duration"))
        op_buf_addf(text, "PT%dM", minute + 1);
    else if (op_str_is(format, "uuid"))
        op_buf_addf(text, "%08x-%04x-4%03x-a%03x-%012llx", (unsigned)(a >> 32),
                    (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xfff), (unsigned)(b >> 52),
                    (unsigned long long)(b & 0xffffffffffffULL));
    else if (op_str_is(format, "email") || op_str_is(format, "idn-email"))
        op_buf_addf(text, "user%d@example.com", hour + minute);
    else if (op_str_is(format, "uri") || op_str_is(format, "url") || op_str_is(format, "iri"))
        op_buf_addf(text, "https://example.com/%d/%d", hour, minute);
    else if (op_str_is(format, "hostname"))
        op_buf_addf(text, "host%d.example.com", minute);
    else if (op_str_is(format, "ipv4"))
        op_buf_addf(text, "192.0.2.%d", minute);
    else if (op_str_is(format, "ipv6"))
        op_buf_addf(text, "2001:db8::%x", minute + 1);
    else
        return false;
    return true;
}

/* How many words a property of that name holds: a title few, a summary many. */
static int64_t word_count_for(struct maker *m, struct op_str name)
{
    static const char *const long_ones[] = {"text",      "summary", "description", "content",
                                            "narrative", "body",    "explanation", "reason",
                                            "rationale", "analysis"};
    for (size_t i = 0; i < OP_COUNT(long_ones); i++) {
        if (contains_nocase(name, long_ones[i]))
            return between(m, 12, 30);
    }
    return between(m, 2, 5);
}

static void make_string(struct maker *m, const struct shape *shape, struct op_str name)
{
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    op_buf_init(&text, (size_t)4 * 1024 * 1024);
    struct op_str pattern = op_json_str(keyword(shape, "pattern"));
    struct op_str format = op_json_str(keyword(shape, "format"));
    const struct op_emu_id *ids[IDS_MOST];
    size_t id_count = op_emu_names_ids(name) ? fitting_ids(m, shape, name, false, ids) : 0;
    int64_t least = op_json_int(keyword(shape, "minLength"), 0);
    int64_t most = op_json_int(keyword(shape, "maxLength"), INT64_MAX);
    if (format.ptr && add_format(m, format, &text)) {
        op_json_out_str(m->out, op_buf_str(&text));
        return;
    }
    if (pattern.ptr && op_emu_pattern_make(pattern, &m->random, &text)) {
        op_json_out_str(m->out, op_buf_str(&text));
        return;
    }
    op_buf_clear(&text);
    if (id_count)
        op_buf_add_str(&text, ids[op_emu_random_below(&m->random, id_count)]->value);
    else
        add_words(m, &text, word_count_for(m, name));
    while ((int64_t)utf8_count(op_buf_str(&text)) < least && !text.failed)
        add_words(m, &text, 8);
    struct op_str result = op_buf_str(&text);
    if (most >= 0 && (int64_t)utf8_count(result) > most) {
        result = utf8_cut(result, (size_t)most);
        struct op_str trimmed = op_str_trim(result);
        if ((int64_t)utf8_count(trimmed) >= least)
            result = trimmed;
    }
    op_json_out_str(m->out, result);
}

/* ---- containers ---- */

static void item_range(const struct maker *m, const struct shape *shape, int64_t *least,
                       int64_t *most)
{
    bool frugal = m->depth >= DEPTH_FRUGAL;
    *least = op_json_int(keyword(shape, "minItems"), 0);
    *most = op_json_int(keyword(shape, "maxItems"), INT64_MAX);
    int64_t from = *least > 0 || frugal ? *least : 1;
    int64_t to = frugal ? *least : *least + 2 > 3 ? *least + 2 : 3;
    *least = from < *most ? from : *most;
    *most = to < *most ? to : *most;
}

/* Distinct ids are what a list of citations is; taken without repetition. */
static bool make_id_items(struct maker *m, const struct shape *items, struct op_str name,
                          int64_t count)
{
    const struct op_emu_id *ids[IDS_MOST];
    struct op_str type = type_of(m, items);
    bool numbers = op_str_is(type, "integer") || op_str_is(type, "number");
    if ((!numbers && !op_str_is(type, "string")) || has(items, "enum") || has(items, "const"))
        return false;
    size_t found = fitting_ids(m, items, name, numbers, ids);
    if (found == 0 || (int64_t)found < count)
        return false;
    size_t start = op_emu_random_below(&m->random, found);
    for (int64_t i = 0; i < count; i++) {
        const struct op_emu_id *id = ids[(start + (size_t)i) % found];
        if (numbers)
            op_json_out_int(m->out, id->number);
        else
            op_json_out_str(m->out, id->value);
    }
    return true;
}

/* Items without repetition are taken from an enum in order, or found by trying. */
static void make_unique_items(struct maker *m, struct op_json items, struct op_str name,
                              int64_t count)
{
    struct op_buf *buf = m->out->buf;
    size_t starts[64], lens[64], made = 0;
    for (int tries = 0; (int64_t)made < count && made < OP_COUNT(starts) && tries < 400;
         tries++) {
        struct op_json_out before = *m->out;
        size_t start = buf->len;
        make_value(m, items, name);
        struct op_str text = {buf->ptr + start, buf->len - start};
        if (text.len && text.ptr[0] == ',')
            text = (struct op_str){text.ptr + 1, text.len - 1};
        bool known = false;
        for (size_t i = 0; i < made && !known; i++)
            known = op_str_eq(text, (struct op_str){buf->ptr + starts[i], lens[i]});
        if (known) {
            buf->len = start;
            buf->ptr[start] = '\0';
            *m->out = before;
            continue;
        }
        starts[made] = (size_t)(text.ptr - buf->ptr);
        lens[made++] = text.len;
    }
}

static void make_array(struct maker *m, const struct shape *shape, struct op_str name)
{
    struct op_json items = keyword(shape, "items"), prefix = keyword(shape, "prefixItems");
    struct shape item_shape = {0};
    int64_t least, most, given = (int64_t)op_json_count(prefix);
    item_range(m, shape, &least, &most);
    shape_add(m, &item_shape, items);
    op_json_out_array(m->out);
    struct op_json_iter it = op_json_iter(prefix);
    while (op_json_next(&it))
        make_value(m, it.value, name);
    int64_t count = between(m, least, most) - given;
    bool wants_ids = asks_for_ids(shape, name) || asks_for_ids(&item_shape, OP_STR_NULL);
    if (op_json_is(items, OP_JSON_FALSE) || (given && !op_json_ok(items)))
        count = 0;
    if (wants_ids) {
        const struct op_emu_id *ids[IDS_MOST];
        int64_t found = (int64_t)fitting_ids(m, &item_shape, name, true, ids);
        if (found && count > found && found >= least)
            count = found;
    }
    if (wants_ids && make_id_items(m, &item_shape, name, count))
        count = 0;
    if (op_json_bool(keyword(shape, "uniqueItems"), false))
        make_unique_items(m, items, name, count);
    else
        for (int64_t i = 0; i < count && !m->out->buf->failed; i++)
            make_value(m, items, name);
    op_json_out_end_array(m->out);
}

static bool is_required(const struct shape *shape, struct op_str name)
{
    for (size_t i = 0; i < shape->count; i++) {
        struct op_json_iter it = op_json_iter(op_json_get(shape->parts[i], "required"));
        while (op_json_next(&it)) {
            if (op_str_eq(op_json_str(it.value), name))
                return true;
        }
    }
    return false;
}

static bool has_property(const struct shape *shape, size_t parts, struct op_str name)
{
    for (size_t i = 0; i < parts; i++) {
        struct op_json properties = op_json_get(shape->parts[i], "properties");
        if (op_json_ok(op_json_get_str(properties, name)))
            return true;
    }
    return false;
}

/* One member; the first of the outermost object is the one that is made wrong. */
static void make_member(struct maker *m, struct op_str name, struct op_json schema,
                        bool required)
{
    bool first = m->depth == 1 && required;
    if (first && m->spoil == OP_EMU_SPOIL_MISSING) {
        m->spoil = OP_EMU_SPOIL_NONE;
        return;
    }
    op_json_out_name_str(m->out, name);
    if (first && m->spoil == OP_EMU_SPOIL_WRONG_TYPE) {
        m->spoil = OP_EMU_SPOIL_NONE;
        op_json_out_raw(m->out, OP_STR("{\"unexpected\":[true]}"));
        return;
    }
    make_value(m, schema, name);
}

static void make_open_members(struct maker *m, const struct shape *shape)
{
    struct op_json rest = keyword(shape, "additionalProperties");
    if (!op_json_is(rest, OP_JSON_OBJECT) || has(shape, "properties") ||
        m->depth > DEPTH_FRUGAL)
        return;
    struct op_str word = word_at(m, op_emu_random_below(&m->random, m->words.word_count));
    make_member(m, word, rest, false);
}

static void make_object(struct maker *m, const struct shape *shape)
{
    bool frugal = m->depth > DEPTH_FRUGAL;
    op_json_out_object(m->out);
    for (size_t i = 0; i < shape->count; i++) {
        struct op_json_iter it = op_json_iter(op_json_get(shape->parts[i], "properties"));
        while (op_json_next(&it)) {
            bool required = is_required(shape, it.name);
            if (has_property(shape, i, it.name) || (frugal && !required))
                continue;
            make_member(m, it.name, it.value, required);
        }
    }
    for (size_t i = 0; i < shape->count; i++) {
        struct op_json_iter it = op_json_iter(op_json_get(shape->parts[i], "required"));
        while (op_json_next(&it)) {
            struct op_str name = op_json_str(it.value);
            if (!has_property(shape, shape->count, name))
                make_member(m, name, (struct op_json){0}, true);
        }
    }
    make_open_members(m, shape);
    if (m->depth == 1 && m->spoil == OP_EMU_SPOIL_EXTRA)
        op_json_out_kv_bool(m->out, "unexpected_extra", true);
    op_json_out_end_object(m->out);
}

static void make_typed(struct maker *m, const struct shape *shape, struct op_str name)
{
    struct op_str type = type_of(m, shape);
    if (op_str_is(type, "object"))
        make_object(m, shape);
    else if (op_str_is(type, "array"))
        make_array(m, shape, name);
    else if (op_str_is(type, "integer"))
        make_integer(m, shape, name);
    else if (op_str_is(type, "number"))
        make_number(m, shape, name);
    else if (op_str_is(type, "boolean"))
        op_json_out_bool(m->out, between(m, 0, 1) == 1);
    else if (op_str_is(type, "null"))
        op_json_out_null(m->out);
    else
        make_string(m, shape, name);
}

static void make_value(struct maker *m, struct op_json schema, struct op_str name)
{
    struct shape shape = {0};
    if (m->depth >= DEPTH_MOST) {
        op_json_out_null(m->out);
        return;
    }
    shape_add(m, &shape, schema);
    struct op_json fixed = keyword(&shape, "const"), one_of = keyword(&shape, "enum");
    m->depth++;
    if (op_json_ok(fixed)) {
        op_json_out_value(m->out, fixed);
    } else if (op_json_count(one_of)) {
        size_t at = op_emu_random_below(&m->random, op_json_count(one_of));
        struct op_json_iter it = op_json_iter(one_of);
        while (op_json_next(&it) && it.index < at)
            continue;
        op_json_out_value(m->out, it.value);
    } else {
        make_typed(m, &shape, name);
    }
    m->depth--;
}

/* ---- whole answers ---- */

enum op_emu_spoil op_emu_spoil_named(const char *how)
{
    static const struct {
        const char *name;
        enum op_emu_spoil spoil;
    } rows[] = {
        {"fenced", OP_EMU_SPOIL_FENCED},   {"prose", OP_EMU_SPOIL_PROSE},
        {"missing", OP_EMU_SPOIL_MISSING}, {"wrong_type", OP_EMU_SPOIL_WRONG_TYPE},
        {"extra", OP_EMU_SPOIL_EXTRA},     {"empty", OP_EMU_SPOIL_EMPTY},
    };
    for (size_t i = 0; how && i < OP_COUNT(rows); i++) {
        if (op_str_is(op_str_from(how), rows[i].name))
            return rows[i].spoil;
    }
    return OP_EMU_SPOIL_NOT_JSON;
}

static void make_instance(struct maker *m, const struct op_emu_ask *ask, struct op_buf *out)
{
    if (ask->spoil == OP_EMU_SPOIL_FENCED)
        op_buf_addz(out, "```json\n");
    if (ask->spoil == OP_EMU_SPOIL_PROSE)
        op_buf_addz(out, "Here is the JSON you asked for:\n\n");
    make_value(m, ask->schema, OP_STR_NULL);
    if (ask->spoil == OP_EMU_SPOIL_FENCED)
        op_buf_addz(out, "\n```");
    if (ask->spoil == OP_EMU_SPOIL_PROSE)
        op_buf_addz(out, "\n\nLet me know if you need anything else.");
}

void op_emu_answer(const struct op_emu_ask *ask, struct op_buf *out)
{
    OP_CLEANUP(op_arena_release) struct op_arena arena = {0};
    struct op_json_out json;
    /* SHA-256, not the fast hash: answers are compared across builds and machines. */
    uint8_t digest[OP_SHA256_LEN];
    uint64_t hash;
    op_sha256(ask->prompt.ptr ? ask->prompt.ptr : "", ask->prompt.len, digest);
    memcpy(&hash, digest, sizeof(hash));
    struct maker m = {
        .root = ask->schema, .random = hash ^ ask->seed, .out = &json, .spoil = ask->spoil};
    if (ask->spoil == OP_EMU_SPOIL_EMPTY)
        return;
    op_emu_words_of(&arena, ask->prompt, &m.words);
    op_json_out_init(&json, out, 0);
    if (op_json_ok(ask->schema) && ask->spoil != OP_EMU_SPOIL_NOT_JSON)
        make_instance(&m, ask, out);
    else
        add_sentences(&m, out, between(&m, 2, 4));
}
