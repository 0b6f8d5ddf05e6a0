/* SPDX-License-Identifier: MIT */
#include "provider/settings.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

const char *op_settings_place(const struct op_request_settings *settings)
{
    return settings->file ? settings->file : "settings";
}

/* --- extra ---------------------------------------------------------------------------------- */

static enum op_rc check_names(const char *place, struct op_json extra,
                              const struct op_reserved *reserved, size_t count,
                              struct op_err *err)
{
    for (size_t i = 0; i < count; i++)
        if (op_json_ok(op_json_get(extra, reserved[i].name)))
            return op_fail(err, OP_INVAL, "%s: 'extra' must not hold '%s'; %s", place,
                           reserved[i].name, reserved[i].mend);
    struct op_json_iter it = op_json_iter(extra);
    while (op_json_next(&it)) {
        struct op_json_iter other = op_json_iter(extra);
        while (op_json_next(&other) && other.index < it.index)
            if (op_str_eq(other.name, it.name))
                return op_fail(err, OP_INVAL, "%s: 'extra' holds '" OP_STR_FMT "' twice", place,
                               OP_STR_ARG(it.name));
    }
    return OP_OK;
}

enum op_rc op_settings_extra(const struct op_request_settings *settings,
                             const struct op_reserved *reserved, size_t count,
                             struct op_json_parser *parser, struct op_json *ret,
                             struct op_err *err)
{
    const char *place = op_settings_place(settings);
    struct op_str text = settings->extra;
    struct op_json extra = {0};
    if (text.ptr) {
        enum op_rc rc = op_json_parse(parser, text.ptr, text.len, false, &extra, err);
        if (rc) {
            op_err_wrap(err, "%s: 'extra' is no JSON", place);
            return rc;
        }
        if (!op_json_is(extra, OP_JSON_OBJECT))
            return op_fail(err, OP_INVAL, "%s: 'extra' must be a JSON object, not %s", place,
                           op_json_type_name(op_json_type(extra)));
        rc = check_names(place, extra, reserved, count, err);
        if (rc)
            return rc;
    }
    *ret = extra;
    return OP_OK;
}

/* --- basics --------------------------------------------------------------------------------- */

static bool is_effort(const char *word)
{
    static const char *const efforts[] = {"low", "medium", "high", "xhigh", "max"};
    for (size_t i = 0; i < OP_COUNT(efforts); i++)
        if (strcmp(word, efforts[i]) == 0)
            return true;
    return false;
}

enum op_rc op_settings_basics(const struct op_request_settings *s, const char *default_model,
                              struct op_err *err)
{
    const char *place = op_settings_place(s);
    if (!s->model || !*s->model)
        return op_fail(err, OP_INVAL, "%s: 'model' is missing; name one, such as %s", place,
                       default_model);
    if (s->max_tokens < 1)
        return op_fail(err, OP_INVAL, "%s: 'max_tokens' must be at least 1, not %lld", place,
                       (long long)s->max_tokens);
    if (s->effort && !is_effort(s->effort))
        return op_fail(err, OP_INVAL,
                       "%s: 'effort' must be low, medium, high, xhigh or max, not '%s'", place,
                       s->effort);
    if (s->cache && strcmp(s->cache, "5m") != 0 && strcmp(s->cache, "1h") != 0)
        return op_fail(err, OP_INVAL, "%s: 'cache' must be 5m or 1h, not '%s'", place,
                       s->cache);
    if (s->cache && !s->has_system)
        return op_fail(
            err, OP_INVAL,
            "%s: 'cache' marks the system prompt, and there is none; add 'system' or "
            "remove 'cache'",
            place);
    return OP_OK;
}

enum op_rc op_settings_temperature(const struct op_request_settings *s, double most,
                                   struct op_err *err)
{
    if (isnan(s->temperature) || (s->temperature >= 0 && s->temperature <= most))
        return OP_OK;
    return op_fail(err, OP_INVAL, "%s: 'temperature' must be a number from 0 to %g",
                   op_settings_place(s), most);
}

/* --- amendments ----------------------------------------------------------------------------- */

void op_amend_complaint(struct op_str violations, struct op_buf *ret)
{
    op_buf_addz(ret, "Your answer breaks these rules:\n");
    op_buf_add_str(ret, violations);
    op_buf_addz(ret, "\nAnswer again, complete, with every one of them mended.");
}
