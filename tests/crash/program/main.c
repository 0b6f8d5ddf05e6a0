/* SPDX-License-Identifier: MIT */
/* The fault program: docs/reliability.md. Runs schedules, has each of them judged by the checker, and
 * shrinks what fails. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "raw.h"
#include "run.h"

#define WORKERS_MAX  16
#define PAIRS_MAX    256
#define LINE         8192
#define AGAIN_EVERY  64 /* every so many schedules one is run twice: I16 */
#define FAILURES_MAX 10 /* then a worker gives up */

static struct options {
    int64_t schedules;
    uint64_t seed;
    int workers;
    const char *checker, *python, *only, *text, *file, *folder;
    bool single, pairs, replay, keep, quick;
    bool network; /* of the single faults only those at exchanges */
    int thin;     /* of the single faults only every so many-th */
    int64_t seconds;
    int rule; /* that every random schedule has; -1 none */
} options = {.schedules = 1000, .seed = 1, .workers = 2, .thin = 1, .rule = -1};

struct tally {
    int64_t schedules, singles, boots, points, failures, twice, checked, quiet_ms_most,
        virtual_ms, trusted;
    int64_t applied[FAULT_KIND_COUNT][FAIL_COUNT];
};
static struct tally *tallies; /* one a worker, shared */
static struct tally *tally;

struct judge {
    FILE *to, *from;
};

struct worker {
    int number;
    char folders[2][256];
    struct judge judge;
    bool waiting[2];
    struct schedule pending[2];
    int64_t baseline[16][8]; /* points of a run without faults */
    int64_t pairs[PAIRS_MAX], pair_count;
};

static _Noreturn void give_up(const char *what)
{
    perror(what);
    exit(97);
}

static int64_t real_ms(void)
{
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the judge ---- */

static void open_judge(struct judge *judge)
{
    int in[2], out[2];
    if (pipe(in) || pipe(out))
        give_up("pipe");
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork");
    if (pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        for (int fd = 3; fd < 256; fd++)
            raw_close(fd);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp(options.python, options.python, "-B", options.checker, (char *)NULL);
        _exit(127);
    }
    raw_close(in[0]);
    raw_close(out[1]);
    judge->to = fdopen(in[1], "w");
    judge->from = fdopen(out[0], "r");
}

static void hand_over(struct judge *judge, const char *line)
{
    if (fputs(line, judge->to) < 0 || fflush(judge->to))
        give_up("the checker is gone");
}

/* ret empty: nothing is wrong. */
static void take_verdict(struct judge *judge, char ret[LINE])
{
    if (!fgets(ret, LINE, judge->from))
        give_up("the checker is gone");
    ret[strcspn(ret, "\n")] = '\0';
    if (strcmp(ret, "ok") == 0)
        ret[0] = '\0';
}

/* ---- running ---- */

static void count(const struct outcome *out)
{
    tally->schedules++;
    tally->boots += out->boot_count;
    tally->points += out->points;
    tally->virtual_ms += out->virtual_ms;
    tally->trusted += out->trusted;
    if (out->quiet_ms > tally->quiet_ms_most)
        tally->quiet_ms_most = out->quiet_ms;
    for (int i = 0; i < FAULT_KIND_COUNT; i++) {
        for (int j = 0; j < FAIL_COUNT; j++)
            tally->applied[i][j] += world->applied[i][j];
    }
}

/* Runs and judges one schedule; ret empty: all is well. */
static void try_once(struct worker *w, const struct schedule *s, struct outcome *out,
                     char ret[LINE])
{
    static char line[LINE];
    run_schedule(w->folders[0], s, out);
    if (out->problem[0]) {
        snprintf(ret, LINE, "%s", out->problem);
        return;
    }
    run_describe(w->folders[0], s, out, line, LINE);
    hand_over(&w->judge, line);
    take_verdict(&w->judge, ret);
}

static void settle(struct worker *w, int slot, char ret[LINE])
{
    ret[0] = '\0';
    if (w->waiting[slot]) {
        w->waiting[slot] = false;
        take_verdict(&w->judge, ret);
        tally->checked++;
    }
}

/* Leaves out one fault or rule after the other, as long as it still fails. */
static void shrink(struct worker *w, struct schedule *s, char verdict[LINE])
{
    struct outcome out;
    char said[LINE];
    for (int i = 0; i < s->fault_count + s->rule_count;) {
        struct schedule less = *s;
        if (i < s->fault_count) {
            memmove(&less.faults[i], &less.faults[i + 1],
                    sizeof(less.faults[0]) * (size_t)(s->fault_count - i - 1));
            less.fault_count--;
        } else {
            int k = i - s->fault_count;
            memmove(&less.rules[k], &less.rules[k + 1],
                    sizeof(less.rules[0]) * (size_t)(s->rule_count - k - 1));
            less.rule_count--;
        }
        try_once(w, &less, &out, said);
        if (!said[0]) {
            i++;
            continue;
        }
        *s = less;
        snprintf(verdict, LINE, "%s", said);
        i = 0;
    }
}

static void report(struct worker *w, const struct schedule *failed, const char *why)
{
    char text[SCHEDULE_TEXT], verdict[LINE], least[SCHEDULE_TEXT];
    struct schedule s = *failed;
    char said[LINE];
    for (int slot = 0; slot < 2; slot++) /* the shrinking needs the judge for itself */
        settle(w, slot, said);
    tally->failures++;
    snprintf(verdict, LINE, "%s", why);
    schedule_format(&s, text);
    struct outcome out;
    try_once(w, &s, &out, said);
    bool again = said[0] != '\0';
    if (again && !options.quick)
        shrink(w, &s, verdict);
    schedule_format(&s, least);
    printf("FAILED %s\n  %s\n  least: %s\n  %s\n  replay: fault-program --schedule '%s'%s\n",
           text, why, least, verdict, least,
           again ? "" : "   (it did not fail the second time)");
    fflush(stdout);
    if (tally->failures >= FAILURES_MAX || options.quick) {
        fprintf(stderr, "fault program: too many failures\n");
        _exit(1);
    }
}

/* The run of one schedule goes on while the one before it is judged. */
static void run_one(struct worker *w, const struct schedule *s)
{
    static int slot;
    static char line[LINE], verdict[LINE];
    struct outcome out;
    slot = !slot;
    settle(w, slot, verdict);
    if (verdict[0])
        report(w, &w->pending[slot], verdict);
    run_schedule(w->folders[slot], s, &out);
    count(&out);
    if (out.problem[0]) {
        report(w, s, out.problem);
        return;
    }
    run_describe(w->folders[slot], s, &out, line, LINE);
    hand_over(&w->judge, line);
    w->waiting[slot] = true;
    w->pending[slot] = *s;
    if (tally->schedules % AGAIN_EVERY == 0) {
        uint64_t trace = out.trace;
        struct outcome second;
        settle(w, !slot, verdict);
        if (verdict[0])
            report(w, &w->pending[!slot], verdict);
        run_schedule(w->folders[!slot], s, &second);
        tally->twice++;
        if (second.trace != trace)
            report(w, s, "I16: the same seed took another course");
    }
}

static void run_last(struct worker *w)
{
    char verdict[LINE];
    for (int slot = 0; slot < 2; slot++) {
        settle(w, slot, verdict);
        if (verdict[0])
            report(w, &w->pending[slot], verdict);
    }
}

static int64_t baseline(struct worker *w, int scenario, int provider)
{
    int64_t *points = &w->baseline[scenario][provider];
    if (!*points) {
        const struct schedule s = {.scenario = scenario, .provider = provider, .seed = 1};
        struct outcome out;
        char said[LINE];
        run_last(w);
        try_once(w, &s, &out, said);
        if (said[0])
            report(w, &s, said);
        *points = out.points;
    }
    return *points;
}

static bool is_wanted(int scenario, int provider)
{
    char name[80];
    if (!options.only)
        return true;
    snprintf(name, sizeof(name), "%s/%s", providers[provider].name, scenarios[scenario].name);
    return strncmp(options.only, name, strlen(options.only)) == 0;
}

static void run_random(struct worker *w)
{
    int64_t began = real_ms();
    for (int64_t i = w->number; i < options.schedules; i += options.workers) {
        struct schedule s;
        int scenario, provider;
        schedule_pick(options.seed + (uint64_t)i, &scenario, &provider);
        if (!is_wanted(scenario, provider))
            continue;
        if (options.seconds && real_ms() - began > options.seconds * 1000)
            break;
        schedule_random(&s, options.seed + (uint64_t)i, scenario, provider,
                        baseline(w, scenario, provider));
        if (options.rule >= 0) {
            s.rules[0] = (struct rule){options.rule, 1};
            s.rule_count += !s.rule_count;
        }
        run_one(w, &s);
    }
    run_last(w);
}

/* A write between two others to the same file: what is on disk there is, before and after it, within
 * what the images of the first and the last of them can be. */
static bool is_inner(const uint8_t *kinds, const uint32_t *texts, int64_t point)
{
    for (int64_t p = point - 1; p <= point + 1; p++) {
        if (kinds[p] != POINT_WRITE || texts[p] != texts[point])
            return false;
    }
    return true;
}

/* Every point with every fault that it can have. */
static void run_singles_of(struct worker *w, int scenario, int provider)
{
    static uint8_t kinds[sizeof(world->point_kinds)];
    static uint32_t texts[sizeof(kinds)];
    static int64_t number;
    int64_t points = baseline(w, scenario, provider);
    const struct schedule plain = {.scenario = scenario, .provider = provider, .seed = 1};
    struct outcome out;
    run_schedule(w->folders[0], &plain, &out);
    memcpy(kinds, world->point_kinds, sizeof(kinds));
    memcpy(texts, world->point_texts, sizeof(texts));
    for (int64_t point = 1; point <= points; point++) {
        if (is_inner(kinds, texts, point) || (options.network && kinds[point] < POINT_CONNECT))
            continue;
        const enum failure *list;
        int errors = failures_at((enum point_kind)kinds[point], &list);
        for (int i = 0; i < 1 + MODEL_IMAGE_COUNT + errors + 1; i++) {
            struct schedule s = plain;
            if (number++ % (options.workers * options.thin) != w->number * options.thin)
                continue;
            struct fault *fault = &s.faults[s.fault_count++];
            *fault = (struct fault){.point = point, .kind = FAULT_KILL};
            if (i > MODEL_IMAGE_COUNT + errors)
                fault->kind = FAULT_FULL;
            else if (i > MODEL_IMAGE_COUNT)
                *fault = (struct fault){point, FAULT_ERROR, i - MODEL_IMAGE_COUNT - 1};
            else if (i > 0)
                *fault = (struct fault){point, FAULT_POWER, i - 1};
            run_one(w, &s);
            tally->singles++;
        }
    }
    run_last(w);
}

/* A crash right behind the moment in which a transaction counts, and power lost in the one that the
 * next start makes: what is not durable yet meets what is not whole yet. */
static void run_pairs_of(struct worker *w, int scenario, int provider)
{
    static int64_t number;
    int64_t points = baseline(w, scenario, provider);
    const struct schedule plain = {.scenario = scenario, .provider = provider, .seed = 1};
    struct outcome out;
    run_last(w);
    run_schedule(w->folders[0], &plain, &out);
    for (int64_t p = 2; p <= points; p++) {
        if (world->point_kinds[p] != POINT_SYNC || world->point_kinds[p - 1] != POINT_CUT)
            continue;
        w->pairs[w->pair_count++ % PAIRS_MAX] = p;
    }
    int64_t count = w->pair_count < PAIRS_MAX ? w->pair_count : PAIRS_MAX;
    w->pair_count = 0;
    for (int64_t i = 0; i < count * 40; i++) {
        struct schedule s = plain;
        if (number++ % (options.workers * options.thin) != w->number * options.thin)
            continue;
        int64_t first = w->pairs[i % count], round = i / count;
        s.faults[0] = (struct fault){first, FAULT_KILL, 0};
        s.faults[1] = (struct fault){first + 10 + round / 4 * 8, FAULT_POWER,
                                     MODEL_PREFIX + round % 4 + i / count * 8};
        s.fault_count = 2;
        run_one(w, &s);
    }
    run_last(w);
}

static void run_singles(struct worker *w)
{
    for (int provider = 0; provider < provider_count; provider++) {
        for (int scenario = 0; scenario < scenario_count; scenario++) {
            if (options.single && is_wanted(scenario, provider))
                run_singles_of(w, scenario, provider);
            if (options.pairs && is_wanted(scenario, provider))
                run_pairs_of(w, scenario, provider);
        }
    }
}

static void run_file(struct worker *w)
{
    char line[LINE];
    FILE *file = fopen(options.file, "r");
    if (!file)
        give_up(options.file);
    for (int64_t i = 0; fgets(line, sizeof(line), file); i++) {
        struct schedule s;
        if (line[0] == '#' || line[0] == '\n' || i % options.workers != w->number)
            continue;
        if (!schedule_parse(line, &s)) {
            fprintf(stderr, "%s: this is no schedule: %s", options.file, line);
            exit(2);
        }
        run_one(w, &s);
    }
    fclose(file);
    run_last(w);
}

/* ---- workers ---- */

static void open_worker(struct worker *w, const char *folder)
{
    for (int slot = 0; slot < 2; slot++) {
        snprintf(w->folders[slot], sizeof(w->folders[slot]), "%s/%d.%d", folder, w->number,
                 slot);
        run_prepare(w->folders[slot]);
    }
    open_judge(&w->judge);
}

static void work(int number, const char *folder)
{
    struct worker w = {.number = number};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    tally = &tallies[number];
    open_worker(&w, folder);
    if (options.file)
        run_file(&w);
    if (options.single || options.pairs)
        run_singles(&w);
    if (options.schedules)
        run_random(&w);
    fflush(stdout);
    _exit(tally->failures ? 1 : 0);
}

static void print_applied(const struct tally *sum)
{
#define FAULT_NAME(kind, name) name,
    static const char *const names[] = {FAULT_KINDS(FAULT_NAME)};
#undef FAULT_NAME
    printf("faults that struck:");
    for (int i = 0; i < FAULT_KIND_COUNT; i++) {
        for (int j = 0; j < FAIL_COUNT; j++) {
            if (sum->applied[i][j])
                printf(" %s%s%s=%" PRId64, names[i], j ? " " : "",
                       j ? failure_name((enum failure)j) : "", sum->applied[i][j]);
        }
    }
    printf("\n");
}

static int print_sum(int64_t ms)
{
    struct tally sum = {0};
    for (int i = 0; i < options.workers; i++) {
        const struct tally *t = &tallies[i];
        sum.schedules += t->schedules;
        sum.singles += t->singles;
        sum.boots += t->boots;
        sum.points += t->points;
        sum.failures += t->failures;
        sum.twice += t->twice;
        sum.checked += t->checked;
        sum.virtual_ms += t->virtual_ms;
        sum.trusted += t->trusted;
        if (t->quiet_ms_most > sum.quiet_ms_most)
            sum.quiet_ms_most = t->quiet_ms_most;
        for (int k = 0; k < FAULT_KIND_COUNT; k++) {
            for (int j = 0; j < FAIL_COUNT; j++)
                sum.applied[k][j] += t->applied[k][j];
        }
    }
    printf("%" PRId64 " schedules (%" PRId64 " single faults), %" PRId64 " starts, %" PRId64
           " fault points, %" PRId64 " checked, %" PRId64 " run twice; %" PRId64
           " virtual days; longest after the faults: %" PRId64 " h; vouched for: %" PRId64
           "; %.0f s, %.0f/s\n",
           sum.schedules, sum.singles, sum.boots, sum.points, sum.checked, sum.twice,
           sum.virtual_ms / 86400000, sum.quiet_ms_most / 3600000, sum.trusted,
           (double)ms / 1000, (double)sum.schedules * 1000 / (double)(ms ? ms : 1));
    print_applied(&sum);
    printf("%" PRId64 " failures\n", sum.failures);
    return sum.failures > 0;
}

static int run_workers(const char *folder)
{
    int64_t began = real_ms();
    int bad = 0;
    pid_t pids[WORKERS_MAX];
    fflush(stdout);
    for (int i = 0; i < options.workers; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            give_up("fork");
        if (pids[i] == 0)
            work(i, folder);
    }
    for (int i = 0; i < options.workers; i++) {
        int status = 0;
        while (waitpid(pids[i], &status, 0) < 0 && errno == EINTR)
            ;
        if (!WIFEXITED(status) || WEXITSTATUS(status)) {
            bad = 1;
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
                printf("a worker ended with status %d\n", status);
        }
    }
    return print_sum(real_ms() - began) || bad;
}

static int run_replay(const char *folder)
{
    struct worker w = {0};
    struct schedule s;
    struct outcome out;
    char said[LINE], text[SCHEDULE_TEXT];
    int scenario, provider;
    tally = &tallies[0];
    open_worker(&w, folder);
    if (options.text) {
        if (!schedule_parse(options.text, &s)) {
            fprintf(stderr, "this is no schedule: %s\n", options.text);
            return 2;
        }
    } else {
        schedule_pick(options.seed, &scenario, &provider);
        schedule_random(&s, options.seed, scenario, provider, baseline(&w, scenario, provider));
    }
    try_once(&w, &s, &out, said);
    schedule_format(&s, text);
    printf("%s\n", text);
    for (int i = 0; i < out.boot_count; i++)
        printf("  %-24s exit %d%s\n", out.boots[i].words, out.boots[i].code,
               out.boots[i].power_lost ? ", power lost" : "");
    printf("  %" PRId64 " points, trace %016" PRIx64 ", %" PRId64 " virtual minutes\n%s\n",
           out.points, out.trace, out.virtual_ms / 60000, said[0] ? said : "nothing is wrong");
    if (options.keep)
        printf("kept in %s\n", w.folders[0]);
    return said[0] != '\0';
}

static const char *value(int argc, char **argv, int *i)
{
    if (*i + 1 >= argc) {
        fprintf(stderr, "%s needs a value\n", argv[*i]);
        exit(2);
    }
    return argv[++*i];
}

static void parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--schedules") == 0)
            options.schedules = strtoll(value(argc, argv, &i), NULL, 10);
        else if (strcmp(name, "--seed") == 0)
            options.seed = strtoull(value(argc, argv, &i), NULL, 10);
        else if (strcmp(name, "--workers") == 0)
            options.workers = atoi(value(argc, argv, &i));
        else if (strcmp(name, "--seconds") == 0)
            options.seconds = strtoll(value(argc, argv, &i), NULL, 10);
        else if (strcmp(name, "--rule") == 0)
            options.rule = atoi(value(argc, argv, &i));
        else if (strcmp(name, "--thin") == 0)
            options.thin = atoi(value(argc, argv, &i));
        else if (strcmp(name, "--only") == 0)
            options.only = value(argc, argv, &i);
        else if (strcmp(name, "--schedule") == 0)
            options.text = value(argc, argv, &i);
        else if (strcmp(name, "--file") == 0)
            options.file = value(argc, argv, &i);
        else if (strcmp(name, "--checker") == 0)
            options.checker = value(argc, argv, &i);
        else if (strcmp(name, "--python") == 0)
            options.python = value(argc, argv, &i);
        else if (strcmp(name, "--folder") == 0)
            options.folder = value(argc, argv, &i);
        else if (strcmp(name, "--single") == 0)
            options.single = true;
        else if (strcmp(name, "--network") == 0)
            options.network = options.single = true;
        else if (strcmp(name, "--pairs") == 0)
            options.pairs = true;
        else if (strcmp(name, "--replay") == 0)
            options.replay = true;
        else if (strcmp(name, "--keep") == 0)
            options.keep = true;
        else if (strcmp(name, "--quick") == 0)
            options.quick = true;
        else {
            fprintf(stderr, "unknown option %s\n", name);
            exit(2);
        }
    }
    if (options.workers < 1 || options.workers > WORKERS_MAX || options.thin < 1 ||
        options.rule >= rule_kind_count)
        exit(2);
}

int main(int argc, char **argv)
{
    char folder[256], command[300];
    options.checker = OP_CHECKER;
    options.python = "/usr/bin/python3";
    parse(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    tallies = mmap(NULL, sizeof(*tallies) * WORKERS_MAX, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tallies == MAP_FAILED)
        give_up("mmap");
    snprintf(folder, sizeof(folder), "%s/op-fault-XXXXXX",
             options.folder ? options.folder : "/dev/shm");
    if (!mkdtemp(folder))
        give_up(folder);
    int code = options.text || options.replay ? run_replay(folder) : run_workers(folder);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    if (!options.keep && system(command))
        code = code ? code : 1;
    return code;
}
