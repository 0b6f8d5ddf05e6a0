/* SPDX-License-Identifier: MIT */
/*
 * What a client may send to the emulator. Input: requests with a byte 0x1e between them. One that begins
 * with 'r' is sent as it is; of any other the first byte is the route, the second the shape (method,
 * key, chunks), the rest the body.
 * Oracle: the emulator goes on serving; what it answers is HTTP, and where it says so, JSON.
 */
#include <ftw.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/json.h"
#include "emulator/emulator.h"
#include "fuzz.h"

static char dir[200];
static struct op_emulator *emulator;

static const char *const routes[] = {
    "/v1/messages/batches",
    "/anthropic/v1/messages/batches?limit=2&after_id=x",
    "/v1/messages/batches/msgbatch_1",
    "/v1/messages/batches/msgbatch_1/results",
    "/v1/messages/batches/msgbatch_1/cancel",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/models/x",
    "/openai/v1/files",
    "/openai/v1/files/file-1/content",
    "/openai/v1/batches",
    "/openai/v1/batches/batch_1/cancel",
    "/openai/v1/responses",
    "/openai/v1/chat/completions",
    "/openai/v1/embeddings",
    "/gemini/v1beta/files?pageSize=1&pageToken=x",
    "/gemini/upload/v1beta/files",
    "/gemini/v1beta/models/m:batchGenerateContent",
    "/gemini/v1beta/models/m:generateContent",
    "/gemini/v1beta/models/m:batchEmbedContents",
    "/gemini/v1beta/batches/b:cancel",
    "/mistral/v1/files",
    "/mistral/v1/batch/jobs",
    "/mistral/v1/chat/completions",
    "/%2e%2e/..//v1/x%00",
};

static int remove_one(const char *file, const struct stat *info, int flag, struct FTW *ftw)
{
    (void)info, (void)flag, (void)ftw;
    return remove(file);
}

static void stop(void)
{
    op_emulator_stopp(&emulator);
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void start(void)
{
    const char *base = getenv("TMPDIR");
    struct op_err err = OP_ERR_INIT;
    snprintf(dir, sizeof(dir), "%s/op-fuzz-emulator-XXXXXX", base && *base ? base : "/tmp");
    FUZZ_CHECK(mkdtemp(dir), "cannot make %s", dir);
    struct op_emulator_options options = {.dir = dir, .speed = 1000, .seed = 3};
    FUZZ_CHECK(!op_emulator_start(&options, &emulator, &err), "%s", err.msg);
    fuzz_keeps_blocks(); /* its threads and its store go on */
    (void)atexit(stop);
}

static int dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct linger none = {.l_onoff = 1}; /* closed by a reset: no port is kept waiting */
    struct timeval patience = {.tv_sec = 5};
    int64_t port = 0;
    FUZZ_CHECK(op_str_int64(op_str_from(strrchr(op_emulator_url(emulator), ':') + 1), &port),
               "no port");
    address.sin_port = htons((uint16_t)port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    FUZZ_CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0,
               "nobody answers any more");
    return fd;
}

static void write_body(struct op_buf *out, struct op_str body, bool chunked)
{
    if (!chunked) {
        op_buf_addf(out, "Content-Length: %zu\r\n\r\n", body.len);
        op_buf_add_str(out, body);
        return;
    }
    op_buf_addz(out, "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < body.len; at += 7) {
        size_t len = body.len - at < 7 ? body.len - at : 7;
        op_buf_addf(out, "%zx\r\n", len);
        op_buf_add(out, body.ptr + at, len);
        op_buf_addz(out, "\r\n");
    }
    op_buf_addz(out, "0\r\n\r\n");
}

static void write_request(struct op_buf *out, struct op_str text)
{
    static const char *const methods[] = {"POST", "GET", "DELETE", "PUT"};
    struct fuzz_input in = {text.ptr, text.len};
    if (op_str_starts(text, "r")) {
        op_buf_add(out, text.ptr + 1, text.len - 1);
        return;
    }
    const char *route = routes[fuzz_pick(&in, OP_COUNT(routes))];
    uint8_t shape = fuzz_byte(&in);
    op_buf_addf(out, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", methods[shape % 4],
                route);
    if (!(shape & 4))
        op_buf_addz(out, "x-api-key: k\r\nauthorization: Bearer k\r\nx-goog-api-key: k\r\n"
                         "anthropic-version: 2023-06-01\r\n");
    op_buf_addf(out, "content-type: %s\r\n",
                shape & 8 ? "multipart/form-data; boundary=x" : "application/json");
    write_body(out, fuzz_rest(&in), shape & 16);
}

static struct op_str header(struct op_str head, const char *name)
{
    size_t len = strlen(name);
    while (head.ptr) {
        struct op_str line = op_str_cut(&head, '\n');
        if (line.len > len && strncasecmp(line.ptr, name, len) == 0)
            return op_str_trim((struct op_str){line.ptr + len, line.len - len});
    }
    return OP_STR_NULL;
}

static void check_answer(const struct op_buf *all)
{
    if (!all->len)
        return; /* it may close the connection on what is no HTTP */
    FUZZ_CHECK(strncmp(all->ptr, "HTTP/1.", 7) == 0, "%.200s", all->ptr);
    const char *end = memmem(all->ptr, all->len, "\r\n\r\n", 4);
    if (!end)
        return;
    struct op_str head = {all->ptr, (size_t)(end - all->ptr)};
    struct op_str body = {end + 4, all->len - head.len - 4};
    int64_t length;
    struct op_str type = header(head, "content-type:");
    if (!type.ptr || !op_str_starts(type, "application/json") ||
        !op_str_int64(header(head, "content-length:"), &length) || (size_t)length != body.len)
        return;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json v;
    struct op_err err = OP_ERR_INIT;
    FUZZ_CHECK(!op_json_parse(parser, body.ptr, body.len, false, &v, &err) &&
                   !op_json_parser_repaired(parser),
               "%s: " OP_STR_FMT, err.msg, OP_STR_ARG(body));
}

static void exchange(struct op_str text)
{
    OP_CLEANUP(op_buf_release) struct op_buf out, answer;
    char block[4096];
    op_buf_init(&out, 64 * 1024 * 1024);
    op_buf_init(&answer, 64 * 1024 * 1024);
    write_request(&out, text);
    int fd = dial();
    ssize_t n = send(fd, out.ptr, out.len, MSG_NOSIGNAL);
    (void)shutdown(fd, SHUT_WR);
    while (n >= 0 && (n = recv(fd, block, sizeof(block), 0)) > 0)
        op_buf_add(&answer, block, (size_t)n);
    close(fd);
    check_answer(&answer);
}

FUZZ_TARGET(emulator)
{
    if (!emulator)
        start();
    while (in->len > 0)
        exchange(fuzz_until(in, '\x1e'));
}
