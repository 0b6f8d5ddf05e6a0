/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/sandbox.h"
#include "base/time.h"
#include "cli/commands.h"
#include "cli/confine.h"
#include "cli/create_tables.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/table.h"
#include "engine/libraries.h"
#include "engine/work.h"
#include "pipeline/prices.h"
#include "provider/key.h"
#include "view/queues.h"
#include "view/text.h"

#define TEXT_MAX   (16 * 1024 * 1024)
#define PRICES_OLD (90 * OP_DAY_MS)
#define SPACE_LOW  (1024LL * 1024 * 1024)

enum verdict { GOOD, WARNING, PROBLEM };
static const char *const verdicts[] = {"ok", "warning", "problem"};

struct doctor {
    struct op_args *args;
    char *state_dir;
    struct op_table table;
    struct op_json_out *json; /* NULL: a table */
    int64_t problems;
    struct op_buf audit;
    struct op_ledger *ledger; /* while it is looked into */
};

static void check(struct doctor *d, const char *name, enum verdict verdict, const char *fmt,
                  ...) __attribute__((format(printf, 4, 5)));

static void check(struct doctor *d, const char *name, enum verdict verdict, const char *fmt,
                  ...)
{
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    op_buf_init(&text, TEXT_MAX);
    va_list ap;
    va_start(ap, fmt);
    op_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    d->problems += verdict == PROBLEM;
    if (d->json) {
        op_json_out_object(d->json);
        op_json_out_kv_text(d->json, "name", name);
        op_json_out_kv_text(d->json, "state", verdicts[verdict]);
        op_json_out_kv_str(d->json, "text", op_buf_str(&text));
        op_json_out_end_object(d->json);
        return;
    }
    op_table_add(&d->table, "%s", name);
    op_table_add(&d->table, "%s", verdicts[verdict]);
    op_table_add(&d->table, "%s", text.ptr);
}

/* --- what the program stands on ----------------------------------------------------------- */

static void check_library(struct doctor *d, const struct op_library_version *one)
{
    OP_CLEANUP(op_buf_release) struct op_buf text;
    enum verdict verdict = GOOD;
    op_buf_init(&text, 64 * 1024);
    op_buf_addf(&text, "%s%s%s", one->version, one->version[0] && one->note[0] ? ", " : "",
                one->note);
    if (!one->version[0]) {
        check(d, one->name, PROBLEM, "%s", text.ptr);
        return;
    }
    if (one->oldest && op_version_compare(one->version, one->oldest) < 0) {
        verdict = PROBLEM;
        op_buf_addf(&text, ": too old, %s or later is needed", one->oldest);
    }
    for (const struct op_known_fault *f = op_known_faults; f->library; f++) {
        if (strcmp(f->library, one->name) != 0 || !op_fault_hits(f, one->version))
            continue;
        op_buf_addf(&text, "; known of %s to before %s: %s", f->from, f->below, f->effect);
        if (f->why_not) {
            op_buf_addf(&text, ", which does not matter here: %s", f->why_not);
            continue;
        }
        op_buf_addz(&text, ": install another, unless your distribution has mended this one");
        verdict = verdict == PROBLEM ? PROBLEM : WARNING;
    }
    check(d, one->name, verdict, "%s", text.ptr);
}

static void check_versions(struct doctor *d)
{
    struct op_library_version list[OP_LIBRARIES_MOST];
    int count = op_libraries(list);
    check(d, "offpeak", GOOD, "%s", OP_VERSION);
    for (int i = 0; i < count; i++)
        check_library(d, &list[i]);
}

static bool is_set(const char *name)
{
    const char *value = name ? getenv(name) : NULL;
    return value && value[0];
}

static void check_url(struct doctor *d, const struct op_provider_ops *provider)
{
    bool own = is_set(provider->url_env);
    const char *base = own ? getenv(provider->url_env) : provider->default_url;
    struct op_str text = op_str_from(base);
    bool loopback = base && (op_str_starts(text, "http://127.0.0.1") ||
                             op_str_starts(text, "http://localhost") ||
                             op_str_starts(text, "http://[::1]"));
    if (!base)
        check(d, provider->name, PROBLEM, "%s is not set, and there is no default",
              provider->url_env);
    else if (op_str_starts(text, "http://") && !loopback)
        check(d, provider->name, PROBLEM,
              "%s is not https: the key would go out in the clear, so nothing is sent",
              provider->url_env);
    else
        check(d, provider->name, GOOD, "%s%s", base, own ? "" : " (the default)");
}

/* Nobody has keys of all of them: those without one share a line. */
static void check_keys(struct doctor *d)
{
    const struct op_provider_ops *const *all = op_providers();
    OP_CLEANUP(op_buf_release) struct op_buf missing;
    op_buf_init(&missing, 4096);
    bool any = false;
    for (size_t i = 0; all[i]; i++) {
        char about[300];
        const char *key = NULL;
        struct op_err err = OP_ERR_INIT;
        enum op_rc rc = op_key_get(all[i], &key, &err);
        bool given = rc || key;
        any = any || key;
        op_key_about(all[i], about, sizeof(about));
        if (given)
            check(d, all[i]->name, rc ? PROBLEM : GOOD, "%s", about);
        else
            op_buf_addf(&missing, "%s%s", missing.len ? ", " : "", all[i]->key_env);
        if (given || is_set(all[i]->url_env))
            check_url(d, all[i]);
    }
    if (missing.len)
        check(d, "keys", any ? GOOD : WARNING, "%s: %s",
              any ? "not set" : "none is set, so only --emulate can be used", missing.ptr);
}

static void check_prices(struct doctor *d)
{
    struct op_env *env = op_env_default();
    OP_CLEANUP(op_prices_freep) struct op_prices *prices = NULL;
    struct op_err err = OP_ERR_INIT;
    if (op_prices_load(env, d->args->prices, &prices, &err)) {
        check(d, "prices", PROBLEM, "%s", err.msg);
        return;
    }
    const char *oldest = "9999-99-99";
    for (size_t i = 0; i < prices->list.count; i++)
        if (strcmp(prices->list.rows[i].as_of, oldest) < 0)
            oldest = prices->list.rows[i].as_of;
    OP_CLEANUP(op_mem_freep) char *stamp = op_mem_printf("%sT00:00:00Z", oldest);
    int64_t when = 0;
    bool old =
        op_time_parse(op_str_from(stamp), &when) && env->ops->now_ms(env) - when > PRICES_OLD;
    check(d, "prices", old ? WARNING : GOOD, "%s, %zu rows, the oldest of %s%s", prices->file,
          prices->list.count, oldest, old ? ": older than 90 days, look them up again" : "");
}

/* --- the state folder --------------------------------------------------------------------- */

static const char *filesystem_name(long type)
{
    static const struct {
        long type;
        const char *name;
    } known[] = {
        {0xEF53, "ext4"},     {0x58465342, "xfs"},   {0x9123683E, "btrfs"},
        {0x2FC12FC1, "zfs"},  {0x01021994, "tmpfs"}, {0x794C7630, "overlay"},
        {0x6969, "nfs"},      {0xFF534D42, "cifs"},  {0x65735546, "fuse"},
        {0xF2F52010, "f2fs"}, {0x01021997, "9p"},    {0xFE534D42, "smb2"},
    };
    for (size_t i = 0; i < OP_COUNT(known); i++)
        if (known[i].type == type)
            return known[i].name;
    return "another";
}

static void check_filesystem(struct doctor *d)
{
    struct statfs fs;
    char text[OP_TEXT_SHORT];
    if (statfs(d->state_dir, &fs) < 0)
        return;
    const char *name = filesystem_name((long)fs.f_type);
    bool network = strcmp(name, "nfs") == 0 || strcmp(name, "cifs") == 0 ||
                   strcmp(name, "smb2") == 0 || strcmp(name, "9p") == 0;
    bool memory = strcmp(name, "tmpfs") == 0;
    check(d, "file system",
          network  ? PROBLEM
          : memory ? WARNING
                   : GOOD,
          "%s%s", name,
          network  ? ": locks and syncs of network file systems cannot be relied on"
          : memory ? ": what is bought is gone after a restart of the machine"
                   : "");
    int64_t space = (int64_t)fs.f_bavail * (int64_t)fs.f_bsize;
    check(d, "space", space < SPACE_LOW ? WARNING : GOOD, "%s free%s",
          op_text_bytes(space, text),
          space < SPACE_LOW ? ": no batch is sent whose answers would not fit" : "");
}

static bool check_folder(struct doctor *d)
{
    struct stat st;
    if (stat(d->state_dir, &st) < 0) {
        check(d, "state folder", GOOD, "%s is not there yet; the first run makes it",
              d->state_dir);
        return false;
    }
    bool mine = st.st_uid == geteuid();
    bool open = (st.st_mode & 077) != 0;
    bool writable = access(d->state_dir, W_OK | X_OK) == 0;
    enum verdict verdict = !S_ISDIR(st.st_mode) || !mine || !writable ? PROBLEM
                           : open                                     ? WARNING
                                                                      : GOOD;
    check(d, "state folder", verdict, "%s, mode %03o%s", d->state_dir,
          (unsigned)(st.st_mode & 0777),
          !S_ISDIR(st.st_mode) ? ": it is no folder"
          : !mine              ? ": it belongs to another user"
          : !writable          ? ": it cannot be written"
          : open               ? ": others can look into it (chmod 700)"
                               : "");
    return true;
}

static void check_lock(struct doctor *d)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(d->state_dir, "ledger.lock");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    char pid[24] = {0};
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
    pid[n > 0 ? (size_t)n : 0] = '\0';
    pid[strcspn(pid, "\n")] = '\0';
    bool held = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    close(fd);
    if (held)
        check(d, "lock", GOOD, "process %s works here", pid);
    else
        check(d, "lock", GOOD, "free");
}

static void check_quarantine(struct doctor *d)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(d->state_dir, "spool/quarantine");
    DIR *dir = opendir(path);
    int64_t count = 0;
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        count += entry->d_name[0] != '.' && !op_str_ends(op_str_from(entry->d_name), ".why");
    if (dir)
        closedir(dir);
    if (count)
        check(d, "quarantine", WARNING, "%lld files in %s: bytes that did not match their hash",
              (long long)count, path);
}

/* --- the ledger --------------------------------------------------------------------------- */

struct open_jobs {
    int64_t open, waiting;
    char *reason;
};

static enum op_rc see_job(void *arg, const struct op_job *job, struct op_err *err)
{
    (void)err;
    struct open_jobs *jobs = arg;
    jobs->open++;
    if (job->reason && job->reason[0]) {
        jobs->waiting++;
        op_mem_free(jobs->reason);
        jobs->reason = op_mem_printf("job-%lld: %s", (long long)job->id, job->reason);
    }
    return OP_OK;
}

static void see_queue(void *arg, const char *model, bool held, const char *text)
{
    check(arg, "queue", held ? WARNING : GOOD, "%s: %s", model, text);
}

static enum op_rc see_calibration(void *arg, const char *provider, const char *model,
                                  const struct op_calibration *c, struct op_err *err)
{
    (void)err;
    char text[200];
    op_calibration_text(c, text, sizeof(text));
    if (text[0])
        check(arg, "tokens", GOOD, "prompts of %s (%s) have come out %s", model, provider,
              text);
    return OP_OK;
}

static enum op_rc see_lane(void *arg, const struct op_lane_row *row, struct op_err *err)
{
    struct doctor *d = arg;
    struct op_env *env = op_env_default();
    char until[OP_TIME_TEXT] = "`recover` opens it";
    enum op_rc rc = op_queues_say(d->ledger, row->id, see_queue, d, err);
    if (rc)
        return rc;
    if (row->paused_until_ms <= env->ops->now_ms(env))
        return OP_OK;
    if (row->paused_until_ms != INT64_MAX)
        op_text_when(row->paused_until_ms, until);
    check(d, "paused", WARNING, "%s (%s) until %s: %s", row->provider, row->base_url, until,
          row->reason);
    return OP_OK;
}

static enum op_rc see_doubt(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)err;
    check(arg, "in doubt", WARNING, "batch-%lld: %s", (long long)batch->id,
          batch->evidence && batch->evidence[0] ? batch->evidence
                                                : "its create is not settled");
    return OP_OK;
}

static enum op_rc check_audit(struct doctor *d, struct op_ledger *ledger, struct op_err *err)
{
    int64_t problems = 0;
    if (!d->args->audit)
        return OP_OK;
    enum op_rc rc = op_ledger_audit(ledger, &d->audit, &problems, err);
    if (rc)
        return rc;
    check(d, "audit", problems ? PROBLEM : GOOD, problems ? "%lld problems" : "no problem",
          (long long)problems);
    return OP_OK;
}

static enum op_rc look_into(struct doctor *d, struct op_ledger *ledger, struct op_err *err)
{
    struct op_str why;
    struct open_jobs jobs = {0};
    struct op_batch_filter doubt = {.states = OP_STATE_BIT(OP_BATCH_SENDING) |
                                              OP_STATE_BIT(OP_BATCH_AMBIGUOUS)};
    check(d, "ledger", GOOD, "%s, version %d", op_ledger_uuid(ledger),
          op_ledger_version(ledger));
    if (op_ledger_is_suspect(ledger, &why))
        check(d, "ledger", PROBLEM, OP_STR_FMT ": nothing is sent until `%s`", OP_STR_ARG(why),
              op_ledger_remedy(ledger));
    enum op_rc rc = op_ledger_jobs(ledger, true, see_job, &jobs, err);
    if (!rc)
        check(d, "jobs", GOOD, "%lld open", (long long)jobs.open);
    if (jobs.reason)
        check(d, "jobs", WARNING, "%s", jobs.reason);
    op_mem_free(jobs.reason);
    d->ledger = ledger;
    if (!rc)
        rc = op_ledger_lanes(ledger, see_lane, d, err);
    if (!rc)
        rc = op_ledger_calibrations(ledger, see_calibration, d, err);
    if (!rc)
        rc = op_ledger_batches(ledger, &doubt, see_doubt, d, err);
    return rc ? rc : check_audit(d, ledger, err);
}

static void check_ledger(struct doctor *d)
{
    struct op_err err = OP_ERR_INIT;
    OP_CLEANUP(op_ledger_closep) struct op_ledger *ledger = NULL;
    if (!op_state_exists(d->state_dir)) {
        check(d, "ledger", GOOD, "none yet");
        return;
    }
    if (op_ledger_open(op_env_default(), d->state_dir, OP_LEDGER_READ, NULL, &ledger, &err) ||
        look_into(d, ledger, &err))
        check(d, "ledger", PROBLEM, "%s", err.msg);
}

/* --- the cage ------------------------------------------------------------------------------ */

/* Tried out, not guessed: doctor locks itself in as `run` does. So it comes last. */
static void check_sandbox(struct doctor *d)
{
    op_confine_doctor(d->state_dir);
    struct op_sandbox_state s = op_sandbox_state();
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, 1024);
    if (!s.entered) {
        check(d, "sandbox", WARNING, "off: %s", s.why_not);
        return;
    }
    if (s.landlock)
        op_buf_addf(&text, "Landlock (version %d): %s%s", s.landlock, s.files ? "files" : "",
                    s.tcp ? ", TCP ports" : "");
    else
        op_buf_addz(&text, "files are not confined: this kernel has no Landlock");
    op_buf_addz(&text, s.calls ? "; seccomp: system calls"
                               : "; system calls are not confined: this kernel has no seccomp");
    if (s.kills)
        op_buf_addz(&text, ", a refused one kills");
    check(d, "sandbox", s.files && s.calls ? GOOD : WARNING, "%s", text.ptr);
}

/* --- the command -------------------------------------------------------------------------- */

static void examine(struct doctor *d)
{
    check_versions(d);
    check_keys(d);
    check_prices(d);
    if (check_folder(d)) {
        check_filesystem(d);
        check_lock(d);
        check_quarantine(d);
    }
    check_ledger(d);
    check_sandbox(d);
}

static void say_json(struct doctor *d)
{
    struct op_report report;
    op_report_begin(&report);
    op_json_out_name(&report.out, "checks");
    op_json_out_array(&report.out);
    d->json = &report.out;
    examine(d);
    op_json_out_end_array(&report.out);
    op_json_out_name(&report.out, "audit");
    op_json_out_array(&report.out);
    struct op_str rest = op_buf_str(&d->audit);
    while (rest.len > 0)
        op_json_out_str(&report.out, op_str_cut(&rest, '\n'));
    op_json_out_end_array(&report.out);
    op_json_out_kv_int(&report.out, "problems", d->problems);
    op_report_print(&report);
}

static int run_doctor(struct op_args *args)
{
    struct doctor d = {.args = args};
    struct op_err err = OP_ERR_INIT;
    bool named = args->subject.has_def || args->subject.broken.rc;
    if (args->create_tables != named) {
        (void)op_fail(&err, OP_INVAL,
                      "doctor takes a pipeline with --create-tables, and only so");
        return op_say_usage(args, &err);
    }
    if (args->create_tables)
        return op_create_tables(args);
    if (op_state_dir(args, &d.state_dir, &err))
        return op_say_usage(args, &err);
    op_buf_init(&d.audit, TEXT_MAX);
    if (args->json) {
        say_json(&d);
    } else {
        OP_CLEANUP(op_buf_release) struct op_buf out = {0};
        op_buf_init(&out, TEXT_MAX);
        op_table_init(&d.table, "WHAT|STATE|");
        examine(&d);
        op_table_print(&d.table, 0, &out);
        op_text_block(&out, op_buf_str(&d.audit), 2);
        op_say(op_buf_str(&out));
    }
    op_table_release(&d.table);
    op_buf_release(&d.audit);
    op_mem_free(d.state_dir);
    return d.problems ? OP_EXIT_FAILED : OP_EXIT_OK;
}

static const struct op_option options[] = {
    OP_OPT_FLAG("audit", audit, "Check every entry of the ledger against the others"),
    OP_OPT_TEXT("prices", "FILE", prices, "Look at this price list"),
    OP_OPT_GROUP("Making what a pipeline needs"),
    OP_OPT_FLAG("create-tables", create_tables,
                "Make the DynamoDB tables it declares that are missing"),
    OP_OPT_SOFT(TEXT, "profile", "NAME", profile, "Those of this profile's inputs and outputs"),
    OP_OPT_GROUP("Where"),
    OP_OPTIONS_STATE,
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_doctor = {
    .name = "doctor",
    .about = "Says what is there and what would go wrong: versions, keys, state folder, ledger",
    .usage = (const char *const[]){"doctor [--audit]",
                                   "doctor --create-tables PIPELINE [--profile NAME]", NULL},
    .details =
        "Keys are looked for, never printed. Nothing is sent, but with --create-tables to "
        "DynamoDB. Exit code 1: a problem.",
    .options = options,
    .pipeline = true,
    .max_words = 1,
    .run = run_doctor,
};
