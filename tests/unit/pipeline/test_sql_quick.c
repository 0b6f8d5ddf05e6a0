/* SPDX-License-Identifier: MIT */

/* The short way for rows against SQLite itself: the same rows, cell by cell and type by type. */
#include "pipeline/sql_quick.h"
#include "support_sql.h"

static const char *const selects[] = {
    "SELECT a.key AS key, i.key + 1 AS n, i.value ->> 'q' AS q, i.value ->> 'n' AS m\n"
    "FROM answers AS a, json_each(a.answer, '$.items') AS i\n",
    "select a.id, A.request r, I.key, i.value -> 'q' AS json, i.value FROM answers a,"
    " JSON_EACH ( answer , '$.items' ) i ;",
    "SELECT key AS id, answer ->> 'label' AS label, answer -> 'urgent' AS urgent FROM answers",
    "SELECT answers.answer, answers.answer ->> 'items' FROM answers",
    "SELECT json_each.value, json_each.key + 0 FROM answers, json_each(answers.answer)",
    "SELECT i.value ->> 'q' FROM answers AS a, json_each(a.answer, '$.items[1]') AS i",
    "SELECT i.value FROM answers AS a, json_each(a.answer, '$.items[') AS i",
};

static const char *const answers[] = {
    "{\"items\":[{\"q\":\"one\",\"n\":1},{\"q\":\"two\",\"n\":2}]}",
    " { \"items\" : [ { \"q\" : [ 1 , 2 ] , \"n\" : null } , { \"n\" : true } ] } ",
    "{\"items\":[{\"q\":\"a\\\"b\\\\c\\n\\u00e4\\ud83d\\ude00\",\"n\":\"\\u0000x\"},[]]}",
    "{\"items\":[{\"n\":9223372036854775807,\"q\":9223372036854775808}]}",
    "{\"items\":[{\"q\":-1.50e3,\"n\":1e999},{\"q\":\"\",\"n\":-0},{\"q\":{},\"n\":false}]}",
    "{\"items\":[{\"q\":1,\"q\":2,\"\\u006e\":3},[1,2],[{\"q\":4}]]}",
    "{\"items\":[1,\"two\",null,{\"q\":1}]}",
    "{\"items\":[\"{\\\"q\\\":5}\"]}",
    "{\"items\":[]}",
    "{\"items\":{\"x\":{\"q\":1},\"y\":2}}",
    "{\"items\":\"text\"}",
    "{\"items\":null,\"label\":\"l\",\"urgent\":true}",
    "{\"label\":\"a,b\\tc\",\"urgent\":{\"a\":[1, 2]}}",
    "{}",
    "[]",
    "[1,[2,3],{\"q\":4}]",
    "7",
    "\"text\"",
    "null",
    "",
    "no JSON",
    "{\"items\":[{\"q\":1}",
};

static char *run_quick(struct op_quick *quick)
{
    struct op_buf out;
    op_buf_init(&out, 1000 * 1000);
    op_buf_addz(&out, "");
    for (const struct op_value *cells; (cells = op_quick_next(quick));) {
        for (size_t i = 0; i < op_quick_columns(quick); i++) {
            if (i)
                op_buf_addc(&out, '|');
            add_cell(&out, cells[i]);
        }
        op_buf_addc(&out, '\n');
    }
    char *text = op_buf_take(&out);
    op_buf_release(&out);
    return text;
}

static struct op_sqlenv *open_env(struct world *w)
{
    world_begin(w);
    world_file(w, "t.csv", "id,x\nb,2\n");
    world_open(w,
               SQL_HEAD "inputs: {t: {csv: \"{{dir}}/t.csv\"}}\n"
                        "records: SELECT id AS key FROM t\n" SQL_ASK
                        "outputs: [{jsonl: \"{{dir}}/out\", rows: SELECT key FROM answers}]\n");
    return world_sql(w);
}

/* Whether the short way was taken. */
static bool compare(struct op_sqlenv *sql, struct op_quick *quick, const char *select,
                    struct op_str answer)
{
    const struct op_context x = {
        .key = OP_STR("k|1"), .request_id = 17, .answer = answer, .problem = OP_STR("")};
    op_sqlenv_set(sql, &x);
    if (!op_quick_begin(quick))
        return false;
    OP_CLEANUP(op_mem_freep) char *got = run_quick(quick);
    op_sqlenv_set(sql, &x);
    OP_CLEANUP(op_mem_freep) char *want = run_sql(sql, select);
    if (strcmp(got, want) != 0)
        fail_msg("%s\n of %s\n gives: %s\n  want: %s", select, answer.ptr, got, want);
    return true;
}

static void test_same_rows(void **state)
{
    (void)state;
    struct world w;
    struct op_sqlenv *sql = open_env(&w);
    for (size_t s = 0; s < OP_COUNT(selects); s++) {
        struct op_quick *quick = op_quick_open(sql, op_str_from(selects[s]));
        assert_non_null(quick);
        size_t taken = 0;
        for (size_t a = 0; a < OP_COUNT(answers); a++)
            taken += compare(sql, quick, selects[s], op_str_from(answers[a]));
        taken += compare(sql, quick, selects[s], OP_STR_NULL);
        assert_in_range(taken, 1, OP_COUNT(answers) + 1);
        if (s == 0) /* what it is for */
            assert_true(compare(sql, quick, selects[s], op_str_from(answers[0])));
        op_quick_close(quick);
    }
    op_sqlenv_close(sql);
    world_end(&w);
}

/* Each of them means something that the short way does not do. */
static void test_other_texts(void **state)
{
    static const char *const others[] = {
        "",
        "SELECT",
        "SELECT key FROM answers WHERE key = 'x'",
        "SELECT DISTINCT key FROM answers",
        "SELECT key FROM answers ORDER BY 1",
        "SELECT key FROM answers LIMIT 1",
        "SELECT key FROM results",
        "SELECT key, x FROM answers, t",
        "SELECT model FROM answers",
        "SELECT key + 1 FROM answers",
        "SELECT answer + 1 FROM answers",
        "SELECT key ->> 'x' FROM answers",
        "SELECT answer ->> '$.x' FROM answers",
        "SELECT answer ->> 'it''s' FROM answers",
        "SELECT answer ->> 'x' ->> 'y' FROM answers",
        "SELECT \"key\" FROM answers",
        "SELECT key /* k */ FROM answers",
        "SELECT upper(key) FROM answers",
        "SELECT 'key' FROM answers",
        "SELECT :word FROM answers",
        "SELECT * FROM answers",
        "SELECT a.* FROM answers AS a",
        "SELECT key FROM answers AS a, json_each(a.answer) AS i",
        "SELECT a.key FROM answers AS a, json_each(a.answer) AS a",
        "SELECT i.type FROM answers AS a, json_each(a.answer) AS i",
        "SELECT i.key + 1.5 FROM answers AS a, json_each(a.answer) AS i",
        "SELECT i.value + 1 FROM answers AS a, json_each(a.answer) AS i",
        "SELECT i.value FROM answers AS a, json_each(i.value) AS i",
        "SELECT i.value FROM answers AS a, json_each(a.answer, '$', 1) AS i",
        "SELECT i.value FROM answers AS a, json_each(a.answer, 'items') AS i",
        "SELECT i.value FROM answers AS a, json_each(a.answer) AS i, json_each(i.value) AS k",
        "SELECT i.value FROM answers AS a LEFT JOIN json_each(a.answer) AS i",
        "SELECT i.value FROM json_each('[1]') AS i",
        "SELECT key FROM answers UNION ALL SELECT key FROM answers",
        "SELECT key FROM answers; SELECT 1",
        "WITH x AS (SELECT 1) SELECT key FROM answers",
    };
    (void)state;
    struct world w;
    struct op_sqlenv *sql = open_env(&w);
    for (size_t i = 0; i < OP_COUNT(others); i++)
        if (op_quick_open(sql, op_str_from(others[i])))
            fail_msg("recognised: %s", others[i]);
    op_sqlenv_close(sql);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_rows),
        cmocka_unit_test(test_other_texts),
    };
    return cmocka_run_group_tests_name("sql quick", tests, NULL, NULL);
}
