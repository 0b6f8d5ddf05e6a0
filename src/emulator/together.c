/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "emulator/openai.h"
#include "emulator/state.h"

/*
 * How Together takes a file, at OpenAI's paths (together-py, lib/resources/files.py): a form without the
 * bytes is answered with 302, a signed place for them and the id to come; they are PUT there without a
 * key; POST /files/ID/preprocess then makes a file of them. Before that, nobody knows it.
 */

#define PURPOSE "batch-api"
#define PLACE   "/v1/signed/"

bool op_emu_together_is_form(struct op_emu_call *call)
{
    return op_str_starts(op_emu_call_header(call, "Content-Type"),
                         "application/x-www-form-urlencoded");
}

bool op_emu_together_is_place(const struct op_emu_call *call)
{
    return op_str_starts(call->path, PLACE);
}

/* The value of a form's member as it stands: what is signed here needs no escapes. */
static struct op_str member(struct op_str form, const char *name)
{
    while (form.len) {
        struct op_str pair = op_str_cut(&form, '&');
        struct op_str key = op_str_cut(&pair, '=');
        if (op_str_is(key, name))
            return pair;
    }
    return OP_STR_NULL;
}

void op_emu_together_begin(struct op_emu_call *call)
{
    struct op_emulator *em = call->emulator;
    struct op_str form = {call->body.ptr, call->body.len};
    struct op_str name = member(form, "file_name");
    char id[OP_EMU_ID_MAX];
    if (!op_str_is(member(form, "purpose"), PURPOSE) || !name.len ||
        !op_str_is(member(form, "file_type"), "jsonl") || !op_str_ends(name, ".jsonl")) {
        op_emu_openai_refuse(call, 400, NULL,
                             "A form names purpose=" PURPOSE ", file_type=jsonl and a file_name"
                             " that ends in .jsonl.");
        return;
    }
    op_emu_store_id(em->store, "file-", em->clock.start_us, op_emu_files_next_seq(em->files),
                    id);
    op_emu_reply_begin(call, 302, NULL);
    op_emu_reply_header(call, "location",
                        op_arena_printf(&call->arena, "%s" PLACE "%s?name=" OP_STR_FMT,
                                        op_emu_call_base(call), id, OP_STR_ARG(name)));
    op_emu_reply_header(call, "x-together-file-id", id);
}

/* ---- the place ---- */

struct coming {
    struct op_emu_receiving receiving;
    bool broken; /* the disk failed, with this error */
    struct op_err failed;
};

void op_emu_together_put_begin(struct op_emu_call *call)
{
    struct coming *coming = op_mem_alloc(sizeof(*coming));
    call->state = coming;
    coming->broken = op_emu_files_receive(call->emulator->files, &coming->receiving,
                                          &coming->failed) != OP_OK;
}

void op_emu_together_put_add(struct op_emu_call *call, const char *ptr, size_t len)
{
    struct coming *coming = call->state;
    if (!coming->broken)
        coming->broken =
            op_emu_files_add(&coming->receiving, ptr, len, &coming->failed) != OP_OK;
}

void op_emu_together_put_release(struct op_emu_call *call)
{
    struct coming *coming = OP_TAKE(call->state);
    op_emu_files_abort(&coming->receiving);
    op_mem_free(coming);
}

void op_emu_together_put(struct op_emu_call *call)
{
    struct coming *coming = call->state;
    struct op_emu_files *files = call->emulator->files;
    struct op_str name = op_emu_call_query(call, "name");
    struct op_emu_file file = {
        .provider = call->api->name,
        .name = op_arena_strdup(&call->arena, name),
        .purpose = OP_EMU_TOGETHER_RAW,
        .mime = "application/jsonl",
        .seq = op_emu_files_next_seq(files),
        .created_us = op_emu_clock_now(&call->emulator->clock),
    };
    if (call->id.len >= sizeof(file.id) || !name.len) {
        op_emu_openai_refuse(call, 403, NULL, "The signature does not match.");
        return;
    }
    memcpy(file.id, call->id.ptr, call->id.len);
    if (!coming->broken)
        coming->broken = op_emu_files_keep(&coming->receiving, &file, &coming->failed) != OP_OK;
    if (coming->broken)
        op_emu_openai_disk_failed(call, &coming->failed);
    else
        op_emu_reply_begin(call, 200, NULL);
}

void op_emu_together_preprocess(struct op_emu_call *call)
{
    struct op_emu_file file;
    struct op_err err = OP_ERR_INIT;
    if (!op_emu_openai_find_file(call, &file))
        return;
    file.purpose = PURPOSE;
    if (op_emu_files_put(call->emulator->files, &file, &err))
        op_emu_openai_disk_failed(call, &err);
    else
        op_emu_openai_get_file(call);
}
