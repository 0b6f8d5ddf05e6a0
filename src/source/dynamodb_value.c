/* SPDX-License-Identifier: MIT */
#include "source/dynamodb_value.h"

#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"

/* --- numbers --- */

/* A decimal number without anything that does not change its value. */
struct decimal {
    char digits[64]; /* no zeros at either end */
    size_t count;
    int64_t exponent; /* of the last digit */
    bool negative;
};

static bool parse_exponent(struct op_str *text, int64_t *ret)
{
    char *mark = memchr(text->ptr, 'e', text->len);
    if (!mark)
        mark = memchr(text->ptr, 'E', text->len);
    *ret = 0;
    if (!mark)
        return true;
    struct op_str tail = {mark + 1, (size_t)(text->ptr + text->len - mark - 1)};
    text->len = (size_t)(mark - text->ptr);
    return op_str_int64(tail, ret) && *ret > -10000 && *ret < 10000;
}

static bool parse_decimal(struct op_str text, struct decimal *ret)
{
    *ret = (struct decimal){.negative = op_str_starts(text, "-")};
    if (!parse_exponent(&text, &ret->exponent))
        return false;
    bool point = false, any = false;
    for (size_t i = ret->negative || op_str_starts(text, "+"); i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9')
            return false;
        any = true;
        ret->exponent -= point;
        if (ret->count == sizeof(ret->digits))
            return false;
        if (ret->count || c != '0')
            ret->digits[ret->count++] = c;
    }
    while (ret->count && ret->digits[ret->count - 1] == '0') {
        ret->count--;
        ret->exponent++;
    }
    return any;
}

static bool same_number(struct op_str a, struct op_str b)
{
    struct decimal x, y;
    return parse_decimal(a, &x) && parse_decimal(b, &y) && x.count == y.count &&
           x.negative == y.negative && x.exponent == y.exponent &&
           memcmp(x.digits, y.digits, x.count) == 0;
}

struct op_value op_dynamodb_number(struct op_str digits)
{
    int64_t i;
    double d;
    char text[32];
    if (op_str_int64(digits, &i))
        return op_value_int(i);
    if (op_str_double(digits, &d) &&
        same_number(digits, (struct op_str){text, op_json_format_double(d, text)}))
        return (struct op_value){.type = OP_VALUE_DOUBLE, .d = d};
    return op_value_text(digits);
}

/* As JSON writes numbers; what it cannot write so is a string of the digits. */
static void write_number(struct op_buf *out, struct op_str text)
{
    size_t at = op_str_starts(text, "-");
    struct decimal ignored;
    bool digit = at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9';
    bool zero = digit && text.ptr[at] == '0' && at + 1 < text.len && text.ptr[at + 1] >= '0' &&
                text.ptr[at + 1] <= '9';
    bool open = text.len && text.ptr[text.len - 1] == '.';
    if (digit && !zero && !open && parse_decimal(text, &ignored)) {
        op_buf_add_str(out, text);
        return;
    }
    op_buf_addc(out, '"');
    op_json_escape(out, text.ptr, text.len);
    op_buf_addc(out, '"');
}

/* --- bytes --- */

static int base64_digit(char c)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool add_bytes(struct op_buf *out, struct op_str text)
{
    uint32_t bits = 0;
    int have = 0;
    while (text.len && text.ptr[text.len - 1] == '=')
        text.len--;
    for (size_t i = 0; i < text.len; i++) {
        int digit = base64_digit(text.ptr[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            op_buf_addc(out, (char)(bits >> have & 0xff));
        }
    }
    return have < 6;
}

/* --- values --- */

enum kind { S, N, B, BOOL, NUL, M, L, SS, NS, BS };
static const char *const kinds[] = {"S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"};

/* The one member of an attribute value: its kind and what it holds. */
static enum op_rc open_value(struct op_json attribute, enum kind *ret_kind, struct op_json *ret,
                             struct op_err *err)
{
    static const enum op_json_type types[] = {
        [S] = OP_JSON_STRING, [N] = OP_JSON_STRING, [B] = OP_JSON_STRING, [BOOL] = OP_JSON_TRUE,
        [NUL] = OP_JSON_TRUE, [M] = OP_JSON_OBJECT, [L] = OP_JSON_ARRAY,  [SS] = OP_JSON_ARRAY,
        [NS] = OP_JSON_ARRAY, [BS] = OP_JSON_ARRAY};
    struct op_json_iter it = op_json_iter(attribute);
    if (!op_json_is(attribute, OP_JSON_OBJECT) || !op_json_next(&it))
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "it is no attribute value");
    for (size_t i = 0; i < OP_COUNT(kinds); i++) {
        bool fits = op_json_is(it.value, types[i]) ||
                    (types[i] == OP_JSON_TRUE && op_json_is(it.value, OP_JSON_FALSE));
        if (!op_str_is(it.name, kinds[i]) || !fits)
            continue;
        *ret_kind = (enum kind)i;
        *ret = it.value;
        return OP_OK;
    }
    return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                      "its type '" OP_STR_FMT "' is not known or its value is no such",
                      OP_STR_ARG(it.name));
}

static enum op_rc plain_list(enum kind kind, struct op_json list, struct op_buf *out,
                             struct op_err *err)
{
    struct op_json_iter it = op_json_iter(list);
    op_buf_addc(out, '[');
    while (op_json_next(&it)) {
        op_buf_addz(out, it.index ? "," : "");
        if (kind == L) {
            enum op_rc rc = op_dynamodb_plain(it.value, out, err);
            if (rc)
                return rc;
        } else if (!op_json_is(it.value, OP_JSON_STRING)) {
            return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "its set holds no texts");
        } else if (kind == NS) {
            write_number(out, op_json_str(it.value));
        } else {
            op_json_write(out, it.value);
        }
    }
    op_buf_addc(out, ']');
    return OP_OK;
}

enum op_rc op_dynamodb_plain_item(struct op_json item, struct op_buf *out, struct op_err *err)
{
    struct op_json_iter it = op_json_iter(item);
    op_buf_addc(out, '{');
    while (op_json_next(&it)) {
        op_buf_addz(out, it.index ? "," : "");
        op_json_write(out, op_json_iter_name(&it));
        op_buf_addc(out, ':');
        enum op_rc rc = op_dynamodb_plain(it.value, out, err);
        if (rc)
            return rc;
    }
    op_buf_addc(out, '}');
    return OP_OK;
}

enum op_rc op_dynamodb_plain(struct op_json attribute, struct op_buf *out, struct op_err *err)
{
    enum kind kind;
    struct op_json value;
    enum op_rc rc = open_value(attribute, &kind, &value, err);
    if (rc)
        return rc;
    switch (kind) {
    case N:
        write_number(out, op_json_str(value));
        return OP_OK;
    case NUL:
        op_buf_addz(out, "null");
        return OP_OK;
    case M:
        return op_dynamodb_plain_item(value, out, err);
    case L:
    case SS:
    case NS:
    case BS:
        return plain_list(kind, value, out, err);
    case S:
    case B:
    case BOOL:
        break;
    }
    op_json_write(out, value);
    return OP_OK;
}

enum op_rc op_dynamodb_cell(struct op_json attribute, struct op_buf *scratch,
                            struct op_value *ret, bool *ret_scratch, struct op_err *err)
{
    enum kind kind;
    struct op_json value;
    size_t begin = scratch->len;
    enum op_rc rc = open_value(attribute, &kind, &value, err);
    *ret_scratch = false;
    if (rc)
        return rc;
    switch (kind) {
    case S:
        *ret = op_value_text(op_json_str(value));
        return OP_OK;
    case N:
        *ret = op_dynamodb_number(op_json_str(value));
        return OP_OK;
    case BOOL:
        *ret = op_value_int(op_json_bool(value, false));
        return OP_OK;
    case NUL:
        *ret = op_value_null();
        return OP_OK;
    case B:
        if (!add_bytes(scratch, op_json_str(value)))
            return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "its bytes are no base64");
        break;
    case M:
    case L:
    case SS:
    case NS:
    case BS:
        rc = op_dynamodb_plain(attribute, scratch, err);
        break;
    }
    *ret_scratch = true;
    *ret = (struct op_value){.type = kind == B ? OP_VALUE_BLOB : OP_VALUE_TEXT,
                             .s = {NULL, scratch->len - begin}};
    return rc;
}
