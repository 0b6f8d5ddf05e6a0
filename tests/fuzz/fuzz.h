/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_FUZZ_FUZZ_H
#define OP_TESTS_FUZZ_FUZZ_H

/*
 * Model:     a target reads foreign bytes with the program's own code and demands what must hold for
 *            every input (its oracle, said at the top of its file). One file is one target. Built with
 *            -Dfuzz=true each is a libFuzzer program; otherwise all are one program that replays the
 *            corpora (docs/design/fuzzing.md).
 *            What a target decides by input it takes from the front, a byte each, so that one changed
 *            byte changes one decision.
 * Ownership: an input is a private copy without a byte behind it, so that ASan sees every read too
 *            far. No op_mem block may be left when the target returns.
 * Threads:   one.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

struct fuzz_input {
    const char *ptr;
    size_t len;
};

struct fuzz_target {
    const char *name;
    void (*run)(struct fuzz_input *in);
    struct fuzz_target *next;
};
void fuzz_add(struct fuzz_target *target);
/* The target keeps things from one input to the next: blocks are not counted (LSan still looks). */
void fuzz_keeps_blocks(void);

/* FUZZ_TARGET(json) { ... in->ptr, in->len ... } */
#define FUZZ_TARGET(name_)                                                        \
    static void fuzz_##name_(struct fuzz_input *in);                              \
    __attribute__((constructor)) static void fuzz_register_##name_(void)          \
    {                                                                             \
        static struct fuzz_target target = {.name = #name_, .run = fuzz_##name_}; \
        fuzz_add(&target);                                                        \
    }                                                                             \
    static void fuzz_##name_(struct fuzz_input *in)

/* What a target has read, for a second reader (tests/contract/test_corpus.py): printed with FUZZ_SHOW
 * set in a replay, else nothing. */
void fuzz_show(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What must hold. Says why and ends the process when it does not. */
#define FUZZ_CHECK(condition, ...)                                            \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: %s\n  ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                                     \
            fputc('\n', stderr);                                              \
            abort();                                                          \
        }                                                                     \
    } while (0)

/* The next byte, 0 at the end. */
static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
    if (!in->len)
        return 0;
    in->len--;
    return (uint8_t)*in->ptr++;
}

/* The next byte as one of count choices. */
static inline size_t fuzz_pick(struct fuzz_input *in, size_t count)
{
    return fuzz_byte(in) % count;
}

/* The bytes before the next sep, which is taken too; the rest without one. */
static inline struct op_str fuzz_until(struct fuzz_input *in, char sep)
{
    struct op_str all = {in->ptr, in->len};
    const char *end = in->len ? memchr(in->ptr, sep, in->len) : NULL;
    if (!end) {
        *in = (struct fuzz_input){in->ptr + in->len, 0};
        return all;
    }
    size_t len = (size_t)(end - in->ptr);
    *in = (struct fuzz_input){end + 1, in->len - len - 1};
    return (struct op_str){all.ptr, len};
}

static inline struct op_str fuzz_rest(struct fuzz_input *in)
{
    struct op_str all = {in->ptr, in->len};
    in->ptr += in->len;
    in->len = 0;
    return all;
}

/* A copy that ends with NUL, cut at the first NUL inside (op_mem). */
static inline char *fuzz_text(struct op_str s)
{
    return op_mem_strndup(s.len ? s.ptr : "", s.len ? strnlen(s.ptr, s.len) : 0);
}

/* A failure that a person can act on: a class, and a sentence about it. */
static inline void fuzz_check_error(enum op_rc rc, const struct op_err *err)
{
    FUZZ_CHECK(rc != OP_OK && err->rc == rc, "returned %s, said %s: %s", op_rc_name(rc),
               op_rc_name(err->rc), err->msg);
    FUZZ_CHECK(err->msg[0], "%s without a word", op_rc_name(rc));
}

#endif
