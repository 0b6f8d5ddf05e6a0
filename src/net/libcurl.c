/* SPDX-License-Identifier: MIT */
#include "net/libcurl.h"

#include "base/library.h"
#include "base/mem.h"

struct op_libcurl op_libcurl;

#define NAME(name) "curl_" #name,
static const char *const names[] = {OP_LIBCURL_FUNCTIONS(NAME)};
#undef NAME

static struct op_library library = {
    .soname = "libcurl.so.4", /* the one ABI since 2006 */
    .package = "libcurl4",
    .names = names,
    .pointers = &op_libcurl,
    .count = OP_COUNT(names),
    .once = PTHREAD_ONCE_INIT,
};

enum op_rc op_libcurl_load(struct op_err *err)
{
    return op_library_load(&library, err);
}
