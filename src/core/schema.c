/* SPDX-License-Identifier: MIT */
#include "core/schema.h"

#include "base/json_out.h"
#include "base/mem.h"
#include "core/schema_impl.h"

static void release_members(struct op_schema_node *node)
{
    struct op_schema_members *all[] = {
        &node->properties,  &node->pattern_properties, &node->dependent_schemas,
        &node->definitions, &node->draft7_definitions, &node->dependent_required,
    };

    for (size_t i = 0; i < OP_COUNT(all); i++)
        op_map_release(&all[i]->by_name);
}

void op_schema_free(struct op_schema *schema)
{
    if (!schema)
        return;
    for (size_t i = 0; i < schema->node_count; i++)
        release_members(schema->nodes[i]);
    for (size_t i = 0; i < schema->regex_count; i++)
        op_schema_regex_free(schema->regexes[i]);
    op_mem_free(schema->regexes);
    op_mem_free(schema->nodes);
    op_json_parser_free(schema->parser);
    op_arena_release(&schema->arena);
    op_mem_free(schema);
}

void op_schema_freep(struct op_schema **schema)
{
    op_schema_free(*schema);
    *schema = NULL;
}

static enum op_rc compile(struct op_schema_compiler *c, struct op_json document)
{
    struct op_schema *schema = c->schema;
    struct op_json copy = {0};
    struct op_buf text;
    enum op_rc rc;

    op_buf_init(&text, SIZE_MAX / 2);
    op_json_write(&text, document);
    rc = op_json_parse(schema->parser, text.ptr, text.len, true, &copy, c->err);
    op_buf_release(&text);
    if (rc)
        return op_err_wrap(c->err, "%s", schema->file);
    rc = op_schema_node_at(c, copy, "", "", &schema->root);
    if (rc)
        return rc;
    rc = op_schema_resolve_all(c);
    return rc ? rc : op_schema_check_chains(c);
}

enum op_rc op_schema_compile(struct op_json document, const char *file,
                             const struct op_schema_options *options, struct op_schema **ret,
                             struct op_err *err)
{
    struct op_schema *schema OP_CLEANUP(op_schema_freep) = op_mem_alloc(sizeof(*schema));
    struct op_schema_compiler c = {.schema = schema, .err = err};
    enum op_rc rc;

    schema->parser = op_json_parser_new();
    schema->options = *options;
    schema->file = op_arena_strdup(&schema->arena, op_str_from(file));
    rc = compile(&c, document);
    op_map_release(&c.by_place);
    op_map_release(&c.resources);
    op_map_release(&c.anchors);
    if (rc)
        return rc;
    *ret = OP_TAKE(schema);
    return OP_OK;
}
