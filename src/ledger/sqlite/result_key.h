/* SPDX-License-Identifier: MIT */
#ifndef OP_LEDGER_SQLITE_RESULT_KEY_H
#define OP_LEDGER_SQLITE_RESULT_KEY_H

/*
 * Model:     the rowid of a result: request id in the upper bits, batch id in the lower 27. One
 *            integer key gives the uniqueness of (batch, request), keeps every purchase of a request
 *            side by side, and makes results applied in the order of ids an append.
 * Threads:   pure functions.
 */

#include <stdbool.h>
#include <stdint.h>

#define OP_RESULT_BATCH_BITS  27
#define OP_RESULT_BATCH_MAX   ((INT64_C(1) << OP_RESULT_BATCH_BITS) - 1)
#define OP_RESULT_REQUEST_MAX ((INT64_C(1) << 36) - 1)

static inline bool op_result_key_fits(int64_t batch_id, int64_t request_id)
{
    return batch_id > 0 && batch_id <= OP_RESULT_BATCH_MAX && request_id > 0 &&
           request_id <= OP_RESULT_REQUEST_MAX;
}

static inline int64_t op_result_key(int64_t batch_id, int64_t request_id)
{
    return request_id << OP_RESULT_BATCH_BITS | batch_id;
}

#endif
