/* SPDX-License-Identifier: MIT */
#include "cli/session.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "ledger/blackbox.h"

/* With an emulator whose minutes are moments, so must be our patience. */
#define EMULATOR_POLL_MS 200

volatile sig_atomic_t op_stop;

static void on_signal(int number)
{
    (void)number;
    /* Everything is resumable at any instruction, so leaving at once is safe. */
    if (op_stop)
        _exit(128 + SIGINT);
    op_stop = 1;
}

void op_signals_setup(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
}

enum op_rc op_cwd(char **ret, struct op_err *err)
{
    char path[PATH_MAX];
    if (!getcwd(path, sizeof(path)))
        return op_fail_errno(err, OP_IO, "cannot tell the current folder");
    *ret = op_mem_strdup(path);
    return OP_OK;
}

int64_t op_deadline(const struct op_args *args)
{
    struct op_env *env = op_env_default();
    return args->wait.ms ? env->ops->now_ms(env) + args->wait.ms : 0;
}

static const char *set(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

enum op_rc op_state_dir(const struct op_args *args, char **ret, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *dir = NULL;
    const char *given = args->state ? args->state : set("OFFPEAK_STATE");
    if (given && !given[0])
        return op_fail(err, OP_INVAL, "--state is empty: name a folder");
    if (given)
        dir = op_mem_strdup(given);
    else if (set("XDG_STATE_HOME"))
        dir = op_io_join(set("XDG_STATE_HOME"), "offpeak");
    else if (set("HOME"))
        dir = op_io_join(set("HOME"), ".local/state/offpeak");
    else
        return op_fail(err, OP_INVAL,
                       "there is no HOME to keep the ledger in: give --state DIR");
    if (dir[0] == '/') {
        *ret = OP_TAKE(dir);
        return OP_OK;
    }
    OP_CLEANUP(op_mem_freep) char *cwd = NULL;
    enum op_rc rc = op_cwd(&cwd, err);
    if (!rc)
        *ret = op_io_join(cwd, dir);
    return rc;
}

bool op_state_exists(const char *dir)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, "ledger.db");
    return access(path, F_OK) == 0;
}

/* --- does an open job talk to the emulator? ----------------------------------------------- */

struct peek {
    struct op_json_parser *parser;
    bool emulated;
};

static enum op_rc see_job(void *arg, const struct op_job *job, struct op_err *err)
{
    struct peek *peek = arg;
    struct op_json root;
    enum op_rc rc =
        op_json_parse(peek->parser, job->options, strlen(job->options), false, &root, err);
    if (!rc && op_json_bool(op_json_get(root, "emulate"), false))
        peek->emulated = true;
    return rc;
}

/* Newest first: a job named by --retry-failed may be final, so all of the emulated ones count.
 * */
static bool needs_emulator(const char *state_dir)
{
    if (!op_state_exists(state_dir))
        return false;
    OP_CLEANUP(op_ledger_closep) struct op_ledger *ledger = NULL;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct peek peek = {.parser = parser};
    struct op_err err = OP_ERR_INIT;
    if (op_ledger_open(op_env_default(), state_dir, OP_LEDGER_READ, NULL, &ledger, &err) ||
        op_ledger_jobs(ledger, false, see_job, &peek, &err))
        return false; /* opening it to work says what is wrong */
    return peek.emulated;
}

/* --- the session -------------------------------------------------------------------------- */

static void on_changed(void *arg)
{
    struct op_session *session = arg;
    op_progress_draw(&session->progress, session->engine);
}

/* $OFFPEAK_BALLAST: MiB; 0 none. */
static int64_t ballast_bytes(void)
{
    int64_t mib = 0;
    const char *text = set("OFFPEAK_BALLAST");
    bool good = text && op_str_int64(op_str_from(text), &mib) && mib >= 0 && mib <= 1 << 20;
    return good ? mib << 20 : OP_BALLAST_BYTES;
}

/* What a SELECT sorts beyond memory goes into the state folder: others may look elsewhere, and the
 * sandbox lets nothing be written there. SQLite reads this once, when it is first used. */
static void keep_temporaries_inside(const char *state_dir)
{
    OP_CLEANUP(op_mem_freep) char *work = op_io_join(state_dir, "spool/work");
    (void)setenv("SQLITE_TMPDIR", work, 1);
}

enum op_rc op_session_open(struct op_session *session, const struct op_args *args,
                           enum op_session_mode mode, struct op_err *err)
{
    session->args = args;
    enum op_rc rc = op_state_dir(args, &session->state_dir, err);
    if (!rc)
        keep_temporaries_inside(session->state_dir);
    if (!rc && mode == OP_SESSION_READ && !op_state_exists(session->state_dir))
        rc = op_fail(err, OP_NOTFOUND, "there are no jobs yet: %s has no ledger",
                     session->state_dir);
    bool emulate = mode != OP_SESSION_READ && args->emulate;
    if (!rc && mode == OP_SESSION_WORK && !emulate)
        emulate = needs_emulator(session->state_dir);
    if (!rc && emulate)
        rc = op_child_start(args, session->state_dir, &session->emulator, err);
    if (rc)
        return rc;
    struct op_engine_options options = {
        .state_dir = session->state_dir,
        .read_only = mode == OP_SESSION_READ,
        .strict = args->strict,
        .exclusive = args->exclusive,
        .retry_now = session->retry_now,
        .concurrency = args->concurrency,
        .interval_ms = args->interval_ms,
        .poll_ms = args->poll_ms ? args->poll_ms
                   : emulate     ? EMULATOR_POLL_MS
                                 : 0,
        .emulator_url = session->emulator ? op_child_url(session->emulator) : NULL,
        .ballast_bytes = ballast_bytes(),
        .prices_file = args->prices,
        .stop = &op_stop,
        .changed = on_changed,
        .changed_arg = session,
    };
    return op_engine_open(&options, &session->engine, err);
}

void op_session_close(struct op_session *session)
{
    op_progress_end(&session->progress);
    op_engine_close(OP_TAKE(session->engine));
    op_child_stop(OP_TAKE(session->emulator));
    op_mem_free(OP_TAKE(session->state_dir));
}
