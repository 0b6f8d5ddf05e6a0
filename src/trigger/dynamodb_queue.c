/* SPDX-License-Identifier: MIT */

/*
 * A table of jobs that a server fills and workers empty, as Polis' Delphi_JobQueue: job_id, status
 * (PENDING, PROCESSING, COMPLETED, FAILED, AWAITING_RECHECK), version, worker_id, lock_expires_at,
 * logs as a JSON text {"entries": [...]}, index StatusCreatedIndex (status, created_at).
 * Every write is an update on the condition that version and worker are as we know them, and counts
 * the version on: it happens once or not at all. After an answer that was lost, or a condition that
 * was not met, a consistent read tells which: `offpeak_phase` beside our worker_id is the last of our
 * updates. From `bound` on no other offpeak takes the item, however old its lock is, because its
 * requests may be bought; for other workers the lock then lies far ahead.
 */
#include <stdio.h>
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "base/time.h"
#include "net/dynamodb.h"
#include "source/dynamodb_value.h"
#include "trigger/trigger.h"

enum { MAX_BODY = 1024 * 1024, MAX_KEY = 64 * 1024, LOGS_KEPT = 50, MAX_SETS = 16 };
#define CLAIM_LOCK_MS (15 * OP_MINUTE_MS)
#define BOUND_LOCK_MS (30 * OP_DAY_MS)

/* PENDING first, as the old poller did it. */
static const char *const statuses[] = {"PENDING", "AWAITING_RECHECK", "PROCESSING"};
static const char *const columns[] = {"job_id",     "job_type",    "status",  "conversation_id",
                                      "report_id",  "priority",    "version", "created_at",
                                      "job_config", "environment", "item",    "memory",
                                      NULL};
enum { COLUMN_COUNT = OP_COUNT(columns) - 1, COLUMN_ITEM = 10, COLUMN_MEMORY = 11 };

struct queue {
    struct op_trigger base;
    struct op_env *env;
    char *table, *index, *checker, *worker;
    struct op_dynamodb *db; /* NULL until it is looked at */
    size_t status;          /* which is being read */
    bool has_page, is_last;
    struct op_json_iter items;
    struct op_buf body, next_key, scratch;
    struct op_value cells[COLUMN_COUNT];
};

static const struct op_trigger_option_spec options[] = {
    {"index",
     "index by status, created_at (default: StatusCreatedIndex); none: scan the table"},
    {"checker", "job_type of the item that stands for the batch while it runs; default: none"},
    {"hash", "for doctor --create-tables: the partition key and its type, as in 'job_id S'"},
    {"range", "for doctor --create-tables: the sort key and its type"},
    {"indexes", "for doctor --create-tables: as in 'ByStatus(status S, created_at S)'"},
    {NULL, NULL},
};

static void close_queue(struct op_trigger *trigger)
{
    struct queue *q = (struct queue *)trigger;
    op_dynamodb_close(q->db);
    op_buf_release(&q->body);
    op_buf_release(&q->next_key);
    op_buf_release(&q->scratch);
    op_mem_free(q->table);
    op_mem_free(q->index);
    op_mem_free(q->checker);
    op_mem_free(q->worker);
    op_mem_free(q);
}

static enum op_rc open_queue(const struct op_trigger_config *config, struct op_trigger **ret,
                             struct op_err *err)
{
    if (!config->target[0])
        return op_fail(err, OP_INVAL, "%s: the name of the queue's table is empty",
                       config->place);
    struct queue *q = op_mem_alloc(sizeof(*q));
    q->base.ops = &op_trigger_dynamodb_queue;
    q->env = config->env;
    q->table = op_mem_strdup(config->target);
    q->worker = op_mem_printf("offpeak-%s", config->worker);
    const char *index = "StatusCreatedIndex", *checker = "";
    for (size_t i = 0; i < config->option_count; i++) {
        if (strcmp(config->options[i].name, "index") == 0)
            index = config->options[i].value;
        else if (strcmp(config->options[i].name, "checker") == 0)
            checker = config->options[i].value;
    }
    q->index = op_mem_strdup(strcmp(index, "none") ? index : "");
    q->checker = op_mem_strdup(checker);
    op_buf_init(&q->body, MAX_BODY);
    op_buf_init(&q->next_key, MAX_KEY);
    op_buf_init(&q->scratch, 16 * MAX_BODY);
    *ret = &q->base;
    return OP_OK;
}

static enum op_rc connect(struct queue *q, struct op_err *err)
{
    return q->db ? OP_OK : op_dynamodb_open(q->env, NULL, &q->db, err);
}

static int64_t now_ms(const struct queue *q)
{
    return q->env->ops->now_ms(q->env);
}

/* --- looking ------------------------------------------------------------------------------ */

static enum op_rc look(struct op_trigger *trigger, struct op_err *err)
{
    struct queue *q = (struct queue *)trigger;
    q->status = 0;
    q->has_page = q->is_last = false;
    op_buf_clear(&q->next_key);
    return connect(q, err);
}

static enum op_rc next_page(struct queue *q, struct op_err *err)
{
    struct op_json_out out;
    struct op_json root;
    op_buf_clear(&q->body);
    op_json_out_init(&out, &q->body, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "TableName", q->table);
    if (q->index[0])
        op_json_out_kv_text(&out, "IndexName", q->index);
    op_json_out_kv_text(&out, q->index[0] ? "KeyConditionExpression" : "FilterExpression",
                        "#s = :s");
    op_json_out_name(&out, "ExpressionAttributeNames");
    op_json_out_raw(&out, OP_STR("{\"#s\":\"status\"}"));
    op_json_out_name(&out, "ExpressionAttributeValues");
    op_json_out_object(&out);
    op_json_out_name(&out, ":s");
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "S", statuses[q->status]);
    op_json_out_end_object(&out);
    op_json_out_end_object(&out);
    if (q->next_key.len) {
        op_json_out_name(&out, "ExclusiveStartKey");
        op_json_out_raw(&out, op_buf_str(&q->next_key));
    }
    op_json_out_end_object(&out);
    enum op_rc rc =
        op_dynamodb_call(q->db, q->index[0] ? "Query" : "Scan", q->table, &q->body, &root, err);
    if (rc)
        return rc;
    q->items = op_json_iter(op_json_get(root, "Items"));
    q->has_page = true;
    struct op_json last = op_json_get(root, "LastEvaluatedKey");
    q->is_last = !op_json_is(last, OP_JSON_OBJECT);
    op_buf_clear(&q->next_key);
    if (!q->is_last)
        op_json_write(&q->next_key, last);
    return OP_OK;
}

static struct op_str text_of(struct op_json item, const char *name)
{
    return op_json_str(op_json_get(op_json_get(item, name), "S"));
}

static bool version_of(struct op_json item, int64_t *ret)
{
    return op_str_int64(op_json_str(op_json_get(op_json_get(item, "version"), "N")), ret);
}

/* Python's isoformat() of a UTC time without a zone is taken for one. */
static bool parse_time(struct op_str text, int64_t *ret)
{
    if (op_time_parse(text, ret))
        return true;
    OP_CLEANUP(op_mem_freep) char *utc = op_mem_printf(OP_STR_FMT "Z", OP_STR_ARG(text));
    return op_time_parse(op_str_from(utc), ret);
}

static bool is_bound(struct op_json item)
{
    struct op_str phase = text_of(item, "offpeak_phase");
    return op_str_is(phase, "bound") || op_str_is(phase, "sent");
}

static bool can_be_claimed(const struct queue *q, struct op_json item)
{
    int64_t expires = 0;
    if (text_of(item, "job_id").len == 0)
        return false;
    if (!op_str_is(text_of(item, "status"), "PROCESSING"))
        return true;
    return !is_bound(item) && parse_time(text_of(item, "lock_expires_at"), &expires) &&
           expires < now_ms(q);
}

static void write_memory(const struct queue *q, struct op_json item, struct op_buf *out)
{
    struct op_json_out o;
    int64_t version = -1;
    if (!version_of(item, &version))
        version = -1; /* none */
    op_json_out_init(&o, out, 0);
    op_json_out_object(&o);
    op_json_out_kv_int(&o, "version", version);
    op_json_out_kv_int(&o, "at", now_ms(q));
    static const char *const kept[] = {"status", "conversation_id", "report_id", "logs"};
    for (size_t i = 0; i < OP_COUNT(kept); i++)
        op_json_out_kv_str(&o, kept[i], text_of(item, kept[i]));
    op_json_out_end_object(&o);
}

static enum op_rc fill_cells(struct queue *q, struct op_json item, struct op_err *err)
{
    size_t ends[2];
    op_buf_clear(&q->scratch);
    enum op_rc rc = op_dynamodb_plain_item(item, &q->scratch, err);
    if (rc)
        return rc;
    ends[0] = q->scratch.len;
    write_memory(q, item, &q->scratch);
    ends[1] = q->scratch.len;
    rc = op_buf_finish(&q->scratch, "an item of the queue", err);
    for (size_t i = 0; !rc && i < COLUMN_ITEM; i++) {
        struct op_json value = op_json_get(item, columns[i]);
        struct op_str text = op_json_str(op_json_get(value, "S"));
        struct op_str digits = op_json_str(op_json_get(value, "N"));
        q->cells[i] = op_value_null();
        if (text.ptr)
            q->cells[i] = (struct op_value){.type = OP_VALUE_TEXT, .s = text};
        else if (digits.ptr)
            q->cells[i] = op_dynamodb_number(digits);
    }
    q->cells[COLUMN_ITEM] =
        (struct op_value){.type = OP_VALUE_TEXT, .s = {q->scratch.ptr, ends[0]}};
    q->cells[COLUMN_MEMORY] = (struct op_value){
        .type = OP_VALUE_TEXT, .s = {q->scratch.ptr + ends[0], ends[1] - ends[0]}};
    return rc;
}

static enum op_rc next(struct op_trigger *trigger, const struct op_value **ret_cells,
                       struct op_err *err)
{
    struct queue *q = (struct queue *)trigger;
    while (q->status < OP_COUNT(statuses)) {
        if (q->has_page && op_json_next(&q->items)) {
            struct op_err bad = OP_ERR_INIT;
            /* An item of a form that DynamoDB does not have is nobody's job. */
            if (!can_be_claimed(q, q->items.value) || fill_cells(q, q->items.value, &bad))
                continue;
            *ret_cells = q->cells;
            return OP_OK;
        }
        if (q->has_page && q->is_last) {
            q->status++;
            q->has_page = q->is_last = false;
            continue;
        }
        enum op_rc rc = next_page(q, err);
        if (rc)
            return rc;
    }
    return OP_NOTFOUND;
}

/* --- writing one item --------------------------------------------------------------------- */

struct set {
    const char *name;
    char type; /* 'S', 'N'; 'L': value is JSON; 0: the attribute is taken away */
    const char *value;
};

struct change {
    const char *key, *phase; /* phase NULL: taken away */
    int64_t version;         /* as we know it; -1 none */
    const char *status;      /* claim: as we know it; NULL: the worker must be us */
    struct set sets[MAX_SETS];
    size_t count;
};

static void add_set(struct change *c, const char *name, char type, const char *value)
{
    c->sets[c->count++] = (struct set){name, type, value};
}

static void add_attribute(struct op_json_out *out, const char *name, char type,
                          const char *value)
{
    char form[2] = {type, '\0'};
    op_json_out_name(out, name);
    op_json_out_object(out);
    if (type == 'L') {
        op_json_out_name(out, form);
        op_json_out_raw(out, op_str_from(value));
    } else {
        op_json_out_kv_text(out, form, value);
    }
    op_json_out_end_object(out);
}

static void add_expression(const struct change *c, struct op_json_out *out)
{
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, MAX_BODY);
    const char *before = "SET ";
    for (size_t i = 0; i < c->count; i++) {
        if (!c->sets[i].type)
            continue;
        op_buf_addf(&text, "%s#c%zu = :c%zu", before, i, i);
        before = ", ";
    }
    before = " REMOVE ";
    for (size_t i = 0; i < c->count; i++) {
        if (c->sets[i].type)
            continue;
        op_buf_addf(&text, "%s#c%zu", before, i);
        before = ", ";
    }
    op_json_out_kv_str(out, "UpdateExpression", op_buf_str(&text));
}

static void write_update(struct queue *q, const struct change *c, struct op_buf *body)
{
    struct op_json_out out;
    char digits[32];
    op_buf_clear(body);
    op_json_out_init(&out, body, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "TableName", q->table);
    op_json_out_name(&out, "Key");
    op_json_out_object(&out);
    add_attribute(&out, "job_id", 'S', c->key);
    op_json_out_end_object(&out);
    add_expression(c, &out);
    OP_CLEANUP(op_mem_freep)
    char *condition = op_mem_printf("%s AND #w = :w",
                                    c->version < 0 ? "attribute_not_exists(#v)" : "#v = :v");
    op_json_out_kv_text(&out, "ConditionExpression", condition);
    op_json_out_name(&out, "ExpressionAttributeNames");
    op_json_out_object(&out);
    for (size_t i = 0; i < c->count; i++) {
        snprintf(digits, sizeof(digits), "#c%zu", i);
        op_json_out_kv_text(&out, digits, c->sets[i].name);
    }
    op_json_out_kv_text(&out, "#v", "version");
    op_json_out_kv_text(&out, "#w", c->status ? "status" : "worker_id");
    op_json_out_end_object(&out);
    op_json_out_name(&out, "ExpressionAttributeValues");
    op_json_out_object(&out);
    for (size_t i = 0; i < c->count; i++) {
        snprintf(digits, sizeof(digits), ":c%zu", i);
        if (c->sets[i].type)
            add_attribute(&out, digits, c->sets[i].type, c->sets[i].value);
    }
    if (c->version >= 0) {
        snprintf(digits, sizeof(digits), "%lld", (long long)c->version);
        add_attribute(&out, ":v", 'N', digits);
    }
    add_attribute(&out, ":w", 'S', c->status ? c->status : q->worker);
    op_json_out_end_object(&out);
    op_json_out_end_object(&out);
}

/* What the item says now. OP_NOTFOUND, err untouched: there is none. */
static enum op_rc get_item(struct queue *q, const char *key, struct op_json *ret,
                           struct op_err *err)
{
    struct op_json_out out;
    struct op_json root;
    op_buf_clear(&q->body);
    op_json_out_init(&out, &q->body, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "TableName", q->table);
    op_json_out_kv_bool(&out, "ConsistentRead", true);
    op_json_out_name(&out, "Key");
    op_json_out_object(&out);
    add_attribute(&out, "job_id", 'S', key);
    op_json_out_end_object(&out);
    op_json_out_end_object(&out);
    enum op_rc rc = op_dynamodb_call(q->db, "GetItem", q->table, &q->body, &root, err);
    if (rc == OP_NOTFOUND)
        return op_fail_as(err, OP_INVAL, err->disp, "%s", err->msg); /* the table */
    if (rc)
        return rc;
    *ret = op_json_get(root, "Item");
    return op_json_is(*ret, OP_JSON_OBJECT) ? OP_OK : OP_NOTFOUND;
}

/* Whether the change was carried out, as the item tells. *ret_version: its version when it is ours
 * but the change is not there. */
static enum op_rc find_out(struct queue *q, const struct change *c, const struct op_err *why,
                           bool *ret_done, int64_t *ret_version, struct op_err *err)
{
    struct op_json item;
    enum op_rc rc = get_item(q, c->key, &item, err);
    *ret_done = false;
    if (rc == OP_NOTFOUND && !err->rc)
        return op_fail(err, OP_CONFLICT, "the item is gone from the queue");
    if (rc)
        return rc;
    int64_t version = -1;
    if (!version_of(item, &version))
        version = -1;
    bool ours = op_str_is(text_of(item, "worker_id"), q->worker);
    struct op_str phase = text_of(item, "offpeak_phase");
    *ret_done = c->phase ? ours && op_str_is(phase, c->phase) && version > c->version
                         : !ours && !phase.len && version == c->version + 1;
    *ret_version = version;
    if (*ret_done)
        return OP_OK;
    if (c->status ? version == c->version : ours) { /* as before: it may be done again */
        if (why->rc == OP_CONFLICT && version == c->version)
            return op_fail(err, OP_CONFLICT, "its status has changed");
        return OP_OK;
    }
    return op_fail(err, OP_CONFLICT, "another worker (" OP_STR_FMT ") or a person has it now",
                   OP_STR_ARG(text_of(item, "worker_id")));
}

/* Carries the change out, once. *ret_version: the item's now. */
static enum op_rc write_change(struct queue *q, struct change *c, int64_t *ret_version,
                               struct op_err *err)
{
    for (int tries = 0;; tries++) {
        struct op_json ignored;
        struct op_err why = OP_ERR_INIT;
        char version[32];
        snprintf(version, sizeof(version), "%lld",
                 (long long)(c->version < 0 ? 1 : c->version + 1));
        c->sets[0].value = version;
        write_update(q, c, &q->body);
        enum op_rc rc =
            op_dynamodb_call_once(q->db, "UpdateItem", q->table, &q->body, &ignored, &why);
        if (!rc) {
            *ret_version = c->version < 0 ? 1 : c->version + 1;
            return OP_OK;
        }
        if (rc == OP_NOTFOUND || rc == OP_INVAL) {
            *err = why;
            return OP_INVAL;
        }
        bool done = false;
        rc = find_out(q, c, &why, &done, ret_version, err);
        if (rc || done)
            return rc;
        if (!op_dynamodb_pause(q->db, tries + 1)) {
            *err = why;
            return OP_REMOTE;
        }
        c->version = *ret_version; /* an update of ours that we did not know of, or none */
    }
}

static void begin_change(struct change *c, const char *key, const char *phase, int64_t version)
{
    *c = (struct change){.key = key, .phase = phase, .version = version};
    add_set(c, "version", 'N', "");
    add_set(c, "offpeak_phase", phase ? 'S' : '\0', phase);
}

/* --- logs --------------------------------------------------------------------------------- */

/* The log with one more entry, the last LOGS_KEPT of them; a log that is no JSON begins anew. */
static void write_logs(struct op_str logs, int64_t at_ms, const char *level,
                       const char *message, struct op_buf *out)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    struct op_err ignored = OP_ERR_INIT;
    struct op_json_out o;
    char at[OP_TIME_TEXT];
    op_time_format(at_ms, at);
    op_json_out_init(&o, out, 0);
    op_json_out_object(&o);
    op_json_out_name(&o, "entries");
    op_json_out_array(&o);
    if (logs.len && !op_json_parse(parser, logs.ptr, logs.len, false, &root, &ignored)) {
        struct op_json entries = op_json_get(root, "entries");
        size_t count = op_json_count(entries);
        struct op_json_iter it = op_json_iter(entries);
        while (op_json_is(entries, OP_JSON_ARRAY) && op_json_next(&it))
            if (it.index + LOGS_KEPT - 1 >= count)
                op_json_out_value(&o, it.value);
    }
    op_json_out_object(&o);
    op_json_out_kv_text(&o, "timestamp", at);
    op_json_out_kv_text(&o, "level", level);
    op_json_out_kv_text(&o, "message", message);
    op_json_out_end_object(&o);
    op_json_out_end_array(&o);
    op_json_out_end_object(&o);
}

/* --- memory ------------------------------------------------------------------------------- */

struct memory {
    struct op_json_parser *parser;
    struct op_json root;
    int64_t version, at;
    struct op_buf logs; /* with the entry of this change */
};

static void memory_release(struct memory *m)
{
    op_json_parser_free(m->parser);
    op_buf_release(&m->logs);
}

static enum op_rc memory_read(const struct op_buf *text, struct memory *ret, struct op_err *err)
{
    ret->parser = op_json_parser_new();
    op_buf_init(&ret->logs, MAX_BODY);
    enum op_rc rc = op_json_parse(ret->parser, text->ptr, text->len, true, &ret->root, err);
    if (rc)
        return op_err_wrap(err, "the ledger's memory of a claim");
    ret->version = op_json_int(op_json_get(ret->root, "version"), -1);
    ret->at = op_json_int(op_json_get(ret->root, "at"), 0);
    return OP_OK;
}

static struct op_str remembered(const struct memory *m, const char *name)
{
    return op_json_str(op_json_get(m->root, name));
}

static void memory_write(const struct memory *m, int64_t version, bool has_checker,
                         struct op_buf *out)
{
    struct op_json_out o;
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, 2 * MAX_BODY);
    op_json_out_init(&o, &text, 0);
    op_json_out_object(&o);
    op_json_out_kv_int(&o, "version", version);
    op_json_out_kv_int(&o, "at", m->at);
    op_json_out_kv_str(&o, "status", remembered(m, "status"));
    op_json_out_kv_str(&o, "conversation_id", remembered(m, "conversation_id"));
    op_json_out_kv_str(&o, "report_id", remembered(m, "report_id"));
    op_json_out_kv_str(&o, "logs", op_buf_str(&m->logs));
    op_json_out_kv_bool(&o, "checker", has_checker);
    op_json_out_end_object(&o);
    op_buf_clear(out);
    op_buf_add_str(out, op_buf_str(&text));
}

/* --- claiming and reporting ---------------------------------------------------------------- */

static enum op_rc claim(struct op_trigger *trigger, const char *key, struct op_buf *text,
                        struct op_err *err)
{
    struct queue *q = (struct queue *)trigger;
    OP_CLEANUP(memory_release) struct memory m = {0};
    struct change c;
    char now[OP_TIME_TEXT], lock[OP_TIME_TEXT];
    enum op_rc rc = connect(q, err);
    if (!rc)
        rc = memory_read(text, &m, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_mem_freep)
    char *status = op_mem_strndup(remembered(&m, "status").ptr, remembered(&m, "status").len);
    op_time_format(now_ms(q), now);
    op_time_format(now_ms(q) + CLAIM_LOCK_MS, lock);
    OP_CLEANUP(op_mem_freep) char *said = op_mem_printf("claimed by %s", q->worker);
    write_logs(remembered(&m, "logs"), now_ms(q), "INFO", said, &m.logs);
    begin_change(&c, key, "claimed", m.version);
    c.status = status;
    add_set(&c, "status", 'S', "PROCESSING");
    add_set(&c, "worker_id", 'S', q->worker);
    add_set(&c, "started_at", 'S', now);
    add_set(&c, "updated_at", 'S', now);
    add_set(&c, "lock_expires_at", 'S', lock);
    add_set(&c, "logs", 'S', m.logs.ptr);
    rc = write_change(q, &c, &m.version, err);
    if (!rc)
        memory_write(&m, m.version, false, text);
    return rc;
}

static char *checker_id(const char *key, const struct memory *m)
{
    return op_mem_printf("batch_check_%s_%lld", key, (long long)(m->at / OP_SECOND_MS));
}

static void add_ids(const struct op_trigger_report *report, struct op_buf *out)
{
    op_buf_addc(out, '[');
    for (size_t i = 0; i < report->batch_count; i++) {
        op_buf_addz(out, i ? ",{\"S\":\"" : "{\"S\":\"");
        op_json_escape(out, report->batch_ids[i], strlen(report->batch_ids[i]));
        op_buf_addz(out, "\"}");
    }
    op_buf_addc(out, ']');
}

/* The item that stands for the batch: ours from its beginning, so that nobody else takes it. */
static enum op_rc put_checker(struct queue *q, const char *key, const struct memory *m,
                              const struct op_trigger_report *report, struct op_err *err)
{
    struct op_json_out out;
    struct op_json ignored;
    char now[OP_TIME_TEXT], lock[OP_TIME_TEXT];
    op_time_format(now_ms(q), now);
    op_time_format(now_ms(q) + BOUND_LOCK_MS, lock);
    OP_CLEANUP(op_mem_freep) char *id = checker_id(key, m);
    op_buf_clear(&q->body);
    op_json_out_init(&out, &q->body, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "TableName", q->table);
    op_json_out_kv_text(&out, "ConditionExpression", "attribute_not_exists(#k)");
    op_json_out_name(&out, "ExpressionAttributeNames");
    op_json_out_raw(&out, OP_STR("{\"#k\":\"job_id\"}"));
    op_json_out_name(&out, "Item");
    op_json_out_object(&out);
    const struct set sets[] = {
        {"job_id", 'S', id},           {"job_type", 'S', q->checker},
        {"batch_job_id", 'S', key},    {"batch_id", 'S', report->batch_ids[0]},
        {"status", 'S', "PROCESSING"}, {"offpeak_phase", 'S', "bound"},
        {"worker_id", 'S', q->worker}, {"created_at", 'S', now},
        {"updated_at", 'S', now},      {"started_at", 'S', now},
        {"completed_at", 'S', ""},     {"lock_expires_at", 'S', lock},
        {"priority", 'N', "50"},       {"version", 'N', "1"},
        {"job_results", 'S', "{}"},    {"logs", 'S', "{\"entries\":[]}"},
    };
    for (size_t i = 0; i < OP_COUNT(sets); i++)
        add_attribute(&out, sets[i].name, sets[i].type, sets[i].value);
    static const char *const same[] = {"conversation_id", "report_id"};
    for (size_t i = 0; i < OP_COUNT(same); i++) {
        struct op_str value = remembered(m, same[i]);
        OP_CLEANUP(op_mem_freep)
        char *text = op_mem_strndup(value.ptr ? value.ptr : "", value.len);
        if (value.len)
            add_attribute(&out, same[i], 'S', text);
    }
    op_json_out_end_object(&out);
    op_json_out_end_object(&out);
    struct op_err why = OP_ERR_INIT;
    enum op_rc rc = op_dynamodb_call(q->db, "PutItem", q->table, &q->body, &ignored, &why);
    if (!rc || rc == OP_CONFLICT) /* it is there: from before a crash */
        return OP_OK;
    *err = why;
    return rc == OP_NOTFOUND ? OP_INVAL : rc;
}

static void write_results(const struct op_trigger_report *report, const char *now,
                          struct op_buf *out)
{
    struct op_json_out o;
    op_json_out_init(&o, out, 0);
    op_json_out_object(&o);
    op_json_out_kv_text(&o, "result_type", report->ok ? "SUCCESS" : "FAILURE");
    op_json_out_kv_text(&o, "completed_at", now);
    if (report->message[0])
        op_json_out_kv_text(&o, "error", report->message);
    op_json_out_kv_text(&o, "job", report->job);
    op_json_out_kv_int(&o, "requests", report->requests);
    op_json_out_kv_int(&o, "stored", report->done);
    op_json_out_kv_int(&o, "failed", report->failed + report->canceled);
    op_json_out_kv_int(&o, "reused", report->reused);
    op_json_out_kv_int(&o, "microusd", report->microusd);
    op_json_out_end_object(&o);
}

static void end_sets(struct change *c, const struct op_trigger_report *report, const char *now,
                     const char *results)
{
    add_set(c, "status", 'S', report->ok ? "COMPLETED" : "FAILED");
    add_set(c, "completed_at", 'S', now);
    add_set(c, "updated_at", 'S', now);
    add_set(c, "job_results", 'S', results);
    add_set(c, "lock_expires_at", '\0', NULL);
    if (report->message[0])
        add_set(c, "error_message", 'S', report->message);
}

static enum op_rc end_checker(struct queue *q, const char *key, const struct memory *m,
                              const struct op_trigger_report *report, const char *now,
                              const char *results, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *id = checker_id(key, m);
    struct change c;
    int64_t ignored = 0;
    begin_change(&c, id, "done", 1);
    end_sets(&c, report, now, results);
    struct op_err why = OP_ERR_INIT;
    enum op_rc rc = write_change(q, &c, &ignored, &why);
    if (rc == OP_CONFLICT) /* removed or taken by a person: the parent is what counts */
        return OP_OK;
    if (rc)
        *err = why;
    return rc;
}

/* One line for the item's log. */
static char *say(const struct op_trigger_report *report)
{
    switch (report->phase) {
    case OP_TRIGGER_BOUND:
        return op_mem_strdup("it becomes a job");
    case OP_TRIGGER_SENT:
        return op_mem_printf("%s: %lld requests sent to %s in %zu batches", report->job,
                             (long long)report->requests, report->model, report->batch_count);
    case OP_TRIGGER_BACK:
        return op_mem_printf("given back: %s", report->message);
    case OP_TRIGGER_DONE:
        break;
    }
    if (!report->job[0])
        return op_mem_strdup(report->message);
    return op_mem_printf("%s: %lld of %lld reports stored, %lld of them taken over%s%s",
                         report->job, (long long)report->done, (long long)report->requests,
                         (long long)report->reused, report->message[0] ? "; " : "",
                         report->message);
}

static void report_sets(struct queue *q, const struct op_trigger_report *report,
                        const char *now, const char *lock, const char *ids, const char *results,
                        struct change *c)
{
    switch (report->phase) {
    case OP_TRIGGER_BOUND:
        add_set(c, "lock_expires_at", 'S', lock);
        add_set(c, "updated_at", 'S', now);
        break;
    case OP_TRIGGER_SENT:
        add_set(c, "batch_id", 'S', report->batch_ids[0]);
        add_set(c, "batch_ids", 'L', ids);
        add_set(c, "model", 'S', report->model);
        add_set(c, "updated_at", 'S', now);
        break;
    case OP_TRIGGER_DONE:
        end_sets(c, report, now, results);
        break;
    case OP_TRIGGER_BACK:
        add_set(c, "status", 'S', "PENDING");
        add_set(c, "worker_id", 'S', "none");
        add_set(c, "started_at", 'S', "");
        add_set(c, "updated_at", 'S', now);
        add_set(c, "lock_expires_at", '\0', NULL);
        break;
    }
    (void)q;
}

static enum op_rc report(struct op_trigger *trigger, const char *key,
                         const struct op_trigger_report *report, struct op_buf *text,
                         struct op_err *err)
{
    static const char *const phases[] = {"bound", "sent", "done", NULL};
    struct queue *q = (struct queue *)trigger;
    OP_CLEANUP(memory_release) struct memory m = {0};
    OP_CLEANUP(op_buf_release) struct op_buf ids, results;
    struct change c;
    char now[OP_TIME_TEXT], lock[OP_TIME_TEXT];
    op_buf_init(&ids, MAX_BODY);
    op_buf_init(&results, MAX_BODY);
    op_time_format(now_ms(q), now);
    op_time_format(now_ms(q) + BOUND_LOCK_MS, lock);
    enum op_rc rc = connect(q, err);
    if (!rc)
        rc = memory_read(text, &m, err);
    if (rc)
        return rc;
    bool has_checker = op_json_bool(op_json_get(m.root, "checker"), false);
    if (report->phase == OP_TRIGGER_SENT && q->checker[0] && report->batch_count) {
        rc = put_checker(q, key, &m, report, err);
        has_checker = true;
    }
    add_ids(report, &ids);
    write_results(report, now, &results);
    if (!rc && report->phase == OP_TRIGGER_DONE && has_checker)
        rc = end_checker(q, key, &m, report, now, results.ptr, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_mem_freep) char *said = say(report);
    bool bad = report->phase == OP_TRIGGER_DONE && !report->ok;
    write_logs(remembered(&m, "logs"), now_ms(q), bad ? "ERROR" : "INFO", said, &m.logs);
    begin_change(&c, key, phases[report->phase], m.version);
    report_sets(q, report, now, lock, ids.ptr, results.ptr, &c);
    add_set(&c, "logs", 'S', m.logs.ptr);
    rc = write_change(q, &c, &m.version, err);
    if (!rc)
        memory_write(&m, m.version, has_checker, text);
    return rc;
}

const struct op_trigger_ops op_trigger_dynamodb_queue = {
    .kind = "dynamodb_queue",
    .help = "jobs that a server puts into a DynamoDB table",
    .options = options,
    .columns = columns,
    .reach = op_dynamodb_reach,
    .open = open_queue,
    .look = look,
    .next = next,
    .claim = claim,
    .report = report,
    .close = close_queue,
};
