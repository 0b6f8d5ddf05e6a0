/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: SHA-256 whole and in pieces; the table hash.
 * Oracle:    FIPS 180 example digests; for the table hash that it depends on every byte and on the
 *            length, reads nothing outside, and spreads one-bit changes over half of its bits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/hash.h"
#include "base/mem.h"

static void known_digests(void **state)
{
    (void)state;
    static const struct {
        const char *text, *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    int64_t before = op_mem_live();
    struct op_sha256 *sha = op_sha256_new();
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        char hex[OP_SHA256_HEX];
        op_sha256_hex(cases[i].text, strlen(cases[i].text), hex);
        assert_string_equal(hex, cases[i].hex);
        uint8_t digest[OP_SHA256_LEN];
        op_sha256_reset(sha);
        for (size_t at = 0; cases[i].text[at]; at++)
            op_sha256_add(sha, cases[i].text + at, 1);
        op_sha256_add(sha, NULL, 0);
        op_sha256_end(sha, digest);
        op_hex(digest, sizeof(digest), hex);
        assert_string_equal(hex, cases[i].hex);
    }
    op_sha256_freep(&sha);
    assert_null(sha);
    op_sha256_free(NULL);
    uint8_t digest[OP_SHA256_LEN];
    op_sha256(NULL, 0, digest);
    assert_int_equal(digest[0], 0xe3);
    assert_int_equal(op_mem_live(), before);
}

static void table_hash_sees_every_bit(void **state)
{
    (void)state;
    int64_t flips = 0, changes = 0;
    for (size_t len = 0; len < 150; len++) {
        /* A block of exactly len bytes, so that a sanitizer sees a read outside. */
        OP_CLEANUP(op_mem_freep) unsigned char *text = op_mem_alloc(len);
        memset(text, 'k', len);
        uint64_t hash = op_hash64(text, len);
        assert_true(hash == op_hash64(text, len));
        if (len > 0)
            assert_true(hash != op_hash64(text, len - 1));
        for (size_t bit = 0; bit < 8 * len; bit++) {
            text[bit / 8] ^= (unsigned char)(1u << bit % 8);
            uint64_t other = op_hash64(text, len);
            text[bit / 8] ^= (unsigned char)(1u << bit % 8);
            assert_true(other != hash);
            flips += __builtin_popcountll(other ^ hash);
            changes++;
        }
    }
    assert_in_range(flips * 100 / changes, 3150, 3250);
}

static void table_hash_spreads_counters(void **state)
{
    (void)state;
    enum { KEYS = 1 << 16, CELLS = 1 << 16 };
    OP_CLEANUP(op_mem_freep) uint8_t *low = op_mem_alloc(CELLS);
    OP_CLEANUP(op_mem_freep) uint8_t *high = op_mem_alloc(CELLS);
    for (uint64_t key = 0; key < KEYS; key++) {
        uint64_t hash = op_hash64(&key, sizeof(key));
        low[hash % CELLS] = 1;
        high[hash >> 48] = 1;
    }
    int64_t used_low = 0, used_high = 0;
    for (size_t i = 0; i < CELLS; i++) {
        used_low += low[i];
        used_high += high[i];
    }
    /* Random hashing fills 1 - 1/e of the cells. */
    assert_in_range(used_low, CELLS * 62 / 100, CELLS * 65 / 100);
    assert_in_range(used_high, CELLS * 62 / 100, CELLS * 65 / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_digests),
        cmocka_unit_test(table_hash_sees_every_bit),
        cmocka_unit_test(table_hash_spreads_counters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
