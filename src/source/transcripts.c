/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/time.h"
#include "source/common.h"
#include "source/source.h"
#include "source/transcript.h"
#include "source/transcript_cache.h"

/* What the folder says of a session; the cells of enum op_transcript_cell follow. */
enum {
    CELL_SESSION,
    CELL_PROJECT,
    CELL_FOLDER,
    CELL_PATH,
    CELL_SIZE,
    CELL_MODIFIED,
    OWN_CELLS
};

static const char *const columns[] = {
    "session",      "project",       "folder",    "path",       "size",     "modified_at",
    "cwd",          "branch",        "title",     "started_at", "ended_at", "messages",
    "broken",       "sidechain",     "requests",  "edits",      "errors",   "validation",
    "events",       "tools",         "files",     "commands",   "searches", "concepts",
    "search_index", "context_cache", "signature", "statistics", "hash",
};
_Static_assert(OP_COUNT(columns) == OWN_CELLS + OP_TRANSCRIPT_CELLS, "a name for each cell");

struct names {
    char **items;
    size_t count, at;
};

struct transcripts {
    struct op_source base;
    struct op_env *env;
    char *root;
    bool one_file;
    struct names projects, sessions; /* those of the project at hand */
    char *project_path;
    struct op_transcript *transcript;
    char *cache_path; /* NULL: none, or opened */
    struct op_transcript_cache *cache;
    char *path, *session; /* of the row */
    char modified[OP_TIME_TEXT];
    struct op_value cells[OP_COUNT(columns)];
};

static const struct op_source_option_spec options[] = {
    {"cache", "a file that keeps the rows, so that sessions that have not changed are not read "
              "again; it may be deleted at any time"},
    {"on_error", "fail (default) or skip: what a file does that cannot be read"},
    {"optional", "true: a missing folder is an empty table"},
    {NULL, NULL},
};

static bool guess(const char *target)
{
    (void)target;
    return false;
}

/* --- names --- */

static void names_release(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        op_mem_free(names->items[i]);
    op_mem_free(names->items);
    *names = (struct names){0};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a folder, sorted, without hidden ones (so never . and ..); with an ending only
 * those. */
static int read_names(const char *path, const char *ending, struct names *ret)
{
    DIR *dir = opendir(path);
    if (!dir)
        return errno;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_name[0] == '.' ||
            (ending && !op_str_ends(op_str_from(entry->d_name), ending)))
            continue;
        ret->items = op_mem_realloc(ret->items, (ret->count + 1) * sizeof(*ret->items));
        ret->items[ret->count++] = op_mem_strdup(entry->d_name);
    }
    closedir(dir);
    if (ret->count)
        qsort(ret->items, ret->count, sizeof(*ret->items), by_name);
    return 0;
}

/* --- life --- */

static void close_transcripts(struct op_source *source)
{
    struct transcripts *self = (struct transcripts *)source;
    op_transcript_cache_close(self->cache);
    op_transcript_free(self->transcript);
    names_release(&self->projects);
    names_release(&self->sessions);
    op_mem_free(self->root);
    op_mem_free(self->cache_path);
    op_mem_free(self->project_path);
    op_mem_free(self->path);
    op_mem_free(self->session);
    op_mem_free(self);
}

static void close_transcriptsp(struct transcripts **self)
{
    if (*self)
        close_transcripts(&(*self)->base);
}

static enum op_rc list_root(struct transcripts *self, const struct op_source_config *config,
                            struct op_err *err)
{
    static const char *const endings[] = {".jsonl", NULL};
    bool optional = false;
    enum op_rc rc = op_source_flag(config, "optional", false, &optional, err);
    if (rc)
        return rc;
    if (op_source_ends_with(self->root, endings)) {
        self->one_file = true;
        return op_source_probe(config, &optional, err);
    }
    int code = read_names(self->root, NULL, &self->projects);
    if (!code || (code == ENOENT && optional))
        return OP_OK;
    if (code == ENOENT)
        return op_fail(err, OP_NOTFOUND,
                       "%s: input '%s': there is no folder '%s'; it holds a folder for each "
                       "project, and in it the sessions (*.jsonl)",
                       config->place, config->name, self->root);
    errno = code;
    return op_fail_errno(err, OP_IO, "%s: input '%s': cannot read the folder '%s'",
                         config->place, config->name, self->root);
}

static enum op_rc open_transcripts(const struct op_source_config *config,
                                   struct op_source **ret, struct op_err *err)
{
    OP_CLEANUP(close_transcriptsp) struct transcripts *self = op_mem_alloc(sizeof(*self));
    self->base = (struct op_source){
        .ops = &op_source_transcripts, .columns = columns, .column_count = OP_COUNT(columns)};
    self->env = config->env;
    self->root = op_mem_strdup(config->target);
    for (size_t len = strlen(self->root); len > 1 && self->root[len - 1] == '/'; len--)
        self->root[len - 1] = '\0';
    self->transcript = op_transcript_new();
    enum op_rc rc = list_root(self, config, err);
    if (rc)
        return rc;
    self->cache_path = op_mem_strdup(op_source_option_get(config, "cache", NULL));
    *ret = &OP_TAKE(self)->base;
    return OP_OK;
}

/* --- a session --- */

static enum op_rc read_lines(struct transcripts *self, int64_t size, struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    struct op_line line;
    enum op_rc rc =
        op_lines_open(self->env, self->path, 0, OP_TRANSCRIPT_MAX_LINE, &lines, err);
    op_transcript_begin(self->transcript, size);
    while (!rc && !(rc = op_lines_next(lines, &line, err))) {
        if (line.oversize)
            op_transcript_skip(self->transcript);
        else
            op_transcript_line(self->transcript, (struct op_str){line.ptr, line.len},
                               line.offset, !line.terminated);
    }
    return lines && rc == OP_NOTFOUND ? OP_OK : rc;
}

/* "-home-me-projects-shop" is shop: the name that the folder's own path had, as far as it can be
 * told. */
static struct op_str project_of(const char *folder)
{
    static const char mark[] = "-projects-";
    const char *at = folder, *name = folder;
    while ((at = strstr(at, mark))) {
        at += sizeof(mark) - 1;
        if (*at)
            name = at;
    }
    return op_str_from(name);
}

static void set_own_cells(struct transcripts *self, const char *folder, const struct stat *st)
{
    int64_t ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
    op_time_format(ms, self->modified);
    self->cells[CELL_SESSION] = op_value_text(op_str_from(self->session));
    self->cells[CELL_PROJECT] = op_value_text(project_of(folder));
    self->cells[CELL_FOLDER] = op_value_text(op_str_from(folder));
    self->cells[CELL_PATH] = op_value_text(op_str_from(self->path));
    self->cells[CELL_SIZE] = op_value_int(st->st_size);
    self->cells[CELL_MODIFIED] = op_value_text(op_str_from(self->modified));
}

/* OP_NOTFOUND, err untouched: it is gone, or no file. A link is none: it may lead anywhere, round
 * in circles too. */
static enum op_rc read_session(struct transcripts *self, const char *folder, struct op_err *err)
{
    struct stat st;
    struct op_err why = OP_ERR_INIT;
    if (lstat(self->path, &st) < 0 || !S_ISREG(st.st_mode))
        return OP_NOTFOUND;
    int64_t mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    const struct op_value *cells =
        op_transcript_cache_find(self->cache, self->path, st.st_size, mtime_ns);
    if (!cells) {
        enum op_rc rc = read_lines(self, st.st_size, &why);
        if (rc == OP_NOTFOUND)
            return rc;
        if (rc)
            return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "%s", why.msg);
        cells = op_transcript_end(self->transcript);
        op_transcript_cache_add(self->cache, self->path, st.st_size, mtime_ns, cells);
    }
    set_own_cells(self, folder, &st);
    memcpy(&self->cells[OWN_CELLS], cells, OP_TRANSCRIPT_CELLS * sizeof(*cells));
    return OP_OK;
}

/* The session's name is its file's without the ending. A name that is no text cannot be a key. */
static enum op_rc take(struct transcripts *self, char *path, const char *folder,
                       struct op_err *err)
{
    op_mem_free(self->path);
    op_mem_free(self->session);
    self->path = path;
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    self->session = op_mem_strndup(name, strlen(name) - strlen(".jsonl"));
    if (op_utf8_valid_len(path, strlen(path)) != strlen(path))
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "%s: the name is not UTF-8 text",
                          path);
    return read_session(self, folder, err);
}

static enum op_rc next_file(struct transcripts *self, struct op_err *err)
{
    if (self->path)
        return OP_NOTFOUND;
    OP_CLEANUP(op_mem_freep) char *dir = op_io_dirname(self->root);
    const char *slash = strrchr(dir, '/');
    return take(self, op_mem_strdup(self->root), slash && slash[1] ? slash + 1 : dir, err);
}

/* Goes on to the next project with sessions; OP_NOTFOUND, err untouched: there is none. */
static enum op_rc next_project(struct transcripts *self, struct op_err *err)
{
    while (self->sessions.at == self->sessions.count) {
        struct stat st;
        names_release(&self->sessions);
        if (self->projects.at == self->projects.count)
            return OP_NOTFOUND;
        op_mem_free(self->project_path);
        self->project_path = op_io_join(self->root, self->projects.items[self->projects.at++]);
        if (lstat(self->project_path, &st) < 0 || !S_ISDIR(st.st_mode))
            continue;
        int code = read_names(self->project_path, ".jsonl", &self->sessions);
        if (code && code != ENOENT)
            return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "cannot read the folder %s: %s",
                              self->project_path, strerrordesc_np(code));
    }
    return OP_OK;
}

static enum op_rc next_transcript(struct op_source *source, const struct op_value **ret_cells,
                                  struct op_err *err)
{
    struct transcripts *self = (struct transcripts *)source;
    enum op_rc rc = OP_NOTFOUND;
    if (self->cache_path) { /* not before rows are wanted: validate asks for the columns alone */
        self->cache = op_transcript_cache_open(self->cache_path);
        op_mem_free(OP_TAKE(self->cache_path));
    }
    if (self->one_file) {
        rc = next_file(self, err);
    } else {
        while (rc == OP_NOTFOUND && !(rc = next_project(self, err))) {
            const char *name = self->sessions.items[self->sessions.at++];
            rc = take(self, op_io_join(self->project_path, name),
                      self->projects.items[self->projects.at - 1], err);
        }
        if (rc == OP_NOTFOUND && !err->rc)
            op_transcript_cache_prune(self->cache, self->root);
    }
    if (!rc)
        *ret_cells = self->cells;
    return rc;
}

const struct op_source_ops op_source_transcripts = {
    .kind = "transcripts",
    .help = "sessions of a coding assistant: a folder of projects with JSON lines, a row each",
    .fixed = true,
    .options = options,
    .guess = guess,
    .open = open_transcripts,
    .next = next_transcript,
    .close = close_transcripts,
};
