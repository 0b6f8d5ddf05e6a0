/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: where a batch holds one model and one endpoint, planning and packing again keep them
 *            apart; raw lines by the model they say; a request of another provider's model and a
 *            line for another endpoint are errors that say so, before anything is bought.
 * Oracle:    the batches that the provider got: model, endpoint, and the answers' own words.
 */
#include "support.h"

#define TWO_KINDS                                                               \
    "  a: {model: fake-1, user: \"{{text}} a\", when: zero}\n"                  \
    "  b: {model: fake-2, user: \"{{text}} b\", when: one}\n"                   \
    "  c: {model: fake-1, endpoint: embed, user: \"{{text}} c\", when: zero}\n" \
    "  d: {model: fake-1, user: \"{{text}} d\", when: zero}\n"

static int count(const struct cloud *c, const char *model, const char *endpoint)
{
    int n = 0;
    for (int i = 0; i < c->batch_count; i++)
        if (!strcmp(c->batches[i].model, model) && !strcmp(c->batches[i].endpoint, endpoint) &&
            c->batches[i].state == CLOUD_ENDED)
            n += c->batches[i].count;
    return n;
}

/* Every request reached the model it was meant for, and no file holds two urls. */
static void check_kinds(struct stage *s)
{
    struct cloud *c = s->cloud;
    assert_int_equal(count(c, "fake-1", "chat"), 8);
    assert_int_equal(count(c, "fake-1", "embed"), 4);
    assert_int_equal(count(c, "fake-2", "chat"), 4);
    for (int i = 0; i < c->file_count; i++) {
        char text[CLOUD_TEXT + 1];
        snprintf(text, sizeof(text), "%.*s", (int)c->files[i].len, c->files[i].text);
        bool chat = strstr(text, "\"url\":\"/chat\"") != NULL;
        bool embed = strstr(text, "\"url\":\"/embed\"") != NULL;
        assert_true(chat != embed);
    }
    assert_int_equal(stage_lines(s, "/b,answer"), 4);
    assert_int_equal(stage_lines(s, "by fake-2"), 4);
    assert_int_equal(stage_lines(s, "/c,answer"), 4);
    stage_audit(s);
}

static void planning_keeps_kinds_apart(void **state)
{
    (void)state;
    struct stage *s = stage_new(12, "please");
    stage_open(s);
    stage_must(s, TWO_KINDS);
    check_kinds(s);
    assert_int_equal(s->cloud->creates, 3);
    stage_free(s);
}

static void packing_again_keeps_them_apart(void **state)
{
    (void)state;
    struct stage *s = stage_new(12, "please");
    /* All three are refused at first, so all requests are packed again at once or one by one. */
    s->cloud->fail_batch = 3;
    snprintf(s->cloud->fail_disp, sizeof(s->cloud->fail_disp), "retry");
    stage_open(s);
    stage_must(s, TWO_KINDS);
    check_kinds(s);
    stage_free(s);
}

/* More kinds than are kept open at once: batches get smaller, nothing else. */
static void many_kinds_take_turns(void **state)
{
    (void)state;
    struct stage *s = stage_new(3, "please");
    OP_CLEANUP(op_buf_release) struct op_buf requests;
    op_buf_init(&requests, 1 << 16);
    for (int i = 0; i < 11; i++)
        op_buf_addf(&requests, "  r%d: {model: fake-%d, user: \"{{text}} %d\"}\n", i, i, i);
    stage_open(s);
    stage_must(s, requests.ptr);
    for (int i = 0; i < 11; i++) {
        char model[16];
        snprintf(model, sizeof(model), "fake-%d", i);
        assert_int_equal(count(s->cloud, model, "chat"), 3);
    }
    struct op_job job = stage_read_job(s);
    assert_int_equal(job.counts.done, 33);
    op_job_release(&job);
    stage_audit(s);
    op_buf_release(&requests);
    stage_free(s);
}

/* --- raw lines -------------------------------------------------------------------------------- */

static enum op_rc run_raw(struct stage *s, const char *lines, const char *more)
{
    stage_write(s, "lines.jsonl", lines);
    OP_CLEANUP(op_mem_freep)
    char *yaml =
        op_mem_printf("pipeline: t\ninputs: {rows: {lines: \"%s/lines.jsonl\"}}\n"
                      "outputs:\n  - {csv: \"%s/out.csv\", key: [id], rows: \"SELECT key"
                      " AS id, text AS answer FROM results\"}\n"
                      "requests:\n  ask: {raw: true, provider: fake%s}\n",
                      s->dir, s->dir, more);
    struct op_bundle bundle;
    op_bundle_init(&bundle);
    op_bundle_put(&bundle, OP_BUNDLE_MAIN, op_str_from(yaml));
    const char *given[1] = {NULL};
    struct op_job_request request = {.bundle = &bundle, .given = given, .cwd = s->dir};
    bool resumed = false;
    enum op_rc rc = op_engine_job(s->engine, &request, &s->job, &resumed, &s->err);
    op_bundle_release(&bundle);
    return rc ? rc : stage_run(s);
}

#define LINE(id, model, n)                                                       \
    "{\"custom_id\":\"" id "\",\"url\":\"/chat\",\"params\":{\"model\":\"" model \
    "\",\"user\":\"ask " n " raw\"}}\n"

static void raw_lines_go_by_their_models(void **state)
{
    (void)state;
    struct stage *s = stage_new(0, "");
    stage_open(s);
    enum op_rc rc = run_raw(
        s, LINE("x", "fake-1", "0") LINE("y", "fake-2", "1") LINE("z", "fake-1", "2"), "");
    if (rc)
        fail_msg("%s", s->err.msg);
    assert_int_equal(s->cloud->creates, 2);
    assert_int_equal(count(s->cloud, "fake-1", "chat"), 2);
    assert_int_equal(count(s->cloud, "fake-2", "chat"), 1);
    assert_int_equal(stage_lines(s, "x,answer 0 by fake-1"), 1);
    assert_int_equal(stage_lines(s, "y,answer 1 by fake-2"), 1);
    stage_audit(s);
    stage_free(s);
}

static void raw_lines_are_packed_again_by_their_models(void **state)
{
    (void)state;
    struct stage *s = stage_new(0, "");
    s->cloud->fail_batch = 2;
    snprintf(s->cloud->fail_disp, sizeof(s->cloud->fail_disp), "retry");
    stage_open(s);
    assert_int_equal(
        run_raw(s, LINE("x", "fake-1", "0") LINE("y", "fake-2", "1") LINE("z", "fake-1", "2"),
                ""),
        OP_OK);
    assert_int_equal(count(s->cloud, "fake-1", "chat"), 2);
    assert_int_equal(count(s->cloud, "fake-2", "chat"), 1);
    stage_audit(s);
    stage_free(s);
}

static void raw_mistakes_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *lines, *more, *word;
    } rows[] = {
        {LINE("x", "fake-1", "0") LINE("y", "other-7", "1"), "", "one of other's"},
        {LINE("x", "fake-1", "0"), ", endpoint: embed", "'chat'"},
        {"{\"custom_id\":\"x\",\"params\":{\"user\":\"ask 1\"}}\n", "", "names no model"},
        {LINE("x", "fake-1", "0"), ", endpoint: chatt", "no endpoint 'chatt'; there are: chat"},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct stage *s = stage_new(0, "");
        stage_open(s);
        enum op_rc rc = run_raw(s, rows[i].lines, rows[i].more);
        if (rc != OP_INVAL || !strstr(s->err.msg, rows[i].word))
            fail_msg("row %zu: %d: '%s' has no '%s'", i, rc, s->err.msg, rows[i].word);
        assert_int_equal(s->cloud->uploads, 0);
        stage_free(s);
    }
}

static void a_model_of_another_provider_is_refused(void **state)
{
    (void)state;
    struct stage *s = stage_new(1, "please");
    stage_open(s);
    assert_int_equal(
        stage_job(s, "  a: {provider: fake, model: other-1, user: \"{{text}}\"}\n"), OP_INVAL);
    assert_non_null(strstr(s->err.msg, "the model 'other-1' is one of other's"));
    stage_close(s);
    /* A server of somebody else's may carry any model. */
    setenv("FAKE_BASE_URL", "https://fake.test/", 1);
    op_err_clear(&s->err);
    stage_open(s);
    setenv("FAKE_BASE_URL", "https://elsewhere.test", 1);
    assert_int_equal(
        stage_job(s, "  a: {provider: fake, model: other-1, user: \"{{text}}\"}\n"), OP_OK);
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planning_keeps_kinds_apart),
        cmocka_unit_test(packing_again_keeps_them_apart),
        cmocka_unit_test(many_kinds_take_turns),
        cmocka_unit_test(raw_lines_go_by_their_models),
        cmocka_unit_test(raw_lines_are_packed_again_by_their_models),
        cmocka_unit_test(raw_mistakes_are_named),
        cmocka_unit_test(a_model_of_another_provider_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
