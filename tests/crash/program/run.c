/* SPDX-License-Identifier: MIT */
#include "run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "raw.h"
#include "wire.h"

#define SECRET       "sk-fault-program-0123456789abcdef"
#define BEGIN_US     (1790000000LL * 1000000)
#define HOUR_MS      (3600 * 1000LL)
#define LIVE_MS      (48 * HOUR_MS)  /* I15 */
#define LIVE_LONG_MS (144 * HOUR_MS) /* with rules that take the provider days */
#define TRIES        5               /* boots of a step before the faults stop */
#define PATIENCE_MS  (120 * 1000)    /* of real time without a word from the program */
#define FDS_MOST     200             /* the highest descriptor; a run has some twenty open */

int offpeak_main(int argc, char **argv); /* cli/main.c */

struct stage {
    const char *folder;
    const struct schedule *schedule;
    struct outcome *out;
    uint64_t seed;
    int depth;               /* of competing processes */
    const struct boot *last; /* of a step, not of a competitor */
};

static void give_up(const char *what)
{
    perror(what);
    exit(97);
}

__attribute__((format(printf, 2, 3))) static void path_of(char ret[512], const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(ret, 512, fmt, args);
    va_end(args);
}

/* ---- folders ---- */

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));) {
        char full[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        path_of(full, "%s/%s", path, e->d_name);
        if (e->d_type == DT_DIR)
            remove_tree(full);
        else
            raw_unlink(full);
    }
    closedir(dir);
    raw_rmdir(path);
}

/* Without the blocks of nothing: the black box is a megabyte of them. */
static void copy_file(const char *from, const char *to)
{
    static char block[65536], zero[4096];
    int in = raw_open(from, O_RDONLY, 0),
        out = raw_open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (in < 0 || out < 0)
        give_up(to);
    int64_t at = 0;
    for (ssize_t n; (n = raw_pread(in, block, sizeof(block), at)) > 0; at += n) {
        for (ssize_t done = 0; done < n; done += (ssize_t)sizeof(zero)) {
            size_t len = (size_t)(n - done) < sizeof(zero) ? (size_t)(n - done) : sizeof(zero);
            if (memcmp(block + done, zero, len) != 0)
                raw_pwrite(out, block + done, len, at + done);
        }
    }
    raw_ftruncate(out, at);
    raw_close(in);
    raw_close(out);
}

static void copy_tree(const char *from, const char *to)
{
    raw_mkdir(to, 0700);
    DIR *dir = opendir(from);
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));) {
        char a[512], b[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        path_of(a, "%s/%s", from, e->d_name);
        path_of(b, "%s/%s", to, e->d_name);
        if (e->d_type == DT_DIR)
            copy_tree(a, b);
        else
            copy_file(a, b);
    }
    closedir(dir);
}

static void write_file(const char *path, const char *text)
{
    int fd = raw_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || raw_write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        give_up(path);
    raw_close(fd);
}

static void write_pipeline(const char *root, const struct scenario *scenario,
                           const struct provider_kind *provider)
{
    char path[512], text[2048];
    path_of(path, "%s/work/p", root);
    raw_mkdir(path, 0700);
    snprintf(text, sizeof(text),
             "pipeline: torture\nabout: questions\nparams:\n"
             "  path: {about: input, type: path, required: true}\n"
             "inputs:\n  items: {csv: \"{{path}}\"}\n"
             "records: SELECT id AS key, word FROM items\n"
             "requests:\n  ask: {model: %s, max_tokens: 200, user: \"Say something about "
             "{{word}}\", answer: a.json}\n"
             "outputs:\n%s"
             "  - jsonl: rows.jsonl\n    key: [id]\n"
             "    rows: SELECT key AS id, answer ->> 'text' AS text FROM answers\n"
             "batch: {requests: %d}\n",
             provider->model,
             scenario->sqlite ? "  - sqlite: answers.db\n    table: answers\n    key: [id]\n"
                                "    rows: SELECT key AS id, answer ->> 'text' AS text FROM "
                                "answers\n"
                              : "  - csv: answers.csv\n    key: [id]\n"
                                "    rows: SELECT key AS id, answer ->> 'text' AS text FROM "
                                "answers\n",
             scenario->batch);
    path_of(path, "%s/work/p/pipeline.yaml", root);
    write_file(path, text);
    path_of(path, "%s/work/p/a.json", root);
    write_file(path, "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},"
                     "\"required\":[\"text\"],\"additionalProperties\":false}");
    int at = snprintf(text, sizeof(text), "id,word\n");
    for (int i = 0; i < scenario->records; i++)
        at += snprintf(text + at, sizeof(text) - (size_t)at, "r%d,word%d\n", i,
                       scenario->twins ? i / 2 : i);
    path_of(path, "%s/work/items.csv", root);
    write_file(path, text);
}

/* ---- one process ---- */

static void set_environment(const char *folder, const struct schedule *s)
{
    char path[512];
    (void)s;
    path_of(path, "%s/root/state", folder);
    setenv("OFFPEAK_STATE", path, 1);
    path_of(path, "%s/root/work", folder);
    setenv("HOME", path, 1);
    setenv("OFFPEAK_BALLAST", "0", 1);
    /* It would lock out the harness, whose own files are not the program's. */
    setenv("OFFPEAK_SANDBOX", "off", 1);
    setenv("OFFPEAK_PRICES", OP_PRICES, 1);
    for (int i = 0; i < provider_count; i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s_API_KEY", providers[i].name);
        for (char *c = name; *c; c++)
            *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
        setenv(name, SECRET, 1);
    }
    setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9/anthropic", 1);
    setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/openai/v1", 1);
    setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9/gemini", 1);
    setenv("MISTRAL_BASE_URL", "http://127.0.0.1:9/mistral", 1);
}

static _Noreturn void be_program(struct stage *stage, const char *words, int fd)
{
    char path[512], text[128], *argv[WORDS_MAX + 8];
    int argc = 0;
    path_of(path, "%s/out.txt", stage->folder);
    int out = raw_open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(out, 1);
    dup2(out, 2);
    raw_close(out);
    path_of(path, "%s/root/work", stage->folder);
    if (chdir(path))
        give_up(path);
    set_environment(stage->folder, stage->schedule);
    snprintf(text, sizeof(text), "offpeak %s", words);
    dprintf(2, "--- %s\n", text);
    static char run_words[] = "p", path_option[] = "--path", items[] = "items.csv";
    char *rest = NULL;
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    if (strcmp(argv[1], "run") == 0 || strcmp(argv[1], "create") == 0) {
        argv[argc++] = run_words;
        argv[argc++] = path_option;
        argv[argc++] = items;
    }
    argv[argc] = NULL;
    world_enter(fd, path);
    int code = offpeak_main(argc, argv);
    fflush(NULL);
    raw_exit(code);
}

static struct boot *boot(struct stage *stage, const char *words);

static const char *const competitors[] = {
    "status", "list --batches", "recover", "fetch --all-pending", "run", "show job-1"};

/* While one process is stopped in the middle of something, another one runs to its end. */
static void compete(struct stage *stage, int fd, int64_t arg)
{
    struct wire_answer answer = {.status = 1};
    bool full = world->disk_full;
    if (stage->depth < 2) {
        stage->depth++;
        boot(stage, competitors[(uint64_t)arg % (sizeof(competitors) / sizeof(*competitors))]);
        stage->depth--;
    }
    world->disk_full = full;
    if (!world->power_lost)
        world->killed = false;
    /* Had the machine lost power, the one that waits would be gone too. */
    if (!(world->killed && world->power_lost))
        wire_send(fd, &answer, sizeof(answer));
}

static bool serve(struct stage *stage, int fd)
{
    for (;;) {
        struct wire_head head;
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        int ready = poll(&poll_fd, 1, PATIENCE_MS);
        if (ready == 0)
            return false;
        if (!wire_receive(fd, &head, sizeof(head)))
            return true;
        if (head.message == WIRE_COMPETE) {
            compete(stage, fd, head.arg);
            if (world->killed && world->power_lost)
                return true;
        } else {
            provider_answer(fd, &head);
        }
    }
}

static void note(struct stage *stage, const char *problem)
{
    if (!stage->out->problem[0])
        snprintf(stage->out->problem, sizeof(stage->out->problem), "%s", problem);
}

static struct boot *boot(struct stage *stage, const char *words)
{
    static struct boot spare;
    struct outcome *out = stage->out;
    int ends[2], status = 0;
    struct boot *b = out->boot_count < BOOTS_MAX ? &out->boots[out->boot_count++] : &spare;
    snprintf(b->words, sizeof(b->words), "%s", words);
    world->disk_full = world->killed = world->power_lost = false;
    world->nap_ms = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        give_up("socketpair");
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork");
    if (pid == 0) {
        raw_close(ends[0]);
        be_program(stage, words, ends[1]);
    }
    raw_close(ends[1]);
    if (!serve(stage, ends[0])) {
        note(stage, "hang: the program does nothing for two minutes of real time");
        kill(pid, SIGKILL);
    }
    if (world->killed && world->power_lost)
        kill(pid, SIGKILL);
    raw_close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    world->lock = 0;
    b->power_lost = world->killed && world->power_lost;
    b->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    char problem[128];
    snprintf(problem, sizeof(problem), "`%s` ended with %d", words, b->code);
    bool by_fault = world->killed || b->code == 94;
    bool flush_failed = b->code == EX_TEMPFAIL;
    if ((b->code > 4 && !by_fault && !flush_failed) || b->code == 2)
        note(stage, problem);
    if (b->power_lost && stage->depth == 0)
        model_power_loss(&world->model,
                         (enum model_image)(world->power_arg % MODEL_IMAGE_COUNT),
                         (uint64_t)world->power_arg);
    return b;
}

/* ---- a schedule ---- */

static bool takes_days(const struct schedule *s)
{
    for (int i = 0; i < s->rule_count; i++) {
        if (rule_kinds[s->rules[i].kind].days)
            return true;
    }
    return false;
}

static void write_rules(const struct stage *stage, char ret[512])
{
    char text[1024];
    int at = 0;
    for (int i = 0; i < stage->schedule->rule_count; i++) {
        const struct rule *rule = &stage->schedule->rules[i];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        at += snprintf(text + at, sizeof(text) - (size_t)at, rule_kinds[rule->kind].text,
                       rule->nth);
#pragma GCC diagnostic pop
        at += snprintf(text + at, sizeof(text) - (size_t)at, "\n");
    }
    /* The hint of ten seconds, obeyed for days, would be most of what there is to run. */
    if (takes_days(stage->schedule))
        at += snprintf(text + at, sizeof(text) - (size_t)at,
                       "{\"on\":\"get\",\"do\":\"retry_after\",\"seconds\":null}\n");
    text[at] = '\0';
    path_of(ret, "%s/faults.jsonl", stage->folder);
    write_file(ret, text);
}

static void open_provider(struct stage *stage, const char *rules)
{
    char dir[512];
    path_of(dir, "%s/emu", stage->folder);
    const struct provider_setting setting = {.dir = dir, .faults = rules, .seed = 7};
    provider_open(&setting);
}

static void stop_faults(struct stage *stage)
{
    if (world->quiet)
        return;
    world->quiet = true;
    world->quiet_from_us = world->now_us;
    int64_t most = takes_days(stage->schedule) ? LIVE_LONG_MS : LIVE_MS;
    world->deadline_us = world->now_us + most * 1000;
    char rules[512];
    path_of(rules, "%s/quiet.jsonl", stage->folder);
    write_file(rules, "{\"on\":\"get\",\"do\":\"retry_after\",\"seconds\":null}\n");
    provider_close();
    open_provider(stage, most == LIVE_MS ? NULL : rules);
}

static void begin_world(struct stage *stage)
{
    char root[512], scratch[512];
    struct model *model = &world->model;
    memset(world, 0, offsetof(struct world, model));
    world->is_verbose = getenv("FAULT_PROGRAM_POINTS") != NULL;
    const char *stack_at = getenv("FAULT_PROGRAM_STACK");
    world->stack_at = stack_at ? atoll(stack_at) : 0;
    world->now_us = BEGIN_US;
    world->deadline_us = BEGIN_US + LIVE_MS * 1000;
    world->random = stage->seed;
    world->fault_count = stage->schedule->fault_count;
    memcpy(world->faults, stage->schedule->faults, sizeof(world->faults));
    path_of(root, "%s/root", stage->folder);
    path_of(scratch, "%s/scratch", stage->folder);
    raw_mkdir(scratch, 0700);
    model_begin(model, root, scratch);
}

static void make_folders(struct stage *stage)
{
    const struct scenario *scenario = &scenarios[stage->schedule->scenario];
    char path[512], template_[512];
    path_of(path, "%s/root", stage->folder);
    remove_tree(path);
    path_of(template_, "%s/template", stage->folder);
    if (!scenario->fresh) {
        copy_tree(template_, path);
    } else {
        char work[512];
        raw_mkdir(path, 0700);
        path_of(work, "%s/work", path);
        raw_mkdir(work, 0700);
    }
    write_pipeline(path, scenario, &providers[stage->schedule->provider]);
    path_of(path, "%s/emu", stage->folder);
    remove_tree(path);
    path_of(path, "%s/out.txt", stage->folder);
    raw_unlink(path);
}

static void pass_time(struct stage *stage)
{
    world->now_us += (int64_t)(1 + schedule_chance(&stage->seed) % 300) * 1000000;
}

/* One step of the scenario until it has succeeded: the same words again after each crash, sometimes
 * `recover`. */
static bool do_step(struct stage *stage, const char *words)
{
    const char *next = words;
    int tries = 0;
    while (stage->out->boot_count < BOOTS_MAX - 4) {
        if (tries++ == TRIES)
            stop_faults(stage);
        struct boot *b = boot(stage, next);
        stage->last = b;
        if (stage->out->problem[0])
            return false;
        if (b->code == 94)
            stop_faults(stage);
        pass_time(stage);
        if ((b->code == 0 && next == words) || b->code == 3)
            return true;
        /* There is nothing left to cancel. */
        if (b->code == 1 && next == words && strncmp(words, "cancel", 6) == 0 && tries > 2)
            return true;
        next = schedule_chance(&stage->seed) % 3 ? words : "recover";
    }
    note(stage, "not alive: the step has not succeeded after many starts");
    return false;
}

/* Nothing is open any more when `recover` says so. */
static void do_rest(struct stage *stage)
{
    stop_faults(stage);
    int refused = 0;
    /* Most of the time the word of the last step is taken for it: a start is what costs. */
    const struct boot *last = stage->last;
    if (last->code == 0 && strncmp(last->words, "create", 6) != 0 &&
        schedule_chance(&stage->seed) % 4)
        return;
    while (stage->out->boot_count < BOOTS_MAX) {
        struct boot *b = boot(stage, refused > 2 ? "recover --trust" : "recover");
        stage->out->trusted |= refused > 2;
        if (stage->out->problem[0])
            return;
        if (b->code == 0)
            return;
        refused += b->code == 1;
        pass_time(stage);
    }
    note(stage, "not alive: `recover` does not come to an end");
}

void run_schedule(const char *folder, const struct schedule *schedule, struct outcome *ret)
{
    char rules[512];
    *ret = (struct outcome){0};
    struct stage stage = {
        .folder = folder, .schedule = schedule, .out = ret, .seed = schedule->seed};
    const struct scenario *scenario = &scenarios[schedule->scenario];
    make_folders(&stage);
    begin_world(&stage);
    write_rules(&stage, rules);
    open_provider(&stage, rules);
    bool good = true;
    for (int i = 0; i < STEPS_MAX && scenario->steps[i] && good; i++)
        good = do_step(&stage, scenario->steps[i]);
    if (good)
        do_rest(&stage);
    provider_pass_time();
    provider_close();
    if (world->outside[0]) {
        char problem[300];
        snprintf(problem, sizeof(problem), "I17: it wrote to %s", world->outside);
        note(&stage, problem);
    }
    if (world->most_fds > FDS_MOST)
        note(&stage, "I14: descriptors pile up");
    ret->points = world->points;
    ret->trace = world->trace;
    ret->virtual_ms = (world->now_us - BEGIN_US) / 1000;
    ret->quiet_ms = world->quiet ? (world->now_us - world->quiet_from_us) / 1000 : 0;
}

void run_prepare(const char *folder)
{
    char path[512];
    if (!world) {
        world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                     -1, 0);
        if (world == MAP_FAILED)
            give_up("mmap");
    }
    raw_mkdir(folder, 0700);
    path_of(path, "%s/template", folder);
    raw_mkdir(path, 0700);
    path_of(path, "%s/template/work", folder);
    raw_mkdir(path, 0700);
    /* A ledger without a job, as it is after the first command. */
    const struct schedule nothing = {.scenario = 3};
    struct outcome out = {0};
    struct stage stage = {.folder = folder, .schedule = &nothing, .out = &out, .seed = 1};
    make_folders(&stage);
    begin_world(&stage);
    open_provider(&stage, NULL);
    boot(&stage, "recover");
    provider_close();
    char made[512], template_[512];
    path_of(made, "%s/root/state", folder);
    path_of(template_, "%s/template/state", folder);
    copy_tree(made, template_);
}

int run_describe(const char *folder, const struct schedule *s, const struct outcome *out,
                 char *ret, int room)
{
    char text[SCHEDULE_TEXT];
    schedule_format(s, text);
    const struct scenario *scenario = &scenarios[s->scenario];
    int at = snprintf(ret, (size_t)room,
                      "{\"folder\":\"%s\",\"schedule\":\"%s\",\"provider\":\"%s\","
                      "\"scenario\":\"%s\",\"records\":%d,\"sqlite\":%s,\"cancel\":%s,"
                      "\"secret\":\"%s\",\"trusted\":%s,\"boots\":[",
                      folder, text, providers[s->provider].name, scenario->name,
                      scenario->records, scenario->sqlite ? "true" : "false",
                      strcmp(scenario->name, "cancel") == 0 ? "true" : "false", SECRET,
                      out->trusted ? "true" : "false");
    for (int i = 0; i < out->boot_count; i++)
        at += snprintf(ret + at, (size_t)(room - at), "%s[\"%s\",%d]", i ? "," : "",
                       out->boots[i].words, out->boots[i].code);
    at += snprintf(ret + at, (size_t)(room - at), "]}\n");
    return at;
}
