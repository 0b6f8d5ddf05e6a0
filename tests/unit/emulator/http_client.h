/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_HTTP_CLIENT_H
#define OP_TESTS_HTTP_CLIENT_H

/*
 * Model:     the smallest HTTP client that shows what an emulator does to a connection: one
 *            request on one socket, everything that came back until it was closed.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"

struct reply {
    int status; /* 0: closed without an answer */
    struct op_buf all;
    struct op_str head, body;
    bool whole; /* the body has its announced length */
};

static inline int reply_connect(const char *url)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int64_t port = 0;
    if (!op_str_int64(op_str_from(strrchr(url, ':') + 1), &port))
        return -1;
    address.sin_port = htons((uint16_t)port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address))) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline bool reply_send(int fd, const char *ptr, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, ptr, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        ptr += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* The value of a header, ptr NULL without it. */
static inline struct op_str reply_header(const struct reply *reply, const char *name)
{
    struct op_str head = reply->head;
    size_t len = strlen(name);
    while (head.len > 0) {
        struct op_str line = op_str_cut(&head, '\n');
        if (line.len > len && strncasecmp(line.ptr, name, len) == 0 && line.ptr[len] == ':')
            return op_str_trim((struct op_str){line.ptr + len + 1, line.len - len - 1});
    }
    return OP_STR_NULL;
}

static inline void reply_parse(struct reply *reply)
{
    const char *end = strstr(reply->all.ptr, "\r\n\r\n");
    if (!end)
        return;
    size_t head = (size_t)(end - reply->all.ptr) + 4;
    reply->head = (struct op_str){reply->all.ptr, head};
    reply->body = (struct op_str){reply->all.ptr + head, reply->all.len - head};
    reply->status = (int)strtol(reply->all.ptr + 9, NULL, 10);
    int64_t length = -1;
    struct op_str text = reply_header(reply, "Content-Length");
    reply->whole =
        text.ptr && op_str_int64(text, &length) && length == (int64_t)reply->body.len;
}

/* headers: whole lines with CRLF. */
static inline void reply_get(struct reply *reply, const char *url, const char *method,
                             const char *path, const char *headers, const char *body)
{
    struct op_buf out;
    char block[4096];
    *reply = (struct reply){0};
    op_buf_init(&reply->all, (size_t)1 << 26);
    op_buf_init(&out, (size_t)1 << 26);
    op_buf_addf(&out, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s", method, path,
                strstr(url, "//") + 2, headers);
    op_buf_addf(&out, "Content-Length: %zu\r\n\r\n", strlen(body));
    op_buf_addz(&out, body);
    int fd = reply_connect(url);
    ssize_t len;
    if (fd >= 0 && reply_send(fd, out.ptr, out.len)) {
        while ((len = recv(fd, block, sizeof(block), 0)) > 0)
            op_buf_add(&reply->all, block, (size_t)len);
    }
    if (fd >= 0)
        close(fd);
    op_buf_release(&out);
    reply_parse(reply);
}

static inline void reply_release(struct reply *reply)
{
    op_buf_release(&reply->all);
}

#endif
