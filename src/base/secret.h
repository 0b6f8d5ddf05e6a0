/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_SECRET_H
#define OP_BASE_SECRET_H

/*
 * Model:     memory for keys: pages of their own that are not swapped out (as far as RLIMIT_MEMLOCK
 *            allows), left out of core files and wiped at exit. What libcurl and OpenSSL copy of a
 *            key into their own memory is not in them.
 * Ownership: what is kept stays until exit, at the same address.
 * Threads:   any thread.
 */

#include "base/str.h"

/* A copy with a NUL behind it; the same text again yields the same copy. */
const char *op_secret_keep(struct op_str secret);

/* Takes a secret out of the environment: the variable is empty afterwards, also in
 * /proc/PID/environ. NULL when it is not set or empty. Before there are other threads. */
const char *op_secret_take_env(const char *name);

#endif
