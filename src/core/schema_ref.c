/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "core/schema_impl.h"

struct uri {
    struct op_str scheme, authority, path, query; /* ptr NULL: absent; path never is */
};

static struct op_str slice(const char *from, const char *to)
{
    return (struct op_str){from, (size_t)(to - from)};
}

/* Without its fragment. */
static struct uri split_uri(struct op_str text)
{
    struct uri uri = {0};
    const char *p = text.ptr, *end = text.ptr + text.len, *q;

    if ((q = memchr(p, '#', text.len)))
        end = q;
    for (q = p; q < end && !strchr(":/?", *q); q++)
        ;
    if (q < end && *q == ':' && q > p) {
        uri.scheme = slice(p, q);
        p = q + 1;
    }
    if (end - p >= 2 && p[0] == '/' && p[1] == '/') {
        for (q = p += 2; q < end && *q != '/' && *q != '?'; q++)
            ;
        uri.authority = slice(p, q);
        p = q;
    }
    q = memchr(p, '?', (size_t)(end - p));
    uri.path = slice(p, q ? q : end);
    if (q)
        uri.query = slice(q + 1, end);
    return uri;
}

/* RFC 3986 section 5.2.4, on the bytes of buf from start on. */
static void remove_dots(struct op_buf *buf, size_t start)
{
    char *path = buf->ptr + start;
    size_t len = buf->len - start, out = 0, in = 0;

    while (in < len) {
        size_t next = in + 1;
        while (next < len && path[next] != '/')
            next++;
        struct op_str segment = {path + in, next - in}; /* with its leading slash */
        if (op_str_is(segment, "/.") || op_str_is(segment, "/..")) {
            while (segment.len == 3 && out > 0 && path[--out] != '/')
                ;
            if (next == len)
                path[out++] = '/';
        } else {
            memmove(path + out, path + in, next - in);
            out += next - in;
        }
        in = next;
    }
    buf->len = start + out;
}

static void put_path(struct op_buf *buf, const struct uri *base, struct op_str path)
{
    size_t start = buf->len;
    size_t keep = base->path.len;

    if (path.len == 0 || path.ptr[0] != '/') {
        while (keep > 0 && base->path.ptr[keep - 1] != '/')
            keep--;
        if (base->authority.ptr && base->path.len == 0)
            op_buf_addc(buf, '/');
        op_buf_add(buf, base->path.ptr, keep);
    }
    if (buf->len == start && op_str_starts(path, "./"))
        path = (struct op_str){path.ptr + 2, path.len - 2};
    op_buf_add_str(buf, path);
    remove_dots(buf, start);
}

const char *op_schema_uri_resolve(struct op_arena *arena, const char *base,
                                  struct op_str reference)
{
    struct uri from = split_uri(op_str_from(base)), ref = split_uri(reference);
    struct uri *head = ref.scheme.ptr ? &ref : &from;
    struct op_buf buf;

    op_buf_init(&buf, SIZE_MAX / 2);
    if (head->scheme.ptr)
        op_buf_addf(&buf, OP_STR_FMT ":", OP_STR_ARG(head->scheme));
    if (ref.authority.ptr)
        head = &ref;
    if (head->authority.ptr)
        op_buf_addf(&buf, "//" OP_STR_FMT, OP_STR_ARG(head->authority));
    if (head == &ref) {
        op_buf_add_str(&buf, ref.path);
    } else if (ref.path.len == 0) {
        op_buf_add_str(&buf, from.path);
        if (!ref.query.ptr)
            ref.query = from.query;
    } else {
        put_path(&buf, &from, ref.path);
    }
    if (ref.query.ptr)
        op_buf_addf(&buf, "?" OP_STR_FMT, OP_STR_ARG(ref.query));
    const char *ret = op_arena_strdup(arena, op_buf_str(&buf));
    op_buf_release(&buf);
    return ret;
}

static enum op_rc add_anchor(struct op_schema_compiler *c, size_t index, const char *keyword)
{
    struct op_schema *schema = c->schema;
    struct op_schema_node *node = schema->nodes[index];
    struct op_json value = op_json_get(node->json, keyword);
    struct op_str name = op_json_str(value);

    if (!op_json_ok(value))
        return OP_OK;
    if (!name.ptr || name.len == 0)
        return op_fail(c->err, OP_INVAL, "%s#%s/%s: expected a name", schema->file,
                       node->pointer, keyword);
    const char *key =
        op_arena_printf(&schema->arena, "%s#" OP_STR_FMT, node->base, OP_STR_ARG(name));
    if (!op_map_add(&c->anchors, op_str_from(key), (int64_t)index, NULL))
        return op_fail(c->err, OP_INVAL, "%s#%s/%s: the name '" OP_STR_FMT "' is taken",
                       schema->file, node->pointer, keyword, OP_STR_ARG(name));
    return OP_OK;
}

/* $id opens a resource: it is the base of everything below, and its own. */
enum op_rc op_schema_identify(struct op_schema_compiler *c, size_t index)
{
    struct op_schema *schema = c->schema;
    struct op_schema_node *node = schema->nodes[index];
    struct op_json id = op_json_get(node->json, "$id");
    enum op_rc rc;

    if (op_json_ok(id)) {
        struct op_str text = op_json_str(id);
        if (!text.ptr)
            return op_fail(c->err, OP_INVAL, "%s#%s/$id: expected a string", schema->file,
                           node->pointer);
        node->base = op_schema_uri_resolve(&schema->arena, node->base, text);
        if (!op_map_add(&c->resources, op_str_from(node->base), (int64_t)index, NULL) &&
            index != 0)
            return op_fail(c->err, OP_INVAL, "%s#%s/$id: '%s' is taken", schema->file,
                           node->pointer, node->base);
    }
    if (index == 0)
        op_map_set(&c->resources, op_str_from(node->base), 0);
    rc = add_anchor(c, index, "$anchor");
    return rc ? rc : add_anchor(c, index, "$dynamicAnchor");
}

static int hex(char ch)
{
    return ch >= '0' && ch <= '9'   ? ch - '0'
           : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
           : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
                                    : -1;
}

static struct op_str percent_decode(struct op_arena *arena, struct op_str s)
{
    char *out = op_arena_alloc(arena, s.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '%' && i + 2 < s.len && hex(s.ptr[i + 1]) >= 0 &&
            hex(s.ptr[i + 2]) >= 0) {
            out[n++] = (char)(hex(s.ptr[i + 1]) << 4 | hex(s.ptr[i + 2]));
            i += 2;
        } else {
            out[n++] = s.ptr[i];
        }
    }
    return (struct op_str){out, n};
}

static enum op_rc fail_ref(struct op_schema_compiler *c, const struct op_schema_node *node,
                           const char *why)
{
    return op_fail(c->err, OP_INVAL, "%s#%s/$ref: '" OP_STR_FMT "' %s", c->schema->file,
                   node->pointer, OP_STR_ARG(node->ref_text), why);
}

/* "#/$defs/x" or "other#/$defs/x": the place may be one that no keyword made a schema of. */
static enum op_rc resolve_pointer(struct op_schema_compiler *c, struct op_schema_node *node,
                                  const struct op_schema_node *resource, struct op_str fragment)
{
    struct op_str pointer = percent_decode(&c->schema->arena, fragment);
    struct op_json target = op_json_pointer(resource->json, pointer);
    enum op_json_type type = op_json_type(target);

    if (!op_json_ok(target))
        return fail_ref(c, node, "points to nothing in this document");
    if (type != OP_JSON_OBJECT && type != OP_JSON_TRUE && type != OP_JSON_FALSE)
        return fail_ref(c, node, "points to something that is not a schema");
    const char *place = op_arena_printf(&c->schema->arena, "%s" OP_STR_FMT, resource->pointer,
                                        OP_STR_ARG(pointer));
    return op_schema_node_at(c, target, place, resource->base, &node->ref);
}

static enum op_rc resolve(struct op_schema_compiler *c, struct op_schema_node *node)
{
    struct op_schema *schema = c->schema;
    struct op_str fragment = node->ref_text;
    int64_t index;

    op_str_cut(&fragment, '#');
    const char *uri = op_schema_uri_resolve(&schema->arena, node->base, node->ref_text);
    if (!op_map_get(&c->resources, op_str_from(uri), &index))
        return fail_ref(c, node, "is outside of this document, which is not supported");
    if (fragment.len == 0) {
        node->ref = schema->nodes[index];
        return OP_OK;
    }
    if (fragment.ptr[0] == '/')
        return resolve_pointer(c, node, schema->nodes[index], fragment);
    const char *key =
        op_arena_printf(&schema->arena, "%s#" OP_STR_FMT, uri, OP_STR_ARG(fragment));
    if (!op_map_get(&c->anchors, op_str_from(key), &index))
        return fail_ref(c, node, "names no $anchor of this document");
    node->ref = schema->nodes[index];
    return OP_OK;
}

enum op_rc op_schema_resolve_all(struct op_schema_compiler *c)
{
    /* a reference may compile further nodes, which come later in the list */
    for (size_t i = 0; i < c->schema->node_count; i++) {
        struct op_schema_node *node = c->schema->nodes[i];
        enum op_rc rc = node->ref_text.ptr ? resolve(c, node) : OP_OK;
        if (rc)
            return rc;
    }
    return OP_OK;
}

static enum op_rc measure(struct op_schema_compiler *c, struct op_schema_node *node, int depth);

static enum op_rc measure_next(struct op_schema_compiler *c, struct op_schema_node *next,
                               int depth, int *longest)
{
    enum op_rc rc = next ? measure(c, next, depth + 1) : OP_OK;

    if (!rc && next && next->chain + 1 > *longest)
        *longest = next->chain + 1;
    return rc;
}

/* The longest chain of schemas that apply to one and the same value. A cycle in it would check
 * that value for ever; a chain that goes on into members or items ends with the value. */
static enum op_rc measure(struct op_schema_compiler *c, struct op_schema_node *node, int depth)
{
    struct op_schema_nodes *lists[] = {&node->all_of, &node->any_of, &node->one_of};
    struct op_schema_node *single[] = {node->ref, node->not_, node->if_, node->then_,
                                       node->else_};
    enum op_rc rc = OP_OK;
    int longest = 1;

    if (node->chain > 0)
        return OP_OK;
    if (node->chain < 0)
        return op_fail(c->err, OP_INVAL,
                       "%s#%s: the schema refers back to itself for the same value",
                       c->schema->file, node->pointer);
    if (depth > OP_SCHEMA_MAX_CHAIN)
        return op_fail(c->err, OP_INVAL,
                       "%s#%s: more than %d schemas inside one another for one value",
                       c->schema->file, node->pointer, OP_SCHEMA_MAX_CHAIN);
    node->chain = -1;
    for (size_t i = 0; !rc && i < OP_COUNT(single); i++)
        rc = measure_next(c, single[i], depth, &longest);
    for (size_t k = 0; !rc && k < OP_COUNT(lists); k++)
        for (size_t i = 0; !rc && i < lists[k]->count; i++)
            rc = measure_next(c, lists[k]->items[i], depth, &longest);
    for (size_t i = 0; !rc && i < node->dependent_schemas.count; i++)
        rc = measure_next(c, node->dependent_schemas.items[i].node, depth, &longest);
    node->chain = longest;
    return rc;
}

enum op_rc op_schema_check_chains(struct op_schema_compiler *c)
{
    for (size_t i = 0; i < c->schema->node_count; i++) {
        struct op_schema_node *node = c->schema->nodes[i];
        enum op_rc rc = measure(c, node, 0);
        if (rc)
            return rc;
        if (node->chain > OP_SCHEMA_MAX_CHAIN)
            return op_fail(c->err, OP_INVAL,
                           "%s#%s: more than %d schemas inside one another for one value",
                           c->schema->file, node->pointer, OP_SCHEMA_MAX_CHAIN);
    }
    return OP_OK;
}
