/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the index of hashes asked answers like a plain table at every moment: held puts are
 *            seen at once, a rollback forgets those of its transaction and no others, a commit and a
 *            reopening keep them, the filter never hides a hash that was put.
 * Oracle:    a naive array of (committed, present) values per hash.
 */
#include "base/hash.h"
#include "ledger/sqlite/asked.h"
#include "support.h"

static void hash_of(int64_t n, uint8_t ret[OP_HASH_LEN])
{
    uint8_t digest[OP_SHA256_LEN];
    op_sha256(&n, sizeof(n), digest);
    memcpy(ret, digest, OP_HASH_LEN);
}

static int64_t find(struct world *w, int64_t n)
{
    uint8_t hash[OP_HASH_LEN];
    int64_t id = -1;
    hash_of(n, hash);
    enum op_rc rc = op_ledger_asked_find(w->ledger, hash, &id, &w->err);
    assert_int_equal(w->err.rc, OP_OK);
    assert_true(rc == OP_OK || rc == OP_NOTFOUND);
    return rc ? 0 : id;
}

static void put(struct world *w, int64_t n, int64_t id)
{
    uint8_t hash[OP_HASH_LEN];
    hash_of(n, hash);
    assert_ok(w, op_ledger_asked_put(w->ledger, hash, id, &w->err));
}

static void like_a_naive_model(void **state)
{
    struct world *w = *state;
    enum { KEYS = 3000, STEPS = 12000 };
    static int64_t committed[KEYS], present[KEYS];
    uint64_t seed = 42;
    bool open = false;
    for (int step = 0; step < STEPS; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned what = (unsigned)(seed >> 60), key = (unsigned)(seed >> 20) % KEYS;
        if (what < 7) {
            assert_true(find(w, key) == present[key]);
        } else if (what < 14) {
            present[key] = step + 1;
            put(w, key, step + 1);
            if (!open)
                committed[key] = step + 1;
        } else if (seed >> 40 & 3) {
            continue;
        } else if (!open) {
            assert_ok(w, op_ledger_begin(w->ledger, &w->err));
            open = true;
        } else if (what == 14) {
            assert_ok(w, op_ledger_commit(w->ledger, &w->err));
            memcpy(committed, present, sizeof(present));
            open = false;
        } else {
            op_ledger_rollback(w->ledger);
            memcpy(present, committed, sizeof(present));
            open = false;
        }
        if (step % 3000 == 2999) {
            reopen(w); /* an open transaction ends with the process */
            memcpy(present, committed, sizeof(present));
            open = false;
        }
    }
}

/* More than is held back, and more than the small filter takes; then a rollback of all of it. */
static void many_puts_in_one_transaction(void **state)
{
    struct world *w = *state;
    enum { MANY = 3 * OP_ASKED_HELD_MAX + 17 };
    put(w, -1, 7);
    for (int round = 0; round < 2; round++) {
        assert_ok(w, op_ledger_begin(w->ledger, &w->err));
        for (int64_t i = 0; i < MANY; i++) {
            if (i % 1000 == 0)
                assert_true(find(w, i) == 0);
            put(w, i, i + 1);
        }
        for (int64_t i = 0; i < MANY; i += 97)
            assert_true(find(w, i) == i + 1);
        assert_true(find(w, MANY) == 0 && find(w, -1) == 7);
        if (round == 0)
            op_ledger_rollback(w->ledger);
        else
            assert_ok(w, op_ledger_commit(w->ledger, &w->err));
        assert_true(find(w, 5) == (round ? 6 : 0) && find(w, -1) == 7);
    }
    for (int64_t i = 0; i < MANY; i++)
        assert_true(find(w, i) == i + 1);
    reopen(w);
    for (int64_t i = 0; i < MANY; i += 101)
        assert_true(find(w, i) == i + 1);
    assert_true(find(w, MANY) == 0);
    op_ledger_close(OP_TAKE(w->ledger));
    assert_true(raw_sql(w->dir, "SELECT count(*) FROM asked") == MANY + 1);
    open_world(w);
}

/* The filter by itself: never a false 'new', and rarely a useless lookup. */
static void the_filter_is_sound_and_narrow(void **state)
{
    (void)state;
    struct op_asked asked = {.fresh = true};
    uint8_t hash[OP_HASH_LEN];
    hash_of(1, hash);
    assert_true(op_asked_is_new(&asked, hash));
    for (int64_t i = 0; i < OP_ASKED_HELD_MAX; i++) {
        hash_of(i, hash);
        op_asked_mark(&asked, hash);
    }
    assert_true(op_asked_is_tight(&asked));
    int64_t useless = 0;
    for (int64_t i = 0; i < 2 * OP_ASKED_HELD_MAX; i++) {
        hash_of(i, hash);
        bool is_new = op_asked_is_new(&asked, hash);
        assert_false(i < OP_ASKED_HELD_MAX && is_new);
        useless += i >= OP_ASKED_HELD_MAX && !is_new;
    }
    assert_true(useless < OP_ASKED_HELD_MAX / 50);
    op_asked_grow(&asked);
    assert_false(op_asked_is_tight(&asked));
    hash_of(1, hash);
    assert_true(op_asked_is_new(&asked, hash));
    op_asked_release(&asked);
}

static void a_request_needs_an_id(void **state)
{
    struct world *w = *state;
    uint8_t hash[OP_HASH_LEN] = {0};
    assert_fails(w, op_ledger_asked_put(w->ledger, hash, 0, &w->err), OP_INVAL, "request 0");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(like_a_naive_model),
        T(many_puts_in_one_transaction),
        T(the_filter_is_sound_and_narrow),
        T(a_request_needs_an_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
