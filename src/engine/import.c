/* SPDX-License-Identifier: MIT */
#include "engine/import.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/json_out.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/retry.h"
#include "engine/fetch.h"
#include "pipeline/chain.h"

#define OPTIONS_MAX (1024 * 1024)
#define COPY_BLOCK  (256 * 1024)

struct importing {
    struct op_engine *engine;
    struct op_import *import;
    struct op_lane *lane;
    struct op_buf text; /* the job's "import" option */
    struct op_json_out out;
};

static bool is_file(const char *word)
{
    struct stat st;
    return stat(word, &st) == 0 && S_ISREG(st.st_mode);
}

static bool has_ids(const struct op_import *import)
{
    for (size_t i = 0; i < import->word_count; i++) {
        if (!is_file(import->words[i]))
            return true;
    }
    return false;
}

static enum op_rc choose_lane(struct importing *in, struct op_err *err)
{
    const struct op_job_request *request = &in->import->request;
    OP_CLEANUP(op_definition_release) struct op_definition def = {0};
    OP_CLEANUP(op_params_release) struct op_params params = {0};
    OP_CLEANUP(op_chain_release) struct op_chain chain = {0};
    enum op_rc rc = op_definition_parse(in->engine->env, request->bundle, &def, err);
    if (!rc)
        rc = op_params_resolve(&def, request->given, request->cwd, &params, err);
    if (!rc)
        rc = op_chain_read(&def, &params, request->provider, request->model, &chain, err);
    if (!rc && chain.count > 1)
        rc = op_fail(err, OP_INVAL,
                     "what is imported was bought at one provider: name it with --provider");
    for (size_t i = 1; !rc && i < def.request_count; i++)
        if (op_chain_provider(&chain, 0, i) != op_chain_provider(&chain, 0, 0))
            rc = op_fail(err, OP_INVAL,
                         "%s: its requests go to several providers, and a result does not tell "
                         "whose it is: import into a pipeline of one",
                         def.file);
    return rc ? rc
              : op_engine_lane(in->engine, op_chain_provider(&chain, 0, 0),
                               in->engine->options.emulator_url != NULL, has_ids(in->import),
                               &in->lane, err);
}

/* --- what is known already ------------------------------------------------------------------ */

/* The job that has imported all of these batches; 0: none of them is in the ledger. */
static enum op_rc find_known(struct importing *in, int64_t *ret_job, struct op_err *err)
{
    struct op_ledger *ledger = in->engine->ledger;
    size_t known = 0;
    for (size_t i = 0; i < in->import->word_count; i++) {
        const char *word = in->import->words[i];
        int64_t id = 0;
        if (is_file(word))
            continue;
        enum op_rc rc = op_ledger_batch_find(ledger, word, &id, err);
        if (rc == OP_NOTFOUND && !err->rc)
            continue;
        OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
        OP_CLEANUP(op_job_release) struct op_job job = {0};
        if (!rc)
            rc = op_ledger_batch_get(ledger, id, &batch, err);
        if (!rc)
            rc = op_ledger_job_get(ledger, batch.job_id, &job, err);
        if (rc)
            return rc;
        if (!op_job_is_imported(&job) || (*ret_job && *ret_job != job.id))
            return op_fail(err, OP_CONFLICT, "%s is batch-%lld of job-%lld already", word,
                           (long long)id, (long long)job.id);
        *ret_job = job.id;
        known++;
    }
    if (known && known != in->import->word_count)
        return op_fail(err, OP_CONFLICT,
                       "%zu of these %zu were imported as job-%lld; import the others alone",
                       known, in->import->word_count, (long long)*ret_job);
    return OP_OK;
}

/* --- bringing the bytes in ------------------------------------------------------------------ */

static void write_file(struct op_json_out *out, const char *file, int64_t bytes,
                       const char *sha256)
{
    op_json_out_object(out);
    op_json_out_kv_text(out, "file", file);
    op_json_out_kv_int(out, "bytes", bytes);
    op_json_out_kv_text(out, "sha256", sha256);
    op_json_out_end_object(out);
}

static enum op_rc copy_bytes(struct op_env *env, const char *path, struct op_writer *to,
                             struct op_err *err)
{
    int fd = env->ops->open(env, path, O_RDONLY, 0);
    if (fd < 0)
        return op_fail(err, OP_IO, "cannot open %s: %s", path, strerror(-fd));
    OP_CLEANUP(op_mem_freep) char *block = op_mem_alloc(COPY_BLOCK);
    enum op_rc rc = OP_OK;
    int64_t at = 0;
    for (ssize_t n = 1; !rc && n > 0; at += n) {
        n = env->ops->pread(env, fd, block, COPY_BLOCK, at);
        if (n < 0)
            rc = op_fail(err, OP_IO, "cannot read %s: %s", path, strerror((int)-n));
        else if (n > 0)
            rc = op_writer_add(to, block, (size_t)n, err);
    }
    (void)env->ops->close(env, fd);
    return rc;
}

/* A copy of the user's file, under a name that its content gives: the same one twice is one. */
static enum op_rc keep_file(struct importing *in, const char *path, const char *prefix,
                            struct op_err *err)
{
    struct op_engine *engine = in->engine;
    struct op_spool_file file = {0};
    OP_CLEANUP(op_mem_freep) char *name = NULL;
    char sha256[65];
    int64_t bytes = 0;
    enum op_rc rc = op_spool_begin(engine->spool, "result", &file, err);
    if (rc)
        return rc;
    rc = copy_bytes(engine->env, path, &file.writer, err);
    if (!rc)
        rc =
            op_spool_commit(engine->spool, &file, prefix, ".jsonl", &name, sha256, &bytes, err);
    op_spool_abort(engine->spool, &file);
    if (!rc)
        write_file(&in->out, name, bytes, sha256);
    return rc;
}

static enum op_rc ask(struct importing *in, const char *id, struct op_remote_batch *ret,
                      struct op_err *err)
{
    const struct op_provider_ops *provider = in->lane->provider;
    struct op_exchange x = {0};
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    enum op_rc rc = provider->get(in->lane, id, &x, err);
    if (!rc)
        rc = op_lane_exchange(in->engine, in->lane, &x, NULL, NULL, &reply, err);
    if (!rc)
        rc = provider->decode_batch(&reply, ret, err);
    op_http_reply_release(&reply);
    op_exchange_release(&x);
    return rc;
}

/* Asks until the batch has ended; *ret_ended false: not now, and nothing more is to be waited
 * for. */
static enum op_rc wait_end(struct importing *in, const char *id, struct op_remote_batch *remote,
                           bool *ret_ended, struct op_err *err)
{
    struct op_engine *engine = in->engine;
    int tries = 0;
    for (;;) {
        struct op_err why = OP_ERR_INIT;
        *remote = (struct op_remote_batch){0};
        enum op_rc rc = ask(in, id, remote, &why);
        bool later =
            rc == OP_REMOTE && (why.disp == OP_DISP_RETRY || why.disp == OP_DISP_RETRY_AFTER ||
                                why.disp == OP_DISP_AMBIGUOUS);
        if (rc && !later) {
            *err = why;
            return op_err_wrap(err, "%s", id);
        }
        if (!rc && remote->state == OP_REMOTE_FAILED)
            return op_fail(err, OP_REMOTE, "%s failed at the provider: %s", id,
                           remote->failure);
        *ret_ended = !rc && remote->state == OP_REMOTE_ENDED;
        if (*ret_ended || in->import->no_wait)
            return OP_OK;
        int64_t now = op_engine_now(engine);
        int64_t wait =
            later ? op_retry_delay_ms(++tries, -1, op_engine_random32(engine))
                  : op_poll_delay_ms(now - remote->created_ms, -1, engine->options.poll_ms);
        if (in->import->deadline_ms && now + wait > in->import->deadline_ms)
            return OP_OK;
        if (op_engine_stopped(engine))
            return op_fail(err, OP_STOPPED, "stopped while waiting for %s", id);
        engine->env->ops->sleep_ms(engine->env, wait);
    }
}

static enum op_rc keep_batch(struct importing *in, const struct op_remote_batch *remote,
                             struct op_err *err)
{
    struct op_parts parts = {0};
    char prefix[OP_PROVIDER_ID_MAX + 16];
    snprintf(prefix, sizeof(prefix), "import-%s", remote->id);
    for (char *c = prefix; *c; c++)
        *c = isalnum((unsigned char)*c) ? *c : '-';
    enum op_rc rc = op_parts_fetch(in->engine, in->lane, remote, prefix, 0, &parts, err);
    if (!rc && !parts.count)
        rc = op_fail(err, OP_NOTFOUND, "%s has no results (any more)", remote->id);
    for (size_t i = 0; !rc && i < parts.count; i++)
        write_file(&in->out, parts.files[i].file, parts.files[i].bytes, parts.files[i].sha256);
    op_parts_release(&parts);
    return rc;
}

static enum op_rc bring_in(struct importing *in, const char *word, struct op_err *err)
{
    struct op_remote_batch remote = {0};
    bool file = is_file(word), ended = true;
    enum op_rc rc = OP_OK;
    if (!file && !op_provider_id_ok(op_str_from(word)))
        return op_fail(err, OP_NOTFOUND, "'%.100s' is neither a file nor a batch's id", word);
    if (!file)
        rc = wait_end(in, word, &remote, &ended, err);
    if (rc || !ended) {
        snprintf(in->import->waits_for, sizeof(in->import->waits_for), "%s", word);
        return rc;
    }
    op_json_out_object(&in->out);
    op_json_out_kv_text(&in->out, "provider_id", file ? "" : remote.id);
    if (!file && remote.created_ms >= 0)
        op_json_out_kv_int(&in->out, "created_ms", remote.created_ms);
    if (!file && remote.ended_ms >= 0)
        op_json_out_kv_int(&in->out, "ended_ms", remote.ended_ms);
    op_json_out_name(&in->out, "files");
    op_json_out_array(&in->out);
    rc = file ? keep_file(in, word, "import-file", err) : keep_batch(in, &remote, err);
    op_json_out_end_array(&in->out);
    op_json_out_end_object(&in->out);
    return rc;
}

static enum op_rc bring_all(struct importing *in, struct op_err *err)
{
    struct op_import *import = in->import;
    enum op_rc rc = OP_OK;
    op_json_out_init(&in->out, &in->text, 0);
    op_json_out_object(&in->out);
    op_json_out_name(&in->out, "sources");
    op_json_out_array(&in->out);
    for (size_t i = 0; !rc && !import->waits_for[0] && i < import->word_count; i++)
        rc = bring_in(in, import->words[i], err);
    op_json_out_end_array(&in->out);
    op_json_out_name(&in->out, "map");
    if (!rc && !import->waits_for[0] && import->map)
        rc = keep_file(in, import->map, "import-map", err);
    else
        op_json_out_null(&in->out);
    op_json_out_end_object(&in->out);
    return rc ? rc : op_buf_finish(&in->text, "the list of imported files", err);
}

enum op_rc op_engine_import(struct op_engine *engine, struct op_import *import,
                            struct op_err *err)
{
    struct importing in = {.engine = engine, .import = import};
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    int64_t known = 0;
    enum op_rc rc = choose_lane(&in, err);
    if (!rc)
        rc = find_known(&in, &known, err);
    if (!rc && known) {
        import->job = known;
        import->is_known = true;
        return OP_OK;
    }
    op_buf_init(&in.text, OPTIONS_MAX);
    if (!rc)
        rc = bring_all(&in, err);
    text = in.text;
    if (rc || import->waits_for[0])
        return rc;
    import->request.import = text.ptr;
    import->request.no_cache = true;
    return op_engine_job(engine, &import->request, &import->job, &import->is_known, err);
}
