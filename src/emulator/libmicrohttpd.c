/* SPDX-License-Identifier: MIT */
#include "emulator/libmicrohttpd.h"

#include "base/library.h"
#include "base/mem.h"

struct op_libmicrohttpd op_libmicrohttpd;

#define NAME(name) "MHD_" #name,
static const char *const names[] = {OP_LIBMICROHTTPD_FUNCTIONS(NAME)};
#undef NAME

static struct op_library library = {
    .soname = "libmicrohttpd.so.12",
    .package = "libmicrohttpd12",
    .names = names,
    .pointers = &op_libmicrohttpd,
    .count = OP_COUNT(names),
    .once = PTHREAD_ONCE_INIT,
};

enum op_rc op_libmicrohttpd_load(struct op_err *err)
{
    return op_library_load(&library, err);
}
