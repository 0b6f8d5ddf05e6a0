/* SPDX-License-Identifier: MIT */
#include "cli/account.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/confine.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/table.h"
#include "engine/account.h"
#include "view/text.h"

#define TEXT_MAX (64 * 1024 * 1024)

struct account {
    const struct op_args *args;
    struct op_table table;
    struct op_json_out *json; /* NULL: a table */
    int64_t count;
};

/* Whose it is, for people. */
static void whose(const struct op_account_batch *b, char ret[120])
{
    if (b->owner == OP_OWNER_OTHER)
        snprintf(ret, 120, "made elsewhere: it carries no id of this ledger");
    else if (b->owner == OP_OWNER_US && b->batch_id)
        snprintf(ret, 120, "ours: batch-%lld, which is %s here", (long long)b->batch_id,
                 op_batch_state_name(b->state));
    else if (b->owner == OP_OWNER_US)
        snprintf(ret, 120, "ours, forgotten by the ledger");
    else if (b->remote->state != OP_REMOTE_ENDED)
        snprintf(ret, 120, "not known before it has ended");
    else
        snprintf(ret, 120, "not known: its results cannot be read");
}

static void json_batch(const struct op_account_batch *b, struct op_json_out *out)
{
    static const char *const owners[] = {
        [OP_OWNER_UNKNOWN] = "unknown", [OP_OWNER_US] = "ours", [OP_OWNER_OTHER] = "elsewhere"};
    char created[OP_TIME_TEXT];
    op_time_format(b->remote->created_ms, created);
    OP_CLEANUP(op_mem_freep)
    char *batch = b->batch_id ? op_mem_printf("batch-%lld", (long long)b->batch_id) : NULL;
    op_json_out_object(out);
    op_json_out_kv_text(out, "id", b->remote->id);
    op_json_out_kv_text(out, "state", b->remote->state_name);
    op_json_out_kv_text(out, "created", b->remote->created_ms >= 0 ? created : NULL);
    op_json_out_name(out, "requests");
    if (b->remote->total >= 0)
        op_json_out_int(out, b->remote->total);
    else
        op_json_out_null(out);
    op_json_out_kv_text(out, "whose", owners[b->owner]);
    op_json_out_kv_text(out, "batch", batch);
    op_json_out_kv_text(out, "batch_state", batch ? op_batch_state_name(b->state) : NULL);
    op_json_out_end_object(out);
}

static enum op_rc add_batch(void *arg, const struct op_account_batch *b, struct op_err *err)
{
    (void)err;
    struct account *a = arg;
    char text[120], n[OP_TEXT_SHORT];
    a->count++;
    if (a->json) {
        json_batch(b, a->json);
        return OP_OK;
    }
    struct op_table *t = &a->table;
    op_table_add(t, "%s", b->remote->id);
    op_table_add(t, "%s", b->remote->state_name);
    op_table_add(t, "%s", op_text_when(b->remote->created_ms, n));
    op_table_add(t, "%s", b->remote->total >= 0 ? op_text_count(b->remote->total, n) : "");
    whose(b, text);
    op_table_add(t, "%s", text);
    return OP_OK;
}

static enum op_rc say(struct account *a, struct op_session *session, const struct op_lane *lane,
                      struct op_err *err)
{
    if (a->args->json) {
        struct op_report report;
        op_report_begin(&report);
        op_json_out_kv_text(&report.out, "provider", lane->provider->name);
        op_json_out_name(&report.out, "unknown");
        op_json_out_array(&report.out);
        a->json = &report.out;
        enum op_rc rc = op_engine_account(session->engine, lane, add_batch, a, err);
        op_json_out_end_array(&report.out);
        if (rc)
            op_buf_release(&report.buf);
        else
            op_report_print(&report);
        return rc;
    }
    op_table_init(&a->table, "ID|STATE|CREATED|>REQUESTS|WHOSE");
    enum op_rc rc = op_engine_account(session->engine, lane, add_batch, a, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&out, TEXT_MAX);
    /* Ids are there to be copied: nothing is cut. */
    if (a->count)
        op_table_print(&a->table, 0, &out);
    op_say(op_buf_str(&out));
    if (!a->count)
        op_note(a->args, "the ledger knows every batch that the account at %s holds",
                lane->provider->name);
    return OP_OK;
}

int op_account_say(struct op_args *args)
{
    struct op_session session = {0};
    struct account account = {.args = args};
    struct op_err err = OP_ERR_INIT;
    struct op_lane *lane = NULL;
    const struct op_provider_ops *provider = op_provider_find(args->provider);
    if (!provider) {
        op_err_set(&err, OP_INVAL, "there is no provider '%.80s'", args->provider);
        return op_say_usage(args, &err);
    }
    enum op_rc rc = op_session_open(&session, args, OP_SESSION_NEW, &err);
    if (!rc)
        rc = op_engine_lane(session.engine, provider, session.emulator != NULL, true, &lane,
                            &err);
    if (!rc)
        rc = op_confine_session(&session, &err);
    if (!rc)
        rc = say(&account, &session, lane, &err);
    int code = rc ? op_say_error(args, &err) : OP_EXIT_OK;
    op_table_release(&account.table);
    op_session_close(&session);
    return code;
}
