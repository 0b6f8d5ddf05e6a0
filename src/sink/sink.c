/* SPDX-License-Identifier: MIT */
#include "sink/sink.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "sink/common.h"

static enum op_rc check_option(const struct op_sink_ops *ops,
                               const struct op_sink_config *config, const char *name,
                               struct op_err *err)
{
    const char *names[16];
    size_t count = 0;
    for (const struct op_sink_option_spec *spec = ops->options; spec->name; spec++) {
        if (strcmp(spec->name, name) == 0)
            return OP_OK;
        assert(count < OP_COUNT(names));
        names[count++] = spec->name;
    }
    const char *near = op_str_nearest(name, names, count);
    return op_fail(err, OP_INVAL, "%s: the output kind '%s' has no option '%s'%s%s%s",
                   config->place, ops->kind, name, near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
}

enum op_rc op_sink_open(const struct op_sink_ops *ops, const struct op_sink_config *config,
                        struct op_sink **ret, struct op_err *err)
{
    assert(ops && config && config->env && config->place && ret);
    for (size_t i = 0; i < config->option_count; i++) {
        enum op_rc rc = check_option(ops, config, config->options[i].name, err);
        if (rc)
            return rc;
    }
    if (!config->per_row_path && (!config->target || !config->target[0]))
        return op_fail(err, OP_INVAL, "%s: the output kind '%s' needs a path", config->place,
                       ops->kind);
    if (config->column_count == 0)
        return op_fail(err, OP_INVAL, "%s: 'rows' yields no columns", config->place);
    if (ops->needs_key && config->key_count == 0)
        return op_fail(
            err, OP_INVAL,
            "%s: the output kind '%s' needs 'key': the columns that tell one row from "
            "another",
            config->place, ops->kind);
    return ops->open(config, ret, err);
}

enum op_rc op_sink_encode(const struct op_sink *sink, struct op_str path,
                          const struct op_value *cells, struct op_buf *out, struct op_err *err)
{
    return sink->ops->encode(sink, path, cells, out, err);
}

enum op_rc op_sink_deliver(struct op_sink *sink, const char *outbox, int64_t from, int64_t to,
                           bool last, int64_t *ret_delivered, struct op_err *err)
{
    assert(outbox && from >= 0 && from <= to);
    return sink->ops->deliver(sink, outbox, from, to, last, ret_delivered, err);
}

void op_sink_close(struct op_sink *sink)
{
    if (sink)
        sink->ops->close(sink);
}

void op_sink_closep(struct op_sink **sink)
{
    op_sink_close(*sink);
    *sink = NULL;
}

const char *op_sink_option_get(const struct op_sink_config *config, const char *name,
                               const char *fallback)
{
    for (size_t i = 0; i < config->option_count; i++) {
        if (strcmp(config->options[i].name, name) == 0)
            return config->options[i].value;
    }
    return fallback;
}
