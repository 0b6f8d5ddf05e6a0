/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_LIBRARY_H
#define OP_BASE_LIBRARY_H

/*
 * Model:     a shared library that is loaded when it is first needed, because most commands do not
 *            need it and loading it costs more than they do. A header lists its functions and gives
 *            each the library's own name (net/libcurl.h, emulator/libmicrohttpd.h).
 * Ownership: a library is never unloaded: its threads and exit handlers may live on.
 * Errors:    OP_IO with what the loader said and which package to install.
 * Threads:   load from any thread, at any time; idempotent.
 */

#include <pthread.h>
#include <stddef.h>

#include "base/err.h"

struct op_library {
    const char *soname;
    const char *package;      /* for the message */
    const char *const *names; /* of the functions, in the order of the pointers */
    void *pointers;           /* a struct of nothing but function pointers */
    size_t count;
    pthread_once_t once; /* PTHREAD_ONCE_INIT */
    char problem[300];   /* "" once it is loaded */
};

OP_MUST_CHECK enum op_rc op_library_load(struct op_library *library, struct op_err *err);

#endif
