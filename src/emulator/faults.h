/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_FAULTS_H
#define OP_EMULATOR_FAULTS_H

/*
 * Model:     a faults file holds one JSON rule a line: when ("on" an operation, the "nth" one,
 *            every "every"-th, "from" the n-th on, with a "probability", at most "times" times, only
 *            where "match" occurs) and what ("do" an action, with its parameters). Without any of
 *            nth, every, from and probability a rule always fires. Rules count for themselves, from
 *            the start of the emulator. All that fire apply; of two that exclude each other the
 *            first in the file. Empty lines and lines that begin with # are skipped.
 *            Operations: create get list results cancel delete messages count models start upload
 *            files, or "any"; messages is any realtime request of any provider.
 *            "match" is looked for in the batch id, in the custom_id and text of a line, or in the
 *            body of a realtime request.
 * Errors:    OP_INVAL with file and line.
 * Threads:   any.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "base/str.h"

/* X(OPERATION, "name") */
#define OP_EMU_OPERATIONS(X) \
    X(CREATE, "create")      \
    X(GET, "get")            \
    X(LIST, "list")          \
    X(RESULTS, "results")    \
    X(CANCEL, "cancel")      \
    X(DELETE, "delete")      \
    X(MESSAGES, "messages")  \
    X(COUNT, "count")        \
    X(MODELS, "models")      \
    X(START, "start")        \
    X(UPLOAD, "upload")      \
    X(FILES, "files")

#define OP_EMU_OPERATION_ENUM(op, name) OP_EMU_ON_##op,
enum op_emu_operation { OP_EMU_OPERATIONS(OP_EMU_OPERATION_ENUM) OP_EMU_ON_COUNT_ };
#undef OP_EMU_OPERATION_ENUM

/*
 * X(ACTION, "name", CLASS): what can be done, and (after the name) with which parameters.
 *
 * BEFORE: on any operation, before it takes effect; the operation does not happen.
 *   drop_before_commit    closes the socket without an answer ("reset": true sends a RST)
 *   status_before_commit  answers "status" (500), with "type" and "message", or a raw "body"; and
 *                         "headers"
 *   html_body             answers "status" (502) with a page of HTML, as a proxy does
 *   spend_cap             429 enforced_spend_limit_reached without retry-after
 *   queue_limit           429 when the lines in processing and those of this create would be more
 *                         than "lines" (create)
 *   not_found             404, as a lagging replica gives it
 *   hang_before           waits "ms" real milliseconds (0: until the emulator stops), then goes on
 *   accept_late           closes the socket; "ms" (60000) virtual milliseconds later the create
 *                         takes effect, by what is there then (create)
 *   no_batch              404, as a provider without batches gives it (all but messages)
 *   rate_limit            429 with "seconds" in the provider's own place; none without them
 *   token_limit           the tokens in the queue of this model and those of this create would be
 *                         more than "tokens": refused in the provider's own way (create)
 *   error_with_200        an error in the provider's form, but with status 200 (upload)
 * AFTER: on any operation, when it has taken effect and was billed.
 *   drop_after_commit     closes the socket without an answer ("reset")
 *   status_after_commit   as status_before_commit
 *   hang                  as hang_before, then answers
 *   cut_body              closes the socket after "bytes" of the body (half of it)
 *   no_content_type       sends no content-type header
 *   retry_after           sends "seconds" as retry-after, or no such header when it is null
 *   truncate_results      a complete answer with the first "lines" result lines (half) (results)
 *   list_page_shift       a page after the first begins "by" places (-1) further on: -1 repeats a
 *                         batch, 1 skips one (list)
 * BATCH: on create; stays with the batch. Times are virtual milliseconds.
 *   never_end             stays in progress for ever, past its expiry too
 *   expire                ends at its expiry, "percent" (100) of the lines expired
 *   slow                  takes "ms" to process; lines it has no time for expire
 *   cancel_race           of a cancel, "percent" (50) of the lines succeed all the same
 *   no_shuffle            results in the order of the requests
 *   archived              results are gone "ms" (0) after the end
 *   vanish                is forgotten "ms" (0) after create; the bill names it where it is accepted
 *   shuffle               results in another order than the requests
 *   stuck_pending         never gets beyond its first state; expires there
 *   long_finalizing       takes "ms" (3600000) from the last result to the end
 *   fail_batch            fails as a whole, with "type" and "message"; nothing is billed
 *   file_missing          fails as if its input file did not exist
 *   inline_answer         results come in the batch object, whatever was asked
 *   late_output           the first "count" (3) GETs after the end name no output
 *   list_lag              is missing from the list for "ms" (60000)
 *   created_skew          shows its created_at "ms" (3600000) off
 *   flap_after_create     its first "count" (1) GETs are 404
 *   flap_after_end        the first "count" (1) GETs or downloads after the end are 404
 * VIEW: on get, list, cancel: in that answer; on create: in every answer about the batch.
 *   live_counts           counts move while it is in progress
 *   counts_lie            counts shift one line from succeeded to errored
 *   z_timestamps          times end in Z
 *   extra_fields          fields nobody has heard of
 *   unknown_status        processing_status "reticulating" while it is in progress
 *   state_regress         shows as in progress although it has ended
 *   empty_file_ids        "" where there is no file, not null
 * LINE: on results, once for each line when the results are made; the bill names the fault.
 *   drop_line             the line is missing
 *   duplicate_line        the line occurs twice
 *   corrupt_line          the second half of the line is missing
 *   rename_id             custom_id gets the suffix "-renamed"
 *   null_id               custom_id is null
 *   expire_line           the line expires
 *   cancel_line           the line is canceled
 *   status_zero           the line has status 0 and an empty body; counted as completed
 * ANSWER: on results (for each line) and messages.
 *   error_line            errored with "type" (api_error) and "message"; on messages with "status"
 *   invalid_answer        "how": not_json (default), fenced, prose, wrong_type, missing, extra, empty
 *   truncated_answer      ends in the middle with stop_reason max_tokens
 *   refusal               stop_reason refusal
 */
#define OP_EMU_ACTIONS(X)                                   \
    X(DROP_BEFORE_COMMIT, "drop_before_commit", BEFORE)     \
    X(STATUS_BEFORE_COMMIT, "status_before_commit", BEFORE) \
    X(HTML_BODY, "html_body", BEFORE)                       \
    X(SPEND_CAP, "spend_cap", BEFORE)                       \
    X(QUEUE_LIMIT, "queue_limit", BEFORE)                   \
    X(NOT_FOUND, "not_found", BEFORE)                       \
    X(HANG_BEFORE, "hang_before", BEFORE)                   \
    X(ACCEPT_LATE, "accept_late", BEFORE)                   \
    X(NO_BATCH, "no_batch", BEFORE)                         \
    X(RATE_LIMIT, "rate_limit", BEFORE)                     \
    X(TOKEN_LIMIT, "token_limit", BEFORE)                   \
    X(ERROR_WITH_200, "error_with_200", BEFORE)             \
    X(DROP_AFTER_COMMIT, "drop_after_commit", AFTER)        \
    X(STATUS_AFTER_COMMIT, "status_after_commit", AFTER)    \
    X(HANG, "hang", AFTER)                                  \
    X(CUT_BODY, "cut_body", AFTER)                          \
    X(NO_CONTENT_TYPE, "no_content_type", AFTER)            \
    X(RETRY_AFTER, "retry_after", AFTER)                    \
    X(TRUNCATE_RESULTS, "truncate_results", AFTER)          \
    X(LIST_PAGE_SHIFT, "list_page_shift", AFTER)            \
    X(NEVER_END, "never_end", BATCH)                        \
    X(EXPIRE, "expire", BATCH)                              \
    X(SLOW, "slow", BATCH)                                  \
    X(CANCEL_RACE, "cancel_race", BATCH)                    \
    X(NO_SHUFFLE, "no_shuffle", BATCH)                      \
    X(SHUFFLE, "shuffle", BATCH)                            \
    X(STUCK_PENDING, "stuck_pending", BATCH)                \
    X(LONG_FINALIZING, "long_finalizing", BATCH)            \
    X(FAIL_BATCH, "fail_batch", BATCH)                      \
    X(FILE_MISSING, "file_missing", BATCH)                  \
    X(INLINE_ANSWER, "inline_answer", BATCH)                \
    X(LATE_OUTPUT, "late_output", BATCH)                    \
    X(ARCHIVED, "archived", BATCH)                          \
    X(VANISH, "vanish", BATCH)                              \
    X(LIST_LAG, "list_lag", BATCH)                          \
    X(CREATED_SKEW, "created_skew", BATCH)                  \
    X(FLAP_AFTER_CREATE, "flap_after_create", BATCH)        \
    X(FLAP_AFTER_END, "flap_after_end", BATCH)              \
    X(LIVE_COUNTS, "live_counts", VIEW)                     \
    X(COUNTS_LIE, "counts_lie", VIEW)                       \
    X(Z_TIMESTAMPS, "z_timestamps", VIEW)                   \
    X(EXTRA_FIELDS, "extra_fields", VIEW)                   \
    X(UNKNOWN_STATUS, "unknown_status", VIEW)               \
    X(STATE_REGRESS, "state_regress", VIEW)                 \
    X(EMPTY_FILE_IDS, "empty_file_ids", VIEW)               \
    X(DROP_LINE, "drop_line", LINE)                         \
    X(DUPLICATE_LINE, "duplicate_line", LINE)               \
    X(CORRUPT_LINE, "corrupt_line", LINE)                   \
    X(RENAME_ID, "rename_id", LINE)                         \
    X(NULL_ID, "null_id", LINE)                             \
    X(EXPIRE_LINE, "expire_line", LINE)                     \
    X(CANCEL_LINE, "cancel_line", LINE)                     \
    X(STATUS_ZERO, "status_zero", LINE)                     \
    X(ERROR_LINE, "error_line", ANSWER)                     \
    X(INVALID_ANSWER, "invalid_answer", ANSWER)             \
    X(TRUNCATED_ANSWER, "truncated_answer", ANSWER)         \
    X(REFUSAL, "refusal", ANSWER)

#define OP_EMU_ACTION_ENUM(action, name, class_) OP_EMU_##action,
enum op_emu_action { OP_EMU_ACTIONS(OP_EMU_ACTION_ENUM) OP_EMU_ACTION_COUNT };
#undef OP_EMU_ACTION_ENUM

enum op_emu_class {
    OP_EMU_CLASS_BEFORE,
    OP_EMU_CLASS_AFTER,
    OP_EMU_CLASS_BATCH,
    OP_EMU_CLASS_VIEW,
    OP_EMU_CLASS_LINE,
    OP_EMU_CLASS_ANSWER,
};

const char *op_emu_action_name(enum op_emu_action action);
enum op_emu_class op_emu_action_class(enum op_emu_action action);

#define OP_EMU_RULE_HEADERS 8

/* One rule, read-only to everybody but faults.c. -1 or NULL: not given. */
struct op_emu_rule {
    enum op_emu_action action;
    unsigned on; /* bit per operation */
    int64_t nth, every, from, times;
    double probability;
    char *match;

    int64_t ms, bytes, lines, percent, status, by, count, seconds, tokens;
    char *body, *type, *message, *how;
    char *header_names[OP_EMU_RULE_HEADERS], *header_values[OP_EMU_RULE_HEADERS];
    size_t header_count;
    bool reset;

    uint64_t random; /* state of the rule's own generator */
    int64_t seen, fired;
};

/* The rules that fired for one request or one line. */
#define OP_EMU_FIRED_MAX 16
struct op_emu_fired {
    const struct op_emu_rule *rules[OP_EMU_FIRED_MAX];
    size_t count;
};

/* The first rule of that action, NULL when it did not fire. fired may be NULL. */
const struct op_emu_rule *op_emu_fired_rule(const struct op_emu_fired *fired,
                                            enum op_emu_action action);

/* Which BATCH and VIEW actions hold for a batch for life, with their main parameter. */
struct op_emu_quirks {
    uint64_t set; /* bit per action */
    int64_t value[OP_EMU_ACTION_COUNT];
};

static inline bool op_emu_quirk(const struct op_emu_quirks *quirks, enum op_emu_action action)
{
    return quirks->set >> action & 1;
}
void op_emu_quirks_set(struct op_emu_quirks *quirks, enum op_emu_action action, int64_t value);
/* Adds what fired, of the two classes that concern a batch, with defaults filled in. */
void op_emu_quirks_add(struct op_emu_quirks *quirks, const struct op_emu_fired *fired);
/* The action of that name when it may be a quirk; false when there is none. */
bool op_emu_quirk_named(struct op_str name, enum op_emu_action *ret);

struct op_emu_faults;

/* path NULL: no rules. */
OP_MUST_CHECK enum op_rc op_emu_faults_open(struct op_env *env, const char *path, uint64_t seed,
                                            struct op_emu_faults **ret, struct op_err *err);
void op_emu_faults_close(struct op_emu_faults *faults);

/* Counts one event and says which rules fire. A line of a batch being processed is an event of
 * OP_EMU_ON_RESULTS with line true: only LINE and ANSWER rules see it; a download of results is one
 * with line false, and they do not. The subjects are where "match" is looked for. */
void op_emu_faults_event(struct op_emu_faults *faults, enum op_emu_operation on, bool line,
                         const struct op_str subjects[2], struct op_emu_fired *ret);

#endif
