/* SPDX-License-Identifier: MIT */
#include "emulator/embed.h"

#include <math.h>

#include "base/hash.h"
#include "base/mem.h"
#include "emulator/words.h"

void op_emu_base64(struct op_buf *out, const void *ptr, size_t len)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *in = ptr;
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t word = (uint32_t)in[i] << 16;
        if (have > 1)
            word |= (uint32_t)in[i + 1] << 8;
        if (have > 2)
            word |= in[i + 2];
        char quad[4] = {letters[word >> 18], letters[word >> 12 & 63],
                        have > 1 ? letters[word >> 6 & 63] : '=',
                        have > 2 ? letters[word & 63] : '='};
        op_buf_add(out, quad, sizeof(quad));
    }
}

void op_emu_embed(struct op_buf *out, struct op_str text, int64_t dimensions, bool base64)
{
    uint8_t digest[OP_SHA256_LEN];
    uint64_t random;
    op_sha256(text.ptr ? text.ptr : "", text.len, digest);
    memcpy(&random, digest, sizeof(random));
    OP_CLEANUP(op_mem_freep) float *vector = op_mem_array((size_t)dimensions, sizeof(float));
    /* Even numbers between -a and a have a mean square of a*a/3. */
    double most = sqrt(3.0 / (double)dimensions);
    for (int64_t i = 0; i < dimensions; i++) {
        double lot = (double)(op_emu_random(&random) >> 11) * 0x1.0p-53;
        vector[i] = (float)((2 * lot - 1) * most);
    }
    op_buf_addc(out, base64 ? '"' : '[');
    if (base64)
        op_emu_base64(out, vector, (size_t)dimensions * sizeof(float));
    for (int64_t i = 0; i < dimensions && !base64; i++)
        op_buf_addf(out, "%s%.8f", i ? "," : "", (double)vector[i]);
    op_buf_addc(out, base64 ? '"' : ']');
}
