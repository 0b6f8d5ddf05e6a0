/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_RUNNING_H
#define OP_TESTS_RUNNING_H

/*
 * Model:     an emulator in this process, in a folder of the test's own, and what a test asks of its
 *            answers and of its bill. cmocka's headers come first.
 */

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "../folder.h"
#include "base/io.h"
#include "base/json.h"
#include "base/mem.h"
#include "emulator/emulator.h"
#include "http_client.h"

static char dir[64];
static struct op_emulator *emulator;
static struct op_json_parser *parser;

static inline int remove_one(const char *path, const struct stat *info, int flag,
                             struct FTW *ftw)
{
    (void)info;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline int make_dir(void **state)
{
    (void)state;
    parser = op_json_parser_new();
    return test_folder_make(dir, sizeof(dir), "emulator") ? 0 : -1;
}

static inline int drop_dir(void **state)
{
    (void)state;
    op_emulator_stopp(&emulator);
    op_json_parser_freep(&parser);
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline char *put(const char *name, const char *text)
{
    struct op_err err = OP_ERR_INIT;
    char *path = op_io_join(dir, name);
    assert_int_equal(op_io_replace_file(op_env_default(), path, text, strlen(text), &err),
                     OP_OK);
    return path;
}

/* A batch takes takes_ms of virtual time. */
static inline void start(int64_t takes_ms, double speed, const char *faults,
                         const char *answers)
{
    struct op_err err = OP_ERR_INIT;
    OP_CLEANUP(op_mem_freep) char *faults_path = faults ? put("faults", faults) : NULL;
    OP_CLEANUP(op_mem_freep) char *answers_path = answers ? put("answers", answers) : NULL;
    struct op_emulator_options options = {.dir = dir,
                                          .speed = speed,
                                          .faults = faults_path,
                                          .answers = answers_path,
                                          .process_min_ms = takes_ms,
                                          .process_max_ms = takes_ms,
                                          .seed = 3};
    op_emulator_stopp(&emulator);
    if (op_emulator_start(&options, &emulator, &err))
        fail_msg("%s", err.msg);
}

static inline struct op_json parsed(const struct reply *reply)
{
    struct op_json v = {0};
    struct op_err err = OP_ERR_INIT;
    if (op_json_parse(parser, reply->body.ptr, reply->body.len, false, &v, &err))
        fail_msg("%s: " OP_STR_FMT, err.msg, OP_STR_ARG(reply->body));
    return v;
}

static inline struct op_str text_at(const struct reply *reply, const char *pointer)
{
    return op_json_str(op_json_pointer(parsed(reply), op_str_from(pointer)));
}

static inline void assert_text(const struct reply *reply, const char *pointer, const char *text)
{
    struct op_str seen = text_at(reply, pointer);
    if (!op_str_is(seen, text))
        fail_msg("%s is '" OP_STR_FMT "', not '%s'", pointer, OP_STR_ARG(seen), text);
}

static inline int count_in(struct op_str text, const char *needle)
{
    int count = 0;
    size_t len = strlen(needle);
    for (size_t i = 0; i + len <= text.len; i++)
        count += memcmp(text.ptr + i, needle, len) == 0;
    return count;
}

static inline int on_bill(const char *needle)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, "bill.jsonl");
    OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&buf, 1 << 24);
    assert_int_equal(op_io_read_file(op_env_default(), path, &buf, &err), OP_OK);
    return count_in(op_buf_str(&buf), needle);
}

#endif
