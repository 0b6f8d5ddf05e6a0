/* SPDX-License-Identifier: MIT */
#include "cli/create_tables.h"

#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"
#include "net/dynamodb.h"

struct making {
    struct op_args *args;
    struct op_params params;
    struct op_err no_params; /* why there are none; rc 0: there are */
    struct op_dynamodb *db;  /* NULL until there is a table to make */
    struct op_json_out *json;
    struct op_buf seen; /* names, each with line ends around it */
};

/* Most tables have a name that no param has a part in: then they can be made without one. */
static enum op_rc render(struct making *m, const char *text, const char *place, char **ret,
                         struct op_err *err)
{
    *ret = NULL;
    if (!text || !strstr(text, "{{")) {
        *ret = op_mem_strdup(text);
        return OP_OK;
    }
    if (m->no_params.rc) {
        *err = m->no_params;
        return op_err_wrap(err, "%s: '%.80s' needs the pipeline's params", place, text);
    }
    return op_params_render(&m->params, text, place, ret, err);
}

static void say(struct making *m, const char *table, bool made)
{
    if (m->json) {
        op_json_out_object(m->json);
        op_json_out_kv_text(m->json, "table", table);
        op_json_out_kv_bool(m->json, "made", made);
        op_json_out_end_object(m->json);
    } else {
        op_sayf("%s: %s\n", table, made ? "made" : "is there");
    }
}

static enum op_rc make(struct making *m, const struct op_dynamodb_spec *spec,
                       struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *mark = op_mem_printf("\n%s\n", spec->table);
    bool made = false;
    if (memmem(m->seen.ptr, m->seen.len, mark, strlen(mark)))
        return OP_OK;
    op_buf_addz(&m->seen, mark);
    enum op_rc rc = m->db ? OP_OK : op_dynamodb_open(op_env_default(), NULL, &m->db, err);
    if (!rc)
        rc = op_dynamodb_create(m->db, spec, &made, err);
    if (!rc)
        say(m, spec->table, made);
    return rc;
}

/* texts: table, hash, range, indexes as the pipeline has them. */
static enum op_rc make_declared(struct making *m, const char *const texts[4], const char *place,
                                struct op_err *err)
{
    char *values[4] = {NULL};
    enum op_rc rc = OP_OK;
    for (int i = 0; !rc && i < 4; i++)
        rc = render(m, texts[i], place, &values[i], err);
    struct op_dynamodb_spec spec = {values[0], values[1], values[2], values[3], place};
    if (!rc && spec.hash)
        rc = make(m, &spec, err);
    for (int i = 0; i < 4; i++)
        op_mem_free(values[i]);
    return rc;
}

static const char *const declarations[] = {NULL, "hash", "range", "indexes"};

static void declare(const char *texts[4], const char *name, const char *value)
{
    for (int k = 1; k < 4; k++)
        if (strcmp(name, declarations[k]) == 0)
            texts[k] = value;
}

static enum op_rc make_for_input(struct making *m, const struct op_input_def *input,
                                 struct op_err *err)
{
    const char *texts[4] = {input->target};
    if (!input->source || strcmp(input->source->kind, "dynamodb") != 0)
        return OP_OK;
    for (size_t i = 0; i < input->option_count; i++)
        declare(texts, input->options[i].name, input->options[i].value);
    return make_declared(m, texts, input->place, err);
}

static enum op_rc make_for_output(struct making *m, const struct op_output_def *output,
                                  struct op_err *err)
{
    const char *texts[4] = {output->target};
    if (strcmp(output->sink->kind, "dynamodb") != 0)
        return OP_OK;
    for (size_t i = 0; i < output->option_count; i++)
        declare(texts, output->options[i].name, output->options[i].value);
    return make_declared(m, texts, output->place, err);
}

static enum op_rc make_for_trigger(struct making *m, const struct op_trigger_def *trigger,
                                   struct op_err *err)
{
    const char *texts[4] = {trigger->target};
    if (!trigger->ops || strcmp(trigger->ops->kind, "dynamodb_queue") != 0)
        return OP_OK;
    for (size_t i = 0; i < trigger->option_count; i++)
        declare(texts, trigger->options[i].name, trigger->options[i].value);
    return make_declared(m, texts, trigger->place, err);
}

static enum op_rc make_all(struct making *m, struct op_err *err)
{
    const struct op_definition *def = &m->args->subject.def;
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < def->input_count; i++)
        rc = make_for_input(m, &def->inputs[i], err);
    for (size_t i = 0; !rc && i < def->output_count; i++)
        rc = make_for_output(m, &def->outputs[i], err);
    if (!rc)
        rc = make_for_trigger(m, &def->trigger, err);
    if (!rc && m->seen.len == 0)
        rc = op_fail(
            err, OP_INVAL,
            "%s declares no DynamoDB table to make: give a dynamodb input or output its "
            "key, as in 'hash: id S' (and 'range', 'indexes'), or choose a --profile",
            def->name);
    return rc;
}

int op_create_tables(struct op_args *args)
{
    struct op_subject *subject = &args->subject;
    struct op_err err = OP_ERR_INIT;
    if (subject->broken.rc)
        return op_say_error(args, &subject->broken);
    struct making m = {.args = args};
    struct op_report report;
    OP_CLEANUP(op_mem_freep) char *cwd = NULL;
    op_buf_init(&m.seen, 1024 * 1024);
    if (args->json) {
        op_report_begin(&report);
        m.json = &report.out;
        op_json_out_name(m.json, "tables");
        op_json_out_array(m.json);
    }
    enum op_rc rc = op_cwd(&cwd, &err);
    if (!rc)
        (void)!op_params_resolve(&subject->def, subject->given, cwd, &m.params, &m.no_params);
    if (!rc)
        rc = make_all(&m, &err);
    if (args->json) {
        op_json_out_end_array(m.json);
        op_report_print(&report);
    }
    op_dynamodb_close(m.db);
    op_params_release(&m.params);
    op_buf_release(&m.seen);
    return rc ? op_say_error(args, &err) : OP_EXIT_OK;
}
