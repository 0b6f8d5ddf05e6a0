/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "emulator/batches.h"
#include "emulator/embed.h"
#include "emulator/gemini.h"
#include "emulator/state.h"

#define FILE_LIFE_US   (2 * OP_EMU_DAY_US)
#define OUTPUT_LIFE_US (42 * OP_EMU_DAY_US)
#define NAME_MAX_CHARS 40
#define PAGE_SIZE      10
#define PAGE_SIZE_MAX  100
#define GRANULARITY    "8388608"
#define HOST           "https://generativelanguage.googleapis.com"

/* ---- the file resource ---- */

static void write_file(struct op_json_out *out, const struct op_emu_file *file)
{
    OP_CLEANUP(op_buf_release) struct op_buf hash = {0};
    char text[256];
    op_buf_init(&hash, sizeof(text));
    /* Base64 of the hex digits, not of the digest: seen so. */
    op_emu_base64(&hash, file->sha256, strlen(file->sha256));
    op_json_out_object(out);
    snprintf(text, sizeof(text), "files/%s", file->id);
    op_json_out_kv_text(out, "name", text);
    if (file->name[0])
        op_json_out_kv_text(out, "displayName", file->name);
    op_json_out_kv_text(out, "mimeType", file->mime);
    snprintf(text, sizeof(text), "%lld", (long long)file->bytes);
    op_json_out_kv_text(out, "sizeBytes", text);
    op_emu_gemini_time(out, "createTime", file->created_us, file->seq);
    op_emu_gemini_time(out, "updateTime", file->created_us, file->seq);
    op_emu_gemini_time(out, "expirationTime", file->expires_us, file->seq);
    op_json_out_kv_str(out, "sha256Hash", op_buf_str(&hash));
    snprintf(text, sizeof(text), HOST "/v1beta/files/%s", file->id);
    op_json_out_kv_text(out, "uri", text);
    op_json_out_kv_text(out, "state", "ACTIVE");
    op_json_out_kv_text(out, "source", "UPLOADED");
    op_json_out_end_object(out);
}

static void reply_file(struct op_emu_call *call, const struct op_emu_file *file, bool wrapped)
{
    struct op_json_out out;
    op_emu_reply_begin(call, 200, "application/json; charset=UTF-8");
    op_json_out_init(&out, &call->reply.body, 0);
    if (wrapped) {
        op_json_out_object(&out);
        op_json_out_name(&out, "file");
    }
    write_file(&out, file);
    if (wrapped)
        op_json_out_end_object(&out);
}

void op_emu_gemini_no_file(struct op_emu_call *call, struct op_str name)
{
    op_emu_gemini_error(
        call, 403, NULL,
        op_arena_printf(&call->arena,
                        "You do not have permission to access the File " OP_STR_FMT
                        " or it may not exist.",
                        OP_STR_ARG(name)));
}

bool op_emu_gemini_find_file(struct op_emu_call *call, struct op_str name,
                             struct op_emu_file *ret)
{
    int64_t now = op_emu_clock_now(&call->emulator->clock);
    struct op_str id = name;
    if (op_str_starts(id, "files/"))
        id = (struct op_str){id.ptr + 6, id.len - 6};
    return op_emu_files_get(call->emulator->files, "gemini", id, now, ret);
}

/* ---- the start of an upload ---- */

/* A body may come in any content type, and be no JSON at all: then it says nothing. */
void op_emu_gemini_start(struct op_emu_call *call)
{
    struct op_err err = OP_ERR_INIT;
    struct op_json body = {0};
    char id[OP_EMU_ID_MAX];
    struct op_emulator *em = call->emulator;
    struct op_str length = op_emu_call_header(call, "X-Goog-Upload-Header-Content-Length");
    struct op_str mime = op_emu_call_header(call, "X-Goog-Upload-Header-Content-Type");
    int64_t announced = -1;
    if (!op_emu_call_json(call, &body, &err))
        body = (struct op_json){0};
    struct op_json file = op_emu_gemini_get(body, "file");
    struct op_str typed = op_json_str(op_emu_gemini_get(file, "mimeType"));
    struct op_str name = op_json_str(op_emu_gemini_get(file, "displayName"));
    if (length.ptr && (!op_str_int64(length, &announced) || announced < 0)) {
        op_emu_gemini_error(call, 400, NULL, "Invalid X-Goog-Upload-Header-Content-Length.");
        return;
    }
    if (announced > OP_EMU_GEMINI_FILE_MAX) {
        op_emu_gemini_error(call, 400, NULL,
                            "File size exceeds the maximum of 2147483648 bytes.");
        return;
    }
    op_emu_store_id_of(em->store, "", OP_EMU_LOWER, 32, em->clock.start_us,
                       atomic_fetch_add(&em->next_request, 1), id);
    if (op_emu_resumable_begin(em->resumables, id, name, typed.len ? typed : mime, announced,
                               &err)) {
        op_emu_gemini_disk_failed(call, &err);
        return;
    }
    op_emu_reply_begin(call, 200, "text/plain; charset=utf-8");
    op_emu_reply_header(
        call, "X-Goog-Upload-URL",
        op_arena_printf(&call->arena, "%s" OP_STR_FMT "?upload_id=%s&upload_protocol=resumable",
                        op_emu_call_base(call), OP_STR_ARG(call->path), id));
    op_emu_reply_header(call, "X-Goog-Upload-Status", "active");
    op_emu_reply_header(call, "X-Goog-Upload-Chunk-Granularity", GRANULARITY);
}

/* ---- its chunks ---- */

struct chunk {
    struct op_emu_resumable *resumable;
    bool broken; /* the disk failed, with this error */
    struct op_err failed;
};

static bool commands(const struct op_emu_call *call, const char *word)
{
    struct op_str all = op_emu_call_header(call, "X-Goog-Upload-Command");
    while (all.ptr) {
        struct op_str one = op_str_trim(op_str_cut(&all, ','));
        if (one.len == strlen(word) && strncasecmp(one.ptr, word, one.len) == 0)
            return true;
    }
    return false;
}

void op_emu_gemini_chunk_begin(struct op_emu_call *call)
{
    struct op_emulator *em = call->emulator;
    struct chunk *chunk = op_mem_alloc(sizeof(*chunk));
    struct op_str text = op_emu_call_header(call, "X-Goog-Upload-Offset");
    int64_t offset = 0;
    call->state = chunk;
    chunk->resumable =
        op_emu_resumable_take(em->resumables, op_emu_call_query(call, "upload_id"));
    if (!chunk->resumable) {
        op_emu_gemini_error(call, 404, NULL, "No such upload, or it is in use.");
        return;
    }
    bool good = !text.ptr || op_str_int64(text, &offset);
    int64_t there = chunk->resumable->receiving.writer.total;
    if (chunk->resumable->finished)
        there = chunk->resumable->file.bytes;
    if (commands(call, "upload") && (!good || offset < 0 || offset > there)) {
        op_emu_gemini_error(call, 400, NULL,
                            op_arena_printf(&call->arena,
                                            "The upload is at offset %lld, not at " OP_STR_FMT
                                            ".",
                                            (long long)there, OP_STR_ARG(text)));
        return;
    }
    chunk->resumable->skip = there - offset;
}

void op_emu_gemini_chunk_add(struct op_emu_call *call, const char *ptr, size_t len)
{
    struct chunk *chunk = call->state;
    struct op_emu_resumable *upload = chunk->resumable;
    if (!upload || upload->finished || chunk->broken || !commands(call, "upload"))
        return;
    /* What a lost answer made the client send again. */
    size_t skip = (int64_t)len < upload->skip ? len : (size_t)upload->skip;
    upload->skip -= (int64_t)skip;
    chunk->broken =
        op_emu_files_add(&upload->receiving, ptr + skip, len - skip, &chunk->failed) != OP_OK;
}

void op_emu_gemini_chunk_release(struct op_emu_call *call)
{
    struct chunk *chunk = call->state;
    if (chunk->resumable)
        op_emu_resumable_give(call->emulator->resumables, chunk->resumable);
    op_mem_free(chunk);
    call->state = NULL;
}

static bool keep(struct op_emu_call *call, struct op_emu_resumable *upload)
{
    struct op_err err = OP_ERR_INIT;
    struct op_emulator *em = call->emulator;
    upload->file = (struct op_emu_file){
        .provider = "gemini",
        .name = upload->name,
        .purpose = "",
        .mime = upload->mime[0] ? upload->mime : "application/octet-stream",
        .seq = op_emu_files_next_seq(em->files),
        .created_us = op_emu_clock_now(&em->clock),
    };
    upload->file.expires_us = upload->file.created_us + FILE_LIFE_US;
    op_emu_store_id_of(em->store, "", OP_EMU_LOWER, 12, em->clock.start_us, upload->file.seq,
                       upload->file.id);
    if (op_emu_files_keep(&upload->receiving, &upload->file, &err)) {
        op_emu_gemini_disk_failed(call, &err);
        return false;
    }
    upload->finished = true;
    return true;
}

static void reply_active(struct op_emu_call *call, const struct op_emu_resumable *upload)
{
    int64_t there = upload->finished ? upload->file.bytes : upload->receiving.writer.total;
    op_emu_reply_begin(call, 200, "text/plain; charset=utf-8");
    op_emu_reply_header(call, "X-Goog-Upload-Status", upload->finished ? "final" : "active");
    op_emu_reply_header(call, "X-Goog-Upload-Size-Received",
                        op_arena_printf(&call->arena, "%lld", (long long)there));
}

void op_emu_gemini_chunk(struct op_emu_call *call)
{
    struct chunk *chunk = call->state;
    struct op_emu_resumable *upload = chunk->resumable;
    if (chunk->broken) {
        op_emu_gemini_disk_failed(call, &chunk->failed);
        return;
    }
    if (!commands(call, "finalize")) {
        reply_active(call, upload);
        return;
    }
    int64_t there = upload->receiving.writer.total;
    if (!upload->finished && there == 0)
        op_emu_gemini_error(call, 400, NULL, "The file is empty.");
    else if (!upload->finished && upload->announced >= 0 && there != upload->announced)
        op_emu_gemini_error(
            call, 400, NULL,
            op_arena_printf(&call->arena, "The upload has %lld bytes, and %lld were announced.",
                            (long long)there, (long long)upload->announced));
    else if (upload->finished || keep(call, upload))
        reply_file(call, &upload->file, true);
    else
        return;
    op_emu_reply_header(call, "X-Goog-Upload-Status", "final");
}

/* ---- list, get, delete ---- */

void op_emu_gemini_list_files(struct op_emu_call *call)
{
    OP_CLEANUP(op_mem_freep) struct op_emu_file *files = NULL;
    struct op_json_out out;
    int64_t size = op_emu_gemini_page_size(call, PAGE_SIZE, PAGE_SIZE_MAX);
    size_t count = 0;
    bool more = false;
    if (size < 0)
        return;
    struct op_str token = op_emu_call_query(call, "pageToken");
    struct op_emu_file_page page = {
        .provider = "gemini",
        .after_id = token.len ? token : OP_STR_NULL,
        .uploaded_only = true,
        .limit = (size_t)size,
        .now_us = op_emu_clock_now(&call->emulator->clock),
    };
    if (op_emu_files_page(call->emulator->files, &page, &files, &count, &more)) {
        op_emu_gemini_error(call, 400, NULL, "Invalid page token.");
        return;
    }
    op_emu_reply_begin(call, 200, "application/json; charset=UTF-8");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    if (count) {
        op_json_out_name(&out, "files");
        op_json_out_array(&out);
        for (size_t i = 0; i < count; i++)
            write_file(&out, &files[i]);
        op_json_out_end_array(&out);
    }
    if (more)
        op_json_out_kv_text(&out, "nextPageToken", files[count - 1].id);
    op_json_out_end_object(&out);
}

void op_emu_gemini_get_file(struct op_emu_call *call)
{
    struct op_emu_file file;
    if (call->id.len > NAME_MAX_CHARS)
        op_emu_gemini_error(
            call, 400, NULL,
            "* GetFileRequest.name: File name must be at most 40 characters.\n");
    else if (op_emu_gemini_find_file(call, call->id, &file))
        reply_file(call, &file, false);
    else
        op_emu_gemini_no_file(call, call->id);
}

void op_emu_gemini_delete_file(struct op_emu_call *call)
{
    struct op_emu_file file;
    struct op_err err = OP_ERR_INIT;
    if (!op_emu_gemini_find_file(call, call->id, &file))
        op_emu_gemini_no_file(call, call->id);
    else if (op_emu_files_delete(call->emulator->files, &file, &err))
        op_emu_gemini_disk_failed(call, &err);
    else
        op_emu_gemini_reply_empty(call);
}

/* ---- results ---- */

static int64_t gone_at(const struct op_emu_batch *batch)
{
    if (op_emu_quirk(&batch->quirks, OP_EMU_ARCHIVED))
        return batch->ended_us + batch->quirks.value[OP_EMU_ARCHIVED] * 1000;
    return batch->ended_us + OUTPUT_LIFE_US;
}

void op_emu_gemini_download(struct op_emu_call *call)
{
    struct op_emu_batch batch;
    struct op_emu_file file;
    struct stat info;
    if (op_emu_gemini_find_file(call, call->id, &file)) {
        op_emu_gemini_error(call, 400, NULL, "Only generated files can be downloaded.");
        return;
    }
    struct op_str id = {call->id.ptr + 6, call->id.len < 6 ? 0 : call->id.len - 6};
    bool found = op_str_starts(call->id, "batch-") && op_emu_batch_find(call, id, &batch) &&
                 batch.settled && op_emu_gemini_has_results(&batch) &&
                 op_emu_clock_now(&call->emulator->clock) < gone_at(&batch) &&
                 !op_emu_batch_flaps(call, &batch);
    char *path = found ? op_emu_store_path(call->emulator->store, &batch, "results") : NULL;
    if (!found || stat(path, &info)) {
        op_mem_free(path);
        op_emu_gemini_no_file(call, call->id);
        return;
    }
    op_emu_reply_begin(call, 200, "application/octet-stream");
    call->reply.file = path;
    call->reply.file_len = info.st_size;
}
