/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/say.h"
#include "cli/scaffold.h"
#include "cli/shipped.h"

/* The folder's last part as a pipeline's name: small letters, digits and '-'. */
static enum op_rc pipeline_name(const char *dir, char ret[64], struct op_err *err)
{
    const char *base = dir;
    for (const char *p = dir; *p; p++)
        if (*p == '/' && p[1])
            base = p + 1;
    size_t n = 0;
    for (; *base && *base != '/' && n < 60; base++) {
        char c = *base >= 'A' && *base <= 'Z' ? (char)(*base + 32) : *base;
        bool good = (c >= 'a' && c <= 'z') || (n > 0 && ((c >= '0' && c <= '9') || c == '-'));
        if (!good && n == 0)
            break;
        ret[n++] = good ? c : '-';
    }
    ret[n] = '\0';
    if (n == 0)
        return op_fail(err, OP_INVAL,
                       "'%.200s' makes no name for a pipeline: it must begin with a letter",
                       dir);
    return OP_OK;
}

/* {{name}} and {{dir}} replaced. */
static void fill(const char *text, const char *name, const char *dir, struct op_buf *out)
{
    while (*text) {
        if (strncmp(text, "{{name}}", 8) == 0) {
            op_buf_addz(out, name);
            text += 8;
        } else if (strncmp(text, "{{dir}}", 7) == 0) {
            op_buf_addz(out, dir);
            text += 7;
        } else {
            op_buf_addc(out, *text++);
        }
    }
}

static enum op_rc make_folder(const char *dir, struct op_err *err)
{
    struct op_env *env = op_env_default();
    int rc = env->ops->mkdir(env, dir, 0777);
    if (rc >= 0 || rc == -EEXIST)
        return OP_OK;
    errno = -rc;
    return op_fail_errno(err, OP_IO, "cannot create the folder %s", dir);
}

static enum op_rc scaffold(const char *dir, struct op_err *err)
{
    char name[64];
    enum op_rc rc = pipeline_name(dir, name, err);
    if (!rc && strpbrk(dir, "\"\\\n{"))
        rc = op_fail(err, OP_INVAL, "'%.200s': choose a folder without quotes and braces", dir);
    if (!rc)
        rc = make_folder(dir, err);
    for (const struct op_scaffold_file *f = op_scaffold; !rc && f->name; f++) {
        OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, f->name);
        OP_CLEANUP(op_buf_release) struct op_buf text = {0};
        op_buf_init(&text, 64 * 1024);
        fill(f->text, name, dir, &text);
        rc = op_shipped_write_new(op_env_default(), path, op_buf_str(&text), err);
    }
    return rc;
}

struct made {
    const struct op_args *args;
    struct op_report *report; /* NULL: as lines */
    size_t base;              /* length of the folder and its slash */
};

static void tell(void *arg, const char *path)
{
    struct made *made = arg;
    if (made->report)
        op_json_out_text(&made->report->out, path + made->base);
    else
        op_sayf("%s\n", path);
}

/* A copy of one that came along. */
static int init_shipped(struct op_args *args, const char *from, const char *dir)
{
    struct op_err err = OP_ERR_INIT;
    struct op_report report;
    struct made made = {.args = args, .base = strlen(dir) + 1};
    if (args->json) {
        op_report_begin(&report);
        op_json_out_kv_text(&report.out, "dir", dir);
        op_json_out_name(&report.out, "files");
        op_json_out_array(&report.out);
        made.report = &report;
    }
    enum op_rc rc = op_shipped_copy(op_env_default(), from, dir, tell, &made, &err);
    if (args->json) {
        op_json_out_end_array(&report.out);
        if (!rc)
            op_report_print(&report);
    }
    if (rc)
        return op_say_error(args, &err);
    op_note(args, "next: offpeak help run %s", dir);
    return OP_EXIT_OK;
}

static int run_init(struct op_args *args)
{
    struct op_err err = OP_ERR_INIT;
    if (args->word_count == 0) {
        op_err_set(&err, OP_INVAL, "name the folder of the new pipeline: offpeak init labels");
        return op_say_usage(args, &err);
    }
    OP_CLEANUP(op_mem_freep) char *dir = op_mem_strdup(args->words[0]);
    for (size_t len = strlen(dir); len > 1 && dir[len - 1] == '/'; len--)
        dir[len - 1] = '\0';
    const char *base = strrchr(dir, '/') ? strrchr(dir, '/') + 1 : dir;
    OP_CLEANUP(op_mem_freep) char *shipped = op_shipped_find(op_env_default(), base);
    if (shipped)
        return init_shipped(args, shipped, dir);
    if (scaffold(dir, &err))
        return op_say_error(args, &err);
    if (args->json) {
        struct op_report report;
        op_report_begin(&report);
        op_json_out_kv_text(&report.out, "dir", dir);
        op_json_out_name(&report.out, "files");
        op_json_out_array(&report.out);
        for (const struct op_scaffold_file *f = op_scaffold; f->name; f++)
            op_json_out_text(&report.out, f->name);
        op_json_out_end_array(&report.out);
        op_report_print(&report);
        return OP_EXIT_OK;
    }
    for (const struct op_scaffold_file *f = op_scaffold; f->name; f++)
        op_sayf("%s/%s\n", dir, f->name);
    op_note(args, "next: offpeak run %s --emulate     (without a key and without money)", dir);
    return OP_EXIT_OK;
}

static const struct op_option options[] = {
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_init = {
    .name = "init",
    .about = "Makes the folder of a new pipeline, with an example that runs as it is",
    .usage = (const char *const[]){"init FOLDER", NULL},
    .details =
        "A folder called as a pipeline that came along (story-knowledge, say) gets a copy of "
        "that, with its sample database if it has one. Nothing is overwritten.",
    .options = options,
    .max_words = 1,
    .run = run_init,
};
