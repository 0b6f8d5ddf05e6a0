/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/driver.h"
#include "provider/openai/openai.h"
#include "provider/reply.h"

#define NAME_END ".jsonl" /* a file of any other name is refused at upload */

/* What is written between quotes in a header of a part. */
static enum op_rc check_tag(const struct op_create *what, struct op_err *err)
{
    struct op_str tag = op_str_from(what->tag);
    if (!op_provider_id_ok(tag) || memchr(tag.ptr, '/', tag.len))
        return op_fail(err, OP_INVAL, "'%.80s' cannot be the name of a file", what->tag);
    struct op_str sha256 = op_str_from(what->sha256);
    if (sha256.len != 64 || !op_provider_id_ok(sha256))
        return op_fail(err, OP_INVAL, "an upload needs the SHA-256 of its file");
    return OP_OK;
}

/* --- upload --------------------------------------------------------------------------------- */

/* Together's way, as its SDK goes it (together-py, lib/resources/files.py): the form is answered
 * with 302, a place for the bytes and the id to come; then /preprocess makes a file of them. */
enum op_rc op_openai_upload_begin(const struct op_lane *lane, const struct op_create *what,
                                  struct op_exchange *ret, struct op_err *err)
{
    if (!lane->provider->dialect->upload_redirects)
        return OP_NOTFOUND;
    enum op_rc rc = check_tag(what, err);
    if (rc)
        return rc;
    struct op_exchange x;
    rc = op_openai_begin(lane, "POST", "/files", NULL, "", &x, err);
    if (rc)
        return rc;
    x.redirects = true;
    rc = op_exchange_header(&x, "content-type", "application/x-www-form-urlencoded", err);
    op_buf_addf(&x.body,
                "purpose=%s&file_type=jsonl&file_name=", lane->provider->dialect->purpose);
    op_url_add_escaped(&x.body, what->tag);
    op_buf_addz(&x.body, NAME_END);
    if (!rc)
        rc = op_buf_finish(&x.body, "the body of a request", err);
    if (rc) {
        op_exchange_release(&x);
        return rc;
    }
    *ret = x;
    return OP_OK;
}

/* The place is a signed one at another house: the key must not travel there. */
static enum op_rc put_bytes(const struct op_lane *lane, const struct op_http_reply *begun,
                            struct op_exchange *ret, struct op_err *err)
{
    struct op_str place = op_http_header_get(begun, "location");
    struct op_exchange x;
    op_exchange_init(&x);
    x.method = "PUT";
    x.with_file = true;
    op_buf_add_str(&x.url, place);
    enum op_rc rc = op_buf_finish(&x.url, "the URL of an upload", err);
    /* Same origin as itself: an absolute URL without a user part or strange characters. */
    if (!rc && !op_url_same_origin(x.url.ptr, x.url.ptr))
        rc = op_fail_as(err, OP_REMOTE, OP_DISP_RETRY,
                        "the API named no place to upload to (status %d)", begun->status);
    if (!rc && !op_url_same_origin(lane->base_url, x.url.ptr) &&
        !op_str_starts(place, "https://"))
        rc = op_fail_as(err, OP_REMOTE, OP_DISP_RETRY,
                        "the place to upload to is on another host and not https");
    if (!rc)
        rc = op_exchange_header(&x, "content-type", "application/octet-stream", err);
    if (rc) {
        op_exchange_release(&x);
        return rc;
    }
    *ret = x;
    return OP_OK;
}

/* The boundary is made of the file's own digest: no file holds its own. */
static void write_form(struct op_exchange *x, const struct op_create *what, const char *purpose)
{
    const char *b = what->sha256;
    op_buf_addf(
        &x->body,
        "--op-%s\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n%s\r\n"
        "--op-%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s" NAME_END
        "\"\r\nContent-Type: application/jsonl\r\n\r\n",
        b, purpose, b, what->tag);
    op_buf_addf(&x->tail, "\r\n--op-%s--\r\n", b);
    x->with_file = true;
}

enum op_rc op_openai_upload(const struct op_lane *lane, const struct op_create *what,
                            const struct op_http_reply *begun, struct op_exchange *ret,
                            struct op_err *err)
{
    enum op_rc rc = check_tag(what, err);
    if (rc)
        return rc;
    if (lane->provider->dialect->upload_redirects)
        return put_bytes(lane, begun, ret, err);
    struct op_exchange x;
    rc = op_openai_begin(lane, "POST", "/files", NULL, "", &x, err);
    if (rc)
        return rc;
    char type[128];
    snprintf(type, sizeof(type), "multipart/form-data; boundary=op-%s", what->sha256);
    rc = op_exchange_header(&x, "content-type", type, err);
    write_form(&x, what, lane->provider->dialect->purpose);
    if (!rc)
        rc = op_buf_finish(&x.body, "the head of an upload", err);
    if (!rc)
        rc = op_buf_finish(&x.tail, "the tail of an upload", err);
    if (rc) {
        op_exchange_release(&x);
        return rc;
    }
    *ret = x;
    return OP_OK;
}

enum op_rc op_openai_upload_end(const struct op_lane *lane, const struct op_http_reply *begun,
                                struct op_exchange *ret, struct op_err *err)
{
    if (!lane->provider->dialect->upload_redirects)
        return OP_NOTFOUND;
    struct op_str told = op_http_header_get(begun, "x-together-file-id");
    if (!op_provider_id_ok(told))
        return op_fail_as(err, OP_REMOTE, OP_DISP_RETRY,
                          "the API gave the file to upload no usable id");
    OP_CLEANUP(op_mem_freep) char *id = op_mem_strndup(told.ptr, told.len);
    return op_openai_begin(lane, "POST", "/files", id, "/preprocess", ret, err);
}

/* --- files ---------------------------------------------------------------------------------- */

static bool read_file(struct op_json v, struct op_remote_file *ret)
{
    struct op_str id = op_json_str(op_json_get(v, "id"));
    struct op_str object = op_json_str(op_json_get(v, "object"));
    if (!op_provider_id_ok(id) || (object.ptr && !op_str_is(object, "file")))
        return false;
    struct op_remote_file file = {
        .bytes = op_json_int(op_json_get(v, "bytes"), -1),
        .created_ms = op_openai_time(op_json_get(v, "created_at")),
    };
    op_copy_whole(file.id, sizeof(file.id), id);
    struct op_str name = op_json_str(op_json_get(v, "filename"));
    if (op_str_ends(name, NAME_END))
        name.len -= strlen(NAME_END);
    op_copy_whole(file.name, sizeof(file.name), name);
    *ret = file;
    return true;
}

enum op_rc op_openai_decode_upload(const struct op_http_reply *reply,
                                   struct op_remote_file *ret, struct op_err *err)
{
    if (reply->status < 200 || reply->status > 299)
        return op_openai_decode_error(reply, err);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    struct op_err ignored = OP_ERR_INIT;
    struct op_remote_file file;
    if (op_json_parse(parser, reply->body.ptr, reply->body.len, true, &root, &ignored) ||
        !read_file(root, &file))
        return op_reply_unusable(reply, "the API", "a file", err);
    if (op_str_is(op_json_str(op_json_get(root, "status")), "error")) {
        char why[300];
        op_remote_text(op_json_str(op_json_get(root, "status_details")), why, sizeof(why));
        return op_fail_as(err, OP_REMOTE, OP_DISP_REJECT, "the API cannot use the file: %s",
                          why);
    }
    *ret = file;
    return OP_OK;
}

enum op_rc op_openai_files(const struct op_lane *lane, const char *cursor,
                           struct op_exchange *ret, struct op_err *err)
{
    char query[64];
    snprintf(query, sizeof(query), "?purpose=%s&limit=1000&order=desc",
             lane->provider->dialect->purpose);
    OP_CLEANUP(op_buf_release) struct op_buf tail;
    op_buf_init(&tail, 4096);
    enum op_rc rc = op_openai_page(lane, query, cursor, &tail, err);
    return rc ? rc : op_openai_begin(lane, "GET", "/files", NULL, tail.ptr, ret, err);
}

enum op_rc op_openai_decode_files(const struct op_http_reply *reply,
                                  void (*fn)(void *arg, const struct op_remote_file *file),
                                  void *arg, char next_cursor[256], struct op_err *err)
{
    if (reply->status < 200 || reply->status > 299)
        return op_openai_decode_error(reply, err);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    struct op_err ignored = OP_ERR_INIT;
    if (op_json_parse(parser, reply->body.ptr, reply->body.len, true, &root, &ignored) ||
        !op_json_is(op_openai_page_items(root), OP_JSON_ARRAY))
        return op_reply_unusable(reply, "the API", "a list of files", err);
    char cursor[256];
    if (!op_openai_next_page(root, cursor))
        return op_reply_unusable(reply, "the API", "a way to the next page of the list", err);
    struct op_json_iter it = op_json_iter(op_openai_page_items(root));
    struct op_remote_file file;
    /* A stranger's file that cannot be read is passed over: at worst ours is uploaded again. */
    while (op_json_next(&it))
        if (read_file(it.value, &file))
            fn(arg, &file);
    memcpy(next_cursor, cursor, sizeof(cursor));
    return OP_OK;
}
