/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "engine/work.h"
#include "net/address.h"
#include "sink/common.h"

struct reaching {
    struct op_engine *engine;
    struct op_sandbox *box;
    int64_t *ids;
    size_t count;
};

static enum op_rc collect_job(void *arg, const struct op_job *job, struct op_err *err)
{
    struct reaching *r = arg;
    (void)err;
    r->ids = op_mem_realloc(r->ids, (r->count + 1) * sizeof(*r->ids));
    r->ids[r->count++] = job->id;
    return OP_OK;
}

/* A path or a URL, unless its driver knows better. */
static void reach_target(const struct reaching *r, const char *target, bool writes,
                         void (*own)(const char *target, struct op_sandbox *box))
{
    if (own)
        own(target, r->box);
    else if (strstr(target, "://"))
        op_sandbox_allow_port(r->box, op_url_port(target));
    else
        op_sandbox_allow_beside(r->box, target, writes);
}

static enum op_rc reach_inputs(struct reaching *r, const struct op_work *work,
                               struct op_err *err)
{
    for (size_t i = 0; i < work->def.input_count; i++) {
        const struct op_input_def *input = &work->def.inputs[i];
        OP_CLEANUP(op_mem_freep) char *target = NULL;
        if (input->select.text.ptr) /* made of the others */
            continue;
        enum op_rc rc =
            op_params_render(&work->params, input->target, input->place, &target, err);
        if (rc)
            return rc;
        reach_target(r, target, false, input->source->reach);
    }
    return OP_OK;
}

static void reach_outputs(const struct reaching *r, const struct op_work *work)
{
    for (size_t i = 0; i < work->def.output_count; i++) {
        const struct op_plan_output *output = &work->plan->outputs[i];
        OP_CLEANUP(op_mem_freep) char *root = NULL;
        if (output->def->per_row_path)
            root = op_sink_root_of(output->target);
        reach_target(r, root ? root : output->target, true, output->def->sink->reach);
    }
}

static void reach_known(const struct reaching *r, const struct op_params *params,
                        const char *target, const char *place, bool writes,
                        void (*own)(const char *target, struct op_sandbox *box))
{
    OP_CLEANUP(op_mem_freep) char *text = NULL;
    struct op_err unknown = OP_ERR_INIT;
    if (!op_params_render(params, target, place, &text, &unknown))
        reach_target(r, text, writes, own);
    else if (own) /* a name at a server, whose place the environment tells */
        own("", r->box);
}

/* Jobs that a trigger will make read and write what the pipeline says, as far as it is known. */
static void reach_watched(void *arg, const struct op_definition *def,
                          const struct op_params *params)
{
    const struct reaching *r = arg;
    if (def->trigger.ops->reach)
        def->trigger.ops->reach(def->trigger.target, r->box);
    for (size_t i = 0; i < def->input_count; i++)
        if (!def->inputs[i].select.text.ptr)
            reach_known(r, params, def->inputs[i].target, def->inputs[i].place, false,
                        def->inputs[i].source->reach);
    for (size_t i = 0; i < def->output_count; i++)
        if (!def->outputs[i].per_row_path)
            reach_known(r, params, def->outputs[i].target, def->outputs[i].place, true,
                        def->outputs[i].sink->reach);
}

enum op_rc op_engine_reach(struct op_engine *engine, struct op_sandbox *box, struct op_err *err)
{
    struct reaching r = {.engine = engine, .box = box};
    enum op_rc rc = op_ledger_jobs(engine->ledger, true, collect_job, &r, err);
    for (size_t i = 0; !rc && i < r.count; i++) {
        struct op_work *work = NULL;
        struct op_err ignored = OP_ERR_INIT;
        /* What cannot be loaded (its key is gone, say) cannot be worked on by this process. */
        if (op_work_get(engine, r.ids[i], &work, &ignored) || reach_inputs(&r, work, &ignored))
            continue;
        reach_outputs(&r, work);
    }
    op_mem_free(r.ids);
    op_engine_watches_each(engine, reach_watched, &r);
    return rc;
}
