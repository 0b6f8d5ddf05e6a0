/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "net/dynamodb.h"

enum { MAX_BODY = 64 * 1024, MAX_INDEXES = 20 };
/* A table is there after some seconds, indexes on a large one after minutes. */
enum { WAITS = 100, LONGEST_PAUSE = 7 };

/* --- looking --- */

static char type_of(struct op_json table, struct op_str name)
{
    struct op_json_iter it = op_json_iter(op_json_get(table, "AttributeDefinitions"));
    while (op_json_next(&it)) {
        struct op_str type = op_json_str(op_json_get(it.value, "AttributeType"));
        if (op_str_eq(op_json_str(op_json_get(it.value, "AttributeName")), name) && type.len)
            return type.ptr[0];
    }
    return 'S';
}

static void take_keys(struct op_json table, struct op_json schema, struct op_dynamodb_key *ret)
{
    struct op_json_iter it = op_json_iter(schema);
    *ret = (struct op_dynamodb_key){0};
    while (op_json_next(&it)) {
        struct op_str name = op_json_str(op_json_get(it.value, "AttributeName"));
        bool hash = op_str_is(op_json_str(op_json_get(it.value, "KeyType")), "HASH");
        snprintf(hash ? ret->hash : ret->range, OP_DYNAMODB_NAME, OP_STR_FMT, OP_STR_ARG(name));
        *(hash ? &ret->hash_type : &ret->range_type) = type_of(table, name);
    }
}

static bool find_index(struct op_json table, const char *kind, const char *index,
                       struct op_buf *names, struct op_json *ret)
{
    struct op_json_iter it = op_json_iter(op_json_get(table, kind));
    while (op_json_next(&it)) {
        struct op_str name = op_json_str(op_json_get(it.value, "IndexName"));
        op_buf_addf(names, "%s" OP_STR_FMT, names->len ? ", " : "", OP_STR_ARG(name));
        *ret = op_json_get(it.value, "KeySchema");
        if (op_str_is(name, index))
            return true;
    }
    return false;
}

static enum op_rc ask(struct op_dynamodb *db, const char *name, struct op_json *ret,
                      struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf body;
    struct op_json_out out;
    struct op_json root;
    op_buf_init(&body, MAX_BODY);
    op_json_out_init(&out, &body, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "TableName", name);
    op_json_out_end_object(&out);
    enum op_rc rc = op_dynamodb_call(db, "DescribeTable", name, &body, &root, err);
    if (!rc)
        *ret = op_json_get(root, "Table");
    return rc;
}

static bool is_ready(struct op_json table)
{
    bool ready = !op_str_is(op_json_str(op_json_get(table, "TableStatus")), "CREATING");
    struct op_json_iter it = op_json_iter(op_json_get(table, "GlobalSecondaryIndexes"));
    while (op_json_next(&it))
        ready =
            ready && !op_str_is(op_json_str(op_json_get(it.value, "IndexStatus")), "CREATING");
    return ready;
}

/* The description of a table that can be used. */
static enum op_rc wait_ready(struct op_dynamodb *db, const char *name, struct op_json *ret,
                             struct op_err *err)
{
    for (int i = 1; i <= WAITS; i++) {
        enum op_rc rc = ask(db, name, ret, err);
        if (rc || is_ready(*ret))
            return rc;
        op_dynamodb_pause(db, i < LONGEST_PAUSE ? i : LONGEST_PAUSE);
    }
    return op_fail_as(err, OP_REMOTE, OP_DISP_RETRY,
                      "DynamoDB table '%s' is still being made; wait and run again", name);
}

enum op_rc op_dynamodb_describe(struct op_dynamodb *db, const char *name, const char *index,
                                struct op_dynamodb_key *ret, bool *ret_local,
                                struct op_err *err)
{
    struct op_json table, schema;
    enum op_rc rc = wait_ready(db, name, &table, err);
    if (rc)
        return rc;
    *ret_local = true;
    schema = op_json_get(table, "KeySchema");
    if (index) {
        OP_CLEANUP(op_buf_release) struct op_buf names;
        op_buf_init(&names, 700);
        *ret_local = find_index(table, "LocalSecondaryIndexes", index, &names, &schema);
        if (!*ret_local && !find_index(table, "GlobalSecondaryIndexes", index, &names, &schema))
            return op_fail(err, OP_INVAL, "DynamoDB table '%s' has no index '%s'; it has: %s",
                           name, index, names.len ? names.ptr : "none");
    }
    take_keys(table, schema, ret);
    if (!ret->hash[0])
        return op_fail_as(err, OP_REMOTE, OP_DISP_RETRY,
                          "DynamoDB table '%s': DescribeTable did not say its key", name);
    return OP_OK;
}

/* --- making --- */

struct index_spec {
    struct op_str name;
    struct op_dynamodb_key key;
};

struct table_spec {
    struct op_dynamodb_key key;
    struct index_spec indexes[MAX_INDEXES];
    size_t index_count;
};

/* "name S" */
static enum op_rc read_attribute(const struct op_dynamodb_spec *spec, const char *option,
                                 struct op_str text, char *ret_name, char *ret_type,
                                 struct op_err *err)
{
    text = op_str_trim(text);
    size_t space = text.len >= 2 ? text.len - 2 : 0;
    struct op_str name = op_str_trim((struct op_str){text.ptr, space});
    char type = text.len ? text.ptr[text.len - 1] : '\0';
    if (name.len == 0 || name.len >= OP_DYNAMODB_NAME || text.ptr[space] != ' ' ||
        !strchr("SNB", type))
        return op_fail(err, OP_INVAL,
                       "%s: '%s': '" OP_STR_FMT "' is no attribute with its type: as in 'id S' "
                       "(S text, N number, B bytes)",
                       spec->place, option, OP_STR_ARG(text));
    snprintf(ret_name, OP_DYNAMODB_NAME, OP_STR_FMT, OP_STR_ARG(name));
    *ret_type = type;
    return OP_OK;
}

static enum op_rc read_key(const struct op_dynamodb_spec *spec, const char *option,
                           struct op_str hash, struct op_str range, struct op_dynamodb_key *ret,
                           struct op_err *err)
{
    enum op_rc rc = read_attribute(spec, option, hash, ret->hash, &ret->hash_type, err);
    if (!rc && range.ptr)
        rc = read_attribute(spec, option, range, ret->range, &ret->range_type, err);
    return rc;
}

/* "Name(a S, b N), Other(c S)": the lists in brackets hold commas too. */
static enum op_rc read_indexes(const struct op_dynamodb_spec *spec, struct table_spec *ret,
                               struct op_err *err)
{
    struct op_str rest = op_str_trim(op_str_from(spec->indexes));
    while (rest.ptr && rest.len > 0) {
        struct index_spec *index = &ret->indexes[ret->index_count];
        index->name = op_str_trim(op_str_cut(&rest, '('));
        struct op_str inside = rest.ptr ? op_str_cut(&rest, ')') : OP_STR_NULL;
        if (!inside.ptr || !rest.ptr || index->name.len == 0 ||
            ++ret->index_count == MAX_INDEXES)
            return op_fail(
                err, OP_INVAL,
                "%s: 'indexes' is a list like 'ByReport(report_id S, timestamp S)', at "
                "most 19",
                spec->place);
        struct op_str hash = op_str_cut(&inside, ',');
        enum op_rc rc = read_key(spec, "indexes", hash, inside, &index->key, err);
        if (rc)
            return rc;
        rest = op_str_trim(rest);
        if (op_str_starts(rest, ",")) {
            rest.ptr++;
            rest.len--;
        }
    }
    return OP_OK;
}

static enum op_rc read_spec(const struct op_dynamodb_spec *spec, struct table_spec *ret,
                            struct op_err *err)
{
    *ret = (struct table_spec){0};
    if (!spec->hash)
        return op_fail(err, OP_INVAL,
                       "%s: the table '%s' cannot be made without 'hash', as in 'hash: id S'",
                       spec->place, spec->table);
    struct op_str range = op_str_from(spec->range && *spec->range ? spec->range : NULL);
    enum op_rc rc =
        read_key(spec, "hash, range", op_str_from(spec->hash), range, &ret->key, err);
    return rc || !spec->indexes ? rc : read_indexes(spec, ret, err);
}

enum op_rc op_dynamodb_check(const struct op_dynamodb_spec *spec, struct op_err *err)
{
    struct table_spec parsed;
    return spec->hash ? read_spec(spec, &parsed, err) : OP_OK;
}

static void add_attribute(struct op_json_out *out, const char *name, char type,
                          struct op_buf *seen)
{
    char mark[OP_DYNAMODB_NAME + 2];
    int len = snprintf(mark, sizeof(mark), "\n%s\n", name);
    if (!*name || memmem(seen->ptr, seen->len, mark, (size_t)len))
        return;
    op_buf_add(seen, mark, (size_t)len);
    op_json_out_object(out);
    op_json_out_kv_text(out, "AttributeName", name);
    op_json_out_kv_str(out, "AttributeType", (struct op_str){&type, 1});
    op_json_out_end_object(out);
}

static void add_key_schema(struct op_json_out *out, const struct op_dynamodb_key *key)
{
    const char *names[] = {key->hash, key->range};
    op_json_out_name(out, "KeySchema");
    op_json_out_array(out);
    for (int i = 0; i < 2; i++) {
        if (!*names[i])
            continue;
        op_json_out_object(out);
        op_json_out_kv_text(out, "AttributeName", names[i]);
        op_json_out_kv_text(out, "KeyType", i ? "RANGE" : "HASH");
        op_json_out_end_object(out);
    }
    op_json_out_end_array(out);
}

static void add_indexes(struct op_json_out *out, const struct table_spec *table)
{
    op_json_out_name(out, "GlobalSecondaryIndexes");
    op_json_out_array(out);
    for (size_t i = 0; i < table->index_count; i++) {
        op_json_out_object(out);
        op_json_out_kv_str(out, "IndexName", table->indexes[i].name);
        add_key_schema(out, &table->indexes[i].key);
        op_json_out_name(out, "Projection");
        op_json_out_object(out);
        op_json_out_kv_text(out, "ProjectionType", "ALL");
        op_json_out_end_object(out);
        op_json_out_end_object(out);
    }
    op_json_out_end_array(out);
}

static void write_create(struct op_buf *body, const char *name, const struct table_spec *table)
{
    OP_CLEANUP(op_buf_release) struct op_buf seen;
    struct op_json_out out;
    op_buf_init(&seen, MAX_BODY);
    op_json_out_init(&out, body, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "TableName", name);
    op_json_out_kv_text(&out, "BillingMode", "PAY_PER_REQUEST");
    op_json_out_name(&out, "AttributeDefinitions");
    op_json_out_array(&out);
    add_attribute(&out, table->key.hash, table->key.hash_type, &seen);
    add_attribute(&out, table->key.range, table->key.range_type, &seen);
    for (size_t i = 0; i < table->index_count; i++) {
        const struct op_dynamodb_key *key = &table->indexes[i].key;
        add_attribute(&out, key->hash, key->hash_type, &seen);
        add_attribute(&out, key->range, key->range_type, &seen);
    }
    op_json_out_end_array(&out);
    add_key_schema(&out, &table->key);
    if (table->index_count)
        add_indexes(&out, table);
    op_json_out_end_object(&out);
}

enum op_rc op_dynamodb_create(struct op_dynamodb *db, const struct op_dynamodb_spec *spec,
                              bool *ret_made, struct op_err *err)
{
    struct table_spec table;
    struct op_json ignored;
    enum op_rc rc = read_spec(spec, &table, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_buf_release) struct op_buf body;
    op_buf_init(&body, MAX_BODY);
    write_create(&body, spec->table, &table);
    struct op_err why = OP_ERR_INIT;
    rc = op_dynamodb_call(db, "CreateTable", spec->table, &body, &ignored, &why);
    *ret_made = !rc;
    if (rc && rc != OP_CONFLICT) {
        *err = why;
        return rc;
    }
    return wait_ready(db, spec->table, &ignored, err);
}
