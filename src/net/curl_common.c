/* SPDX-License-Identifier: MIT */
#include "net/curl_common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

#define CURL_OLDEST 0x075800 /* 7.88.0 */

enum op_rc op_curl_start(struct op_err *err)
{
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (code != CURLE_OK)
        return op_fail(err, OP_IO, "libcurl cannot be started: %s", curl_easy_strerror(code));
    const curl_version_info_data *version = curl_version_info(CURLVERSION_NOW);
    if (version->version_num < CURL_OLDEST || !(version->features & CURL_VERSION_SSL)) {
        curl_global_cleanup();
        return op_fail(err, OP_INVAL,
                       "libcurl %s cannot be used: 7.88 or newer with TLS is needed",
                       version->version);
    }
    return OP_OK;
}

char *op_curl_proxy(void)
{
    const char *proxy = secure_getenv("OFFPEAK_PROXY");
    return proxy && *proxy ? op_mem_strdup(proxy) : NULL;
}

enum op_rc op_curl_ca_file(char **ret, struct op_err *err)
{
    const char *path = secure_getenv("OFFPEAK_CA_FILE");
    if (!path || !*path)
        return OP_OK;
    if (access(path, R_OK) != 0)
        return op_fail_errno(err, OP_INVAL, "OFFPEAK_CA_FILE names %s, which cannot be read",
                             path);
    *ret = op_mem_strdup(path);
    return OP_OK;
}

void op_curl_show_url(const char *url, char ret[OP_URL_SHOWN])
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    size_t authority = strcspn(host, "/?#");
    const char *at = memrchr(host, '@', authority);
    const char *from = at ? at + 1 : host;
    snprintf(ret, OP_URL_SHOWN, "%.*s%.*s", (int)(host - url), url, (int)strcspn(from, "?#"),
             from);
}

enum op_rc op_curl_peer(const char *url, bool proxied, bool private, const char *shown,
                        enum op_peer *ret, struct op_err *err)
{
    CURLU *parts = curl_url();
    char *scheme = NULL;
    char *host = NULL;
    enum op_rc rc = OP_OK;
    if (!parts || curl_url_set(parts, CURLUPART_URL, url, CURLU_DISALLOW_USER) ||
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(parts, CURLUPART_HOST, &host, 0)) {
        rc = op_fail(err, OP_INVAL,
                     "'%s' is not a URL that can be asked: it must be https://host/path "
                     "without a user name",
                     shown);
    } else {
        bool loopback = op_host_is_loopback(op_str_from(host));
        bool plain = strcmp(scheme, "http") == 0;
        if (strcmp(scheme, "https") != 0 && !(plain && (loopback || private)))
            rc = op_fail(err, OP_INVAL,
                         "'%s' is refused: only https:// is spoken, and http:// to this "
                         "machine; change the base URL",
                         shown);
        else if (loopback)
            *ret = OP_PEER_LOOPBACK;
        else if (plain)
            *ret = OP_PEER_PRIVATE;
        else
            *ret = proxied ? OP_PEER_PROXY : OP_PEER_REMOTE;
    }
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(parts);
    return rc;
}

curl_socket_t op_curl_socket(const struct curl_sockaddr *address, enum op_peer peer,
                             const char **ret_refusal)
{
    const char *why = op_address_refusal(&address->addr, address->addrlen, peer);
    if (why) {
        *ret_refusal = why;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static struct curl_slist *add_header(struct curl_slist *headers, const char *line)
{
    struct curl_slist *more = curl_slist_append(headers, line);
    if (!more)
        abort(); /* out of memory, as in base/mem.h: the program is crash-only */
    return more;
}

struct curl_slist *op_curl_headers(const struct op_http_request *request)
{
    struct curl_slist *headers = NULL;
    bool typed = false;
    bool named = false;
    for (size_t i = 0; i < request->header_count; i++) {
        const struct op_http_header *h = &request->headers[i];
        /* "Name:" would remove a header, "Name;" sends an empty one. */
        OP_CLEANUP(op_mem_freep)
        char *line = *h->value ? op_mem_printf("%s: %s", h->name, h->value)
                               : op_mem_printf("%s;", h->name);
        headers = add_header(headers, line);
        typed |= strcasecmp(h->name, "Content-Type") == 0;
        named |= strcasecmp(h->name, "User-Agent") == 0;
    }
    /* With Expect the body would wait for the server's word, and a 417 makes libcurl send the
     * request once more. libcurl 7.88 signs the header that it is told to leave out, and AWS refuses
     * that; what is signed may be sent twice, and only bodies over 1 MiB wait. */
    if (!request->sign)
        headers = add_header(headers, "Expect:");
    headers = add_header(headers, "Accept-Encoding: identity");
    if (!typed)
        headers = add_header(headers, "Content-Type:"); /* not the form type libcurl claims */
    if (!named)
        headers = add_header(headers, "User-Agent: offpeak/" OP_VERSION);
    return headers;
}

static int status_of(struct op_str line)
{
    int64_t status;
    op_str_cut(&line, ' ');
    if (!line.ptr || line.len < 3 || !op_str_int64((struct op_str){line.ptr, 3}, &status))
        return 0;
    return (int)status;
}

bool op_curl_head_line(struct op_curl_head *head, struct op_http_reply *reply,
                       struct op_str line)
{
    if (head->is_done)
        return true; /* a trailer: nothing we use comes in one */
    if (op_str_starts(line, "HTTP/")) {
        head->status = status_of(line);
        reply->status = head->status >= 200 ? head->status : 0;
        op_buf_clear(&reply->headers);
        return true;
    }
    if (head->status < 200)
        return true; /* headers of an interim reply */
    if (op_str_trim(line).len == 0) {
        int64_t told;
        head->is_done = true;
        if (op_str_int64(op_http_header_get(reply, "Content-Length"), &told) && told >= 0)
            reply->content_length = told;
        return true;
    }
    op_buf_add_str(&reply->headers, line);
    return !reply->headers.failed;
}

const char *op_curl_hint(CURLcode code, const char *detail)
{
    bool is_old = code == CURLE_SSL_CONNECT_ERROR && (strstr(detail, "protocol version") ||
                                                      strstr(detail, "unsupported protocol"));
    return is_old ? "; TLS 1.2 or later is spoken, and nothing older" : "";
}

void op_curl_hold_pipe(struct op_curl_pipe *pipe)
{
    sigset_t pipe_only;
    sigset_t pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    pipe->was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_only, &pipe->saved);
}

void op_curl_release_pipe(const struct op_curl_pipe *pipe)
{
    sigset_t pipe_only;
    const struct timespec now = {0};
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    while (!pipe->was_pending && sigtimedwait(&pipe_only, NULL, &now) < 0 && errno == EINTR)
        continue;
    pthread_sigmask(SIG_SETMASK, &pipe->saved, NULL);
}
