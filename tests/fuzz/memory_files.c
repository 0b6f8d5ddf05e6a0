/* SPDX-License-Identifier: MIT */
#include "memory_files.h"

#include <string.h>

#define MAX_BYTES (64 * 1024 * 1024)

static struct memory_files *of(struct op_env *env)
{
    return (struct memory_files *)env;
}

static struct memory_file *find(struct memory_files *fs, const char *path)
{
    for (size_t i = 0; i < MEMORY_FILES; i++)
        if (fs->files[i].path && strcmp(fs->files[i].path, path) == 0)
            return &fs->files[i];
    return NULL;
}

static void drop_unused(struct memory_file *file)
{
    if (file->path || file->handles)
        return;
    op_buf_release(&file->data);
    *file = (struct memory_file){0};
}

static void forget(struct memory_file *file)
{
    op_mem_freep(&file->path);
    drop_unused(file);
}

static struct memory_file *make(struct memory_files *fs, const char *path)
{
    for (size_t i = 0; i < MEMORY_FILES; i++) {
        struct memory_file *file = &fs->files[i];
        if (file->is_used)
            continue;
        *file = (struct memory_file){.path = op_mem_strdup(path), .is_used = true};
        op_buf_init(&file->data, MAX_BYTES);
        return file;
    }
    FUZZ_CHECK(false, "too many files for %s", path);
}

static int fs_open(struct op_env *env, const char *path, int flags, mode_t mode)
{
    (void)mode;
    struct memory_files *fs = of(env);
    struct memory_file *file = find(fs, path);
    if (file && (flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (!file && !(flags & O_CREAT))
        return -ENOENT;
    if (!file)
        file = make(fs, path);
    if (flags & O_TRUNC)
        op_buf_clear(&file->data);
    for (int fd = 0; fd < MEMORY_HANDLES; fd++) {
        if (fs->handles[fd].file)
            continue;
        fs->handles[fd].file = file;
        fs->handles[fd].at = 0;
        fs->handles[fd].appends = flags & O_APPEND;
        file->handles++;
        return fd;
    }
    return -EMFILE;
}

static int fs_close(struct op_env *env, int fd)
{
    struct memory_files *fs = of(env);
    FUZZ_CHECK(fd >= 0 && fd < MEMORY_HANDLES && fs->handles[fd].file, "close of %d", fd);
    struct memory_file *file = OP_TAKE(fs->handles[fd].file);
    file->handles--;
    drop_unused(file);
    return 0;
}

static struct op_buf *data_of(struct op_env *env, int fd)
{
    struct memory_files *fs = of(env);
    FUZZ_CHECK(fd >= 0 && fd < MEMORY_HANDLES && fs->handles[fd].file, "use of %d", fd);
    return &fs->handles[fd].file->data;
}

static ssize_t fs_pread(struct op_env *env, int fd, void *ptr, size_t len, int64_t offset)
{
    struct op_buf *data = data_of(env, fd);
    if (offset < 0)
        return -EINVAL;
    if ((uint64_t)offset >= data->len)
        return 0;
    size_t left = data->len - (size_t)offset;
    size_t step = of(env)->step;
    size_t n = len < left ? len : left;
    if (step && n > step)
        n = step;
    memcpy(ptr, data->ptr + offset, n);
    return (ssize_t)n;
}

static ssize_t fs_read(struct op_env *env, int fd, void *ptr, size_t len)
{
    ssize_t n = fs_pread(env, fd, ptr, len, (int64_t)of(env)->handles[fd].at);
    if (n > 0)
        of(env)->handles[fd].at += (size_t)n;
    return n;
}

static int fs_truncate(struct op_env *env, int fd, int64_t len)
{
    struct op_buf *data = data_of(env, fd);
    if (len < 0 || len > MAX_BYTES)
        return -EFBIG;
    while (data->len < (size_t)len)
        op_buf_addc(data, '\0');
    data->len = (size_t)len;
    return 0;
}

static ssize_t fs_pwrite(struct op_env *env, int fd, const void *ptr, size_t len,
                         int64_t offset)
{
    struct op_buf *data = data_of(env, fd);
    if (offset < 0 || offset + (int64_t)len > MAX_BYTES)
        return -EFBIG;
    if ((size_t)offset + len > data->len && fs_truncate(env, fd, offset + (int64_t)len))
        return -EFBIG;
    if (len)
        memcpy(data->ptr + offset, ptr, len);
    return (ssize_t)len;
}

static ssize_t fs_write(struct op_env *env, int fd, const void *ptr, size_t len)
{
    struct memory_files *fs = of(env);
    size_t at = fs->handles[fd].appends ? data_of(env, fd)->len : fs->handles[fd].at;
    ssize_t n = fs_pwrite(env, fd, ptr, len, (int64_t)at);
    if (n > 0)
        fs->handles[fd].at = at + (size_t)n;
    return n;
}

static int64_t fs_size(struct op_env *env, int fd)
{
    return (int64_t)data_of(env, fd)->len;
}

static int fs_rename(struct op_env *env, const char *from, const char *to, bool replace)
{
    struct memory_file *file = find(of(env), from), *old = find(of(env), to);
    if (!file)
        return -ENOENT;
    if (old && !replace)
        return -EEXIST;
    if (old && old != file)
        forget(old);
    op_mem_free(file->path);
    file->path = op_mem_strdup(to);
    return 0;
}

static int fs_unlink(struct op_env *env, const char *path)
{
    struct memory_file *file = find(of(env), path);
    if (!file)
        return -ENOENT;
    forget(file);
    return 0;
}

static int fs_fsync(struct op_env *env, int fd)
{
    (void)data_of(env, fd);
    return 0;
}

static void fs_writeback(struct op_env *env, int fd, int64_t offset, int64_t len)
{
    (void)env, (void)fd, (void)offset, (void)len;
}

static int fs_mkdir(struct op_env *env, const char *path, mode_t mode)
{
    (void)env, (void)path, (void)mode;
    return -EEXIST;
}

static int fs_fsync_dir(struct op_env *env, const char *path)
{
    (void)env, (void)path;
    return 0;
}

static int fs_allocate(struct op_env *env, int fd, int64_t len)
{
    return len > fs_size(env, fd) ? fs_truncate(env, fd, len) : 0;
}

static int64_t fs_free_bytes(struct op_env *env, const char *path)
{
    (void)env, (void)path;
    return INT64_MAX;
}

static int64_t fs_time(struct op_env *env)
{
    (void)env;
    return 1800000000000;
}

static void fs_sleep(struct op_env *env, int64_t ms)
{
    (void)env, (void)ms;
}

static void fs_random(struct op_env *env, void *ptr, size_t len)
{
    struct memory_files *fs = of(env);
    for (size_t i = 0; i < len; i++) {
        fs->seed = fs->seed * UINT64_C(6364136223846793005) + 1;
        ((uint8_t *)ptr)[i] = (uint8_t)(fs->seed >> 56);
    }
}

static void fs_fault(struct op_env *env, const char *point)
{
    (void)env, (void)point;
}

void memory_files_init(struct memory_files *fs, size_t step)
{
    *fs = (struct memory_files){.step = step, .seed = 7};
    fs->ops = (struct op_env_ops){
        .name = "memory",
        .now_ms = fs_time,
        .mono_ms = fs_time,
        .sleep_ms = fs_sleep,
        .random = fs_random,
        .open = fs_open,
        .close = fs_close,
        .read = fs_read,
        .pread = fs_pread,
        .write = fs_write,
        .pwrite = fs_pwrite,
        .fsync = fs_fsync,
        .writeback = fs_writeback,
        .truncate = fs_truncate,
        .size = fs_size,
        .rename = fs_rename,
        .unlink = fs_unlink,
        .mkdir = fs_mkdir,
        .fsync_dir = fs_fsync_dir,
        .allocate = fs_allocate,
        .free_bytes = fs_free_bytes,
        .fault = fs_fault,
    };
    fs->env.ops = &fs->ops;
}

void memory_files_release(struct memory_files *fs)
{
    for (size_t i = 0; i < MEMORY_FILES; i++) {
        FUZZ_CHECK(!fs->files[i].handles, "%s was left open",
                   fs->files[i].path ? fs->files[i].path : "an unlinked file");
        if (fs->files[i].is_used)
            forget(&fs->files[i]);
    }
}

void memory_files_put(struct memory_files *fs, const char *path, struct op_str text)
{
    struct memory_file *file = find(fs, path);
    if (!file)
        file = make(fs, path);
    op_buf_clear(&file->data);
    op_buf_add(&file->data, text.ptr, text.len);
}

struct op_str memory_files_get(const struct memory_files *fs, const char *path)
{
    const struct memory_file *file = find((struct memory_files *)(uintptr_t)fs, path);
    return file ? op_buf_str(&file->data) : OP_STR_NULL;
}
