/* SPDX-License-Identifier: MIT */
#include <malloc.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/say.h"
#include "cli/session.h"
#include "net/aws.h"
#include "provider/key.h"

/* A key must not end in a core file, in another process of this user, or in a line of the log. */
static void guard_keys(void)
{
    bool aws = op_aws_take();
    if (!op_keys_take() && !aws)
        return;
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0);
}

/* Known before anything is parsed, so that a mistake in the options is said as JSON too. */
static bool wants_json(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

static int unknown_command(const char *name, struct op_args *args)
{
    const char *names[32];
    size_t count = 0;
    for (size_t i = 0; op_commands[i] && count < OP_COUNT(names); i++)
        names[count++] = op_commands[i]->name;
    const char *near = op_str_nearest(name, names, count);
    struct op_err err = OP_ERR_INIT;
    op_err_set(&err, OP_INVAL, "there is no command '%.80s'%s%s%s", name,
               near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    return op_say_usage(args, &err);
}

static int print_help(const struct op_command *command, const struct op_args *args)
{
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&out, 1024 * 1024);
    op_options_help(command, args->subject.has_def ? &args->subject.def : NULL, &out);
    op_say(op_buf_str(&out));
    return OP_EXIT_OK;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static int run_command(const struct op_command *command, int argc, char **argv,
                       struct op_args *args)
{
    struct op_err err = OP_ERR_INIT;
    bool help = wants_help(argc, argv);
    if (command->pipeline || command->pipeline_option) {
        const char *word = command->pipeline ? op_options_first_word(command, argc, argv)
                                             : op_options_value("pipeline", argc, argv);
        const char *profile = op_options_value("profile", argc, argv);
        if (op_subject_find(word, profile, &args->subject, &err) && !help)
            return op_say_usage(args, &err);
    }
    if (help)
        return print_help(command, args);
    if (op_options_parse(command, argc, argv, args, &err))
        return op_say_usage(args, &err);
    op_log_begin(args);
    op_signals_setup();
    int code = command->run(args);
    return code == OP_EXIT_OK && op_say_failed() ? OP_EXIT_FAILED : code;
}

static int dispatch(int argc, char **argv, struct op_args *args)
{
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&out, 1024 * 1024);
    args->json = wants_json(argc, argv);
    if (argc < 2) {
        struct op_args plain = {0};
        op_options_overview(&out);
        op_note(&plain, "%s", out.ptr);
        return OP_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        name = "version";
    else if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    const struct op_command *command = op_command_find(name);
    if (!command)
        return unknown_command(name, args);
    args->command = command;
    OP_CLEANUP(op_mem_freep) const char **words = op_mem_array((size_t)argc, sizeof(*words));
    args->words = words;
    return run_command(command, argc - 2, argv + 2, args);
}

/* Buffers that grow and shrink go back to the system, and two threads share one heap: the memory
 * in use stays what the work needs, however long it lasts. */
static void keep_memory_flat(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
    (void)mallopt(M_ARENA_MAX, 2);
    /* SQLite counts what it allocates under a lock that all its connections share; nobody asks. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int main(int argc, char **argv)
{
    struct op_args args = {0};
    keep_memory_flat();
    guard_keys();
    int code = dispatch(argc, argv, &args);
    op_subject_release(&args.subject);
    return code;
}
