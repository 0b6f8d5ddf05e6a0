/* SPDX-License-Identifier: MIT */
#ifndef OP_PROVIDER_KEY_H
#define OP_PROVIDER_KEY_H

/*
 * Model:     where keys come from: the environment variable a provider names (NAME), else a file that
 *            NAME_FILE names, else the credential NAME that systemd handed over (LoadCredential=).
 *            A key is taken once: out of the environment, into memory of its own (base/secret.h),
 *            and masked in every log line from then on.
 * Ownership: keys stay until exit.
 * Errors:    OP_INVAL, FATAL: a key file that others may read, or that cannot be read.
 * Threads:   the main thread.
 */

#include "provider/provider.h"

/* *ret: the key, or NULL when there is none. */
OP_MUST_CHECK enum op_rc op_key_get(const struct op_provider_ops *provider, const char **ret,
                                    struct op_err *err);
/* Where it comes from, for people: "ANTHROPIC_API_KEY is set". ret is empty when there is none. */
void op_key_about(const struct op_provider_ops *provider, char *ret, size_t room);
/* Takes every provider's, so that nothing else in this process finds one in the environment. True:
 * there is one. */
bool op_keys_take(void);

#endif
