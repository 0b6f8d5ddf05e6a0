/* SPDX-License-Identifier: MIT */
#include "sink/jsonrow.h"

#include <math.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "sink/common.h"
#include "sink/jsontext.h"

static bool is_key(const struct op_sink_config *config, const char *name)
{
    for (size_t i = 0; i < config->key_count; i++) {
        if (strcmp(config->key[i], name) == 0)
            return true;
    }
    return false;
}

enum op_rc op_jsonrow_init(struct op_jsonrow *row, const struct op_sink_config *config,
                           struct op_err *err)
{
    *row = (struct op_jsonrow){.count = config->column_count};
    row->names = op_sink_names_copy(config);
    row->heads = op_mem_array(row->count, sizeof(*row->heads));
    row->json = op_mem_array(row->count, sizeof(*row->json));
    row->left_out = op_mem_array(row->count, sizeof(*row->left_out));
    for (size_t i = 0; i < row->count; i++) {
        struct op_buf head;
        op_buf_init(&head, OP_FRAME_MAX);
        op_buf_addz(&head, ",\"");
        op_json_escape(&head, row->names[i], strlen(row->names[i]));
        op_buf_addz(&head, "\":");
        row->heads[i] = op_buf_take(&head);
        op_buf_release(&head);
    }
    OP_CLEANUP(op_mem_freep) size_t *list = NULL;
    size_t count = 0;
    enum op_rc rc = op_sink_column_list(config, "json_columns", &list, &count, err);
    for (size_t i = 0; !rc && i < count; i++) {
        row->json[list[i]] = true;
        if (is_key(config, row->names[list[i]]))
            rc = op_fail(err, OP_INVAL, "%s: the key column '%s' cannot be in 'json_columns'",
                         config->place, row->names[list[i]]);
    }
    return rc;
}

void op_jsonrow_release(struct op_jsonrow *row)
{
    op_sink_names_free(row->names, row->count);
    op_sink_names_free(row->heads, row->count);
    op_mem_free(row->json);
    op_mem_free(row->left_out);
    *row = (struct op_jsonrow){0};
}

void op_jsonrow_leave_out(struct op_jsonrow *row, size_t column)
{
    row->left_out[column] = true;
}

enum op_rc op_jsonrow_write_cell(const struct op_jsonrow *row, size_t column, struct op_value v,
                                 struct op_buf *out, struct op_err *err)
{
    char number[32];
    size_t start = out->len;
    switch (v.type) {
    case OP_VALUE_NULL:
        op_buf_add(out, "null", 4);
        return OP_OK;
    case OP_VALUE_INT:
        op_buf_add_int(out, v.i);
        return OP_OK;
    case OP_VALUE_DOUBLE:
        op_buf_add(out, number, op_json_format_double(v.d, number));
        return OP_OK;
    case OP_VALUE_TEXT:
        if (!row->json[column]) {
            op_buf_addc(out, '"');
            op_json_escape(out, v.s.ptr, v.s.len);
            op_buf_addc(out, '"');
            return OP_OK;
        }
        /* A full buffer is not the row's fault and is said by whoever finishes the frame. */
        if (op_utf8_valid_len(v.s.ptr, v.s.len) == v.s.len && op_jsontext_copy(out, v.s, 0, 0))
            return OP_OK;
        op_frame_cancel(out, start);
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "column '%s' is in 'json_columns' but its text is no JSON value",
                          row->names[column]);
    case OP_VALUE_BLOB:
        break;
    }
    return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                      "column '%s' is a blob, which JSON cannot hold; use hex() in 'rows'",
                      row->names[column]);
}

enum op_rc op_jsonrow_write(const struct op_jsonrow *row, const struct op_value *cells,
                            struct op_buf *out, struct op_err *err)
{
    bool first = true;
    op_buf_addc(out, '{');
    for (size_t i = 0; i < row->count; i++) {
        if (row->left_out[i])
            continue;
        op_buf_addz(out, row->heads[i] + first);
        first = false;
        enum op_rc rc = op_jsonrow_write_cell(row, i, cells[i], out, err);
        if (rc)
            return rc;
    }
    op_buf_addc(out, '}');
    return OP_OK;
}

enum op_rc op_jsonrow_key(const struct op_jsonrow *row, const struct op_value *cells,
                          const size_t *columns, size_t count, struct op_key *ret,
                          struct op_err *err)
{
    op_key_begin(ret, NULL);
    for (size_t i = 0; i < count; i++) {
        struct op_value v = cells[columns[i]];
        /* Broken UTF-8 is written as U+FFFD: the key would not be found again. */
        if (v.type == OP_VALUE_TEXT && op_utf8_valid_len(v.s.ptr, v.s.len) != v.s.len)
            return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                              "the key column '%s' is not valid UTF-8", row->names[columns[i]]);
        op_key_add_value(ret, v);
    }
    return OP_OK;
}

struct op_value op_jsonrow_value(struct op_json v, struct op_buf *text)
{
    size_t start = text->len;
    if (!op_json_ok(v))
        return op_value_null();
    switch (op_json_type(v)) {
    case OP_JSON_NULL:
        return op_value_null();
    case OP_JSON_INT:
        return op_value_int(op_json_int(v, 0));
    case OP_JSON_DOUBLE:
        return op_value_double(op_json_double(v, 0));
    case OP_JSON_STRING:
        return op_value_text(op_json_str(v));
    case OP_JSON_FALSE:
    case OP_JSON_TRUE:
    case OP_JSON_ARRAY:
    case OP_JSON_OBJECT:
        break;
    }
    op_json_write_canonical(text, v);
    return (struct op_value){.type = OP_VALUE_BLOB, .s = {"", text->len - start}};
}
