/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: an entry of the black box is there or not, whatever happens while it is written; it
 *            takes no room of the disk; the oldest of 2048 is overwritten; torn slots and those of
 *            other ledgers say nothing, and a doubt lasts until it is proved. The ballast takes its size and gives it back, and is only
 *            made where there is plenty.
 * Oracle:    the entries written, kept in the test; the file's size and blocks as the kernel tells
 *            them; an environment that allows no byte behind what the file had, or fails.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../folder.h"
#include "ledger/blackbox.h"
#include "support.h"

#define UUID  "00000000-0000-4000-8000-000000000001"
#define OTHER "00000000-0000-4000-8000-000000000002"
#define SLOTS (OP_BLACKBOX_BYTES / OP_BLACKBOX_SLOT)

static char dir[128], box[160], ballast[160];
static struct op_env_ops ops;
static struct op_env env = {.ops = &ops};
static int64_t free_space, room; /* bytes a file may have; INT64_MAX any */

static ssize_t limited_pwrite(struct op_env *self, int fd, const void *ptr, size_t len,
                              int64_t offset)
{
    (void)self;
    if (offset + (int64_t)len > room)
        return -ENOSPC;
    return op_env_default()->ops->pwrite(op_env_default(), fd, ptr, len, offset);
}

static int64_t told_free_bytes(struct op_env *self, const char *path)
{
    (void)self;
    (void)path;
    return free_space;
}

static int setup(void **state)
{
    (void)state;
    ops = *op_env_default()->ops;
    ops.pwrite = limited_pwrite;
    ops.free_bytes = told_free_bytes;
    free_space = INT64_MAX;
    room = INT64_MAX;
    assert_true(test_folder_make(dir, sizeof(dir), "blackbox"));
    snprintf(box, sizeof(box), "%s/blackbox", dir);
    snprintf(ballast, sizeof(ballast), "%s/ballast", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(box);
    unlink(ballast);
    return rmdir(dir);
}

static void put(const char *uuid, int64_t batch)
{
    char id[32];
    struct op_err err = OP_ERR_INIT;
    snprintf(id, sizeof(id), "msgbatch_%lld", (long long)batch);
    struct op_blackbox_entry entry = {batch, "abcdefgh", id, batch * 1000};
    assert_int_equal(op_blackbox_write(&env, dir, uuid, &entry, &err), OP_OK);
}

struct found {
    int64_t count, lowest, highest;
};

static enum op_rc see(void *arg, const struct op_blackbox_entry *entry, struct op_err *err)
{
    (void)err;
    struct found *found = arg;
    char id[32];
    snprintf(id, sizeof(id), "msgbatch_%lld", (long long)entry->batch_id);
    assert_string_equal(entry->provider_id, id);
    assert_string_equal(entry->nonce, "abcdefgh");
    assert_int_equal(entry->created_ms, entry->batch_id * 1000);
    if (!found->count || entry->batch_id < found->lowest)
        found->lowest = entry->batch_id;
    if (entry->batch_id > found->highest)
        found->highest = entry->batch_id;
    found->count++;
    return OP_OK;
}

static struct found walk(const char *uuid)
{
    struct found found = {0};
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_blackbox_walk(&env, dir, uuid, see, &found, &err), OP_OK);
    return found;
}

static void prepare(int64_t bytes)
{
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_blackbox_prepare(&env, dir, bytes, &err), OP_OK);
}

static void test_written_and_read(void **state)
{
    (void)state;
    assert_int_equal(walk(UUID).count, 0); /* no file yet */
    prepare(0);
    assert_int_equal(walk(UUID).count, 0);
    put(UUID, 7);
    put(OTHER, 8);
    put(UUID, 9);
    struct found found = walk(UUID);
    assert_int_equal(found.count, 2);
    assert_int_equal(found.lowest, 7);
    assert_int_equal(found.highest, 9);
    assert_int_equal(walk(OTHER).count, 1);
}

static void test_takes_no_room(void **state)
{
    (void)state;
    prepare(0);
    struct stat before, after;
    assert_int_equal(stat(box, &before), 0);
    assert_int_equal(before.st_size, OP_BLACKBOX_BYTES);
    assert_true(before.st_blocks * 512 >= OP_BLACKBOX_BYTES);
    room = OP_BLACKBOX_BYTES; /* full, but for what the file has */
    for (int i = 1; i <= 10; i++)
        put(UUID, i);
    assert_int_equal(stat(box, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    assert_int_equal(walk(UUID).count, 10);
}

static void test_the_oldest_goes(void **state)
{
    (void)state;
    prepare(0);
    for (int i = 1; i <= SLOTS + 3; i++)
        put(UUID, i);
    struct found found = walk(UUID);
    assert_int_equal(found.count, SLOTS);
    assert_int_equal(found.lowest, 4);
    assert_int_equal(found.highest, SLOTS + 3);
}

static void test_torn_slots(void **state)
{
    (void)state;
    prepare(0);
    put(UUID, 1);
    put(UUID, 2);
    int fd = open(box, O_RDWR);
    for (int at = 0; at < OP_BLACKBOX_SLOT - 1; at++) { /* the final newline is decoration */
        char kept, wrong;
        assert_int_equal(pread(fd, &kept, 1, at), 1);
        wrong = (char)(kept ^ 1);
        assert_int_equal(pwrite(fd, &wrong, 1, at), 1);
        struct found found = walk(UUID);
        assert_int_equal(found.count, 1);
        assert_int_equal(found.lowest, 2);
        assert_int_equal(pwrite(fd, &kept, 1, at), 1);
    }
    assert_int_equal(walk(UUID).count, 2);
    close(fd);
}

static void test_without_room_for_it(void **state)
{
    (void)state;
    room = 100 * 1024; /* making it stops in the middle */
    prepare(0);
    put(UUID, 1); /* the slots that are there serve */
    assert_int_equal(walk(UUID).count, 1);
    room = INT64_MAX;
    prepare(0);
    struct stat st;
    assert_int_equal(stat(box, &st), 0);
    assert_int_equal(st.st_size, OP_BLACKBOX_BYTES);
    assert_int_equal(walk(UUID).count, 1);
}

static void test_too_long(void **state)
{
    (void)state;
    char id[600];
    memset(id, 'x', sizeof(id));
    id[sizeof(id) - 1] = '\0';
    struct op_blackbox_entry entry = {1, "abcdefgh", id, 0};
    struct op_err err = OP_ERR_INIT;
    assert_int_not_equal(op_blackbox_write(&env, dir, UUID, &entry, &err), OP_OK);
    assert_int_equal(walk(UUID).count, 0);
}

static void test_ballast(void **state)
{
    (void)state;
    const int64_t bytes = 1024 * 1024;
    struct stat st;
    assert_false(op_ballast_free(&env, dir));
    free_space = OP_BALLAST_ROOM * bytes - 1;
    prepare(bytes);
    assert_int_equal(stat(ballast, &st), -1);
    free_space++;
    prepare(bytes);
    assert_int_equal(stat(ballast, &st), 0);
    assert_true(st.st_blocks * 512 >= bytes);
    prepare(bytes); /* once is enough */
    assert_true(op_ballast_free(&env, dir));
    assert_int_equal(stat(ballast, &st), -1);
    assert_false(op_ballast_free(&env, dir));
}

static void doubt(const char *uuid, const char *why)
{
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_blackbox_doubt(&env, dir, uuid, why, &err), OP_OK);
}

static void assert_doubt(const char *uuid, const char *expected)
{
    struct op_err err = OP_ERR_INIT;
    OP_CLEANUP(op_mem_freep) char *why = NULL;
    assert_int_equal(op_blackbox_doubted(&env, dir, uuid, &why, &err), OP_OK);
    if (expected)
        assert_string_equal(why ? why : "none", expected);
    else
        assert_null(why);
}

/* The newest counts, a proof lifts it, another ledger's is another's, one without a name is
 * everybody's; what was bought is told all the same. */
static void test_doubt(void **state)
{
    (void)state;
    assert_doubt(UUID, NULL);
    doubt(UUID, "first");
    put(UUID, 7);
    assert_doubt(UUID, "first");
    assert_doubt("another", NULL);
    doubt(UUID, "second");
    assert_doubt(UUID, "second");
    doubt(UUID, "");
    assert_doubt(UUID, NULL);
    doubt("", "before it was open");
    assert_doubt(UUID, "before it was open");
    assert_doubt("another", "before it was open");
    assert_int_equal(walk(UUID).count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_written_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_takes_no_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_oldest_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_slots, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_room_for_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ballast, setup, teardown),
        cmocka_unit_test_setup_teardown(test_doubt, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
