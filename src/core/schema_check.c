/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "core/schema_impl.h"

/* Arrays from this length on are searched for equal items by their canonical text. */
#define MANY_ITEMS 10

enum mode {
    MODE_REPORT, /* count and describe */
    MODE_COUNT,  /* count all */
    MODE_TEST,   /* stop at the first violation */
};

/* Where in the value we are: a chain on the stack. */
struct place {
    const struct place *up;
    struct op_str name; /* ptr NULL: index */
    size_t index;
};

/* Which items or members of one value have been evaluated, for unevaluatedItems and
 * unevaluatedProperties. Only allocated where some schema on the value asks. */
struct marks {
    uint8_t *done;
    size_t count;
};

struct check {
    const struct op_schema *schema;
    enum mode mode;
    struct op_buf *list;
    size_t listed, max_listed;
    int64_t steps;
    int depth;
    bool gave_up;
};

/* One value under one schema. */
struct spot {
    struct check *c;
    const struct op_schema_node *node;
    struct op_json value;
    const struct place *place;
    struct marks *marks; /* NULL: nobody asks */
};

static size_t check_node(struct check *c, const struct op_schema_node *node,
                         struct op_json value, const struct place *place, struct marks *marks);

static bool done(const struct spot *s, size_t count)
{
    return count > 0 && s->c->mode == MODE_TEST;
}

static void put_place(struct op_buf *buf, const struct place *place)
{
    if (!place->up)
        return;
    put_place(buf, place->up);
    op_buf_addc(buf, '/');
    if (!place->name.ptr) {
        op_buf_addf(buf, "%zu", place->index);
        return;
    }
    for (size_t i = 0; i < place->name.len; i++) {
        char ch = place->name.ptr[i];
        if (ch == '~' || ch == '/')
            op_buf_addz(buf, ch == '~' ? "~0" : "~1");
        else
            op_buf_addc(buf, ch);
    }
}

/* Opens a line of the list; NULL when nothing is to be written. */
static struct op_buf *open_line(const struct spot *s)
{
    struct check *c = s->c;

    if (c->mode != MODE_REPORT || !c->list || c->listed == c->max_listed)
        return NULL;
    c->listed++;
    if (s->place->up)
        put_place(c->list, s->place);
    else
        op_buf_addz(c->list, "(root)");
    op_buf_addz(c->list, ": ");
    return c->list;
}

/* One violation that is a plain text. */
static size_t violation(const struct spot *s, const char *text)
{
    struct op_buf *line = open_line(s);

    if (line)
        op_buf_addf(line, "%s\n", text);
    return 1;
}

/* One violation: the value, words, a value of the schema. */
static size_t violation_value(const struct spot *s, const char *words, struct op_json other)
{
    struct op_buf *line = open_line(s);

    if (line) {
        op_schema_put_value(line, s->value);
        op_buf_addf(line, " %s ", words);
        op_schema_put_value(line, other);
        op_buf_addc(line, '\n');
    }
    return 1;
}

static size_t violation_size(const struct spot *s, size_t have, const char *what,
                             const char *words, int64_t limit)
{
    struct op_buf *line = open_line(s);

    if (line)
        op_buf_addf(line, "has %zu %s%s, %s %lld\n", have, what, have == 1 ? "" : "s", words,
                    (long long)limit);
    return 1;
}

/* "has 3 characters, fewer than the minimum 5". what is the singular. */
static size_t check_size(const struct spot *s, size_t have, const char *what, int64_t min,
                         int64_t max)
{
    if (min >= 0 && have < (uint64_t)min)
        return violation_size(s, have, what, "fewer than the minimum", min);
    if (max >= 0 && have > (uint64_t)max)
        return violation_size(s, have, what, "more than the maximum", max);
    return 0;
}

static void mark(const struct spot *s, size_t index)
{
    if (s->marks)
        s->marks->done[index] = 1;
}

static size_t check_item(const struct spot *s, const struct op_schema_node *node,
                         struct op_json item, size_t index)
{
    struct place place = {.up = s->place, .index = index};

    mark(s, index);
    return check_node(s->c, node, item, &place, NULL);
}

static size_t check_member(const struct spot *s, const struct op_schema_node *node,
                           const struct op_json_iter *it)
{
    struct place place = {.up = s->place, .name = it->name};

    mark(s, it->index);
    return check_node(s->c, node, it->value, &place, NULL);
}

static size_t check_type(const struct spot *s)
{
    struct op_buf *line;
    unsigned type = op_schema_type_of(s->value);

    if ((type & s->node->types) != 0)
        return 0;
    line = open_line(s);
    if (line) {
        op_schema_put_value(line, s->value);
        op_buf_addz(line, " is ");
        op_schema_put_types(line, type);
        op_buf_addz(line, ", expected ");
        op_schema_put_types(line, s->node->types);
        op_buf_addc(line, '\n');
    }
    return 1;
}

static size_t check_enum(const struct spot *s)
{
    struct op_json_iter it = op_json_iter(s->node->enumeration);
    struct op_buf *line;

    while (op_json_next(&it))
        if (op_json_equal(it.value, s->value))
            return 0;
    line = open_line(s);
    if (line) {
        op_schema_put_value(line, s->value);
        op_buf_addz(line, " is not one of ");
        op_schema_put_choices(line, s->node->enumeration);
        op_buf_addc(line, '\n');
    }
    return 1;
}

static size_t check_number(const struct spot *s)
{
    const struct op_schema_node *n = s->node;
    size_t bad = 0;

    if (op_json_ok(n->minimum) && op_schema_compare(s->value, n->minimum) < 0)
        bad += violation_value(s, "is less than the minimum", n->minimum);
    if (op_json_ok(n->maximum) && op_schema_compare(s->value, n->maximum) > 0)
        bad += violation_value(s, "is greater than the maximum", n->maximum);
    if (op_json_ok(n->exclusive_minimum) &&
        op_schema_compare(s->value, n->exclusive_minimum) <= 0)
        bad += violation_value(s, "is not greater than", n->exclusive_minimum);
    if (op_json_ok(n->exclusive_maximum) &&
        op_schema_compare(s->value, n->exclusive_maximum) >= 0)
        bad += violation_value(s, "is not less than", n->exclusive_maximum);
    if (op_json_ok(n->multiple_of) && !op_schema_multiple(s->value, n->multiple_of))
        bad += violation_value(s, "is not a multiple of", n->multiple_of);
    return bad;
}

static size_t violation_text(const struct spot *s, const char *words, struct op_str what)
{
    struct op_buf *line = open_line(s);

    if (line) {
        op_schema_put_value(line, s->value);
        op_buf_addf(line, " %s " OP_STR_FMT "\n", words, OP_STR_ARG(what));
    }
    return 1;
}

static size_t code_points(struct op_str text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char)text.ptr[i] & 0xC0) != 0x80;
    return count;
}

static size_t check_string(const struct spot *s)
{
    const struct op_schema_node *n = s->node;
    struct op_str text = op_json_str(s->value);
    size_t bad = 0;

    if (n->min_length >= 0 || n->max_length >= 0)
        bad += check_size(s, code_points(text), "character", n->min_length, n->max_length);
    if (n->pattern) {
        enum op_schema_match match = op_schema_regex_match(n->pattern, text);
        if (match == OP_SCHEMA_GAVE_UP)
            bad += violation_text(s, "takes too long to match the pattern", n->pattern_text);
        else if (match == OP_SCHEMA_NO_MATCH)
            bad += violation_text(s, "does not match the pattern", n->pattern_text);
    }
    if (n->format && !n->format(text))
        bad += violation_text(s, "is not a valid", n->format_text);
    return bad;
}

static size_t check_unique_many(const struct spot *s)
{
    struct op_json_iter it = op_json_iter(s->value);
    struct op_map seen = {0};
    struct op_buf text;
    size_t bad = 0;

    op_buf_init(&text, SIZE_MAX / 2);
    while (!bad && op_json_next(&it)) {
        int64_t first;
        op_buf_clear(&text);
        op_json_write_canonical(&text, it.value);
        if (op_map_add(&seen, op_buf_str(&text), (int64_t)it.index, &first))
            continue;
        struct op_buf *line = open_line(s);
        if (line)
            op_buf_addf(line, "items %lld and %zu are equal\n", (long long)first, it.index);
        bad = 1;
    }
    op_map_release(&seen);
    op_buf_release(&text);
    return bad;
}

static size_t check_unique(const struct spot *s)
{
    struct op_json items[MANY_ITEMS];
    struct op_json_iter it = op_json_iter(s->value);

    if (op_json_count(s->value) > MANY_ITEMS)
        return check_unique_many(s);
    while (op_json_next(&it)) {
        items[it.index] = it.value;
        for (size_t k = 0; k < it.index; k++) {
            if (!op_json_equal(items[k], it.value))
                continue;
            struct op_buf *line = open_line(s);
            if (line)
                op_buf_addf(line, "items %zu and %zu are equal\n", k, it.index);
            return 1;
        }
    }
    return 0;
}

/* Whether value satisfies node, without a word. */
static bool satisfies(const struct spot *s, const struct op_schema_node *node,
                      struct op_json value, struct marks *marks)
{
    enum mode mode = s->c->mode;

    s->c->mode = MODE_TEST;
    size_t bad = check_node(s->c, node, value, s->place, marks);
    s->c->mode = mode;
    return bad == 0;
}

static size_t check_contains(const struct spot *s)
{
    const struct op_schema_node *n = s->node;
    struct op_json_iter it = op_json_iter(s->value);
    size_t found = 0, min = n->min_contains < 0 ? 1 : (size_t)n->min_contains;
    struct op_buf *line;

    while (op_json_next(&it)) {
        if (!satisfies(s, n->contains, it.value, NULL))
            continue;
        found++;
        mark(s, it.index);
    }
    if (found >= min && (n->max_contains < 0 || found <= (uint64_t)n->max_contains))
        return 0;
    line = open_line(s);
    if (line) {
        op_buf_addf(line, "has %zu item%s as ", found, found == 1 ? "" : "s");
        op_schema_put_value(line, n->contains->json);
        op_buf_addf(line, " says, expected %s %lld\n", found < min ? "at least" : "at most",
                    found < min ? (long long)min : (long long)n->max_contains);
    }
    return 1;
}

static size_t check_array(const struct spot *s)
{
    const struct op_schema_node *n = s->node;
    struct op_json_iter it = op_json_iter(s->value);
    size_t bad = 0;

    if (n->min_items >= 0 || n->max_items >= 0)
        bad += check_size(s, op_json_count(s->value), "item", n->min_items, n->max_items);
    if (n->prefix_items.count > 0 || n->items) {
        while (!done(s, bad) && op_json_next(&it)) {
            if (it.index < n->prefix_items.count)
                bad += check_item(s, n->prefix_items.items[it.index], it.value, it.index);
            else if (n->items)
                bad += check_item(s, n->items, it.value, it.index);
            else
                break;
        }
    }
    if (n->contains && !done(s, bad))
        bad += check_contains(s);
    if (n->unique_items && !done(s, bad))
        bad += check_unique(s);
    return bad;
}

/* The last of equal names counts, so the search is from the end. */
static const struct op_schema_member *find_member(const struct op_schema_members *members,
                                                  struct op_str name)
{
    int64_t index;

    if (members->by_name.count > 0)
        return op_map_get(&members->by_name, name, &index) ? &members->items[index] : NULL;
    for (size_t i = members->count; i > 0; i--)
        if (op_str_eq(members->items[i - 1].name, name))
            return &members->items[i - 1];
    return NULL;
}

static size_t missing(const struct spot *s, struct op_str name, struct op_str because)
{
    struct op_buf *line = open_line(s);

    if (line && because.ptr)
        op_buf_addf(line,
                    "the member '" OP_STR_FMT "' is missing, which '" OP_STR_FMT "' requires\n",
                    OP_STR_ARG(name), OP_STR_ARG(because));
    else if (line)
        op_buf_addf(line, "the member '" OP_STR_FMT "' is missing\n", OP_STR_ARG(name));
    return 1;
}

/* A member that additionalProperties: false or unevaluatedProperties: false refuses. */
static size_t refused_member(const struct spot *s, struct op_str name)
{
    const struct op_schema_members *known = &s->node->properties;
    struct op_buf *line = open_line(s);

    if (!line)
        return 1;
    op_buf_addf(line, "the member '" OP_STR_FMT "' is not allowed", OP_STR_ARG(name));
    if (known->count > 0)
        op_buf_addz(line, "; allowed are ");
    for (size_t i = 0; i < known->count; i++)
        op_buf_addf(line, "%s'" OP_STR_FMT "'", i ? ", " : "",
                    OP_STR_ARG(known->items[i].name));
    op_buf_addc(line, '\n');
    return 1;
}

static size_t check_name(const struct spot *s, const struct op_json_iter *it)
{
    struct place place = {.up = s->place, .name = it->name};

    return check_node(s->c, s->node->property_names, op_json_iter_name(it), &place, NULL);
}

static size_t check_one_member(const struct spot *s, const struct op_json_iter *it)
{
    const struct op_schema_node *n = s->node;
    const struct op_schema_member *member = find_member(&n->properties, it->name);
    bool known = member != NULL;
    size_t bad = 0;

    if (n->property_names)
        bad += check_name(s, it);
    if (member && !done(s, bad))
        bad += check_member(s, member->node, it);
    for (size_t i = 0; i < n->pattern_properties.count && !done(s, bad); i++) {
        member = &n->pattern_properties.items[i];
        if (op_schema_regex_match(member->regex, it->name) != OP_SCHEMA_MATCH)
            continue;
        known = true;
        bad += check_member(s, member->node, it);
    }
    if (known || !n->additional_properties || done(s, bad))
        return bad;
    if (n->additional_properties->boolean && !n->additional_properties->allow)
        return bad + refused_member(s, it->name);
    return bad + check_member(s, n->additional_properties, it);
}

static size_t check_dependent(const struct spot *s)
{
    const struct op_schema_members *members = &s->node->dependent_required;
    size_t bad = 0;

    for (size_t i = 0; i < members->count && !done(s, bad); i++) {
        const struct op_schema_member *member = &members->items[i];
        if (!op_json_ok(op_json_get_str(s->value, member->name)))
            continue;
        for (size_t k = 0; k < member->need_count; k++)
            if (!op_json_ok(op_json_get_str(s->value, member->needs[k])))
                bad += missing(s, member->needs[k], member->name);
    }
    members = &s->node->dependent_schemas;
    for (size_t i = 0; i < members->count && !done(s, bad); i++)
        if (op_json_ok(op_json_get_str(s->value, members->items[i].name)))
            bad += check_node(s->c, members->items[i].node, s->value, s->place, s->marks);
    return bad;
}

static size_t check_object(const struct spot *s)
{
    const struct op_schema_node *n = s->node;
    struct op_json_iter it = op_json_iter(s->value);
    size_t bad = 0;

    for (size_t i = 0; i < n->required_count && !done(s, bad); i++)
        if (!op_json_ok(op_json_get_str(s->value, n->required[i])))
            bad += missing(s, n->required[i], OP_STR_NULL);
    if (n->min_properties >= 0 || n->max_properties >= 0)
        bad += check_size(s, op_json_count(s->value), "member", n->min_properties,
                          n->max_properties);
    if (n->properties.count > 0 || n->pattern_properties.count > 0 ||
        n->additional_properties || n->property_names)
        while (!done(s, bad) && op_json_next(&it))
            bad += check_one_member(s, &it);
    return done(s, bad) ? bad : bad + check_dependent(s);
}

/* The alternative that came nearest: right type first, then fewest violations. */
static size_t nearest(const struct spot *s, const struct op_schema_nodes *nodes)
{
    size_t best = 0, best_bad = SIZE_MAX;
    unsigned type = op_schema_type_of(s->value);

    s->c->mode = MODE_COUNT;
    for (size_t i = 0; i < nodes->count; i++) {
        const struct op_schema_node *node = nodes->items[i];
        while (node->ref && node->types == 0)
            node = node->ref;
        size_t bad = check_node(s->c, nodes->items[i], s->value, s->place, NULL);
        if (node->types != 0 && (node->types & type) == 0)
            bad += SIZE_MAX / 2;
        if (bad < best_bad) {
            best = i;
            best_bad = bad;
        }
    }
    s->c->mode = MODE_REPORT;
    return best;
}

/* Says of the nearest alternative what is wrong with it. */
static size_t no_alternative(const struct spot *s, const struct op_schema_nodes *nodes)
{
    struct check *c = s->c;
    struct op_buf *line = open_line(s);
    struct op_buf first, *list = c->list;
    size_t best, listed = c->listed, max_listed = c->max_listed;

    if (!line)
        return 1;
    best = nearest(s, nodes);
    op_buf_init(&first, 4000);
    c->list = &first;
    c->listed = 0;
    c->max_listed = 1;
    check_node(c, nodes->items[best], s->value, s->place, NULL);
    c->list = list;
    c->listed = listed;
    c->max_listed = max_listed;
    struct op_str why = op_str_trim(op_buf_str(&first));
    op_buf_addf(
        line,
        "matches none of the %zu alternatives; the nearest is number %zu, but " OP_STR_FMT "\n",
        nodes->count, best + 1, OP_STR_ARG(why));
    op_buf_release(&first);
    return 1;
}

static size_t check_alternatives(const struct spot *s, const struct op_schema_nodes *nodes,
                                 bool only_one)
{
    size_t first = SIZE_MAX;

    for (size_t i = 0; i < nodes->count; i++) {
        if (!satisfies(s, nodes->items[i], s->value, s->marks))
            continue;
        if (only_one && first != SIZE_MAX) {
            struct op_buf *line = open_line(s);
            if (line)
                op_buf_addf(line,
                            "matches the alternatives %zu and %zu, but only one may "
                            "match\n",
                            first + 1, i + 1);
            return 1;
        }
        first = i;
        /* a later alternative that matches too may evaluate more members */
        if (!only_one && !s->marks)
            return 0;
    }
    return first == SIZE_MAX ? no_alternative(s, nodes) : 0;
}

static size_t check_condition(const struct spot *s)
{
    const struct op_schema_node *n = s->node;
    const struct op_schema_node *next =
        satisfies(s, n->if_, s->value, s->marks) ? n->then_ : n->else_;

    return next ? check_node(s->c, next, s->value, s->place, s->marks) : 0;
}

/* Everything that applies other schemas to the same value. */
static size_t check_applied(const struct spot *s)
{
    const struct op_schema_node *n = s->node;
    size_t bad = 0;

    if (n->ref)
        bad += check_node(s->c, n->ref, s->value, s->place, s->marks);
    for (size_t i = 0; i < n->all_of.count && !done(s, bad); i++)
        bad += check_node(s->c, n->all_of.items[i], s->value, s->place, s->marks);
    if (n->any_of.count > 0 && !done(s, bad))
        bad += check_alternatives(s, &n->any_of, false);
    if (n->one_of.count > 0 && !done(s, bad))
        bad += check_alternatives(s, &n->one_of, true);
    if (n->not_ && !done(s, bad) && satisfies(s, n->not_, s->value, NULL)) {
        struct op_buf *line = open_line(s);
        if (line) {
            op_schema_put_value(line, s->value);
            op_buf_addz(line, " is what 'not' excludes: ");
            op_schema_put_value(line, n->not_->json);
            op_buf_addc(line, '\n');
        }
        bad++;
    }
    if (n->if_ && !done(s, bad))
        bad += check_condition(s);
    return bad;
}

/* After everything else, and only when that was good: what failed has evaluated nothing, and
 * would be reported a second time as not evaluated. */
static size_t check_unevaluated(const struct spot *s, const struct op_schema_node *node)
{
    struct op_json_iter it = op_json_iter(s->value);
    size_t bad = 0;

    while (!done(s, bad) && op_json_next(&it)) {
        if (s->marks->done[it.index])
            continue;
        if (!it.name.ptr)
            bad += check_item(s, node, it.value, it.index);
        else if (node->boolean && !node->allow)
            bad += refused_member(s, it.name);
        else
            bad += check_member(s, node, &it);
    }
    return bad;
}

static size_t check_keywords(const struct spot *s)
{
    const struct op_schema_node *n = s->node;
    size_t bad = 0;

    if (n->types != 0)
        bad += check_type(s);
    /* of a value of the wrong type nothing more can be said that helps */
    if (bad > 0)
        return bad;
    if (op_json_ok(n->enumeration))
        bad += check_enum(s);
    if (op_json_ok(n->constant) && !done(s, bad) && !op_json_equal(n->constant, s->value))
        bad += violation_value(s, "is not", n->constant);
    if (done(s, bad))
        return bad;
    switch (op_json_type(s->value)) {
    case OP_JSON_INT:
    case OP_JSON_DOUBLE:
        bad += check_number(s);
        break;
    case OP_JSON_STRING:
        bad += check_string(s);
        break;
    case OP_JSON_ARRAY:
        bad += check_array(s);
        break;
    case OP_JSON_OBJECT:
        bad += check_object(s);
        break;
    case OP_JSON_NULL:
    case OP_JSON_FALSE:
    case OP_JSON_TRUE:
        break;
    }
    return done(s, bad) ? bad : bad + check_applied(s);
}

/* With marks of its own: they reach the outer ones only when the value is good. */
static size_t check_marked(struct spot *s, const struct op_schema_node *unevaluated,
                           struct marks *outer)
{
    uint8_t few[64] = {0};
    struct marks marks = {few, op_json_count(s->value)};
    uint8_t *many OP_CLEANUP(op_mem_freep) = NULL;
    size_t bad;

    if (marks.count > sizeof(few))
        marks.done = many = op_mem_alloc(marks.count);
    s->marks = &marks;
    bad = check_keywords(s);
    if (unevaluated && bad == 0)
        bad = check_unevaluated(s, unevaluated);
    if (outer && bad == 0)
        for (size_t i = 0; i < marks.count; i++)
            outer->done[i] |= marks.done[i];
    return bad;
}

static size_t check_here(struct spot *s, struct marks *marks)
{
    const struct op_schema_node *n = s->node, *unevaluated = NULL;

    if (n->boolean)
        return n->allow ? 0 : violation(s, "is not allowed here");
    if (op_json_type(s->value) == OP_JSON_ARRAY)
        unevaluated = n->unevaluated_items;
    else if (op_json_type(s->value) == OP_JSON_OBJECT)
        unevaluated = n->unevaluated_properties;
    if (unevaluated || marks)
        return check_marked(s, unevaluated, marks);
    return check_keywords(s);
}

static size_t check_node(struct check *c, const struct op_schema_node *node,
                         struct op_json value, const struct place *place, struct marks *marks)
{
    struct spot s = {c, node, value, place, NULL};

    if (++c->steps > OP_SCHEMA_MAX_STEPS || c->depth == OP_SCHEMA_MAX_DEPTH)
        c->gave_up = true;
    if (c->gave_up)
        return 1;
    c->depth++;
    size_t bad = check_here(&s, marks);
    c->depth--;
    return bad;
}

size_t op_schema_check(const struct op_schema *schema, struct op_json value, size_t max_listed,
                       struct op_buf *list)
{
    struct check c = {
        .schema = schema,
        .mode = list && max_listed > 0 ? MODE_REPORT : MODE_COUNT,
        .list = list,
        .max_listed = max_listed,
    };
    struct place root = {0};
    size_t bad;

    if (!op_json_ok(value))
        return 1;
    bad = check_node(&c, schema->root, value, &root, NULL);
    if (!c.gave_up)
        return bad;
    if (list && c.listed < max_listed)
        op_buf_addz(list,
                    "(root): the value is too intricate to be checked with this schema\n");
    return bad > 0 ? bad : 1;
}
