/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: provider/key.h: a key comes from the variable, else the file NAME_FILE names, else systemd's
 *            credential; it is taken out of the environment and stays known; a file that others may
 *            read is refused; whatever it came from is masked in the log. base/secret.h: the same
 *            text is kept once, in memory that is left out of core files.
 * Oracle:    the environment and /proc/self/environ afterwards, /proc/self/smaps, op_log_mask.
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
#include <unistd.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "../folder.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "provider/key.h"

static char folder[200];
static const struct op_provider_ops one = {
    .name = "one", .key_env = "ONE_KEY", .key_env_2 = "ONE_OTHER_KEY"};

static char *put_file(const char *name, const char *text, mode_t mode)
{
    char *path = op_mem_printf("%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

static const char *get(void)
{
    const char *key = NULL;
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_key_get(&one, &key, &err), OP_OK);
    return key;
}

static void assert_refused(const char *path, const char *why)
{
    const char *key = NULL;
    struct op_err err = OP_ERR_INIT;
    setenv("ONE_KEY_FILE", path, 1);
    assert_int_equal(op_key_get(&one, &key, &err), OP_INVAL);
    assert_int_equal(err.disp, OP_DISP_FATAL);
    assert_null(key);
    assert_non_null(strstr(err.msg, why));
    assert_non_null(strstr(err.msg, path));
    unsetenv("ONE_KEY_FILE");
}

static int forget(void **state)
{
    (void)state;
    static const char *const names[] = {"ONE_KEY", "ONE_OTHER_KEY", "ONE_KEY_FILE",
                                        "ONE_OTHER_KEY_FILE", "CREDENTIALS_DIRECTORY"};
    /* Set and unset again: what came from the environment is then forgotten. */
    setenv("ONE_KEY", "to be forgotten", 1);
    setenv("ONE_OTHER_KEY", "to be forgotten", 1);
    for (size_t i = 0; i < OP_COUNT(names); i++) {
        (void)get();
        unsetenv(names[i]);
    }
    assert_null(get());
    return 0;
}

static void from_the_environment(void **state)
{
    (void)state;
    char about[300], text[] = "it is canary-one here";
    setenv("ONE_KEY", "canary-one", 1);
    const char *key = get();
    assert_string_equal(key, "canary-one");
    assert_string_equal(getenv("ONE_KEY"), "");
    assert_ptr_equal(get(), key);
    op_key_about(&one, about, sizeof(about));
    assert_string_equal(about, "ONE_KEY is set");
    op_log_mask(text, strlen(text));
    assert_string_equal(text, "it is ********** here");
    setenv("ONE_KEY", "canary-two", 1);
    assert_string_equal(get(), "canary-two");
    unsetenv("ONE_KEY");
    assert_null(get());
    setenv("ONE_OTHER_KEY", "canary-three", 1);
    assert_string_equal(get(), "canary-three");
    setenv("ONE_KEY", "canary-four", 1);
    assert_string_equal(get(), "canary-four");
}

static void from_a_file(void **state)
{
    (void)state;
    char about[300];
    OP_CLEANUP(op_mem_freep) char *path = put_file("key", "  canary-file\n", 0600);
    setenv("ONE_KEY_FILE", path, 1);
    const char *key = get();
    assert_string_equal(key, "canary-file");
    op_key_about(&one, about, sizeof(about));
    assert_string_equal(about, "ONE_KEY_FILE names a file");
    assert_int_equal(unlink(path), 0); /* read once */
    assert_ptr_equal(get(), key);
    setenv("ONE_KEY", "canary-env", 1); /* the variable comes first */
    assert_string_equal(get(), "canary-env");
}

static void files_that_are_refused(void **state)
{
    (void)state;
    char *huge = op_mem_alloc(10001);
    memset(huge, 'k', 10000);
    struct {
        const char *text;
        mode_t mode;
        const char *why;
    } rows[] = {{"k", 0640, "may be read by others"},
                {"k", 0604, "may be read by others"},
                {"k", 0620, "may be read by others"},
                {" \n", 0600, "is empty"},
                {huge, 0600, "too long"}};
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        OP_CLEANUP(op_mem_freep) char *path = put_file("bad", rows[i].text, rows[i].mode);
        assert_refused(path, rows[i].why);
        unlink(path);
    }
    op_mem_free(huge);
    assert_refused(folder, "is no file");
    assert_refused("/nonexistent/key", "does not exist");
}

static void from_systemd(void **state)
{
    (void)state;
    OP_CLEANUP(op_mem_freep) char *path = put_file("ONE_OTHER_KEY", "canary-cred", 0440);
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
    assert_string_equal(get(), "canary-cred");
    unlink(path);
}

static void kept_apart(void **state)
{
    (void)state;
    char line[300];
    unsigned long begin, end;
    bool here = false, left_out = false;
    const char *kept = op_secret_keep(OP_STR("canary-kept"));
    assert_string_equal(kept, "canary-kept");
    assert_ptr_equal(op_secret_keep(OP_STR("canary-kept")), kept);
    assert_ptr_not_equal(op_secret_keep(OP_STR("canary-kept2")), kept);
    FILE *maps = fopen("/proc/self/smaps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
            here =
                (unsigned long)(uintptr_t)kept >= begin && (unsigned long)(uintptr_t)kept < end;
        else if (here && strncmp(line, "VmFlags:", 8) == 0)
            left_out = strstr(line, " dd") != NULL;
    }
    (void)fclose(maps);
    assert_true(left_out);
}

static int prepare(void **state)
{
    (void)state;
    return test_folder_make(folder, sizeof(folder), "key") ? 0 : -1;
}

static int clear(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(from_the_environment, forget),
        cmocka_unit_test_setup(files_that_are_refused, forget),
        cmocka_unit_test_setup(from_systemd, forget),
        cmocka_unit_test_setup(from_a_file, forget),
        cmocka_unit_test(kept_apart),
    };
    return cmocka_run_group_tests(tests, prepare, clear);
}
