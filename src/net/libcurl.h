/* SPDX-License-Identifier: MIT */
#ifndef OP_NET_LIBCURL_H
#define OP_NET_LIBCURL_H

/*
 * Model:     libcurl, loaded when it is first needed. It brings some thirty other libraries along, and
 *            loading them is most of the time that a command takes which sends nothing. Included
 *            instead of curl/curl.h; its functions are called by their own names.
 * Errors:    OP_IO with what the loader said.
 * Threads:   load may be called from any thread; the functions only after it.
 */

#include <curl/curl.h>

#include "base/err.h"

/* Every function of libcurl that is used, without "curl_". */
/* clang-format off: a table */
#define OP_LIBCURL_FUNCTIONS(X) \
    X(easy_cleanup)             \
    X(easy_getinfo)             \
    X(easy_init)                \
    X(easy_pause)               \
    X(easy_reset)               \
    X(easy_setopt)              \
    X(easy_strerror)            \
    X(free)                     \
    X(global_cleanup)           \
    X(global_init)              \
    X(multi_add_handle)         \
    X(multi_cleanup)            \
    X(multi_info_read)          \
    X(multi_init)               \
    X(multi_perform)            \
    X(multi_poll)               \
    X(multi_remove_handle)      \
    X(multi_setopt)             \
    X(multi_strerror)           \
    X(multi_wakeup)             \
    X(slist_append)             \
    X(slist_free_all)           \
    X(url)                      \
    X(url_cleanup)              \
    X(url_get)                  \
    X(url_set)                  \
    X(version_info)
/* clang-format on */

/* curl.h wraps these in checks of their argument's type. */
#undef curl_easy_setopt
#undef curl_multi_setopt
#undef curl_easy_getinfo

#define OP_LIBCURL_POINTER(name) __typeof__(curl_##name) *name##_;
struct op_libcurl {
    OP_LIBCURL_FUNCTIONS(OP_LIBCURL_POINTER)
};
#undef OP_LIBCURL_POINTER
extern struct op_libcurl op_libcurl; /* NULLs until loaded */

/* Idempotent; never unloaded, because its threads and exit handlers may live on. */
OP_MUST_CHECK enum op_rc op_libcurl_load(struct op_err *err);

/* clang-format off */
#define curl_easy_cleanup op_libcurl.easy_cleanup_
#define curl_easy_getinfo op_libcurl.easy_getinfo_
#define curl_easy_init op_libcurl.easy_init_
#define curl_easy_pause op_libcurl.easy_pause_
#define curl_easy_reset op_libcurl.easy_reset_
#define curl_easy_setopt op_libcurl.easy_setopt_
#define curl_easy_strerror op_libcurl.easy_strerror_
#define curl_free op_libcurl.free_
#define curl_global_cleanup op_libcurl.global_cleanup_
#define curl_global_init op_libcurl.global_init_
#define curl_multi_add_handle op_libcurl.multi_add_handle_
#define curl_multi_cleanup op_libcurl.multi_cleanup_
#define curl_multi_info_read op_libcurl.multi_info_read_
#define curl_multi_init op_libcurl.multi_init_
#define curl_multi_perform op_libcurl.multi_perform_
#define curl_multi_poll op_libcurl.multi_poll_
#define curl_multi_remove_handle op_libcurl.multi_remove_handle_
#define curl_multi_setopt op_libcurl.multi_setopt_
#define curl_multi_strerror op_libcurl.multi_strerror_
#define curl_multi_wakeup op_libcurl.multi_wakeup_
#define curl_slist_append op_libcurl.slist_append_
#define curl_slist_free_all op_libcurl.slist_free_all_
#define curl_url op_libcurl.url_
#define curl_url_cleanup op_libcurl.url_cleanup_
#define curl_url_get op_libcurl.url_get_
#define curl_url_set op_libcurl.url_set_
#define curl_version_info op_libcurl.version_info_
/* clang-format on */

#endif
