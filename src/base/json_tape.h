/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_JSON_TAPE_H
#define OP_BASE_JSON_TAPE_H

/*
 * Model:     what the files of the JSON module share: the two makers of tapes (json_simd.cc over
 *            simdjson, json_text.c) and UTF-8 in single steps. Nobody else includes this.
 *            A tape word is a type byte << 56 | a 56-bit payload:
 *              word 0  'r'      number of words; the first value is word 1
 *              '{' '['          low 32 bits: index after the closing word; bits 32..55: count of
 *                               members or elements, saturating at 0xFFFFFF
 *              '}' ']'          index of the opening word
 *              '"'              offset in the strings: uint32 length, bytes, NUL
 *              'l' 'u' 'd'      int64, uint64 above INT64_MAX, double: in the next word
 *              't' 'f' 'n'      nothing
 * Ownership: tapes belong to the maker and live until its next parse.
 * Threads:   one maker per thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OP_TAPE_PAYLOAD   ((UINT64_C(1) << 56) - 1)
#define OP_TAPE_COUNT_MAX 0xFFFFFFu

/* simdjson. False when it rejects the text (text[len + 63] must be readable). */
struct op_json_simd;
struct op_json_simd *op_json_simd_new(void);
void op_json_simd_free(struct op_json_simd *simd);
bool op_json_simd_parse(struct op_json_simd *simd, const char *text, size_t len,
                        const uint64_t **ret_tape, const uint8_t **ret_strings);

/* The shortest digits that read back as value (finite), as "d.ddde+XX"; ret has 32 bytes, no NUL
 * is written. Returns the length. */
size_t op_json_shortest(double value, char *ret);

#ifdef __cplusplus
}
#else

#    include "base/err.h"

/* The tolerant tokenizer; owns its tape. */
struct op_json_text {
    uint64_t *tape;
    uint8_t *strings;
    size_t room; /* the longest text the two arrays are large enough for */
    bool mended; /* the last text has something that strict JSON has no place for */
};
OP_MUST_CHECK enum op_rc op_json_text_parse(struct op_json_text *self, const char *text,
                                            size_t len, struct op_err *err);
void op_json_text_release(struct op_json_text *self);

/* The bytes of the UTF-8 sequence at ptr[0] (left > 0): its length when it is well-formed, else
 * minus the length of its maximal ill-formed part, which one U+FFFD replaces. */
int op_json_utf8_step(const char *ptr, size_t left);

/* Writes code point cp (not a surrogate) as UTF-8, returns its length, 1 to 4. */
size_t op_json_utf8_put(uint32_t cp, char *ret);
#endif

#endif
