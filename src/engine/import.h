/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_IMPORT_H
#define OP_ENGINE_IMPORT_H

/*
 * Model:     results that were bought elsewhere become a job of a pipeline. First the raw bytes: of a
 *            provider's batch as they are fetched, of a file as it is, durable in the spool and named
 *            in the job's options (import.c). Then planning (import_plan.c): every record whose
 *            requests have a result line becomes part of the job, the lines go under our ids into
 *            result files of batches that are FETCHED from the start, and applying, delivering,
 *            finishing are as for any job. Nothing is ever sent for such a job.
 * Errors:    as the engine's; a job that was imported before is found and not made again.
 * Threads:   one.
 */

#include "engine/work.h"

struct op_import {
    struct op_job_request request; /* pipeline, params, provider */
    const char *const *words;      /* files, or the provider's ids of batches */
    size_t word_count;
    const char *map;     /* file: which custom_id is which key and request; NULL none */
    int64_t deadline_ms; /* of waiting for batches that have not ended; 0 none */
    bool no_wait;
    /* filled */
    int64_t job;                            /* 0: not yet, see waits_for */
    bool is_known;                          /* it had been imported before */
    char waits_for[OP_PROVIDER_ID_MAX + 1]; /* a batch that has not ended */
};
OP_MUST_CHECK enum op_rc op_engine_import(struct op_engine *engine, struct op_import *import,
                                          struct op_err *err);

/* import_plan.c: plans an imported job, in place of plan_job.c's way. */
OP_MUST_CHECK enum op_rc op_import_plan(struct op_work *work, struct op_err *err);

#endif
