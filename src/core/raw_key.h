/* SPDX-License-Identifier: MIT */
#ifndef OP_CORE_RAW_KEY_H
#define OP_CORE_RAW_KEY_H

/*
 * Model:     the key of a record that came as a ready line is its custom_id. A key must be unique in
 *            its job and not be empty; a custom_id need not. So a key may end in " (N)", which is not
 *            part of the id: the N-th line of that id. An id that is empty, or ends so itself, gets
 *            its number the first time already, so that every key leads back to exactly one id.
 * Threads:   pure functions.
 */

#include "base/buf.h"

/* The id that a key stands for; inside the key. */
struct op_str op_raw_key_id(struct op_str key);
/* The key of the n-th line (from 1) with this id, appended. */
void op_raw_key_write(struct op_buf *out, struct op_str id, int64_t n);

#endif
