/* SPDX-License-Identifier: MIT */
/*
 * Small texts that come from outside: times, numbers, amounts, ids, keys of ready lines, names of
 * files, addresses. Input: a text, or two with a NUL byte between them.
 * Oracle: what is read and written again reads the same; a path that is allowed, resolved part by
 *         part, stays below its folder.
 */
#include "base/time.h"
#include "core/custom_id.h"
#include "core/raw_key.h"
#include "fuzz.h"
#include "ledger/spool_dir.h"
#include "net/address.h"
#include "provider/driver.h"
#include "sink/common.h"

static void check_numbers(struct op_str text)
{
    int64_t n, again;
    double d;
    char shown[OP_TIME_TEXT];
    if (op_str_int64(text, &n)) {
        OP_CLEANUP(op_mem_freep) char *written = op_mem_printf("%lld", (long long)n);
        FUZZ_CHECK(op_str_int64(op_str_from(written), &again) && again == n, "%s", written);
        FUZZ_CHECK(op_str_double(text, &d), "an integer is a number");
    }
    if (op_str_microusd(text, &n))
        FUZZ_CHECK(n >= 0 && op_str_double(text, &d) && d * 1e6 >= (double)n * 0.9999 - 1 &&
                       d * 1e6 <= (double)n * 1.0001 + 1,
                   "%lld micro-dollars", (long long)n);
    bool is_time = op_time_parse(text, &n);
    if (is_time || op_time_parse_http(text, &n)) {
        op_time_format(n, shown);
        FUZZ_CHECK(op_time_parse(op_str_from(shown), &again) && again == n,
                   "%s is %lld, not %lld", shown, (long long)again, (long long)n);
    }
    if (op_str_int64(text, &n))
        op_duration_format(n, shown);
}

static void check_custom_id(struct op_str text, struct op_str other)
{
    char tag[OP_LEDGER_TAG_LEN + 1], nonce[OP_NONCE_LEN + 1], written[OP_CUSTOM_ID_MAX + 1];
    int64_t request = -1, parsed = -2;
    if (op_custom_id_split(text, tag, nonce, &request)) {
        size_t len = op_custom_id_format(tag, nonce, request, written);
        FUZZ_CHECK(op_str_eq(text, (struct op_str){written, len}), "%s", written);
        FUZZ_CHECK(op_custom_id_parse(text, tag, nonce, &parsed) && parsed == request,
                   "%lld and %lld", (long long)parsed, (long long)request);
        FUZZ_CHECK(!op_custom_id_parse(text, "zzzzzz", "zzzzzzzz", &parsed) ||
                       strcmp(tag, "zzzzzz") == 0,
                   "taken for another ledger's");
    }
    OP_CLEANUP(op_mem_freep) char *foreign = fuzz_text(other);
    if (op_custom_id_parse(text, foreign, "aaaaaaaa", &parsed))
        FUZZ_CHECK(parsed >= 0 && strlen(foreign) == OP_LEDGER_TAG_LEN, "%s", foreign);

    for (int64_t n = 1; n < 3; n++) {
        OP_CLEANUP(op_buf_release) struct op_buf key;
        op_buf_init(&key, 1 << 20);
        op_raw_key_write(&key, text, n);
        FUZZ_CHECK(key.len > 0, "an empty key");
        FUZZ_CHECK(op_str_eq(op_raw_key_id(op_buf_str(&key)), text), "%s", key.ptr);
    }
}

/* How many folders below its start a path ends; -1 when it is above on the way. */
static int depth_of(const char *path)
{
    int depth = 0;
    struct op_str rest = op_str_from(path);
    while (rest.ptr && depth >= 0) {
        struct op_str part = op_str_cut(&rest, '/');
        if (op_str_is(part, ".."))
            depth--;
        else if (part.len > 0 && !op_str_is(part, "."))
            depth++;
    }
    return depth;
}

static void check_paths(struct op_str text, struct op_str target)
{
    char state[] = "/s", root[] = "/s/spool";
    struct op_spool spool = {.state_dir = state, .root = root, .writable = true};
    OP_CLEANUP(op_mem_freep) char *name = fuzz_text(text);
    OP_CLEANUP(op_mem_freep) char *path = NULL;
    struct op_err err = OP_ERR_INIT;
    enum op_rc rc = op_spool_resolve(&spool, name, &path, &err);
    if (rc)
        fuzz_check_error(rc, &err);
    else
        FUZZ_CHECK(op_str_starts(op_str_from(path), "/s/spool/") &&
                       depth_of(path + strlen(root)) >= 0,
                   "'%s' leads to %s", name, path);

    OP_CLEANUP(op_mem_freep) char *template = fuzz_text(target);
    OP_CLEANUP(op_mem_freep) char *folder = op_sink_root_of(template);
    op_err_clear(&err);
    rc = op_sink_check_path(folder, text, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        return;
    }
    FUZZ_CHECK(!memchr(text.ptr, 0, text.len), "a NUL in a path");
    FUZZ_CHECK(depth_of(name) > 0, "'%s' is allowed", name);
    FUZZ_CHECK(name[0] != '/' || folder[0] == '/', "absolute: '%s'", name);
}

static void check_addresses(struct op_str text, struct op_str other)
{
    OP_CLEANUP(op_mem_freep) char *a = fuzz_text(text);
    OP_CLEANUP(op_mem_freep) char *b = fuzz_text(other);
    FUZZ_CHECK(op_url_same_origin(a, b) == op_url_same_origin(b, a), "'%s' and '%s'", a, b);
    if (op_url_same_origin("https://api.test", a)) {
        FUZZ_CHECK(strncasecmp(a, "https://api.test", 16) == 0, "'%s'", a);
        FUZZ_CHECK(!a[16] || strchr(":/?#", a[16]), "'%s'", a);
    }
    OP_CLEANUP(op_buf_release) struct op_buf url;
    op_buf_init(&url, 1 << 24);
    op_url_add_escaped(&url, a);
    for (size_t i = 0; i < url.len; i++)
        FUZZ_CHECK(strchr("%-._~", url.ptr[i]) ||
                       (((unsigned char)url.ptr[i] | 32) >= 'a' &&
                        ((unsigned char)url.ptr[i] | 32) <= 'z') ||
                       (url.ptr[i] >= '0' && url.ptr[i] <= '9'),
                   "%s", url.ptr);
    if (op_provider_id_ok(text))
        FUZZ_CHECK(text.len <= OP_PROVIDER_ID_MAX && !strstr(a, "..") &&
                       !strpbrk(a, " \r\n?#%\\\"@"),
                   "'%s'", a);
    (void)op_host_is_loopback(text);
    char shown[16];
    op_remote_text(text, shown, sizeof(shown));
    FUZZ_CHECK(strlen(shown) < sizeof(shown) && !strpbrk(shown, "\r\n\t\x1b"), "%s", shown);
}

FUZZ_TARGET(words)
{
    struct op_str text = fuzz_until(in, '\0'), other = fuzz_rest(in);
    check_numbers(text);
    check_custom_id(text, other);
    check_paths(text, other);
    check_addresses(text, other);
    static const char *const names[] = {"model", "max-tokens", "provider"};
    OP_CLEANUP(op_mem_freep) char *word = fuzz_text(text);
    (void)op_str_nearest(word, names, OP_COUNT(names));
}
