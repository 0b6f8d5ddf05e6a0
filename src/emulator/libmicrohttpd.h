/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_LIBMICROHTTPD_H
#define OP_EMULATOR_LIBMICROHTTPD_H

/*
 * Model:     libmicrohttpd, loaded when an emulator is started (base/library.h says why). Included
 *            instead of microhttpd.h; its functions are called by their own names.
 * Errors:    OP_IO with what the loader said.
 * Threads:   load may be called from any thread; the functions only after it.
 */

#include <microhttpd.h>

#include "base/err.h"

/* Every function of libmicrohttpd that is used, without "MHD_". */
/* clang-format off: a table */
#define OP_LIBMICROHTTPD_FUNCTIONS(X)                 \
    X(add_response_header)                            \
    X(create_response_from_buffer_with_free_callback) \
    X(create_response_from_callback)                  \
    X(create_response_from_fd64)                      \
    X(destroy_response)                               \
    X(get_connection_info)                            \
    X(lookup_connection_value)                        \
    X(queue_response)                                 \
    X(start_daemon)                                   \
    X(stop_daemon)
/* clang-format on */

#define OP_LIBMICROHTTPD_POINTER(name) __typeof__(MHD_##name) *name##_;
struct op_libmicrohttpd {
    OP_LIBMICROHTTPD_FUNCTIONS(OP_LIBMICROHTTPD_POINTER)
};
#undef OP_LIBMICROHTTPD_POINTER
extern struct op_libmicrohttpd op_libmicrohttpd; /* NULLs until loaded */

OP_MUST_CHECK enum op_rc op_libmicrohttpd_load(struct op_err *err);

/* clang-format off */
#define MHD_add_response_header op_libmicrohttpd.add_response_header_
#define MHD_create_response_from_buffer_with_free_callback \
    op_libmicrohttpd.create_response_from_buffer_with_free_callback_
#define MHD_create_response_from_callback op_libmicrohttpd.create_response_from_callback_
#define MHD_create_response_from_fd64 op_libmicrohttpd.create_response_from_fd64_
#define MHD_destroy_response op_libmicrohttpd.destroy_response_
#define MHD_get_connection_info op_libmicrohttpd.get_connection_info_
#define MHD_lookup_connection_value op_libmicrohttpd.lookup_connection_value_
#define MHD_queue_response op_libmicrohttpd.queue_response_
#define MHD_start_daemon op_libmicrohttpd.start_daemon_
#define MHD_stop_daemon op_libmicrohttpd.stop_daemon_
/* clang-format on */

#endif
