/* SPDX-License-Identifier: MIT */
/*
 * The provider's side of the realtime bench: answers every POST with the same message, at once, on any
 * number of connections, in one thread.
 *
 *     limit-answers FILE     prints its port; FILE is the body of the answer. GET says how many requests
 *                            there were, how many connections had one at a time at most, and the
 *                            seconds from the first to the last.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROOM   (256 * 1024)
#define EVENTS 256

struct connection {
    int fd;
    size_t len;
    char in[ROOM];
};

static char answer[ROOM];
static size_t answer_len;
static long requests, most;
static double first, last;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void load(const char *path)
{
    static char body[ROOM / 2];
    FILE *f = fopen(path, "rb");
    if (!f)
        die(path);
    size_t len = fread(body, 1, sizeof(body), f);
    fclose(f);
    answer_len = (size_t)snprintf(answer, sizeof(answer),
                                  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                  "Content-Length: %zu\r\n\r\n%.*s",
                                  len, (int)len, body);
}

static void send_all(int fd, const char *ptr, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, ptr, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return;
        if (n > 0) {
            ptr += n;
            len -= (size_t)n;
        }
    }
}

static void say(int fd)
{
    char body[200], text[400];
    int len = snprintf(body, sizeof(body), "{\"requests\":%ld,\"most\":%ld,\"seconds\":%.6f}\n",
                       requests, most, last - first);
    int all = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s",
                       len, body);
    send_all(fd, text, (size_t)all);
}

/* True when a whole request was taken from the front. */
static bool take(struct connection *c)
{
    char *end = memmem(c->in, c->len, "\r\n\r\n", 4);
    if (!end)
        return false;
    size_t head = (size_t)(end + 4 - c->in), body = 0;
    for (char *line = c->in; line < end; line = memchr(line, '\n', ROOM) + 1)
        if (strncasecmp(line, "Content-Length:", 15) == 0)
            body = strtoul(line + 15, NULL, 10);
    if (c->len < head + body)
        return false;
    if (c->in[0] == 'G') {
        say(c->fd);
    } else {
        last = now();
        first = requests++ ? first : last;
        send_all(c->fd, answer, answer_len);
    }
    c->len -= head + body;
    memmove(c->in, c->in + head + body, c->len);
    return true;
}

static void serve(int ep, struct connection *c)
{
    ssize_t n = recv(c->fd, c->in + c->len, ROOM - c->len, 0);
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN)
            return;
        epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
        close(c->fd);
        free(c);
        return;
    }
    c->len += (size_t)n;
    while (take(c))
        continue;
}

static void welcome(int ep, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct connection *c = calloc(1, sizeof(*c));
    if (!c)
        die("memory");
    c->fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    if (argc != 2)
        return 2;
    load(argv[1]);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, len) ||
        listen(listener, 1024) || getsockname(listener, (struct sockaddr *)&address, &len))
        die("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(ep, events, EVENTS, -1);
        long busy = 0;
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) {
                busy++;
                serve(ep, events[i].data.ptr);
            } else {
                welcome(ep, listener);
            }
        }
        most = busy > most ? busy : most;
    }
}
