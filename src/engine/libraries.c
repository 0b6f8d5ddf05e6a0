/* SPDX-License-Identifier: MIT */
#include "engine/libraries.h"

#include <openssl/crypto.h>
#include <seccomp.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>
#include <yaml.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/str.h"
#include "net/libcurl.h"

/* Ranges as their makers published them; docs/design/security.md tells where. */
const struct op_known_fault op_known_faults[] = {
    {"sqlite", "3.7.0", "3.51.3",
     "two connections in WAL mode may corrupt a database when a checkpoint resets the log",
     "the ledger is not in WAL mode"},
    {"sqlite", "3.52.0", "3.52.1", "its authors withdrew it", NULL},
    {"libcurl", "7.69.0", "8.4.0",
     "a slow SOCKS5 proxy that resolves names can overflow the heap (CVE-2023-38545)",
     "no redirect is followed, so no server can give the long host name it takes"},
    {"libcurl", "7.9.1", "8.4.0", "duplicated handles may take in cookies (CVE-2023-38546)",
     "no handle is duplicated and no cookie kept"},
    {"openssl", "3.0.0", "3.0.7",
     "a server's certificate can overflow the stack (CVE-2022-3602, CVE-2022-3786)", NULL},
    {"pcre2", "10.45", "10.46", "a pattern can read beyond its subject (CVE-2025-58050)", NULL},
    {"pcre2", "10.0", "10.48",
     "DFA and JIT matching can touch memory that is not theirs (CVE-2026-86145, "
     "CVE-2026-89156, CVE-2026-89161)",
     "neither is used"},
    {NULL, NULL, NULL, NULL, NULL},
};

int op_version_compare(const char *a, const char *b)
{
    for (int part = 0; part < 4; part++) {
        long left = 0, right = 0;
        for (; *a >= '0' && *a <= '9'; a++)
            left = left < 100000 ? left * 10 + (*a - '0') : left;
        for (; *b >= '0' && *b <= '9'; b++)
            right = right < 100000 ? right * 10 + (*b - '0') : right;
        if (left != right)
            return left < right ? -1 : 1;
        a += *a == '.';
        b += *b == '.';
    }
    return 0;
}

bool op_fault_hits(const struct op_known_fault *fault, const char *version)
{
    return op_version_compare(version, fault->from) >= 0 &&
           op_version_compare(version, fault->below) < 0;
}

static struct op_library_version *add(struct op_library_version *list, int *count,
                                      const char *name, const char *oldest, const char *version)
{
    struct op_library_version *one = &list[(*count)++];
    *one = (struct op_library_version){.name = name, .oldest = oldest};
    snprintf(one->version, sizeof(one->version), "%s", version);
    return one;
}

static void add_libcurl(struct op_library_version *list, int *count)
{
    struct op_err err = OP_ERR_INIT;
    /* 7.88: what keeps a create from being sent twice was made for it. */
    struct op_library_version *one = add(list, count, "libcurl", "7.88.0", "");
    if (op_libcurl_load(&err)) {
        snprintf(one->note, sizeof(one->note), "%.79s", err.msg);
        return;
    }
    const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
    snprintf(one->version, sizeof(one->version), "%s", curl->version);
    snprintf(one->note, sizeof(one->note), "%.79s",
             curl->ssl_version ? curl->ssl_version : "without TLS");
}

int op_libraries(struct op_library_version ret[OP_LIBRARIES_MOST])
{
    int count = 0;
    char text[48];
    add_libcurl(ret, &count);
    add(ret, &count, "sqlite", "3.40.0", sqlite3_libversion());
    snprintf(text, sizeof(text), "%u.%u.%u", OPENSSL_version_major(), OPENSSL_version_minor(),
             OPENSSL_version_patch());
    add(ret, &count, "openssl", "3.0.0", text);
    (void)pcre2_config(PCRE2_CONFIG_VERSION, text);
    text[strcspn(text, " ")] = '\0'; /* "10.42 2022-12-11" */
    add(ret, &count, "pcre2", NULL, text);
    add(ret, &count, "libyaml", NULL, yaml_get_version_string());
    add(ret, &count, "utf8proc", NULL, utf8proc_version());
    const struct scmp_version *seccomp = seccomp_version();
    snprintf(text, sizeof(text), "%u.%u.%u", seccomp->major, seccomp->minor, seccomp->micro);
    add(ret, &count, "libseccomp", NULL, text);
    return count;
}
