/* SPDX-License-Identifier: MIT */
#include "core/raw_key.h"

/* Where " (N)" begins; text.len when it does not end so. */
static size_t number_at(struct op_str text)
{
    if (text.len < 4 || text.ptr[text.len - 1] != ')')
        return text.len;
    size_t at = text.len - 1;
    while (at > 0 && text.ptr[at - 1] >= '0' && text.ptr[at - 1] <= '9')
        at--;
    bool any = at < text.len - 1;
    return any && at >= 2 && text.ptr[at - 1] == '(' && text.ptr[at - 2] == ' ' ? at - 2
                                                                                : text.len;
}

struct op_str op_raw_key_id(struct op_str key)
{
    return (struct op_str){key.ptr, number_at(key)};
}

void op_raw_key_write(struct op_buf *out, struct op_str id, int64_t n)
{
    op_buf_add_str(out, id);
    if (n > 1 || id.len == 0 || number_at(id) < id.len)
        op_buf_addf(out, " (%lld)", (long long)n);
}
