/* SPDX-License-Identifier: MIT */
#include "core/custom_id.h"

#include <assert.h>
#include <string.h>

/* <tag6>-<nonce8>- */
#define PREFIX_LEN (OP_LEDGER_TAG_LEN + 1 + OP_NONCE_LEN + 1)
#define NONCE_AT   (OP_LEDGER_TAG_LEN + 1)

static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";
static const char base36[] = "0123456789abcdefghijklmnopqrstuvwxyz";

void op_nonce_format(const uint8_t random[5], char ret[OP_NONCE_LEN + 1])
{
    uint64_t bits = 0;
    for (int i = 0; i < 5; i++)
        bits = bits << 8 | random[i];
    for (int i = OP_NONCE_LEN - 1; i >= 0; i--) {
        ret[i] = base32[bits & 31];
        bits >>= 5;
    }
    ret[OP_NONCE_LEN] = '\0';
}

size_t op_custom_id_format(const char *tag, const char *nonce, int64_t request_id,
                           char ret[OP_CUSTOM_ID_MAX + 1])
{
    assert(strlen(tag) == OP_LEDGER_TAG_LEN && strlen(nonce) == OP_NONCE_LEN);
    assert(request_id >= 0);
    memcpy(ret, tag, OP_LEDGER_TAG_LEN);
    ret[OP_LEDGER_TAG_LEN] = '-';
    memcpy(ret + NONCE_AT, nonce, OP_NONCE_LEN);
    ret[PREFIX_LEN - 1] = '-';

    char digits[16]; /* 36^13 > 2^63 */
    size_t count = 0;
    uint64_t rest = (uint64_t)request_id;
    do {
        digits[count++] = base36[rest % 36];
        rest /= 36;
    } while (rest);
    for (size_t i = 0; i < count; i++)
        ret[PREFIX_LEN + i] = digits[count - 1 - i];
    ret[PREFIX_LEN + count] = '\0';
    return PREFIX_LEN + count;
}

/* Only the spelling that op_custom_id_format writes is accepted (lower case, no leading zero), so
 * that two different texts never name the same request. */
static bool parse_base36(const char *ptr, size_t len, int64_t *ret)
{
    int64_t value = 0;
    if (len == 0 || (ptr[0] == '0' && len > 1))
        return false;
    for (size_t i = 0; i < len; i++) {
        int digit;
        if (ptr[i] >= '0' && ptr[i] <= '9')
            digit = ptr[i] - '0';
        else if (ptr[i] >= 'a' && ptr[i] <= 'z')
            digit = ptr[i] - 'a' + 10;
        else
            return false;
        if (__builtin_mul_overflow(value, 36, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *ret = value;
    return true;
}

bool op_custom_id_parse(struct op_str text, const char *tag, const char *nonce,
                        int64_t *ret_request)
{
    if (text.len <= PREFIX_LEN || text.len > OP_CUSTOM_ID_MAX)
        return false;
    if (strlen(tag) != OP_LEDGER_TAG_LEN || strlen(nonce) != OP_NONCE_LEN)
        return false;
    if (memcmp(text.ptr, tag, OP_LEDGER_TAG_LEN) != 0 || text.ptr[OP_LEDGER_TAG_LEN] != '-' ||
        memcmp(text.ptr + NONCE_AT, nonce, OP_NONCE_LEN) != 0 ||
        text.ptr[PREFIX_LEN - 1] != '-')
        return false;
    return parse_base36(text.ptr + PREFIX_LEN, text.len - PREFIX_LEN, ret_request);
}

static bool all_in(const char *ptr, size_t len, const char *set, size_t set_len)
{
    for (size_t i = 0; i < len; i++) {
        if (!memchr(set, ptr[i], set_len))
            return false;
    }
    return true;
}

bool op_custom_id_split(struct op_str text, char ret_tag[OP_LEDGER_TAG_LEN + 1],
                        char ret_nonce[OP_NONCE_LEN + 1], int64_t *ret_request)
{
    int64_t request = 0;
    if (text.len <= PREFIX_LEN || text.len > OP_CUSTOM_ID_MAX ||
        text.ptr[OP_LEDGER_TAG_LEN] != '-' || text.ptr[PREFIX_LEN - 1] != '-')
        return false;
    if (!all_in(text.ptr, OP_LEDGER_TAG_LEN, base36, sizeof(base36) - 1) ||
        !all_in(text.ptr + NONCE_AT, OP_NONCE_LEN, base32, sizeof(base32) - 1) ||
        !parse_base36(text.ptr + PREFIX_LEN, text.len - PREFIX_LEN, &request))
        return false;
    memcpy(ret_tag, text.ptr, OP_LEDGER_TAG_LEN);
    ret_tag[OP_LEDGER_TAG_LEN] = '\0';
    memcpy(ret_nonce, text.ptr + NONCE_AT, OP_NONCE_LEN);
    ret_nonce[OP_NONCE_LEN] = '\0';
    *ret_request = request;
    return true;
}
