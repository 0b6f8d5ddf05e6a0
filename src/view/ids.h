/* SPDX-License-Identifier: MIT */
#ifndef OP_VIEW_IDS_H
#define OP_VIEW_IDS_H

/*
 * Model:     the names by which people call jobs, batches and records.
 * Errors:    OP_NOTFOUND with what to type instead.
 * Threads:   one.
 */

#include "ledger/ledger.h"

/* job-3, batch-7 or a provider's batch id. *ret_batch is 0 for a job. */
OP_MUST_CHECK enum op_rc op_id_find(struct op_ledger *ledger, const char *text,
                                    int64_t *ret_job, int64_t *ret_batch, struct op_err *err);
/* The number behind "job-" or "batch-"; false when the text is no such id. */
bool op_id_number(const char *text, const char *prefix, int64_t *ret);

/* The record with this key in one job (only), or in the newest job that has it (only 0).
 * *ret_record 0: there is none. */
OP_MUST_CHECK enum op_rc op_record_find(struct op_ledger *ledger, int64_t only,
                                        struct op_str key, int64_t *ret_job,
                                        int64_t *ret_record, struct op_err *err);

#endif
