/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_WORK_H
#define OP_CLI_WORK_H

/*
 * Model:     the jobs that fetch, cancel and recover look after.
 * Ownership: the list owns its array.
 * Threads:   one.
 */

#include "cli/session.h"

struct op_job_list {
    int64_t *ids;
    size_t count;
    bool all; /* every open job: worked on together */
};

/* The jobs of the ids given, each once, in that order; with all, every open job, oldest first.
 * */
OP_MUST_CHECK enum op_rc op_job_list_read(struct op_session *session, bool all,
                                          struct op_job_list *ret, struct op_err *err);
void op_job_list_release(struct op_job_list *list);
/* Works on them with a live line. */
OP_MUST_CHECK enum op_rc op_job_list_work(struct op_session *session,
                                          const struct op_job_list *list, enum op_until until,
                                          struct op_err *err);
bool op_job_list_all_in(struct op_session *session, const struct op_job_list *list,
                        enum op_job_state state);

#endif
