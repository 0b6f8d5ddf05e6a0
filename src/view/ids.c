/* SPDX-License-Identifier: MIT */
#include "view/ids.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"

bool op_id_number(const char *text, const char *prefix, int64_t *ret)
{
    size_t len = strlen(prefix);
    return strncmp(text, prefix, len) == 0 && text[len] >= '1' && text[len] <= '9' &&
           op_str_int64(op_str_from(text + len), ret);
}

enum op_rc op_id_find(struct op_ledger *ledger, const char *text, int64_t *ret_job,
                      int64_t *ret_batch, struct op_err *err)
{
    int64_t id = 0;
    if (op_id_number(text, "job-", &id)) {
        OP_CLEANUP(op_job_release) struct op_job job = {0};
        struct op_err cause = OP_ERR_INIT;
        enum op_rc rc = op_ledger_job_get(ledger, id, &job, &cause);
        if (rc == OP_NOTFOUND)
            return op_fail(err, OP_NOTFOUND, "there is no %s; `offpeak list` shows the jobs",
                           text);
        if (rc)
            return op_fail(err, rc, "%s", cause.msg);
        *ret_job = id;
        *ret_batch = 0;
        return OP_OK;
    }
    if (!op_id_number(text, "batch-", &id)) {
        enum op_rc rc = op_ledger_batch_find(ledger, text, &id, err);
        if (rc == OP_NOTFOUND && !err->rc)
            return op_fail(err, OP_NOTFOUND,
                           "'%.100s' is neither a job (job-3) nor a batch (batch-7) nor a "
                           "provider's batch id in this ledger; `offpeak list --batches` shows "
                           "them all",
                           text);
        if (rc)
            return rc;
    }
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    struct op_err cause = OP_ERR_INIT;
    enum op_rc rc = op_ledger_batch_get(ledger, id, &batch, &cause);
    if (rc == OP_NOTFOUND)
        return op_fail(err, OP_NOTFOUND,
                       "there is no %s; `offpeak list --batches` shows the batches", text);
    if (rc)
        return op_fail(err, rc, "%s", cause.msg);
    *ret_job = batch.job_id;
    *ret_batch = batch.id;
    return OP_OK;
}

/* --- records ------------------------------------------------------------------------------ */

struct search {
    struct op_ledger *ledger;
    struct op_str key;
    int64_t only; /* 0 any */
    int64_t job, record;
};

static enum op_rc see_job(void *arg, const struct op_job *job, struct op_err *err)
{
    struct search *s = arg;
    if (s->record || (s->only && s->only != job->id))
        return OP_OK;
    int64_t id = 0;
    struct op_err missing = OP_ERR_INIT;
    enum op_rc rc = op_ledger_record_find(s->ledger, job->id, s->key, &id, &missing);
    if (rc == OP_NOTFOUND)
        return OP_OK;
    if (rc)
        return op_fail(err, rc, "%s", missing.msg);
    s->job = job->id;
    s->record = id;
    return OP_OK;
}

enum op_rc op_record_find(struct op_ledger *ledger, int64_t only, struct op_str key,
                          int64_t *ret_job, int64_t *ret_record, struct op_err *err)
{
    struct search s = {.ledger = ledger, .key = key, .only = only};
    enum op_rc rc = op_ledger_jobs(ledger, false, see_job, &s, err);
    if (rc)
        return rc;
    *ret_job = s.job;
    *ret_record = s.record;
    return OP_OK;
}
