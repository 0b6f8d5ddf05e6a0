/* SPDX-License-Identifier: MIT */
#ifndef OP_PROVIDER_OWN_LINE_H
#define OP_PROVIDER_OWN_LINE_H

/*
 * Model:     a result line in this program's words, for what no provider said of a request that was
 *            asked by itself: that its outcome is unknown, that it was withdrawn. It lies among the
 *            provider's lines and is read by whoever reads them:
 *                {"custom_id":"...","offpeak":{"class":"errored","type":"...","message":"...","then":"retry"}}
 * Ownership: a result points into the parsed line.
 * Threads:   pure functions.
 */

#include "provider/provider.h"

void op_own_line_write(struct op_str custom_id, enum op_result_class class_, const char *type,
                       const char *message, enum op_disp disp, struct op_buf *ret_line);
/* One line of a result file: ours, or as provider->decode_result. */
OP_MUST_CHECK enum op_rc op_result_read(const struct op_provider_ops *provider,
                                        struct op_json line, struct op_buf *scratch,
                                        struct op_result *ret, struct op_err *err);

#endif
