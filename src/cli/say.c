/* SPDX-License-Identifier: MIT */
#include "cli/say.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "view/document.h"
#include "view/text.h"

static bool stdout_failed;

static bool write_all(int fd, const char *ptr, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, ptr, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EPIPE;
        ptr += n;
        len -= (size_t)n;
    }
    return true;
}

void op_say(struct op_str text)
{
    if (write_all(STDOUT_FILENO, text.ptr, text.len) || stdout_failed)
        return;
    stdout_failed = true;
    static const char message[] = "offpeak: the result could not be written to stdout\n";
    (void)write_all(STDERR_FILENO, message, sizeof(message) - 1);
}

bool op_say_failed(void)
{
    return stdout_failed;
}

void op_sayf(const char *fmt, ...)
{
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    op_buf_init(&text, OP_SAY_MAX);
    va_list ap;
    va_start(ap, fmt);
    op_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    op_say(op_buf_str(&text));
}

/* Whatever a line was made of, no key leaves with it, and nothing that steers a terminal. */
static void to_stderr(struct op_buf *text)
{
    OP_CLEANUP(op_buf_release) struct op_buf clean = {0};
    op_buf_init(&clean, OP_SAY_MAX);
    op_log_mask(text->ptr, text->len);
    op_text_block(&clean, op_buf_str(text), 0);
    (void)write_all(STDERR_FILENO, clean.ptr, clean.len);
}

void op_note(const struct op_args *args, const char *fmt, ...)
{
    if (args->quiet)
        return;
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    op_buf_init(&text, OP_SAY_MAX);
    va_list ap;
    va_start(ap, fmt);
    op_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    to_stderr(&text);
}

size_t op_say_width(int fd)
{
    struct winsize size;
    if (!isatty(fd))
        return 0;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 20)
        return size.ws_col;
    return 80;
}

void op_report_begin(struct op_report *report)
{
    op_buf_init(&report->buf, OP_SAY_MAX);
    op_json_out_init(&report->out, &report->buf, 2);
    op_json_out_object(&report->out);
    op_json_out_kv_int(&report->out, "version", OP_DOCUMENT_VERSION);
}

void op_report_print(struct op_report *report)
{
    op_json_out_end_object(&report->out);
    op_buf_addc(&report->buf, '\n');
    op_say(op_buf_str(&report->buf));
    op_buf_release(&report->buf);
}

enum op_rc op_report_end(struct op_report *report, enum op_rc rc)
{
    if (rc)
        op_buf_release(&report->buf);
    else
        op_report_print(report);
    return rc;
}

void op_report_error(struct op_json_out *out, const struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *message = op_mem_strdup(err->msg);
    op_log_mask(message, strlen(message));
    op_json_out_name(out, "error");
    op_json_out_object(out);
    op_json_out_kv_text(out, "code", op_rc_name(err->rc));
    op_json_out_kv_text(out, "message", message);
    op_json_out_end_object(out);
}

static int exit_of(enum op_rc rc)
{
    switch (rc) {
    case OP_OK:
        return OP_EXIT_OK;
    case OP_BUSY:
        return OP_EXIT_BUSY;
    case OP_STOPPED:
        return OP_EXIT_PARTIAL;
    case OP_INVAL:
    case OP_NOTFOUND:
    case OP_CONFLICT:
    case OP_IO:
    case OP_REMOTE:
        break;
    }
    return OP_EXIT_FAILED;
}

static void say_it(const struct op_args *args, const struct op_err *err, const char *hint)
{
    if (args->json) {
        struct op_report report;
        op_report_begin(&report);
        op_report_error(&report.out, err);
        op_report_print(&report);
    }
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    op_buf_init(&text, 16 * 1024);
    op_buf_addf(&text, "offpeak: %s\n%s", err->msg, hint);
    to_stderr(&text);
}

int op_say_error(const struct op_args *args, const struct op_err *err)
{
    say_it(args, err, "");
    return exit_of(err->rc);
}

int op_say_usage(const struct op_args *args, const struct op_err *err)
{
    OP_CLEANUP(op_mem_freep)
    char *hint = op_mem_printf("see `offpeak help%s%s`\n", args->command ? " " : "",
                               args->command ? args->command->name : "");
    say_it(args, err, hint);
    return OP_EXIT_USAGE;
}
