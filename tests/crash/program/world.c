/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <execinfo.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raw.h"

struct world *world;
static int harness = -1;
static pid_t first_thread;
static bool inside;

static const char *const failure_names[] = {
    "none",
    "EIO",
    "ENOSPC",
    "EINTR",
    "short",
    "EMFILE",
    "refused",
    "resolve",
    "tls",
    "503 before the last byte",
    "429 before the last byte",
    "cut",
    "timeout",
    "half",
    "head",
    "500",
    "502 html",
    "504",
    "408",
    "200 html",
    "200 empty",
};

const char *failure_name(enum failure failure)
{
    return failure_names[failure];
}

int failures_at(enum point_kind point, const enum failure **ret)
{
    static const enum failure open_[] = {FAIL_EIO, FAIL_ENOSPC, FAIL_EMFILE, FAIL_EINTR},
                              write_[] = {FAIL_EIO, FAIL_ENOSPC, FAIL_SHORT, FAIL_EINTR},
                              sync_[] = {FAIL_EIO, FAIL_ENOSPC}, cut_[] = {FAIL_EIO},
                              name_[] = {FAIL_EIO, FAIL_ENOSPC},
                              connect_[] = {FAIL_REFUSED, FAIL_RESOLVE, FAIL_TLS},
                              body_[] = {FAIL_CUT, FAIL_TIMEOUT, FAIL_EARLY_503,
                                         FAIL_EARLY_429},
                              sent_[] = {FAIL_CUT, FAIL_TIMEOUT},
                              reply_[] = {FAIL_CUT,      FAIL_TIMEOUT,  FAIL_HALF, FAIL_HEAD,
                                          FAIL_500,      FAIL_502_HTML, FAIL_504,  FAIL_408,
                                          FAIL_200_HTML, FAIL_200_EMPTY};
#define ROW(list)                                   \
    {                                               \
        list, (int)(sizeof(list) / sizeof(list[0])) \
    }
    static const struct {
        const enum failure *list;
        int count;
    } rows[POINT_COUNT] = {
        [POINT_OPEN] = ROW(open_), [POINT_WRITE] = ROW(write_), [POINT_SYNC] = ROW(sync_),
        [POINT_CUT] = ROW(cut_),   [POINT_NAME] = ROW(name_),   [POINT_CONNECT] = ROW(connect_),
        [POINT_BODY] = ROW(body_), [POINT_SENT] = ROW(sent_),   [POINT_REPLY] = ROW(reply_),
    };
#undef ROW
    *ret = rows[point].list;
    return rows[point].count;
}

void world_enter(int harness_fd, const char *cwd)
{
    (void)cwd;
    harness = harness_fd;
    first_thread = (pid_t)syscall(SYS_gettid);
    inside = true;
}

bool world_is_inside(void)
{
    return inside;
}

bool world_is_first_thread(void)
{
    static __thread pid_t self;
    if (!self)
        self = (pid_t)syscall(SYS_gettid);
    return self == first_thread;
}

int world_harness_fd(void)
{
    return harness;
}

static void step_clock(int64_t arg)
{
    static const int64_t hour = 3600000, day = 24 * hour, year = 365 * day;
    const int64_t steps[] = {-hour, hour, -day, day, -10 * year, 10 * year};
    world->wall_ms += steps[(uint64_t)arg % 6];
}

static enum failure pick(enum point_kind kind, int64_t arg)
{
    const enum failure *list;
    int count = failures_at(kind, &list);
    return count ? list[(uint64_t)arg % (uint64_t)count] : FAIL_NONE;
}

static void trace(enum point_kind kind, const char *text, int64_t size)
{
    uint64_t h = world->trace ^ (uint64_t)kind;
    for (const char *c = text; *c; c++)
        h = (h ^ (unsigned char)*c) * 0x100000001b3ULL;
    world->trace = (h ^ (uint64_t)size) * 0x100000001b3ULL;
}

static void say(int64_t point, enum point_kind kind, const char *text, int64_t size)
{
    static const char *const names[] = {"open",    "write", "sync", "cut",  "name",
                                        "connect", "body",  "sent", "reply"};
    char line[256];
    int len = snprintf(line, sizeof(line), "    %lld %s %s %lld\n", (long long)point,
                       names[kind], text, (long long)size);
    (void)raw_write(2, line, (size_t)len);
}

static enum failure strike(const struct fault *fault, enum point_kind kind)
{
    enum failure failure = FAIL_NONE;
    if (fault->kind == FAULT_ERROR)
        failure = pick(kind, fault->arg);
    if (fault->kind == FAULT_FULL)
        world->disk_full = true;
    world->applied[fault->kind][failure]++;
    if (fault->kind == FAULT_CLOCK)
        step_clock(fault->arg);
    if (fault->kind == FAULT_COMPETE)
        wire_compete(fault->arg);
    if (fault->kind == FAULT_KILL || fault->kind == FAULT_POWER) {
        world->killed = true;
        world->power_lost = fault->kind == FAULT_POWER;
        world->power_arg = fault->arg;
        raw_exit(137);
    }
    return failure;
}

enum failure world_point(enum point_kind kind, const char *text, int64_t size)
{
    if (!inside || !world_is_first_thread())
        return FAIL_NONE;
    int64_t point = ++world->points;
    if (point > POINTS_MAX)
        raw_exit(95); /* it turns in a circle */
    world->nap_ms = 0;
    trace(kind, text, size);
    if (world->is_verbose)
        say(point, kind, text, size);
    if (point == world->stack_at) {
        void *frames[64];
        backtrace_symbols_fd(frames, backtrace(frames, 64), 2);
    }
    if (point < (int64_t)sizeof(world->point_kinds)) {
        world->point_kinds[point] = (uint8_t)kind;
        world->point_texts[point] = 5381;
        for (const char *c = text; *c; c++)
            world->point_texts[point] = world->point_texts[point] * 33 + (unsigned char)*c;
    }
    enum failure failure = FAIL_NONE;
    for (int i = 0; i < world->fault_count && !world->quiet; i++) {
        if (world->faults[i].point == point)
            failure = strike(&world->faults[i], kind);
    }
    bool takes_room = kind == POINT_OPEN || kind == POINT_WRITE || kind == POINT_NAME;
    return !failure && world->disk_full && takes_room ? FAIL_ENOSPC : failure;
}

/* A second at a time would make a night of tens of thousands of turns. A process may always
 * oversleep: each nap in a row, with nothing done in between, takes twice as long as the last. */
void world_sleep(int64_t ms)
{
    if (!world_is_first_thread())
        return;
    int64_t most = 10 * 60 * 1000;
    world->nap_ms = world->nap_ms ? world->nap_ms * 2 : ms;
    if (world->nap_ms < ms)
        world->nap_ms = ms;
    if (world->nap_ms > most)
        world->nap_ms = most;
    world->now_us += world->nap_ms * 1000;
    /* I15. With the faults still on it may wait for long; then it is time to stop them. */
    if (world->now_us > world->deadline_us)
        raw_exit(world->quiet ? 96 : 94);
}

void world_fill_random(void *ptr, size_t len)
{
    unsigned char *at = ptr;
    for (size_t i = 0; i < len; i++) {
        uint64_t z = (world->random += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        at[i] = (unsigned char)(z ^ (z >> 31));
    }
}
