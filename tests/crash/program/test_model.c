/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what the model says a disk holds after a power loss.
 * Stimulus:  files and folders changed by hand, each call reported to the model; then every image, over
 *            many seeds where chance decides.
 * Oracle:    POSIX: only what fsync has covered is certain, a name is the folder's, a sector is whole.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "model.h"
#include "raw.h"

#define SEEDS 200

static struct model model;
static char base[64], root[96];

static const char *at(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static void begin(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'/* && mkdir '%s/root' '%s/scratch'", base,
             base, base);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof(command), "%s/scratch", base);
    model_begin(&model, root, command);
}

static int make(const char *name)
{
    int fd = raw_open(at(name), O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    model_created(&model, name, false);
    return fd;
}

static void put(const char *name, int fd, int64_t offset, char letter, size_t len)
{
    char block[4096];
    memset(block, letter, sizeof(block));
    model_before_write(&model, model_find(&model, name), fd, offset, offset + (int64_t)len);
    assert_int_equal(raw_pwrite(fd, block, len, offset), len);
}

static void cut(const char *name, int fd, int64_t from, int64_t to)
{
    model_before_write(&model, model_find(&model, name), fd, to, from);
    assert_int_equal(raw_ftruncate(fd, to), 0);
}

static void sync_file(const char *name, int fd)
{
    model_synced(&model, model_find(&model, name), fd, false);
}

static void move(const char *from, const char *to)
{
    char path[256];
    snprintf(path, sizeof(path), "%s", at(from));
    assert_int_equal(raw_rename(path, at(to)), 0);
    model_renamed(&model, from, to);
}

/* The length of a file, -1 when there is none; its content is in read_block. */
static char read_block[8192];

static int64_t look(const char *name)
{
    int fd = raw_open(at(name), O_RDONLY, 0);
    if (fd < 0)
        return -1;
    memset(read_block, 0, sizeof(read_block));
    int64_t len = raw_pread(fd, read_block, sizeof(read_block), 0);
    raw_close(fd);
    return len;
}

static bool is_all(char letter, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++)
        if (read_block[i] != letter)
            return false;
    return true;
}

static void test_nothing_is_durable_without_fsync(void **state)
{
    (void)state;
    begin();
    int fd = make("a");
    put("a", fd, 0, 'x', 100);
    model_power_loss(&model, MODEL_NOTHING, 1);
    assert_int_equal(look("a"), -1);
    raw_close(fd);
}

static void test_everything_is_there_after_a_kill(void **state)
{
    (void)state;
    begin();
    int fd = make("a");
    put("a", fd, 0, 'x', 100);
    model_power_loss(&model, MODEL_ALL, 1);
    assert_int_equal(look("a"), 100);
    assert_true(is_all('x', 0, 100));
    raw_close(fd);
}

/* Content and name are two things. */
static void test_a_file_needs_both_syncs(void **state)
{
    (void)state;
    for (int both = 0; both < 2; both++) {
        begin();
        int fd = make("a");
        put("a", fd, 0, 'x', 100);
        sync_file("a", fd);
        if (both)
            model_synced_folder(&model, "");
        model_power_loss(&model, MODEL_NOTHING, 1);
        assert_int_equal(look("a"), both ? 100 : -1);
        raw_close(fd);
    }
    begin();
    int fd = make("a");
    put("a", fd, 0, 'x', 100);
    model_synced_folder(&model, "");
    model_power_loss(&model, MODEL_NAMES_ONLY, 1);
    assert_int_equal(look("a"), 0); /* a name without content */
    raw_close(fd);
}

static void test_a_rename_is_the_folders(void **state)
{
    (void)state;
    for (int synced = 0; synced < 2; synced++) {
        begin();
        int old = make("to"), new = make("from");
        put("to", old, 0, 'o', 10);
        put("from", new, 0, 'n', 10);
        sync_file("to", old);
        sync_file("from", new);
        model_synced_folder(&model, "");
        move("from", "to");
        if (synced)
            model_synced_folder(&model, "");
        model_power_loss(&model, MODEL_NOTHING, 1);
        assert_int_equal(look("to"), 10);
        assert_true(is_all(synced ? 'n' : 'o', 0, 10));
        assert_int_equal(look("from"), synced ? -1 : 10);
        raw_close(old);
        raw_close(new);
    }
}

static void test_a_removed_file_comes_back(void **state)
{
    (void)state;
    begin();
    int fd = make("a");
    put("a", fd, 0, 'x', 10);
    sync_file("a", fd);
    model_synced_folder(&model, "");
    assert_int_equal(raw_unlink(at("a")), 0);
    model_removed(&model, "a");
    model_power_loss(&model, MODEL_NOTHING, 1);
    assert_int_equal(look("a"), 10);
    raw_close(fd);
}

/* The cut is there or it is not; nothing within the old length reads as zeroes. */
static void test_a_cut_invents_nothing(void **state)
{
    (void)state;
    bool seen[2] = {false, false};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin();
        int fd = make("a");
        put("a", fd, 0, 'x', 2000);
        sync_file("a", fd);
        model_synced_folder(&model, "");
        cut("a", fd, 2000, 700);
        model_power_loss(&model, MODEL_TORN, seed);
        int64_t len = look("a");
        assert_true(len == 700 || len == 2000);
        assert_true(is_all('x', 0, len));
        seen[len == 700] = true;
        raw_close(fd);
    }
    assert_true(seen[0] && seen[1]);
}

static void test_a_sector_is_whole(void **state)
{
    (void)state;
    int olds = 0, news = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin();
        int fd = make("a");
        put("a", fd, 0, 'o', 4096);
        sync_file("a", fd);
        model_synced_folder(&model, "");
        put("a", fd, 0, 'n', 4096);
        model_power_loss(&model, MODEL_TORN, seed);
        assert_int_equal(look("a"), 4096);
        for (int64_t i = 0; i < 4096; i += 512) {
            bool is_new = is_all('n', i, i + 512);
            assert_true(is_new || is_all('o', i, i + 512));
            olds += !is_new;
            news += is_new;
        }
        raw_close(fd);
    }
    assert_true(olds > SEEDS && news > SEEDS);
}

/* New length, and of the sectors behind the old one each is written or zero. */
static void test_a_new_tail_may_be_zeroes(void **state)
{
    (void)state;
    bool zero = false;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin();
        int fd = make("a");
        put("a", fd, 0, 'x', 512);
        sync_file("a", fd);
        model_synced_folder(&model, "");
        put("a", fd, 512, 'y', 512);
        model_power_loss(&model, MODEL_TORN, seed);
        int64_t len = look("a");
        assert_true(is_all('x', 0, 512));
        assert_true(len == 512 || len == 1024);
        assert_true(len == 512 || is_all('y', 512, 1024) || is_all('\0', 512, 1024));
        zero = zero || (len == 1024 && is_all('\0', 512, 1024));
        raw_close(fd);
    }
    assert_true(zero);
}

/* What a failed fsync was to write is marked clean: the next one writes only what is new. */
static void test_a_failed_fsync_loses_its_pages(void **state)
{
    (void)state;
    begin();
    int fd = make("a");
    put("a", fd, 0, 'o', 1024);
    sync_file("a", fd);
    model_synced_folder(&model, "");
    put("a", fd, 0, 'n', 512);
    model_synced(&model, model_find(&model, "a"), fd, true);
    put("a", fd, 512, 'm', 512);
    sync_file("a", fd);
    model_power_loss(&model, MODEL_NOTHING, 3);
    int64_t len = look("a");
    assert_int_equal(len, 1024);
    assert_true(is_all('m', 512, 1024));
    assert_true(is_all('o', 0, 512) || is_all('n', 0, 512));
    raw_close(fd);
}

/* Names that were made one after the other are there one after the other. */
static void test_a_prefix_of_names(void **state)
{
    (void)state;
    bool seen[4] = {false};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin();
        int fds[] = {make("a"), make("b"), make("c")};
        model_power_loss(&model, MODEL_PREFIX, seed);
        int a = look("a") >= 0, b = look("b") >= 0, c = look("c") >= 0;
        assert_true(a >= b && b >= c);
        seen[a + b + c] = true;
        for (int i = 0; i < 3; i++)
            raw_close(fds[i]);
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
}

static void test_folders(void **state)
{
    (void)state;
    begin();
    assert_int_equal(raw_mkdir(at("d"), 0700), 0);
    model_created(&model, "d", true);
    int fd = make("d/a");
    put("d/a", fd, 0, 'x', 5);
    sync_file("d/a", fd);
    model_synced_folder(&model, "d");
    model_power_loss(&model, MODEL_NOTHING, 1);
    assert_int_equal(look("d/a"), -1); /* nobody synced the folder's own name */
    raw_close(fd);
    begin();
    assert_int_equal(raw_mkdir(at("d"), 0700), 0);
    model_created(&model, "d", true);
    model_synced_folder(&model, "");
    fd = make("d/a");
    model_synced_folder(&model, "d");
    struct stat before, after;
    assert_int_equal(stat(at("d"), &before), 0);
    model_power_loss(&model, MODEL_NOTHING, 1);
    assert_int_equal(look("d/a"), 0);
    assert_int_equal(stat(at("d"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    raw_close(fd);
}

/* After a power loss what is there is durable, and a second one changes nothing. */
static void test_twice(void **state)
{
    (void)state;
    begin();
    int fd = make("a");
    put("a", fd, 0, 'x', 100);
    model_power_loss(&model, MODEL_ALL, 1);
    model_power_loss(&model, MODEL_NOTHING, 1);
    assert_int_equal(look("a"), 100);
    raw_close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_durable_without_fsync),
        cmocka_unit_test(test_everything_is_there_after_a_kill),
        cmocka_unit_test(test_a_file_needs_both_syncs),
        cmocka_unit_test(test_a_rename_is_the_folders),
        cmocka_unit_test(test_a_removed_file_comes_back),
        cmocka_unit_test(test_a_cut_invents_nothing),
        cmocka_unit_test(test_a_sector_is_whole),
        cmocka_unit_test(test_a_new_tail_may_be_zeroes),
        cmocka_unit_test(test_a_failed_fsync_loses_its_pages),
        cmocka_unit_test(test_a_prefix_of_names),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_twice),
    };
    snprintf(base, sizeof(base), "/tmp/op-model-XXXXXX");
    if (!mkdtemp(base))
        return 1;
    snprintf(root, sizeof(root), "%s/root", base);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", base);
    return system(command) ? 1 : failed;
}
