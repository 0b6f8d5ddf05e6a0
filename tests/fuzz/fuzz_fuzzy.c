/* SPDX-License-Identifier: MIT */
/*
 * fuzzy_match() and fold(). Input: two texts with a NUL byte between them.
 * Oracle: the score lies in 0 to 100 and does not depend on the order; a text that has a word is like
 *         itself by 100; folding twice is folding once; between two single words the score is the one
 *         that the longest common subsequence, computed the slow way, gives.
 */
#include <math.h>

#include "fuzz.h"
#include "pipeline/sql_fuzzy.h"

/* Of plain small letters alone, so that nothing is folded or cut. */
static bool is_word(struct op_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 'a' || s.ptr[i] > 'z')
            return false;
    return s.len > 0 && s.len <= 64;
}

static double slow_score(struct op_str a, struct op_str b)
{
    int lcs[65][65] = {{0}};
    for (size_t i = 0; i < a.len; i++)
        for (size_t j = 0; j < b.len; j++)
            lcs[i + 1][j + 1] = a.ptr[i] == b.ptr[j]            ? lcs[i][j] + 1
                                : lcs[i][j + 1] > lcs[i + 1][j] ? lcs[i][j + 1]
                                                                : lcs[i + 1][j];
    return 100.0 * 2 * lcs[a.len][b.len] / (double)(a.len + b.len);
}

FUZZ_TARGET(fuzzy)
{
    struct op_str a = fuzz_until(in, '\0'), b = fuzz_rest(in);
    struct op_fuzzy *fuzzy = op_fuzzy_new();
    double ab = op_fuzzy_match(fuzzy, a, b), ba = op_fuzzy_match(fuzzy, b, a);
    FUZZ_CHECK(ab >= 0 && ab <= 100, "%g", ab);
    FUZZ_CHECK(fabs(ab - ba) < 1e-9, "%g one way, %g the other", ab, ba);
    if (is_word(a)) {
        FUZZ_CHECK(op_fuzzy_match(fuzzy, a, a) == 100, "unlike itself");
        if (is_word(b))
            FUZZ_CHECK(fabs(ab - slow_score(a, b)) < 1e-9, "%g, not %g", ab, slow_score(a, b));
    }
    OP_CLEANUP(op_buf_release) struct op_buf once, twice;
    op_buf_init(&once, 64 * 1024 * 1024);
    op_buf_init(&twice, 64 * 1024 * 1024);
    op_fold(fuzzy, a, &once);
    op_fold(fuzzy, op_buf_str(&once), &twice);
    FUZZ_CHECK(op_str_eq(op_buf_str(&once), op_buf_str(&twice)), "'%s' became '%s'", once.ptr,
               twice.ptr);
    op_fuzzy_free(fuzzy);
}
