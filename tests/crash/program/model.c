/* SPDX-License-Identifier: MIT */
#include "model.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raw.h"

#define SECTOR 512
#define LONG   (2 * MODEL_PATH + 128)

static void broken(const char *what, const char *path)
{
    char text[512];
    int len = snprintf(text, sizeof(text), "fault program: the model cannot %s %s: %s\n", what,
                       path, strerror(errno));
    (void)raw_write(2, text, (size_t)len);
    raw_exit(99);
}

static void file_path(const char *dir, int file, char ret[LONG])
{
    snprintf(ret, LONG, "%s/%d", dir, file);
}

static void root_path(const struct model *m, const char *path, char ret[LONG])
{
    snprintf(ret, LONG, "%s/%s", m->root, path);
}

/* ---- content ---- */

#define ARENA_BYTES (256LL << 20)

static char *arena;

/* Room for so many bytes of durable content; what lies behind them reads as zeroes. */
static void reserve(struct model *m, struct model_file *f, int64_t len)
{
    if (len <= f->room)
        return;
    int64_t room = len + len / 2 + 4096, at = m->arena_used;
    if (at + room > ARENA_BYTES)
        broken("keep the content of", "files in its arena");
    m->arena_used += room;
    memcpy(arena + at, arena + f->at, (size_t)f->len);
    memset(arena + at + f->len, 0, (size_t)(room - f->len));
    f->at = at;
    f->room = room;
}

static int64_t length_of(const char *path)
{
    int fd = raw_open(path, O_RDONLY, 0);
    int64_t len = fd < 0 ? -1 : raw_seek_end(fd);
    raw_close(fd);
    return len;
}

/* Makes [lo, hi) of the durable content what the file has now, and its length too. It reads through
 * the program's own descriptor: to open and close another one would drop the locks that SQLite has
 * on the file. Only what can be written alone is opened, and that is never a database. */
static void keep(struct model *m, int file, int fd, int64_t lo, int64_t hi)
{
    struct model_file *f = &m->files[file];
    char path[LONG], byte;
    struct stat st;
    file_path(m->inodes, file, path);
    bool own = fd < 0 || raw_pread(fd, &byte, 1, 0) == -EBADF;
    if (own)
        fd = raw_open(path, O_RDONLY, 0);
    if (fd < 0 || syscall(SYS_fstat, fd, &st))
        broken("open", path);
    int64_t len = st.st_size;
    reserve(m, f, len);
    hi = hi < len ? hi : len;
    if (lo < hi && raw_pread(fd, arena + f->at + lo, (size_t)(hi - lo), lo) != hi - lo)
        broken("read", path);
    if (len < f->len)
        memset(arena + f->at + len, 0, (size_t)(f->len - len));
    f->len = len;
    if (own)
        raw_close(fd);
}

void model_before_write(struct model *m, int file, int fd, int64_t lo, int64_t hi)
{
    struct model_file *f = &m->files[file];
    if (!f->is_split && !f->never_synced)
        keep(m, file, fd, 0, INT64_MAX);
    f->is_split = true;
    bool none = f->lo == f->hi;
    f->lo = none || lo < f->lo ? lo : f->lo;
    f->hi = none || hi > f->hi ? hi : f->hi;
}

void model_synced(struct model *m, int file, int fd, bool failed)
{
    struct model_file *f = &m->files[file];
    if (failed && f->lo < f->hi) {
        bool none = f->lost_lo == f->lost_hi;
        f->lost_lo = none || f->lo < f->lost_lo ? f->lo : f->lost_lo;
        f->lost_hi = none || f->hi > f->lost_hi ? f->hi : f->lost_hi;
    }
    if (!failed) {
        /* Written anew, and this time it arrived. */
        if (f->lo / SECTOR * SECTOR <= f->lost_lo &&
            (f->hi + SECTOR - 1) / SECTOR * SECTOR >= f->lost_hi)
            f->lost_lo = f->lost_hi = 0;
        if (f->is_split)
            keep(m, file, fd, f->lo, f->hi);
        f->is_split = f->is_split || f->never_synced;
        f->never_synced = false;
    }
    f->lo = f->hi = 0;
}

/* ---- names ---- */

static int find(const struct model_name *names, int count, const char *path)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i].path, path) == 0)
            return i;
    }
    return -1;
}

int model_find(const struct model *m, const char *path)
{
    int i = find(m->now, m->now_count, path);
    return i < 0 ? -1 : m->now[i].file;
}

static void put(struct model_name *names, int *count, const char *path, int file)
{
    int i = find(names, *count, path);
    if (i < 0) {
        if (*count == MODEL_NAMES)
            broken("remember", path);
        i = (*count)++;
    }
    snprintf(names[i].path, MODEL_PATH, "%s", path);
    names[i].file = file;
}

static void drop(struct model_name *names, int *count, const char *path)
{
    int i = find(names, *count, path);
    if (i >= 0)
        names[i] = names[--*count];
}

static void apply(struct model_name *names, int *count, const struct model_op *op)
{
    if (op->from[0]) {
        int i = find(names, *count, op->from);
        if (i < 0 && op->to[0])
            return;
        if (i >= 0 && op->to[0] && names[i].file != op->file)
            return;
        drop(names, count, op->from);
    }
    if (op->to[0])
        put(names, count, op->to, op->file);
}

static void parent(const char *path, char ret[MODEL_PATH])
{
    const char *slash = strrchr(path, '/');
    snprintf(ret, MODEL_PATH, "%.*s", slash ? (int)(slash - path) : 0, path);
}

static bool is_in(const char *path, const char *folder)
{
    char dir[MODEL_PATH];
    parent(path, dir);
    return path[0] && strcmp(dir, folder) == 0;
}

static void add_op(struct model *m, const char *from, const char *to, int file)
{
    if (m->op_count == MODEL_OPS)
        broken("remember a change of", from[0] ? from : to);
    struct model_op *op = &m->ops[m->op_count++];
    snprintf(op->from, MODEL_PATH, "%s", from);
    snprintf(op->to, MODEL_PATH, "%s", to);
    op->file = file;
    apply(m->now, &m->now_count, op);
}

void model_synced_folder(struct model *m, const char *path)
{
    int kept = 0;
    for (int i = 0; i < m->op_count; i++) {
        if (is_in(m->ops[i].from, path) || is_in(m->ops[i].to, path))
            apply(m->disk, &m->disk_count, &m->ops[i]);
        else
            m->ops[kept++] = m->ops[i];
    }
    m->op_count = kept;
}

static void hold_inode(struct model *m, const char *path, int file)
{
    char from[LONG], to[LONG];
    root_path(m, path, from);
    file_path(m->inodes, file, to);
    raw_unlink(to);
    if (raw_link(from, to))
        broken("hold", from);
}

int model_created(struct model *m, const char *path, bool is_dir)
{
    if (m->file_count == MODEL_FILES)
        broken("remember", path);
    int file = m->file_count++;
    m->files[file] = (struct model_file){.used = true, .is_dir = is_dir, .never_synced = true};
    if (!is_dir)
        hold_inode(m, path, file);
    add_op(m, "", path, file);
    return file;
}

void model_removed(struct model *m, const char *path)
{
    add_op(m, path, "", model_find(m, path));
}

void model_renamed(struct model *m, const char *from, const char *to)
{
    add_op(m, from, to, model_find(m, from));
}

void model_linked(struct model *m, const char *from, const char *to)
{
    add_op(m, "", to, model_find(m, from));
}

/* ---- beginning ---- */

static void clear_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        broken("open", path);
    for (struct dirent *e; (e = readdir(dir));) {
        char full[LONG];
        snprintf(full, sizeof(full), "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.')
            raw_unlink(full);
    }
    closedir(dir);
}

static void register_below(struct model *m, const char *folder)
{
    char path[LONG];
    root_path(m, folder, path);
    DIR *dir = opendir(path);
    if (!dir)
        broken("open", path);
    for (struct dirent *e; (e = readdir(dir));) {
        char name[MODEL_PATH];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(name, sizeof(name), "%s%s%s", folder, folder[0] ? "/" : "", e->d_name);
        bool is_dir = e->d_type == DT_DIR;
        int file = model_created(m, name, is_dir);
        m->files[file].never_synced = false;
        if (is_dir)
            register_below(m, name);
    }
    closedir(dir);
}

static void take_as_durable(struct model *m)
{
    m->file_count = m->now_count = m->disk_count = m->op_count = 0;
    m->arena_used = 0;
    clear_folder(m->inodes);
    register_below(m, "");
    memcpy(m->disk, m->now, sizeof(m->now[0]) * (size_t)m->now_count);
    m->disk_count = m->now_count;
    m->op_count = 0;
}

void model_begin(struct model *m, const char *root, const char *scratch)
{
    snprintf(m->root, sizeof(m->root), "%s", root);
    snprintf(m->inodes, sizeof(m->inodes), "%s/inodes", scratch);
    (void)raw_mkdir(m->inodes, 0700);
    if (!arena)
        arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED)
        broken("map", "its arena");
    take_as_durable(m);
}

/* ---- power loss ---- */

static uint64_t next(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

struct content {
    char *ptr;
    int64_t len;
};

static struct content read_all(const char *path)
{
    struct content c = {0};
    c.len = length_of(path);
    if (c.len < 0)
        c.len = 0;
    c.ptr = calloc(1, (size_t)c.len + SECTOR);
    int fd = raw_open(path, O_RDONLY, 0);
    if (fd >= 0 && raw_pread(fd, c.ptr, (size_t)c.len, 0) != c.len)
        broken("read", path);
    raw_close(fd);
    return c;
}

/* Which of the two a sector shows. Beyond the old end a sector that was not written reads as
 * zeroes; a cut that did not reach the disk leaves what was there. */
static void mix(struct content old, struct content now, const struct model_file *f, int how,
                uint64_t *seed, struct content *ret)
{
    int64_t len = how == 0 ? old.len : how == 1 ? now.len : next(seed) & 1 ? old.len : now.len;
    ret->ptr = calloc(1, (size_t)len + SECTOR);
    ret->len = len;
    for (int64_t at = 0; at < len; at += SECTOR) {
        int64_t size = len - at < SECTOR ? len - at : SECTOR;
        bool is_new = how == 0 ? false : how == 1 ? true : (next(seed) & 1) != 0;
        bool lost = at < f->lost_hi && at + SECTOR > f->lost_lo;
        if (lost)
            is_new = (next(seed) & 3) == 0;
        const struct content *from = is_new ? &now : &old;
        int64_t there = from->len - at < size ? from->len - at : size;
        if (there > 0)
            memcpy(ret->ptr + at, from->ptr + at, (size_t)there);
        /* Old bytes behind a new, shorter end. */
        if (is_new && there < size && old.len > at + (there > 0 ? there : 0)) {
            int64_t from_at = there > 0 ? there : 0;
            int64_t left = old.len - at < size ? old.len - at : size;
            memcpy(ret->ptr + at + from_at, old.ptr + at + from_at, (size_t)(left - from_at));
        }
    }
}

/* how: 0 old, 1 new, 2 any sectors */
static void make_content(struct model *m, int file, int how, uint64_t *seed, const char *to)
{
    struct model_file *f = &m->files[file];
    char now_path[LONG];
    file_path(m->inodes, file, now_path);
    struct content now = read_all(now_path), image = {0};
    struct content old = {arena + f->at, f->len};
    if (f->is_split || f->never_synced)
        mix(old, now, f, how, seed, &image);
    else
        image = (struct content){now.ptr, now.len};
    int fd = raw_open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || raw_pwrite(fd, image.ptr, (size_t)image.len, 0) != image.len)
        broken("make", to);
    raw_close(fd);
    if (image.ptr != now.ptr)
        free(image.ptr);
    free(now.ptr);
}

static void choose_names(struct model *m, enum model_image image, uint64_t *seed)
{
    int prefix = (int)(next(seed) % (uint64_t)(m->op_count + 1));
    uint64_t salt = next(seed);
    for (int i = 0; i < m->op_count; i++) {
        const struct model_op *op = &m->ops[i];
        bool keep = image == MODEL_ALL || image == MODEL_NAMES_ONLY || image == MODEL_TORN ||
                    ((image == MODEL_PREFIX || image == MODEL_SOME_FILES) && i < prefix);
        if (image == MODEL_BY_FOLDER) {
            char folder[MODEL_PATH];
            parent(op->to[0] ? op->to : op->from, folder);
            uint64_t s = salt;
            for (const char *c = folder; *c; c++)
                s = s * 31 + (unsigned char)*c;
            keep = i < (int)(next(&s) % (uint64_t)(m->op_count + 1));
        }
        if (keep)
            apply(m->disk, &m->disk_count, op);
    }
}

static int by_path(const void *a, const void *b)
{
    const struct model_name *x = a, *y = b;
    return strcmp(x->path, y->path);
}

/* Removes what the image does not have. Folders that stay keep their inode. */
static void clear_below(const struct model *m, const char *folder)
{
    char path[LONG];
    root_path(m, folder, path);
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));) {
        char name[MODEL_PATH], full[LONG];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(name, sizeof(name), "%s%s%s", folder, folder[0] ? "/" : "", e->d_name);
        root_path(m, name, full);
        int i = find(m->disk, m->disk_count, name);
        if (e->d_type == DT_DIR) {
            clear_below(m, name);
            if (i < 0)
                raw_rmdir(full);
        } else {
            raw_unlink(full);
        }
    }
    closedir(dir);
}

void model_power_loss(struct model *m, enum model_image image, uint64_t seed)
{
    static char made[MODEL_NAMES][LONG];
    choose_names(m, image, &seed);
    qsort(m->disk, (size_t)m->disk_count, sizeof(m->disk[0]), by_path);
    for (int i = 0; i < m->disk_count; i++) {
        struct model_name *name = &m->disk[i];
        if (m->files[name->file].is_dir)
            continue;
        int how = 2;
        if (image == MODEL_NOTHING || image == MODEL_NAMES_ONLY)
            how = 0;
        else if (image == MODEL_ALL || image == MODEL_DATA_ONLY)
            how = 1;
        else if (image == MODEL_SOME_FILES)
            how = (int)(next(&seed) & 1);
        snprintf(made[i], LONG, "%s/new-%d", m->inodes, i);
        make_content(m, name->file, how, &seed, made[i]);
    }
    clear_below(m, "");
    for (int i = 0; i < m->disk_count; i++) {
        struct model_name *name = &m->disk[i];
        char path[LONG];
        root_path(m, name->path, path);
        if (m->files[name->file].is_dir)
            (void)raw_mkdir(path, 0700);
        else if (raw_rename(made[i], path)) /* its folder did not survive */
            raw_unlink(made[i]);
    }
    take_as_durable(m);
}
