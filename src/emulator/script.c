/* SPDX-License-Identifier: MIT */
#include "emulator/script.h"

#include <pthread.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"

#define SCRIPT_LINE_MAX ((size_t)16 * 1024 * 1024)

struct op_emu_script {
    pthread_mutex_t lock;
    struct op_emu_scripted *rules;
    size_t count, room;
};

static char *copy_text(struct op_json value)
{
    struct op_str text = op_json_str(value);
    return text.ptr ? op_mem_strndup(text.ptr, text.len) : NULL;
}

static char *copy_json(struct op_json value)
{
    struct op_buf buf;
    op_buf_init(&buf, SCRIPT_LINE_MAX);
    op_json_write(&buf, value);
    char *text = op_buf_take(&buf);
    op_buf_release(&buf);
    return text;
}

static enum op_rc check_names(struct op_json json, struct op_err *err)
{
    static const char *const names[] = {"match", "text",  "json", "stop_reason",
                                        "error", "times", "about"};
    struct op_json_iter it = op_json_iter(json);
    while (op_json_next(&it)) {
        bool known = false;
        for (size_t i = 0; i < OP_COUNT(names) && !known; i++)
            known = op_str_is(it.name, names[i]);
        if (!known)
            return op_fail(err, OP_INVAL, "unknown member \"" OP_STR_FMT "\"",
                           OP_STR_ARG(it.name));
    }
    return OP_OK;
}

static enum op_rc read_rule(struct op_json json, struct op_emu_scripted *rule,
                            struct op_err *err)
{
    *rule = (struct op_emu_scripted){.times = op_json_int(op_json_get(json, "times"), -1)};
    if (!op_json_is(json, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "a scripted answer is a JSON object");
    enum op_rc rc = check_names(json, err);
    if (rc)
        return rc;
    struct op_json error = op_json_get(json, "error"), value = op_json_get(json, "json");
    rule->match = copy_text(op_json_get(json, "match"));
    rule->text = op_json_ok(value) ? copy_json(value) : copy_text(op_json_get(json, "text"));
    rule->stop_reason = copy_text(op_json_get(json, "stop_reason"));
    if (op_json_ok(error)) {
        rule->error_type = copy_text(op_json_get(error, "type"));
        rule->error_message = copy_text(op_json_get(error, "message"));
    }
    if (op_json_ok(error) && (!rule->error_type || !rule->error_message))
        return op_fail(err, OP_INVAL, "\"error\" needs \"type\" and \"message\", both texts");
    if (!rule->text && !rule->stop_reason && !rule->error_type)
        return op_fail(err, OP_INVAL,
                       "a scripted answer needs text, json, stop_reason or error");
    return OP_OK;
}

static struct op_emu_scripted *add_rule(struct op_emu_script *script)
{
    if (script->count == script->room) {
        script->room = script->room ? 2 * script->room : 16;
        script->rules = op_mem_realloc(script->rules, script->room * sizeof(*script->rules));
    }
    return &script->rules[script->count++];
}

static enum op_rc read_file(struct op_emu_script *script, struct op_env *env, const char *path,
                            struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    enum op_rc rc = op_lines_open(env, path, 0, SCRIPT_LINE_MAX, &lines, err);
    struct op_line line;
    while (!rc && !(rc = op_lines_next(lines, &line, err))) {
        struct op_str text =
            op_str_trim((struct op_str){line.ptr, line.oversize ? 0 : line.len});
        struct op_json json;
        if (line.oversize)
            rc = op_fail(err, OP_INVAL, "the line is longer than %zu bytes", SCRIPT_LINE_MAX);
        else if (text.len == 0 || text.ptr[0] == '#')
            continue;
        else
            rc = op_json_parse(parser, text.ptr, text.len, true, &json, err);
        if (!rc)
            rc = read_rule(json, add_rule(script), err);
        if (rc)
            return op_err_wrap(err, "%s:%lld", path, (long long)line.number);
    }
    return rc == OP_NOTFOUND ? OP_OK : rc;
}

enum op_rc op_emu_script_open(struct op_env *env, const char *path, struct op_emu_script **ret,
                              struct op_err *err)
{
    struct op_emu_script *script = op_mem_alloc(sizeof(*script));
    pthread_mutex_init(&script->lock, NULL);
    enum op_rc rc = path ? read_file(script, env, path, err) : OP_OK;
    if (rc) {
        op_emu_script_close(script);
        return rc;
    }
    *ret = script;
    return OP_OK;
}

void op_emu_script_close(struct op_emu_script *script)
{
    if (!script)
        return;
    for (size_t i = 0; i < script->count; i++) {
        op_mem_free(script->rules[i].match);
        op_mem_free(script->rules[i].text);
        op_mem_free(script->rules[i].stop_reason);
        op_mem_free(script->rules[i].error_type);
        op_mem_free(script->rules[i].error_message);
    }
    pthread_mutex_destroy(&script->lock);
    op_mem_free(script->rules);
    op_mem_free(script);
}

static bool occurs(const char *needle, struct op_str text)
{
    return text.ptr && memmem(text.ptr, text.len, needle, strlen(needle));
}

static bool fits(const struct op_emu_scripted *rule, const struct op_str *subjects,
                 size_t count)
{
    if (rule->times >= 0 && rule->used >= rule->times)
        return false;
    bool found = rule->match == NULL;
    for (size_t i = 0; i < count && !found; i++)
        found = occurs(rule->match, subjects[i]);
    return found;
}

const struct op_emu_scripted *op_emu_script_find(struct op_emu_script *script,
                                                 const struct op_str *subjects, size_t count)
{
    const struct op_emu_scripted *found = NULL;
    if (script->count == 0)
        return NULL;
    pthread_mutex_lock(&script->lock);
    for (size_t i = 0; i < script->count && !found; i++) {
        if (!fits(&script->rules[i], subjects, count))
            continue;
        script->rules[i].used++;
        found = &script->rules[i];
    }
    pthread_mutex_unlock(&script->lock);
    return found;
}
