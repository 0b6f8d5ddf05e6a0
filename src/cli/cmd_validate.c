/* SPDX-License-Identifier: MIT */
#include <sys/stat.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"
#include "pipeline/chain.h"
#include "pipeline/plan.h"
#include "pipeline/select.h"
#include "pipeline/sqlenv.h"
#include "view/text.h"

/* What was found, and how far the look went. */
struct check {
    struct op_args *args;
    struct op_buf mistakes; /* lines */
    size_t count;

    char *note_text; /* what was not looked at, and why; NULL: nothing */
    int64_t rows;
    bool read;
};

static void add_mistake(void *arg, const char *message)
{
    struct check *check = arg;
    op_text_line(&check->mistakes, op_str_from(message), 0);
    op_buf_addc(&check->mistakes, '\n');
    check->count++;
}

/* Prompts against columns, SELECTs against tables: the inputs are read for that, nothing is
 * kept. */
static enum op_rc check_inputs(struct check *check, struct op_plan *plan, struct op_err *err)
{
    struct op_env *env = op_env_default();
    uint32_t random = 0;
    env->ops->random(env, &random, sizeof(random));
    OP_CLEANUP(op_mem_freep) char *db = op_mem_printf("/tmp/offpeak-%08x.db", random);
    umask(077);
    OP_CLEANUP(op_select_closep) struct op_select *select = NULL;
    OP_CLEANUP(op_sqlenv_closep) struct op_sqlenv *sql = NULL;
    bool streams = op_plan_streams(plan);
    enum op_rc rc = OP_OK;
    if (!streams)
        rc = op_stage(env, plan, db, NULL, NULL, &check->rows, err);
    if (!rc)
        rc = op_select_open(env, plan, streams ? NULL : db, NULL, NULL, &select, err);
    if (!rc)
        rc = op_sqlenv_open(plan, streams ? NULL : db, &sql, err);
    if (!rc)
        rc = op_require(sql, plan, err);
    if (!streams)
        (void)env->ops->unlink(env, db);
    check->read = !rc;
    return rc;
}

static enum op_rc check_provider(struct check *check, const struct op_params *params,
                                 const char *cwd, const struct op_chain *chain, size_t at,
                                 struct op_err *err)
{
    struct op_subject *subject = &check->args->subject;
    /* Nothing is sent over these lanes: they only say whose form the requests have. */
    char url[] = "http://127.0.0.1:9", none[] = "";
    size_t count = subject->def.request_count;
    OP_CLEANUP(op_mem_freep) struct op_lane *own = op_mem_array(count + 1, sizeof(*own));
    OP_CLEANUP(op_mem_freep)
    const struct op_lane **lanes = op_mem_array(count + 1, sizeof(*lanes));
    for (size_t i = 0; i < count; i++) {
        own[i] = (struct op_lane){.provider = op_chain_provider(chain, at, i),
                                  .base_url = url,
                                  .key = none,
                                  .emulated = true};
        lanes[i] = &own[i];
    }
    struct op_plan_options options = {.model = check->args->model,
                                      .is_chained = chain->count > 1,
                                      .limit = check->args->limit,
                                      .no_cache = check->args->no_cache,
                                      .cwd = cwd,
                                      .work_dir = "/tmp"};
    OP_CLEANUP(op_plan_freep) struct op_plan *plan = NULL;
    enum op_rc rc = op_plan_compile(op_env_default(), &subject->def, params, lanes,
                                    &subject->bundle, &options, &plan, err);
    /* Once read, the inputs are what they are for everybody. */
    return rc || at ? rc : check_inputs(check, plan, err);
}

/* What one provider takes and has a model for, the next may not. */
static enum op_rc check_plan(struct check *check, const struct op_params *params,
                             const char *cwd, struct op_err *err)
{
    const struct op_definition *def = &check->args->subject.def;
    OP_CLEANUP(op_chain_release) struct op_chain chain = {0};
    enum op_rc rc =
        op_chain_read(def, params, check->args->provider, check->args->model, &chain, err);
    for (size_t i = 0; !rc && i < chain.count; i++)
        rc = check_provider(check, params, cwd, &chain, i, err);
    return rc;
}

/* Without its params a pipeline can only be checked for form. */
static enum op_rc check_meaning(struct check *check, struct op_err *err)
{
    struct op_subject *subject = &check->args->subject;
    OP_CLEANUP(op_params_release) struct op_params params = {0};
    OP_CLEANUP(op_mem_freep) char *cwd = NULL;
    enum op_rc rc = op_cwd(&cwd, err);
    if (rc)
        return rc;
    if (op_params_resolve(&subject->def, subject->given, cwd, &params, err)) {
        bool given = false;
        for (size_t i = 0; i < subject->def.param_count; i++)
            given = given || subject->given[i];
        if (given)
            return err->rc;
        check->note_text = op_mem_strdup(err->msg);
        op_err_clear(err);
        return OP_OK;
    }
    return check_plan(check, &params, cwd, err);
}

static void say(struct check *check, const char *name)
{
    struct op_args *args = check->args;
    if (args->json) {
        struct op_report report;
        op_report_begin(&report);
        struct op_json_out *out = &report.out;
        op_json_out_kv_text(out, "pipeline", name);
        op_json_out_kv_bool(out, "valid", check->count == 0);
        op_json_out_kv_bool(out, "inputs_read", check->read);
        op_json_out_name(out, "mistakes");
        op_json_out_array(out);
        struct op_str rest = op_buf_str(&check->mistakes);
        while (rest.len > 0)
            op_json_out_str(out, op_str_cut(&rest, '\n'));
        op_json_out_end_array(out);
        op_report_print(&report);
        return;
    }
    op_say(op_buf_str(&check->mistakes));
    if (check->count)
        op_note(args, "%zu %s", check->count, check->count == 1 ? "mistake" : "mistakes");
    else if (check->note_text)
        op_sayf("%s: the form is good; give its params to have prompts and SELECTs checked too "
                "(%s)\n",
                name, check->note_text);
    else
        op_sayf("%s: good; prompts and SELECTs fit the inputs\n", name);
}

static int run_validate(struct op_args *args)
{
    struct check check = {.args = args};
    struct op_err err = OP_ERR_INIT;
    struct op_subject *subject = &args->subject;
    if (!subject->broken.rc && op_subject_complete(args, false, &err))
        return op_say_usage(args, &err);
    op_buf_init(&check.mistakes, 16 * 1024 * 1024);
    const char *name = subject->has_def ? subject->def.name : subject->word;
    if (subject->broken.rc)
        op_definition_check(op_env_default(), &subject->bundle, add_mistake, &check);
    if (subject->broken.rc && check.count == 0)
        add_mistake(&check, subject->broken.msg);
    if (check.count == 0 && check_meaning(&check, &err))
        add_mistake(&check, err.msg);
    say(&check, name);
    op_buf_release(&check.mistakes);
    op_mem_free(check.note_text);
    return check.count ? OP_EXIT_FAILED : OP_EXIT_OK;
}

static const struct op_option options[] = {
    OP_OPTIONS_ASK,
    OP_OPT_GROUP("Accepted, so that a line for `run` can be checked"),
    OP_OPT_FLAG("emulate", emulate, "No meaning here"),
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_validate = {
    .name = "validate",
    .about = "Finds every mistake in a pipeline that can be found without sending anything",
    .usage = (const char *const[]){"validate PIPELINE [--PARAM VALUE]...",
                                   "validate --input FILE --prompt TEXT [options]", NULL},
    .details = "Form, names and files always; with the pipeline's params also prompts against "
               "columns, SELECTs against the inputs, schemas against what the provider takes. "
               "The list of mistakes is what was asked for: it goes to stdout, their number to "
               "stderr.",
    .options = options,
    .pipeline = true,
    .max_words = 1,
    .run = run_validate,
};
