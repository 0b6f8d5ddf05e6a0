/* SPDX-License-Identifier: MIT */
/*
 * The command line. Input: a byte for the command, then arguments, a line each.
 * Oracle: a refusal says what is wrong and holds none of the values that look like a key; values that
 *         were taken are within the bounds that the table promises.
 */
#include "cli/commands.h"
#include "cli/options.h"
#include "fuzz.h"

enum { MOST_ARGUMENTS = 64 };

static void check_values(const struct op_args *args)
{
    for (const struct op_option *o = args->command->options; o->name; o++) {
        const char *at = (const char *)args + o->at;
        int64_t number;
        switch (o->kind) {
        case OP_OPTION_COUNT:
        case OP_OPTION_USD:
        case OP_OPTION_SECONDS:
            memcpy(&number, at, sizeof(number));
            FUZZ_CHECK(number >= 0, "--%s is %lld", o->name, (long long)number);
            break;
        case OP_OPTION_WAIT:
            FUZZ_CHECK(args->wait.ms >= 0, "--wait is %lld", (long long)args->wait.ms);
            break;
        case OP_OPTION_NUMBER:
        case OP_OPTION_GROUP:
        case OP_OPTION_FLAG:
        case OP_OPTION_TEXT:
            break;
        }
    }
}

FUZZ_TARGET(options)
{
    size_t commands = 0;
    while (op_commands[commands])
        commands++;
    struct op_args args = {.command = op_commands[fuzz_pick(in, commands)]};
    char *argv[MOST_ARGUMENTS + 1] = {NULL};
    int argc = 0;
    while (in->len > 0 && argc < MOST_ARGUMENTS)
        argv[argc++] = fuzz_text(fuzz_until(in, '\n'));
    OP_CLEANUP(op_mem_freep)
    const char **words = op_mem_array((size_t)argc + 1, sizeof(*words));
    struct op_err err = OP_ERR_INIT;
    args.words = words;
    (void)op_options_first_word(args.command, argc, argv);
    (void)op_options_value("pipeline", argc, argv);
    enum op_rc rc = op_options_parse(args.command, argc, argv, &args, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        for (int i = 0; i < argc; i++)
            FUZZ_CHECK(!op_options_is_key(argv[i]) || !strstr(err.msg, argv[i]),
                       "a key is said: %s", err.msg);
    } else {
        check_values(&args);
        FUZZ_CHECK(args.word_count <= args.command->max_words, "%zu words", args.word_count);
    }
    op_subject_release(&args.subject);
    for (int i = 0; i < argc; i++)
        op_mem_free(argv[i]);
}
