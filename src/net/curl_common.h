/* SPDX-License-Identifier: MIT */
#ifndef OP_NET_CURL_COMMON_H
#define OP_NET_CURL_COMMON_H

/*
 * Model:     what the two clients on libcurl share (http_curl.c: one exchange at a time; calls_curl.c:
 *            many): where a request may go, how its headers are written and a reply's are read.
 *            Private to net/.
 * Threads:   as the client that calls.
 */

#include <signal.h>

#include "net/address.h"
#include "net/http.h"
#include "net/libcurl.h"

/* Starts libcurl, which must be loaded; OP_INVAL when it is too old or without TLS. */
OP_MUST_CHECK enum op_rc op_curl_start(struct op_err *err);
/* OFFPEAK_PROXY as an op_mem string; NULL: none. */
char *op_curl_proxy(void);

/* The file that OFFPEAK_CA_FILE names, as an op_mem string; NULL: none. Said at once when it cannot
 * be read, not at the first handshake hours later. */
OP_MUST_CHECK enum op_rc op_curl_ca_file(char **ret, struct op_err *err);

#define OP_URL_SHOWN 256
/* The URL for messages: without its query and without a user name and password, which are nobody's
 * business. */
void op_curl_show_url(const char *url, char ret[OP_URL_SHOWN]);
/* Where a URL leads, and whether it may be asked at all: https, or http to this machine; with
 * private also http to a private network. */
OP_MUST_CHECK enum op_rc op_curl_peer(const char *url, bool proxied, bool private,
                                      const char *shown, enum op_peer *ret, struct op_err *err);
/* A socket for an address that may be asked; else CURL_SOCKET_BAD, and *ret_refusal says why. */
curl_socket_t op_curl_socket(const struct curl_sockaddr *address, enum op_peer peer,
                             const char **ret_refusal);
/* To be freed with curl_slist_free_all. */
struct curl_slist *op_curl_headers(const struct op_http_request *request);

/* What to add to libcurl's words for why an exchange failed; "" nothing. */
const char *op_curl_hint(CURLcode code, const char *detail);

/* Where the reading of a reply's header lines stands. */
struct op_curl_head {
    int status;   /* of the block being received, also 1xx */
    bool is_done; /* the final reply's are complete */
};
/* Takes a line into reply; false: there are more than it holds. */
bool op_curl_head_line(struct op_curl_head *head, struct op_http_reply *reply,
                       struct op_str line);

/* OpenSSL writes with write(2), so that a peer that went away raises SIGPIPE; libcurl leaves
 * signals alone (NOSIGNAL). The thread holds the signal back meanwhile and drops it. */
struct op_curl_pipe {
    sigset_t saved;
    bool was_pending;
};
void op_curl_hold_pipe(struct op_curl_pipe *pipe);
void op_curl_release_pipe(const struct op_curl_pipe *pipe);

#endif
