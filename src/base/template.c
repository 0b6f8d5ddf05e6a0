/* SPDX-License-Identifier: MIT */
#include "base/template.h"

#include "base/mem.h"
#include "base/template_impl.h"

/* Names listed in a message. */
#define LISTED_NAMES 30

void op_template_free(struct op_template *tpl)
{
    if (!tpl)
        return;
    for (size_t i = 0; i < tpl->program_count; i++)
        op_mem_free(tpl->programs[i]->nodes);
    op_mem_free(tpl->programs);
    op_mem_free(tpl->names);
    op_mem_free(tpl->uses);
    op_mem_free((void *)tpl->use_texts);
    op_map_release(&tpl->name_ids);
    op_arena_release(&tpl->arena);
    op_mem_free(tpl);
}

void op_template_freep(struct op_template **tpl)
{
    op_template_free(*tpl);
    *tpl = NULL;
}

void op_template_list_names(struct op_buf *buf, const char *name, const char *const *names,
                            size_t count)
{
    const char *near = op_str_nearest(name, names, count);

    if (near)
        op_buf_addf(buf, "; did you mean '%s'?", near);
    if (count == 0) {
        op_buf_addz(buf, "; there are no names");
        return;
    }
    op_buf_addz(buf, near ? " There are: " : "; there are: ");
    for (size_t i = 0; i < count && i < LISTED_NAMES; i++)
        op_buf_addf(buf, "%s%s", i ? ", " : "", names[i]);
    if (count > LISTED_NAMES)
        op_buf_addf(buf, " and %zu more", count - LISTED_NAMES);
}

static enum op_rc check_bound(const struct op_template *tpl, struct op_err *err)
{
    for (size_t i = 0; i < tpl->use_count; i++) {
        const struct op_template_use *use = &tpl->uses[i];
        const char *text = tpl->names[use->name].text;
        struct op_buf list;
        if (tpl->names[use->name].column >= 0)
            continue;
        op_buf_init(&list, 800);
        op_template_list_names(&list, text, tpl->columns, tpl->column_count);
        op_err_set(err, OP_INVAL, "%s:%d: there is no column '%s'%s", use->file, use->line,
                   text, list.ptr);
        op_buf_release(&list);
        return OP_INVAL;
    }
    return OP_OK;
}

enum op_rc op_template_bind(struct op_template *tpl, const char *const *columns, size_t count,
                            struct op_err *err)
{
    tpl->columns = columns;
    tpl->column_count = count;
    for (size_t i = 0; i < tpl->name_count; i++) {
        tpl->names[i].column = -1;
        for (size_t k = 0; k < count && tpl->names[i].column < 0; k++)
            if (strcmp(columns[k], tpl->names[i].text) == 0)
                tpl->names[i].column = (int64_t)k;
    }
    return tpl->options.strict ? check_bound(tpl, err) : OP_OK;
}

size_t op_template_names(const struct op_template *tpl, const char *const **ret)
{
    *ret = tpl->use_texts;
    return tpl->use_count;
}
