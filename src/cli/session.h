/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_SESSION_H
#define OP_CLI_SESSION_H

/*
 * Model:     what a command works with: the state folder, the engine on it, the emulator when
 *            one is wanted or an open job was made with one, and the signal that asks to stop.
 * Ownership: the struct is the caller's; close releases everything.
 * Errors:    those of the engine; OP_NOTFOUND when there is nothing in the state folder to
 *            read.
 * Threads:   one.
 */

#include <signal.h>

#include "cli/child.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "engine/engine.h"
#include "view/ids.h"

/* Non-zero once SIGINT or SIGTERM came; a second one ends the process at once. */
extern volatile sig_atomic_t op_stop;
void op_signals_setup(void);

/* The state folder as an absolute op_mem path. */
OP_MUST_CHECK enum op_rc op_state_dir(const struct op_args *args, char **ret,
                                      struct op_err *err);
bool op_state_exists(const char *dir);
/* The folder the command was started in, as an op_mem path. */
OP_MUST_CHECK enum op_rc op_cwd(char **ret, struct op_err *err);

/* When --wait ends, on the wall clock; 0: never. */
int64_t op_deadline(const struct op_args *args);

enum op_session_mode {
    OP_SESSION_READ, /* looks; needs no lock */
    OP_SESSION_NEW,  /* makes a job: an emulator with --emulate */
    OP_SESSION_WORK, /* works on jobs there are: an emulator when one of them needs it */
};

struct op_session {
    const struct op_args *args;
    char *state_dir;
    struct op_child *emulator;
    struct op_engine *engine;
    struct op_progress progress;
    bool retry_now;
};

/* session->retry_now is read. */
OP_MUST_CHECK enum op_rc op_session_open(struct op_session *session, const struct op_args *args,
                                         enum op_session_mode mode, struct op_err *err);
void op_session_close(struct op_session *session);
static inline struct op_ledger *op_session_ledger(const struct op_session *session)
{
    return op_engine_ledger(session->engine);
}

#endif
