/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/mem.h"
#include "cli/child.h"
#include "cli/commands.h"
#include "cli/confine.h"
#include "cli/say.h"
#include "cli/session.h"
#include "emulator/emulator.h"

static bool stop_wanted(void *arg)
{
    (void)arg;
    return op_stop != 0;
}

/* "30" or "30-90": virtual seconds that a batch takes. */
static enum op_rc read_process(const char *text, struct op_emulator_options *options,
                               struct op_err *err)
{
    struct op_str rest = op_str_from(text);
    struct op_str first = op_str_cut(&rest, '-');
    double min = 0, max = 0;
    bool good = op_str_double(first, &min) && min >= 0 && min < 1e7;
    max = min;
    if (good && rest.ptr)
        good = op_str_double(rest, &max) && max >= min && max < 1e7;
    if (!good)
        return op_fail(err, OP_INVAL,
                       "--process must be seconds such as 30 or 30-90, not '%.80s'", text);
    options->process_min_ms = (int64_t)(min * 1000) + (max <= 0);
    options->process_max_ms = (int64_t)(max * 1000) + (max <= 0);
    return OP_OK;
}

static enum op_rc serve(const struct op_args *args, const struct op_emulator_options *options,
                        struct op_err *err)
{
    OP_CLEANUP(op_emulator_stopp) struct op_emulator *emulator = NULL;
    enum op_rc rc = op_io_mkdirs(op_env_default(), options->dir, err);
    if (!rc)
        op_confine_emulator(options->dir, options->faults, options->answers);
    if (!rc)
        rc = op_emulator_start(options, &emulator, err);
    if (rc)
        return rc;
    op_sayf("listening on %s\n", op_emulator_url(emulator));
    if (!getenv(OP_CHILD_ENV))
        op_note(args, "its bill is %s/bill.jsonl; Ctrl-C ends it", options->dir);
    return op_emulator_wait(emulator, stop_wanted, NULL, err);
}

static int run_emulate(struct op_args *args)
{
    struct op_err err = OP_ERR_INIT;
    OP_CLEANUP(op_mem_freep) char *dir = NULL;
    struct op_emulator_options options = {
        .listen = args->listen,
        .speed = args->speed,
        .faults = args->faults,
        .answers = args->answers,
        .api_key = getenv("OFFPEAK_EMULATOR_KEY"),
        .seed = (uint64_t)args->seed,
    };
    if (args->process && read_process(args->process, &options, &err))
        return op_say_usage(args, &err);
    umask(077);
    enum op_rc rc = OP_OK;
    if (args->dir) {
        dir = op_mem_strdup(args->dir);
    } else {
        OP_CLEANUP(op_mem_freep) char *state = NULL;
        rc = op_state_dir(args, &state, &err);
        if (!rc)
            dir = op_io_join(state, "emulator");
    }
    options.dir = dir;
    if (!rc)
        rc = serve(args, &options, &err);
    if (rc == OP_BUSY && getenv(OP_CHILD_ENV))
        return OP_EXIT_BUSY;
    return rc ? op_say_error(args, &err) : OP_EXIT_OK;
}

static const struct op_option options[] = {
    OP_OPT_TEXT("listen", "HOST:PORT", listen,
                "Where to listen; port 0 takes a free one (default: 127.0.0.1:0)"),
    OP_OPT_TEXT("dir", "DIR", dir,
                "Its folder: batches and bill.jsonl (default: emulator/ in the state folder)"),
    OP_OPT(NUMBER, "speed", '\0', "N", speed, "Its seconds in one of ours (default: 1)"),
    OP_OPT_TEXT("faults", "FILE", faults, "JSONL of faults it shall show"),
    OP_OPT_TEXT("answers", "FILE", answers, "JSONL of answers it shall give"),
    OP_OPT_TEXT("process", "SECONDS", process,
                "How long a batch takes in its seconds, such as 30-90 (the default)"),
    OP_OPT(COUNT, "seed", '\0', "N", seed, "Of its ids, orders, durations and answers"),
    OP_OPTIONS_STATE,
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_emulate = {
    .name = "emulate",
    .about = "Plays the providers' side of their APIs, for tests and for trying things out",
    .usage = (const char *const[]){"emulate [--listen HOST:PORT] [--dir DIR] [options]", NULL},
    .details =
        "Prints `listening on URL` when it is ready; the base URL of a provider is URL/anthropic, "
        "URL/openai/v1, URL/gemini or URL/mistral. The key it accepts is $OFFPEAK_EMULATOR_KEY, "
        "else any. It goes on where it was when it is started on the same folder again. "
        "docs/reference/emulator.md tells what it speaks and which "
        "faults it can show.",
    .options = options,
    .run = run_emulate,
};
