/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_TRIGGER_H
#define OP_ENGINE_TRIGGER_H

/*
 * Model:     a pipeline with `trigger:` need not be started by hand: the trigger's kind
 *            (trigger/trigger.h) lists what may fire, the pipeline's SELECT says what does and with
 *            which params, and each row becomes a job. An engine that watches pipelines does this
 *            in op_engine_step with job 0, between the steps of the jobs: at most one thing a step,
 *            and a next-due moment like everything else, so a caller's loop needs nothing more.
 *
 *            What fires is first written into the ledger as a claim, then claimed outside, then made
 *            a job together with the claim's move in one transaction, then reported on outside.
 *            Which claim a job belongs to is durable before the job can take a step, so before the
 *            provider is asked; a process that ends anywhere goes on from there, and nothing is
 *            claimed, bought or reported twice (docs/design/triggers.md).
 * Ownership: the engine owns what it watches until it is closed.
 * Errors:    a queue that cannot be read or written now is logged and looked at again later, more
 *            seldom each time; only what stops the program (disk, ledger) is returned.
 * Threads:   the engine's.
 */

#include "engine/engine.h"

/* Watches a pipeline. The pattern is what all its jobs have in common: bundle (taken over), params
 * given (by index of the definition; NULL: those of the rows and defaults alone), provider, model,
 * mode and so on; what a row says goes before it. OP_INVAL: the pipeline has no trigger, the SELECT
 * is wrong. Nothing outside is asked. */
OP_MUST_CHECK enum op_rc op_engine_watch(struct op_engine *engine,
                                         const struct op_job_request *pattern,
                                         struct op_err *err);
/* How many pipelines are watched. */
size_t op_engine_watched(const struct op_engine *engine);

/* Does one due thing for the pipelines watched: looks at a trigger, claims, makes a job, reports.
 * Called by op_engine_step with job 0. */
OP_MUST_CHECK enum op_rc op_engine_trigger_step(struct op_engine *engine, bool *ret_worked,
                                                struct op_err *err);
/* Looks at every trigger again now, whenever it is due. */
void op_engine_look_now(struct op_engine *engine);

/* What was claimed and is not over: all of it reported done or given back. */
OP_MUST_CHECK enum op_rc op_engine_claims_open(struct op_engine *engine, int64_t *ret_count,
                                               struct op_err *err);

#endif
