/* SPDX-License-Identifier: MIT */

/*
 * What composing costs at least: records in, batch files out, and nothing kept about it. No ledger,
 * no hash, no key that must be unique, no template; the prompt is written in C.
 *
 *     limit-compose RECORDS PIPELINE_DIR OUT_DIR
 */
#include <stdio.h>

#include "base/io.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"

enum {
    BATCH_REQUESTS = 100000,
    BATCH_BYTES = 255 * 1000 * 1000,
    BLOCK = 512 * 1024,
    LINE_MAX_BYTES = 16 * 1024 * 1024,
};

struct compose {
    struct op_env *env;
    const char *out_dir;
    struct op_buf before, block; /* before: the params up to the prompt */
    struct op_writer writer;
    int64_t batches, count, bytes;
    bool open;
};

static enum op_rc read_text(struct op_env *env, const char *dir, const char *name,
                            struct op_buf *ret, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, name);
    return op_io_read_file(env, path, ret, err);
}

static enum op_rc make_before(struct compose *c, const char *dir, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf schema = {0};
    OP_CLEANUP(op_buf_release) struct op_buf system = {0};
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    op_buf_init(&schema, LINE_MAX_BYTES);
    op_buf_init(&system, LINE_MAX_BYTES);
    if (read_text(c->env, dir, "items.schema.json", &schema, err) ||
        read_text(c->env, dir, "system.md", &system, err) ||
        op_json_parse(parser, schema.ptr, schema.len, true, &root, err))
        return err->rc;
    op_buf_addz(&c->before,
                "\",\"params\":{\"model\":\"claude-haiku-5-5\",\"max_tokens\":1000,"
                "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":");
    op_json_write(&c->before, root);
    op_buf_addz(&c->before, "}},\"system\":\"");
    op_json_escape(&c->before, system.ptr, system.len);
    op_buf_addz(&c->before, "\",\"messages\":[{\"role\":\"user\",\"content\":\"Title: ");
    return op_buf_finish(&c->before, "the params", err);
}

static enum op_rc flush(struct compose *c, struct op_err *err)
{
    enum op_rc rc = op_buf_finish(&c->block, "a block", err);
    if (!rc)
        rc = op_io_write_all(c->env, c->writer.fd, c->block.ptr, c->block.len, c->writer.path,
                             err);
    c->bytes += (int64_t)c->block.len;
    op_buf_clear(&c->block);
    return rc;
}

static enum op_rc end_batch(struct compose *c, struct op_err *err)
{
    if (!c->open)
        return OP_OK;
    c->open = false;
    op_buf_addz(&c->block, "]}");
    enum op_rc rc = flush(c, err);
    return rc ? rc : op_writer_close(&c->writer, true, NULL, err);
}

static enum op_rc begin_batch(struct compose *c, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep)
    char *path = op_mem_printf("%s/batch-%lld.json", c->out_dir, (long long)++c->batches);
    enum op_rc rc = op_writer_open(&c->writer, c->env, path, false, err);
    c->open = !rc;
    c->count = 0;
    c->bytes = 0;
    op_buf_addz(&c->block, "{\"requests\":[");
    return rc;
}

static enum op_rc add(struct compose *c, struct op_json record, struct op_err *err)
{
    struct op_str key = op_json_str(op_json_get(record, "key"));
    struct op_str title = op_json_str(op_json_get(record, "title"));
    struct op_str body = op_json_str(op_json_get(record, "body"));
    if (!key.ptr || !title.ptr || !body.ptr)
        return op_fail(err, OP_INVAL, "a record lacks key, title or body");
    int64_t size = (int64_t)(c->before.len + title.len + body.len + body.len / 4 + 100);
    enum op_rc rc = OP_OK;
    if (c->open &&
        (c->count == BATCH_REQUESTS || c->bytes + (int64_t)c->block.len + size > BATCH_BYTES))
        rc = end_batch(c, err);
    if (!rc && !c->open)
        rc = begin_batch(c, err);
    if (rc)
        return rc;
    struct op_buf *out = &c->block;
    op_buf_addz(out, c->count++ ? ",\n{\"custom_id\":\"" : "{\"custom_id\":\"");
    op_json_escape(out, key.ptr, key.len);
    op_buf_add_str(out, op_buf_str(&c->before));
    op_json_escape(out, title.ptr, title.len);
    op_buf_addz(out, "\\n\\n");
    op_json_escape(out, body.ptr, body.len);
    op_buf_addz(out, "\\n\"}]}}");
    return out->len < BLOCK ? OP_OK : flush(c, err);
}

static enum op_rc compose(struct compose *c, const char *records, struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    enum op_rc rc = op_lines_open(c->env, records, 0, LINE_MAX_BYTES, &lines, err);
    while (!rc) {
        struct op_line line;
        struct op_json root;
        rc = op_lines_next(lines, &line, err);
        if (rc == OP_NOTFOUND && !err->rc)
            return end_batch(c, err);
        if (!rc)
            rc = op_json_parse(parser, line.ptr, line.len, true, &root, err);
        if (!rc)
            rc = add(c, root, err);
    }
    return rc;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("usage: limit-compose RECORDS PIPELINE_DIR OUT_DIR\n", stderr);
        return 2;
    }
    struct compose c = {.env = op_env_default(), .out_dir = argv[3], .writer = {.fd = -1}};
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&c.before, LINE_MAX_BYTES);
    op_buf_init(&c.block, 2 * (size_t)LINE_MAX_BYTES);
    enum op_rc rc = make_before(&c, argv[2], &err);
    if (!rc)
        rc = compose(&c, argv[1], &err);
    if (rc)
        fprintf(stderr, "limit-compose: %s\n", err.msg);
    op_writer_abort(&c.writer);
    op_buf_release(&c.before);
    op_buf_release(&c.block);
    return rc ? 1 : 0;
}
