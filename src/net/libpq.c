/* SPDX-License-Identifier: MIT */
#include "net/libpq.h"

#include "base/library.h"
#include "base/mem.h"

struct op_libpq op_libpq;

#define NAME(name) "PQ" #name,
static const char *const names[] = {OP_LIBPQ_FUNCTIONS(NAME)};
#undef NAME

static struct op_library library = {
    .soname = "libpq.so.5", /* the one ABI since PostgreSQL 8.2 */
    .package = "libpq5",
    .names = names,
    .pointers = &op_libpq,
    .count = OP_COUNT(names),
    .once = PTHREAD_ONCE_INIT,
};

enum op_rc op_libpq_load(struct op_err *err)
{
    return op_library_load(&library, err);
}
