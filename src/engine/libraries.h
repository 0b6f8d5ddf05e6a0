/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_LIBRARIES_H
#define OP_ENGINE_LIBRARIES_H

/*
 * Model:     the libraries this process runs with, by what they say of themselves at run time, against
 *            a table of versions that are known to be bad for us. A distribution may have mended a
 *            fault without a new version, so a match is a reason to look, not a verdict.
 * Threads:   one.
 */

#include <stdbool.h>

/* What is known of a version; from and below name a range of versions, below not included. */
struct op_known_fault {
    const char *library, *from, *below;
    const char *effect;  /* as a sentence */
    const char *why_not; /* why it does not concern this program; NULL: it does */
};
extern const struct op_known_fault op_known_faults[]; /* ends with library NULL */

/* Whether a version such as "3.40.1" lies in a fault's range. */
bool op_fault_hits(const struct op_known_fault *fault, const char *version);

struct op_library_version {
    const char *name;
    char version[48];
    const char *oldest; /* older ones cannot be used; NULL: any can */
    char note[80];      /* beside the version; "" */
};
enum { OP_LIBRARIES_MOST = 12 };
/* Those that are there; one that cannot be loaded has version "" and why in note. */
int op_libraries(struct op_library_version ret[OP_LIBRARIES_MOST]);
/* Negative, 0 or positive: by the numbers between the dots; what follows them does not count. */
int op_version_compare(const char *a, const char *b);

#endif
