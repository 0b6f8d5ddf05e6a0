/* SPDX-License-Identifier: MIT */
#include "source/source.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "source/common.h"

/* An option the kind does not have is refused here, once for all kinds. */
static enum op_rc check_option(const struct op_source_ops *ops,
                               const struct op_source_config *config, const char *name,
                               struct op_err *err)
{
    const char *names[16];
    size_t count = 0;
    for (const struct op_source_option_spec *spec = ops->options; spec->name; spec++) {
        if (strcmp(spec->name, name) == 0)
            return OP_OK;
        assert(count < OP_COUNT(names));
        names[count++] = spec->name;
    }
    const char *near = op_str_nearest(name, names, count);
    return op_fail(err, OP_INVAL, "%s: input '%s': %s has no option '%s'%s%s%s", config->place,
                   config->name, ops->kind, name, near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
}

enum op_rc op_source_open(const struct op_source_ops *ops,
                          const struct op_source_config *config, struct op_source **ret,
                          struct op_err *err)
{
    assert(ops && config && config->env && config->name && config->place && ret);
    if (!config->target || !config->target[0])
        return op_fail(err, OP_INVAL, "%s: input '%s': %s needs a path", config->place,
                       config->name, ops->kind);
    for (size_t i = 0; i < config->option_count; i++) {
        enum op_rc rc = check_option(ops, config, config->options[i].name, err);
        if (rc)
            return rc;
    }
    if (ops->files && strchr(config->target, '*'))
        return op_source_many_open(ops, config, ret, err);
    return ops->open(config, ret, err);
}

enum op_rc op_source_next(struct op_source *source, const struct op_value **ret_cells,
                          struct op_err *err)
{
    return source->ops->next(source, ret_cells, err);
}

void op_source_close(struct op_source *source)
{
    if (source)
        source->ops->close(source);
}

void op_source_closep(struct op_source **source)
{
    op_source_close(*source);
    *source = NULL;
}

const char *op_source_option_get(const struct op_source_config *config, const char *name,
                                 const char *fallback)
{
    for (size_t i = 0; i < config->option_count; i++) {
        if (strcmp(config->options[i].name, name) == 0)
            return config->options[i].value;
    }
    return fallback;
}
