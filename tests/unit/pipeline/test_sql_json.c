/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: ->, ->>, json_extract, json_type, json_array_length and json_each as offpeak has them:
 *            over texts SQL was given and over the context's answer, with what SQLite itself says
 *            of the same document and path, values, types, subtypes and errors alike.
 * Oracle:    SQLite's own functions on a plain connection, over thousands of generated documents
 *            and paths; a table for the differences that are meant.
 */
#include <sqlite3.h>

#include "support_sql.h"

/* From 3.41 on SQLite reads more than JSON, and names nodes otherwise: there only what all versions
 * agree on is compared. */
static bool is_old(void)
{
    return sqlite3_libversion_number() < 3041000;
}

/* --- a generator of documents --- */

static uint64_t seed = 12345;

static uint32_t dice(uint32_t sides)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % sides;
}

static const char *const names[] = {"a",      "b",          "question", "a b",
                                    "x\\\"y", "caf\\u00e9", "",         "0"};
static const char *const scalars[] = {
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-12",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "1.0",
    "-0.0",
    "1.5",
    "1e3",
    "1E+2",
    "2.50e-3",
    "1e400",
    "-1e400",
    "\"\"",
    "\"text\"",
    "\"two words\"",
    "\"q\\\"q\"",
    "\"\\\\ \\/ \\b\\f\\n\\r\\t\"",
    "\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"",
    "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"",
    "\"before\\u0000after\"",
    "\"[1,2]\"",
    "\"a somewhat longer text, of more than sixteen bytes\"",
    "\"it's\"",
};

static void add_space(struct op_buf *out, bool spaced)
{
    static const char *const spaces[] = {"", "", " ", "\n", "\t", "\r\n  "};
    if (spaced)
        op_buf_addz(out, spaces[dice(OP_COUNT(spaces))]);
}

static void add_value(struct op_buf *out, int depth, bool spaced)
{
    uint32_t kind = dice(depth > 0 ? 3 : 1);
    uint32_t count = dice(4);
    add_space(out, spaced);
    if (kind == 0) {
        op_buf_addz(out, scalars[dice(OP_COUNT(scalars))]);
    } else {
        op_buf_addc(out, kind == 1 ? '[' : '{');
        add_space(out, spaced && !count);
        for (uint32_t i = 0; i < count; i++) {
            if (i)
                op_buf_addc(out, ',');
            if (kind == 2) {
                add_space(out, spaced);
                op_buf_addf(out, "\"%s\"", names[dice(OP_COUNT(names))]);
                add_space(out, spaced);
                op_buf_addc(out, ':');
            }
            add_value(out, depth - 1, spaced);
        }
        op_buf_addc(out, kind == 1 ? ']' : '}');
    }
    add_space(out, spaced);
}

static void break_document(struct op_buf *doc)
{
    static const char with[] = "{}[]\",:\\0-.eE+ntf \x01";
    if (doc->len == 0)
        return;
    uint32_t at = dice((uint32_t)doc->len);
    if (dice(2))
        doc->len = at;
    else
        doc->ptr[at] = with[dice(sizeof(with) - 1)];
    doc->ptr[doc->len] = '\0';
}

static const char *const good_paths[] = {
    "$",          "$.a",       "$.b",     "$[0]",    "$[1]",
    "$.a.b",      "$.a[0]",    "$[0].a",  "$[#-1]",  "$.a[#-1].b",
    "$.question", "$.\"a b\"", "$.\"0\"", "$[1][0]", "$.a.question.b",
    "$[#-2][0]",
};
static const char *const odd_paths[] = {
    "$.",
    "$..a",
    "$[",
    "$[]",
    "$[x]",
    "$[1",
    "$[-1]",
    "$[#]",
    "$[#-]",
    "$[#-x]",
    "$[#1]",
    "$x",
    "a",
    "a b",
    "a.b",
    "a[0]",
    "[0]",
    "[#-1]",
    "0",
    "1",
    "12x",
    "-1",
    "\"a b\"",
    "\"a",
    ".a",
    "",
    "$.\"a",
    "$.\"\"",
    "$.a x",
    "$[4294967296]",
    "$[00]",
    "$.x\\\"y",
    "$.\"caf\\u00e9\"",
    "$.caf\\u00e9",
    "$[0]x",
    "$.a]",
    "[",
    "$[#-99999999999]",
};

static const char *random_path(bool odd)
{
    return odd && dice(3) == 0 ? odd_paths[dice(OP_COUNT(odd_paths))]
                               : good_paths[dice(OP_COUNT(good_paths))];
}

/* --- both sides --- */

static struct op_value plain_cell(sqlite3_stmt *stmt, int i)
{
    struct op_value v = op_value_null();
    switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_INTEGER:
        return op_value_int(sqlite3_column_int64(stmt, i));
    case SQLITE_FLOAT:
        return op_value_double(sqlite3_column_double(stmt, i));
    case SQLITE_TEXT:
        v.type = OP_VALUE_TEXT;
        v.s.ptr = (const char *)sqlite3_column_text(stmt, i);
        v.s.len = (size_t)sqlite3_column_bytes(stmt, i);
        return v;
    default:
        return v;
    }
}

static char *run_plain(sqlite3 *db, const char *sql)
{
    struct op_buf out;
    sqlite3_stmt *stmt = NULL;
    op_buf_init(&out, 64 * 1024 * 1024);
    int code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(stmt);
        if (code != SQLITE_ROW)
            break;
        for (int i = 0; i < sqlite3_column_count(stmt); i++) {
            if (i)
                op_buf_addc(&out, '|');
            add_cell(&out, plain_cell(stmt, i));
        }
        op_buf_addc(&out, '\n');
    }
    if (code != SQLITE_DONE) {
        op_buf_clear(&out);
        op_buf_addf(&out, "!%s", sqlite3_errmsg(db));
    }
    sqlite3_finalize(stmt);
    char *text = op_buf_take(&out);
    op_buf_release(&out);
    return text;
}

struct sides {
    struct world w;
    struct op_sqlenv *sql;
    sqlite3 *plain;
    int64_t compared, errors;
};

static void begin(struct sides *s)
{
    *s = (struct sides){0};
    world_begin(&s->w);
    world_file(&s->w, "t.csv", "id\n1\n");
    world_open(&s->w, SQL_HEAD "inputs: {t: {csv: \"{{dir}}/t.csv\"}}\n" SQL_ASK);
    s->sql = world_sql(&s->w);
    assert_int_equal(sqlite3_open(":memory:", &s->plain), SQLITE_OK);
}

static void end(struct sides *s)
{
    op_sqlenv_close(s->sql);
    sqlite3_close(s->plain);
    world_end(&s->w);
    assert_int_equal(op_mem_live(), 0);
}

static void set_answer(struct sides *s, struct op_str answer)
{
    struct op_context context = {.key = OP_STR("k"), .answer = answer, .problem = OP_STR("")};
    op_sqlenv_set(s->sql, &context);
}

static void add_literal(struct op_buf *out, const char *text)
{
    op_buf_addc(out, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            op_buf_addc(out, '\'');
        op_buf_addc(out, *text);
    }
    op_buf_addc(out, '\'');
}

/* $D is the document, $P and $Q are paths. */
static void fill(struct op_buf *out, const char *form, const char *document, const char *p,
                 const char *q)
{
    op_buf_clear(out);
    for (; *form; form++) {
        if (*form != '$') {
            op_buf_addc(out, *form);
            continue;
        }
        form++;
        if (*form == 'D')
            op_buf_addz(out, document);
        else
            add_literal(out, *form == 'P' ? p : q);
    }
}

static const char *without_place(const char *got)
{
    static const char place[] = "!p/pipeline.yaml:5: ";
    return strncmp(got, place, sizeof(place) - 1) == 0 ? got + sizeof(place) - 1 : got;
}

static const char *const forms[] = {
    "SELECT typeof(x), x FROM (SELECT json_extract(d, $P) AS x FROM (SELECT $D AS d))",
    "SELECT json_extract(d, $P, $Q), json_extract(d) FROM (SELECT $D AS d)",
    "SELECT d -> $P, typeof(d ->> $P), d ->> $P, d ->> $Q FROM (SELECT $D AS d)",
    "SELECT json_type(d), json_type(d, $P), json_array_length(d), json_array_length(d, $P) "
    "FROM (SELECT $D AS d)",
    "SELECT json_array(d -> $P, d ->> $P, json_extract(d, $P), json_extract(d, $P, $Q)) "
    "FROM (SELECT $D AS d)",
    "SELECT j.key, j.value, typeof(j.value), j.type, j.atom, j.parent, j.fullkey, j.path, "
    "j.rowid FROM (SELECT $D AS d) AS x, json_each(x.d) AS j",
    "SELECT j.key, j.value, j.type, j.fullkey, j.path, j.root, length(j.json) FROM (SELECT $D AS "
    "d) AS x, json_each(x.d, $P) AS j",
    "SELECT j.id FROM (SELECT $D AS d) AS x, json_each(x.d, $P) AS j",
    "SELECT j.key, j.value ->> $P, j.value -> $Q, json_array_length(j.value) FROM (SELECT $D AS d) "
    "AS x, json_each(x.d) AS j WHERE j.type IN ('array', 'object')",
    "SELECT j.key, k.key, k.value, k.fullkey, k.id FROM (SELECT $D AS d) AS x, json_each(x.d) AS "
    "j, json_each(j.value) AS k WHERE j.type IN ('array', 'object')",
    "SELECT json_group_array(j.value), json_group_object(coalesce(j.key, 'n'), j.value), "
    "json_object('v', max(j.value), 'a', min(j.atom)) FROM (SELECT $D AS d) AS x, json_each(x.d) "
    "AS j",
    "SELECT group_concat(j.value, ';') FROM (SELECT value FROM (SELECT $D AS d) AS x, "
    "json_each(x.d) ORDER BY type, value) AS j",
};
/* those whose results show the numbers of nodes, or nest paths that not all versions take alike */
static bool is_for_old(size_t form)
{
    return form == 7 || form == 8 || form == 9;
}

/* SQLite writes a surrogate that stands alone as three bytes that are no UTF-8. */
static void mend_surrogates(char *text)
{
    for (char *p = text; (p = strchr(p, 0xED)) != NULL; p++)
        if ((unsigned char)p[1] >= 0xA0)
            memcpy(p, "\xEF\xBF\xBD", 3);
}

static void compare(struct sides *s, const char *form, const char *document, const char *p,
                    const char *q)
{
    struct op_buf literal, sql, own;
    op_buf_init(&literal, 1024 * 1024);
    op_buf_init(&sql, 1024 * 1024);
    op_buf_init(&own, 1024 * 1024);
    add_literal(&literal, document);
    fill(&sql, form, literal.ptr, p, q);
    OP_CLEANUP(op_mem_freep) char *want = run_plain(s->plain, sql.ptr);
    OP_CLEANUP(op_mem_freep) char *got = run_sql(s->sql, sql.ptr);
    mend_surrogates(want);
    fill(&own, form, "(SELECT answer FROM answers)", p, q);
    OP_CLEANUP(op_mem_freep) char *got_own = run_sql(s->sql, own.ptr);
    const char *plain = want[0] == '!' ? want + 1 : want;
    if (strcmp(plain, without_place(got)) != 0)
        fail_msg("%s\n gives: %s\n  want: %s", sql.ptr, got, want);
    if (strcmp(plain, without_place(got_own)) != 0)
        fail_msg("%s of %s\n gives: %s\n  want: %s", own.ptr, document, got_own, want);
    s->compared++;
    s->errors += want[0] == '!';
    op_buf_release(&literal);
    op_buf_release(&sql);
    op_buf_release(&own);
}

static void compare_all(struct sides *s, struct op_str document, bool odd)
{
    /* A block of its own length, so that reading beyond it is seen by the sanitizers. */
    char *answer = op_mem_alloc(document.len + 1);
    memcpy(answer, document.ptr, document.len);
    char *exact = op_mem_realloc(answer, document.len ? document.len : 1);
    set_answer(s, (struct op_str){exact, document.len});
    const char *p = random_path(odd), *q = random_path(odd);
    for (size_t i = 0; i < OP_COUNT(forms); i++)
        if (is_old() || !is_for_old(i))
            compare(s, forms[i], document.ptr, p, q);
    set_answer(s, OP_STR_NULL);
    op_mem_free(exact);
}

static void test_generated(void **state)
{
    (void)state;
    struct sides s;
    struct op_buf doc;
    begin(&s);
    op_buf_init(&doc, 1024 * 1024);
    for (int i = 0; i < 3000; i++) {
        op_buf_clear(&doc);
        add_value(&doc, 4, i % 2);
        if (is_old() && i % 5 == 4)
            break_document(&doc);
        compare_all(&s, op_buf_str(&doc), is_old());
    }
    assert_true(s.compared > 15000);
    assert_true(!is_old() || (s.errors > 1000 && s.errors < s.compared / 2));
    op_buf_release(&doc);
    end(&s);
}

static void test_odd_documents(void **state)
{
    (void)state;
    static const char *const documents[] = {
        "",
        " ",
        "[",
        "]",
        "{",
        "{}",
        "[]",
        " [ ] ",
        "{ }",
        "nul",
        "nullx",
        "null1",
        "true ",
        "01",
        "-",
        "-01",
        "1.",
        ".5",
        "1.5.2",
        "1e",
        "1e+",
        "1.e5",
        "--1",
        "+1",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\t\"",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:2}",
        "[1]]",
        "1 2",
        "[\"a\",\"b\" ]x",
        "{\"a\":{\"b\":[{\"question\":\"x\"},2]}}",
        "\xC3\xA9",
        "[\"\xFF\"]",
        "NaN",
        "Infinity",
        "[1,2] /* */",
        "\xEF\xBB\xBF[1]",
        "{\"a\":1,\"a\":2}",
        "'a'",
    };
    struct sides s;
    begin(&s);
    if (!is_old()) {
        end(&s);
        skip();
    }
    for (size_t i = 0; i < OP_COUNT(documents); i++)
        for (int k = 0; k < 4; k++)
            compare_all(&s, op_str_from(documents[i]), true);
    /* every path, on one document that has most of them */
    static const char rich[] = "{\"a\":[1,{\"b\":[[5]]},3],\"0\":7,\"\":8,\"a b\":{\"b\":9},"
                               "\"x\\\"y\":1,\"caf\\u00e9\":2}";
    set_answer(&s, op_str_from(rich));
    for (size_t i = 0; i < OP_COUNT(odd_paths); i++)
        for (size_t k = 0; k < OP_COUNT(forms); k++)
            compare(&s, forms[k], rich, odd_paths[i], "$.a");
    end(&s);
}

/* Arguments that are no text, and depths. */
static void test_arguments(void **state)
{
    (void)state;
    static const char *const statements[] = {
        "SELECT json_extract(NULL, '$'), json_extract('[1]', NULL), '[1]' -> NULL, NULL -> 'a'",
        "SELECT json_extract(12, '$'), json_type(1.5), json_type(x'5b315d'), x'5b315d' ->> 0",
        "SELECT json_extract('{', NULL)",
        "SELECT json_extract('[1,2]', '$[0]', NULL)",
        "SELECT json_extract()",
        "SELECT json_extract('[1]')",
        "SELECT json_type('[1]', '$', '$')",
        "SELECT json_array_length('{}'), json_array_length('[1,[2]]'), json_array_length(NULL)",
        "SELECT '[1,2]' -> 1, '[1,2]' ->> 1, '[1,2]' ->> -1, '{\"1\":5}' ->> 1, '[1,2]' ->> 1.5",
        "SELECT count(*) FROM json_each(NULL)",
        "SELECT count(*) FROM json_each('[1]', NULL)",
        "SELECT count(*) FROM json_each",
        "SELECT key, value FROM json_each(5)",
        "SELECT key, value FROM json_each('[3,4]') ORDER BY rowid DESC",
        "SELECT value FROM json_each('[3,4,5]') WHERE key >= 1 ORDER BY rowid",
        "SELECT value FROM json_each('[3,4,5]') AS a WHERE value IN (SELECT value FROM "
        "json_each('[5,3]'))",
        "SELECT j.value FROM json_each('[\"[1,2]\",\"[3]\"]') AS i, json_each(i.value) AS j",
        "SELECT (SELECT sum(value) FROM json_each(j.value)) FROM json_each('[[1,2],[3]]') AS j",
        "WITH t(d) AS (VALUES('[1,2]'), ('{\"a\":[5]}'), (NULL), ('7')) SELECT d, j.key, j.value "
        "FROM t LEFT JOIN json_each(d) AS j",
        "SELECT json_set('{\"a\":1}', '$.b', '[1]' -> '$'), json_set('{}', '$.b', '[1]' ->> '$')",
        "SELECT json_insert('[]', '$[#]', json_extract('{\"a\":[1]}', '$.a'))",
        "SELECT a.value || '-' || b.value FROM json_each('[1,2]') AS a JOIN json_each('[3]') AS b",
    };
    struct sides s;
    begin(&s);
    for (size_t i = 0; i < OP_COUNT(statements); i++) {
        OP_CLEANUP(op_mem_freep) char *want = run_plain(s.plain, statements[i]);
        OP_CLEANUP(op_mem_freep) char *got = run_sql(s.sql, statements[i]);
        if (strcmp(want[0] == '!' ? want + 1 : want, without_place(got)) != 0)
            fail_msg("%s\n gives: %s\n  want: %s", statements[i], got, want);
    }
    for (int depth = 1999; depth <= 2001 && is_old(); depth++) {
        struct op_buf doc;
        op_buf_init(&doc, 100000);
        for (int i = 0; i < depth; i++)
            op_buf_addc(&doc, '[');
        for (int i = 0; i < depth; i++)
            op_buf_addc(&doc, ']');
        set_answer(&s, op_buf_str(&doc));
        compare(&s, "SELECT json_type($D, $P)", doc.ptr, "$", "$");
        op_buf_release(&doc);
    }
    end(&s);
}

/* What is meant to be otherwise than in SQLite 3.40; docs/design/sql.md says why. */
static void test_differences(void **state)
{
    (void)state;
    struct sides s;
    begin(&s);
    expect_sql(s.sql, "SELECT '{\"caf\\u00e9\":1}' ->> 'caf\xC3\xA9'", "I1\n");
    expect_sql(s.sql, "SELECT '[\"a\\ud800b\"]' ->> 0",
               "Ta\xEF\xBF\xBD"
               "b\n");
    expect_sql(s.sql, "SELECT '[0.1, 1e23]' ->> 1 = 1e23", "I1\n");
    end(&s);
}

/* More documents than are kept, all in use in one row; and a pinned one among them. */
static void test_many_documents(void **state)
{
    (void)state;
    struct sides s;
    begin(&s);
    set_answer(&s, OP_STR("{\"a\": [ {\"x\": \"one two\"}, {\"x\": \"three\"} ]}"));
    expect_sql(
        s.sql,
        "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30), "
        "d(i, j) AS (SELECT i, '{\"v\":\"t' || i || '\",\"w\":[' || i || ']}' FROM n) "
        "SELECT group_concat(d.j ->> 'v' || (e.j ->> '$.w[0]') || (a.value ->> 'x'), ',') "
        "FROM answers, json_each(answer, '$.a') AS a, d JOIN d AS e ON e.i = 31 - d.i "
        "WHERE a.key = 1 AND d.i % 10 = 0",
        "Tt10"
        "21three,t20"
        "11three,t30"
        "1three\n");
    expect_sql(s.sql,
               "SELECT max(value), min(value ->> 'x'), json_group_array(value) FROM answers, "
               "json_each(answer, '$.a')",
               "T{\"x\":\"three\"}|Tone two|T[{\"x\":\"one two\"},{\"x\":\"three\"}]\n");
    /* another answer at the same place */
    char text[] = "{\"a\":[1]}";
    set_answer(&s, op_str_from(text));
    expect_sql(s.sql, "SELECT answer ->> '$.a[0]' FROM answers", "I1\n");
    text[6] = '2';
    set_answer(&s, op_str_from(text));
    expect_sql(s.sql, "SELECT answer ->> '$.a[0]' FROM answers", "I2\n");
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generated),      cmocka_unit_test(test_odd_documents),
        cmocka_unit_test(test_arguments),      cmocka_unit_test(test_differences),
        cmocka_unit_test(test_many_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
