/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_DEFINITION_H
#define OP_PIPELINE_DEFINITION_H

/*
 * Model:     pipeline.yaml as plain data, checked for form: every key known (else "did you mean"),
 *            every name well-formed, every file there. What it means is compiled later (plan.h).
 *            The keys, their types and help are one table (definition.c), which also makes
 *            docs/reference/pipeline.md.
 *            YAML is read strictly: no anchors, aliases, tags, merges or duplicate keys; at most
 *            1 MiB and 32 levels (reference/reliability.md section 4).
 * Ownership: everything lies in the definition's arena or the bundle's, which must outlive it.
 * Errors:    OP_INVAL "dir/pipeline.yaml:12: unknown key 'outputss' (did you mean 'outputs'?)".
 *            parse reports the first; op_definition_check collects all it can.
 * Threads:   one thread at a time; read-only afterwards.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/template.h"
#include "pipeline/bundle.h"
#include "sink/sink.h"
#include "source/source.h"
#include "trigger/trigger.h"

enum op_param_type {
    OP_PARAM_TEXT,
    OP_PARAM_INTEGER,
    OP_PARAM_NUMBER,
    OP_PARAM_BOOLEAN,
    OP_PARAM_PATH,
    OP_PARAM_LIST /* a JSON array of texts */
};

/* A SQL or template text with the place it was written at. */
struct op_text {
    struct op_str text; /* ptr NULL: not given */
    const char *place;  /* "dir/pipeline.yaml:12" or "dir/user.md:1" */
};

struct op_param_def {
    const char *name; /* [a-z][a-z0-9_]*; the option is --name (also with - for _) */
    const char *about;
    enum op_param_type type;
    bool required;
    const char *fallback; /* default; NULL none; may be a template over earlier params */
    const char *env;      /* environment variable; NULL none */
    const char **aliases; /* more option names; NULL-terminated */
    const char **values;  /* allowed ones; NULL-terminated, NULL: any */
    const char *place;
};

struct op_input_def {
    const char *name;      /* table name */
    struct op_text select; /* made by this SELECT over the inputs before it; ptr NULL: */
    const struct op_source_ops *source; /* read by this; NULL with select */
    const char *target;                 /* template over params */
    struct op_source_option *options;   /* values are templates over params; optional, on_error
                                         and columns among them where the driver has them */
    size_t option_count;
    bool optional;        /* a missing file is an empty table */
    bool skip_bad;        /* on_error: skip */
    const char **columns; /* declared columns, for an optional input; NULL-terminated or NULL */
    const char *place;
};

/* checks and warnings: a SELECT whose rows are sentences. */
struct op_check_def {
    struct op_text sql;
    const char *request; /* only for this request; NULL: for all */
    bool warning;
};

/* views: a SELECT with a name, for the others over what is at hand. */
struct op_view_def {
    const char *name;
    struct op_text sql;
};

/* require: a SELECT that must give a row whose first cell is true; else the message is said. */
struct op_require_def {
    struct op_text sql;
    struct op_text message; /* template over params and the row's columns */
    bool warning;           /* said for every row that does not hold, and lived with */
};

struct op_request_def {
    const char *name;
    bool raw;             /* lines in the provider's own form, sent as they are */
    const char *provider; /* NULL: by the model */
    const char *model;    /* these (and provider) are templates over params; NULL: not given */
    const char *endpoint;
    const char *max_tokens, *temperature, *effort, *cache;
    struct op_text extra;        /* JSON object text; string leaves are templates over params */
    struct op_text system, user; /* Mustache over the record's columns (params too) */
    struct op_text schema;       /* JSON Schema text; answer: FILE */
    const char *when; /* column that says whether this record gets this request; NULL always */
    const char *place;
};

enum op_output_event { OP_ON_ANSWER, OP_ON_BATCH, OP_ON_JOB };

struct op_output_def {
    enum op_output_event on;
    const struct op_sink_ops *sink;
    const char *target;  /* template over params, and over the row when per_row_path */
    bool per_row_path;   /* target uses a column of rows */
    const char **key;    /* NULL-terminated */
    struct op_text rows; /* SELECT */
    struct op_sink_option *options;
    size_t option_count;
    const char *place;
};

/* trigger: what makes jobs of this pipeline without a person (pipeline/fire.h). */
struct op_trigger_def {
    const struct op_trigger_ops *ops; /* NULL: none */
    const char *target;               /* templates over params, like the options */
    struct op_trigger_option *options;
    size_t option_count;
    struct op_text jobs;      /* SELECT over its candidates: a row is a job */
    const char *every, *most; /* seconds between looks; jobs at once; NULL: not said */
    const char *place;
};

struct op_definition {
    struct op_arena arena;
    const char *name, *about;
    const char *file; /* "dir/pipeline.yaml", for messages */
    struct op_param_def *params;
    size_t param_count;
    const char **profiles; /* names; NULL-terminated */
    size_t profile_count;
    struct op_input_def *inputs;
    size_t input_count;
    struct op_text records; /* ptr NULL: the one input streams */
    struct op_text done;
    struct op_text progress; /* SELECT name, value: shown by status */
    int64_t rounds;          /* 1 */
    struct op_require_def *requires;
    size_t require_count;
    struct op_request_def *requests;
    size_t request_count;
    struct op_view_def *views;
    size_t view_count;
    struct op_check_def *checks; /* warnings among them */
    size_t check_count;
    struct op_output_def *outputs;
    size_t output_count;
    struct op_trigger_def trigger;
    const char
        *batch_requests; /* most requests per batch, a template; NULL: the provider's limit */
    const char *batch_bytes;
    bool prime;              /* warm the prompt cache with a stub first */
    struct op_text display;  /* Mustache over an answer: how `show` prints it to a person */
    int64_t reask_invalid;   /* times an invalid answer is asked again (1) */
    int64_t reask_failed;    /* times errored, expired, absent ones are (3) */
    int64_t reask_truncated; /* times a truncated one is, with more room (1) */
};

/* Parses bundle's pipeline.yaml, pulling the files it names into the bundle. Of its profiles
 * only the bundle's is read; inputs, outputs and so on are then those of the profile. */
OP_MUST_CHECK enum op_rc op_definition_parse(struct op_env *env, struct op_bundle *bundle,
                                             struct op_definition *ret, struct op_err *err);
void op_definition_release(struct op_definition *def);
/* As parse, for validate: calls fn with every mistake found and returns their number. */
size_t op_definition_check(struct op_env *env, struct op_bundle *bundle,
                           void (*fn)(void *arg, const char *message), void *arg);

/* Finds the text of a Mustache partial in the bundle: NAME, NAME.mustache or NAME.md. It is an
 * op_template_partial_fn; arg is the const struct op_bundle. */
bool op_bundle_partial(void *bundle, const char *name, struct op_str *ret_text);

/* Compiles a text as a template; messages name the line of the file that it stands in. */
OP_MUST_CHECK enum op_rc op_text_compile(const struct op_text *text,
                                         const struct op_template_options *options,
                                         struct op_template **ret, struct op_err *err);
/* Mends the line in a message that a template of this text gave later (bind, render). */
void op_text_shift(const struct op_text *text, struct op_err *err);

/* One row per key of pipeline.yaml, in document order: path ("requests.*.model"), type, help. */
struct op_definition_key {
    const char *path, *type, *help;
};
const struct op_definition_key *op_definition_keys(size_t *ret_count);
/* docs/reference/pipeline.md, made from the keys. */
void op_definition_write_reference(struct op_buf *out);

#endif
