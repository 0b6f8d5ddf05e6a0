/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/say.h"
#include "pipeline/sqlenv.h"

static void sql_functions(struct op_buf *out)
{
    op_buf_addz(out, "What the SELECTs of a pipeline have beside SQLite's own functions:\n\n");
    for (const struct op_sql_function *f = op_sql_functions(); f->signature; f++)
        op_buf_addf(out, "  %s\n      %s\n", f->signature, f->help);
    static const char *const views[] = {"answers", "results", "request",
                                        "batch",   "job",     "requests"};
    op_buf_addz(out, "\nAnd these tables, in `checks` and `rows`:\n\n");
    for (size_t i = 0; i < OP_COUNT(views); i++) {
        const char *const *columns = op_sqlenv_view_columns(views[i]);
        op_buf_addf(out, "  %-9s", views[i]);
        for (size_t c = 0; columns && columns[c]; c++)
            op_buf_addf(out, "%s%s", c ? ", " : "", columns[c]);
        op_buf_addc(out, '\n');
    }
    op_buf_addz(out, "  records  the columns of `records`\n");
}

static int run_help(struct op_args *args)
{
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&out, 4 * 1024 * 1024);
    struct op_err err = OP_ERR_INIT;
    const char *topic = args->word_count ? args->words[0] : NULL;
    if (args->markdown) {
        op_options_markdown(&out);
    } else if (!topic) {
        op_options_overview(&out);
    } else if (strcmp(topic, "pipeline") == 0) {
        op_definition_write_reference(&out);
    } else if (strcmp(topic, "sql") == 0) {
        sql_functions(&out);
    } else {
        const struct op_command *command = op_command_find(topic);
        if (!command) {
            op_err_set(&err, OP_NOTFOUND, "there is no command '%.80s'", topic);
            return op_say_usage(args, &err);
        }
        if (args->word_count > 1 && command->pipeline &&
            op_subject_find(args->words[1], NULL, &args->subject, &err))
            return op_say_usage(args, &err);
        if (args->subject.broken.rc)
            return op_say_error(args, &args->subject.broken);
        op_options_help(command, args->subject.has_def ? &args->subject.def : NULL, &out);
    }
    op_say(op_buf_str(&out));
    return OP_EXIT_OK;
}

static const struct op_option options[] = {
    OP_OPT_FLAG("markdown", markdown, "All commands, as docs/reference/cli.md"),
    OP_OPT(FLAG, "help", 'h', NULL, help, "Print this help"),
    OP_OPT_END,
};

const struct op_command op_cmd_help = {
    .name = "help",
    .about = "Explains the commands",
    .usage =
        (const char *const[]){"help [COMMAND [PIPELINE]]", "help pipeline", "help sql", NULL},
    .options = options,
    .max_words = 2,
    .hidden = true,
    .run = run_help,
};
