/* SPDX-License-Identifier: MIT */

/*
 * A target with `*` is every file that matches, one after the other, as one table, with the path of
 * the file as a last column. The driver of the kind reads each.
 */
#include <glob.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "source/common.h"

struct many_source {
    struct op_source base;
    struct op_arena arena;
    const struct op_source_ops *kind;
    struct op_source_config config; /* target: the file at hand */
    struct op_source_option *options;
    struct op_source *file; /* NULL: none is open */
    struct op_source_names names;
    struct op_value *cells;
    char **paths;
    size_t path_count, at;
};

static void close_many(struct op_source *source)
{
    struct many_source *many = (struct many_source *)source;
    op_source_close(many->file);
    op_source_names_release(&many->names);
    op_mem_free(many->cells);
    op_arena_release(&many->arena);
    op_mem_free(many);
}

static void close_manyp(struct many_source **many)
{
    if (*many)
        close_many(&(*many)->base);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Only `*` means something: a folder may be called [2024]. */
static enum op_rc find_files(struct many_source *many, const char *pattern, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf escaped;
    op_buf_init(&escaped, 2 * strlen(pattern) + 1);
    for (const char *p = pattern; *p; p++) {
        if (strchr("?[]\\", *p))
            op_buf_addc(&escaped, '\\');
        op_buf_addc(&escaped, *p);
    }
    op_buf_addz(&escaped, "");
    glob_t found = {0};
    int code = glob(escaped.ptr, GLOB_NOSORT | GLOB_ERR, NULL, &found);
    if (code && code != GLOB_NOMATCH) {
        globfree(&found);
        return op_fail_errno(err, OP_IO, "%s: input '%s': cannot look for '%s'",
                             many->config.place, many->config.name, pattern);
    }
    many->path_count = found.gl_pathc;
    many->paths = op_arena_array(&many->arena, found.gl_pathc + 1, sizeof(*many->paths));
    for (size_t i = 0; i < found.gl_pathc; i++)
        many->paths[i] = op_arena_strdup(&many->arena, op_str_from(found.gl_pathv[i]));
    globfree(&found);
    qsort(many->paths, many->path_count, sizeof(*many->paths), by_bytes);
    return OP_OK;
}

static enum op_rc open_file(struct many_source *many, const char *path, struct op_err *err)
{
    many->config.target = path;
    enum op_rc rc = many->kind->open(&many->config, &many->file, err);
    if (rc)
        return rc;
    if (many->names.count == 0) {
        for (size_t i = 0; !rc && i < many->file->column_count; i++)
            rc = op_source_names_add(&many->names, op_str_from(many->file->columns[i]), path,
                                     err);
        return rc ? rc : op_source_names_add(&many->names, OP_STR("_file"), path, err);
    }
    bool same = many->file->column_count + 1 == many->names.count;
    for (size_t i = 0; same && i < many->file->column_count; i++)
        same = strcmp(many->file->columns[i], many->names.names[i]) == 0;
    return same
               ? OP_OK
               : op_fail(err, OP_INVAL,
                         "%s: input '%s': the columns of '%s' are not those of '%s'; name them "
                         "with the option 'columns'",
                         many->config.place, many->config.name, path, many->paths[0]);
}

/* The caller's texts may go; the files are opened later. */
static void keep_config(struct many_source *many, const struct op_source_config *config)
{
    many->config = *config;
    many->config.name = op_arena_strdup(&many->arena, op_str_from(config->name));
    many->config.place = op_arena_strdup(&many->arena, op_str_from(config->place));
    many->options =
        op_arena_array(&many->arena, config->option_count + 1, sizeof(*many->options));
    for (size_t i = 0; i < config->option_count; i++) {
        many->options[i].name =
            op_arena_strdup(&many->arena, op_str_from(config->options[i].name));
        many->options[i].value =
            op_arena_strdup(&many->arena, op_str_from(config->options[i].value));
    }
    many->config.options = many->options;
}

static enum op_rc next_many(struct op_source *source, const struct op_value **ret_cells,
                            struct op_err *err)
{
    struct many_source *many = (struct many_source *)source;
    for (;;) {
        const struct op_value *cells = NULL;
        enum op_rc rc = many->file ? many->kind->next(many->file, &cells, err) : OP_NOTFOUND;
        if (many->file)
            source->line = many->file->line;
        if (rc && rc != OP_NOTFOUND)
            return rc;
        if (!rc) {
            size_t last = many->names.count - 1;
            memcpy(many->cells, cells, last * sizeof(*cells));
            many->cells[last] = op_value_text(op_str_from(many->config.target));
            *ret_cells = many->cells;
            return OP_OK;
        }
        op_source_close(OP_TAKE(many->file));
        if (++many->at >= many->path_count)
            return OP_NOTFOUND;
        rc = open_file(many, many->paths[many->at], err);
        if (rc)
            return rc;
    }
}

static const struct op_source_ops op_source_many = {
    .kind = "many",
    .next = next_many,
    .close = close_many,
};

enum op_rc op_source_many_open(const struct op_source_ops *kind,
                               const struct op_source_config *config, struct op_source **ret,
                               struct op_err *err)
{
    OP_CLEANUP(close_manyp) struct many_source *many = op_mem_alloc(sizeof(*many));
    many->kind = kind;
    keep_config(many, config);
    enum op_rc rc = find_files(many, config->target, err);
    /* Without a match the driver says what it says of a missing file, or is empty. */
    if (!rc)
        rc = open_file(many, many->path_count ? many->paths[0] : config->target, err);
    if (rc)
        return rc;
    many->cells = op_mem_array(many->names.count, sizeof(*many->cells));
    many->base = (struct op_source){.ops = &op_source_many,
                                    .columns = (const char *const *)many->names.names,
                                    .column_count = many->names.count};
    *ret = &OP_TAKE(many)->base;
    return OP_OK;
}
