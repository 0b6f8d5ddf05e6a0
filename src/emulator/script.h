/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_SCRIPT_H
#define OP_EMULATOR_SCRIPT_H

/*
 * Model:     an answers file holds one JSON rule a line. The first rule whose "match" occurs in
 *            the custom_id or in the prompt (absent: always) and that has not been used "times"
 *            times answers with "text", or with "json" (any value, sent as JSON text), or with
 *            "error": {"type", "message"}; "stop_reason" overrides end_turn. Empty lines and lines
 *            that begin with # are skipped.
 * Errors:    OP_INVAL with file and line.
 * Threads:   any.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "base/str.h"

struct op_emu_scripted {
    char *match;
    char *text; /* NULL with an error or when only the stop reason is scripted */
    char *stop_reason;
    char *error_type, *error_message;
    int64_t times; /* -1: always */
    int64_t used;
};

struct op_emu_script;

/* path NULL: no rules. */
OP_MUST_CHECK enum op_rc op_emu_script_open(struct op_env *env, const char *path,
                                            struct op_emu_script **ret, struct op_err *err);
void op_emu_script_close(struct op_emu_script *script);

/* The rule that answers, counted as used; NULL when none does. Its texts never change. The subjects
 * are where "match" is looked for. */
const struct op_emu_scripted *op_emu_script_find(struct op_emu_script *script,
                                                 const struct op_str *subjects, size_t count);

#endif
