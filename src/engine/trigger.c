/* SPDX-License-Identifier: MIT */
#include "engine/trigger.h"

#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "engine/work.h"
#include "pipeline/fire.h"

/* Wanted at once: those that others claim meanwhile were wanted in vain. */
#define WANTED_AT_ONCE 16
#define CANDIDATES_MAX 10000
#define EVERY_S        10
#define OPEN_JOBS_MOST 100
/* What was given back is not taken again so soon, or two workers would play ball with it. */
#define GIVEN_BACK_MS  (5 * OP_MINUTE_MS)
#define AGAIN_MOST_MS  (10 * OP_MINUTE_MS)
#define DEFINITION_MAX (64 * 1024 * 1024)
#define MEMORY_MAX     (16 * 1024 * 1024)
#define MESSAGE_MAX    1000

struct open_claim {
    struct op_claim row;
    bool look; /* its job has taken a step since the last report */
    int64_t due_ms, tries;
};

struct op_watch {
    struct op_engine *engine;
    struct op_bundle bundle;
    struct op_definition def;
    struct op_params params; /* the pattern's */
    struct op_job_request pattern;
    const char **given;
    char *source;
    struct op_trigger *trigger;
    struct op_fire *fire;
    int64_t every_ms, most, due_ms, failures;
    bool hungry; /* the last look had more than was taken */
    struct open_claim **claims;
    size_t count;
    struct given_back {
        char *key;
        int64_t until_ms;
    } * back;
    size_t back_count;
    struct op_arena arena;
    struct op_watch *next;
};

/* --- watching ----------------------------------------------------------------------------- */

static void claim_free(struct open_claim *claim)
{
    op_claim_release(&claim->row);
    op_mem_free(claim);
}

static void watch_free(struct op_watch *w)
{
    if (w->trigger)
        w->trigger->ops->close(w->trigger);
    op_fire_close(w->fire);
    for (size_t i = 0; i < w->count; i++)
        claim_free(w->claims[i]);
    for (size_t i = 0; i < w->back_count; i++)
        op_mem_free(w->back[i].key);
    op_mem_free(w->back);
    op_mem_free(w->claims);
    op_mem_free(w->source);
    op_arena_release(&w->arena);
    op_params_release(&w->params);
    op_definition_release(&w->def);
    op_bundle_release(&w->bundle);
    op_mem_free(w);
}

void op_engine_watches_free(struct op_engine *engine)
{
    while (engine->watches) {
        struct op_watch *next = engine->watches->next;
        watch_free(engine->watches);
        engine->watches = next;
    }
}

static const char *dup_or_null(struct op_arena *arena, const char *text)
{
    return text ? op_arena_strdup(arena, op_str_from(text)) : NULL;
}

static void keep_pattern(struct op_watch *w, const struct op_job_request *pattern)
{
    w->pattern = *pattern;
    w->pattern.bundle = NULL;
    w->pattern.cwd = dup_or_null(&w->arena, pattern->cwd);
    w->pattern.provider = dup_or_null(&w->arena, pattern->provider);
    w->pattern.model = dup_or_null(&w->arena, pattern->model);
    w->pattern.mode = dup_or_null(&w->arena, pattern->mode);
    w->pattern.tier = dup_or_null(&w->arena, pattern->tier);
    w->given = op_arena_array(&w->arena, w->def.param_count + 1, sizeof(*w->given));
    for (size_t i = 0; pattern->given && i < w->def.param_count; i++)
        w->given[i] = dup_or_null(&w->arena, pattern->given[i]);
}

/* The params that are known before a job is: those given and defaults, as far as they go. */
static void known_params(struct op_watch *w)
{
    struct op_err ignored = OP_ERR_INIT;
    struct op_arena *arena = &w->params.arena;
    if (!op_params_resolve(&w->def, w->given, w->pattern.cwd ? w->pattern.cwd : "/", &w->params,
                           &ignored))
        return;
    op_params_release(&w->params);
    w->params.count = w->def.param_count;
    w->params.names = op_arena_array(arena, w->def.param_count + 1, sizeof(*w->params.names));
    w->params.values = op_arena_array(arena, w->def.param_count + 1, sizeof(*w->params.values));
    for (size_t i = 0; i < w->def.param_count; i++) {
        const char *text = w->given[i] ? w->given[i] : w->def.params[i].fallback;
        w->params.names[i] = w->def.params[i].name;
        if (text && !strstr(text, "{{"))
            w->params.values[i] =
                (struct op_value){.type = OP_VALUE_TEXT, .s = op_str_from(text)};
    }
}

static enum op_rc render_count(struct op_watch *w, const char *text, const char *name,
                               int64_t fallback, int64_t *ret, struct op_err *err)
{
    *ret = fallback;
    if (!text)
        return OP_OK;
    OP_CLEANUP(op_mem_freep) char *value = NULL;
    enum op_rc rc = op_params_render(&w->params, text, w->def.trigger.place, &value, err);
    if (!rc && (!op_str_int64(op_str_from(value), ret) || *ret < 1))
        rc = op_fail(err, OP_INVAL, "%s: '%s' must be a whole number above 0, not '%.80s'",
                     w->def.trigger.place, name, value);
    return rc;
}

static enum op_rc open_trigger(struct op_watch *w, struct op_err *err)
{
    const struct op_trigger_def *def = &w->def.trigger;
    OP_CLEANUP(op_mem_freep) char *target = NULL;
    enum op_rc rc = op_params_render(&w->params, def->target, def->place, &target, err);
    struct op_trigger_option *options =
        op_arena_array(&w->params.arena, def->option_count + 1, sizeof(*options));
    for (size_t i = 0; !rc && i < def->option_count; i++) {
        OP_CLEANUP(op_mem_freep) char *value = NULL;
        rc = op_params_render(&w->params, def->options[i].value, def->place, &value, err);
        if (!rc)
            options[i] = (struct op_trigger_option){
                def->options[i].name, op_arena_strdup(&w->params.arena, op_str_from(value))};
    }
    if (rc)
        return rc;
    struct op_trigger_config config = {
        .env = w->engine->env,
        .target = target,
        .options = options,
        .option_count = def->option_count,
        .place = def->place,
        .worker = op_ledger_uuid(w->engine->ledger),
    };
    w->source = op_mem_printf("%s\n%s:%s", w->def.name, def->ops->kind, target);
    rc = def->ops->open(&config, &w->trigger, err);
    int64_t every = EVERY_S;
    if (!rc)
        rc = render_count(w, def->every, "every", EVERY_S, &every, err);
    if (!rc)
        rc = render_count(w, def->most, "most", OPEN_JOBS_MOST, &w->most, err);
    w->every_ms = every * OP_SECOND_MS;
    return rc ? rc : op_fire_open(&w->def, &w->fire, err);
}

static struct open_claim *add_open(struct op_watch *w, const struct op_claim *row)
{
    struct open_claim *claim = op_mem_alloc(sizeof(*claim));
    claim->row = *row;
    claim->row.source = op_mem_strdup(row->source);
    claim->row.key = op_mem_strdup(row->key);
    claim->row.params = op_mem_strdup(row->params);
    claim->row.memory = op_mem_strdup(row->memory);
    claim->row.why = op_mem_strdup(row->why ? row->why : "");
    claim->look = true;
    w->claims = op_mem_realloc(w->claims, (w->count + 1) * sizeof(*w->claims));
    w->claims[w->count++] = claim;
    return claim;
}

static enum op_rc see_claim(void *arg, const struct op_claim *row, struct op_err *err)
{
    struct op_watch *w = arg;
    (void)err;
    if (strcmp(row->source, w->source) == 0)
        (void)add_open(w, row);
    return OP_OK;
}

enum op_rc op_engine_watch(struct op_engine *engine, const struct op_job_request *pattern,
                           struct op_err *err)
{
    struct op_watch *w = op_mem_alloc(sizeof(*w));
    w->engine = engine;
    w->bundle = *pattern->bundle;
    *pattern->bundle = (struct op_bundle){0};
    enum op_rc rc = op_definition_parse(engine->env, &w->bundle, &w->def, err);
    if (!rc && !w->def.trigger.ops)
        rc = op_fail(err, OP_INVAL, "%s has no trigger%s: nothing of it starts by itself",
                     w->def.file,
                     w->bundle.profile[0]   ? " in this profile"
                     : w->def.profile_count ? " here; perhaps one of its profiles has "
                                              "(--profile)"
                                            : "");
    if (!rc) {
        keep_pattern(w, pattern);
        known_params(w);
        rc = open_trigger(w, err);
    }
    if (!rc)
        rc = op_ledger_claims(engine->ledger, true, see_claim, w, err);
    if (rc) {
        watch_free(w);
        return rc;
    }
    struct op_watch **at = &engine->watches;
    while (*at)
        at = &(*at)->next;
    *at = w;
    return OP_OK;
}

void op_engine_watches_each(struct op_engine *engine,
                            void (*fn)(void *arg, const struct op_definition *def,
                                       const struct op_params *params),
                            void *arg)
{
    for (const struct op_watch *w = engine->watches; w; w = w->next)
        fn(arg, &w->def, &w->params);
}

size_t op_engine_watched(const struct op_engine *engine)
{
    size_t count = 0;
    for (const struct op_watch *w = engine->watches; w; w = w->next)
        count++;
    return count;
}

void op_engine_look_now(struct op_engine *engine)
{
    for (struct op_watch *w = engine->watches; w; w = w->next)
        w->due_ms = 0;
}

void op_engine_trigger_see(struct op_engine *engine, int64_t job)
{
    for (struct op_watch *w = engine->watches; w; w = w->next)
        for (size_t i = 0; i < w->count; i++)
            w->claims[i]->look |= w->claims[i]->row.job_id == job;
}

static enum op_rc count_claim(void *arg, const struct op_claim *row, struct op_err *err)
{
    (void)row;
    (void)err;
    ++*(int64_t *)arg;
    return OP_OK;
}

enum op_rc op_engine_claims_open(struct op_engine *engine, int64_t *ret_count,
                                 struct op_err *err)
{
    *ret_count = 0;
    return op_ledger_claims(engine->ledger, true, count_claim, ret_count, err);
}

/* --- a claim's moves ---------------------------------------------------------------------- */

static void set_text(char **at, const char *text)
{
    char *copy = op_mem_strdup(text);
    op_mem_free(*at);
    *at = copy;
}

static enum op_rc save(struct op_watch *w, struct open_claim *claim, enum op_claim_state from,
                       struct op_err *err)
{
    return op_ledger_claim_save(w->engine->ledger, &claim->row, from, err);
}

/* It is over; claim is gone afterwards. */
static enum op_rc close_claim(struct op_watch *w, struct open_claim *claim, const char *why,
                              struct op_err *err)
{
    enum op_claim_state from = claim->row.state;
    claim->row.state = OP_CLAIM_CLOSED;
    set_text(&claim->row.why, why);
    enum op_rc rc = save(w, claim, from, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < w->count; i++) {
        if (w->claims[i] == claim) {
            memmove(&w->claims[i], &w->claims[i + 1], (w->count - i - 1) * sizeof(*w->claims));
            w->count--;
            break;
        }
    }
    claim_free(claim);
    return OP_OK;
}

/* What the kind has answered: later, not ours any more, or an error to be told. */
static enum op_rc put_off(struct op_watch *w, struct open_claim *claim,
                          const struct op_err *why, struct op_err *err)
{
    if (why->rc == OP_CONFLICT) {
        op_log(OP_EVENT_NOTE, OP_T("trigger", w->def.name), OP_T("key", claim->row.key),
               OP_F("job", claim->row.job_id), OP_T("lost", why->msg));
        return close_claim(w, claim, why->msg, err);
    }
    if (why->rc != OP_REMOTE && why->rc != OP_INVAL) {
        *err = *why;
        return err->rc;
    }
    op_log(OP_EVENT_NOTE, OP_T("trigger", w->def.name), OP_T("key", claim->row.key),
           OP_T("problem", why->msg));
    int64_t pause = OP_SECOND_MS << (claim->tries < 10 ? claim->tries : 10);
    claim->tries++;
    claim->due_ms = op_engine_now(w->engine) + (pause < AGAIN_MOST_MS ? pause : AGAIN_MOST_MS);
    return OP_OK;
}

static enum op_rc tell(struct op_watch *w, struct open_claim *claim,
                       const struct op_trigger_report *report, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf memory;
    op_buf_init(&memory, MEMORY_MAX);
    op_buf_addz(&memory, claim->row.memory);
    OP_FAULT(w->engine, "trigger.told.before");
    enum op_rc rc = w->trigger->ops->report(w->trigger, claim->row.key, report, &memory, err);
    if (rc)
        return rc;
    OP_FAULT(w->engine, "trigger.told.after");
    set_text(&claim->row.memory, memory.ptr);
    claim->row.phase = (int64_t)report->phase + 1;
    claim->tries = claim->due_ms = 0;
    return OP_OK;
}

static enum op_rc claim_outside(struct op_watch *w, struct open_claim *claim,
                                struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf memory;
    struct op_err why = OP_ERR_INIT;
    op_buf_init(&memory, MEMORY_MAX);
    op_buf_addz(&memory, claim->row.memory);
    enum op_rc rc = w->trigger->ops->claim(w->trigger, claim->row.key, &memory, &why);
    OP_FAULT(w->engine, "trigger.claimed");
    if (rc)
        return put_off(w, claim, &why, err);
    set_text(&claim->row.memory, memory.ptr);
    claim->row.state = OP_CLAIM_HELD;
    claim->tries = claim->due_ms = 0;
    return save(w, claim, OP_CLAIM_WANTED, err);
}

/* --- from a claim to a job ---------------------------------------------------------------- */

static void remember_back(struct op_watch *w, const char *key)
{
    w->back = op_mem_realloc(w->back, (w->back_count + 1) * sizeof(*w->back));
    w->back[w->back_count++] =
        (struct given_back){op_mem_strdup(key), op_engine_now(w->engine) + GIVEN_BACK_MS};
}

static bool was_given_back(struct op_watch *w, struct op_str key)
{
    int64_t now = op_engine_now(w->engine);
    size_t kept = 0;
    bool found = false;
    for (size_t i = 0; i < w->back_count; i++) {
        if (w->back[i].until_ms <= now) {
            op_mem_free(w->back[i].key);
            continue;
        }
        found |= op_str_is(key, w->back[i].key);
        w->back[kept++] = w->back[i];
    }
    w->back_count = kept;
    return found;
}

/* It becomes no job: for its own fault it has failed, for ours others may have it. */
static enum op_rc refuse(struct op_watch *w, struct open_claim *claim, bool ours,
                         const char *message, struct op_err *err)
{
    struct op_err why = OP_ERR_INIT;
    struct op_trigger_report report = {.phase = ours ? OP_TRIGGER_BACK : OP_TRIGGER_DONE,
                                       .job = "",
                                       .model = "",
                                       .message = message};
    if (tell(w, claim, &report, &why))
        return put_off(w, claim, &why, err);
    op_log(OP_EVENT_NOTE, OP_T("trigger", w->def.name), OP_T("key", claim->row.key),
           OP_T(ours ? "given_back" : "failed", message));
    if (ours)
        remember_back(w, claim->row.key);
    return close_claim(w, claim, message, err);
}

static void take_row(struct op_watch *w, struct op_json row, struct op_job_request *request,
                     const char **given, struct op_arena *arena)
{
    for (size_t i = 0; i < w->def.param_count; i++) {
        struct op_str text = op_json_str(op_json_get(row, w->def.params[i].name));
        given[i] = text.ptr ? op_arena_strdup(arena, text) : w->given[i];
    }
    struct op_str no_cache = op_json_str(op_json_get(row, "no_cache"));
    request->no_cache |= no_cache.ptr && !op_str_is(no_cache, "0") &&
                         !op_str_is(no_cache, "false") && no_cache.len > 0;
    request->given = given;
}

/* The params stand in the claim, so that it is the same job after a restart. */
static enum op_rc make_job(struct op_watch *w, struct open_claim *claim,
                           const struct op_job_request *request, int64_t *ret_job,
                           struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf text;
    OP_CLEANUP(op_bundle_release) struct op_bundle bundle = {0};
    struct op_job_request whole = *request;
    bool resumed = false;
    op_buf_init(&text, DEFINITION_MAX);
    op_bundle_write(&w->bundle, &text);
    enum op_rc rc = op_buf_finish(&text, "the pipeline", err);
    if (!rc)
        rc = op_bundle_read(op_buf_str(&text), &bundle, err);
    whole.bundle = &bundle;
    whole.claim = &claim->row;
    return rc ? rc : op_engine_job(w->engine, &whole, ret_job, &resumed, err);
}

static enum op_rc begin_job(struct op_watch *w, struct open_claim *claim, struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_arena_release) struct op_arena arena = {0};
    struct op_json row;
    enum op_rc rc =
        op_json_parse(parser, claim->row.params, strlen(claim->row.params), true, &row, err);
    if (rc)
        return op_err_wrap(err, "the ledger's params of a claim");
    struct op_str problem = op_json_str(op_json_get(row, "problem"));
    if (problem.len) {
        OP_CLEANUP(op_mem_freep) char *message = op_mem_strndup(problem.ptr, problem.len);
        return refuse(w, claim, false, message, err);
    }
    struct op_err why = OP_ERR_INIT;
    if (claim->row.phase == 0) {
        struct op_trigger_report bound = {
            .phase = OP_TRIGGER_BOUND, .job = "", .message = "", .model = ""};
        if (tell(w, claim, &bound, &why))
            return put_off(w, claim, &why, err);
        return save(w, claim, OP_CLAIM_HELD, err);
    }
    struct op_job_request request = w->pattern;
    const char **given = op_arena_array(&arena, w->def.param_count + 1, sizeof(*given));
    take_row(w, row, &request, given, &arena);
    int64_t job = 0;
    rc = make_job(w, claim, &request, &job, &why);
    if (!rc) {
        OP_FAULT(w->engine, "trigger.job");
        claim->row.state = OP_CLAIM_WORKING;
        claim->row.job_id = job;
        claim->look = true;
        op_log(OP_EVENT_NOTE, OP_T("trigger", w->def.name), OP_T("key", claim->row.key),
               OP_F("job", job));
        return OP_OK;
    }
    /* What is wrong with it fails; what this worker lacks (a key: lane.c) leaves it to others. */
    if (rc == OP_INVAL || rc == OP_NOTFOUND)
        return refuse(w, claim, why.disp == OP_DISP_PAUSE, why.msg, err);
    *err = why;
    return rc;
}

/* --- what became of its job ---------------------------------------------------------------- */

struct at_provider {
    const char *ids[256];
    size_t count;
    struct op_arena arena;
    char *model;
    bool waiting; /* a batch that is not there yet */
};

static enum op_rc see_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    struct at_provider *at = arg;
    (void)err;
    at->waiting |= batch->state == OP_BATCH_BUILT || batch->state == OP_BATCH_UPLOADED ||
                   batch->state == OP_BATCH_SENDING || batch->state == OP_BATCH_AMBIGUOUS;
    if (!at->model)
        at->model = op_arena_strdup(&at->arena, op_str_from(batch->model));
    if (batch->provider_id[0] && at->count < OP_COUNT(at->ids))
        at->ids[at->count++] = op_arena_strdup(&at->arena, op_str_from(batch->provider_id));
    return OP_OK;
}

static void final_report(const struct op_job *job, struct op_trigger_report *report,
                         char message[MESSAGE_MAX])
{
    const struct op_job_counts *c = &job->counts;
    report->phase = OP_TRIGGER_DONE;
    /* Nothing to ask because all is there already is a good end too. */
    report->ok = c->done > 0 || job->state == OP_JOB_DONE;
    message[0] = '\0';
    if (c->failed + c->canceled > 0)
        snprintf(message, MESSAGE_MAX, "%lld of %lld batch requests failed.",
                 (long long)(c->failed + c->canceled), (long long)c->requests);
    if (job->reason[0] && job->state != OP_JOB_PARTIAL)
        snprintf(message + strlen(message), MESSAGE_MAX - strlen(message), "%s%s",
                 message[0] ? " " : "", job->reason);
    report->message = message;
}

/* Tells what is new about the job; nothing when nothing is. */
static enum op_rc follow_job(struct op_watch *w, struct open_claim *claim, bool *ret_worked,
                             struct op_err *err)
{
    struct op_engine *engine = w->engine;
    OP_CLEANUP(op_job_release) struct op_job job = {0};
    struct at_provider at = {0};
    char name[32], message[MESSAGE_MAX] = "";
    struct op_batch_filter filter = {.job_id = claim->row.job_id};
    enum op_rc rc = op_ledger_job_get(engine->ledger, claim->row.job_id, &job, err);
    if (!rc)
        rc = op_ledger_batches(engine->ledger, &filter, see_batch, &at, err);
    bool final = !rc && op_job_is_final(job.state);
    bool sent = !rc && job.state == OP_JOB_RUNNING && at.count > 0 && !at.waiting &&
                claim->row.phase <= OP_TRIGGER_BOUND + 1;
    if (rc || (!final && !sent)) {
        op_arena_release(&at.arena);
        claim->look = false;
        return rc;
    }
    *ret_worked = true;
    snprintf(name, sizeof(name), "job-%lld", (long long)job.id);
    const struct op_job_counts *c = &job.counts;
    struct op_trigger_report report = {.phase = OP_TRIGGER_SENT,
                                       .job = name,
                                       .message = message,
                                       .model = at.model ? at.model : "",
                                       .batch_ids = at.ids,
                                       .batch_count = at.count,
                                       .requests = c->requests,
                                       .done = c->done,
                                       .failed = c->failed,
                                       .canceled = c->canceled,
                                       .reused = c->reused,
                                       .microusd = c->spent_microusd};
    if (final)
        final_report(&job, &report, message);
    struct op_err why = OP_ERR_INIT;
    if (tell(w, claim, &report, &why))
        rc = put_off(w, claim, &why, err);
    else if (final)
        rc = close_claim(w, claim, message, err);
    else
        rc = save(w, claim, OP_CLAIM_WORKING, err);
    op_arena_release(&at.arena);
    return rc;
}

/* --- looking ------------------------------------------------------------------------------ */

static struct open_claim *find_open(struct op_watch *w, struct op_str key)
{
    for (size_t i = 0; i < w->count; i++)
        if (op_str_is(key, w->claims[i]->row.key))
            return w->claims[i];
    return NULL;
}

static enum op_rc want(struct op_watch *w, const struct op_fire_row *row, struct op_err *err)
{
    struct open_claim *old = find_open(w, row->key);
    /* It was set back by a person while we were at it: from now on it is another claim, and the job
     * that is under way is the same. */
    if (old && old->row.state != OP_CLAIM_WORKING)
        return OP_OK;
    enum op_rc rc = old ? close_claim(w, old, "it was queued again", err) : OP_OK;
    if (rc)
        return rc;
    char why[] = "";
    OP_CLEANUP(op_mem_freep) char *key = op_mem_strndup(row->key.ptr, row->key.len);
    OP_CLEANUP(op_mem_freep) char *memory = op_mem_strndup(row->memory.ptr, row->memory.len);
    OP_CLEANUP(op_mem_freep) char *params = op_mem_strndup(row->params.ptr, row->params.len);
    struct op_claim claim = {.source = w->source,
                             .key = key,
                             .state = OP_CLAIM_WANTED,
                             .params = params,
                             .memory = memory,
                             .why = why,
                             .created_ms = op_engine_now(w->engine)};
    rc = op_ledger_claim_add(w->engine->ledger, &claim, err);
    if (!rc)
        (void)add_open(w, &claim);
    return rc;
}

static enum op_rc read_candidates(struct op_watch *w, struct op_err *err)
{
    const struct op_value *cells = NULL;
    enum op_rc rc = op_fire_begin(w->fire, err);
    if (!rc)
        rc = w->trigger->ops->look(w->trigger, err);
    for (int64_t n = 0; !rc && n < CANDIDATES_MAX; n++) {
        rc = w->trigger->ops->next(w->trigger, &cells, err);
        if (!rc)
            rc = op_fire_add(w->fire, cells, err);
    }
    return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
}

/* Durability point: what is wanted is in the ledger before anything is claimed outside. */
static enum op_rc want_some(struct op_watch *w, size_t *ret_count, struct op_err *err)
{
    struct op_ledger *ledger = w->engine->ledger;
    struct op_fire_row row;
    enum op_rc rc = op_ledger_begin(ledger, err);
    w->hungry = false;
    while (!rc) {
        rc = op_fire_next(w->fire, &row, err);
        if (rc || was_given_back(w, row.key))
            continue;
        w->hungry = *ret_count >= WANTED_AT_ONCE;
        if (w->hungry || (int64_t)w->count >= w->most)
            break;
        size_t before = w->count;
        rc = want(w, &row, err);
        *ret_count += w->count - before;
    }
    op_fire_reset(w->fire);
    rc = rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
    if (!rc)
        rc = op_ledger_commit(ledger, err);
    if (rc)
        op_ledger_rollback(ledger);
    return rc;
}

static enum op_rc look(struct op_watch *w, bool *ret_worked, struct op_err *err)
{
    struct op_err why = OP_ERR_INIT;
    size_t wanted = 0;
    int64_t now = op_engine_now(w->engine);
    enum op_rc rc = read_candidates(w, &why);
    if (!rc)
        rc = want_some(w, &wanted, &why);
    if (!rc) {
        w->failures = 0;
        w->due_ms = w->hungry ? now : now + w->every_ms;
        *ret_worked = wanted > 0;
        return OP_OK;
    }
    if (rc != OP_REMOTE && rc != OP_INVAL && rc != OP_NOTFOUND) {
        *err = why;
        return rc;
    }
    op_log(OP_EVENT_NOTE, OP_T("trigger", w->def.name), OP_T("problem", why.msg));
    int64_t pause = w->every_ms << (w->failures < 6 ? w->failures : 6);
    w->failures++;
    w->due_ms = now + (pause < AGAIN_MOST_MS ? pause : AGAIN_MOST_MS);
    return OP_OK;
}

static enum op_rc step_claims(struct op_watch *w, bool *ret_worked, struct op_err *err)
{
    int64_t now = op_engine_now(w->engine);
    for (size_t i = 0; i < w->count; i++) {
        struct open_claim *claim = w->claims[i];
        if (claim->due_ms > now) {
            op_engine_due(w->engine, claim->due_ms);
            continue;
        }
        if (claim->row.state == OP_CLAIM_WORKING && !claim->look)
            continue;
        *ret_worked = claim->row.state != OP_CLAIM_WORKING;
        enum op_rc rc = claim->row.state == OP_CLAIM_WANTED ? claim_outside(w, claim, err)
                        : claim->row.state == OP_CLAIM_HELD
                            ? begin_job(w, claim, err)
                            : follow_job(w, claim, ret_worked, err);
        if (rc || *ret_worked)
            return rc;
    }
    return OP_OK;
}

enum op_rc op_engine_trigger_step(struct op_engine *engine, bool *ret_worked,
                                  struct op_err *err)
{
    for (struct op_watch *w = engine->watches; w && !*ret_worked; w = w->next) {
        enum op_rc rc = step_claims(w, ret_worked, err);
        bool full = (int64_t)w->count >= w->most;
        if (!rc && !*ret_worked && !full && w->due_ms <= op_engine_now(engine))
            rc = look(w, ret_worked, err);
        if (rc)
            return rc;
        if (!full)
            op_engine_due(engine, w->due_ms);
    }
    return OP_OK;
}
