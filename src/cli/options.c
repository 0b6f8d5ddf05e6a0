/* SPDX-License-Identifier: MIT */
#include "cli/options.h"

#include "base/json_out.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define MAX_CANDIDATES 128
/* Shorter texts are no keys. */
#define KEY_MIN 20

/* Both spellings of a name, up to its end or a '='. */
static bool same_name(const char *a, const char *b)
{
    for (; *a && *a != '=' && *b; a++, b++)
        if ((*a == '_' ? '-' : *a) != (*b == '_' ? '-' : *b))
            return false;
    return (*a == '\0' || *a == '=') && *b == '\0';
}

static const struct op_option *find_option(const struct op_command *command, const char *name)
{
    for (const struct op_option *o = command->options; o->name; o++)
        if (o->kind != OP_OPTION_GROUP && same_name(name, o->name))
            return o;
    return NULL;
}

static const struct op_option *find_letter(const struct op_command *command, char letter)
{
    for (const struct op_option *o = command->options; o->name; o++)
        if (o->letter && o->letter == letter)
            return o;
    return NULL;
}

/* Index of the param that has this option name, -1 for none. *ret_negated: it was --no-NAME. */
static int find_param(const struct op_subject *subject, const char *name, bool *ret_negated)
{
    const struct op_definition *def = &subject->def;
    *ret_negated = false;
    for (size_t i = 0; subject->has_def && i < def->param_count; i++) {
        const struct op_param_def *param = &def->params[i];
        if (same_name(name, param->name))
            return (int)i;
        for (size_t a = 0; param->aliases && param->aliases[a]; a++)
            if (same_name(name, param->aliases[a]))
                return (int)i;
        *ret_negated = param->type == OP_PARAM_BOOLEAN && strncmp(name, "no", 2) == 0 &&
                       (name[2] == '-' || name[2] == '_') && same_name(name + 3, param->name);
        if (*ret_negated)
            return (int)i;
    }
    return -1;
}

bool op_options_is_key(const char *text)
{
    const char *value = strchr(text, '=');
    value = text[0] == '-' && value ? value + 1 : text;
    struct op_str s = op_str_from(value);
    if (s.len < KEY_MIN || strpbrk(value, " \t\n") ||
        !(op_str_starts(s, "sk-") || op_str_starts(s, "AIza")))
        return false;
    OP_CLEANUP(op_mem_freep) char *copy = op_mem_strdup(value);
    op_log_mask(copy, s.len);
    return strcmp(copy, value) != 0;
}

const char *op_options_first_word(const struct op_command *command, int argc, char **argv)
{
    bool after_unknown = false;
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--") == 0)
            return i + 1 < argc ? argv[i + 1] : NULL;
        if (arg[0] != '-' || !arg[1]) {
            if (!after_unknown)
                return arg;
            after_unknown = false;
            continue;
        }
        const struct op_option *o =
            arg[1] == '-' ? find_option(command, arg + 2) : find_letter(command, arg[1]);
        after_unknown = !o && !strchr(arg, '=');
        double seconds = 0;
        bool takes = o && o->kind != OP_OPTION_FLAG && !strchr(arg, '=');
        if (takes && (o->kind != OP_OPTION_WAIT ||
                      (i + 1 < argc && op_str_double(op_str_from(argv[i + 1]), &seconds))))
            i++;
    }
    return NULL;
}

const char *op_options_value(const char *name, int argc, char **argv)
{
    size_t len = strlen(name);
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--", 2) != 0 || strncmp(argv[i] + 2, name, len) != 0)
            continue;
        const char *rest = argv[i] + 2 + len;
        if (*rest == '=')
            return rest + 1;
        if (*rest == '\0')
            return i + 1 < argc ? argv[i + 1] : NULL;
    }
    return NULL;
}

struct parse {
    const struct op_command *command;
    int argc, at;
    char **argv;
    struct op_args *args;
};

static enum op_rc fail_unknown(const struct parse *p, const char *arg, struct op_err *err)
{
    static const char *const secrets[] = {"api-key", "token", "secret", "auth-token", NULL};
    for (size_t i = 0; secrets[i]; i++)
        if (same_name(arg + 2, secrets[i]))
            return op_fail(err, OP_INVAL,
                           "keys are no options (everybody can read them in the process list): "
                           "set the environment variable ANTHROPIC_API_KEY instead");
    const char *names[MAX_CANDIDATES];
    size_t count = 0;
    for (const struct op_option *o = p->command->options; o->name; o++)
        if (o->kind != OP_OPTION_GROUP && count < MAX_CANDIDATES)
            names[count++] = o->name;
    const struct op_subject *subject = &p->args->subject;
    for (size_t i = 0; subject->has_def && i < subject->def.param_count; i++)
        if (count < MAX_CANDIDATES)
            names[count++] = subject->def.params[i].name;
    OP_CLEANUP(op_mem_freep) char *word = op_mem_strndup(arg, strcspn(arg, "="));
    const char *near = op_str_nearest(word[1] == '-' ? word + 2 : word + 1, names, count);
    return op_fail(err, OP_INVAL, "unknown option '%.80s'%s%s%s", word,
                   near ? " (did you mean --" : "", near ? near : "", near ? "?)" : "");
}

/* The option's value: behind '=', or the next argument. */
static enum op_rc take_value(struct parse *p, const char *arg, const char **ret,
                             struct op_err *err)
{
    const char *equals = arg[1] == '-' ? strchr(arg, '=') : NULL;
    if (equals) {
        *ret = equals + 1;
        return OP_OK;
    }
    /* A value that begins so is far more likely the next option of one that was forgotten. */
    if (p->at + 1 >= p->argc || strncmp(p->argv[p->at + 1], "--", 2) == 0)
        return op_fail(err, OP_INVAL, "%s needs a value%s", arg,
                       p->at + 1 < p->argc ? " (write it behind '=' if it begins with --)"
                                           : "");
    *ret = p->argv[++p->at];
    return OP_OK;
}

static enum op_rc check_choice(const struct op_option *o, const char *text, struct op_err *err)
{
    size_t count = 0;
    OP_CLEANUP(op_buf_release) struct op_buf list;
    op_buf_init(&list, 400);
    for (; o->choices && o->choices[count]; count++) {
        if (strcmp(o->choices[count], text) == 0)
            return OP_OK;
        op_buf_addf(&list, "%s%s", count ? " or " : "", o->choices[count]);
    }
    if (count == 0)
        return OP_OK;
    const char *near = op_str_nearest(text, o->choices, count);
    return op_fail(err, OP_INVAL, "--%s must be %s, not '%.80s'%s%s%s", o->name, list.ptr, text,
                   near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

static enum op_rc read_seconds(const struct op_option *o, const char *text, int64_t *ret,
                               struct op_err *err)
{
    double seconds = 0;
    if (!op_str_double(op_str_from(text), &seconds) || seconds < 0.05 || seconds > 86400)
        return op_fail(err, OP_INVAL,
                       "--%s must be a number of seconds from 0.05 to 86400, not '%.80s'",
                       o->name, text);
    *ret = (int64_t)(seconds * 1000);
    return OP_OK;
}

static enum op_rc set_option(const struct op_option *o, const char *text, struct op_args *args,
                             struct op_err *err)
{
    void *into = (char *)args + o->at;
    switch (o->kind) {
    case OP_OPTION_FLAG:
        *(bool *)into = true;
        return OP_OK;
    case OP_OPTION_TEXT:
        *(const char **)into = text;
        return check_choice(o, text, err);
    case OP_OPTION_COUNT:
        if (!op_str_int64(op_str_from(text), (int64_t *)into) || *(int64_t *)into < 1)
            return op_fail(err, OP_INVAL, "--%s must be a whole number from 1 on, not '%.80s'",
                           o->name, text);
        return OP_OK;
    case OP_OPTION_NUMBER:
        if (!op_str_double(op_str_from(text), (double *)into) || *(double *)into <= 0)
            return op_fail(err, OP_INVAL, "--%s must be a number above 0, not '%.80s'", o->name,
                           text);
        return OP_OK;
    case OP_OPTION_USD:
        if (!op_str_microusd(op_str_from(text[0] == '$' ? text + 1 : text), (int64_t *)into) ||
            *(int64_t *)into < 1)
            return op_fail(err, OP_INVAL,
                           "--%s must be an amount of US dollars such as 2.50, not '%.80s'",
                           o->name, text);
        return OP_OK;
    case OP_OPTION_SECONDS:
        return read_seconds(o, text, into, err);
    case OP_OPTION_WAIT:
        ((struct op_wait *)into)->given = true;
        return text ? read_seconds(o, text, &((struct op_wait *)into)->ms, err) : OP_OK;
    case OP_OPTION_GROUP:
        break;
    }
    return OP_OK;
}

static bool is_truth(const char *text)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "1", "0"};
    for (size_t i = 0; i < OP_COUNT(words); i++)
        if (strcmp(words[i], text) == 0)
            return true;
    return false;
}

/* All words up to the next option, as a JSON array. */
static void set_list(struct parse *p, const char *equals, const char **into)
{
    OP_CLEANUP(op_buf_release) struct op_buf list;
    struct op_json_out json;
    op_buf_init(&list, 1024 * 1024);
    op_json_out_init(&json, &list, 0);
    op_json_out_array(&json);
    if (equals)
        op_json_out_text(&json, equals + 1);
    while (!equals && p->at + 1 < p->argc && strncmp(p->argv[p->at + 1], "-", 1) != 0)
        op_json_out_text(&json, p->argv[++p->at]);
    op_json_out_end_array(&json);
    *into = op_arena_strdup(&p->args->subject.arena, op_buf_str(&list));
}

static enum op_rc set_param(struct parse *p, const char *arg, int ix, bool negated,
                            struct op_err *err)
{
    struct op_subject *subject = &p->args->subject;
    const char *equals = strchr(arg, '=');
    if (subject->def.params[ix].type == OP_PARAM_LIST) {
        set_list(p, equals, &subject->given[ix]);
        return OP_OK;
    }
    if (subject->def.params[ix].type != OP_PARAM_BOOLEAN)
        return take_value(p, arg, &subject->given[ix], err);
    if (negated && equals)
        return op_fail(err, OP_INVAL, "%.*s takes no value", (int)(equals - arg), arg);
    if (negated)
        subject->given[ix] = "false";
    else if (equals)
        subject->given[ix] = equals + 1;
    else if (p->at + 1 < p->argc && is_truth(p->argv[p->at + 1]))
        subject->given[ix] = p->argv[++p->at];
    else
        subject->given[ix] = "true";
    return OP_OK;
}

static enum op_rc parse_long(struct parse *p, const char *arg, struct op_err *err)
{
    const struct op_option *o = find_option(p->command, arg + 2);
    bool negated = false;
    int param = find_param(&p->args->subject, arg + 2, &negated);
    if (param >= 0 && (!o || o->shadowed))
        return set_param(p, arg, param, negated, err);
    if (!o) {
        /* What cannot be read has no options to check against; the file's own mistakes are
         * said. */
        if (p->args->subject.broken.rc)
            return OP_OK;
        return fail_unknown(p, arg, err);
    }
    if (o->kind == OP_OPTION_FLAG) {
        if (strchr(arg, '='))
            return op_fail(err, OP_INVAL, "--%s takes no value", o->name);
        return set_option(o, "", p->args, err);
    }
    const char *value = NULL;
    double seconds = 0;
    if (o->kind == OP_OPTION_WAIT && !strchr(arg, '=') &&
        (p->at + 1 >= p->argc || !op_str_double(op_str_from(p->argv[p->at + 1]), &seconds)))
        return set_option(o, NULL, p->args, err);
    enum op_rc rc = take_value(p, arg, &value, err);
    return rc ? rc : set_option(o, value, p->args, err);
}

static enum op_rc parse_short(struct parse *p, const char *arg, struct op_err *err)
{
    for (size_t i = 1; arg[i]; i++) {
        const struct op_option *o = find_letter(p->command, arg[i]);
        if (!o || o->kind != OP_OPTION_FLAG)
            return fail_unknown(p, arg, err);
        enum op_rc rc = set_option(o, "", p->args, err);
        if (rc)
            return rc;
    }
    return OP_OK;
}

static enum op_rc add_word(struct parse *p, const char *word, struct op_err *err)
{
    struct op_args *args = p->args;
    if (args->word_count >= p->command->max_words && !args->subject.broken.rc) {
        if (p->command->max_words == 0)
            return op_fail(err, OP_INVAL, "`offpeak %s` takes no '%.80s'", p->command->name,
                           word);
        return op_fail(err, OP_INVAL,
                       "'%.80s' is one word too many (a text with spaces in it "
                       "needs quotes)",
                       word);
    }
    args->words[args->word_count++] = word;
    return OP_OK;
}

enum op_rc op_options_parse(const struct op_command *command, int argc, char **argv,
                            struct op_args *args, struct op_err *err)
{
    struct parse p = {.command = command, .argc = argc, .argv = argv, .args = args};
    bool only_words = false;
    for (int i = 0; i < argc; i++)
        if (op_options_is_key(argv[i]))
            return op_fail(err, OP_INVAL,
                           "argument %d looks like a secret key; everybody can read it in the "
                           "process list: set it in the environment (ANTHROPIC_API_KEY) and "
                           "consider this one known",
                           i + 1);
    for (; p.at < argc; p.at++) {
        const char *arg = argv[p.at];
        enum op_rc rc;
        if (only_words || arg[0] != '-' || !arg[1])
            rc = add_word(&p, arg, err);
        else if (strcmp(arg, "--") == 0) {
            only_words = true;
            continue;
        } else
            rc = arg[1] == '-' ? parse_long(&p, arg, err) : parse_short(&p, arg, err);
        if (rc)
            return rc;
    }
    return OP_OK;
}
