/* SPDX-License-Identifier: MIT */
#include "sink/dynamodb_item.h"

#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "sink/jsontext.h"

enum { NUMBER_DIGITS = 38, NUMBER_LEAST = -130, NUMBER_MOST = 125 };

/* --- numbers --- */

/* A decimal number with at most 38 digits from the first to the last that is not zero, between
 * 1E-130 and 9.99E+125. *ret_digits: how many. */
static bool is_number(struct op_str text, size_t *ret_digits)
{
    int64_t exponent = 0, magnitude = 0;
    size_t digits = 0, zeros = 0, at = text.len && (*text.ptr == '-' || *text.ptr == '+');
    bool any = false, point = false;
    for (; at < text.len && text.ptr[at] != 'e' && text.ptr[at] != 'E'; at++) {
        char c = text.ptr[at];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9')
            return false;
        any = true;
        if (digits || c != '0') {
            zeros = c == '0' ? zeros + 1 : 0;
            digits++;
            magnitude += !point;
        } else {
            magnitude -= point;
        }
    }
    struct op_str tail = {text.ptr + at + 1, at < text.len ? text.len - at - 1 : 0};
    if (!any || (at < text.len && !op_str_int64(tail, &exponent)))
        return false;
    *ret_digits = digits - (digits ? zeros : 0);
    if (digits == 0)
        return true;
    magnitude += exponent - 1;
    return *ret_digits <= NUMBER_DIGITS && exponent > -1000 && exponent < 1000 &&
           magnitude >= NUMBER_LEAST && magnitude <= NUMBER_MOST;
}

static enum op_rc add_number(const char *column, struct op_str text, struct op_buf *out,
                             size_t *size, struct op_err *err)
{
    size_t digits = 0;
    if (!is_number(text, &digits))
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "column '%s': '" OP_STR_FMT
                          "' is no number that DynamoDB takes: up to "
                          "38 digits, 1E-130 to 9.99E+125",
                          column, (int)(text.len < 80 ? text.len : 80), text.ptr);
    op_buf_addz(out, "{\"N\":\"");
    op_buf_add_str(out, text);
    op_buf_addz(out, "\"}");
    *size += digits / 2 + 2;
    return OP_OK;
}

/* --- JSON --- */

/* Half of a pair that stands for one character has no meaning and is refused as a whole request. */
static bool has_half_pair(struct op_str token)
{
    bool open = false;
    for (size_t i = 0; i < token.len; i++) {
        bool low = false, high = false;
        if (token.ptr[i] == '\\') {
            const char *c = token.ptr + ++i;
            bool unit = *c == 'u' && (c[1] | 0x20) == 'd';
            high = unit && strchr("89abAB", c[2]);
            low = unit && !high && strchr("cdefCDEF", c[2]);
            i += *c == 'u' ? 4 : 0;
        }
        if (open != low)
            return true;
        open = high;
    }
    return open;
}

static enum op_rc refuse_json(const char *column, const char *why, struct op_err *err)
{
    return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "column '%s' is in 'json_columns' but %s",
                      column, why);
}

static enum op_rc add_json(const char *column, struct op_str text, int depth,
                           struct op_buf *out, size_t *size, struct op_err *err);

static enum op_rc add_container(const char *column, struct op_str text, int depth,
                                struct op_buf *out, size_t *size, struct op_err *err)
{
    struct op_jsontext_iter it = op_jsontext_iter(text);
    bool object = *text.ptr == '{', first = true;
    if (depth > OP_DYNAMODB_DEPTH_MAX)
        return refuse_json(column, "it is nested more than 32 deep", err);
    op_buf_addz(out, object ? "{\"M\":{" : "{\"L\":[");
    *size += 3;
    while (op_jsontext_next(&it)) {
        op_buf_addz(out, first ? "" : ",");
        first = false;
        if (object) {
            if (has_half_pair(it.name) || it.name.len == 0)
                return refuse_json(column, "a name in it is empty or no text", err);
            op_buf_addc(out, '"');
            op_buf_add_str(out, it.name);
            op_buf_addz(out, "\":");
            *size += it.name.len;
        }
        *size += 1;
        enum op_rc rc = add_json(column, it.value, depth + 1, out, size, err);
        if (rc)
            return rc;
    }
    op_buf_addz(out, object ? "}}" : "]}");
    return OP_OK;
}

/* text is one valid JSON value without white space around it. */
static enum op_rc add_json(const char *column, struct op_str text, int depth,
                           struct op_buf *out, size_t *size, struct op_err *err)
{
    switch (*text.ptr) {
    case '{':
    case '[':
        return add_container(column, text, depth, out, size, err);
    case '"':
        if (has_half_pair(text))
            return refuse_json(column, "it holds half a surrogate pair (\\ud800 to \\udfff)",
                               err);
        op_buf_addz(out, "{\"S\":");
        op_buf_add_str(out, text);
        op_buf_addc(out, '}');
        *size += text.len - 2;
        return OP_OK;
    case 'n':
        op_buf_addz(out, "{\"NULL\":true}");
        *size += 1;
        return OP_OK;
    case 't':
    case 'f':
        op_buf_addz(out, *text.ptr == 't' ? "{\"BOOL\":true}" : "{\"BOOL\":false}");
        *size += 1;
        return OP_OK;
    default:
        return add_number(column, text, out, size, err);
    }
}

static enum op_rc add_json_text(const char *column, struct op_str text, struct op_buf *out,
                                size_t *size, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf compact;
    op_buf_init(&compact, text.len + 1);
    if (op_utf8_valid_len(text.ptr, text.len) != text.len ||
        !op_jsontext_copy(&compact, text, 0, 0))
        return refuse_json(column, "its text is no JSON value", err);
    return add_json(column, op_buf_str(&compact), 1, out, size, err);
}

/* --- cells --- */

static void add_base64(struct op_str bytes, struct op_buf *out)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)bytes.ptr;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t bits = (uint32_t)p[i] << 16 | (uint32_t)(left > 1 ? p[i + 1] : 0) << 8 |
                        (left > 2 ? p[i + 2] : 0);
        char quad[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
                        left > 1 ? digits[bits >> 6 & 63] : '=',
                        left > 2 ? digits[bits & 63] : '='};
        op_buf_add(out, quad, sizeof(quad));
    }
}

static void add_text(struct op_str text, struct op_buf *out, size_t *size)
{
    op_buf_addz(out, "{\"S\":\"");
    op_json_escape(out, text.ptr, text.len);
    op_buf_addz(out, "\"}");
    *size += text.len;
}

static void add_blob(struct op_str bytes, struct op_buf *out, size_t *size)
{
    op_buf_addz(out, "{\"B\":\"");
    add_base64(bytes, out);
    op_buf_addz(out, "\"}");
    *size += bytes.len;
}

static enum op_rc add_bool(const char *column, struct op_str text, struct op_buf *out,
                           size_t *size, struct op_err *err)
{
    bool yes = op_str_is(text, "1") || op_str_is(text, "true");
    if (!yes && !op_str_is(text, "0") && !op_str_is(text, "false"))
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "column '%s' is a BOOL, and '" OP_STR_FMT "' is none of 0, 1, true, "
                          "false",
                          column, (int)(text.len < 80 ? text.len : 80), text.ptr);
    op_buf_addz(out, yes ? "{\"BOOL\":true}" : "{\"BOOL\":false}");
    *size += 1;
    return OP_OK;
}

static enum op_dynamodb_type own_type(struct op_value v)
{
    switch (v.type) {
    case OP_VALUE_INT:
    case OP_VALUE_DOUBLE:
        return TYPE_N;
    case OP_VALUE_BLOB:
        return TYPE_B;
    case OP_VALUE_TEXT:
    case OP_VALUE_NULL:
        break;
    }
    return TYPE_S;
}

enum op_rc op_dynamodb_add_cell(const char *column, enum op_dynamodb_type type,
                                struct op_value v, struct op_buf *out, size_t *size,
                                struct op_err *err)
{
    char scratch[32];
    struct op_str text = op_value_to_text(v, scratch);
    if (v.type == OP_VALUE_BLOB && type != TYPE_AUTO && type != TYPE_B)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "column '%s' is a blob, which only becomes B", column);
    /* SQLite's text of a double has 15 digits; this one reads back. */
    if (v.type == OP_VALUE_DOUBLE)
        text = (struct op_str){scratch, op_json_format_double(v.d, scratch)};
    switch (type == TYPE_AUTO ? own_type(v) : type) {
    case TYPE_N:
        return add_number(column, op_str_trim(text), out, size, err);
    case TYPE_BOOL:
        return add_bool(column, text, out, size, err);
    case TYPE_JSON:
        return add_json_text(column, text, out, size, err);
    case TYPE_B:
        add_blob(text, out, size);
        return OP_OK;
    case TYPE_S:
    case TYPE_AUTO:
        break;
    }
    add_text(text, out, size);
    return OP_OK;
}
