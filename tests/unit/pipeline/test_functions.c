/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the functions SQL has beyond SQLite's: fuzzy_match, sha256, uuid5, now, xml, fold.
 * Oracle:    a table of published and hand-computed values; a plain table method for the longest
 *            common subsequence on generated names; docs/reference/sql.md names every function.
 */
#include <math.h>

#include "pipeline/sql_fuzzy.h"
#include "support_sql.h"

static void open_world(struct world *w, struct op_sqlenv **sql)
{
    world_begin(w);
    world_file(w, "t.csv", "id\n1\n");
    world_open(w, SQL_HEAD "inputs: {t: {csv: \"{{dir}}/t.csv\"}}\n" SQL_ASK);
    *sql = world_sql(w);
}

static void close_world(struct world *w, struct op_sqlenv *sql)
{
    op_sqlenv_close(sql);
    world_end(w);
    assert_int_equal(op_mem_live(), 0);
}

static const struct {
    const char *sql, *expected;
} cases[] = {
    {"SELECT sha256(''), sha256('abc') = sha256(x'616263'), sha256(NULL)",
     "Te3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855|I1|N\n"},
    {"SELECT sha256(12) = sha256('12')", "I1\n"},
    /* RFC 9562 appendix A.4 */
    {"SELECT uuid5('dns', 'www.example.com')", "T2ed6657d-e927-568b-95e1-2665a8aea6a2\n"},
    {"SELECT uuid5('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 'www.example.com') = uuid5('DNS', "
     "'www.example.com'), uuid5('url', NULL), uuid5(NULL, 'x')",
     "I1|N|N\n"},
    {"SELECT uuid5('6BA7B8119DAD11D180B400C04FD430C8', '') = uuid5('url', '')", "I1\n"},
    {"SELECT now() GLOB '20[2-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9].[0-9]"
     "[0-9][0-9]Z'",
     "I1\n"},
    {"SELECT xml('a < b & \"c\" > ''d'''), xml(NULL), xml(5), xml('')",
     "Ta &lt; b &amp; &quot;c&quot; &gt; 'd'|N|T5|T\n"},
    {"SELECT xml('a' || char(0) || char(1) || char(9) || char(10) || char(0xB) || char(13) || 'z')",
     "Ta\t\n\rz\n"},
    {"SELECT xml(CAST(x'61fF62c3c3a9ed a080efbfbe63' AS TEXT))", "!unrecognized token"},
    {"SELECT xml(CAST(x'61ff62c3c3a9eda080efbfbe63e2' AS TEXT))", "Tab\xC3\xA9"
                                                                  "c\n"},
    {"SELECT xml(char(0x1F600) || char(0x20AC))", "T\xF0\x9F\x98\x80\xE2\x82\xAC\n"},
    {"SELECT fold('ABC xyz 09'), fold(NULL), fold('')", "Tabc xyz 09|N|T\n"},
    {"SELECT fold('Stra\xC3\x9F"
     "E') = fold('STRASSE'), fold('\xEF\xAC\x81' || 'X'), "
     "fold('E' || char(0x301)) = fold(char(0xC9))",
     "I1|Tfix|I1\n"},
    {"SELECT hex(fold(CAST(x'41FF' AS TEXT)))", "T41FF\n"},
    {"SELECT fuzzy_match('Josh Allen', 'allen  JOSH'), fuzzy_match('', ''), fuzzy_match('a', ''), "
     "fuzzy_match(NULL, 'a')",
     "D100.0|D100.0|D0.0|N\n"},
    {"SELECT fuzzy_match('D''Andre Swift''s', 'dandre swift'), fuzzy_match('Ja\xE2\x80\x99"
     "Marr', "
     "'jamarr')",
     "D100.0|D100.0\n"},
    {"SELECT fuzzy_match('\xC3\x89ric', 'E' || char(0x301) || 'RIC')", "D100.0\n"},
    /* abcd against abed: LCS 3 of 8 characters; indel ratio 75 */
    {"SELECT fuzzy_match('abcd', 'abed'), fuzzy_match('abc', 'xyz'), fuzzy_match('chiefs', 'chief')",
     "D75.0|D0.0|D90.9090909090909\n"},
    {"SELECT name_fold(' D''Andre  SWIFT''s '), name_fold(''), name_fold(NULL), name_fold(5)",
     "Tdandre swift|T|N|T5\n"},
    {"SELECT fuzzy_match('this is a test', 'test a is this!')", "D96.551724137931\n"},
};

static void test_table(void **state)
{
    (void)state;
    struct world w;
    struct op_sqlenv *sql = NULL;
    open_world(&w, &sql);
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        if (cases[i].expected[0] == '!')
            expect_sql_error(sql, cases[i].sql, cases[i].expected + 1);
        else
            expect_sql(sql, cases[i].sql, cases[i].expected);
    }
    expect_sql_error(sql, "SELECT uuid5('nowhere', 'x')", "the namespace must be a UUID");
    expect_sql_error(sql, "SELECT sha256()", "wrong number of arguments");
    close_world(&w, sql);
}

/* --- the score --- */

static double plain_score(const char *a, const char *b)
{
    static int table[200][200];
    size_t m = strlen(a), n = strlen(b);
    for (size_t i = 0; i <= m; i++)
        for (size_t k = 0; k <= n; k++) {
            if (i == 0 || k == 0)
                table[i][k] = 0;
            else if (a[i - 1] == b[k - 1])
                table[i][k] = table[i - 1][k - 1] + 1;
            else
                table[i][k] =
                    table[i - 1][k] > table[i][k - 1] ? table[i - 1][k] : table[i][k - 1];
        }
    return m + n ? 200.0 * table[m][n] / (double)(m + n) : 100;
}

static uint64_t seed = 99;

static uint32_t dice(uint32_t sides)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % sides;
}

/* One word, so that sorting has nothing to do; lengths on both sides of the 64 that fit in a word of
 * the machine, and letters beyond Latin-1 in some, which the table method must handle. */
static void test_score(void **state)
{
    (void)state;
    struct op_fuzzy *fuzzy = op_fuzzy_new();
    for (int round = 0; round < 3000; round++) {
        char a[200] = "", b[200] = "", wide_a[800] = "", wide_b[800] = "";
        size_t na = dice(round % 3 == 0 ? 150 : 30), nb = dice(round % 3 == 1 ? 150 : 70);
        bool wide = dice(4) == 0;
        for (size_t i = 0; i < na + nb; i++) {
            char *narrow = i < na ? a : b, *text = i < na ? wide_a : wide_b;
            size_t at = i < na ? i : i - na;
            char c = (char)('a' + dice(5));
            narrow[at] = c;
            /* the same letters, elsewhere in Unicode */
            const char bytes[] = {(char)0xE4, (char)0xB8, (char)(0x80 + c - 'a'), 0};
            strcat(text, wide ? bytes : (const char[]){c, 0});
        }
        double got = op_fuzzy_match(fuzzy, op_str_from(wide_a), op_str_from(wide_b));
        if (fabs(got - plain_score(a, b)) > 1e-9)
            fail_msg("%s / %s: %f, not %f", a, b, got, plain_score(a, b));
    }
    op_fuzzy_free(fuzzy);
    assert_int_equal(op_mem_live(), 0);
}

/* The quick way says what the plain one says, or -1 below the cutoff. */
static void test_one_against_many(void **state)
{
    (void)state;
    struct op_fuzzy *fuzzy = op_fuzzy_new();
    for (int round = 0; round < 20000; round++) {
        char a[80] = "", b[80] = "";
        size_t na = dice(40), nb = dice(70);
        for (size_t i = 0; i < na; i++)
            a[i] = (char)('a' + dice(8));
        for (size_t i = 0; i < nb; i++)
            b[i] = (char)('a' + dice(round % 2 ? 8 : 26));
        struct op_fuzzy_query query;
        uint8_t name[OP_FUZZY_PLAIN];
        double cutoff = dice(101);
        bool plain = op_fuzzy_query(fuzzy, op_str_from(a), &query);
        int len = op_fuzzy_plain(fuzzy, op_str_from(b), name);
        assert_true(plain);
        assert_int_equal(len<0, nb> OP_FUZZY_PLAIN);
        if (len < 0)
            continue;
        double want = plain_score(a, b);
        uint64_t letters = op_fuzzy_letters(name, (size_t)len);
        uint8_t bytes = (uint8_t)len;
        size_t at = 0;
        uint32_t place = 9;
        double got = -1;
        if (op_fuzzy_scan(&query, &letters, &bytes, 1, cutoff, &at, &place, 1))
            got = op_fuzzy_ask(&query, name, (size_t)len, cutoff);
        assert_int_equal(at, 1);
        if (fabs(got - (want < cutoff ? -1 : want)) > 1e-9)
            fail_msg("%s / %s: %f, not %f (cutoff %f)", a, b, got, want, cutoff);
    }
    op_fuzzy_free(fuzzy);
    assert_int_equal(op_mem_live(), 0);
}

static void test_long_names(void **state)
{
    (void)state;
    struct op_fuzzy *fuzzy = op_fuzzy_new();
    size_t len = 100000;
    char *text = op_mem_alloc(len + 1);
    for (size_t i = 0; i < len; i++)
        text[i] = i % 2 ? ' ' : 'a';
    struct op_str s = {text, len};
    assert_true(op_fuzzy_match(fuzzy, s, s) >= 100);
    memset(text, 'b', len);
    assert_true(op_fuzzy_match(fuzzy, s, OP_STR("b")) > 0);
    text[len / 2] = (char)0xFF; /* not UTF-8: compared as bytes */
    assert_true(op_fuzzy_match(fuzzy, s, s) >= 100);
    op_mem_free(text);
    op_fuzzy_free(fuzzy);
    assert_int_equal(op_mem_live(), 0);
}

/* Every function is told of, and every one that is told of can be called. */
static void test_listed(void **state)
{
    (void)state;
    struct world w;
    struct op_sqlenv *sql = NULL;
    open_world(&w, &sql);
    struct op_buf doc;
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&doc, 1024 * 1024);
    if (op_io_read_file(op_env_default(), OP_SOURCE_DIR "/docs/reference/sql.md", &doc, &err))
        fail_msg("%s", err.msg);
    for (const struct op_sql_function *f = op_sql_functions(); f->signature; f++) {
        OP_CLEANUP(op_mem_freep) char *quoted = op_mem_printf("`%s`", f->signature);
        if (!strstr(doc.ptr, quoted))
            fail_msg("docs/reference/sql.md lacks %s", quoted);
        assert_true(strlen(f->help) > 10);
        OP_CLEANUP(op_mem_freep)
        char *call = op_mem_printf("SELECT %s FROM (SELECT NULL AS a, NULL "
                                   "AS b, NULL AS x, NULL AS namespace, "
                                   "NULL AS name, NULL AS text)",
                                   f->signature);
        OP_CLEANUP(op_mem_freep) char *got = run_sql(sql, call);
        if (got[0] == '!')
            fail_msg("%s: %s", f->signature, got);
    }
    op_buf_release(&doc);
    close_world(&w, sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_score),
        cmocka_unit_test(test_one_against_many),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
