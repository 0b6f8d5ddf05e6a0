/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_BUNDLE_H
#define OP_PIPELINE_BUNDLE_H

/*
 * Model:     the texts a pipeline is made of: pipeline.yaml and every file it names (prompts,
 *            partials, schemas, SQL). Read once from the folder, then frozen: the bundle as
 *            canonical JSON goes into the ledger under its SHA-256, and a resumed job is compiled
 *            from there, whatever the folder holds by then. The one-line form of `run` makes a
 *            bundle from options, so there is one mechanism behind both.
 * Ownership: the bundle owns names and texts.
 * Errors:    a missing or unreadable file is OP_INVAL naming pipeline.yaml's line and the path; a
 *            name with "..", an absolute path, a file over 4 MiB or one that is not UTF-8 text is
 *            refused. A byte order mark is left out.
 * Threads:   one thread at a time.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/env.h"
#include "base/err.h"
#include "base/map.h"

#define OP_BUNDLE_MAIN     "pipeline.yaml"
#define OP_BUNDLE_FILE_MAX (4 * 1024 * 1024)

struct op_bundle {
    struct op_arena arena;
    struct op_map index; /* name -> position */
    struct op_bundle_file {
        const char *name;
        struct op_str text;
    } * files;
    size_t count, room;
    char *dir; /* "" when it has no folder; for messages */
    char *
        profile; /* which of the definition's profiles is meant; "": the inputs and outputs at its
                      top. Frozen with the texts */
    bool frozen; /* came from op_bundle_read: the folder is never read again */
};

void op_bundle_init(struct op_bundle *bundle);
void op_bundle_release(struct op_bundle *bundle);
/* Adds or replaces; copies. */
void op_bundle_put(struct op_bundle *bundle, const char *name, struct op_str text);
void op_bundle_set_profile(struct op_bundle *bundle, const char *profile); /* NULL: "" */
/* ptr NULL when absent */
struct op_str op_bundle_get(const struct op_bundle *bundle, const char *name);

/* Reads dir/pipeline.yaml only; op_definition_parse asks for the other files by name. */
OP_MUST_CHECK enum op_rc op_bundle_open(struct op_env *env, const char *dir,
                                        struct op_bundle *ret, struct op_err *err);
/* Makes sure name is in the bundle, reading it from the folder when it is not.
 * place: "file:line". */
OP_MUST_CHECK enum op_rc op_bundle_need(struct op_env *env, struct op_bundle *bundle,
                                        const char *name, const char *place, struct op_str *ret,
                                        struct op_err *err);

/* Canonical JSON {"dir":..., "profile":..., "files":{name:text}} and back; no profile, no
 * member. */
void op_bundle_write(const struct op_bundle *bundle, struct op_buf *out);
OP_MUST_CHECK enum op_rc op_bundle_read(struct op_str json, struct op_bundle *ret,
                                        struct op_err *err);

/* Where a pipeline named on the command line lies: NAME if it is a folder with pipeline.yaml (or
 * that file itself); then ./pipelines/NAME, each folder of $OFFPEAK_PIPELINES (colon list), the
 * build tree's ../pipelines beside the program, and <prefix>/share/offpeak/pipelines. An op_mem
 * block; OP_NOTFOUND lists where it looked and the names there are. */
OP_MUST_CHECK enum op_rc op_pipeline_find(struct op_env *env, const char *name, char **ret_dir,
                                          struct op_err *err);
/* Calls fn for every pipeline that can be found by name, by folder in that order, then by name; of
 * equal names the first. */
void op_pipelines_each(struct op_env *env,
                       void (*fn)(void *arg, const char *name, const char *dir), void *arg);

#endif
