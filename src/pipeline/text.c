/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/mem.h"
#include "pipeline/definition.h"

bool op_bundle_partial(void *bundle, const char *name, struct op_str *ret_text)
{
    static const char *const endings[] = {"", ".mustache", ".md"};
    for (size_t i = 0; i < OP_COUNT(endings); i++) {
        OP_CLEANUP(op_mem_freep) char *file = op_mem_printf("%s%s", name, endings[i]);
        struct op_str text = op_bundle_get(bundle, file);
        if (text.ptr) {
            *ret_text = text;
            return true;
        }
    }
    return false;
}

/* The file's part of a place, and its line. */
static struct op_str file_of(const char *place, int64_t *ret_line)
{
    struct op_str file = op_str_from(place);
    const char *colon = strrchr(place, ':');
    *ret_line = 1;
    if (colon && op_str_int64(op_str_from(colon + 1), ret_line))
        file.len = (size_t)(colon - place);
    return file;
}

void op_text_shift(const struct op_text *text, struct op_err *err)
{
    int64_t first = 1;
    struct op_str file = file_of(text->place, &first);
    struct op_str msg = op_str_from(err->msg);
    if (first == 1 || msg.len <= file.len + 1 || memcmp(msg.ptr, file.ptr, file.len) != 0 ||
        msg.ptr[file.len] != ':')
        return;
    struct op_str rest = {msg.ptr + file.len + 1, msg.len - file.len - 1};
    struct op_str number = rest;
    number.len = strspn(rest.ptr, "0123456789");
    int64_t line = 0;
    if (!op_str_int64(number, &line))
        return;
    OP_CLEANUP(op_mem_freep)
    char *mended = op_mem_printf(OP_STR_FMT ":%lld%s", OP_STR_ARG(file),
                                 (long long)(line + first - 1), rest.ptr + number.len);
    size_t len = strlen(mended);
    if (len >= sizeof(err->msg))
        len = sizeof(err->msg) - 1;
    memcpy(err->msg, mended, len);
    err->msg[len] = '\0';
}

enum op_rc op_text_compile(const struct op_text *text,
                           const struct op_template_options *options, struct op_template **ret,
                           struct op_err *err)
{
    int64_t line = 1;
    struct op_str file = file_of(text->place, &line);
    OP_CLEANUP(op_mem_freep) char *name = op_mem_strndup(file.ptr, file.len);
    enum op_rc rc = op_template_compile(text->text, name, options, ret, err);
    if (rc)
        op_text_shift(text, err);
    return rc;
}
