/* SPDX-License-Identifier: MIT */
#include <strings.h>

#include "base/mem.h"
#include "pipeline/definition_read.h"

/* Sources, sinks and triggers have the same form in the file: KIND: TARGET, options of that kind,
 * and keys of ours beside them. A port is what the reading of all has in common. */
struct port {
    const char *path; /* "inputs.*" */
    const char *what; /* "input" */
    const char *const *kinds;
    size_t kind_count;
    const char *(*option)(size_t kind, size_t at); /* its name; NULL behind the last */
};

struct port_option {
    const char *name, *value;
};

struct port_values {
    size_t kind; /* index into kinds */
    const struct op_yaml *target;
    struct port_option *options;
    size_t option_count;
};

static bool among(const char *word, const char *const *names, size_t count, size_t *ret_at)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, names[i]) == 0) {
            *ret_at = i;
            return true;
        }
    }
    return false;
}

/* A list of words is joined with commas: drivers take text. */
static enum op_rc option_value(struct definer *d, const struct op_yaml *node, const char **ret,
                               struct op_err *err)
{
    if (node->kind != OP_YAML_LIST)
        return op_read_template(d, node, ret, err);
    OP_CLEANUP(op_buf_release) struct op_buf joined;
    op_buf_init(&joined, OP_YAML_MAX_BYTES);
    for (const struct op_yaml *n = node->first; n; n = n->next) {
        const char *text = NULL;
        if (op_yaml_text(n, &text, err))
            return err->rc;
        if (strchr(text, ','))
            return op_fail(err, OP_INVAL, "%s:%d: an item of '%s' must not hold a comma",
                           n->file, n->line, node->key);
        op_buf_addf(&joined, "%s%s", n == node->first ? "" : ",", text);
    }
    *ret = op_arena_strdup(d->arena, op_buf_str(&joined));
    return OP_OK;
}

static enum op_rc fail_key(const struct port *port, const struct op_yaml *node,
                           const char *const *options, size_t count, struct op_err *err)
{
    const char *names[2 * OP_DEFINER_KEYS];
    size_t n = op_definer_names(port->path, names, 0);
    for (size_t i = 0; i < count && n < OP_COUNT(names); i++)
        names[n++] = options[i];
    return op_definer_unknown(node, names, n, err);
}

/* Finds the one key that names a kind. */
static enum op_rc find_kind(const struct port *port, const struct op_yaml *node,
                            struct port_values *ret, struct op_err *err)
{
    for (const struct op_yaml *n = node->first; n; n = n->next) {
        if (among(n->key, port->kinds, port->kind_count, &ret->kind)) {
            ret->target = n;
            return OP_OK;
        }
    }
    const char *ours[OP_DEFINER_KEYS];
    size_t our_count = op_definer_names(port->path, ours, 0), at = 0;
    OP_CLEANUP(op_buf_release) struct op_buf list;
    op_buf_init(&list, 700);
    for (size_t i = 0; i < port->kind_count; i++)
        op_buf_addf(&list, "%s%s", i ? ", " : "", port->kinds[i]);
    for (const struct op_yaml *n = node->first; n; n = n->next) {
        char hint[120];
        if (!among(n->key, ours, our_count, &at))
            return op_fail(err, OP_INVAL, "%s:%d: '%.80s' is no kind of %s%s; there are: %s",
                           n->file, n->key_line, n->key, port->what,
                           op_definer_hint(hint, n->key, port->kinds, port->kind_count),
                           list.ptr);
    }
    return op_fail(err, OP_INVAL,
                   "%s:%d: this %s does not say its kind, as in `csv: PATH`; there are: %s",
                   node->file, node->line, port->what, list.ptr);
}

static enum op_rc read_key(struct definer *d, const struct port *port,
                           const struct op_yaml *node, void *base, struct port_values *values,
                           struct op_err *err)
{
    bool known = false;
    if (op_definer_key(d, node, port->path, base, &known, err))
        return err->rc;
    const char *options[OP_DEFINER_KEYS];
    size_t count = 0, at = 0;
    while (count < OP_COUNT(options) && (options[count] = port->option(values->kind, count)))
        count++;
    /* A key of ours that the driver has as an option too (`optional`) is for both. */
    if (among(node->key, options, count, &at)) {
        struct port_option *option = &values->options[values->option_count];
        option->name = options[at];
        if (option_value(d, node, &option->value, err))
            return err->rc;
        values->option_count++;
        return OP_OK;
    }
    if (known)
        return OP_OK;
    if (among(node->key, port->kinds, port->kind_count, &at))
        return op_fail(err, OP_INVAL, "%s:%d: this %s has two kinds, '%s' and '%s'", node->file,
                       node->key_line, port->what, port->kinds[values->kind], node->key);
    return fail_key(port, node, options, count, err);
}

static enum op_rc read_port(struct definer *d, const struct port *port,
                            const struct op_yaml *node, void *base, struct port_values *ret,
                            struct op_err *err)
{
    *ret = (struct port_values){0};
    if (op_definer_need_map(node, "{csv: PATH}", err) || find_kind(port, node, ret, err))
        return err->rc;
    ret->options = op_arena_array(d->arena, node->count + 1, sizeof(*ret->options));
    for (const struct op_yaml *n = node->first; n; n = n->next)
        if (n != ret->target && read_key(d, port, n, base, ret, err) && op_definer_note(d, err))
            return err->rc;
    return OP_OK;
}

/* --- inputs ----------------------------------------------------------------------------------- */

enum op_rc op_read_on_error(struct definer *d, const struct op_yaml *node, void *into,
                            struct op_err *err)
{
    (void)d;
    const char *text = NULL;
    if (op_yaml_text(node, &text, err))
        return err->rc;
    if (strcmp(text, "skip") != 0 && strcmp(text, "fail") != 0)
        return op_fail(err, OP_INVAL, "%s:%d: 'on_error' must be fail or skip, not '%.80s'",
                       node->file, node->key_line, text);
    *(bool *)into = strcmp(text, "skip") == 0;
    return OP_OK;
}

static const char *source_option(size_t kind, size_t at)
{
    return op_sources()[kind]->options[at].name;
}

static enum op_rc check_table_name(const struct definer *d, const struct op_yaml *node,
                                   struct op_err *err)
{
    static const char *const ours[] = {"answers", "results", "records", "request",
                                       "batch",   "job",     "params"};
    const char *name = node->key;
    bool good =
        name[0] && !(name[0] >= '0' && name[0] <= '9') && strlen(name) < 64 &&
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
            strlen(name);
    if (!good || strncasecmp(name, "sqlite_", 7) == 0)
        return op_fail(err, OP_INVAL,
                       "%s:%d: '%.80s' is no name for a table: use letters, digits and '_'",
                       node->file, node->key_line, name);
    for (size_t i = 0; i < OP_COUNT(ours); i++)
        if (strcasecmp(name, ours[i]) == 0)
            return op_fail(
                err, OP_INVAL,
                "%s:%d: the table '%s' is offpeak's own: give the input another name",
                node->file, node->key_line, name);
    for (size_t i = 0; i + 1 < d->def->input_count; i++)
        if (strcasecmp(name, d->def->inputs[i].name) == 0)
            return op_fail(
                err, OP_INVAL,
                "%s:%d: SQL does not tell the inputs '%s' and '%s' apart: rename one",
                node->file, node->key_line, d->def->inputs[i].name, name);
    return OP_OK;
}

/* A table that a SELECT makes has no source, and so none of a source's keys. */
static enum op_rc read_select(struct definer *d, const struct op_yaml *node,
                              struct op_input_def *input, struct op_err *err)
{
    if (node->count > 1)
        return op_fail(
            err, OP_INVAL,
            "%s:%d: an input that is a SELECT has no other keys, and this one has %zu",
            node->file, node->key_line, node->count - 1);
    if (d->def->input_count == 1)
        return op_fail(err, OP_INVAL,
                       "%s:%d: this SELECT has nothing to read: the inputs it reads must stand "
                       "above it",
                       node->file, node->key_line);
    return op_read_sql(d, node->first, &input->select, err);
}

static enum op_rc read_input(struct definer *d, const struct port *port,
                             const struct op_yaml *node, struct op_input_def *input,
                             struct op_err *err)
{
    struct port_values values;
    input->name = node->key;
    input->place = op_arena_printf(d->arena, "%s:%d", node->file, node->key_line);
    if (check_table_name(d, node, err))
        return err->rc;
    if (node->kind == OP_YAML_MAP && op_yaml_get(node, "select"))
        return read_select(d, node, input, err);
    if (read_port(d, port, node, input, &values, err) ||
        op_read_template(d, values.target, &input->target, err))
        return err->rc;
    input->source = op_sources()[values.kind];
    input->option_count = values.option_count;
    input->options = op_arena_array(d->arena, values.option_count + 1, sizeof(*input->options));
    for (size_t i = 0; i < values.option_count; i++)
        input->options[i] =
            (struct op_source_option){values.options[i].name, values.options[i].value};
    if (input->optional && !input->columns && !input->source->fixed)
        return op_fail(
            err, OP_INVAL,
            "%s: an optional input needs 'columns: [..]', so that SELECTs know them when "
            "its file is missing",
            input->place);
    return OP_OK;
}

enum op_rc op_read_inputs(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err)
{
    struct op_definition *def = into;
    const char *kinds[OP_DEFINER_KEYS];
    struct port port = {
        .path = "inputs.*", .what = "input", .kinds = kinds, .option = source_option};
    while (op_sources()[port.kind_count] && port.kind_count < OP_COUNT(kinds)) {
        kinds[port.kind_count] = op_sources()[port.kind_count]->kind;
        port.kind_count++;
    }
    if (op_definer_need_map(node, "{tickets: {csv: PATH}}", err))
        return err->rc;
    def->inputs = op_arena_array(d->arena, node->count + 1, sizeof(*def->inputs));
    for (const struct op_yaml *n = node->first; n; n = n->next)
        if (read_input(d, &port, n, &def->inputs[def->input_count++], err) &&
            op_definer_note(d, err))
            return err->rc;
    return OP_OK;
}

/* --- outputs ---------------------------------------------------------------------------------- */

enum op_rc op_read_event(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err)
{
    static const char *const names[] = {"answer", "batch", "job"};
    (void)d;
    const char *text = NULL;
    size_t at = 0;
    if (op_yaml_text(node, &text, err))
        return err->rc;
    if (!among(text, names, OP_COUNT(names), &at))
        return op_fail(err, OP_INVAL, "%s:%d: 'on' must be answer, batch or job, not '%.80s'",
                       node->file, node->key_line, text);
    *(enum op_output_event *)into = (enum op_output_event)at;
    return OP_OK;
}

static const char *sink_option(size_t kind, size_t at)
{
    return op_sinks()[kind]->options[at].name;
}

/* A name that is no param is a column of the row: the path differs from row to row. */
static enum op_rc read_target(struct definer *d, const struct op_yaml *node,
                              struct op_output_def *output, struct op_err *err)
{
    const char *const *names = NULL;
    size_t count = 0, at = 0;
    if (op_yaml_text(node, &output->target, err) ||
        op_definer_template_names(d, node, &names, &count, err))
        return err->rc;
    for (size_t i = 0; i < count; i++)
        output->per_row_path |= !among(names[i], d->params, d->param_count, &at);
    static const char *const tags[] = {"{{#", "{{^", "{{>", "{{="};
    for (size_t i = 0; i < OP_COUNT(tags) && output->per_row_path; i++)
        if (strstr(output->target, tags[i]))
            return op_fail(err, OP_INVAL,
                           "%s:%d: a path with columns of the row takes plain {{names}}, no %s",
                           node->file, node->line, tags[i]);
    return OP_OK;
}

static enum op_rc read_output(struct definer *d, const struct port *port,
                              const struct op_yaml *node, struct op_output_def *output,
                              struct op_err *err)
{
    struct port_values values;
    output->place = op_definer_place(d, node);
    size_t before = d->mistakes;
    if (read_port(d, port, node, output, &values, err) ||
        read_target(d, values.target, output, err))
        return err->rc;
    output->sink = op_sinks()[values.kind];
    output->option_count = values.option_count;
    output->options =
        op_arena_array(d->arena, values.option_count + 1, sizeof(*output->options));
    for (size_t i = 0; i < values.option_count; i++)
        output->options[i] =
            (struct op_sink_option){values.options[i].name, values.options[i].value};
    if (d->mistakes != before)
        return OP_OK;
    if (!output->rows.text.ptr)
        return op_fail(err, OP_INVAL, "%s: this output needs 'rows', a SELECT", output->place);
    if (output->sink->needs_key && (!output->key || !output->key[0]))
        return op_fail(
            err, OP_INVAL,
            "%s: a %s output needs 'key: [..]', the columns that say which row replaces "
            "which",
            output->place, output->sink->kind);
    return OP_OK;
}

enum op_rc op_read_outputs(struct definer *d, const struct op_yaml *node, void *into,
                           struct op_err *err)
{
    struct op_definition *def = into;
    const char *kinds[OP_DEFINER_KEYS];
    struct port port = {
        .path = "outputs.*", .what = "output", .kinds = kinds, .option = sink_option};
    while (op_sinks()[port.kind_count] && port.kind_count < OP_COUNT(kinds)) {
        kinds[port.kind_count] = op_sinks()[port.kind_count]->kind;
        port.kind_count++;
    }
    if (op_definer_need_list(node, "[{csv: PATH, rows: SELECT ...}]", err))
        return err->rc;
    def->outputs = op_arena_array(d->arena, node->count + 1, sizeof(*def->outputs));
    for (const struct op_yaml *n = node->first; n; n = n->next)
        if (read_output(d, &port, n, &def->outputs[def->output_count++], err) &&
            op_definer_note(d, err))
            return err->rc;
    return OP_OK;
}

/* --- the trigger ------------------------------------------------------------------------------ */

static const char *trigger_option(size_t kind, size_t at)
{
    return op_triggers()[kind]->options[at].name;
}

enum op_rc op_read_trigger(struct definer *d, const struct op_yaml *node, void *into,
                           struct op_err *err)
{
    struct op_definition *def = into;
    struct op_trigger_def *trigger = &def->trigger;
    const char *kinds[OP_DEFINER_KEYS];
    struct port port = {
        .path = "trigger", .what = "trigger", .kinds = kinds, .option = trigger_option};
    struct port_values values;
    while (op_triggers()[port.kind_count] && port.kind_count < OP_COUNT(kinds)) {
        kinds[port.kind_count] = op_triggers()[port.kind_count]->kind;
        port.kind_count++;
    }
    trigger->place = op_definer_place(d, node);
    if (op_definer_need_map(node, "{dynamodb_queue: TABLE, jobs: FILE.sql}", err) ||
        read_port(d, &port, node, trigger, &values, err) ||
        op_read_template(d, values.target, &trigger->target, err))
        return err->rc;
    if (!trigger->jobs.text.ptr)
        return op_fail(err, OP_INVAL,
                       "%s: the trigger needs 'jobs', a SELECT that says which of its "
                       "candidates become jobs",
                       trigger->place);
    trigger->ops = op_triggers()[values.kind];
    trigger->option_count = values.option_count;
    trigger->options =
        op_arena_array(d->arena, values.option_count + 1, sizeof(*trigger->options));
    for (size_t i = 0; i < values.option_count; i++)
        trigger->options[i] =
            (struct op_trigger_option){values.options[i].name, values.options[i].value};
    return OP_OK;
}
