/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_DEFINITION_READ_H
#define OP_PIPELINE_DEFINITION_READ_H

/*
 * Model:     the inside of the definition reader. One table of keys (definition.c) names for every
 *            key the function that reads its value and the field it goes to; a map of the file is
 *            walked with the path it stands at. Not for use outside of definition*.c.
 * Errors:    a reader returns the first; with `fn` set they are told one by one and reading goes on.
 */

#include "pipeline/definition.h"
#include "pipeline/yaml.h"

struct definer {
    struct op_env *env;
    struct op_bundle *bundle;
    struct op_definition *def;
    struct op_arena *arena; /* def's */
    const char **params;    /* names of all params, also of those that stand further down */
    size_t param_count;
    void (*fn)(void *arg, const char *message); /* NULL: stop at the first mistake */
    void *arg;
    size_t mistakes;
};

/* Reads node into the field at `into`. */
typedef enum op_rc (*op_reader_fn)(struct definer *d, const struct op_yaml *node, void *into,
                                   struct op_err *err);

/* OP_OK when reading may go on after err: it has been told and cleared. */
OP_MUST_CHECK enum op_rc op_definer_note(struct definer *d, struct op_err *err);
/* "file:line" in the arena. */
const char *op_definer_place(struct definer *d, const struct op_yaml *node);
/* Walks a map whose keys stand below path ("requests.*"), its fields in the struct at base. */
OP_MUST_CHECK enum op_rc op_definer_map(struct definer *d, const struct op_yaml *node,
                                        const char *path, void *base, struct op_err *err);
/* Reads one key below path; *ret_known tells whether there is such a key. */
OP_MUST_CHECK enum op_rc op_definer_key(struct definer *d, const struct op_yaml *node,
                                        const char *path, void *base, bool *ret_known,
                                        struct op_err *err);
/* The names of the keys below path, appended to names (room for all: OP_DEFINER_KEYS). */
#define OP_DEFINER_KEYS 128
size_t op_definer_names(const char *path, const char **names, size_t count);
/* Fails with "unknown key", what it may have meant, or what there is. */
enum op_rc op_definer_unknown(const struct op_yaml *node, const char *const *names,
                              size_t count, struct op_err *err);
OP_MUST_CHECK enum op_rc op_definer_need_map(const struct op_yaml *node, const char *example,
                                             struct op_err *err);
OP_MUST_CHECK enum op_rc op_definer_need_list(const struct op_yaml *node, const char *example,
                                              struct op_err *err);
/* " (did you mean 'x'?)" or "", in buf. */
const char *op_definer_hint(char buf[120], const char *word, const char *const *names,
                            size_t count);

/* Is text a well-formed template whose names are among the count names? */
OP_MUST_CHECK enum op_rc op_definer_template(struct definer *d, const struct op_yaml *node,
                                             const char *const *names, size_t count,
                                             struct op_err *err);
/* The top-level names of a template in the arena; fails where it is malformed. */
OP_MUST_CHECK enum op_rc op_definer_template_names(struct definer *d,
                                                   const struct op_yaml *node,
                                                   const char *const **ret, size_t *ret_count,
                                                   struct op_err *err);

/* Scalars (definition_text.c). */
enum op_rc op_read_name(struct definer *d, const struct op_yaml *node, void *into,
                        struct op_err *err);
enum op_rc op_read_string(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err);
enum op_rc op_read_flag(struct definer *d, const struct op_yaml *node, void *into,
                        struct op_err *err);
enum op_rc op_read_rounds(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err);
enum op_rc op_read_times(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err);
enum op_rc op_read_words(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err);
enum op_rc op_read_column(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err);
/* Templates over the params, kept as text: a number, a cache time, anything. */
enum op_rc op_read_template(struct definer *d, const struct op_yaml *node, void *into,
                            struct op_err *err);
enum op_rc op_read_count(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err);
enum op_rc op_read_number(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err);
enum op_rc op_read_cache(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err);
/* struct op_text: inline or in a file of the bundle. */
enum op_rc op_read_sql(struct definer *d, const struct op_yaml *node, void *into,
                       struct op_err *err);
enum op_rc op_read_prompt(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err);
enum op_rc op_read_schema(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err);
enum op_rc op_read_object(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err);

/* Parts (definition_parts.c, definition_ports.c); into is the definition. */
enum op_rc op_read_params(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err);
enum op_rc op_read_profiles(struct definer *d, const struct op_yaml *node, void *into,
                            struct op_err *err);
enum op_rc op_read_requests(struct definer *d, const struct op_yaml *node, void *into,
                            struct op_err *err);
enum op_rc op_read_require(struct definer *d, const struct op_yaml *node, void *into,
                           struct op_err *err);
enum op_rc op_read_views(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err);
enum op_rc op_read_checks(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err);
enum op_rc op_read_warnings(struct definer *d, const struct op_yaml *node, void *into,
                            struct op_err *err);
enum op_rc op_read_batch(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err);
enum op_rc op_read_reask(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err);
enum op_rc op_read_inputs(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err);
enum op_rc op_read_outputs(struct definer *d, const struct op_yaml *node, void *into,
                           struct op_err *err);
enum op_rc op_read_trigger(struct definer *d, const struct op_yaml *node, void *into,
                           struct op_err *err);
enum op_rc op_read_on_error(struct definer *d, const struct op_yaml *node, void *into,
                            struct op_err *err);
enum op_rc op_read_event(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err);
enum op_rc op_read_type(struct definer *d, const struct op_yaml *node, void *into,
                        struct op_err *err);

/* What can only be said of the whole (definition_check.c). */
OP_MUST_CHECK enum op_rc op_definer_finish(struct definer *d, struct op_err *err);

#endif
