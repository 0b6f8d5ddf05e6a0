/* SPDX-License-Identifier: MIT */
#include "base/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* pthread_once hands over no argument. */
static _Thread_local struct op_library *loading;

static void load(void)
{
    struct op_library *library = loading;
    void *handle = dlopen(library->soname, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        snprintf(library->problem, sizeof(library->problem), "%s", dlerror());
        return;
    }
    for (size_t i = 0; i < library->count; i++) {
        void *symbol = dlsym(handle, library->names[i]);
        if (!symbol)
            snprintf(library->problem, sizeof(library->problem), "it has no %s",
                     library->names[i]);
        memcpy((char *)library->pointers + i * sizeof(symbol), &symbol, sizeof(symbol));
    }
}

enum op_rc op_library_load(struct op_library *library, struct op_err *err)
{
    loading = library;
    pthread_once(&library->once, load);
    if (library->problem[0])
        return op_fail(err, OP_IO, "%s cannot be loaded: %s; install the package %s",
                       library->soname, library->problem, library->package);
    return OP_OK;
}
