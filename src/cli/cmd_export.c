/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"
#include "engine/export.h"
#include "view/text.h"

/* Where lines go: stdout, or a file that takes its name when it is whole. */
struct target {
    char *path, *temp; /* NULL: stdout */
    struct op_writer writer;
    bool open;
};

static void target_release(struct target *t)
{
    if (t->open)
        op_writer_abort(&t->writer);
    op_mem_free(t->path);
    op_mem_free(t->temp);
    *t = (struct target){0};
}

static enum op_rc target_open(struct target *t, struct op_err *err)
{
    if (t->open)
        return OP_OK;
    t->temp = op_mem_printf("%s.part-%d", t->path, (int)getpid());
    enum op_rc rc = op_writer_open(&t->writer, op_env_default(), t->temp, false, err);
    t->open = !rc;
    return rc;
}

static enum op_rc target_add(struct target *t, struct op_str text, struct op_err *err)
{
    if (!t->path) {
        op_say(text);
        op_say(OP_STR("\n"));
        return OP_OK;
    }
    enum op_rc rc = target_open(t, err);
    if (!rc)
        rc = op_writer_add(&t->writer, text.ptr, text.len, err);
    return rc ? rc : op_writer_add(&t->writer, "\n", 1, err);
}

/* An old file of that name is replaced; a map without a line is taken away, so that an old one does
 * not speak of this export. */
static enum op_rc target_finish(struct target *t, struct op_err *err)
{
    struct op_env *env = op_env_default();
    if (!t->path)
        return OP_OK;
    if (!t->open) {
        (void)env->ops->unlink(env, t->path);
        return OP_OK;
    }
    enum op_rc rc = op_writer_close(&t->writer, true, NULL, err);
    if (rc)
        return rc;
    int failed = env->ops->rename(env, t->temp, t->path, true);
    t->open = false;
    if (!failed)
        return OP_OK;
    (void)env->ops->unlink(env, t->temp);
    return op_fail(err, OP_IO, "cannot write %s: %s", t->path, strerror(-failed));
}

struct exporting {
    struct op_args *args;
    struct target lines, map;
    struct op_buf row;
};

static enum op_rc take_line(void *arg, struct op_str text, struct op_err *err)
{
    struct exporting *e = arg;
    if (op_say_failed())
        return op_fail(err, OP_IO, "stdout takes no more");
    return target_add(&e->lines, text, err);
}

static enum op_rc take_mapped(void *arg, const char *custom_id, struct op_str key,
                              const char *request, struct op_err *err)
{
    struct exporting *e = arg;
    if (!e->map.path)
        return op_fail(
            err, OP_INVAL,
            "the key '%.*s' is no legal custom_id (64 of A-Z, a-z, 0-9, _ and -), so a "
            "file has to say which is which: add --output FILE",
            key.len > 60 ? 60 : (int)key.len, key.ptr);
    struct op_json_out out;
    op_buf_clear(&e->row);
    op_json_out_init(&out, &e->row, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "custom_id", custom_id);
    op_json_out_kv_str(&out, "key", key);
    op_json_out_kv_text(&out, "request", request);
    op_json_out_end_object(&out);
    return target_add(&e->map, op_buf_str(&e->row), err);
}

static void say(const struct exporting *e, const struct op_export *x)
{
    const struct op_args *args = e->args;
    char n[OP_TEXT_SHORT];
    if (args->json && e->lines.path) {
        struct op_report report;
        op_report_begin(&report);
        op_json_out_kv_text(&report.out, "output", e->lines.path);
        op_json_out_kv_int(&report.out, "lines", x->lines);
        op_json_out_kv_text(&report.out, "map", x->ids_mapped ? e->map.path : NULL);
        op_json_out_kv_int(&report.out, "mapped", x->ids_mapped);
        op_json_out_kv_int(&report.out, "missing", x->missing);
        op_report_print(&report);
        return;
    }
    op_note(args, "%s %s%s%s", op_text_count(x->lines, n),
            args->results ? "result lines" : "requests", e->lines.path ? " in " : "",
            e->lines.path ? e->lines.path : "");
    if (x->ids_mapped)
        op_note(args, "%s keys are no legal custom_ids: %s says which is which",
                op_text_count(x->ids_mapped, n), e->map.path);
    if (x->missing)
        op_note(args, "%s requests have no result line", op_text_count(x->missing, n));
}

static enum op_rc run_all(struct exporting *e, struct op_session *session, struct op_err *err)
{
    int64_t job = 0, batch = 0;
    struct op_export x = {
        .results = e->args->results, .arg = e, .line = take_line, .mapped = take_mapped};
    enum op_rc rc =
        op_id_find(op_session_ledger(session), e->args->words[0], &job, &batch, err);
    if (!rc)
        rc = op_engine_export(session->engine, job, &x, err);
    if (!rc && e->lines.path)
        rc = target_open(&e->lines, err);
    if (!rc)
        rc = target_finish(&e->lines, err);
    if (!rc)
        rc = target_finish(&e->map, err);
    if (!rc)
        say(e, &x);
    return rc;
}

static int run_export(struct op_args *args)
{
    struct op_session session = {0};
    struct exporting e = {.args = args};
    struct op_err err = OP_ERR_INIT;
    if (args->word_count == 0) {
        op_err_set(&err, OP_INVAL, "say which job to export: job-3");
        return op_say_usage(args, &err);
    }
    op_buf_init(&e.row, OP_SAY_MAX);
    if (args->output) {
        e.lines.path = op_mem_strdup(args->output);
        if (!args->results)
            e.map.path = op_mem_printf("%s.map.jsonl", args->output);
    }
    enum op_rc rc = op_session_open(&session, args, OP_SESSION_READ, &err);
    if (!rc)
        rc = run_all(&e, &session, &err);
    int code = rc ? op_say_error(args, &err) : OP_EXIT_OK;
    target_release(&e.lines);
    target_release(&e.map);
    op_buf_release(&e.row);
    op_session_close(&session);
    return code;
}

static const struct op_option options[] = {
    OP_OPT_TEXT("output", "FILE", output, "Write there (default: stdout)"),
    OP_OPT_FLAG("results", results,
                "The raw result lines, under the record's keys, instead of the requests"),
    OP_OPTIONS_STATE,
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_export = {
    .name = "export",
    .about = "Writes a job's requests, or its raw results, in the provider's own batch form",
    .usage = (const char *const[]){"export JOB [--output FILE]",
                                   "export JOB --results [--output FILE]", NULL},
    .details =
        "A line a request: what the provider's batch API takes, with the record's key as "
        "custom_id. Keys that are no legal custom_id get one, and FILE.map.jsonl says which is "
        "which (`import --map` reads it). `offpeak run FILE` asks the same, byte for byte, and so "
        "reuses every answer there is.",
    .options = options,
    .max_words = 1,
    .run = run_export,
};
