/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: docs/reference/ledger.md names every table and column of the schema and no other, in
 *            order; docs/design/ledger.md lists the transitions of core/states.h; the words and the
 *            lists of final states that the schema holds as text are those of core/states.h.
 * Oracle:    the schema of a new ledger, and core's functions.
 */
#include "base/io.h"
#include "ledger/sqlite/sqlite.h"
#include "support.h"

static void read_source(const char *name, struct op_buf *ret)
{
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/%s", OP_SOURCE_DIR, name);
    struct op_err err = OP_ERR_INIT;
    op_buf_init(ret, 1 << 20);
    if (op_io_read_file(op_env_default(), path, ret, &err))
        fail_msg("%s", err.msg);
}

/* "table.column" a line, from the headings and the first cells. */
static void columns_of_the_page(struct op_buf *ret)
{
    struct op_buf page;
    read_source("docs/reference/ledger.md", &page);
    struct op_str rest = op_buf_str(&page), table = OP_STR_NULL;
    while (rest.ptr) {
        struct op_str line = op_str_cut(&rest, '\n');
        if (op_str_starts(line, "### ")) {
            table = (struct op_str){line.ptr + 4, line.len - 4};
        } else if (op_str_starts(line, "| `") && table.ptr) {
            struct op_str cell = {line.ptr + 3, line.len - 3};
            struct op_str name = op_str_cut(&cell, '`');
            op_buf_addf(ret, OP_STR_FMT "." OP_STR_FMT "\n", OP_STR_ARG(table),
                        OP_STR_ARG(name));
        }
    }
    op_buf_release(&page);
}

static void columns_of_the_schema(sqlite3 *db, struct op_buf *ret)
{
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(
        sqlite3_prepare_v2(db,
                           "SELECT t.name, c.name FROM sqlite_schema t,"
                           " pragma_table_xinfo(t.name) c WHERE t.type = 'table'"
                           " AND t.name NOT LIKE 'sqlite_%' ORDER BY t.rowid, c.cid",
                           -1, &stmt, NULL),
        SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        op_buf_addf(ret, "%s.%s\n", sqlite3_column_text(stmt, 0), sqlite3_column_text(stmt, 1));
    sqlite3_finalize(stmt);
}

static void every_column_is_described(void **state)
{
    struct world *w = *state;
    struct op_buf page, schema;
    op_buf_init(&page, 1 << 16);
    op_buf_init(&schema, 1 << 16);
    columns_of_the_page(&page);
    columns_of_the_schema(w->ledger->db, &schema);
    assert_string_equal(page.ptr, schema.ptr);
    op_buf_release(&page);
    op_buf_release(&schema);
}

static void the_transitions_are_described(void **state)
{
    (void)state;
    struct op_buf page, list;
    read_source("docs/design/ledger.md", &page);
    op_buf_init(&list, 1 << 16);
    op_buf_addz(&list, "```\n");
    for (int from = 0; from < OP_BATCH_STATE_COUNT; from++) {
        bool any = false;
        op_buf_addf(&list, "%-12s", op_batch_state_name((enum op_batch_state)from));
        for (int to = 0; to < OP_BATCH_STATE_COUNT; to++) {
            if (!op_batch_may_go((enum op_batch_state)from, (enum op_batch_state)to))
                continue;
            op_buf_addf(&list, "%s %s", any ? "" : " ->",
                        op_batch_state_name((enum op_batch_state)to));
            any = true;
        }
        op_buf_addz(&list, any ? "\n" : " .\n");
    }
    op_buf_addz(&list, "```\n");
    if (!strstr(page.ptr, list.ptr))
        fail_msg("docs/design/ledger.md must contain:\n%s", list.ptr);
    op_buf_release(&page);
    op_buf_release(&list);
}

static int64_t query(struct world *w, const char *sql)
{
    int64_t value = -1;
    assert_ok(w, op_sq_query_int(w->ledger->db, "ledger", sql, &value, &w->err));
    return value;
}

static void the_words_are_those_of_core(void **state)
{
    struct world *w = *state;
    char sql[200];
    for (int i = 0; i < OP_REQUEST_STATE_COUNT; i++) {
        snprintf(sql, sizeof(sql),
                 "SELECT text = '%s' FROM word WHERE kind = 'request' AND code = %d",
                 op_request_state_name((enum op_request_state)i), i);
        assert_true(query(w, sql) == 1);
    }
    for (int i = 0; i < OP_RESULT_CLASS_COUNT; i++) {
        snprintf(sql, sizeof(sql),
                 "SELECT text = '%s' FROM word WHERE kind = 'result' AND code = %d",
                 op_result_class_name((enum op_result_class)i), i);
        assert_true(query(w, sql) == 1);
    }
    assert_true(query(w, "SELECT count(*) FROM word") ==
                OP_REQUEST_STATE_COUNT + OP_RESULT_CLASS_COUNT + 4);
}

/* A row in each state: the partial index holds it exactly when the state is not final. */
static void the_partial_indexes_know_what_is_final(void **state)
{
    struct world *w = *state;
    op_ledger_close(OP_TAKE(w->ledger));
    raw_sql(w->dir, "DELETE FROM job");
    char sql[900];
    for (int i = 0; i < OP_JOB_STATE_COUNT; i++) {
        snprintf(sql, sizeof(sql),
                 "INSERT INTO job(id, state, pipeline, identity, definition, params, options,"
                 " reason, lane_id, round, max_cost_microusd, created_ms, first_request,"
                 " round_record, round_request, round_batch)"
                 " VALUES (%d, '%s', '', 'i%d', 'd', '', '', '', 1, 1, 0, 0, 1, 1, 1, 1)",
                 i + 1, op_job_state_name((enum op_job_state)i), i);
        raw_sql(w->dir, sql);
    }
    open_world(w);
    for (int i = 0; i < OP_BATCH_STATE_COUNT; i++)
        add_batch(w, 1, 1, 1, 1);
    op_ledger_close(OP_TAKE(w->ledger));
    raw_sql(w->dir, "DROP TRIGGER batch_door; DROP TRIGGER batch_epoch");
    for (int i = 0; i < OP_BATCH_STATE_COUNT; i++) {
        snprintf(sql, sizeof(sql), "UPDATE batch SET state = '%s' WHERE id = %d",
                 op_batch_state_name((enum op_batch_state)i), i + 1);
        raw_sql(w->dir, sql);
    }
    open_world(w);
    for (int i = 0; i < OP_JOB_STATE_COUNT; i++) {
        char identity[8];
        int64_t id = 0;
        snprintf(identity, sizeof(identity), "i%d", i);
        enum op_rc rc = op_ledger_job_open(w->ledger, identity, &id, &w->err);
        assert_int_equal(rc, op_job_is_final((enum op_job_state)i) ? OP_NOTFOUND : OP_OK);
    }
    uint32_t open_states = 0;
    size_t open_count = 0;
    for (int i = 0; i < OP_BATCH_STATE_COUNT; i++) {
        if (op_batch_is_final((enum op_batch_state)i))
            continue;
        open_states |= 1U << i;
        open_count++;
    }
    struct op_batch_filter filter = {.states = open_states};
    struct ids ids = {0};
    assert_ok(w, op_ledger_batches(w->ledger, &filter, take_batch, &ids, &w->err));
    assert_int_equal(ids.count, open_count);
    for (size_t i = 0; i < ids.count; i++)
        assert_true(open_states >> (ids.id[i] - 1) & 1U);
    /* R1 guards at least what core calls live. */
    for (int i = 0; i < OP_BATCH_STATE_COUNT; i++) {
        if (!op_batch_is_live((enum op_batch_state)i))
            continue;
        snprintf(sql, sizeof(sql),
                 "SELECT instr(sql, '''%s''') > 0 FROM sqlite_schema"
                 " WHERE name = 'request_in_one_live_batch'",
                 op_batch_state_name((enum op_batch_state)i));
        assert_true(query(w, sql) == 1);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(every_column_is_described),
        T(the_transitions_are_described),
        T(the_words_are_those_of_core),
        T(the_partial_indexes_know_what_is_final),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
