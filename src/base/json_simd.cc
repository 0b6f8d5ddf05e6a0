/* SPDX-License-Identifier: MIT */
#include <charconv>
#include <new>
#include <simdjson.h>

#include "base/json_tape.h"

extern "C" {
#include "base/json.h"
#include "base/mem.h"
}

/* The tape and its strings are public members of simdjson's document, but their format is only a
 * habit of the 3.0 series; the unit tests pin it too. */
static_assert(simdjson::SIMDJSON_VERSION_MAJOR == 3 && simdjson::SIMDJSON_VERSION_MINOR == 0,
              "the tape format was checked for simdjson 3.0.x only");
static_assert(simdjson::SIMDJSON_PADDING <= 64, "op_buf pads with 64 bytes");

namespace
{
/* Enough for most lines, and below what malloc fetches from the kernel for every new parser: the
 * tables for 1 MiB are 8 MiB, and getting them costs more than a reply's parsing. */
constexpr size_t first_capacity = 8 * 1024;
} // namespace

struct op_json_simd {
    simdjson::dom::parser parser;
};

/* simdjson itself grows to the exact size, so that slowly rising lines would reallocate each
 * time; parser.set_max_capacity is inverted in 3.0.1 and must not be called. */
static bool grow(simdjson::dom::parser &parser, size_t len)
{
    if (parser.capacity() >= len && parser.doc.capacity() >= len && parser.capacity() > 0)
        return true;
    size_t capacity = first_capacity;
    while (capacity < len)
        capacity *= 2;
    if (capacity > simdjson::SIMDJSON_MAXSIZE_BYTES)
        return false;
    /* simdjson counts the document as a level. */
    return !parser.allocate(capacity, OP_JSON_DEPTH + 1) && !parser.doc.allocate(capacity);
}

extern "C" op_json_simd *op_json_simd_new(void)
{
    return new (op_mem_alloc(sizeof(op_json_simd))) op_json_simd();
}

extern "C" void op_json_simd_free(op_json_simd *simd)
{
    if (!simd)
        return;
    simd->~op_json_simd();
    op_mem_free(simd);
}

extern "C" bool op_json_simd_parse(op_json_simd *simd, const char *text, size_t len,
                                   const uint64_t **ret_tape, const uint8_t **ret_strings)
{
    if (!grow(simd->parser, len))
        return false;
    if (simd->parser.parse(text, len, false).error())
        return false;
    *ret_tape = simd->parser.doc.tape.get();
    *ret_strings = simd->parser.doc.string_buf.get();
    return true;
}

extern "C" size_t op_json_shortest(double value, char *ret)
{
    return static_cast<size_t>(
        std::to_chars(ret, ret + 32, value, std::chars_format::scientific).ptr - ret);
}
