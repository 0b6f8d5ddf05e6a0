/* SPDX-License-Identifier: MIT */

/*
 * What applying costs at least: result lines in, rows out, and nothing kept about it. No ledger, no
 * outbox, no schema beyond the types it reads, no second delivery.
 *
 *     limit-apply csv|jsonl|sqlite RESULTS TARGET
 */
#include <sqlite3.h>
#include <stdio.h>

#include "base/csv.h"
#include "base/io.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"

enum {
    COLUMNS = 6,
    BLOCK = 512 * 1024,
    LINE_MAX_BYTES = 64 * 1024 * 1024,
    COMMIT_ROWS = 50000,
};

static const char *const names[COLUMNS] = {"key",    "n",     "question",
                                           "answer", "topic", "difficulty"};

struct sink {
    struct op_env *env;
    const char *path;
    struct op_buf block;
    struct op_writer writer;
    sqlite3 *db;
    sqlite3_stmt *insert;
    int64_t uncommitted;
    enum op_rc (*open)(struct sink *s, struct op_err *err);
    enum op_rc (*row)(struct sink *s, const struct op_value *cells, struct op_err *err);
    enum op_rc (*end)(struct sink *s, struct op_err *err);
};

/* --- files --- */

static enum op_rc flush(struct sink *s, struct op_err *err)
{
    enum op_rc rc = op_buf_finish(&s->block, "a block", err);
    if (!rc)
        rc = op_io_write_all(s->env, s->writer.fd, s->block.ptr, s->block.len, s->path, err);
    op_buf_clear(&s->block);
    return rc;
}

static enum op_rc open_file(struct sink *s, struct op_err *err)
{
    return op_writer_open(&s->writer, s->env, s->path, false, err);
}

static enum op_rc end_file(struct sink *s, struct op_err *err)
{
    enum op_rc rc = flush(s, err);
    return rc ? rc : op_writer_close(&s->writer, true, NULL, err);
}

static enum op_rc csv_row(struct sink *s, const struct op_value *cells, struct op_err *err)
{
    static const struct op_csv_style style = {.separator = ','};
    op_csv_add_record(&s->block, &style, cells, COLUMNS);
    return s->block.len < BLOCK ? OP_OK : flush(s, err);
}

static enum op_rc open_csv(struct sink *s, struct op_err *err)
{
    struct op_value header[COLUMNS];
    for (size_t i = 0; i < COLUMNS; i++)
        header[i] = op_value_text(op_str_from(names[i]));
    enum op_rc rc = open_file(s, err);
    return rc ? rc : csv_row(s, header, err);
}

static enum op_rc jsonl_row(struct sink *s, const struct op_value *cells, struct op_err *err)
{
    struct op_json_out out;
    op_json_out_init(&out, &s->block, 0);
    op_json_out_object(&out);
    for (size_t i = 0; i < COLUMNS; i++) {
        if (cells[i].type == OP_VALUE_INT)
            op_json_out_kv_int(&out, names[i], cells[i].i);
        else
            op_json_out_kv_str(&out, names[i], cells[i].s);
    }
    op_json_out_end_object(&out);
    op_buf_addc(&s->block, '\n');
    return s->block.len < BLOCK ? OP_OK : flush(s, err);
}

/* --- SQLite --- */

static enum op_rc fail_db(struct sink *s, struct op_err *err)
{
    return op_fail(err, OP_IO, "%s: %s", s->path, sqlite3_errmsg(s->db));
}

static enum op_rc open_sqlite(struct sink *s, struct op_err *err)
{
    static const char setup[] =
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
        "CREATE TABLE items(key TEXT, n INTEGER, question TEXT, answer TEXT, topic TEXT,"
        " difficulty INTEGER, PRIMARY KEY(key, n)); BEGIN";
    if (sqlite3_open(s->path, &s->db) || sqlite3_exec(s->db, setup, NULL, NULL, NULL) ||
        sqlite3_prepare_v2(s->db, "INSERT INTO items VALUES(?,?,?,?,?,?)", -1, &s->insert,
                           NULL))
        return fail_db(s, err);
    return OP_OK;
}

static enum op_rc sqlite_row(struct sink *s, const struct op_value *cells, struct op_err *err)
{
    for (int i = 0; i < COLUMNS; i++) {
        if (cells[i].type == OP_VALUE_INT)
            sqlite3_bind_int64(s->insert, i + 1, cells[i].i);
        else
            sqlite3_bind_text64(s->insert, i + 1, cells[i].s.ptr, cells[i].s.len, SQLITE_STATIC,
                                SQLITE_UTF8);
    }
    if (sqlite3_step(s->insert) != SQLITE_DONE)
        return fail_db(s, err);
    sqlite3_reset(s->insert);
    if (++s->uncommitted < COMMIT_ROWS)
        return OP_OK;
    s->uncommitted = 0;
    return sqlite3_exec(s->db, "COMMIT; BEGIN", NULL, NULL, NULL) ? fail_db(s, err) : OP_OK;
}

static enum op_rc end_sqlite(struct sink *s, struct op_err *err)
{
    sqlite3_finalize(s->insert);
    if (sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL))
        return fail_db(s, err);
    return sqlite3_close(s->db) ? fail_db(s, err) : OP_OK;
}

/* --- results --- */

static enum op_rc add_item(struct sink *s, struct op_str key, int64_t n, struct op_json item,
                           struct op_err *err)
{
    struct op_json difficulty = op_json_get(item, "difficulty");
    const struct op_value cells[COLUMNS] = {
        op_value_text(key),
        op_value_int(n),
        op_value_text(op_json_str(op_json_get(item, "question"))),
        op_value_text(op_json_str(op_json_get(item, "answer"))),
        op_value_text(op_json_str(op_json_get(item, "topic"))),
        op_value_int(op_json_int(difficulty, 0)),
    };
    if (!cells[2].s.ptr || !cells[3].s.ptr || !cells[4].s.ptr ||
        !op_json_is(difficulty, OP_JSON_INT))
        return op_fail(err, OP_INVAL, "an item of " OP_STR_FMT " is not as it should be",
                       OP_STR_ARG(key));
    return s->row(s, cells, err);
}

static enum op_rc add_result(struct sink *s, struct op_json root, struct op_json_parser *inner,
                             struct op_err *err)
{
    struct op_str key = op_json_str(op_json_get(root, "custom_id"));
    struct op_json result = op_json_get(root, "result");
    if (!op_str_is(op_json_str(op_json_get(result, "type")), "succeeded"))
        return op_fail(err, OP_INVAL, OP_STR_FMT " did not succeed", OP_STR_ARG(key));
    struct op_json content = op_json_get(op_json_get(result, "message"), "content");
    struct op_json_iter block = op_json_iter(content);
    struct op_str text = OP_STR_NULL;
    if (op_json_next(&block))
        text = op_json_str(op_json_get(block.value, "text"));
    struct op_json answer;
    enum op_rc rc = op_json_parse(inner, text.ptr, text.len, false, &answer, err);
    if (rc)
        return rc;
    struct op_json_iter item = op_json_iter(op_json_get(answer, "items"));
    while (!rc && op_json_next(&item))
        rc = add_item(s, key, (int64_t)item.index + 1, item.value, err);
    return rc;
}

static enum op_rc apply(struct sink *s, const char *results, struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *outer = op_json_parser_new();
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *inner = op_json_parser_new();
    enum op_rc rc = op_lines_open(s->env, results, 0, LINE_MAX_BYTES, &lines, err);
    if (!rc)
        rc = s->open(s, err);
    while (!rc) {
        struct op_line line;
        struct op_json root;
        rc = op_lines_next(lines, &line, err);
        if (rc == OP_NOTFOUND && !err->rc)
            return s->end(s, err);
        if (!rc)
            rc = op_json_parse(outer, line.ptr, line.len, true, &root, err);
        if (!rc)
            rc = add_result(s, root, inner, err);
    }
    return rc;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("usage: limit-apply csv|jsonl|sqlite RESULTS TARGET\n", stderr);
        return 2;
    }
    struct sink s = {.env = op_env_default(),
                     .path = argv[3],
                     .writer = {.fd = -1},
                     .open = open_csv,
                     .row = csv_row,
                     .end = end_file};
    if (!strcmp(argv[1], "jsonl")) {
        s.open = open_file;
        s.row = jsonl_row;
    } else if (!strcmp(argv[1], "sqlite")) {
        s.open = open_sqlite;
        s.row = sqlite_row;
        s.end = end_sqlite;
    }
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&s.block, LINE_MAX_BYTES);
    enum op_rc rc = apply(&s, argv[2], &err);
    if (rc)
        fprintf(stderr, "limit-apply: %s\n", err.msg);
    op_writer_abort(&s.writer);
    op_buf_release(&s.block);
    return rc ? 1 : 0;
}
