/* SPDX-License-Identifier: MIT */
#ifndef OP_NET_AWS_H
#define OP_NET_AWS_H

/*
 * Model:     who we are to AWS, and where: the usual AWS_* variables, then the profile AWS_PROFILE
 *            ("default") of the shared files (~/.aws/credentials and ~/.aws/config, or where
 *            AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE say). No metadata service, no SSO, no
 *            web identity: whoever uses those exports temporary keys. Never from a pipeline: an
 *            address or a key in a file that was handed over could send data elsewhere.
 * Ownership: the struct owns its texts; release wipes the secret ones.
 * Errors:    OP_INVAL, FATAL: what is missing, and the names of what would give it.
 * Threads:   one thread at a time.
 */

#include "base/err.h"

struct op_aws {
    char *endpoint; /* no slash at its end */
    char *region;
    char *key, *secret;
    char *token; /* of temporary keys; NULL: none */
};

/* For a service: its own endpoint variables are asked first. The secrets are masked in logs from
 * here on. A service on this machine or in a private network that has no keys gets made-up ones. */
OP_MUST_CHECK enum op_rc op_aws_load(const char *service, const char *const *endpoint_envs,
                                     struct op_aws *ret, struct op_err *err);
/* The shared files, as far as they will be read. */
void op_aws_files(void (*fn)(void *arg, const char *path), void *arg);
/* Takes the secrets out of the environment, as provider/key.h does with the providers' keys: they
 * are remembered for op_aws_load. Before there are other threads. */
bool op_aws_take(void);                  /* whether there were any */
void op_aws_release(struct op_aws *aws); /* also fine on a zeroed struct */

#endif
