/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_SANDBOX_H
#define OP_BASE_SANDBOX_H

/*
 * Model:     a cage the process locks itself into once it knows what it will need: Landlock leaves it
 *            the files and TCP ports that were named, seccomp the system calls of a list; nothing is
 *            executed and no process made any more. What is open already stays open. There is no
 *            way back, also not for threads and children. Best effort: what the kernel lacks is left
 *            out, and op_sandbox_state says so.
 *            OFFPEAK_SANDBOX: off; on (default: a refused call fails); kill (it ends the process).
 * Ownership: a box owns its lists; release frees them.
 * Errors:    none: a process without a cage works all the same.
 * Threads:   entered by the main thread before it makes others (Landlock binds the thread that asks).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OP_SANDBOX_ENV "OFFPEAK_SANDBOX"

struct op_sandbox_path {
    char *path;
    bool writable;
};

struct op_sandbox {
    struct op_sandbox_path *paths;
    uint16_t *ports;
    size_t path_count, port_count;
    bool any_port;
};

void op_sandbox_release(struct op_sandbox *box); /* also fine on a zeroed struct */
/* What lies at the path, and below it, may be read (and changed). A path that is not there yet
 * stands for the nearest folder above it that is. */
void op_sandbox_allow(struct op_sandbox *box, const char *path, bool writable);
/* The folder a file lies in, so that it may be replaced; a folder itself. */
void op_sandbox_allow_beside(struct op_sandbox *box, const char *path, bool writable);
/* A TCP port may be connected to; 0: any may. DNS always may. */
void op_sandbox_allow_port(struct op_sandbox *box, uint16_t port);

/* Enters; a second call does nothing. What name resolution, TLS and the C library read is added. */
void op_sandbox_enter(const struct op_sandbox *box);

struct op_sandbox_state {
    bool entered;    /* false: why_not says why */
    int landlock;    /* ABI version of the kernel; 0: none */
    bool files, tcp; /* confined by it */
    bool calls;      /* confined by seccomp */
    bool kills;      /* a refused call ends the process */
    const char *why_not;
};
struct op_sandbox_state op_sandbox_state(void);

#endif
