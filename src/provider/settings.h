/* SPDX-License-Identifier: MIT */
#ifndef OP_PROVIDER_SETTINGS_H
#define OP_PROVIDER_SETTINGS_H

/*
 * Model:     what drivers check alike in a request's settings, and what they say alike to a model
 *            whose answer was wrong. Included by drivers only.
 * Errors:    OP_INVAL naming where the setting was written, and how to mend it.
 * Threads:   pure functions.
 */

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "provider/provider.h"

/* Where the settings were written, for messages. */
const char *op_settings_place(const struct op_request_settings *settings);

/* A member that extra must not bring, and what to do instead. */
struct op_reserved {
    const char *name, *mend;
};

/* settings->extra parsed and checked: an object, without a reserved name, no name twice. *ret has
 * no value when there is none; it points into parser. */
OP_MUST_CHECK enum op_rc op_settings_extra(const struct op_request_settings *settings,
                                           const struct op_reserved *reserved, size_t count,
                                           struct op_json_parser *parser, struct op_json *ret,
                                           struct op_err *err);

/* The model is named, max_tokens is at least 1, effort is one of the five words, cache is 5m or 1h
 * and has a system prompt to mark. */
OP_MUST_CHECK enum op_rc op_settings_basics(const struct op_request_settings *settings,
                                            const char *default_model, struct op_err *err);
/* The temperature is not set, or from 0 to most. */
OP_MUST_CHECK enum op_rc op_settings_temperature(const struct op_request_settings *settings,
                                                 double most, struct op_err *err);

/* What the model is told about the rules its answer breaks. */
void op_amend_complaint(struct op_str violations, struct op_buf *ret);

#endif
