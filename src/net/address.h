/* SPDX-License-Identifier: MIT */
#ifndef OP_NET_ADDRESS_H
#define OP_NET_ADDRESS_H

/*
 * Model:     which machine a connection may go to. The check is made on the address that a socket
 *            is about to be opened for, so what a name resolves to, now or the second time, cannot
 *            lead a request with our key to the metadata service or to a local port.
 * Threads:   pure functions.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/str.h"

enum op_peer {
    OP_PEER_REMOTE,   /* the URL names another machine: loopback is refused */
    OP_PEER_LOOPBACK, /* the URL names this machine: anything but loopback is refused */
    OP_PEER_PROXY,    /* the operator's proxy, here or elsewhere */
    OP_PEER_PRIVATE,  /* http:// to another machine: only within a private network */
};

/* The host of a URL (with or without brackets) is localhost, 127.0.0.0/8 or ::1. */
bool op_host_is_loopback(struct op_str host);

/* The port that a URL leads to: its own, else its scheme's (https, http, socks*); 0: not known. */
uint16_t op_url_port(const char *url);

/* Why no connection may be made to this address, as the end of a sentence; NULL when it may. */
const char *op_address_refusal(const struct sockaddr *address, socklen_t len,
                               enum op_peer peer);

#endif
