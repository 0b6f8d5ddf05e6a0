/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_PLAN_H
#define OP_PIPELINE_PLAN_H

/*
 * Model:     a definition compiled for one run: params rendered, templates and schemas compiled,
 *            the requests' params forms made by the provider. What needs columns comes after it:
 *            op_plan_columns (those of the records) binds the prompts, op_plan_open_output (those
 *            of rows) opens a sink. All of it finds every mistake that can be found without
 *            reading the inputs' rows; nothing is sent or written.
 *            A prompt sees the record's columns and the params. A name that is both is an error
 *            where a prompt uses it.
 * Ownership: the plan owns all of it; definition, params, bundle and lanes must outlive it.
 * Errors:    OP_INVAL with file, line and a hint.
 * Threads:   read-only once its columns are known; op_plan_compose may run on several threads with a scratch each.
 */

#include "base/template.h"
#include "core/schema.h"
#include "pipeline/definition.h"
#include "pipeline/params.h"
#include "provider/provider.h"

struct op_plan_options {
    const char *model;    /* --model: for every request; NULL: as defined; chain.h reads it */
    bool is_chained;      /* of several providers: what a prompt is made of must be kept */
    int64_t limit;        /* --limit: at most so many records; 0 all */
    bool no_cache;        /* done is not asked */
    int64_t round;        /* :round in SQL; 0 is 1 */
    const char *cwd;      /* relative targets of outputs are relative to it; NULL: "." */
    const char *work_dir; /* in the state folder: sinks put temporary files there; exists */
};

struct op_plan_request {
    const struct op_request_def *def;
    const struct op_lane *lane; /* whom it is asked of */
    const char *model;          /* raw: of lines that do not say theirs */
    const char *endpoint;       /* one of the provider's */
    int kind; /* the plan's requests that may go in one batch have one number */
    int64_t max_tokens;
    struct op_params_form form;
    struct op_template *system, *user; /* NULL: none; OP_ESCAPE_JSON */
    struct op_schema *schema;          /* NULL: free text */
};

struct op_plan_output {
    const struct op_output_def *def;
    const char *target;       /* params rendered; absolute unless a URL; per_row_path: with the
                                   names of the row's columns still in it */
    struct op_template *path; /* per_row_path: target, over the row's columns */
    const char *const *columns; /* of rows; NULL until op_plan_open_output */
    size_t column_count;
    struct op_sink *sink; /* for encode, deliver uses it too; NULL until op_plan_open_output */
};

struct op_plan {
    struct op_env *env;
    const struct op_bundle *bundle;
    const struct op_definition *def;
    const struct op_params *params;
    struct op_plan_options options;
    struct op_arena arena;
    struct op_plan_request *requests;  /* def->request_count */
    int kind_count;                    /* requests[].kind is below it */
    struct op_plan_output *outputs;    /* def->output_count */
    const char *const *record_columns; /* set by op_plan_columns; "key" among them */
    size_t record_column_count;
    const char *const *prompt_columns; /* those, then the params: what prompts are bound to */
    size_t prompt_column_count;
    bool keeps_data; /* an output, check or warning reads columns of `records` beyond key, or a
                        request may have to be written for another provider */
    /* The most in a batch; beside them there are the provider's limits. */
    int64_t batch_requests, batch_bytes;
    struct op_template *display; /* NULL: none */
};

/* The model's output limit where a request does not say max_tokens. */
#define OP_PLAN_MAX_TOKENS 4096

/* lanes: one a request, of the providers that op_chain_read found. */
OP_MUST_CHECK enum op_rc op_plan_compile(struct op_env *env, const struct op_definition *def,
                                         const struct op_params *params,
                                         const struct op_lane *const *lanes,
                                         struct op_bundle *bundle,
                                         const struct op_plan_options *options,
                                         struct op_plan **ret, struct op_err *err);
void op_plan_free(struct op_plan *plan);
void op_plan_freep(struct op_plan **plan);

/* Tells the plan the columns of its records (once staged or the stream is open); binds the
 * templates: a template that names a column there is not is an error here. */
OP_MUST_CHECK enum op_rc op_plan_columns(struct op_plan *plan, const char *const *columns,
                                         size_t count, struct op_err *err);

/* Opens the sink of output number ix and binds its path template, once the columns of its `rows`
 * are known: whoever prepares that SELECT (sqlenv) calls this. Checks that the key columns are
 * among them. Idempotent: a second call (another thread's sqlenv) only compares the columns, so
 * the first must be over before threads begin. */
OP_MUST_CHECK enum op_rc op_plan_open_output(struct op_plan *plan, size_t ix,
                                             const char *const *columns, size_t count,
                                             struct op_err *err);

/* Whether a model may be asked of the lane's provider: OP_INVAL when its name is another provider's
 * and the server is this one's own (a server of somebody else may carry any model). */
OP_MUST_CHECK enum op_rc op_plan_check_model(const struct op_lane *lane, const char *model,
                                             const char *place, struct op_err *err);

struct op_compose_scratch;
struct op_compose_scratch *op_compose_scratch_new(void);
void op_compose_scratch_free(struct op_compose_scratch *scratch);

/* Appends the params of request number ix for a record (cells in record_columns order). Every
 * byte is JSON; an over-long prompt (OP_TEMPLATE_MAX_OUTPUT, the provider's line limit) is
 * OP_INVAL/REJECT. Hot: no allocation once the buffers have grown. */
OP_MUST_CHECK enum op_rc op_plan_compose(const struct op_plan *plan, size_t ix,
                                         const struct op_value *cells,
                                         struct op_compose_scratch *scratch, struct op_buf *out,
                                         struct op_err *err);

/* The custom_id of a `raw` line: the record's key. Valid until scratch is used again. */
OP_MUST_CHECK enum op_rc op_plan_raw_key(const struct op_plan *plan, struct op_str line,
                                         struct op_compose_scratch *scratch,
                                         struct op_str *ret_custom_id, struct op_err *err);

#endif
