/* SPDX-License-Identifier: MIT */
#include <sys/stat.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/estimate.h"
#include "cli/say.h"
#include "cli/session.h"
#include "view/prompt.h"
#include "view/queues.h"
#include "view/text.h"

#define TEXT_MAX (64 * 1024 * 1024)

/* How many whole batches, and requests in them, the cap lets through: batches of one job are
 * nearly alike, so their average decides. */
static void under_cap(const struct op_estimate *e, int64_t cap, int64_t *ret_batches,
                      int64_t *ret_requests)
{
    int64_t unique = e->requests - e->duplicates;
    *ret_batches = e->batches;
    *ret_requests = unique;
    if (e->batch_microusd <= cap || e->batches == 0)
        return;
    *ret_batches = (int64_t)((double)cap / ((double)e->batch_microusd / (double)e->batches));
    *ret_requests = *ret_batches * ((unique + e->batches - 1) / e->batches);
}

static void say_json(const struct op_args *args, const char *name, const struct op_estimate *e)
{
    struct op_report report;
    op_report_begin(&report);
    struct op_json_out *out = &report.out;
    op_json_out_kv_text(out, "pipeline", name);
    const struct {
        const char *name;
        int64_t value;
    } rows[] = {
        {"records", e->records},
        {"done", e->done},
        {"skipped", e->skipped},
        {"requests", e->requests},
        {"duplicates", e->duplicates},
        {"batches", e->batches},
        {"prompt_bytes", e->prompt_bytes},
        {"prompt_tokens", e->prompt_tokens},
        {"likely_prompt_tokens", e->likely_tokens},
        {"max_output_tokens", e->max_output_tokens},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++)
        op_json_out_kv_int(out, rows[i].name, rows[i].value);
    int64_t low = 0, high = 0;
    op_calibration_error(&e->calibration, &low, &high);
    op_json_out_name(out, "calibration");
    if (e->calibration.batches) {
        op_json_out_object(out);
        op_json_out_kv_int(out, "batches", e->calibration.batches);
        op_json_out_kv_int(out, "low_permille", low);
        op_json_out_kv_int(out, "high_permille", high);
        op_json_out_end_object(out);
    } else {
        op_json_out_null(out);
    }
    op_json_out_name(out, "queue");
    if (e->queue_tokens) {
        op_json_out_object(out);
        op_json_out_kv_int(out, "limit_tokens", e->queue_tokens);
        op_json_out_kv_bool(out, "learned", e->queue_learned);
        op_json_out_end_object(out);
    } else {
        op_json_out_null(out);
    }
    op_json_out_kv_bool(out, "priced", e->priced);
    op_json_out_kv_text(out, "prices_as_of", e->as_of[0] ? e->as_of : NULL);
    op_json_out_kv_int(out, "batch_microusd", e->batch_microusd);
    op_json_out_kv_int(out, "realtime_microusd", e->realtime_microusd);
    op_json_out_name(out, "cap");
    if (args->max_cost_microusd) {
        int64_t batches = 0, requests = 0;
        under_cap(e, args->max_cost_microusd, &batches, &requests);
        op_json_out_object(out);
        op_json_out_kv_int(out, "microusd", args->max_cost_microusd);
        op_json_out_kv_int(out, "batches", batches);
        op_json_out_kv_int(out, "requests", requests);
        op_json_out_end_object(out);
    } else {
        op_json_out_null(out);
    }
    if (args->dry_run) {
        op_json_out_name(out, "first_request");
        op_json_out_raw(out, e->sample.len ? op_buf_str(&e->sample) : OP_STR("null"));
    }
    op_report_print(&report);
}

static void text_counts(const struct op_estimate *e, struct op_buf *out)
{
    char n[OP_TEXT_SHORT];
    op_buf_addf(out, "  %-14s %s", "records", op_text_count(e->records, n));
    if (e->done)
        op_buf_addf(out, "  (%s more are done already)", op_text_count(e->done, n));
    if (e->skipped)
        op_buf_addf(out, "  (%s more are malformed)", op_text_count(e->skipped, n));
    op_buf_addf(out, "\n  %-14s %s", "requests", op_text_count(e->requests, n));
    if (e->duplicates)
        op_buf_addf(out, "  (%s of them identical to another: asked once)",
                    op_text_count(e->duplicates, n));
    op_buf_addf(out, "\n  %-14s %s", "batches", op_text_count(e->batches, n));
    if (e->queue_tokens)
        op_buf_addf(out, "  (for a queue of %s tokens, %s)", op_text_count(e->queue_tokens, n),
                    e->queue_learned ? "as this ledger has learned" : "the provider's lowest");
    op_buf_addf(out, "\n  %-14s about %s", "prompt tokens", op_text_count(e->likely_tokens, n));
    char known[200];
    op_calibration_text(&e->calibration, known, sizeof(known));
    if (known[0])
        op_buf_addf(out, "  (%s)", known);
    else
        op_buf_addz(out, "  (from bytes, meant to be high: not compared with a bill yet)");
    op_buf_addf(out, "\n  %-14s at most %s\n", "answer tokens",
                op_text_count(e->max_output_tokens, n));
}

static void text_money(const struct op_args *args, const struct op_estimate *e,
                       struct op_buf *out)
{
    char n[OP_TEXT_SHORT];
    if (!e->priced) {
        op_buf_addz(out, "  cost           unknown: the price list does not have this model "
                         "(docs/reference/prices.md)\n");
        return;
    }
    op_buf_addf(out, "  %-14s at most %s\n", "batch", op_text_usd(e->batch_microusd, n));
    op_buf_addf(out, "  %-14s at most %s\n", "realtime", op_text_usd(e->realtime_microusd, n));
    if (args->max_cost_microusd) {
        char a[OP_TEXT_SHORT], b[OP_TEXT_SHORT], c[OP_TEXT_SHORT];
        int64_t batches = 0, requests = 0;
        under_cap(e, args->max_cost_microusd, &batches, &requests);
        op_buf_addf(out, "  %-14s %s sends %s of %s batches, %s requests\n", "cap",
                    op_text_usd(args->max_cost_microusd, n), op_text_count(batches, a),
                    op_text_count(e->batches, b), op_text_count(requests, c));
        if (batches == 0 && e->batches > 0)
            op_buf_addz(out,
                        "                 (a batch goes out whole or not at all: make them "
                        "smaller with `batch: {requests: N}`, or raise the cap)\n");
    }
    if (e->as_of[0])
        op_buf_addf(out, "  %-14s of %s\n", "prices", e->as_of);
}

static void say_text(const struct op_args *args, const char *name, const struct op_estimate *e)
{
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&out, TEXT_MAX);
    op_buf_addf(&out, "%s\n", name);
    text_counts(e, &out);
    text_money(args, e, &out);
    if (args->dry_run && e->sample.len) {
        op_buf_addz(&out, "\nThe first request:\n");
        op_prompt_text(op_buf_str(&e->sample), &out);
    }
    op_say(op_buf_str(&out));
}

/* What the ledger has seen billed makes an estimate better; without one, or with one that cannot be
 * read now, it is made from bytes alone. */
static enum op_rc open_engine(struct op_args *args, char **ret_state_dir,
                              struct op_engine **ret, struct op_err *err)
{
    struct op_err ignored = OP_ERR_INIT;
    struct op_engine_options options = {
        .read_only = true, .prices_file = args->prices, .stop = &op_stop};
    if (!op_state_dir(args, ret_state_dir, &ignored) && op_state_exists(*ret_state_dir)) {
        options.state_dir = *ret_state_dir;
        if (!op_engine_open(&options, ret, &ignored))
            return OP_OK;
        options.state_dir = NULL;
    }
    return op_engine_open(&options, ret, err);
}

int op_estimate_say(struct op_args *args)
{
    struct op_err err = OP_ERR_INIT;
    struct op_engine *engine = NULL;
    struct op_estimate estimate = {0};
    OP_CLEANUP(op_mem_freep) char *cwd = NULL;
    OP_CLEANUP(op_mem_freep) char *state_dir = NULL; /* the engine's for as long as it lives */
    OP_CLEANUP(op_mem_freep) char *name = op_mem_strdup(args->subject.def.name);
    struct op_job_request request = {
        .bundle = &args->subject.bundle,
        .given = args->subject.given,
        .provider = args->provider,
        .model = args->model,
        .limit = args->limit,
        .no_cache = args->no_cache,
        .fresh = args->fresh,
    };
    umask(077); /* inputs may be staged outside of the state folder */
    enum op_rc rc = op_cwd(&cwd, &err);
    request.cwd = cwd;
    if (!rc)
        rc = open_engine(args, &state_dir, &engine, &err);
    if (!rc)
        rc = op_engine_estimate(engine, &request, &estimate, &err);
    if (rc)
        op_say_error(args, &err);
    else if (args->json)
        say_json(args, name, &estimate);
    else
        say_text(args, name, &estimate);
    op_buf_release(&estimate.sample);
    op_engine_close(engine);
    return rc ? (rc == OP_STOPPED ? OP_EXIT_PARTIAL : OP_EXIT_FAILED) : OP_EXIT_OK;
}

static int run_estimate(struct op_args *args)
{
    struct op_err err = OP_ERR_INIT;
    if (args->subject.broken.rc)
        return op_say_error(args, &args->subject.broken);
    if (op_subject_complete(args, false, &err) || op_subject_check_params(&args->subject, &err))
        return op_say_usage(args, &err);
    return op_estimate_say(args);
}

static const struct op_option options[] = {
    OP_OPTIONS_ASK,
    OP_OPT_GROUP("How it is done"),
    OP_OPT_TEXT("prices", "FILE", prices,
                "Price list (default: $OFFPEAK_PRICES, else the one that came along)"),
    OP_OPTIONS_STATE,
    OP_OPT_FLAG("emulate", emulate, "Accepted, so that a line for `run` can be estimated"),
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_estimate = {
    .name = "estimate",
    .about = "Says what a job would ask and what it would cost, without sending anything",
    .usage = (const char *const[]){"estimate PIPELINE [--PARAM VALUE]... [options]",
                                   "estimate --input FILE --prompt TEXT [options]",
                                   "estimate REQUESTS.jsonl [options]", NULL},
    .details =
        "Reads all records and makes every request. Costs are upper bounds: every answer "
        "as long as max_tokens allows. Tokens are estimated from bytes, a little high. Batches "
        "are cut to the queue's limit that the ledger has learned, where it has.",
    .options = options,
    .pipeline = true,
    .max_words = 1,
    .run = run_estimate,
};
