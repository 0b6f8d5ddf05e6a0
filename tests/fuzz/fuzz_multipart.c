/* SPDX-License-Identifier: MIT */
/*
 * multipart/form-data, as the emulator reads it and the client writes it. Input: two bytes for the
 * lengths of the pieces, then either a body ('r' in front) or the content of a file to be uploaded.
 * Oracle: however it is cut into pieces, a body is read the same; what the client (which shares no code
 *         with the reader) writes is read as the file and its fields.
 */
#include "base/hash.h"
#include "emulator/multipart.h"
#include "fuzz.h"
#include "provider/openai/openai.h"

struct form {
    struct op_arena arena;
    struct op_emu_multipart form;
    struct op_buf file;
    char filename[128];
};

static void on_file(void *arg, const struct op_emu_part *part, const char *ptr, size_t len)
{
    struct form *f = arg;
    op_buf_add(&f->file, ptr, len);
    snprintf(f->filename, sizeof(f->filename), "%s", part->filename);
}

static bool read_form(struct form *f, const char *type, struct op_str body, size_t first,
                      size_t step)
{
    *f = (struct form){0};
    op_buf_init(&f->file, 64 * 1024 * 1024);
    if (!op_emu_multipart_init(&f->form, op_str_from(type), &f->arena, on_file, f))
        return false;
    for (size_t at = 0, len = first; at < body.len; at += len, len = step) {
        len = len == 0 || len > body.len - at ? body.len - at : len;
        op_emu_multipart_add(&f->form, body.ptr + at, len);
    }
    return true;
}

static void release_form(struct form *f)
{
    op_emu_multipart_release(&f->form);
    op_arena_release(&f->arena);
    op_buf_release(&f->file);
}

static void check_same(const struct form *a, const struct form *b)
{
    FUZZ_CHECK(a->form.complete == b->form.complete && a->form.broken == b->form.broken,
               "complete %d %d, broken %d %d", a->form.complete, b->form.complete,
               a->form.broken, b->form.broken);
    if (!a->form.complete || a->form.broken)
        return;
    FUZZ_CHECK(a->form.count == b->form.count, "%zu and %zu parts", a->form.count,
               b->form.count);
    FUZZ_CHECK(op_str_eq(op_buf_str(&a->file), op_buf_str(&b->file)), "files");
    for (size_t i = 0; i < a->form.count; i++) {
        FUZZ_CHECK(strcmp(a->form.parts[i].name, b->form.parts[i].name) == 0, "names");
        FUZZ_CHECK(op_str_eq(a->form.parts[i].value, b->form.parts[i].value), "values");
    }
}

static void read_pieces(const char *type, struct op_str body, size_t first, size_t step)
{
    struct form whole, pieces;
    if (read_form(&whole, type, body, 0, 0) && read_form(&pieces, type, body, first, step)) {
        check_same(&whole, &pieces);
        release_form(&pieces);
    }
    release_form(&whole);
}

static void upload(struct op_str content, size_t first, size_t step)
{
    char url[] = "http://127.0.0.1:1", key[] = "k", sha[OP_SHA256_HEX], none[] = "";
    struct op_lane lane = {.provider = op_provider_find("openai"), .base_url = url, .key = key};
    for (size_t i = 0; i < OP_LANE_EXTRAS; i++)
        lane.extras[i] = none;
    struct op_exchange x;
    struct op_err err = OP_ERR_INIT;
    op_sha256_hex(content.ptr, content.len, sha);
    struct op_create what = {.tag = "op-ab12cd-abcdefgh",
                             .file_id = "",
                             .model = "m",
                             .endpoint = "responses",
                             .sha256 = sha,
                             .count = 1,
                             .bytes = (int64_t)content.len};
    FUZZ_CHECK(!lane.provider->upload(&lane, &what, NULL, &x, &err), "%s", err.msg);
    OP_CLEANUP(op_buf_release) struct op_buf body;
    const char *type = "";
    op_buf_init(&body, 64 * 1024 * 1024);
    op_buf_add_str(&body, op_buf_str(&x.body));
    op_buf_add_str(&body, content);
    op_buf_add_str(&body, op_buf_str(&x.tail));
    for (size_t i = 0; i < x.header_count; i++)
        if (strcmp(x.headers[i].name, "content-type") == 0)
            type = x.headers[i].value;
    struct form f;
    FUZZ_CHECK(read_form(&f, type, op_buf_str(&body), first, step), "'%s'", type);
    FUZZ_CHECK(f.form.complete && !f.form.broken, "not read");
    FUZZ_CHECK(op_str_eq(op_buf_str(&f.file), content), "another file");
    FUZZ_CHECK(!content.len || strncmp(f.filename, what.tag, strlen(what.tag)) == 0, "'%s'",
               f.filename);
    FUZZ_CHECK(op_str_is(op_emu_multipart_field(&f.form, "purpose"), "batch"), "purpose");
    release_form(&f);
    op_exchange_release(&x);
}

FUZZ_TARGET(multipart)
{
    size_t first = fuzz_byte(in), step = fuzz_byte(in) + 1u;
    struct op_str content = fuzz_rest(in);
    if (op_str_starts(content, "r")) {
        content.ptr++;
        content.len--;
        read_pieces("multipart/form-data; boundary=x", content, first, step);
    } else {
        upload(content, first, step);
    }
}
