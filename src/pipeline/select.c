/* SPDX-License-Identifier: MIT */
#include "pipeline/select.h"

#include <ctype.h>
#include <math.h>
#include <strings.h>

#include "base/json_out.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/raw_key.h"
#include "pipeline/select_internal.h"
#include "pipeline/sql_internal.h"

#define MAX_KEY   1024
#define MAX_PLACE (64 * 1024)

/* Where a record's key comes from. */
enum key_kind { KEY_COLUMN, KEY_NUMBER, KEY_RAW };

struct op_select {
    struct op_plan *plan;
    /* one of these two */
    struct op_input input;
    struct op_sqlenv *sql;
    struct op_query *query;

    op_skipped_fn skipped;
    void *skipped_arg;
    struct op_done *done;
    enum key_kind kind;
    size_t key_at;  /* KEY_COLUMN: which; KEY_RAW: where `line` is */
    bool key_added; /* the source has no column `key`: one is added behind its own */
    size_t column_count;
    const char **columns;
    struct op_value *cells; /* with the added key */
    struct op_compose_scratch *scratch;
    struct op_buf key, place;
    size_t place_len; /* what stands before the number */
    int64_t number, delivered, done_count, bad;
};

/* --- does it stream? ---------------------------------------------------------------------- */

static bool names_word(struct op_str text, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; text.ptr && i + len <= text.len; i++) {
        if (strncasecmp(text.ptr + i, word, len) != 0)
            continue;
        int before = i ? (unsigned char)text.ptr[i - 1] : ' ';
        int after = i + len < text.len ? (unsigned char)text.ptr[i + len] : ' ';
        if (!isalnum(before) && before != '_' && !isalnum(after) && after != '_')
            return true;
    }
    return false;
}

/* May a SELECT read the input's rows? A word in a text or comment counts too: then the input is
 * staged in vain, which costs time but nothing else. */
static bool reads_input(const struct op_definition *def)
{
    const char *name = def->inputs[0].name;
    for (size_t i = 0; i < def->output_count; i++)
        if (names_word(def->outputs[i].rows.text, name))
            return true;
    for (size_t i = 0; i < def->check_count; i++)
        if (names_word(def->checks[i].sql.text, name))
            return true;
    return names_word(def->progress.text, name);
}

bool op_plan_streams(const struct op_plan *plan)
{
    const struct op_definition *def = plan->def;
    return def->input_count == 1 && !def->records.text.ptr && def->require_count == 0 &&
           !def->done.text.ptr && !reads_input(def);
}

/* --- opening ------------------------------------------------------------------------------ */

enum op_rc op_select_query(struct op_sqlenv *sql, struct op_query **ret, struct op_err *err)
{
    const struct op_definition *def = sql->plan->def;
    if (def->records.text.ptr)
        return op_query_open(sql, &def->records, ret, err);
    if (def->input_count != 1)
        return op_fail(err, OP_INVAL,
                       "%s: with %zu inputs, 'records' must say what the records are",
                       def->file, def->input_count);
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, 1024);
    op_buf_addz(&text, "SELECT * FROM inputs.");
    op_sql_add_name(&text, def->inputs[0].name);
    struct op_text records = {op_buf_str(&text), def->inputs[0].place};
    return op_query_open(sql, &records, ret, err);
}

static size_t find_column(const struct op_select *select, const char *name)
{
    size_t i = 0;
    while (i < select->column_count && strcmp(select->columns[i], name) != 0)
        i++;
    return i;
}

static bool is_raw(const struct op_plan *plan)
{
    for (size_t i = 0; i < plan->def->request_count; i++)
        if (plan->def->requests[i].raw)
            return true;
    return false;
}

static void choose_key(struct op_select *select)
{
    size_t count = select->column_count;
    size_t key = find_column(select, "key"), id = find_column(select, "id");
    size_t line = find_column(select, "line");
    select->kind = KEY_COLUMN;
    select->key_at = key;
    if (key < count)
        return;
    select->key_added = true;
    if (is_raw(select->plan) && line < count) {
        select->kind = KEY_RAW;
        select->key_at = line;
    } else if (id < count) {
        select->key_at = id;
    } else {
        select->kind = KEY_NUMBER;
    }
}

static enum op_rc set_columns(struct op_select *select, const char *const *names, size_t count,
                              struct op_err *err)
{
    const struct op_definition *def = select->plan->def;
    select->columns = op_mem_array(count + 2, sizeof(*select->columns));
    select->cells = op_mem_array(count + 2, sizeof(*select->cells));
    for (size_t i = 0; i < count; i++)
        select->columns[i] = names[i];
    select->column_count = count;
    choose_key(select);
    if (select->key_added && def->records.text.ptr && select->kind != KEY_RAW) {
        const char *near = op_str_nearest("key", names, count);
        return op_fail(err, OP_INVAL,
                       "%s: the records need a column 'key' that names each of them: "
                       "SELECT %s AS key, ...",
                       def->records.place,
                       near    ? near
                       : count ? names[0]
                               : "id");
    }
    if (select->key_added)
        select->columns[count++] = "key";
    return op_plan_columns(select->plan, select->columns, count, err);
}

static enum op_rc open_stream(struct op_env *env, struct op_select *select, struct op_err *err)
{
    struct op_plan *plan = select->plan;
    enum op_rc rc = op_input_open(env, plan, &plan->def->inputs[0], &select->input, err);
    if (rc)
        return rc;
    op_buf_addf(&select->place, "%s:", select->input.target);
    return set_columns(select, select->input.source->columns,
                       select->input.source->column_count, err);
}

/* The malformed rows that staging left out. */
static enum op_rc tell_skipped(struct op_select *select, struct op_err *err)
{
    struct op_text text = {OP_STR("SELECT message FROM inputs.\"" OP_STAGE_SKIPPED "\""),
                           "the staged inputs"};
    struct op_query *query = NULL;
    enum op_rc rc = op_query_open(select->sql, &text, &query, err);
    const struct op_value *cells = NULL;
    while (!rc && !(rc = op_query_next(query, &cells, err))) {
        OP_CLEANUP(op_mem_freep) char *message = op_mem_strndup(cells[0].s.ptr, cells[0].s.len);
        select->bad++;
        if (select->skipped)
            select->skipped(select->skipped_arg, message);
    }
    op_query_close(query);
    return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
}

static enum op_rc open_staged(struct op_select *select, const char *db_path, struct op_err *err)
{
    struct op_plan *plan = select->plan;
    if (op_sql_open(plan, db_path, &select->sql, err) ||
        op_select_query(select->sql, &select->query, err) ||
        op_query_distinct(select->query, err))
        return err->rc;
    const char *const *names = NULL;
    size_t count = op_query_columns(select->query, &names);
    op_buf_addz(&select->place, "records row ");
    enum op_rc rc = set_columns(select, names, count, err);
    return rc ? rc : tell_skipped(select, err);
}

enum op_rc op_select_open(struct op_env *env, struct op_plan *plan, const char *db_path,
                          op_skipped_fn skipped, void *skipped_arg, struct op_select **ret,
                          struct op_err *err)
{
    OP_CLEANUP(op_select_closep) struct op_select *select = op_mem_alloc(sizeof(*select));
    select->plan = plan;
    select->skipped = skipped;
    select->skipped_arg = skipped_arg;
    op_buf_init(&select->key, MAX_KEY);
    op_buf_init(&select->place, MAX_PLACE);
    enum op_rc rc = db_path ? open_staged(select, db_path, err) : open_stream(env, select, err);
    if (rc)
        return rc;
    select->place_len = select->place.len;
    *ret = OP_TAKE(select);
    return OP_OK;
}

void op_select_close(struct op_select *select)
{
    if (!select)
        return;
    op_input_close(&select->input);
    op_query_close(select->query);
    op_done_close(select->done);
    op_sqlenv_close(select->sql);
    if (select->scratch)
        op_compose_scratch_free(select->scratch);
    op_mem_free(select->columns);
    op_mem_free(select->cells);
    op_buf_release(&select->key);
    op_buf_release(&select->place);
    op_mem_free(select);
}

void op_select_closep(struct op_select **select)
{
    op_select_close(*select);
    *select = NULL;
}

int64_t op_select_done(const struct op_select *select)
{
    return select->done_count;
}

int64_t op_select_skipped(const struct op_select *select)
{
    return select->bad + select->input.bad;
}

/* --- one record after the other ----------------------------------------------------------- */

static enum op_rc next_row(struct op_select *select, const struct op_value **ret_cells,
                           struct op_err *err)
{
    if (select->query)
        return op_query_next(select->query, ret_cells, err);
    return op_input_next(&select->input, select->skipped, select->skipped_arg, ret_cells, err);
}

static void set_place(struct op_select *select)
{
    int64_t line = select->query ? 0 : select->input.source->line;
    select->place.len = select->place_len;
    if (!select->query && line <= 0)
        op_buf_addz(&select->place, "row ");
    op_buf_add_int(&select->place, line > 0 ? line : select->number);
}

static enum op_rc raw_key(struct op_select *select, struct op_value line, struct op_str *ret,
                          struct op_err *err)
{
    if (!select->scratch)
        select->scratch = op_compose_scratch_new();
    struct op_str text = line.type == OP_VALUE_TEXT ? line.s : OP_STR_NULL;
    if (op_plan_raw_key(select->plan, text, select->scratch, ret, err))
        return op_err_wrap(err, "%s", select->place.ptr);
    return OP_OK;
}

/* The key as text, in a buffer of the select: it ends with a NUL there. */
static enum op_rc make_key(struct op_select *select, const struct op_value *cells,
                           struct op_err *err)
{
    char scratch[32];
    struct op_str key = OP_STR_NULL;
    if (select->kind == KEY_NUMBER)
        key = op_value_to_text(op_value_int(select->number), scratch);
    else if (select->kind == KEY_COLUMN)
        key = op_value_to_text(cells[select->key_at], scratch);
    else if (raw_key(select, cells[select->key_at], &key, err))
        return err->rc;
    const char *name = select->kind == KEY_RAW ? "custom_id" : select->columns[select->key_at];
    const char *place = select->place.ptr;
    if (!key.ptr || (key.len == 0 && select->kind != KEY_RAW))
        return op_fail(err, OP_INVAL, "%s: the key (column '%s') is %s; every record needs one",
                       place, name, key.ptr ? "empty" : "NULL");
    if (key.len > MAX_KEY)
        return op_fail(err, OP_INVAL, "%s: the key (column '%s') has %zu bytes; %d is the most",
                       place, name, key.len, MAX_KEY);
    if (op_utf8_valid_len(key.ptr, key.len) != key.len || memchr(key.ptr, '\0', key.len))
        return op_fail(err, OP_INVAL, "%s: the key (column '%s') is not UTF-8 text", place,
                       name);
    op_buf_clear(&select->key);
    if (select->kind == KEY_RAW)
        op_raw_key_write(&select->key, key, 1);
    else
        op_buf_add_str(&select->key, key);
    return OP_OK;
}

/* Behind the first row asked for, because planning opens a select also for its columns alone. */
static enum op_rc open_done(struct op_select *select, struct op_err *err)
{
    const struct op_plan *plan = select->plan;
    if (select->done || !select->query || !plan->def->done.text.ptr || plan->options.no_cache)
        return OP_OK;
    return op_done_open(select->sql, &plan->def->done, &select->done, err);
}

enum op_rc op_select_next(struct op_select *select, struct op_record *ret, struct op_err *err)
{
    const struct op_plan *plan = select->plan;
    const struct op_value *cells = NULL;
    enum op_rc rc = open_done(select, err);
    bool done = false;
    if (!rc && plan->options.limit > 0 && select->delivered >= plan->options.limit)
        return OP_NOTFOUND;
    do {
        if (!rc)
            rc = next_row(select, &cells, err);
        if (rc)
            return rc;
        select->number++;
        set_place(select);
        if (make_key(select, cells, err))
            return err->rc;
        if (select->done)
            rc = op_done_has(select->done, op_buf_str(&select->key), &done, err);
        select->done_count += done;
    } while (rc || done);
    if (select->key_added) {
        memcpy(select->cells, cells, select->column_count * sizeof(*cells));
        select->cells[select->column_count] = op_value_text(op_buf_str(&select->key));
        cells = select->cells;
    }
    select->delivered++;
    *ret = (struct op_record){.key = op_buf_str(&select->key),
                              .cells = cells,
                              .number = select->number,
                              .place = select->place.ptr};
    return OP_OK;
}

/* --- as JSON ------------------------------------------------------------------------------ */

/* A whole number that is a double stays one: 1.0, not 1. */
static void write_double(struct op_json_out *out, double d)
{
    char text[40];
    if (!isfinite(d)) {
        op_json_out_null(out);
        return;
    }
    size_t len = op_json_format_double(d, text);
    if (!memchr(text, '.', len) && !memchr(text, 'e', len) && !memchr(text, 'E', len)) {
        text[len++] = '.';
        text[len++] = '0';
    }
    op_json_out_raw(out, (struct op_str){text, len});
}

/* JSON has no bytes: those that are no text become hexadecimal digits. */
static void write_blob(struct op_json_out *out, struct op_str bytes)
{
    if (op_utf8_valid_len(bytes.ptr, bytes.len) == bytes.len) {
        op_json_out_str(out, bytes);
        return;
    }
    OP_CLEANUP(op_buf_release) struct op_buf hex;
    op_buf_init(&hex, 2 * bytes.len);
    for (size_t i = 0; i < bytes.len; i++)
        op_buf_addf(&hex, "%02x", (unsigned char)bytes.ptr[i]);
    op_json_out_str(out, op_buf_str(&hex));
}

void op_record_write(const struct op_plan *plan, const struct op_record *record,
                     struct op_buf *out)
{
    struct op_json_out json;
    op_json_out_init(&json, out, 0);
    op_json_out_object(&json);
    for (size_t i = 0; i < plan->record_column_count; i++) {
        struct op_value v = record->cells[i];
        op_json_out_name(&json, plan->record_columns[i]);
        switch (v.type) {
        case OP_VALUE_NULL:
            op_json_out_null(&json);
            break;
        case OP_VALUE_INT:
            op_json_out_int(&json, v.i);
            break;
        case OP_VALUE_DOUBLE:
            write_double(&json, v.d);
            break;
        case OP_VALUE_TEXT:
            op_json_out_str(&json, v.s);
            break;
        case OP_VALUE_BLOB:
            write_blob(&json, v.s);
            break;
        }
    }
    op_json_out_end_object(&json);
}

struct op_value op_record_cell(struct op_json v)
{
    switch (op_json_type(v)) {
    case OP_JSON_FALSE:
    case OP_JSON_TRUE:
        return op_value_int(op_json_bool(v, false));
    case OP_JSON_INT:
        return op_value_int(op_json_int(v, 0));
    case OP_JSON_DOUBLE:
        return op_value_double(op_json_double(v, 0));
    case OP_JSON_STRING:
        return op_value_text(op_json_str(v));
    case OP_JSON_NULL:
    case OP_JSON_ARRAY:
    case OP_JSON_OBJECT:
        break;
    }
    return op_value_null();
}

/* --- require ------------------------------------------------------------------------------ */

/* The message sees the params and what the SELECT found (NULLs when it found no row). */
static enum op_rc say_message(const struct op_plan *plan, const struct op_require_def *need,
                              const char *const *names, const struct op_value *cells,
                              size_t count, struct op_err *err)
{
    const struct op_params *params = plan->params;
    size_t total = params->count + count;
    OP_CLEANUP(op_mem_freep) const char **columns = op_mem_array(total + 1, sizeof(*columns));
    OP_CLEANUP(op_mem_freep) struct op_value *values = op_mem_array(total + 1, sizeof(*values));
    for (size_t i = 0; i < total; i++) { /* what was found comes first: it is nearer */
        columns[i] = i < count ? names[i] : params->names[i - count];
        if (i >= count)
            values[i] = params->values[i - count];
        else if (cells)
            values[i] = cells[i];
    }
    OP_CLEANUP(op_template_freep) struct op_template *tpl = NULL;
    struct op_template_options options = {.escape = OP_ESCAPE_NONE, .strict = true};
    if (op_text_compile(&need->message, &options, &tpl, err))
        return err->rc;
    OP_CLEANUP(op_buf_release) struct op_buf out;
    op_buf_init(&out, OP_TEMPLATE_MAX_OUTPUT);
    struct op_template_root root = {.columns = columns, .cells = values, .count = total};
    struct op_template_scratch *scratch = op_template_scratch_new();
    enum op_rc rc = op_template_render(tpl, scratch, &root, &out, err);
    op_template_scratch_free(scratch);
    if (rc) {
        op_text_shift(&need->message, err);
        return rc;
    }
    return op_fail(err, OP_INVAL, "%s", out.ptr);
}

static enum op_rc require_one(struct op_sqlenv *sql, const struct op_plan *plan,
                              const struct op_require_def *need, struct op_err *err)
{
    struct op_query *query = NULL;
    enum op_rc rc = op_query_open(sql, &need->sql, &query, err);
    if (rc)
        return rc;
    const char *const *names = NULL;
    const struct op_value *cells = NULL;
    size_t count = op_query_columns(query, &names);
    rc = op_query_next(query, &cells, err);
    if (rc == OP_NOTFOUND && !err->rc) {
        cells = NULL;
        rc = OP_OK;
    }
    if (!rc && (!cells || !op_sql_true(cells[0])))
        rc = say_message(plan, need, names, cells, count, err);
    if (rc == OP_INVAL && need->warn) {
        op_log(OP_EVENT_NOTE, OP_T("warning", err->msg));
        op_err_clear(err);
        rc = OP_OK;
    }
    op_query_close(query);
    return rc;
}

enum op_rc op_require(struct op_sqlenv *sql, const struct op_plan *plan, struct op_err *err)
{
    for (size_t i = 0; i < plan->def->require_count; i++) {
        enum op_rc rc = require_one(sql, plan, &plan->def->requires[i], err);
        if (rc)
            return rc;
    }
    return OP_OK;
}
