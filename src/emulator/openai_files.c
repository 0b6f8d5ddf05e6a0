/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "emulator/batches.h"
#include "emulator/multipart.h"
#include "emulator/openai.h"
#include "emulator/state.h"

#define LIST_MAX      10000
#define EXPIRES_LEAST 3600    /* seconds that expires_after may say */
#define EXPIRES_MOST  2592000 /* and 30 days, what a batch file lives without it */

struct op_emu_openai_upload {
    struct op_emu_call *call;
    struct op_emu_multipart form;
    struct op_emu_receiving receiving;
    const char *filename; /* NULL: no file has come */
    bool broken;          /* the disk failed, with this error */
    struct op_err failed;
};

/* ---- uploads ---- */

static void on_file(void *arg, const struct op_emu_part *part, const char *ptr, size_t len)
{
    struct op_emu_openai_upload *upload = arg;
    if (strcmp(part->name, "file") != 0 || upload->broken)
        return;
    if (!upload->filename) {
        upload->filename = part->filename;
        upload->broken = op_emu_files_receive(upload->call->emulator->files, &upload->receiving,
                                              &upload->failed) != OP_OK;
    }
    if (!upload->broken)
        upload->broken =
            op_emu_files_add(&upload->receiving, ptr, len, &upload->failed) != OP_OK;
}

void op_emu_openai_upload_begin(struct op_emu_call *call)
{
    struct op_emu_openai_upload *upload = op_mem_alloc(sizeof(*upload));
    struct op_str type = op_emu_call_header(call, "Content-Type");
    upload->call = call;
    call->state = upload;
    if (op_emu_together_is_form(call)) /* collected: it is small */
        return;
    if (!op_emu_multipart_init(&upload->form, type, &call->arena, on_file, upload))
        call->api->error(call, 400, NULL,
                         "The request must be multipart/form-data with a boundary.");
}

void op_emu_openai_upload_add(struct op_emu_call *call, const char *ptr, size_t len)
{
    struct op_emu_openai_upload *upload = call->state;
    if (op_emu_together_is_form(call))
        op_buf_add(&call->body, ptr, len);
    else
        op_emu_multipart_add(&upload->form, ptr, len);
}

void op_emu_openai_upload_release(struct op_emu_call *call)
{
    struct op_emu_openai_upload *upload = call->state;
    op_emu_files_abort(&upload->receiving);
    op_emu_multipart_release(&upload->form);
    op_mem_free(upload);
    call->state = NULL;
}

static void refuse_name(struct op_emu_call *call)
{
    /* Seen so on the wire: the error and, beside it, a detail. */
    op_emu_reply_begin(call, 400, "application/json");
    op_buf_addz(&call->reply.body,
                "{\"error\":{\"message\":\"Invalid file format for Batch API. Must be .jsonl\","
                "\"type\":\"invalid_request_error\",\"param\":null,\"code\":null},"
                "\"detail\":{\"message\":\"Invalid file format for Batch API. Must be .jsonl\","
                "\"code\":null}}");
}

/* What is wrong with the form as a whole; true when something is, and has been said. */
static bool is_refused(struct op_emu_call *call, struct op_emu_openai_upload *upload,
                       struct op_str purpose)
{
    if (upload->broken)
        op_emu_openai_disk_failed(call, &upload->failed);
    else if (upload->form.broken || !upload->form.complete)
        call->api->error(call, 400, NULL, "There was an error parsing the body.");
    else if (!purpose.len && !upload->form.count)
        call->api->error(call, 400, NULL, "The form is empty.");
    else if (!upload->filename)
        call->api->error(call, 400, NULL, "Missing required parameter: 'file'.");
    else if (upload->receiving.writer.total > OP_EMU_OPENAI_FILE_MAX)
        call->api->error(call, 400, NULL, "File is too large.");
    else
        return false;
    return true;
}

static int64_t lifetime(const struct op_emu_openai_upload *upload, struct op_str purpose)
{
    int64_t seconds = op_str_is(purpose, "batch") ? EXPIRES_MOST : 0;
    struct op_str text = op_emu_multipart_field(&upload->form, "expires_after[seconds]");
    if (!text.ptr)
        text = op_emu_multipart_field(&upload->form, "expires_after.seconds");
    if (text.ptr &&
        (!op_str_int64(text, &seconds) || seconds < EXPIRES_LEAST || seconds > EXPIRES_MOST))
        return -1;
    return seconds;
}

bool op_emu_openai_upload_keep(struct op_emu_call *call, const char *id,
                               struct op_emu_file *ret)
{
    struct op_emu_openai_upload *upload = call->state;
    struct op_err err = OP_ERR_INIT;
    struct op_str purpose = op_emu_multipart_field(&upload->form, "purpose");
    int64_t seconds = call->api == &op_emu_openai ? lifetime(upload, purpose) : 0;
    if (is_refused(call, upload, purpose))
        return false;
    if (seconds < 0) {
        op_emu_openai_refuse(call, 400, "expires_after.seconds",
                             "Invalid 'expires_after.seconds': expected 3600 to 2592000.");
        return false;
    }
    struct op_emu_file file = {
        .provider = call->api->name,
        .name = upload->filename,
        .purpose = purpose.ptr ? purpose.ptr : "fine-tune",
        .mime = "application/jsonl",
        .seq = op_emu_files_next_seq(call->emulator->files),
        .created_us = op_emu_clock_now(&call->emulator->clock),
    };
    if (seconds)
        file.expires_us = file.created_us + seconds * OP_EMU_SECOND_US;
    if (id)
        memcpy(file.id, id, strlen(id) + 1);
    else
        op_emu_store_id(call->emulator->store, "file-", call->emulator->clock.start_us,
                        file.seq, file.id);
    if (op_emu_files_keep(&upload->receiving, &file, &err)) {
        op_emu_openai_disk_failed(call, &err);
        return false;
    }
    *ret = file;
    return true;
}

/* ---- the file object ---- */

static void write_file(struct op_json_out *out, const struct op_emu_file *file)
{
    op_json_out_object(out);
    op_json_out_kv_text(out, "object", "file");
    op_json_out_kv_text(out, "id", file->id);
    op_json_out_kv_text(out, "purpose", file->purpose);
    op_json_out_kv_text(out, "filename", file->name);
    op_json_out_kv_int(out, "bytes", file->bytes);
    op_json_out_kv_int(out, "created_at", file->created_us / OP_EMU_SECOND_US);
    op_json_out_name(out, "expires_at");
    if (file->expires_us)
        op_json_out_int(out, file->expires_us / OP_EMU_SECOND_US);
    else
        op_json_out_null(out);
    op_json_out_kv_text(out, "status", "processed");
    op_json_out_kv_text(out, "status_details", NULL);
    op_json_out_end_object(out);
}

static void reply_file(struct op_emu_call *call, const struct op_emu_file *file)
{
    struct op_json_out out;
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    write_file(&out, file);
}

void op_emu_openai_upload(struct op_emu_call *call)
{
    static const char *const purposes[] = {"assistants", "batch",     "fine-tune",
                                           "vision",     "user_data", "evals"};
    struct op_emu_openai_upload *upload = call->state;
    struct op_str purpose = op_emu_multipart_field(&upload->form, "purpose");
    struct op_emu_file file;
    bool known = false;
    if (op_emu_together_is_form(call)) {
        op_emu_together_begin(call);
        return;
    }
    for (size_t i = 0; i < OP_COUNT(purposes) && !known; i++)
        known = op_str_is(purpose, purposes[i]);
    if (upload->form.complete && !purpose.ptr)
        op_emu_openai_refuse(call, 400, "purpose", "Missing required parameter: 'purpose'.");
    else if (upload->form.complete && !known)
        op_emu_openai_refuse(call, 400, "purpose",
                             op_arena_printf(&call->arena,
                                             "'" OP_STR_FMT "' is not one of ['fine-tune',"
                                             " 'assistants', 'batch', 'user_data', 'vision',"
                                             " 'evals'] - 'purpose'",
                                             OP_STR_ARG(purpose)));
    else if (op_str_is(purpose, "batch") && upload->filename &&
             !op_str_ends(op_str_from(upload->filename), ".jsonl"))
        refuse_name(call);
    else if (op_emu_openai_upload_keep(call, NULL, &file))
        reply_file(call, &file);
}

/* ---- list, get, delete, content ---- */

void op_emu_openai_list_files(struct op_emu_call *call)
{
    OP_CLEANUP(op_mem_freep) struct op_emu_file *files = NULL;
    struct op_json_out out;
    struct op_str order = op_emu_call_query(call, "order");
    int64_t limit = op_emu_openai_limit(call, LIST_MAX, LIST_MAX);
    size_t count = 0;
    bool more = false;
    if (limit < 0)
        return;
    struct op_emu_file_page page = {
        .provider = call->api->name,
        .purpose = op_emu_call_query(call, "purpose"),
        .after_id = op_emu_call_query(call, "after"),
        .oldest_first = op_str_is(order, "asc"),
        .limit = (size_t)limit,
        .now_us = op_emu_clock_now(&call->emulator->clock),
    };
    if (order.ptr && !op_str_is(order, "asc") && !op_str_is(order, "desc")) {
        op_emu_openai_refuse(call, 400, "order", "Invalid 'order': it is 'asc' or 'desc'.");
        return;
    }
    if (op_emu_files_page(call->emulator->files, &page, &files, &count, &more)) {
        op_emu_openai_refuse(call, 400, "after", "Invalid 'after': no such file.");
        return;
    }
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "object", "list");
    op_json_out_name(&out, "data");
    op_json_out_array(&out);
    for (size_t i = 0; i < count; i++)
        write_file(&out, &files[i]);
    op_json_out_end_array(&out);
    op_json_out_kv_text(&out, "first_id", count ? files[0].id : NULL);
    op_json_out_kv_text(&out, "last_id", count ? files[count - 1].id : NULL);
    op_json_out_kv_bool(&out, "has_more", more);
    op_json_out_end_object(&out);
}

/* A file that a batch made goes with its retention (the fault rule "archived"). */
static bool is_archived(struct op_emu_call *call, const struct op_emu_file *file)
{
    struct op_emu_batch batch;
    struct op_str id = op_str_from(file->batch);
    id = op_str_cut(&id, '.');
    return id.len && op_emu_store_get(call->emulator->store, id, &batch) &&
           op_emu_quirk(&batch.quirks, OP_EMU_ARCHIVED) &&
           op_emu_clock_now(&call->emulator->clock) >=
               batch.ended_us + batch.quirks.value[OP_EMU_ARCHIVED] * 1000;
}

/* The first looks at the output of a batch that has just ended find nothing (flap_after_end). */
static bool is_late(struct op_emu_call *call, const struct op_emu_file *file)
{
    struct op_emu_batch batch;
    struct op_str id = op_str_from(file->batch);
    id = op_str_cut(&id, '.');
    return id.len && op_emu_store_get(call->emulator->store, id, &batch) && batch.settled &&
           op_emu_batch_flaps(call, &batch);
}

bool op_emu_openai_find_file(struct op_emu_call *call, struct op_emu_file *ret)
{
    int64_t now = op_emu_clock_now(&call->emulator->clock);
    if (op_emu_files_get(call->emulator->files, call->api->name, call->id, now, ret) &&
        !is_archived(call, ret) && !is_late(call, ret))
        return true;
    call->api->error(call, 404, NULL,
                     op_arena_printf(&call->arena, "No such File object: " OP_STR_FMT,
                                     OP_STR_ARG(call->id)));
    return false;
}

void op_emu_openai_get_file(struct op_emu_call *call)
{
    struct op_emu_file file;
    if (op_emu_openai_find_file(call, &file))
        reply_file(call, &file);
}

void op_emu_openai_delete_file(struct op_emu_call *call)
{
    struct op_emu_file file;
    struct op_err err = OP_ERR_INIT;
    struct op_json_out out;
    if (!op_emu_openai_find_file(call, &file))
        return;
    if (op_emu_files_delete(call->emulator->files, &file, &err)) {
        op_emu_openai_disk_failed(call, &err);
        return;
    }
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "id", file.id);
    op_json_out_kv_text(&out, "object", "file");
    op_json_out_kv_bool(&out, "deleted", true);
    op_json_out_end_object(&out);
}

void op_emu_openai_send_content(struct op_emu_call *call, const struct op_emu_file *file)
{
    OP_CLEANUP(op_mem_freep) char *path = op_emu_files_path(call->emulator->files, file);
    struct stat info;
    if (stat(path, &info)) {
        call->api->error(call, 404, NULL, "The content of this file is gone.");
        return;
    }
    op_emu_reply_begin(call, 200, "application/octet-stream");
    op_emu_reply_header(
        call, "content-disposition",
        op_arena_printf(&call->arena, "attachment; filename=\"%s\"", file->name));
    call->reply.file = OP_TAKE(path);
    call->reply.file_len = info.st_size;
}

void op_emu_openai_get_content(struct op_emu_call *call)
{
    struct op_emu_file file;
    if (op_emu_openai_find_file(call, &file))
        op_emu_openai_send_content(call, &file);
}
