/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_PRICES_H
#define OP_PIPELINE_PRICES_H

/*
 * Model:     the price list as the operator can read and change it: prices.yaml, US dollars per
 *            million tokens (docs/reference/prices.md). Amounts are read as decimal text into
 *            integers, never through floating point.
 *            Its text and the hash of that go with it, so that a batch can freeze the prices it was
 *            built with (R5).
 * Ownership: a list owns its rows and their texts.
 * Errors:    OP_INVAL "file:line: what, and what to do"; nothing is skipped or guessed.
 * Threads:   read-only after load.
 */

#include "base/arena.h"
#include "base/env.h"
#include "base/err.h"
#include "base/hash.h"
#include "core/price.h"

/* Names another file than the default one. */
#define OP_PRICES_ENV "OFFPEAK_PRICES"

struct op_prices {
    struct op_price_list list;
    const char *file;           /* where it was read */
    struct op_str text;         /* all of it, as it was read */
    char sha256[OP_SHA256_HEX]; /* of the text */
    struct op_arena arena;
};

/* path NULL: the file $OFFPEAK_PRICES names, else the first that exists of prices.yaml in
 * the folder above the program's own and in ../share/offpeak of it. A file that was named
 * must exist. */
OP_MUST_CHECK enum op_rc op_prices_load(struct op_env *env, const char *path,
                                        struct op_prices **ret, struct op_err *err);
/* The list in a text (copied) that messages call `file`. */
OP_MUST_CHECK enum op_rc op_prices_read(const char *file, struct op_str text,
                                        struct op_prices **ret, struct op_err *err);
void op_prices_free(struct op_prices *prices);
void op_prices_freep(struct op_prices **prices);

#endif
