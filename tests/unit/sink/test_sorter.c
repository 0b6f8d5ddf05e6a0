/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: pairs sorted by key, stable, in memory and through work files; frames and windows at
 *            the edges; the stored key hash.
 * Oracle:    qsort with the place as second key; hashes computed by a Python script from the definition in
 *            frame.h: they are stored and must never change.
 */
#include "sink/sorter.h"
#include "support.h"

static int compare(const void *pa, const void *pb)
{
    const struct op_pair *a = pa, *b = pb;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return (a->value > b->value) - (a->value < b->value);
}

static uint64_t random_state = 3;
static uint64_t draw(void)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return random_state >> 11 | random_state << 53;
}

static void sorts(void **state)
{
    (void)state;
    static const struct {
        int64_t count;
        uint64_t mask;
    } cases[] = {{0, 1},
                 {1, ~0ULL},
                 {255, 3},
                 {5000, ~0ULL},
                 {OP_SORTER_PAIRS, 0xfff},
                 {OP_SORTER_PAIRS + 1, ~0ULL},
                 {3 * OP_SORTER_PAIRS + 77, 0xffff00000000ULL},
                 {3 * OP_SORTER_PAIRS, 0}};
    char work[128];
    snprintf(work, sizeof(work), "%s/work", test_folder);
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        int64_t live = op_mem_live();
        struct op_sorter s;
        struct op_err err = OP_ERR_INIT;
        struct op_pair *want = op_mem_array((size_t)cases[i].count + 1, sizeof(*want));
        op_sorter_init(&s, &test_env, work, "x");
        for (int64_t k = 0; k < cases[i].count; k++) {
            want[k] = (struct op_pair){draw() & cases[i].mask, (uint64_t)k};
            assert_int_equal(op_sorter_add(&s, want[k].key, want[k].value, &err), OP_OK);
        }
        qsort(want, (size_t)cases[i].count, sizeof(*want), compare);
        assert_int_equal(op_sorter_sort(&s, &err), OP_OK);
        assert_int_equal(s.total, cases[i].count);
        for (int64_t k = 0; k < cases[i].count; k++) {
            struct op_pair got = {0};
            assert_int_equal(op_sorter_get(&s, k, &got, &err), OP_OK);
            if (got.key != want[k].key || got.value != want[k].value)
                fail_msg("case %zu differs at %lld", i, (long long)k);
        }
        for (int64_t k = cases[i].count; k > 0; k -= 1 + cases[i].count / 100) {
            struct op_pair got = {0};
            assert_int_equal(op_sorter_get(&s, k - 1, &got, &err), OP_OK);
            assert_int_equal(got.value, want[k - 1].value);
        }
        op_mem_free(want);
        op_sorter_release(&s);
        assert_int_equal(op_mem_live(), live);
    }
}

static void full_disk(void **state)
{
    (void)state;
    char work[128];
    snprintf(work, sizeof(work), "%s/work", test_folder);
    for (int64_t n = 1;; n++) {
        struct op_sorter s;
        struct op_err err = OP_ERR_INIT;
        enum op_rc rc = OP_OK;
        test_calls = 0;
        test_fail_at = n;
        op_sorter_init(&s, &test_env, work, "x");
        for (uint64_t k = 0; !rc && k < OP_SORTER_PAIRS + 10; k++)
            rc = op_sorter_add(&s, k, k, &err);
        if (!rc)
            rc = op_sorter_sort(&s, &err);
        bool failed = test_calls >= n;
        assert_int_equal(rc != OP_OK, failed);
        test_fail_at = 0;
        op_sorter_release(&s);
        if (!failed) {
            assert_true(n > 4);
            break;
        }
    }
}

static void hashes(void **state)
{
    (void)state;
    const struct {
        struct op_value value;
        uint64_t want;
    } cases[] = {
        {op_value_null(), 0x254153383eadbb01ULL},
        {op_value_int(7), 0xbb7b3922308980d7ULL},
        {op_value_double(7.0), 0xbb7b3922308980d7ULL},
        {op_value_double(0.5), 0x3fb0fb7175cced84ULL},
        {test_text(""), 0xceab5eafbe989ec2ULL},
        {test_text("abcdefgh-ij"), 0x4573cb122c1f8277ULL},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_key key;
        op_key_begin(&key, NULL);
        op_key_add_value(&key, cases[i].value);
        if (key.hash != cases[i].want)
            fail_msg("case %zu: 0x%016llx", i, (unsigned long long)key.hash);
    }
}

/* Windows of every size over one file, read forward, backward and far away. */
static void windows(void **state)
{
    (void)state;
    enum { SIZE = 3000000 };
    char *text = op_mem_alloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        text[i] = (char)draw();
    test_write_file(test_outbox, text, SIZE);
    struct op_window w;
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_window_open(&w, &test_env, "/nonexistent/x", &err), OP_NOTFOUND);
    assert_int_equal(op_window_open(&w, &test_env, test_outbox, &err), OP_OK);
    for (int i = 0; i < 20000; i++) {
        int64_t offset =
            i % 7 ? w.offset + (int64_t)(draw() % 3000) - 500 : (int64_t)(draw() % (SIZE + 10));
        offset = offset < 0 ? 0 : offset;
        size_t want = i % 97 ? draw() % 2000 : draw() % 900000;
        size_t left = offset < SIZE ? (size_t)(SIZE - offset) : 0;
        struct op_str bytes;
        op_window_seek(&w, offset);
        assert_int_equal(op_window_peek(&w, want, &bytes, &err), OP_OK);
        assert_true(bytes.len >= (want < left ? want : left) && bytes.len <= left);
        assert_true(bytes.len == 0 || memcmp(bytes.ptr, text + offset, bytes.len) == 0);
    }
    op_window_release(&w);
    op_mem_free(text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(sorts), TEST(full_disk), TEST(hashes),
                                       TEST(windows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
