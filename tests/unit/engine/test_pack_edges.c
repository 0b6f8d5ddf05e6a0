/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: a batch takes the request that fills it to the last byte and the last line of what the
 *            provider allows, and not one more: every byte of the frame counts.
 * Oracle:    the limits as the providers' documents say them (reference/openai.md 1.3 and 3,
 *            anthropic.md 4.1, gemini.md 5), and the frame of each file as their documents show it,
 *            both written out here. That a file is as long as the packer thinks, and that the
 *            providers' side takes it, is shown with real files in tests/scenario/test_edges.py.
 */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "../folder.h"
#include "base/mem.h"
#include "core/custom_id.h"
#include "engine/engine.h"
#include "engine/pack.h"

extern const struct op_provider_ops op_provider_openai, op_provider_anthropic,
    op_provider_gemini, op_provider_mistral;

static const struct edge {
    const struct op_provider_ops *provider;
    const char *endpoint;
    int64_t requests, bytes;
    const char *separator, *line, *tail; /* line: with ID and PARAMS in it */
} edges[] = {
    /* 50,000 requests, 200 MiB: the figure of a live refusal. */
    {&op_provider_openai, "responses", 50000, 209715200, "\n",
     "{\"custom_id\":\"ID\",\"method\":\"POST\",\"url\":\"/v1/responses\",\"body\":PARAMS}",
     "\n"},
    {&op_provider_openai, "embeddings", 50000, 209715200, "\n",
     "{\"custom_id\":\"ID\",\"method\":\"POST\",\"url\":\"/v1/embeddings\",\"body\":PARAMS}",
     "\n"},
    /* 100,000 requests, 256 MB, not said which kind: decimal, the smaller. */
    {&op_provider_anthropic, "messages", 100000, 256000000, ",\n",
     "{\"custom_id\":\"ID\",\"params\":PARAMS}", "]}"},
    /* 2 GB, not said which kind, nor whether that much still goes: one byte below the smaller. */
    {&op_provider_gemini, "generate", 200000, 1999999999, "\n",
     "{\"key\":\"ID\",\"request\":PARAMS}", "\n"},
    {&op_provider_mistral, "chat", 100000, 512000000, "\n",
     "{\"custom_id\":\"ID\",\"body\":PARAMS}", "\n"},
};

#define REQUEST 4711 /* ids of one length */
#define PARAMS  1000

struct stage {
    char dir[64];
    struct op_engine *engine;
    struct op_lane lane;
    struct op_plan plan;
    struct op_plan_request request;
    struct op_work work;
    struct op_packer packer;
};

static void stage_open(struct stage *s, const struct edge *edge)
{
    struct op_err err = OP_ERR_INIT;
    *s = (struct stage){.lane = {.provider = edge->provider}};
    assert_true(test_folder_make(s->dir, sizeof(s->dir), "edges"));
    struct op_engine_options options = {.state_dir = s->dir,
                                        .prices_file = OP_SOURCE_DIR "/prices.yaml"};
    if (op_engine_open(&options, &s->engine, &err))
        fail_msg("%s", err.msg);
    s->request = (struct op_plan_request){.lane = &s->lane, .endpoint = edge->endpoint};
    s->plan.requests = &s->request;
    s->work = (struct op_work){.engine = s->engine, .plan = &s->plan};
    op_packer_init(&s->packer, &s->work, 0, "m");
    s->packer.max_requests = edge->provider->limits.max_requests;
    s->packer.max_bytes = edge->provider->limits.max_bytes;
    s->packer.open = true; /* without a file: nothing is written */
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void stage_close(struct stage *s)
{
    s->packer.open = false;
    op_packer_release(&s->packer);
    op_engine_closep(&s->engine);
    (void)nftw(s->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* What one more request needs: separator, line and tail. */
static int64_t needs(const struct stage *s, const struct edge *edge)
{
    char id[OP_CUSTOM_ID_MAX + 1];
    size_t id_len = op_custom_id_format(op_ledger_tag(op_engine_ledger(s->engine)), "aaaaaaaa",
                                        REQUEST, id);
    size_t line = strlen(edge->line) - strlen("ID") - strlen("PARAMS") + id_len + PARAMS;
    return (int64_t)(strlen(edge->separator) + line + strlen(edge->tail));
}

static void bytes_to_the_last(void **state)
{
    (void)state;
    for (size_t i = 0; i < OP_COUNT(edges); i++) {
        const struct edge *edge = &edges[i];
        struct stage s;
        stage_open(&s, edge);
        int64_t more = needs(&s, edge);
        s.packer.batch.count = 1;
        s.packer.offset = edge->bytes - more - 1;
        assert_false(op_packer_is_full(&s.packer, REQUEST, PARAMS, 0)); /* one byte is left */
        s.packer.offset++;
        assert_false(op_packer_is_full(&s.packer, REQUEST, PARAMS, 0)); /* filled exactly */
        s.packer.offset++;
        assert_true(op_packer_is_full(&s.packer, REQUEST, PARAMS, 0)); /* one byte over */
        stage_close(&s);
    }
}

static void lines_to_the_last(void **state)
{
    (void)state;
    for (size_t i = 0; i < OP_COUNT(edges); i++) {
        const struct edge *edge = &edges[i];
        struct stage s;
        stage_open(&s, edge);
        s.packer.offset = 1000;
        s.packer.batch.count = edge->requests - 1;
        assert_false(op_packer_is_full(&s.packer, REQUEST, PARAMS, 0));
        s.packer.batch.count++;
        assert_true(op_packer_is_full(&s.packer, REQUEST, PARAMS, 0));
        stage_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_to_the_last),
        cmocka_unit_test(lines_to_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
