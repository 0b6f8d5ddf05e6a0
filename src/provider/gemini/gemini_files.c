/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/driver.h"
#include "provider/gemini/gemini.h"
#include "provider/reply.h"

static bool read_file(struct op_json v, struct op_remote_file *ret)
{
    struct op_str name = op_json_str(op_json_get(v, "name"));
    if (!op_gemini_name_ok(name, "files"))
        return false;
    struct op_remote_file file = {0};
    op_copy_whole(file.id, sizeof(file.id), name);
    op_copy_whole(file.name, sizeof(file.name), op_json_str(op_json_get(v, "displayName")));
    file.bytes = op_json_count64(op_json_get(v, "sizeBytes"), -1);
    file.created_ms = op_json_time(op_json_get(v, "createTime"));
    *ret = file;
    return true;
}

/* The upload has ended: absent is as good, since proxies drop headers; any other word is not. */
static bool is_final(const struct op_http_reply *reply)
{
    struct op_str status = op_http_header_get(reply, "X-Goog-Upload-Status");
    return !status.ptr ||
           (status.len == strlen("final") && strncasecmp(status.ptr, "final", status.len) == 0);
}

enum op_rc op_gemini_decode_upload(const struct op_http_reply *reply,
                                   struct op_remote_file *ret, struct op_err *err)
{
    if (!op_reply_good(reply))
        return op_gemini_decode_error(reply, err);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root = op_reply_json(reply, parser);
    /* Errors come with 200 and the status "final", too (gemini.md 3). */
    if (op_json_ok(op_gemini_error_of(root)))
        return op_gemini_decode_error(reply, err);
    struct op_json file = op_json_get(root, "file");
    struct op_remote_file read;
    if (!is_final(reply) || !read_file(file, &read))
        return op_reply_unusable(reply, "Gemini", "a finished file", err);
    if (op_str_is(op_json_str(op_json_get(file, "state")), "FAILED"))
        return op_reply_unusable(reply, "Gemini", "a usable file", err);
    *ret = read;
    return OP_OK;
}

bool op_gemini_next_page(struct op_json root, char next_cursor[256])
{
    struct op_json token = op_json_get(root, "nextPageToken");
    struct op_str text = op_json_str(token);
    next_cursor[0] = '\0';
    if (!op_json_ok(token))
        return true;
    if (!text.ptr || text.len > 255 || (text.len && memchr(text.ptr, '\0', text.len)))
        return false;
    op_copy_whole(next_cursor, 256, text);
    return true;
}

/* Whole or not at all, as a list of batches. */
static bool page_ok(struct op_json root)
{
    struct op_json files = op_json_get(root, "files");
    if (!op_json_ok(files))
        return op_json_is(root, OP_JSON_OBJECT) &&
               (op_json_count(root) == 0 ||
                op_json_is(op_json_get(root, "nextPageToken"), OP_JSON_STRING));
    if (!op_json_is(files, OP_JSON_ARRAY))
        return false;
    struct op_json_iter it = op_json_iter(files);
    struct op_remote_file file;
    while (op_json_next(&it))
        if (!read_file(it.value, &file))
            return false;
    return true;
}

enum op_rc op_gemini_decode_files(const struct op_http_reply *reply,
                                  void (*fn)(void *arg, const struct op_remote_file *file),
                                  void *arg, char next_cursor[256], struct op_err *err)
{
    if (!op_reply_good(reply))
        return op_gemini_decode_error(reply, err);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root = op_reply_json(reply, parser);
    char cursor[256];
    if (!page_ok(root))
        return op_reply_unusable(reply, "Gemini", "a readable list of files", err);
    if (!op_gemini_next_page(root, cursor))
        return op_reply_unusable(reply, "Gemini", "a way to the next page of the list", err);
    struct op_json_iter it = op_json_iter(op_json_get(root, "files"));
    struct op_remote_file file;
    while (op_json_next(&it))
        if (read_file(it.value, &file))
            fn(arg, &file);
    memcpy(next_cursor, cursor, sizeof(cursor));
    return OP_OK;
}
