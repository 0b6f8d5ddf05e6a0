/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_LOG_H
#define OP_BASE_LOG_H

/*
 * Model:     a closed vocabulary of events goes to one target: text for a terminal, JSON lines for
 *            a machine. Layers below the engine do not log; the engine logs once, at the decision.
 *            Every registered secret is masked in every line, whatever field it came in.
 * Threads:   any thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* X(EVENT, "name", level) */
#define OP_EVENTS(X)                                              \
    X(JOB_PLANNED, "job planned", OP_LOG_INFO)                    \
    X(JOB_RESUMED, "job resumed", OP_LOG_INFO)                    \
    X(JOB_DONE, "job done", OP_LOG_INFO)                          \
    X(JOB_CAPPED, "cost cap reached", OP_LOG_WARN)                \
    X(JOB_WAITS, "waiting for room", OP_LOG_INFO)                 \
    X(QUEUE_FULL, "queue full", OP_LOG_INFO)                      \
    X(BATCH_BUILT, "batch built", OP_LOG_DEBUG)                   \
    X(BATCH_UPLOADED, "batch uploaded", OP_LOG_DEBUG)             \
    X(BATCH_SENT, "batch sent", OP_LOG_INFO)                      \
    X(BATCH_REJECTED, "batch rejected", OP_LOG_WARN)              \
    X(BATCH_AMBIGUOUS, "batch ambiguous", OP_LOG_WARN)            \
    X(BATCH_ADOPTED, "batch adopted", OP_LOG_WARN)                \
    X(BATCH_UNSENT, "batch proved unsent", OP_LOG_WARN)           \
    X(BATCH_POLLED, "batch polled", OP_LOG_DEBUG)                 \
    X(BATCH_ENDED, "batch ended", OP_LOG_INFO)                    \
    X(BATCH_FETCHED, "results fetched", OP_LOG_INFO)              \
    X(BATCH_APPLIED, "results applied", OP_LOG_INFO)              \
    X(BATCH_CANCELED, "cancel requested", OP_LOG_INFO)            \
    X(BATCH_VANISHED, "batch vanished", OP_LOG_WARN)              \
    X(BATCH_ORPHAN, "unknown batch in the account", OP_LOG_WARN)  \
    X(BATCH_ASKING, "asking one by one", OP_LOG_INFO)             \
    X(MODE_KEPT, "the job keeps its mode", OP_LOG_WARN)           \
    X(FELL_BACK, "no batch API here", OP_LOG_WARN)                \
    X(REALTIME_SLOWER, "asking more slowly", OP_LOG_INFO)         \
    X(REALTIME_DRAIN, "waiting for answers", OP_LOG_INFO)         \
    X(REQUEST_UNKNOWN, "outcome unknown", OP_LOG_WARN)            \
    X(RESULT_QUARANTINED, "result line quarantined", OP_LOG_WARN) \
    X(RESULT_CONFLICT, "two different answers", OP_LOG_WARN)      \
    X(ANSWER_INVALID, "answer invalid", OP_LOG_WARN)              \
    X(ANSWER_WARNING, "answer warning", OP_LOG_WARN)              \
    X(REQUEST_REASKED, "asked again", OP_LOG_INFO)                \
    X(REQUEST_FAILED, "request failed", OP_LOG_WARN)              \
    X(LANE_PAUSED, "lane paused", OP_LOG_WARN)                    \
    X(MOVED_ON, "asked of the next provider", OP_LOG_WARN)        \
    X(LANE_OPENED, "lane open", OP_LOG_INFO)                      \
    X(NET_RETRY, "network problem, will try again", OP_LOG_WARN)  \
    X(OUTPUT_WRITTEN, "output written", OP_LOG_INFO)              \
    X(OUTPUT_FAILED, "output failed", OP_LOG_WARN)                \
    X(INPUT_SKIPPED, "input row skipped", OP_LOG_WARN)            \
    X(DISK_LOW, "disk space low", OP_LOG_WARN)                    \
    X(DISK_DOUBT, "disk in doubt, looking", OP_LOG_WARN)          \
    X(DISK_PROVED, "ledger and accounts agree", OP_LOG_INFO)      \
    X(LEDGER_MIGRATED, "ledger migrated", OP_LOG_INFO)            \
    X(NOTE, "note", OP_LOG_INFO)

enum op_log_level { OP_LOG_ERROR, OP_LOG_WARN, OP_LOG_INFO, OP_LOG_DEBUG };

#define OP_EVENT_ENUM(event, name, level) OP_EVENT_##event,
enum op_event { OP_EVENTS(OP_EVENT_ENUM) OP_EVENT_COUNT };
#undef OP_EVENT_ENUM

struct op_log_field {
    const char *name;
    struct op_str text; /* ptr NULL: the number is the value */
    int64_t number;
};

static inline struct op_str op_log_text(const char *text)
{
    return op_str_from(text ? text : "");
}

/* op_log(OP_EVENT_BATCH_SENT, OP_F("batch", id), OP_T("provider_id", text)); */
#define OP_F(field, value) ((struct op_log_field){(field), {NULL, 0}, (int64_t)(value)})
#define OP_T(field, text_) ((struct op_log_field){(field), op_log_text(text_), 0})
#define OP_S(field, str_)  ((struct op_log_field){(field), (str_), 0})
#define op_log(event, ...)                                       \
    op_log_fields((event), (struct op_log_field[]){__VA_ARGS__}, \
                  sizeof((struct op_log_field[]){__VA_ARGS__}) / sizeof(struct op_log_field))

void op_log_fields(enum op_event event, const struct op_log_field *fields, size_t count);

enum op_log_format { OP_LOG_TEXT, OP_LOG_JSON };

/* Where lines go: stderr unless a function is set (a TTY progress line, a test). The function
 * gets one masked line without newline; it must not log itself. */
typedef void (*op_log_line_fn)(void *arg, enum op_log_level level, const char *line);
void op_log_setup(enum op_log_level most, enum op_log_format format, op_log_line_fn fn,
                  void *arg);

/* Registers a secret (an API key) for masking, in logs and by op_log_mask. Copied. Fewer than
 * four bytes are no secret: masking them would hide the log. */
void op_log_secret(struct op_str secret);
/* Replaces every registered secret, and anything that looks like one (sk-..., AIza..., Bearer
 * ...), in place by asterisks. Length unchanged. */
void op_log_mask(char *text, size_t len);

const char *op_event_name(enum op_event event);

#endif
