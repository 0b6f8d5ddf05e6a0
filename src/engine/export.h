/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_EXPORT_H
#define OP_ENGINE_EXPORT_H

/*
 * Model:     a job taken out: its requests as lines in the provider's own batch form, byte for byte
 *            what was planned (so that asking them again reuses every answer), or the raw result
 *            lines; both under the user's ids, in the order of the requests. It streams.
 * Ownership: texts are borrowed for the call.
 * Errors:    what the spool has lost is an error that names it.
 * Threads:   one.
 */

#include "engine/work.h"

/* Put before ids that stand for keys which are no legal custom_id. */
#define OP_EXPORT_PREFIX "offpeak-"

struct op_export {
    bool results; /* the result lines instead of the requests */
    void *arg;
    /* A line without its end. */
    enum op_rc (*line)(void *arg, struct op_str text, struct op_err *err);
    /* The key of this request is no legal custom_id: the line before goes by this one. Not with
     * results, where any text is an id. */
    enum op_rc (*mapped)(void *arg, const char *custom_id, struct op_str key,
                         const char *request, struct op_err *err);
    /* filled */
    int64_t lines, ids_mapped, missing; /* missing: requests without a result line */
};
OP_MUST_CHECK enum op_rc op_engine_export(struct op_engine *engine, int64_t job,
                                          struct op_export *ret, struct op_err *err);

/* An id that every provider takes as it is (core/custom_id.h). */
bool op_custom_id_is_legal(struct op_str text);

#endif
