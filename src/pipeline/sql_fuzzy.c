/* SPDX-License-Identifier: MIT */
#include "pipeline/sql_fuzzy.h"

#include <stdlib.h>
#include <utf8proc.h>

#include "base/mem.h"

struct word {
    const int32_t *ptr;
    size_t len;
};

struct name {
    int32_t *folded; /* code points, words in the order of the text */
    size_t room;
    struct word words[OP_FUZZY_MAX / 2 + 1];
    int32_t sorted[OP_FUZZY_MAX + 1];
    size_t len;
    char *text; /* whose name this is: the same mention is compared with many names in a row */
    size_t text_len, text_room;
    bool known;
};

struct op_fuzzy {
    struct name names[2];
    uint16_t rows[2][OP_FUZZY_MAX + 1];
    int32_t *fold;
    size_t fold_room;
};

struct op_fuzzy *op_fuzzy_new(void)
{
    return op_mem_alloc(sizeof(struct op_fuzzy));
}

void op_fuzzy_free(void *fuzzy)
{
    struct op_fuzzy *f = fuzzy;
    if (!f)
        return;
    for (size_t i = 0; i < OP_COUNT(f->names); i++) {
        op_mem_free(f->names[i].folded);
        op_mem_free(f->names[i].text);
    }
    op_mem_free(f->fold);
    op_mem_free(f);
}

/* --- folding ------------------------------------------------------------------------------ */

#define FOLD (UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD)

/* Code points folded and composed into *codes; -1 when the text is not UTF-8. */
static utf8proc_ssize_t fold_codes(struct op_str text, int32_t **codes, size_t *room)
{
    if (op_utf8_valid_len(text.ptr, text.len) != text.len)
        return -1;
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text.ptr;
    for (;;) {
        utf8proc_ssize_t count = utf8proc_decompose(bytes, (utf8proc_ssize_t)text.len, *codes,
                                                    (utf8proc_ssize_t)*room, FOLD);
        if (count < 0)
            return -1;
        /* utf8proc_reencode wants room for a final NUL. */
        if ((size_t)count < *room)
            return utf8proc_normalize_utf32(*codes, count, FOLD);
        *room = (size_t)count + 64;
        *codes = op_mem_realloc(*codes, *room * sizeof(**codes));
    }
}

static bool is_plain(struct op_str text)
{
    unsigned char all = 0;
    for (size_t i = 0; i < text.len; i++)
        all |= (unsigned char)text.ptr[i];
    return all < 0x80;
}

void op_fold(struct op_fuzzy *fuzzy, struct op_str text, struct op_buf *out)
{
    if (is_plain(text)) {
        size_t from = out->len;
        op_buf_add_str(out, text);
        for (size_t i = from; i < out->len; i++)
            if (out->ptr[i] >= 'A' && out->ptr[i] <= 'Z')
                out->ptr[i] = (char)(out->ptr[i] | 0x20);
        return;
    }
    utf8proc_ssize_t count = fold_codes(text, &fuzzy->fold, &fuzzy->fold_room);
    if (count < 0) {
        op_buf_add_str(out, text);
        return;
    }
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        utf8proc_uint8_t bytes[4];
        utf8proc_ssize_t len = utf8proc_encode_char(fuzzy->fold[i], bytes);
        op_buf_add(out, bytes, (size_t)len);
    }
}

/* --- names -------------------------------------------------------------------------------- */

static bool is_space(int32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == 0x85 || c == 0x2028 || c == 0x2029 ||
           utf8proc_category(c) == UTF8PROC_CATEGORY_ZS;
}

static bool is_apostrophe(int32_t c)
{
    return c == '\'' || c == 0x2019;
}

static size_t drop_apostrophes(int32_t *codes, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_apostrophe(codes[i]))
            codes[n++] = codes[i];
        else if (i + 1 < count && codes[i + 1] == 's')
            i++;
    }
    return n;
}

static int compare_words(const void *pa, const void *pb)
{
    const struct word *a = pa, *b = pb;
    size_t len = a->len < b->len ? a->len : b->len;
    for (size_t i = 0; i < len; i++)
        if (a->ptr[i] != b->ptr[i])
            return a->ptr[i] < b->ptr[i] ? -1 : 1;
    return a->len < b->len ? -1 : a->len > b->len;
}

static size_t decode_bytes(struct name *name, struct op_str text)
{
    if (name->room < text.len) {
        name->room = text.len;
        name->folded = op_mem_realloc(name->folded, name->room * sizeof(*name->folded));
    }
    for (size_t i = 0; i < text.len; i++)
        name->folded[i] = (unsigned char)text.ptr[i];
    return text.len;
}

/* Folds the text and cuts it into words, in its order; returns their number. */
static size_t cut_words(struct name *name, struct op_str text)
{
    utf8proc_ssize_t folded = fold_codes(text, &name->folded, &name->room);
    size_t count = folded < 0 ? decode_bytes(name, text) : (size_t)folded;
    count = drop_apostrophes(name->folded, count);
    if (count > OP_FUZZY_MAX)
        count = OP_FUZZY_MAX;
    size_t words = 0;
    for (size_t i = 0; i < count;) {
        size_t from = i;
        while (i < count && !is_space(name->folded[i]))
            i++;
        if (i > from)
            name->words[words++] = (struct word){name->folded + from, i - from};
        i++;
    }
    return words;
}

static void read_name(struct name *name, struct op_str text)
{
    if (name->known && name->text_len == text.len &&
        memcmp(name->text, text.ptr, text.len) == 0)
        return;
    size_t words = cut_words(name, text);
    qsort(name->words, words, sizeof(name->words[0]), compare_words);
    name->len = 0;
    for (size_t w = 0; w < words; w++) {
        if (w)
            name->sorted[name->len++] = ' ';
        memcpy(name->sorted + name->len, name->words[w].ptr,
               name->words[w].len * sizeof(int32_t));
        name->len += name->words[w].len;
    }
    if (name->text_room < text.len + 1) {
        name->text_room = text.len + 64;
        name->text = op_mem_realloc(name->text, name->text_room);
    }
    if (text.len)
        memcpy(name->text, text.ptr, text.len);
    name->text_len = text.len;
    name->known = true;
}

/* --- the longest common subsequence ------------------------------------------------------- */

/* Bit-parallel, for a name of at most 64 code points, all below 256: each step of the loop does a
 * column of the table at once. */
static size_t lcs_bits(const struct name *a, const struct name *b)
{
    uint64_t places[256] = {0};
    for (size_t i = 0; i < a->len; i++)
        places[a->sorted[i]] |= UINT64_C(1) << i;
    uint64_t s = ~UINT64_C(0);
    for (size_t k = 0; k < b->len; k++) {
        uint64_t u = b->sorted[k] < 256 ? s & places[b->sorted[k]] : 0;
        s = (s + u) | (s - u);
    }
    uint64_t used = a->len == 64 ? ~UINT64_C(0) : (UINT64_C(1) << a->len) - 1;
    return (size_t)__builtin_popcountll(~s & used);
}

static size_t lcs_table(struct op_fuzzy *f, const struct name *a, const struct name *b)
{
    uint16_t *last = f->rows[0], *row = f->rows[1];
    memset(last, 0, (b->len + 1) * sizeof(*last));
    row[0] = 0;
    for (size_t i = 0; i < a->len; i++) {
        for (size_t k = 0; k < b->len; k++) {
            uint16_t most = row[k] > last[k + 1] ? row[k] : last[k + 1];
            row[k + 1] = a->sorted[i] == b->sorted[k] ? (uint16_t)(last[k] + 1) : most;
        }
        uint16_t *swap = last;
        last = row;
        row = swap;
        row[0] = 0;
    }
    return last[b->len];
}

static bool fits_bits(const struct name *name)
{
    if (name->len > 64)
        return false;
    for (size_t i = 0; i < name->len; i++)
        if (name->sorted[i] > 255)
            return false;
    return true;
}

double op_fuzzy_match(struct op_fuzzy *f, struct op_str a, struct op_str b)
{
    struct name *x = &f->names[0], *y = &f->names[1];
    read_name(x, a);
    read_name(y, b);
    if (x->len + y->len == 0)
        return 100;
    size_t lcs = fits_bits(x)   ? lcs_bits(x, y)
                 : fits_bits(y) ? lcs_bits(y, x)
                                : lcs_table(f, x, y);
    return 100.0 * 2.0 * (double)lcs / (double)(x->len + y->len);
}

/* --- one against many --------------------------------------------------------------------- */

void op_fuzzy_words(struct op_fuzzy *fuzzy, struct op_str text, struct op_buf *out)
{
    struct name *name = &fuzzy->names[0];
    name->known = false; /* its words lie in another order now */
    size_t words = cut_words(name, text);
    for (size_t w = 0; w < words; w++) {
        if (w)
            op_buf_addc(out, ' ');
        for (size_t i = 0; i < name->words[w].len; i++) {
            utf8proc_uint8_t bytes[4];
            utf8proc_ssize_t len = utf8proc_encode_char(name->words[w].ptr[i], bytes);
            op_buf_add(out, bytes, (size_t)len);
        }
    }
}

int op_fuzzy_plain(struct op_fuzzy *fuzzy, struct op_str text, uint8_t ret[OP_FUZZY_PLAIN])
{
    struct name *name = &fuzzy->names[0];
    read_name(name, text);
    if (!fits_bits(name))
        return -1;
    for (size_t i = 0; i < name->len; i++)
        ret[i] = (uint8_t)name->sorted[i];
    return (int)name->len;
}

uint64_t op_fuzzy_letters(const uint8_t *name, size_t len)
{
    uint64_t letters = 0;
    for (size_t i = 0; i < len; i++)
        letters |= UINT64_C(1) << (name[i] & 63);
    return letters;
}

bool op_fuzzy_query(struct op_fuzzy *fuzzy, struct op_str text, struct op_fuzzy_query *ret)
{
    int len = op_fuzzy_plain(fuzzy, text, ret->name);
    if (len < 0)
        return false;
    ret->len = (size_t)len;
    ret->letters = op_fuzzy_letters(ret->name, ret->len);
    memset(ret->places, 0, sizeof(ret->places));
    for (size_t i = 0; i < ret->len; i++)
        ret->places[ret->name[i]] |= UINT64_C(1) << i;
    return true;
}

double op_fuzzy_ask(const struct op_fuzzy_query *query, const uint8_t *name, size_t len,
                    double cutoff)
{
    size_t sum = query->len + len;
    if (sum == 0)
        return 100;
    uint64_t s = ~UINT64_C(0);
    for (size_t k = 0; k < len; k++) {
        uint64_t u = s & query->places[name[k]];
        s = (s + u) | (s - u);
    }
    uint64_t used = query->len == 64 ? ~UINT64_C(0) : (UINT64_C(1) << query->len) - 1;
    size_t lcs = (size_t)__builtin_popcountll(~s & used);
    double score = 100.0 * 2.0 * (double)lcs / (double)sum;
    return score < cutoff ? -1 : score;
}

struct scan {
    uint64_t letters;
    int most[256]; /* by length: letters that may differ */
};

/* Every letter that only one of two names has, and every one that the longer has more, has to be
 * deleted: with more of them than the cutoff allows a name is out. */
static void scan_begin(const struct op_fuzzy_query *query, double cutoff, struct scan *ret)
{
    ret->letters = query->letters;
    for (size_t len = 0; len < 256; len++) {
        size_t longer = len > query->len ? len - query->len : query->len - len;
        /* A hair more, since the score is a rounded quotient. */
        double most = (1.0 - cutoff / 100.0) * (double)(query->len + len) + 1e-6;
        ret->most[len] = most < (double)longer ? -1 : most > 64 ? 64 : (int)most;
    }
    ret->most[OP_FUZZY_NOT_PLAIN] = 64;
}

static inline __attribute__((always_inline)) size_t
scan_names(const struct scan *scan, const uint64_t *letters, const uint8_t *lens, size_t count,
           size_t *at, uint32_t *ret, size_t room)
{
    size_t found = 0, i = *at;
    for (; i < count && found < room; i++) {
        ret[found] = (uint32_t)i;
        found += __builtin_popcountll(letters[i] ^ scan->letters) <= scan->most[lens[i]];
    }
    *at = i;
    return found;
}

#ifdef __x86_64__
/* The plain x86-64 has no instruction for it, and a call takes as long as all the rest. */
static __attribute__((target("popcnt"))) size_t
scan_popcnt(const struct scan *scan, const uint64_t *letters, const uint8_t *lens, size_t count,
            size_t *at, uint32_t *ret, size_t room)
{
    return scan_names(scan, letters, lens, count, at, ret, room);
}
#endif

size_t op_fuzzy_scan(const struct op_fuzzy_query *query, const uint64_t *letters,
                     const uint8_t *lens, size_t count, double cutoff, size_t *at,
                     uint32_t *ret, size_t room)
{
    struct scan scan;
    scan_begin(query, cutoff, &scan);
#ifdef __x86_64__
    if (__builtin_cpu_supports("popcnt"))
        return scan_popcnt(&scan, letters, lens, count, at, ret, room);
#endif
    return scan_names(&scan, letters, lens, count, at, ret, room);
}
