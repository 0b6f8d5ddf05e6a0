/* SPDX-License-Identifier: MIT */
#include "cli/subject.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/oneline.h"
#include "cli/session.h"

void op_subject_release(struct op_subject *subject)
{
    op_definition_release(&subject->def);
    op_bundle_release(&subject->bundle);
    op_arena_release(&subject->arena);
    op_mem_free(subject->dir);
    *subject = (struct op_subject){0};
}

static bool is_regular(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool has_suffix(const char *word, const char *const *suffixes)
{
    for (; *suffixes; suffixes++)
        if (op_str_ends(op_str_from(word), *suffixes))
            return true;
    return false;
}

static enum op_rc read_pipeline(struct op_subject *subject, const char *profile,
                                struct op_err *err)
{
    struct op_env *env = op_env_default();
    enum op_rc rc = op_pipeline_find(env, subject->word, &subject->dir, err);
    if (rc)
        return rc;
    subject->kind = OP_SUBJECT_PIPELINE;
    op_bundle_release(&subject->bundle);
    if (op_bundle_open(env, subject->dir, &subject->bundle, &subject->broken))
        return OP_OK;
    op_bundle_set_profile(&subject->bundle, profile);
    if (op_definition_parse(env, &subject->bundle, &subject->def, &subject->broken))
        return OP_OK;
    subject->has_def = true;
    subject->given =
        op_arena_array(&subject->arena, subject->def.param_count + 1, sizeof(char *));
    return OP_OK;
}

enum op_rc op_subject_find(const char *word, const char *profile, struct op_subject *ret,
                           struct op_err *err)
{
    static const char *const lines[] = {".jsonl", ".ndjson", NULL};
    static const char *const data[] = {".csv", ".tsv", ".json", ".db", ".sqlite", NULL};
    int64_t id = 0;
    *ret = (struct op_subject){.word = word};
    op_bundle_init(&ret->bundle);
    if (!word)
        return OP_OK;
    if (op_id_number(word, "job-", &id)) {
        ret->kind = OP_SUBJECT_JOB;
        return OP_OK;
    }
    if (has_suffix(word, lines) && !strchr(word, ' ')) {
        ret->kind = OP_SUBJECT_RAW;
        return is_regular(word) ? OP_OK
                                : op_fail(err, OP_NOTFOUND, "there is no file '%.200s'", word);
    }
    if (has_suffix(word, data) && is_regular(word))
        return op_fail(err, OP_INVAL,
                       "%s is data, not a pipeline; to ask about each of its rows: --input %s "
                       "--prompt 'Classify: {{subject}}' --output answers.csv",
                       word, word);
    return read_pipeline(ret, profile, err);
}

/* Options that only make sense without a pipeline, or only when a job is made. */
static enum op_rc refuse(const struct op_args *args, struct op_err *err)
{
    const struct {
        const char *name;
        bool given, of_job;
    } own[] = {
        {"input", args->input, true},
        {"output", args->output, true},
        {"prompt", args->prompt, true},
        {"system", args->system, true},
        {"schema", args->schema, true},
        {"key", args->key, true},
        {"max-tokens", args->max_tokens > 0, true},
        {"profile", args->profile, false},
        {"model", args->model, false},
        {"provider", args->provider, false},
        {"limit", args->limit > 0, false},
        {"no-cache", args->no_cache, false},
        {"fresh", args->fresh, false},
        {"dry-run", args->dry_run, false},
    };
    bool job = args->subject.kind == OP_SUBJECT_JOB;
    for (size_t i = 0; i < OP_COUNT(own); i++) {
        if (!own[i].given || !(own[i].of_job || job))
            continue;
        if (job)
            return op_fail(err, OP_INVAL, "%s goes on as it was begun: --%s cannot change it",
                           args->subject.word, own[i].name);
        return op_fail(err, OP_INVAL,
                       "--%s is for a run without a pipeline; '%s' says itself what it reads, "
                       "asks and writes",
                       own[i].name, args->subject.def.name);
    }
    return OP_OK;
}

enum op_rc op_subject_complete(struct op_args *args, bool need_output, struct op_err *err)
{
    struct op_subject *subject = &args->subject;
    if (args->profile && subject->kind != OP_SUBJECT_PIPELINE &&
        subject->kind != OP_SUBJECT_JOB)
        return op_fail(
            err, OP_INVAL,
            "--profile chooses among a pipeline's inputs and outputs, and no pipeline "
            "is named");
    switch (subject->kind) {
    case OP_SUBJECT_NONE:
        if (args->input)
            return op_oneline_make(args, need_output, subject, err);
        return op_fail(err, OP_INVAL,
                       "say what to %s: a pipeline (`offpeak %s PIPELINE`), or a file and a "
                       "question (--input FILE --prompt TEXT%s)",
                       args->command->name, args->command->name,
                       need_output ? " --output FILE" : "");
    case OP_SUBJECT_RAW:
        return op_oneline_raw(args, need_output, subject, err);
    case OP_SUBJECT_PIPELINE:
    case OP_SUBJECT_JOB:
        break;
    }
    return refuse(args, err);
}

enum op_rc op_subject_check_params(const struct op_subject *subject, struct op_err *err)
{
    OP_CLEANUP(op_params_release) struct op_params params = {0};
    OP_CLEANUP(op_mem_freep) char *cwd = NULL;
    enum op_rc rc = op_cwd(&cwd, err);
    return rc ? rc : op_params_resolve(&subject->def, subject->given, cwd, &params, err);
}

void op_subject_settle(struct op_subject *subject)
{
    if (subject->kind != OP_SUBJECT_PIPELINE)
        return;
    char path[PATH_MAX];
    if (realpath(subject->bundle.dir, path)) {
        op_mem_free(subject->bundle.dir);
        subject->bundle.dir = op_mem_strdup(path);
    }
}
