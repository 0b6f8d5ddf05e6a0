/* SPDX-License-Identifier: MIT */
#include "provider/provider.h"

#include <string.h>

#include "base/mem.h"

#define URL_MAX   (8 * 1024)
#define STORE_MAX (64 * 1024)
#define BODY_MAX  (64 * 1024 * 1024)

void op_exchange_init(struct op_exchange *x)
{
    *x = (struct op_exchange){0};
    x->method = "GET";
    op_buf_init(&x->url, URL_MAX);
    op_buf_init(&x->store, STORE_MAX);
    op_buf_init(&x->body, BODY_MAX);
    op_buf_init(&x->tail, STORE_MAX);
}

void op_exchange_release(struct op_exchange *x)
{
    op_buf_release(&x->url);
    op_buf_release(&x->store);
    op_buf_release(&x->body);
    op_buf_release(&x->tail);
    *x = (struct op_exchange){0};
}

enum op_rc op_exchange_header(struct op_exchange *x, const char *name, const char *value,
                              struct op_err *err)
{
    /* The value is not repeated in the message: it may be the key. */
    if (value[strcspn(value, "\r\n")])
        return op_fail(err, OP_INVAL,
                       "header %s: the value holds a line break; remove it (a key is often "
                       "copied with one)",
                       name);
    if (x->header_count == OP_COUNT(x->headers))
        return op_fail(err, OP_INVAL, "header %s: an exchange has at most %d headers", name,
                       OP_EXCHANGE_HEADERS);
    /* The store may move while it grows, so the values are found again by their offsets. */
    size_t offsets[OP_EXCHANGE_HEADERS];
    for (size_t i = 0; i < x->header_count; i++)
        offsets[i] = (size_t)(x->headers[i].value - x->store.ptr);
    offsets[x->header_count] = x->store.len;
    op_buf_add(&x->store, value, strlen(value) + 1);
    enum op_rc rc = op_buf_finish(&x->store, "the headers of a request", err);
    size_t count = x->header_count + (rc ? 0 : 1);
    for (size_t i = 0; i < count; i++)
        x->headers[i].value = x->store.ptr + offsets[i];
    if (rc)
        return rc;
    x->headers[x->header_count++].name = name;
    return OP_OK;
}

void op_params_form_release(struct op_params_form *form)
{
    op_buf_release(&form->text);
    *form = (struct op_params_form){0};
}

bool op_provider_id_ok(struct op_str id)
{
    if (!id.ptr || id.len == 0 || id.len > OP_PROVIDER_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!plain && !memchr("_.:/-", c, 5))
            return false;
        if (c == '.' && i > 0 && id.ptr[i - 1] == '.')
            return false;
    }
    return true;
}
