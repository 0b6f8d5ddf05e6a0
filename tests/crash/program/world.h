/* SPDX-License-Identifier: MIT */
#ifndef OP_CRASH_WORLD_H
#define OP_CRASH_WORLD_H

/*
 * Model:     the world in which the program runs, in memory that the harness shares with every process
 *            of a schedule: the clock, the randomness, the faults that are to come, the disk
 *            (model.h). A fault point is a place where the program is about to change something
 *            outside itself: a system call on a file, or a stage of an HTTP exchange. They are counted
 *            over the whole schedule, in the thread that began the process; what other threads do is
 *            followed, and is no point, since their turns are the scheduler's.
 * Threads:   lock guards model; the rest belongs to the first thread of the process whose turn it is.
 */

#include <stdbool.h>
#include <stdint.h>

#include "model.h"

/* X(KIND, "name"): what can happen at a point. */
#define FAULT_KINDS(X)                                                                \
    X(KILL, "kill")       /* the process is gone */                                   \
    X(POWER, "power")     /* so is what was not synced; arg: image, then seed */      \
    X(ERROR, "error")     /* the call fails; arg: in which way */                     \
    X(FULL, "full")       /* from here on the disk is full, until the process ends */ \
    X(CLOCK, "clock")     /* the wall clock steps; arg: how far */                    \
    X(COMPETE, "compete") /* another process runs to its end; arg: its command */

#define FAULT_ENUM(kind, name) FAULT_##kind,
enum fault_kind { FAULT_KINDS(FAULT_ENUM) FAULT_KIND_COUNT };
#undef FAULT_ENUM

struct fault {
    int64_t point; /* from 1 */
    enum fault_kind kind;
    int64_t arg;
};

#define FAULTS_MAX 16
#define POINTS_MAX 400000

/* What the program is about to do. */
enum point_kind {
    POINT_OPEN, /* makes a file or empties one */
    POINT_WRITE,
    POINT_SYNC,
    POINT_CUT,
    POINT_NAME,    /* rename, link, unlink, mkdir, rmdir */
    POINT_CONNECT, /* network: before the first byte */
    POINT_BODY,    /* all bytes but the last of a gated one are there */
    POINT_SENT,    /* every byte is on its way */
    POINT_REPLY,   /* the provider has done it; the answer is on its way */
    POINT_COUNT,
};

/* How an ERROR turns out. */
enum failure {
    FAIL_NONE,
    FAIL_EIO,
    FAIL_ENOSPC,
    FAIL_EINTR,
    FAIL_SHORT,
    FAIL_EMFILE,
    FAIL_REFUSED,   /* connect: refused */
    FAIL_RESOLVE,   /* no such host */
    FAIL_TLS,       /* handshake */
    FAIL_EARLY_503, /* body: an answer before the last byte */
    FAIL_EARLY_429,
    FAIL_CUT,     /* body: the connection dies before the last byte; sent: before it arrives;
                         reply: after the provider did it, without an answer */
    FAIL_TIMEOUT, /* the same, noticed after a quarter of an hour */
    FAIL_HALF,    /* reply: half of the body, then a cut */
    FAIL_HEAD,    /* reply: head and the first byte */
    FAIL_500,     /* reply: somebody on the way answers instead */
    FAIL_502_HTML,
    FAIL_504,
    FAIL_408,
    FAIL_200_HTML,
    FAIL_200_EMPTY,
    FAIL_COUNT,
};
const char *failure_name(enum failure failure);

/* The failures that are possible at a point; their count. */
int failures_at(enum point_kind point, const enum failure **ret);

struct world {
    int64_t now_us;  /* the true time */
    int64_t wall_ms; /* how far off the program's wall clock is */
    int64_t nap_ms;  /* of the last sleep in a row */
    uint64_t random;
    int64_t points;
    struct fault faults[FAULTS_MAX];
    int fault_count;
    bool quiet;                         /* no faults from here on */
    int64_t quiet_from_us, deadline_us; /* when the faults stopped; when all must be done */
    bool disk_full;
    bool power_lost; /* how the process died */
    bool killed;
    int64_t power_arg;
    int64_t applied[FAULT_KIND_COUNT][FAIL_COUNT];
    uint64_t trace; /* hash over every point: what, where, how much */
    /* Of the points so far, for a sweep over all of them: the kind, and the text's hash. */
    uint8_t point_kinds[65536];
    uint32_t point_texts[65536];
    char outside[256]; /* a path outside of the root that was written: must stay empty */
    int64_t most_fds;
    bool is_verbose;  /* the points are said on stderr */
    int64_t stack_at; /* so is the stack at this one */
    int lock;         /* a spin lock over processes and threads */
    struct model model;
};

extern struct world *world; /* NULL: the interposed calls pass everything on */

/* The process runs the program, and its calls are watched. */
void world_enter(int harness_fd, const char *cwd);
bool world_is_inside(void);
bool world_is_first_thread(void);

/* Passes a fault point; may end the process. The failure that the call is to have. text and size go
 * into the trace. */
enum failure world_point(enum point_kind kind, const char *text, int64_t size);

void world_sleep(int64_t ms);
void world_fill_random(void *ptr, size_t len);
/* The program's descriptor for the harness. */
int world_harness_fd(void);
/* Asks the harness to run another process now, and waits for it (wire.c). */
void wire_compete(int64_t arg);

#endif
