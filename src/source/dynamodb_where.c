/* SPDX-License-Identifier: MIT */
#include "source/dynamodb_where.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"

static const char *const operators[] = {"=",  "<>",          "<",        "<=",     ">",
                                        ">=", "begins_with", "contains", "between"};

static struct op_str word(struct op_str *rest)
{
    struct op_str text = op_str_trim(*rest);
    size_t len = 0;
    while (len < text.len && text.ptr[len] != ' ' && text.ptr[len] != '\t' &&
           text.ptr[len] != '\n')
        len++;
    *rest = (struct op_str){text.ptr + len, text.len - len};
    return (struct op_str){text.ptr, len};
}

static bool is_word(struct op_str a, const char *text)
{
    return a.len == strlen(text) && strncasecmp(a.ptr, text, a.len) == 0;
}

static bool take_operator(struct op_str text, struct op_dynamodb_where *ret)
{
    for (size_t i = 0; i < OP_COUNT(operators); i++) {
        if (!is_word(text, operators[i]))
            continue;
        ret->op = (int)i;
        return true;
    }
    return false;
}

static bool take_bounds(struct op_dynamodb_where *ret)
{
    const char *mark = ret->value.ptr;
    const char *end = ret->value.ptr + ret->value.len;
    for (; mark + 5 <= end && strncasecmp(mark, " and ", 5) != 0; mark++)
        continue;
    if (mark + 5 > end)
        return false;
    ret->upper = op_str_trim((struct op_str){mark + 5, (size_t)(end - mark - 5)});
    ret->value = op_str_trim((struct op_str){ret->value.ptr, (size_t)(mark - ret->value.ptr)});
    return true;
}

enum op_rc op_dynamodb_where_parse(const char *text, struct op_dynamodb_where *ret,
                                   struct op_err *err)
{
    static const char *const types[] = {"S", "N", "B", "BOOL"};
    struct op_str rest = op_str_from(text);
    *ret = (struct op_dynamodb_where){.name = word(&rest)};
    struct op_str next = word(&rest);
    for (size_t i = 0; i < OP_COUNT(types) && !ret->type; i++)
        if (op_str_is(next, types[i]))
            ret->type = "SNBt"[i];
    if (ret->type)
        next = word(&rest);
    bool good = take_operator(next, ret);
    /* One space ends the operator; any other belongs to the value. */
    ret->value =
        rest.len && rest.ptr[0] == ' ' ? (struct op_str){rest.ptr + 1, rest.len - 1} : rest;
    if (good && ret->op == WHERE_BETWEEN)
        good = take_bounds(ret);
    if (!good || ret->name.len == 0)
        return op_fail(
            err, OP_INVAL,
            "'%.200s' is no condition: 'NAME = VALUE', with a space at both sides of "
            "=, <>, <, <=, >, >=, begins_with, contains or between (A and B), and "
            "maybe a type, as in 'layer_id N = 0'",
            text);
    return OP_OK;
}

void op_dynamodb_where_expression(const struct op_dynamodb_where *where, char letter,
                                  struct op_buf *out)
{
    char l = letter;
    if (where->op == WHERE_BEGINS || where->op == WHERE_CONTAINS)
        op_buf_addf(out, "%s(#%c0, :%c0)", operators[where->op], l, l);
    else if (where->op == WHERE_BETWEEN)
        op_buf_addf(out, "#%c0 BETWEEN :%c0 AND :%c1", l, l, l);
    else
        op_buf_addf(out, "#%c0 %s :%c0", l, operators[where->op], l);
}

void op_dynamodb_where_names(const struct op_dynamodb_where *where, char letter,
                             struct op_json_out *out)
{
    char name[] = {'#', letter, '0', '\0'};
    op_json_out_kv_str(out, name, where->name);
}

static void add_value(const struct op_dynamodb_where *where, const char *name,
                      struct op_str value, struct op_json_out *out)
{
    op_json_out_name(out, name);
    op_json_out_object(out);
    if (where->type == 't') {
        op_json_out_kv_bool(out, "BOOL", is_word(value, "true") || op_str_is(value, "1"));
    } else {
        char type[] = {where->type ? where->type : 'S', '\0'};
        op_json_out_kv_str(out, type, value);
    }
    op_json_out_end_object(out);
}

void op_dynamodb_where_values(const struct op_dynamodb_where *where, char letter,
                              struct op_json_out *out)
{
    char first[] = {':', letter, '0', '\0'}, second[] = {':', letter, '1', '\0'};
    add_value(where, first, where->value, out);
    if (where->op == WHERE_BETWEEN)
        add_value(where, second, where->upper, out);
}
