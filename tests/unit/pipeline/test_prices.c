/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the price list: reading prices.yaml, and what is wrong with a bad one.
 * Oracle:    the published prices, written here a second time as whole micro-dollars; batch prices
 *            must be half of the ordinary ones; every error names file and line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "pipeline/prices.h"

static char file[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(file, sizeof(file), "/tmp/offpeak-prices-XXXXXX");
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    unsetenv(OP_PRICES_ENV);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(file);
    assert_int_equal(op_mem_live(), 0);
    return 0;
}

static void write_file(const char *text)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static enum op_rc load(const char *text, struct op_prices **ret, struct op_err *err)
{
    write_file(text);
    return op_prices_load(op_env_default(), file, ret, err);
}

static struct op_prices *load_shipped(void)
{
    struct op_err err = OP_ERR_INIT;
    struct op_prices *prices = NULL;
    if (op_prices_load(op_env_default(), OP_SOURCE_DIR "/prices.yaml", &prices, &err))
        fail_msg("%s", err.msg);
    return prices;
}

/* Thousandths of a dollar per million tokens: input, 5m write, 1h write, read, output; ordinary. */
static void test_shipped(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        int64_t prompt, want[OP_TOKEN_KIND_COUNT];
    } cases[] = {
        {"claude-fable-5-1", 1, {10000, 12500, 20000, 250, 50000}},
        {"claude-mythos-5-1-20261001", 1, {10000, 12500, 20000, 250, 50000}},
        {"claude-fable-5", 1, {10000, 12500, 20000, 1000, 50000}},
        {"claude-mythos-5-20260101", 1, {10000, 12500, 20000, 1000, 50000}},
        {"claude-opus-5-5", 1, {4000, 5000, 8000, 200, 20000}},
        {"claude-opus-5", 1, {5000, 6250, 10000, 500, 25000}},
        {"claude-opus-5-20260601", 1, {5000, 6250, 10000, 500, 25000}},
        {"claude-opus-4-8", 1, {5000, 6250, 10000, 500, 25000}},
        {"claude-opus-4-7", 1, {5000, 6250, 10000, 500, 25000}},
        {"claude-opus-4-6", 1, {5000, 6250, 10000, 500, 25000}},
        {"claude-opus-4-5-20251101", 1, {5000, 6250, 10000, 500, 25000}},
        {"claude-opus-4-1-20250805", 1, {15000, 18750, 30000, 1500, 75000}},
        {"claude-opus-4-20250514", 1, {15000, 18750, 30000, 1500, 75000}},
        {"claude-sonnet-5-5", 1, {2000, 2500, 4000, 100, 10000}},
        {"claude-sonnet-5", 1, {2000, 2500, 4000, 200, 10000}},
        {"claude-sonnet-4-6", 1, {3000, 3750, 6000, 300, 15000}},
        {"claude-sonnet-4-5-20250929", 1, {3000, 3750, 6000, 300, 15000}},
        {"claude-haiku-5-5", 100000, {100, 125, 200, 10, 500}},
        {"claude-haiku-5-5", 100001, {500, 625, 1000, 50, 2500}},
        {"claude-haiku-5-5-20261015", 5, {100, 125, 200, 10, 500}},
        {"claude-haiku-4-5", 1, {1000, 1250, 2000, 100, 5000}},
        {"claude-3-5-haiku-20241022", 1, {800, 1000, 1600, 80, 4000}},
    };
    struct op_prices *prices = load_shipped();
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        const struct op_price *p =
            op_price_find(&prices->list, "anthropic", cases[i].model, cases[i].prompt);
        if (!p)
            fail_msg("no price for %s", cases[i].model);
        for (int kind = 0; kind < OP_TOKEN_KIND_COUNT; kind++)
            assert_int_equal(p->realtime[kind], cases[i].want[kind] * 1000);
    }
    static const char *const unknown[] = {"claude-fable-5-2", "claude-mythos-5-2",
                                          "claude-opus-5-9", "claude-haiku-5", "gpt-5"};
    for (size_t i = 0; i < OP_COUNT(unknown); i++)
        assert_null(op_price_find(&prices->list, "anthropic", unknown[i], 1));
    op_prices_free(prices);
}

static void test_shipped_batch(void **state)
{
    (void)state;
    struct op_prices *prices = load_shipped();
    for (size_t i = 0; i < prices->list.count; i++) {
        const struct op_price *p = &prices->list.rows[i];
        if (strcmp(p->provider, "anthropic") != 0)
            continue;
        for (int kind = 0; kind < OP_TOKEN_KIND_COUNT; kind++)
            assert_int_equal(2 * p->batch[kind], p->realtime[kind]);
        assert_true(p->realtime[OP_TOKEN_READ] < p->realtime[OP_TOKEN_INPUT]);
        assert_int_equal(strlen(p->as_of), 10);
    }
    op_prices_free(prices);
}

/* Thousandths of a dollar per million tokens: input, read, output; ordinary, then in a batch. What is
 * read from a cache costs the same in a batch, and as much as input where no source tells it. */
static void test_shipped_others(void **state)
{
    (void)state;
    static const struct {
        const char *provider, *model;
        int64_t prompt, want[6];
    } cases[] = {
        {"gemini", "gemini-3.8-flash", 1, {750, 750, 3750, 375, 375, 1875}},
        {"gemini", "gemini-3.6-flash", 1, {750, 75, 3750, 375, 75, 1875}},
        {"gemini", "gemini-3.5-flash", 1, {1500, 150, 9000, 750, 150, 4500}},
        {"gemini", "gemini-3.5-flash-lite", 1, {300, 300, 2500, 150, 150, 1250}},
        {"gemini", "gemini-3.1-pro-preview", 200000, {2000, 200, 12000, 1000, 200, 6000}},
        {"gemini", "gemini-3.1-pro-preview", 200001, {4000, 400, 18000, 2000, 400, 9000}},
        {"gemini", "gemini-3.1-flash-lite", 1, {250, 25, 1500, 125, 25, 750}},
        {"gemini", "gemini-3-flash-preview", 1, {500, 50, 3000, 250, 50, 1500}},
        {"gemini", "gemini-2.5-pro", 200000, {1250, 125, 10000, 625, 125, 5000}},
        {"gemini", "gemini-2.5-pro", 200001, {2500, 250, 15000, 1250, 250, 7500}},
        {"gemini", "gemini-2.5-flash", 1, {300, 30, 2500, 150, 30, 1250}},
        {"gemini", "gemini-2.5-flash-lite", 1, {100, 10, 400, 50, 10, 200}},
        {"gemini", "gemini-embedding-001", 1, {150, 150, 0, 75, 75, 0}},
        {"mistral", "mistral-large-2512", 1, {500, 500, 1500, 250, 250, 750}},
        {"mistral", "mistral-medium-3-5", 1, {1500, 1500, 7500, 750, 750, 3750}},
        {"mistral", "mistral-medium-latest", 1, {1500, 1500, 7500, 750, 750, 3750}},
        {"mistral", "mistral-small-latest", 1, {150, 15, 600, 75, 75, 300}},
        {"mistral", "mistral-small-2603", 1, {150, 15, 600, 75, 75, 300}},
        {"mistral", "codestral-latest", 1, {300, 300, 900, 150, 150, 450}},
        {"mistral", "magistral-medium-latest", 1, {2000, 2000, 5000, 1000, 1000, 2500}},
        {"mistral", "mistral-embed", 1, {100, 100, 0, 50, 50, 0}},
    };
    static const enum op_token_kind kinds[] = {OP_TOKEN_INPUT, OP_TOKEN_READ, OP_TOKEN_OUTPUT};
    struct op_prices *prices = load_shipped();
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        const struct op_price *p =
            op_price_find(&prices->list, cases[i].provider, cases[i].model, cases[i].prompt);
        if (!p)
            fail_msg("no price for %s", cases[i].model);
        for (size_t k = 0; k < OP_COUNT(kinds); k++) {
            assert_int_equal(p->realtime[kinds[k]], cases[i].want[k] * 1000);
            assert_int_equal(p->batch[kinds[k]], cases[i].want[k + 3] * 1000);
        }
    }
    assert_null(op_price_find(&prices->list, "gemini", "gemini-9-flash", 1));
    assert_null(op_price_find(&prices->list, "mistral", "mistral-small-2506", 1));
    op_prices_free(prices);
}

#define PRICE "realtime: {input: 1, output: 2}, batch: {input: 0.5, output: 1}"

static void test_rows(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_prices *prices = NULL;
    enum op_rc rc =
        load("- {model: [a, b-*], provider: p, as_of: 2026-01-02, max_prompt: 10, "
             "realtime: {input: \"1.000001\", write_5m: 3, read: 0, output: 0.0625}, "
             "batch: {input: 9223372036854, output: 1}}\n",
             &prices, &err);
    if (rc)
        fail_msg("%s", err.msg);
    assert_int_equal(prices->list.count, 2);
    const struct op_price *p = &prices->list.rows[1];
    assert_string_equal(p->model, "b-*");
    assert_string_equal(p->provider, "p");
    assert_string_equal(p->as_of, "2026-01-02");
    assert_int_equal(p->max_prompt, 10);
    assert_int_equal(p->realtime[OP_TOKEN_INPUT], 1000001);
    assert_int_equal(p->realtime[OP_TOKEN_WRITE_5M], 3000000);
    assert_int_equal(p->realtime[OP_TOKEN_WRITE_1H], 1000001);
    assert_int_equal(p->realtime[OP_TOKEN_READ], 0);
    assert_int_equal(p->realtime[OP_TOKEN_OUTPUT], 62500);
    assert_int_equal(p->batch[OP_TOKEN_INPUT], 9223372036854000000);
    assert_string_equal(prices->file, file);
    op_prices_freep(&prices);
    assert_null(prices);
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line;
        const char *mention;
    } cases[] = {
        {"", 1, "empty"},
        {"[]\n", 1, "list of prices"},
        {"model: x\n", 1, "list of prices"},
        {"- x\n", 1, "a price must be a map"},
        {"# c\n- {provider: p, as_of: 2026-01-02, " PRICE "}\n", 2, "no 'model'"},
        {"- {model: m, as_of: 2026-01-02, " PRICE "}\n", 1, "no 'provider'"},
        {"- {model: m, provider: p, " PRICE "}\n", 1, "no 'as_of'"},
        {"- {model: m, provider: p, as_of: today, " PRICE "}\n", 1, "'as_of' must be a day"},
        {"- {model: m, provider: p, as_of: 2026-02-30, " PRICE "}\n", 1,
         "'as_of' must be a day"},
        {"- {model: m, provider: p, as_of: 2026-01-02, realtime: {input: 1, output: 1}}\n", 1,
         "no 'batch'"},
        {"- {model: m, provider: p, as_of: 2026-01-02, batch: {input: 1, output: 1}}\n", 1,
         "no 'realtime'"},
        {"- model: m\n  provider: p\n  as_of: 2026-01-02\n  realtime: {input: 1}\n", 4,
         "'realtime' has no 'output'"},
        {"- model: m\n  provider: p\n  as_of: 2026-01-02\n  realtime: 7\n", 4, "must be a map"},
        {"- model: m\n  provider: p\n  as_of: 2026-01-02\n  realtime:\n    input: 1\n"
         "    output: 0.0000001\n",
         6, "'output' must be US dollars"},
        {"- model: m\n  provider: p\n  as_of: 2026-01-02\n  realtime:\n    input: -1\n", 5,
         "'input' must be US dollars"},
        {"- model: m\n  provider: p\n  as_of: 2026-01-02\n  realtime:\n    input: 1e3\n", 5,
         "not '1e3'"},
        {"- model: m\n  provider: p\n  as_of: 2026-01-02\n  realtime:\n    input: []\n", 5,
         "'input' must be US dollars"},
        {"- model: m\n  provider: p\n  as_of: 2026-01-02\n  realtime: {input: 1, "
         "output: 99999999999999999999}\n",
         4, "'output' must be US dollars"},
        {"- model: m\n  provider: p\n  as_of: 2026-01-02\n  realtime: {in: 1}\n", 4,
         "unknown key 'in'"},
        {"- {modle: m}\n", 1, "did you mean 'model'"},
        {"- {model: [], provider: p, as_of: 2026-01-02, " PRICE "}\n", 1, "empty list"},
        {"- {model: '*', provider: p, as_of: 2026-01-02, " PRICE "}\n", 1, "'*' is no model"},
        {"- {model: 'a*b', provider: p, as_of: 2026-01-02, " PRICE "}\n", 1, "no model"},
        {"- {model: [a, [b]], provider: p, as_of: 2026-01-02, " PRICE "}\n", 1, ""},
        {"- {model: m, provider: p, as_of: 2026-01-02, max_prompt: 0, " PRICE "}\n", 1,
         "at least 1"},
        {"- {model: m, provider: p, as_of: 2026-01-02, max_prompt: many, " PRICE "}\n", 1,
         "max_prompt"},
        {"- {model: m, provider: p, as_of: 2026-01-02, " PRICE "}\n"
         "- {model: [n, m], provider: p, as_of: 2026-01-02, " PRICE "}\n",
         2, "m has a price for prompts of this length already, in line 1"},
        {"- {model: m, model: m}\n", 1, "model"},
        {"- {model: m\n", 2, ""},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_prices *prices = NULL;
        if (load(cases[i].text, &prices, &err) != OP_INVAL)
            fail_msg("accepted: %s", cases[i].text);
        assert_null(prices);
        OP_CLEANUP(op_mem_freep) char *place = op_mem_printf("%s:%d: ", file, cases[i].line);
        if (!strstr(err.msg, place) || !strstr(err.msg, cases[i].mention))
            fail_msg("%s\nsaid: %s", cases[i].text, err.msg);
    }
}

static void test_places(void **state)
{
    (void)state;
    struct op_prices *prices = NULL;
    struct op_err err = OP_ERR_INIT;
    write_file("- {model: m, provider: p, as_of: 2026-01-02, " PRICE "}\n");
    setenv(OP_PRICES_ENV, file, 1);
    assert_int_equal(op_prices_load(op_env_default(), NULL, &prices, &err), OP_OK);
    assert_string_equal(prices->file, file);
    op_prices_freep(&prices);

    /* A path goes before the variable, and a file that was named must be there. */
    assert_int_equal(op_prices_load(op_env_default(), "/nonexistent/p.yaml", &prices, &err),
                     OP_NOTFOUND);
    assert_non_null(strstr(err.msg, "/nonexistent/p.yaml"));
    err = OP_ERR_INIT;
    setenv(OP_PRICES_ENV, "/nonexistent/q.yaml", 1);
    assert_int_equal(op_prices_load(op_env_default(), NULL, &prices, &err), OP_NOTFOUND);
    assert_non_null(strstr(err.msg, "/nonexistent/q.yaml"));
    assert_null(prices);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shipped_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shipped_batch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_places, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
