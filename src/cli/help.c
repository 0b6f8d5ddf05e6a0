/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "cli/options.h"

#define WIDTH  92
#define INDENT 2
#define COLUMN 28 /* where explanations begin */

/* Appends text broken at spaces, further lines indented; at is the present column. */
static void wrap(struct op_buf *out, const char *text, size_t at, size_t indent)
{
    struct op_str rest = op_str_from(text);
    bool first = true;
    while (rest.ptr) {
        struct op_str word = op_str_cut(&rest, ' ');
        if (!first && at + 1 + word.len > WIDTH) {
            op_buf_addf(out, "\n%*s", (int)indent, "");
            at = indent;
            first = true;
        }
        op_buf_addf(out, "%s" OP_STR_FMT, first ? "" : " ", OP_STR_ARG(word));
        at += word.len + (first ? 0 : 1);
        first = false;
    }
    op_buf_addc(out, '\n');
}

static void entry(struct op_buf *out, const char *left, const char *help)
{
    size_t len = strlen(left);
    op_buf_addf(out, "%*s%s", INDENT, "", left);
    if (INDENT + len + 2 > COLUMN)
        op_buf_addf(out, "\n%*s", COLUMN, "");
    else
        op_buf_addf(out, "%*s", (int)(COLUMN - INDENT - len), "");
    wrap(out, help, COLUMN, COLUMN);
}

static void paragraphs(struct op_buf *out, const char *text)
{
    struct op_str rest = op_str_from(text);
    while (rest.ptr) {
        struct op_str line = op_str_cut(&rest, '\n');
        OP_CLEANUP(op_mem_freep) char *copy = op_mem_strndup(line.ptr, line.len);
        wrap(out, copy, 0, 0);
    }
}

static bool is_hidden(const struct op_option *o, const struct op_definition *def)
{
    for (size_t i = 0; def && o->shadowed && i < def->param_count; i++) {
        const char *a = o->name, *b = def->params[i].name;
        while (*a && *b && (*a == *b || (*a == '-' && *b == '_'))) {
            a++;
            b++;
        }
        if (!*a && !*b)
            return true;
    }
    return false;
}

static char *option_left(const struct op_option *o)
{
    return o->letter ? op_mem_printf("-%c, --%s%s%s", o->letter, o->name, o->value ? " " : "",
                                     o->value ? o->value : "")
                     : op_mem_printf("--%s%s%s", o->name, o->value ? " " : "",
                                     o->value ? o->value : "");
}

static const char *param_value(const struct op_param_def *param)
{
    switch (param->type) {
    case OP_PARAM_INTEGER:
        return " N";
    case OP_PARAM_NUMBER:
        return " NUMBER";
    case OP_PARAM_BOOLEAN:
        return "";
    case OP_PARAM_PATH:
        return " PATH";
    case OP_PARAM_LIST:
        return "TEXT...";
    case OP_PARAM_TEXT:
        break;
    }
    return " TEXT";
}

static void param_help(struct op_buf *out, const struct op_param_def *param)
{
    OP_CLEANUP(op_mem_freep)
    char *left = op_mem_printf("--%s%s", param->name, param_value(param));
    for (char *p = left; *p && *p != ' '; p++)
        *p = *p == '_' ? '-' : *p;
    OP_CLEANUP(op_buf_release) struct op_buf help;
    op_buf_init(&help, 16 * 1024);
    op_buf_addz(&help, param->about);
    for (size_t i = 0; param->values && param->values[i]; i++)
        op_buf_addf(&help, "%s%s", i ? ", " : help.len ? ": " : "", param->values[i]);
    const char *open = help.len ? " (" : "(";
    if (param->required)
        op_buf_addf(&help, "%srequired%s%s)", open, param->env ? ", or set " : "",
                    param->env ? param->env : "");
    else if (param->fallback)
        op_buf_addf(&help, "%sdefault: %s%s%s)", open, param->env ? "$" : "",
                    param->env ? param->env : "", param->env ? ", else " : "");
    if (!param->required && param->fallback) {
        help.len -= 1;
        op_buf_addf(&help, "%s)", param->fallback[0] ? param->fallback : "empty");
    } else if (!param->required && param->env) {
        op_buf_addf(&help, "%sdefault: $%s)", open, param->env);
    }
    entry(out, left, help.ptr);
}

void op_options_help(const struct op_command *command, const struct op_definition *def,
                     struct op_buf *out)
{
    op_buf_addf(out, "offpeak %s: %s\n\n", command->name, command->about);
    for (size_t i = 0; command->usage[i]; i++)
        op_buf_addf(out, "%s offpeak %s\n", i ? "      " : "usage:", command->usage[i]);
    if (command->details) {
        op_buf_addc(out, '\n');
        paragraphs(out, command->details);
    }
    if (def && def->param_count > 0) {
        op_buf_addf(out, "\nParameters of %s", def->name);
        if (def->about && def->about[0])
            op_buf_addf(out, " (%s)", def->about);
        op_buf_addz(out, "\n");
        for (size_t i = 0; i < def->param_count; i++)
            param_help(out, &def->params[i]);
    }
    for (const struct op_option *o = command->options; o->name; o++) {
        if (o->kind == OP_OPTION_GROUP) {
            op_buf_addf(out, "\n%s\n", o->name);
        } else if (!is_hidden(o, def)) {
            OP_CLEANUP(op_mem_freep) char *left = option_left(o);
            entry(out, left, o->help);
        }
    }
}

void op_options_overview(struct op_buf *out)
{
    op_buf_addz(out,
                "offpeak: records in, answers out, through the batch APIs at half price\n\n"
                "usage: offpeak COMMAND [options]\n\n");
    for (size_t i = 0; op_commands[i]; i++) {
        if (op_commands[i]->hidden)
            continue;
        op_buf_addf(out, "  %-10s ", op_commands[i]->name);
        wrap(out, op_commands[i]->about, 13, 13);
    }
    op_buf_addz(
        out, "\nTo begin, without a key and without money:\n"
             "  offpeak init labels\n"
             "  offpeak run labels --path labels/tickets.csv --emulate\n\n"
             "`offpeak help COMMAND` explains a command, `offpeak help COMMAND PIPELINE` with "
             "the pipeline's\nown options; `offpeak help pipeline` lists the keys of "
             "pipeline.yaml, `offpeak help sql` the\nfunctions its SELECTs have.\n"
             "Exit codes: 0 done, 1 failed, 2 usage, 3 partial or not finished, 4 busy,\n"
             "75 the disk failed.\n");
}

/* --- docs/reference/cli.md ---------------------------------------------------------------- */

static void cell(struct op_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            op_buf_addc(out, '\\');
        op_buf_addc(out, *text);
    }
}

static void markdown_command(const struct op_command *command, struct op_buf *out)
{
    op_buf_addf(out, "\n## %s\n\n", command->name);
    op_buf_addf(out, "%s.\n\n```\n", command->about);
    for (size_t i = 0; command->usage[i]; i++)
        op_buf_addf(out, "offpeak %s\n", command->usage[i]);
    op_buf_addz(out, "```\n");
    if (command->details) {
        op_buf_addc(out, '\n');
        paragraphs(out, command->details);
    }
    bool table = false;
    for (const struct op_option *o = command->options; o->name; o++) {
        if (o->kind == OP_OPTION_GROUP) {
            op_buf_addf(out, "\n%s:\n\n| option | meaning |\n|---|---|\n", o->name);
            table = true;
            continue;
        }
        if (!table)
            op_buf_addz(out, "\n| option | meaning |\n|---|---|\n");
        table = true;
        OP_CLEANUP(op_mem_freep) char *left = option_left(o);
        op_buf_addz(out, "| `");
        cell(out, left);
        op_buf_addz(out, "` | ");
        cell(out, o->help);
        op_buf_addz(out, " |\n");
    }
}

void op_options_markdown(struct op_buf *out)
{
    op_buf_addz(
        out,
        "# Commands\n\n"
        "<!-- Made by `offpeak help --markdown` from the option tables in src/cli. -->\n\n"
        "stdout is the result, stderr the chatter. Exit codes: 0 done, 1 failed, 2 usage, "
        "3 partial or not\nfinished, 4 another process has the ledger, 75 the disk failed to "
        "keep what was written (one line on\nstderr, whatever the options; "
        "`docs/guide/recovery.md`). Option names take `-` and `_` alike.\nWith `--json` the "
        "result is one object with `\"version\": 1`, and so is an error:\n"
        "`{\"version\": 1, \"error\": {\"code\", \"message\"}}`.\n\n"
        "An ID is a job (`job-3`), a batch (`batch-7`), or the provider's own batch id.\n"
        "A key comes from the environment (`ANTHROPIC_API_KEY`), or a file that it names.\n");
    for (size_t i = 0; op_commands[i]; i++)
        if (!op_commands[i]->hidden)
            markdown_command(op_commands[i], out);
}
