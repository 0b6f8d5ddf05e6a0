/* SPDX-License-Identifier: MIT */
#ifndef OP_CRASH_MODEL_H
#define OP_CRASH_MODEL_H

/*
 * Model:     what a disk holds after a power loss. Per inode: its content at the last fsync, and what
 *            was written since; per folder: the names that were made, moved and removed since its own
 *            last fsync, in order. The present is the real file system below ROOT; each inode has a
 *            second, hard link in INODES, so that it is there after its name is gone; its durable
 *            content is copied into an arena before the first change.
 *            reference/reliability.md 5.3. Stricter than ext4: the fsync of a file makes no name
 *            durable, and folders are independent of each other.
 * Ownership: plain memory without pointers: it may lie in memory that processes share, and outlives
 *            the process whose calls it has followed. The arena is shared memory of the model's own.
 * Errors:    a call of the model's own that fails ends the process: the model would be wrong.
 * Threads:   the caller holds a lock.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MODEL_FILES 768
#define MODEL_NAMES 512
#define MODEL_OPS   512
#define MODEL_PATH  160 /* below ROOT, with its NUL */

struct model_file {
    bool used, is_dir;
    bool
        is_split; /* the durable content is kept apart, and may be another than the present one */
    bool never_synced;        /* no content is durable at all */
    int64_t at, room, len;    /* the durable content, in the arena */
    int64_t lo, hi;           /* written since the last fsync; lo == hi: nothing */
    int64_t lost_lo, lost_hi; /* written, and dropped by an fsync that failed */
};

struct model_name {
    char path[MODEL_PATH];
    int file;
};

/* A change of names. from empty: made; to empty: removed. */
struct model_op {
    char from[MODEL_PATH], to[MODEL_PATH];
    int file;
};

struct model {
    char root[128], inodes[128];
    int64_t arena_used;
    struct model_file files[MODEL_FILES];
    int file_count;
    struct model_name now[MODEL_NAMES], disk[MODEL_NAMES];
    int now_count, disk_count;
    struct model_op ops[MODEL_OPS];
    int op_count;
};

/* What is kept of that which was not synced. */
enum model_image {
    MODEL_NOTHING,    /* neither data nor names */
    MODEL_ALL,        /* both: as after a kill */
    MODEL_NAMES_ONLY, /* renames before the data */
    MODEL_DATA_ONLY,  /* data without the names */
    MODEL_PREFIX,    /* the first names in the order they were made; of each file any sectors */
    MODEL_BY_FOLDER, /* as PREFIX, with each folder for itself */
    MODEL_TORN,      /* all names; of each file any sectors */
    MODEL_SOME_FILES, /* PREFIX; each file wholly old or wholly new */
    MODEL_IMAGE_COUNT,
};

/* Takes what is below root (a folder that exists) as durable. scratch: a folder for INODES
 * on the same file system. */
void model_begin(struct model *m, const char *root, const char *scratch);

/* path relative to root. Each is called when the real call has succeeded. */
int model_find(const struct model *m, const char *path); /* -1: no such name */
int model_created(struct model *m, const char *path, bool is_dir);
void model_removed(struct model *m, const char *path);
void model_renamed(struct model *m, const char *from, const char *to);
void model_linked(struct model *m, const char *from, const char *to);
/* fd: a descriptor of the program's for the file, -1 none.
 * Before [lo, hi) of a file changes; a change of length is one up to the longer of the two. */
void model_before_write(struct model *m, int file, int fd, int64_t lo, int64_t hi);
/* A sync of a file has returned. failed: what it was to write is marked clean all the same, as Linux
 * does (ATC'20, "Can applications recover from fsync failures?"). */
void model_synced(struct model *m, int file, int fd, bool failed);
/* A sync of a folder has succeeded: its names are durable. */
void model_synced_folder(struct model *m, const char *path);

/* Power is lost: ROOT becomes an image of what the disk may hold, and that is durable. */
void model_power_loss(struct model *m, enum model_image image, uint64_t seed);

#endif
