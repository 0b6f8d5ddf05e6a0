/* SPDX-License-Identifier: MIT */
#include "engine/listing.h"

#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"

#define PAGE 1000

struct page {
    struct op_listing *listing;
    int64_t since_ms;
    bool reached_old;
    bool unordered;
};

static void take(void *arg, const struct op_remote_batch *batch)
{
    struct page *page = arg;
    /* The last entry of a page decides: one date that is off must not end the listing early. */
    bool old = batch->created_ms >= 0 && batch->created_ms < page->since_ms;
    page->reached_old = old && !page->unordered;
    if (old)
        return;
    struct op_listing *l = page->listing;
    /* Grown by half: a page is a thousand entries of some two kilobytes. */
    if (l->count % 64 == 0)
        l->batches = op_mem_realloc(l->batches, (l->count + 64) * sizeof(*l->batches));
    l->batches[l->count++] = *batch;
}

static enum op_rc take_date(struct page *page, const struct op_http_reply *reply,
                            struct op_err *err)
{
    int64_t date = op_http_date_ms(reply);
    if (date <= 0)
        return op_fail_as(err, OP_REMOTE, OP_DISP_RETRY,
                          "the reply carries no Date (does a proxy take it out?)");
    page->listing->server_ms = date;
    if (page->since_ms < 0)
        page->since_ms += date;
    return OP_OK;
}

static enum op_rc read_page(struct op_engine *engine, const struct op_lane *lane,
                            char cursor[256], struct page *page, struct op_err *err)
{
    struct op_exchange x = {0};
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    char next[256];
    memcpy(next, cursor, sizeof(next));
    enum op_rc rc = lane->provider->list(lane, cursor, PAGE, &x, err);
    if (!rc)
        rc = op_lane_exchange(engine, lane, &x, NULL, NULL, &reply, err);
    if (!rc && !page->listing->server_ms)
        rc = take_date(page, &reply, err);
    if (!rc)
        rc = lane->provider->decode_list(&reply, take, page, next, err);
    op_http_reply_release(&reply);
    op_exchange_release(&x);
    if (rc)
        return op_err_wrap(err, "listing the batches of the account");
    /* A server that does not know the cursor would begin again for ever. */
    if (next[0] && strcmp(next, cursor) == 0)
        return op_fail_as(err, OP_REMOTE, OP_DISP_RETRY,
                          "the list of batches repeats the page '%s'", cursor);
    memcpy(cursor, next, sizeof(next));
    return OP_OK;
}

enum op_rc op_listing_read(struct op_engine *engine, const struct op_lane *lane,
                           int64_t since_ms, struct op_listing *ret, struct op_err *err)
{
    struct op_listing listing = {0};
    struct page page = {.listing = &listing,
                        .since_ms = since_ms,
                        .unordered = lane->provider->list_is_unordered};
    char cursor[256] = "";
    enum op_rc rc;
    do {
        rc = read_page(engine, lane, cursor, &page, err);
    } while (!rc && cursor[0] && !page.reached_old);
    if (rc) {
        op_listing_release(&listing);
        return rc;
    }
    *ret = listing;
    return OP_OK;
}

void op_listing_release(struct op_listing *listing)
{
    op_mem_free(listing->batches);
    *listing = (struct op_listing){0};
}

int64_t op_batch_sender(const struct op_batch *batch)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    const char *text = batch->baseline ? batch->baseline : "";
    struct op_json root;
    struct op_err ignored = OP_ERR_INIT;
    if (op_json_parse(parser, text, strlen(text), false, &root, &ignored))
        return batch->lane_id;
    return op_json_int(op_json_get(root, "lane"), batch->lane_id);
}

void op_baseline_write(const struct op_listing *listing, int64_t lane_id, struct op_buf *out)
{
    struct op_json_out o;
    op_json_out_init(&o, out, 0);
    op_json_out_object(&o);
    op_json_out_kv_int(&o, "server_ms", listing->server_ms);
    op_json_out_kv_int(&o, "lane", lane_id);
    op_json_out_name(&o, "ids");
    op_json_out_array(&o);
    for (size_t i = 0; i < listing->count; i++)
        op_json_out_text(&o, listing->batches[i].id);
    op_json_out_end_array(&o);
    op_json_out_end_object(&o);
}

void op_baseline_read(const char *json, struct op_map *ret)
{
    if (!json || !json[0])
        return;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    struct op_err err = OP_ERR_INIT;
    if (op_json_parse(parser, json, strlen(json), false, &root, &err))
        return;
    struct op_json_iter it = op_json_iter(op_json_get(root, "ids"));
    while (op_json_next(&it)) {
        struct op_str id = op_json_str(it.value);
        if (id.ptr)
            op_map_add(ret, id, 1, NULL);
    }
}

void op_baseline_extend(struct op_batch *batch, const char *id)
{
    struct op_map ids = {0};
    op_baseline_read(batch->baseline, &ids);
    op_map_add(&ids, op_str_from(id), 1, NULL);
    struct op_buf text;
    op_buf_init(&text, 64 * 1024 * 1024);
    struct op_json_out o;
    op_json_out_init(&o, &text, 0);
    op_json_out_object(&o);
    op_json_out_kv_int(&o, "server_ms", batch->intent_ms);
    op_json_out_kv_int(&o, "lane", op_batch_sender(batch));
    op_json_out_name(&o, "ids");
    op_json_out_array(&o);
    for (size_t i = 0; i < ids.count; i++)
        op_json_out_str(&o, (struct op_str){ids.entries[i].key, ids.entries[i].len});
    op_json_out_end_array(&o);
    op_json_out_end_object(&o);
    op_mem_free(batch->baseline);
    batch->baseline = op_buf_take(&text);
    op_buf_release(&text);
    op_map_release(&ids);
}
