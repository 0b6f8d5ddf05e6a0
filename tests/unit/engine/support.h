/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_ENGINE_SUPPORT_H
#define OP_TESTS_ENGINE_SUPPORT_H

/*
 * What the engine's tests share: a folder with questions, a pipeline and a price list, the real engine
 * over the real ledger and spool, and below it the provider of cloud.h and a clock that both read.
 * Sleeping moves the clock on. A run in a child process can be ended at a fault point.
 */

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "../folder.h"
#include "base/io.h"
#include "base/log.h"
#include "cloud.h"
#include "engine/engine.h"
#include "engine/work.h"
#include "fake.h"
#include "pipeline/bundle.h"

#define STAGE_DIED 77 /* exit code of a child that met its fault point */

struct stage {
    char dir[64];
    struct cloud *cloud;
    struct cloud_http http;
    struct op_env env;
    struct op_engine *engine;
    int64_t job;
    struct op_err err;
    volatile sig_atomic_t stop;
    const char *fault; /* NULL: none */
    int fault_at;
};

static struct stage *stage_now; /* the env's functions have no argument of ours */
static struct op_env_ops stage_ops;
static int64_t stage_live; /* blocks in use before a test */

static int64_t stage_clock(struct op_env *env)
{
    (void)env;
    return stage_now->cloud->now_ms;
}

/* The engine naps for a second at most, also when it waits for an hour: such a nap takes longer
 * here, since in each of them every step looks whether it is due. */
static void stage_sleep(struct op_env *env, int64_t ms)
{
    (void)env;
    stage_now->cloud->now_ms += ms < OP_SECOND_MS ? ms : 15 * OP_SECOND_MS;
}

static void stage_fault(struct op_env *env, const char *point)
{
    op_env_default()->ops->fault(env, point); /* checks the name */
    struct stage *s = stage_now;
    if (s->fault && strcmp(s->fault, point) == 0 && --s->fault_at == 0)
        _exit(STAGE_DIED);
}

static inline void stage_write(struct stage *s, const char *name, const char *text)
{
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/%s", s->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* What a person would see, when a test is looked into: OFFPEAK_TEST_LOG=1. */
static void stage_say(void *arg, enum op_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    if (getenv("OFFPEAK_TEST_LOG"))
        fprintf(stderr, "%lld %s\n", (long long)(stage_now->cloud->now_ms - CLOUD_EPOCH), line);
}

static inline void stage_open(struct stage *s)
{
    OP_CLEANUP(op_mem_freep) char *state = op_mem_printf("%s/state", s->dir);
    OP_CLEANUP(op_mem_freep) char *prices = op_mem_printf("%s/prices.yaml", s->dir);
    struct op_engine_options options = {.env = &s->env,
                                        .state_dir = state,
                                        .prices_file = prices,
                                        .http = &s->http.base,
                                        .stop = &s->stop,
                                        .poll_ms = 5 * OP_SECOND_MS};
    if (op_engine_open(&options, &s->engine, &s->err))
        fail_msg("open: %s", s->err.msg);
}

static inline void stage_close(struct stage *s)
{
    op_engine_closep(&s->engine);
}

/* questions: so many rows "ask N FILLER"; models as the pipeline text says. */
static inline struct stage *stage_new(int questions, const char *filler)
{
    op_log_secret(OP_STR("kkkkkkkk")); /* kept for ever: it must not look like a leak */
    stage_live = op_mem_live();
    struct stage *s = op_mem_alloc(sizeof(*s));
    /* A ledger syncs at every step; on a disk that is all these tests would do. */
    if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    assert_true(test_folder_make(s->dir, sizeof(s->dir), "engine"));
    s->cloud = cloud_new();
    s->http = (struct cloud_http){.base = {&cloud_http_ops}, .cloud = s->cloud};
    stage_ops = *op_env_default()->ops;
    stage_ops.now_ms = stage_clock;
    stage_ops.mono_ms = stage_clock;
    stage_ops.sleep_ms = stage_sleep;
    stage_ops.fault = stage_fault;
    s->env.ops = &stage_ops;
    stage_now = s;
    op_log_setup(OP_LOG_DEBUG, OP_LOG_TEXT, stage_say, NULL);
    fake_cloud = s->cloud;
    other_ops = fake_ops;
    other_ops.name = "other";
    other_ops.model_prefixes = other_prefixes;
    setenv("FAKE_API_KEY", "kkkkkkkk", 1);
    unsetenv("FAKE_BASE_URL");
    OP_CLEANUP(op_buf_release) struct op_buf rows;
    op_buf_init(&rows, 1 << 20);
    op_buf_addz(&rows, "id,text,kind\n");
    for (int i = 0; i < questions; i++)
        op_buf_addf(&rows, "k%03d,ask %d %s,%d\n", i, i, filler, i % 3);
    stage_write(s, "rows.csv", rows.ptr);
    stage_write(s, "prices.yaml",
                "- {model: \"fake-*\", provider: fake, as_of: 2026-11-01,"
                " realtime: {input: 2, write_5m: 2, write_1h: 2, read: 2, output: 10},"
                " batch: {input: 1, write_5m: 1, write_1h: 1, read: 1, output: 5}}\n");
    return s;
}

static int stage_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void stage_free(struct stage *s)
{
    stage_close(s);
    nftw(s->dir, stage_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    cloud_free(s->cloud);
    op_mem_free(s);
    assert_int_equal(op_mem_live(), stage_live);
}

/* A pipeline over rows.csv into out.csv; requests and what follows as YAML. */
static inline enum op_rc stage_job(struct stage *s, const char *requests)
{
    struct op_bundle bundle;
    op_bundle_init(&bundle);
    OP_CLEANUP(op_mem_freep)
    char *yaml =
        op_mem_printf("pipeline: t\n"
                      "inputs: {rows: {csv: \"%s/rows.csv\"}}\n"
                      "records: SELECT id AS key, text, kind, kind = '0' AS zero,"
                      " kind = '1' AS one FROM rows\n"
                      "outputs:\n"
                      "  - {csv: \"%s/out.csv\", key: [id], rows: \"SELECT key || '/' ||"
                      " request AS id, coalesce(text, problem) AS answer FROM"
                      " results\"}\n"
                      "requests:\n%s",
                      s->dir, s->dir, requests);
    op_bundle_put(&bundle, OP_BUNDLE_MAIN, op_str_from(yaml));
    const char *given[1] = {NULL};
    struct op_job_request request = {.bundle = &bundle, .given = given, .cwd = s->dir};
    bool resumed = false;
    enum op_rc rc = op_engine_job(s->engine, &request, &s->job, &resumed, &s->err);
    op_bundle_release(&bundle);
    return rc;
}

static inline enum op_rc stage_run(struct stage *s)
{
    return op_engine_run(s->engine, s->job, OP_UNTIL_DONE, s->cloud->now_ms + 20 * OP_DAY_MS,
                         &s->err);
}

static inline void stage_must(struct stage *s, const char *requests)
{
    if (stage_job(s, requests) || stage_run(s))
        fail_msg("%s", s->err.msg);
}

/* The whole of it in a process of its own; its exit code. */
static inline int stage_child(struct stage *s, const char *requests, const char *fault, int at)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        s->fault = fault;
        s->fault_at = at;
        stage_open(s);
        if (stage_job(s, requests) || stage_run(s)) {
            fprintf(stderr, "child: %s\n", s->err.msg);
            _exit(1);
        }
        stage_close(s);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static inline struct op_job stage_read_job(struct stage *s)
{
    struct op_job job = {0};
    if (op_ledger_job_get(op_engine_ledger(s->engine), s->job, &job, &s->err))
        fail_msg("%s", s->err.msg);
    return job;
}

static inline void stage_audit(struct stage *s)
{
    OP_CLEANUP(op_buf_release) struct op_buf report;
    op_buf_init(&report, 1 << 20);
    int64_t problems = 0;
    if (op_ledger_audit(op_engine_ledger(s->engine), &report, &problems, &s->err))
        fail_msg("audit: %s", s->err.msg);
    if (problems)
        fail_msg("audit: %s", report.ptr);
}

/* How many lines of out.csv hold the word. */
static inline int stage_lines(struct stage *s, const char *word)
{
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/out.csv", s->dir);
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, 1 << 20);
    struct op_err err = OP_ERR_INIT;
    if (op_io_read_file(op_env_default(), path, &text, &err))
        return 0;
    int count = 0;
    struct op_str rest = op_buf_str(&text);
    while (rest.len) {
        struct op_str line = op_str_cut(&rest, '\n');
        count += line.len && memmem(line.ptr, line.len, word, strlen(word)) != NULL;
    }
    return count;
}

static enum op_rc stage_count(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)batch;
    (void)err;
    (*(int *)arg)++;
    return OP_OK;
}

static inline int stage_batches(struct stage *s, uint32_t states)
{
    struct op_batch_filter filter = {.job_id = s->job, .states = states};
    int count = 0;
    if (op_ledger_batches(op_engine_ledger(s->engine), &filter, stage_count, &count, &s->err))
        fail_msg("%s", s->err.msg);
    return count;
}

/* Everything was asked once, answered once, and the ledger agrees. */
static inline void stage_all_bought_once(struct stage *s, int questions)
{
    struct op_job job = stage_read_job(s);
    if (job.state != OP_JOB_DONE)
        fail_msg("the job is %s: %s", op_job_state_name(job.state), job.reason);
    assert_int_equal(job.counts.done, questions);
    assert_int_equal(job.counts.failed, 0);
    assert_true(job.counts.reserved_microusd == 0);
    for (int i = 0; i < questions; i++)
        if (s->cloud->answers[i] != 1)
            fail_msg("question %d was answered %d times", i, s->cloud->answers[i]);
    assert_int_equal(stage_lines(s, "answer"), questions + 1); /* and the header */
    op_job_release(&job);
    stage_audit(s);
}

#define ONE_REQUEST "  ask: {model: fake-1, user: \"{{text}}\", max_tokens: 50}\n"

#endif
