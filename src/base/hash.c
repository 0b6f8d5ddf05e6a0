/* SPDX-License-Identifier: MIT */
#include "base/hash.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"

struct op_sha256 {
    EVP_MD_CTX *ctx;
};

/* Fetched once: EVP_sha256() looks the implementation up at every use. */
static EVP_MD *sha256_md;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void fetch_sha256(void)
{
    sha256_md = EVP_MD_fetch(NULL, "SHA256", NULL);
}

/* libcrypto fails here only when it has no memory or no SHA-256 at all: both end the program
 * the way an allocation failure does. */
static void must(int ok)
{
    if (ok != 1)
        op_mem_alloc(SIZE_MAX);
}

static const EVP_MD *md(void)
{
    pthread_once(&sha256_once, fetch_sha256);
    must(sha256_md != NULL);
    return sha256_md;
}

struct op_sha256 *op_sha256_new(void)
{
    struct op_sha256 *sha = op_mem_alloc(sizeof(*sha));
    sha->ctx = EVP_MD_CTX_new();
    must(sha->ctx != NULL);
    op_sha256_reset(sha);
    return sha;
}

void op_sha256_free(struct op_sha256 *sha)
{
    if (!sha)
        return;
    EVP_MD_CTX_free(sha->ctx);
    op_mem_free(sha);
}

void op_sha256_freep(struct op_sha256 **sha)
{
    op_sha256_free(OP_TAKE(*sha));
}

void op_sha256_reset(struct op_sha256 *sha)
{
    must(EVP_DigestInit_ex2(sha->ctx, md(), NULL));
}

void op_sha256_add(struct op_sha256 *sha, const void *ptr, size_t len)
{
    if (len > 0)
        must(EVP_DigestUpdate(sha->ctx, ptr, len));
}

void op_sha256_end(struct op_sha256 *sha, uint8_t ret[OP_SHA256_LEN])
{
    must(EVP_DigestFinal_ex(sha->ctx, ret, NULL));
}

void op_sha256(const void *ptr, size_t len, uint8_t ret[OP_SHA256_LEN])
{
    must(EVP_Digest(len > 0 ? ptr : "", len, ret, NULL, md(), NULL));
}

void op_hex(const uint8_t *bytes, size_t len, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        ret[2 * i] = digits[bytes[i] >> 4];
        ret[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret[2 * len] = '\0';
}

void op_sha256_hex(const void *ptr, size_t len, char ret[OP_SHA256_HEX])
{
    uint8_t digest[OP_SHA256_LEN];
    op_sha256(ptr, len, digest);
    op_hex(digest, sizeof(digest), ret);
}

/* The 128-bit product folded to 64 bits: one multiplication mixes all bits of both factors. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load64(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

static uint64_t load32(const unsigned char *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

/* Constants with balanced bits: fractional parts of the square roots of small primes. */
static const uint64_t k0 = 0x6a09e667f3bcc909ULL, k1 = 0xbb67ae8584caa73bULL,
                      k2 = 0x3c6ef372fe94f82bULL, k3 = 0xa54ff53a5f1d36f1ULL;

uint64_t op_hash64(const void *ptr, size_t len)
{
    const unsigned char *p = ptr;
    uint64_t state = k0 ^ len, a = 0, b = 0;
    size_t rest = len;
    if (rest > 32) {
        uint64_t second = state ^ k3;
        for (; rest > 32; rest -= 32, p += 32) {
            state = fold(load64(p) ^ k1, load64(p + 8) ^ state);
            second = fold(load64(p + 16) ^ k2, load64(p + 24) ^ second);
        }
        state ^= second;
    }
    if (rest > 16) {
        state = fold(load64(p) ^ k2, load64(p + 8) ^ state);
        p += 16;
        rest -= 16;
    }
    /* The last words overlap where the length is no multiple; len is in the state already. */
    if (rest >= 8) {
        a = load64(p);
        b = load64(p + rest - 8);
    } else if (rest >= 4) {
        a = load32(p);
        b = load32(p + rest - 4);
    } else if (rest > 0) {
        a = (uint64_t)p[0] << 16 | (uint64_t)p[rest / 2] << 8 | p[rest - 1];
    }
    return fold(k1 ^ len, fold(a ^ k1, b ^ state) ^ k3);
}
