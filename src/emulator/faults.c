/* SPDX-License-Identifier: MIT */
#include "emulator/faults.h"

#include <pthread.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "emulator/words.h"

#define FAULTS_LINE_MAX ((size_t)1024 * 1024)

struct op_emu_faults {
    pthread_mutex_t lock;
    struct op_emu_rule *rules;
    size_t count, room;
};

#define OPERATION_NAME(op, name) name,
static const char *const operation_names[] = {OP_EMU_OPERATIONS(OPERATION_NAME)};
#undef OPERATION_NAME

#define ACTION_ROW(action, name, class_) {name, OP_EMU_CLASS_##class_},
static const struct {
    const char *name;
    enum op_emu_class class_;
} actions[] = {OP_EMU_ACTIONS(ACTION_ROW)};
#undef ACTION_ROW

#define ON(op)     (1U << OP_EMU_ON_##op)
#define ON_ANY     ((1U << OP_EMU_ON_COUNT_) - 1)
#define ON_BATCHES (ON(CREATE) | ON(GET) | ON(LIST) | ON(CANCEL))

_Static_assert(OP_EMU_ACTION_COUNT <= 64, "quirks hold a bit per action");

const char *op_emu_action_name(enum op_emu_action action)
{
    return actions[action].name;
}

enum op_emu_class op_emu_action_class(enum op_emu_action action)
{
    return actions[action].class_;
}

/* The operations an action makes sense on; a rule that could never act is refused. */
static unsigned allowed_on(enum op_emu_action action)
{
    if (action == OP_EMU_QUEUE_LIMIT || action == OP_EMU_TOKEN_LIMIT ||
        action == OP_EMU_ACCEPT_LATE)
        return ON(CREATE);
    if (action == OP_EMU_NO_BATCH)
        return ON_ANY & ~(ON(MESSAGES) | ON(COUNT) | ON(MODELS));
    if (action == OP_EMU_ERROR_WITH_200)
        return ON(UPLOAD);
    if (action == OP_EMU_TRUNCATE_RESULTS)
        return ON(RESULTS);
    if (action == OP_EMU_LIST_PAGE_SHIFT)
        return ON(LIST);
    switch (actions[action].class_) {
    case OP_EMU_CLASS_BATCH:
        return ON(CREATE);
    case OP_EMU_CLASS_VIEW:
        return ON_BATCHES;
    case OP_EMU_CLASS_LINE:
        return ON(RESULTS);
    case OP_EMU_CLASS_ANSWER:
        return ON(RESULTS) | ON(MESSAGES);
    case OP_EMU_CLASS_BEFORE:
    case OP_EMU_CLASS_AFTER:
    default:
        return ON_ANY;
    }
}

static bool find_name(struct op_str text, const char *const *names, size_t count, size_t *ret)
{
    for (size_t i = 0; i < count; i++) {
        if (op_str_is(text, names[i])) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static enum op_rc read_action(struct op_json rule, enum op_emu_action *ret, struct op_err *err)
{
    const char *names[OP_EMU_ACTION_COUNT];
    for (size_t i = 0; i < OP_COUNT(names); i++)
        names[i] = actions[i].name;
    struct op_str text = op_json_str(op_json_get(rule, "do"));
    size_t at = 0;
    if (find_name(text, names, OP_COUNT(names), &at)) {
        *ret = (enum op_emu_action)at;
        return OP_OK;
    }
    if (!text.ptr)
        return op_fail(err, OP_INVAL, "\"do\" is missing: it names the fault");
    OP_CLEANUP(op_mem_freep) char *word = op_mem_strndup(text.ptr, text.len);
    const char *near = op_str_nearest(word, names, OP_COUNT(names));
    return op_fail(err, OP_INVAL, "unknown fault \"%s\"%s%s%s", word,
                   near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
}

static enum op_rc add_operation(struct op_json name, unsigned *on, struct op_err *err)
{
    struct op_str text = op_json_str(name);
    size_t at = 0;
    if (op_str_is(text, "any"))
        *on |= ON_ANY;
    else if (text.ptr && find_name(text, operation_names, OP_COUNT(operation_names), &at))
        *on |= 1U << at;
    else
        return op_fail(
            err, OP_INVAL,
            "\"on\" is one or a list of create, get, list, results, cancel, delete,"
            " messages, count, models, start, upload, files, any; it is \"" OP_STR_FMT "\"",
            OP_STR_ARG(text));
    return OP_OK;
}

static enum op_rc read_operations(struct op_json rule, struct op_emu_rule *ret,
                                  struct op_err *err)
{
    struct op_json on = op_json_get(rule, "on");
    unsigned allowed = allowed_on(ret->action);
    if (!op_json_ok(on) && ret->action == OP_EMU_NO_BATCH) {
        ret->on = allowed;
        return OP_OK;
    }
    if (!op_json_ok(on)) {
        /* Where there is a choice, the place decides what the rule means: so it must be said. */
        if ((allowed & (allowed - 1)) != 0)
            return op_fail(err, OP_INVAL, "\"on\" is missing: it names the operation");
        ret->on = allowed;
        return OP_OK;
    }
    if (!op_json_is(on, OP_JSON_ARRAY)) {
        enum op_rc rc = add_operation(on, &ret->on, err);
        if (rc)
            return rc;
    }
    struct op_json_iter it = op_json_iter(on);
    while (op_json_is(on, OP_JSON_ARRAY) && op_json_next(&it)) {
        enum op_rc rc = add_operation(it.value, &ret->on, err);
        if (rc)
            return rc;
    }
    if (ret->on == ON_ANY)
        ret->on = allowed;
    if (ret->on & ~allowed || ret->on == 0)
        return op_fail(err, OP_INVAL, "\"%s\" cannot happen on that operation",
                       actions[ret->action].name);
    return OP_OK;
}

static enum op_rc read_text(struct op_json value, struct op_str name, char **ret,
                            struct op_err *err)
{
    struct op_str text = op_json_str(value);
    if (!text.ptr)
        return op_fail(err, OP_INVAL, "\"" OP_STR_FMT "\" must be text", OP_STR_ARG(name));
    op_mem_free(*ret);
    *ret = op_mem_strndup(text.ptr, text.len);
    return OP_OK;
}

static enum op_rc read_headers(struct op_json value, struct op_emu_rule *ret,
                               struct op_err *err)
{
    struct op_json_iter it = op_json_iter(value);
    while (op_json_next(&it)) {
        struct op_str text = op_json_str(it.value);
        if (!text.ptr || !it.name.ptr || ret->header_count == OP_EMU_RULE_HEADERS)
            return op_fail(err, OP_INVAL, "\"headers\" is an object of at most %d texts",
                           OP_EMU_RULE_HEADERS);
        ret->header_names[ret->header_count] = op_mem_strndup(it.name.ptr, it.name.len);
        ret->header_values[ret->header_count++] = op_mem_strndup(text.ptr, text.len);
    }
    return OP_OK;
}

static enum op_rc read_member(struct op_str name, struct op_json value, struct op_emu_rule *ret,
                              struct op_err *err)
{
    const struct {
        const char *name;
        int64_t *target;
    } numbers[] = {
        {"nth", &ret->nth},       {"every", &ret->every},     {"from", &ret->from},
        {"times", &ret->times},   {"ms", &ret->ms},           {"bytes", &ret->bytes},
        {"lines", &ret->lines},   {"percent", &ret->percent}, {"status", &ret->status},
        {"count", &ret->count},   {"seconds", &ret->seconds}, {"by", &ret->by},
        {"tokens", &ret->tokens},
    };
    for (size_t i = 0; i < OP_COUNT(numbers); i++) {
        if (!op_str_is(name, numbers[i].name))
            continue;
        if (op_json_is(value, OP_JSON_NULL) && op_str_is(name, "seconds"))
            return OP_OK;
        if (!op_json_is(value, OP_JSON_INT))
            return op_fail(err, OP_INVAL, "\"%s\" must be an integer", numbers[i].name);
        *numbers[i].target = op_json_int(value, 0);
        /* Two of them have a meaning below zero: the shift of a page, the skew of a clock. */
        bool is_signed = numbers[i].target == &ret->by || ret->action == OP_EMU_CREATED_SKEW;
        if (*numbers[i].target < 0 && !is_signed)
            return op_fail(err, OP_INVAL, "\"%s\" must not be negative", numbers[i].name);
        return OP_OK;
    }
    if (op_str_is(name, "on") || op_str_is(name, "do") || op_str_is(name, "about"))
        return OP_OK;
    if (op_str_is(name, "match"))
        return read_text(value, name, &ret->match, err);
    if (op_str_is(name, "body"))
        return read_text(value, name, &ret->body, err);
    if (op_str_is(name, "type"))
        return read_text(value, name, &ret->type, err);
    if (op_str_is(name, "message"))
        return read_text(value, name, &ret->message, err);
    if (op_str_is(name, "how"))
        return read_text(value, name, &ret->how, err);
    if (op_str_is(name, "headers"))
        return read_headers(value, ret, err);
    if (op_str_is(name, "reset")) {
        ret->reset = op_json_bool(value, false);
        return OP_OK;
    }
    if (op_str_is(name, "seed")) {
        ret->random = (uint64_t)op_json_int(value, 1);
        return OP_OK;
    }
    if (op_str_is(name, "probability")) {
        ret->probability = op_json_double(value, -1);
        if (ret->probability >= 0 && ret->probability <= 1)
            return OP_OK;
        return op_fail(err, OP_INVAL, "\"probability\" must be between 0 and 1");
    }
    return op_fail(err, OP_INVAL, "unknown member \"" OP_STR_FMT "\"", OP_STR_ARG(name));
}

static enum op_rc check_rule(const struct op_emu_rule *rule, struct op_err *err)
{
    static const char *const hows[] = {"not_json", "fenced", "prose", "wrong_type",
                                       "missing",  "extra",  "empty"};
    size_t at = 0;
    if (rule->how && (rule->action != OP_EMU_INVALID_ANSWER ||
                      !find_name(op_str_from(rule->how), hows, OP_COUNT(hows), &at)))
        return op_fail(
            err, OP_INVAL,
            "\"how\" belongs to invalid_answer and is one of not_json, fenced, prose,"
            " wrong_type, missing, extra, empty");
    if (rule->nth == 0 || rule->every == 0 || rule->from == 0)
        return op_fail(err, OP_INVAL, "\"nth\", \"every\" and \"from\" count from 1");
    if (rule->status != -1 && (rule->status < 200 || rule->status > 599))
        return op_fail(err, OP_INVAL, "\"status\" must be between 200 and 599");
    if (rule->percent > 100)
        return op_fail(err, OP_INVAL, "\"percent\" must be between 0 and 100");
    if (rule->action == OP_EMU_QUEUE_LIMIT && rule->lines < 0)
        return op_fail(err, OP_INVAL, "queue_limit needs \"lines\"");
    if (rule->action == OP_EMU_TOKEN_LIMIT && rule->tokens < 0)
        return op_fail(err, OP_INVAL, "token_limit needs \"tokens\"");
    return OP_OK;
}

static void rule_release(struct op_emu_rule *rule)
{
    for (size_t i = 0; i < rule->header_count; i++) {
        op_mem_free(rule->header_names[i]);
        op_mem_free(rule->header_values[i]);
    }
    op_mem_free(rule->match);
    op_mem_free(rule->body);
    op_mem_free(rule->type);
    op_mem_free(rule->message);
    op_mem_free(rule->how);
}

static enum op_rc rule_read(struct op_json json, uint64_t seed, struct op_emu_rule *rule,
                            struct op_err *err)
{
    *rule = (struct op_emu_rule){
        .nth = -1,
        .every = -1,
        .from = -1,
        .times = -1,
        .probability = -1,
        .ms = -1,
        .bytes = -1,
        .lines = -1,
        .percent = -1,
        .status = -1,
        .count = -1,
        .seconds = -1,
        .tokens = -1,
        .by = INT64_MIN,
        .random = seed,
    };
    if (!op_json_is(json, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "a fault rule is a JSON object");
    enum op_rc rc = read_action(json, &rule->action, err);
    if (!rc)
        rc = read_operations(json, rule, err);
    struct op_json_iter it = op_json_iter(json);
    while (!rc && op_json_next(&it))
        rc = read_member(it.name, it.value, rule, err);
    return rc ? rc : check_rule(rule, err);
}

static struct op_emu_rule *add_rule(struct op_emu_faults *faults)
{
    if (faults->count == faults->room) {
        faults->room = faults->room ? 2 * faults->room : 16;
        faults->rules = op_mem_realloc(faults->rules, faults->room * sizeof(*faults->rules));
    }
    return &faults->rules[faults->count++];
}

static enum op_rc read_file(struct op_emu_faults *faults, struct op_env *env, const char *path,
                            uint64_t seed, struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    enum op_rc rc = op_lines_open(env, path, 0, FAULTS_LINE_MAX, &lines, err);
    struct op_line line;
    while (!rc && !(rc = op_lines_next(lines, &line, err))) {
        struct op_str text =
            op_str_trim((struct op_str){line.ptr, line.oversize ? 0 : line.len});
        struct op_json json;
        if (line.oversize)
            rc = op_fail(err, OP_INVAL, "the line is longer than %zu bytes", FAULTS_LINE_MAX);
        else if (text.len == 0 || text.ptr[0] == '#')
            continue;
        else
            rc = op_json_parse(parser, text.ptr, text.len, true, &json, err);
        if (!rc)
            rc = rule_read(json, seed + faults->count, add_rule(faults), err);
        if (rc)
            return op_err_wrap(err, "%s:%lld", path, (long long)line.number);
    }
    return rc == OP_NOTFOUND ? OP_OK : rc;
}

enum op_rc op_emu_faults_open(struct op_env *env, const char *path, uint64_t seed,
                              struct op_emu_faults **ret, struct op_err *err)
{
    struct op_emu_faults *faults = op_mem_alloc(sizeof(*faults));
    pthread_mutex_init(&faults->lock, NULL);
    enum op_rc rc = path ? read_file(faults, env, path, seed, err) : OP_OK;
    if (rc) {
        op_emu_faults_close(faults);
        return rc;
    }
    *ret = faults;
    return OP_OK;
}

void op_emu_faults_close(struct op_emu_faults *faults)
{
    if (!faults)
        return;
    for (size_t i = 0; i < faults->count; i++)
        rule_release(&faults->rules[i]);
    pthread_mutex_destroy(&faults->lock);
    op_mem_free(faults->rules);
    op_mem_free(faults);
}

static bool matches(const struct op_emu_rule *rule, const struct op_str subjects[2])
{
    if (!rule->match)
        return true;
    size_t len = strlen(rule->match);
    for (int i = 0; i < 2; i++) {
        if (subjects[i].ptr && memmem(subjects[i].ptr, subjects[i].len, rule->match, len))
            return true;
    }
    return false;
}

static bool fires(struct op_emu_rule *rule)
{
    rule->seen++;
    if (rule->times >= 0 && rule->fired >= rule->times)
        return false;
    if (rule->nth > 0 && rule->seen != rule->nth)
        return false;
    if (rule->from > 0 && rule->seen < rule->from)
        return false;
    if (rule->every > 0 && rule->seen % rule->every != 0)
        return false;
    if (rule->probability >= 0 &&
        (double)(op_emu_random(&rule->random) >> 11) * 0x1.0p-53 >= rule->probability)
        return false;
    rule->fired++;
    return true;
}

static bool concerns(const struct op_emu_rule *rule, enum op_emu_operation on, bool line)
{
    if (!(rule->on >> on & 1))
        return false;
    enum op_emu_class class_ = actions[rule->action].class_;
    bool is_line = class_ == OP_EMU_CLASS_LINE || class_ == OP_EMU_CLASS_ANSWER;
    return on == OP_EMU_ON_RESULTS ? is_line == line : true;
}

void op_emu_faults_event(struct op_emu_faults *faults, enum op_emu_operation on, bool line,
                         const struct op_str subjects[2], struct op_emu_fired *ret)
{
    *ret = (struct op_emu_fired){0};
    if (faults->count == 0)
        return;
    pthread_mutex_lock(&faults->lock);
    for (size_t i = 0; i < faults->count; i++) {
        struct op_emu_rule *rule = &faults->rules[i];
        if (concerns(rule, on, line) && matches(rule, subjects) && fires(rule) &&
            ret->count < OP_EMU_FIRED_MAX)
            ret->rules[ret->count++] = rule;
    }
    pthread_mutex_unlock(&faults->lock);
}

const struct op_emu_rule *op_emu_fired_rule(const struct op_emu_fired *fired,
                                            enum op_emu_action action)
{
    for (size_t i = 0; fired && i < fired->count; i++) {
        if (fired->rules[i]->action == action)
            return fired->rules[i];
    }
    return NULL;
}

void op_emu_quirks_set(struct op_emu_quirks *quirks, enum op_emu_action action, int64_t value)
{
    quirks->set |= 1ULL << action;
    quirks->value[action] = value;
}

/* The one parameter a batch has to remember, or what it is when the rule does not say. */
static int64_t main_parameter(const struct op_emu_rule *rule)
{
    int64_t ms = rule->ms;
    switch ((int)rule->action) {
    case OP_EMU_EXPIRE:
        return rule->percent < 0 ? 100 : rule->percent;
    case OP_EMU_CANCEL_RACE:
        return rule->percent < 0 ? 50 : rule->percent;
    case OP_EMU_FLAP_AFTER_CREATE:
    case OP_EMU_FLAP_AFTER_END:
        return rule->count < 0 ? 1 : rule->count;
    case OP_EMU_LIST_LAG:
        return ms < 0 ? 60000 : ms;
    case OP_EMU_LATE_OUTPUT:
        return rule->count < 0 ? 3 : rule->count;
    case OP_EMU_SLOW:
    case OP_EMU_LONG_FINALIZING:
        return ms < 0 ? 3600000 : ms;
    case OP_EMU_CREATED_SKEW:
        return ms == -1 ? 3600000 : ms;
    default:
        return ms < 0 ? 0 : ms;
    }
}

void op_emu_quirks_add(struct op_emu_quirks *quirks, const struct op_emu_fired *fired)
{
    for (size_t i = 0; i < fired->count; i++) {
        const struct op_emu_rule *rule = fired->rules[i];
        enum op_emu_class class_ = actions[rule->action].class_;
        if (class_ == OP_EMU_CLASS_BATCH || class_ == OP_EMU_CLASS_VIEW)
            op_emu_quirks_set(quirks, rule->action, main_parameter(rule));
    }
}

bool op_emu_quirk_named(struct op_str name, enum op_emu_action *ret)
{
    for (size_t i = 0; i < OP_COUNT(actions); i++) {
        bool fits =
            actions[i].class_ == OP_EMU_CLASS_BATCH || actions[i].class_ == OP_EMU_CLASS_VIEW;
        if (fits && op_str_is(name, actions[i].name)) {
            *ret = (enum op_emu_action)i;
            return true;
        }
    }
    return false;
}
