/* SPDX-License-Identifier: MIT */
#include "emulator/multipart.h"

#include <string.h>
#include <strings.h>

#define PENDING_MAX ((size_t)4 * 1024 * 1024)
#define HEAD_MAX    ((size_t)16 * 1024)
#define FIELD_MAX   ((size_t)64 * 1024)

/* The value of a parameter of a header, quoted or not: boundary=x, name="file". */
static struct op_str parameter(struct op_str header, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i + len + 1 < header.len; i++) {
        bool begins = i == 0 || header.ptr[i - 1] == ' ' || header.ptr[i - 1] == ';';
        if (!begins || strncasecmp(header.ptr + i, name, len) != 0 ||
            header.ptr[i + len] != '=')
            continue;
        struct op_str rest = {header.ptr + i + len + 1, header.len - i - len - 1};
        if (rest.ptr[0] != '"')
            return op_str_trim(op_str_cut(&rest, ';'));
        rest.ptr++;
        rest.len--;
        return op_str_cut(&rest, '"');
    }
    return OP_STR_NULL;
}

bool op_emu_multipart_init(struct op_emu_multipart *form, struct op_str content_type,
                           struct op_arena *arena, op_emu_part_fn on_file, void *arg)
{
    struct op_str boundary = content_type.ptr && op_str_starts(content_type, "multipart/")
                                 ? parameter(content_type, "boundary")
                                 : OP_STR_NULL;
    *form = (struct op_emu_multipart){.arena = arena, .on_file = on_file, .arg = arg};
    op_buf_init(&form->delimiter, HEAD_MAX);
    op_buf_init(&form->pending, PENDING_MAX);
    op_buf_init(&form->field, FIELD_MAX);
    op_buf_addz(&form->delimiter, "\r\n--");
    op_buf_add_str(&form->delimiter, boundary);
    /* The first delimiter lacks the line end that all others have. */
    op_buf_addz(&form->pending, "\r\n");
    return boundary.len > 0;
}

void op_emu_multipart_release(struct op_emu_multipart *form)
{
    op_buf_release(&form->delimiter);
    op_buf_release(&form->pending);
    op_buf_release(&form->field);
}

static void begin_part(struct op_emu_multipart *form, struct op_str head)
{
    struct op_emu_part *part = &form->parts[form->count];
    if (form->count == OP_EMU_PARTS_MAX) {
        form->broken = true;
        return;
    }
    *part = (struct op_emu_part){0};
    while (head.len > 0) {
        struct op_str line = op_str_trim(op_str_cut(&head, '\n'));
        if (line.len < 20 || strncasecmp(line.ptr, "content-disposition:", 20) != 0)
            continue;
        struct op_str name = parameter(line, "name"), file = parameter(line, "filename");
        if (name.ptr)
            part->name = op_arena_strdup(form->arena, name);
        if (file.ptr)
            part->filename = op_arena_strdup(form->arena, file);
    }
    form->broken = part->name == NULL;
    op_buf_clear(&form->field);
    form->count += !form->broken;
}

static void part_data(struct op_emu_multipart *form, const char *ptr, size_t len)
{
    if (form->count == 0 || len == 0) /* a preamble means nothing */
        return;
    const struct op_emu_part *part = &form->parts[form->count - 1];
    if (part->filename)
        form->on_file(form->arg, part, ptr, len);
    else
        op_buf_add(&form->field, ptr, len);
}

static void end_part(struct op_emu_multipart *form)
{
    if (form->count == 0)
        return;
    struct op_emu_part *part = &form->parts[form->count - 1];
    if (!part->filename)
        part->value = op_str_from(op_arena_strdup(form->arena, op_buf_str(&form->field)));
}

/* Each takes a prefix of what is pending and returns its length; 0 when more must come. */
static size_t take_data(struct op_emu_multipart *form, const char *ptr, size_t len)
{
    size_t mark = form->delimiter.len;
    const char *at = memmem(ptr, len, form->delimiter.ptr, mark);
    if (at) {
        part_data(form, ptr, (size_t)(at - ptr));
        end_part(form);
        form->state = OP_EMU_PART_AFTER;
        return (size_t)(at - ptr) + mark;
    }
    size_t sure = len >= mark ? len - mark + 1 : 0;
    part_data(form, ptr, sure);
    return sure;
}

static size_t take_after(struct op_emu_multipart *form, const char *ptr, size_t len)
{
    if (len < 2)
        return 0;
    if (memcmp(ptr, "--", 2) == 0) {
        form->complete = true;
        return len;
    }
    form->broken = memcmp(ptr, "\r\n", 2) != 0;
    form->state = OP_EMU_PART_HEAD;
    return form->broken ? 0 : 2;
}

static size_t take_head(struct op_emu_multipart *form, const char *ptr, size_t len)
{
    const char *end = memmem(ptr, len, "\r\n\r\n", 4);
    if (!end) {
        form->broken = len > HEAD_MAX;
        return 0;
    }
    size_t head = (size_t)(end - ptr) + 4;
    begin_part(form, (struct op_str){ptr, head});
    form->state = OP_EMU_PART_DATA;
    return head;
}

void op_emu_multipart_add(struct op_emu_multipart *form, const char *ptr, size_t len)
{
    struct op_buf *pending = &form->pending;
    size_t at = 0, taken = 1;
    if (form->complete || form->broken)
        return;
    op_buf_add(pending, ptr, len);
    while (taken && at < pending->len && !form->complete && !form->broken) {
        const char *from = pending->ptr + at;
        size_t left = pending->len - at;
        if (form->state == OP_EMU_PART_DATA)
            taken = take_data(form, from, left);
        else if (form->state == OP_EMU_PART_AFTER)
            taken = take_after(form, from, left);
        else
            taken = take_head(form, from, left);
        at += taken;
    }
    memmove(pending->ptr, pending->ptr + at, pending->len - at);
    pending->len -= at;
    form->broken |= pending->failed;
}

struct op_str op_emu_multipart_field(const struct op_emu_multipart *form, const char *name)
{
    for (size_t i = 0; i < form->count; i++) {
        if (!form->parts[i].filename && strcmp(form->parts[i].name, name) == 0)
            return form->parts[i].value;
    }
    return OP_STR_NULL;
}
