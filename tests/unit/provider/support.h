/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_UNIT_PROVIDER_SUPPORT_H
#define OP_TESTS_UNIT_PROVIDER_SUPPORT_H

/*
 * Model:     what the tests of the drivers have in common: one parser for the test's JSON, replies
 *            made of a status, headers and a body, and the check that nothing stays allocated.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/json.h"
#include "base/mem.h"
#include "net/http.h"
#include "provider/provider.h"

static struct op_json_parser *parser;

static inline int set_up(void **state)
{
    (void)state;
    parser = op_json_parser_new();
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    op_json_parser_freep(&parser);
    assert_int_equal(op_mem_live(), 0);
    return 0;
}

static inline struct op_json read_json(const char *text)
{
    struct op_err err = OP_ERR_INIT;
    struct op_json v = {0};
    if (op_json_parse(parser, text, strlen(text), false, &v, &err))
        fail_msg("%s: %s", text, err.msg);
    return v;
}

/* headers: raw lines with CRLF, or "". */
static inline void make_reply(struct op_http_reply *reply, int status, const char *headers,
                              const char *body)
{
    *reply = (struct op_http_reply){.status = status, .released = true, .gate_passed = true};
    op_buf_init(&reply->body, OP_HTTP_REPLY_MAX);
    op_buf_init(&reply->headers, 64 * 1024);
    op_buf_addz(&reply->body, body);
    op_buf_addz(&reply->headers, headers);
    reply->content_length = -1;
}

static inline void drop_reply(struct op_http_reply *reply)
{
    op_buf_release(&reply->body);
    op_buf_release(&reply->headers);
}

static inline void assert_str(struct op_str s, const char *text)
{
    if (!text) {
        assert_null(s.ptr);
        return;
    }
    assert_non_null(s.ptr);
    if (!op_str_is(s, text))
        fail_msg("'" OP_STR_FMT "' is not '%s'", OP_STR_ARG(s), text);
}

static inline void assert_mentions(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' does not mention '%s'", text, part);
}

#endif
