/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: Mistral's batch jobs: what is sent, and what replies and result lines mean.
 * Oracle:    golden requests and recorded objects from the API's description; the send table of the
 *            protocol, run over every status and body shape; garbage in every field of a good line.
 */
#include <math.h>
#include <stdio.h>

#include "change.h"
#include "provider/mistral/mistral.h"
#include "support.h"

#define BASE "http://127.0.0.1:8012/pre"

static const struct op_provider_ops *const ops = &op_provider_mistral;
static const struct op_create what = {.tag = "op-ab-1",
                                      .file_id = "f-1",
                                      .model = "mistral-small-latest",
                                      .sha256 = "0123456789abcdef",
                                      .bytes = 9};

static struct op_lane lane_of(void)
{
    static char key[] = "k", url[] = BASE;
    return (struct op_lane){.provider = ops, .base_url = url, .key = key};
}

/* --- sending -------------------------------------------------------------------------------- */

static void check_form(const struct op_request_settings *settings, const char *want)
{
    static const char *const holes[] = {"", "{S}", "{U}"};
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of();
    struct op_params_form form;
    if (ops->params(&lane, settings, &form, &err))
        fail_msg("%s: %s", want, err.msg);
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < form.count; i++) {
        op_buf_add_str(&text, form.parts[i].literal);
        op_buf_addz(&text, holes[form.parts[i].hole]);
    }
    assert_string_equal(text.ptr, want);
    op_params_form_release(&form);
}

static void check_refusal(const struct op_request_settings *settings, const char *mention)
{
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of();
    struct op_params_form form = {0};
    assert_int_equal(ops->params(&lane, settings, &form, &err), OP_INVAL);
    assert_mentions(err.msg, "p.yaml:1");
    assert_mentions(err.msg, mention);
    assert_null(form.text.ptr);
}

static void test_params(void **state)
{
    (void)state;
    struct op_request_settings s = {.model = "mistral-small-latest",
                                    .max_tokens = 9,
                                    .temperature = NAN,
                                    .file = "p.yaml:1"};
    check_form(&s, "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"{U}\"}]}");
    s.has_system = true;
    s.temperature = 0;
    s.effort = "max";
    s.schema = read_json("{\"type\":\"object\"}");
    s.extra = OP_STR("{\"random_seed\":1}");
    check_form(&s, "{\"max_tokens\":9,\"temperature\":0,\"reasoning_effort\":\"high\","
                   "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
                   "\"answer\",\"strict\":true,\"schema\":{\"type\":\"object\"}}},"
                   "\"random_seed\":1,\"messages\":[{\"role\":\"system\",\"content\":\"{S}\"},"
                   "{\"role\":\"user\",\"content\":\"{U}\"}]}");
    s.effort = "low";
    check_refusal(&s, "'effort' must be high");
    s.effort = NULL;
    s.temperature = 1.6;
    check_refusal(&s, "from 0 to 1.5");
    s.temperature = NAN;
    s.extra = OP_STR("{\"response_format\":{}}");
    check_refusal(&s, "beside 'answer'");
    s.extra = OP_STR("{\"messages\":[]}");
    check_refusal(&s, "set 'user'");
    s = (struct op_request_settings){.model = "mistral-embed",
                                     .endpoint = "embeddings",
                                     .max_tokens = 9,
                                     .temperature = NAN,
                                     .file = "p.yaml:1"};
    check_form(&s, "{\"input\":\"{U}\"}");
    s.has_system = true;
    check_refusal(&s, "takes no 'system'");
}

static const char *header(const struct op_exchange *x, const char *name)
{
    for (size_t i = 0; i < x->header_count; i++)
        if (strcmp(x->headers[i].name, name) == 0)
            return x->headers[i].value;
    return "";
}

static void check_exchange(struct op_exchange *x, const char *method, const char *url,
                           const char *body)
{
    assert_string_equal(x->method, method);
    assert_string_equal(x->url.ptr, url);
    assert_string_equal(x->body.ptr, body);
    assert_string_equal(header(x, "Authorization"), "Bearer k");
    op_exchange_release(x);
}

static void test_exchanges(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of();
    struct op_exchange x;
    assert_int_equal(ops->create(&lane, &what, &x, &err), OP_OK);
    struct op_json v;
    assert_int_equal(op_json_parse(parser, x.body.ptr, x.body.len - 1, false, &v, &err),
                     OP_INVAL); /* the last byte is what makes it a job */
    check_exchange(&x, "POST", BASE "/v1/batch/jobs",
                   "{\"input_files\":[\"f-1\"],\"endpoint\":\"/v1/chat/completions\",\"model\":"
                   "\"mistral-small-latest\",\"timeout_hours\":24,\"metadata\":{\"op_tag\":"
                   "\"op-ab-1\"}}");
    err = OP_ERR_INIT;
    assert_int_equal(ops->get(&lane, "j-1", &x, &err), OP_OK);
    check_exchange(&x, "GET", BASE "/v1/batch/jobs/j-1", "");
    assert_int_equal(ops->cancel(&lane, "j-1", &x, &err), OP_OK);
    check_exchange(&x, "POST", BASE "/v1/batch/jobs/j-1/cancel", "");
    assert_int_equal(ops->list(&lane, "", 7, &x, &err), OP_OK);
    check_exchange(&x, "GET", BASE "/v1/batch/jobs?page=0&page_size=100", "");
    assert_int_equal(ops->list(&lane, "3", 7, &x, &err), OP_OK);
    check_exchange(&x, "GET", BASE "/v1/batch/jobs?page=3&page_size=100", "");
    assert_int_equal(ops->files(&lane, "1", &x, &err), OP_OK);
    check_exchange(&x, "GET", BASE "/v1/files?page=1&page_size=100", "");
    assert_int_equal(ops->remove_file(&lane, "f-1", &x, &err), OP_OK);
    check_exchange(&x, "DELETE", BASE "/v1/files/f-1", "");
    assert_int_equal(ops->ask(&lane, "m", NULL, NULL, OP_STR("{\"messages\":[]}"), &x, &err),
                     OP_OK);
    check_exchange(&x, "POST", BASE "/v1/chat/completions",
                   "{\"model\":\"m\",\"messages\":[]}");
    assert_int_equal(ops->ask(&lane, "m", "embeddings", NULL,
                              OP_STR("{\"model\":\"other\",\"input\":\"x\"}"), &x, &err),
                     OP_OK);
    check_exchange(&x, "POST", BASE "/v1/embeddings", "{\"model\":\"m\",\"input\":\"x\"}");
    assert_int_equal(ops->ask(&lane, "m", NULL, "flex", OP_STR("{}"), &x, &err), OP_INVAL);
    static const char *const bad[] = {"", "../x", "a/b", "a?b"};
    for (size_t i = 0; i < OP_COUNT(bad); i++) {
        err = OP_ERR_INIT;
        assert_int_equal(ops->get(&lane, bad[i], &x, &err), OP_INVAL);
    }
    assert_int_equal(ops->list(&lane, "x", 7, &x, &err), OP_INVAL);
    lane.key = NULL;
    err = OP_ERR_INIT;
    assert_int_equal(ops->get(&lane, "j", &x, &err), OP_INVAL);
    assert_mentions(err.msg, "MISTRAL_API_KEY");
}

static void test_upload(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of();
    struct op_exchange x;
    assert_int_equal(ops->upload_begin(&lane, &what, &x, &err), OP_NOTFOUND);
    assert_string_equal(err.msg, "");
    assert_int_equal(ops->upload(&lane, &what, NULL, &x, &err), OP_OK);
    assert_string_equal(header(&x, "content-type"),
                        "multipart/form-data; boundary=offpeak-0123456789abcdef");
    assert_true(x.with_file);
    assert_string_equal(x.tail.ptr, "\r\n--offpeak-0123456789abcdef--\r\n");
    check_exchange(
        &x, "POST", BASE "/v1/files",
        "--offpeak-0123456789abcdef\r\nContent-Disposition: form-data; "
        "name=\"purpose\"\r\n\r\nbatch\r\n--offpeak-0123456789abcdef\r\n"
        "Content-Disposition: form-data; name=\"file\"; filename=\"op-ab-1.jsonl\"\r\n"
        "Content-Type: application/jsonl\r\n\r\n");
    struct op_create evil = what;
    evil.tag = "a\"\r\nx";
    assert_int_equal(ops->upload(&lane, &evil, NULL, &x, &err), OP_INVAL);
}

static void test_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *id, *params, *mention;
    } cases[] = {
        {"{\"custom_id\":\"a\",\"body\":{\"messages\":[]}}", "a", "{\"messages\":[]}", NULL},
        {"{\"custom_id\":\"a\",\"url\":\"/v1\",\"body\":{}}", NULL, NULL, "OpenAI's form"},
        {"{\"custom_id\":\"a\",\"params\":{}}", NULL, NULL, "\"body\" is missing"},
        {"{\"body\":{}}", NULL, NULL, "\"custom_id\" is missing"},
        {"{\"custom_id\":\"a\",\"body\":{\"stream\":true}}", NULL, NULL, "does not stream"},
        {"[]", NULL, NULL, "not array"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_str id = OP_STR_NULL, params = OP_STR_NULL;
        const char *endpoint = NULL;
        enum op_rc rc = ops->split_line(read_json(cases[i].line), op_str_from(cases[i].line),
                                        &id, &params, &endpoint, &err);
        bool embeds = cases[i].params && (strstr(cases[i].params, "\"content\"") ||
                                          strstr(cases[i].params, "\"input\""));
        if (rc == OP_OK)
            assert_string_equal(endpoint, ops->endpoints[embeds]);
        assert_int_equal(rc, cases[i].mention ? OP_INVAL : OP_OK);
        assert_str(id, cases[i].id);
        assert_str(params, cases[i].params);
        if (cases[i].mention)
            assert_mentions(err.msg, cases[i].mention);
    }
    struct op_batch_framing f;
    ops->framing(NULL, "chat", &f);
    OP_CLEANUP(op_buf_release) struct op_buf line;
    op_buf_init(&line, 1000);
    op_buf_addf(&line, "%s%sa%s{}%s%s", f.head, f.before, f.between, f.after, f.tail);
    assert_string_equal(line.ptr, "{\"custom_id\":\"a\",\"body\":{}}\n");
}

static void test_amend(void **state)
{
    (void)state;
    static const struct {
        const char *params;
        struct op_amend amend;
        const char *want;
    } cases[] = {
        {"{\"max_tokens\":5,\"messages\":[]}",
         {.max_tokens = 9},
         "{\"max_tokens\":9,\"messages\":[]}"},
        {"{\"input\":\"x\"}", {.max_tokens = 9}, "{\"input\":\"x\"}"},
        {"{\"messages\":[1]}",
         {.answer = {"A", 1}, .violations = {"1. no", 5}},
         "{\"messages\":[1,{\"role\":\"assistant\",\"content\":\"A\"},{\"role\":\"user\","
         "\"content\":\"Your answer breaks these rules:\\n1. no\\nAnswer again, complete, with "
         "every one of them mended.\"}]}"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        OP_CLEANUP(op_buf_release) struct op_buf out;
        op_buf_init(&out, 1 << 16);
        assert_int_equal(ops->amend(read_json(cases[i].params), &cases[i].amend, &out, &err),
                         OP_OK);
        assert_string_equal(out.ptr, cases[i].want);
    }
}

/* --- replies -------------------------------------------------------------------------------- */

#define JOB(status, more)                                                                      \
    "{\"id\":\"j-1\",\"object\":\"batch\",\"input_files\":[\"f-1\"],\"metadata\":{\"op_tag\":" \
    "\"op-ab-1\"},\"endpoint\":\"/v1/chat/completions\",\"model\":\"m\",\"status\":\"" status  \
    "\",\"created_at\":1765391221,\"total_requests\":3,\"completed_requests\":2,"              \
    "\"succeeded_requests\":1,\"failed_requests\":1" more "}"

static enum op_create_class create(enum op_rc transport, int status, const char *body,
                                   struct op_remote_batch *batch, struct op_err *err)
{
    struct op_http_reply reply;
    make_reply(&reply, status, "", body);
    enum op_create_class got = ops->decode_create(transport, &reply, batch, err);
    drop_reply(&reply);
    return got;
}

static void test_create_table(void **state)
{
    (void)state;
    static const int refusals[] = {400, 401, 402, 403, 404, 405, 413, 415, 422, 429};
    static const struct {
        const char *body;
        bool batch, error;
    } bodies[] = {
        {JOB("QUEUED", ""), true, false},
        {"{\"object\":\"error\",\"message\":\"m\",\"type\":\"t\",\"code\":\"1\"}", false, true},
        {"{\"detail\":\"Unauthorized\"}", false, true},
        {"{\"detail\":[{\"msg\":\"Field required\"}]}", false, true},
        {"{\"message\":{\"detail\":[{\"msg\":\"Field required\"}]}}", false, true},
        {"", false, false},
        {"<html>", false, false},
        {"{}", false, false},
        {"{\"id\":\"../x\"}", false, false},
        {"{\"id\":\"f\",\"object\":\"file\"}", false, false},
        {"{\"message\":7}", false, false},
        {"[]", false, false},
    };
    for (int status = 100; status < 600; status++) {
        bool refusal = false;
        for (size_t i = 0; i < OP_COUNT(refusals); i++)
            refusal = refusal || refusals[i] == status;
        for (size_t i = 0; i < OP_COUNT(bodies); i++) {
            struct op_err err = OP_ERR_INIT, cut = OP_ERR_INIT;
            struct op_remote_batch batch = {0};
            enum op_create_class want = OP_CREATE_AMBIGUOUS;
            if (status >= 200 && status < 300 && bodies[i].batch)
                want = OP_CREATE_ACCEPTED;
            else if (refusal && bodies[i].error)
                want = OP_CREATE_REJECTED;
            if (create(OP_OK, status, bodies[i].body, &batch, &err) != want)
                fail_msg("%d %s", status, bodies[i].body);
            assert_int_equal(err.msg[0] != '\0', want != OP_CREATE_ACCEPTED);
            assert_int_equal(batch.id[0] != '\0', want == OP_CREATE_ACCEPTED);
            assert_int_equal(err.disp == OP_DISP_AMBIGUOUS, want == OP_CREATE_AMBIGUOUS);
            assert_int_equal(create(OP_REMOTE, status, bodies[i].body, &batch, &cut),
                             OP_CREATE_AMBIGUOUS);
        }
    }
}

static void test_jobs(void **state)
{
    (void)state;
#define BOTH ",\"output_file\":\"o-1\",\"error_file\":\"e-1\""
    static const struct {
        const char *body;
        enum op_remote_state state;
        const char *results, *failure;
        enum op_disp disp;
    } cases[] = {
        {JOB("QUEUED", ""), OP_REMOTE_IN_PROGRESS, "", "", OP_DISP_RETRY},
        {JOB("RUNNING", ",\"output_file\":null"), OP_REMOTE_IN_PROGRESS, "", "", OP_DISP_RETRY},
        {JOB("SUCCESS", BOTH), OP_REMOTE_ENDED, "o-1 e-1", "", OP_DISP_RETRY},
        {JOB("SUCCESS", ",\"output_file\":\"\",\"error_file\":\"e-1\""), OP_REMOTE_ENDED, "e-1",
         "", OP_DISP_RETRY},
        {JOB("SUCCESS", ""), OP_REMOTE_ENDED, "", "", OP_DISP_RETRY},
        {JOB("FAILED", ",\"errors\":[{\"message\":\"bad line\",\"count\":3}]"),
         OP_REMOTE_FAILED, "", "bad line", OP_DISP_REJECT},
        {JOB("FAILED", ",\"errors\":[{\"message\":\"Internal server error\",\"count\":1}]"),
         OP_REMOTE_FAILED, "", "Internal server error", OP_DISP_RETRY},
        {JOB("FAILED", ",\"errors\":[]"), OP_REMOTE_FAILED, "", "Mistral gave no reason",
         OP_DISP_RETRY},
        {JOB("FAILED", BOTH), OP_REMOTE_ENDED, "o-1 e-1", "", OP_DISP_RETRY},
        {JOB("TIMEOUT_EXCEEDED", ",\"output_file\":\"o-1\""), OP_REMOTE_ENDED, "o-1", "",
         OP_DISP_RETRY},
        {JOB("CANCELLATION_REQUESTED", ""), OP_REMOTE_CANCELING, "", "", OP_DISP_RETRY},
        {JOB("CANCELLED", ""), OP_REMOTE_ENDED, "", "", OP_DISP_RETRY},
        {JOB("PAUSED", ""), OP_REMOTE_UNKNOWN, "", "", OP_DISP_RETRY},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_remote_batch batch;
        struct op_http_reply reply;
        make_reply(&reply, 200, "", cases[i].body);
        assert_int_equal(ops->decode_batch(&reply, &batch, &err), OP_OK);
        drop_reply(&reply);
        if (batch.state != cases[i].state)
            fail_msg("%s: %d", cases[i].body, batch.state);
        assert_string_equal(batch.results_url, cases[i].results);
        assert_string_equal(batch.failure, cases[i].failure);
        assert_int_equal(batch.failure_disp, cases[i].disp);
        assert_string_equal(batch.tag, "op-ab-1");
        assert_string_equal(batch.file_id, "f-1");
        assert_int_equal(batch.created_ms, 1765391221000);
        assert_int_equal(batch.total, 3);
        assert_int_equal(batch.succeeded, 1);
        assert_int_equal(batch.errored, 1);
    }
}

static void test_results(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of();
    struct op_exchange x;
    struct op_remote_batch batch = {
        .id = "j-1", .state = OP_REMOTE_ENDED, .results_url = "o-1 e-1"};
    assert_int_equal(ops->results(&lane, &batch, 0, &x, &err), OP_OK);
    check_exchange(&x, "GET", BASE "/v1/files/o-1/content", "");
    assert_int_equal(ops->results(&lane, &batch, 1, &x, &err), OP_OK);
    check_exchange(&x, "GET", BASE "/v1/files/e-1/content", "");
    assert_int_equal(ops->results(&lane, &batch, 2, &x, &err), OP_NOTFOUND);
    batch.results_url[0] = '\0';
    assert_int_equal(ops->results(&lane, &batch, 0, &x, &err), OP_NOTFOUND);
    assert_string_equal(err.msg, "");
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *headers, *body;
        enum op_rc rc;
        enum op_disp disp;
    } cases[] = {
        {401, "", "{\"detail\":\"Unauthorized\"}", OP_REMOTE, OP_DISP_PAUSE},
        {402, "", "", OP_REMOTE, OP_DISP_QUOTA},
        {404, "", "{\"message\":\"no\"}", OP_NOTFOUND, OP_DISP_RETRY},
        {422, "", "{\"detail\":[{\"msg\":\"x\"}]}", OP_REMOTE, OP_DISP_REJECT},
        {429, "", "{\"message\":\"Requests rate limit exceeded\"}", OP_REMOTE, OP_DISP_RETRY},
        {429, "retry-after: 3\r\n", "{\"message\":\"slow\"}", OP_REMOTE, OP_DISP_RETRY_AFTER},
        {429, "", "{\"message\":\"no active subscription\"}", OP_REMOTE, OP_DISP_QUOTA},
        {500, "", "", OP_REMOTE, OP_DISP_RETRY},
        {0, "", "", OP_REMOTE, OP_DISP_RETRY},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_http_reply reply;
        make_reply(&reply, cases[i].status, cases[i].headers, cases[i].body);
        enum op_rc rc = ops->decode_error(&reply, &err);
        drop_reply(&reply);
        if (rc != cases[i].rc || err.disp != cases[i].disp)
            fail_msg("%d %s: %s", cases[i].status, cases[i].body, op_disp_name(err.disp));
        assert_true(err.msg[0]);
    }
}

static void note(void *arg, const struct op_remote_batch *batch)
{
    op_buf_addf(arg, "%s ", batch->id);
}

static void note_file(void *arg, const struct op_remote_file *file)
{
    op_buf_addf(arg, "%s=%s/%d ", file->id, file->name, (int)file->bytes);
}

static void test_lists(void **state)
{
    (void)state;
    static const struct {
        const char *asked, *body, *seen, *cursor; /* seen NULL: refused */
    } cases[] = {
        {"", "{\"data\":[{\"id\":\"j-1\"}],\"total\":1}", "j-1 ", ""},
        {"", "{\"data\":[{\"id\":\"j-1\"}],\"total\":5}", "j-1 ", "1"},
        {"4", "{\"data\":[{\"id\":\"j-1\"}],\"total\":5}", "j-1 ", "5"},
        {"5", "{\"data\":[],\"total\":5}", "", ""},
        {"", "{\"total\":0}", "", ""},
        {"", "{\"total\":3}", NULL, ""},
        {"", "{\"data\":[{}],\"total\":1}", NULL, ""},
        {"", "{}", NULL, ""},
        {"2", "<html>", NULL, "2"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_http_reply reply;
        OP_CLEANUP(op_buf_release) struct op_buf seen;
        op_buf_init(&seen, 10000);
        char cursor[256];
        snprintf(cursor, sizeof(cursor), "%s", cases[i].asked);
        make_reply(&reply, 200, "", cases[i].body);
        enum op_rc rc = ops->decode_list(&reply, note, &seen, cursor, &err);
        drop_reply(&reply);
        if (rc != (cases[i].seen ? OP_OK : OP_REMOTE))
            fail_msg("%s: %s", cases[i].body, err.msg);
        assert_string_equal(seen.ptr, cases[i].seen ? cases[i].seen : "");
        assert_string_equal(cursor, cases[i].cursor);
    }
    struct op_err err = OP_ERR_INIT;
    struct op_http_reply reply;
    OP_CLEANUP(op_buf_release) struct op_buf seen;
    op_buf_init(&seen, 10000);
    char cursor[256] = "";
    make_reply(&reply, 200, "",
               "{\"data\":[{\"id\":\"f-1\",\"filename\":\"op-ab-1.jsonl\",\"bytes\":7},"
               "{\"id\":\"f-2\",\"filename\":\"x\",\"size_bytes\":8}],\"total\":2}");
    assert_int_equal(ops->decode_files(&reply, note_file, &seen, cursor, &err), OP_OK);
    drop_reply(&reply);
    assert_string_equal(seen.ptr, "f-1=op-ab-1/7 f-2=x/8 ");
    struct op_remote_file file;
    make_reply(&reply, 200, "",
               "{\"id\":\"f-1\",\"object\":\"file\",\"filename\":\"op-ab-1.jsonl\",\"bytes\":7,"
               "\"created_at\":1}");
    assert_int_equal(ops->decode_upload(&reply, &file, &err), OP_OK);
    drop_reply(&reply);
    assert_string_equal(file.name, "op-ab-1");
    assert_int_equal(file.created_ms, 1000);
}

/* --- result lines --------------------------------------------------------------------------- */

static struct op_buf scratch;

static enum op_rc decode(const char *line, struct op_result *ret, struct op_err *err)
{
    return ops->decode_result(read_json(line), &scratch, ret, err);
}

static int set_up_scratch(void **state)
{
    op_buf_init(&scratch, 1 << 20);
    return set_up(state);
}

static int tear_down_scratch(void **state)
{
    op_buf_release(&scratch);
    return tear_down(state);
}

#define CHAT(content, finish)                                                                  \
    "{\"id\":\"b\",\"custom_id\":\"a\",\"response\":{\"status_code\":200,\"body\":{\"model\":" \
    "\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":" content \
    "},\"finish_reason\":\"" finish "\"}],\"usage\":{\"prompt_tokens\":10,"                    \
    "\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":4}}}},\"error\":null}"

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum op_result_class class_;
        const char *text;
    } cases[] = {
        {CHAT("\"x\"", "stop"), OP_RESULT_SUCCEEDED, "x"},
        {CHAT("[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"hm\"}]},"
              "{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"text\",\"text\":\"y\"}]",
              "stop"),
         OP_RESULT_SUCCEEDED, "xy"},
        {CHAT("\"x\"", "length"), OP_RESULT_TRUNCATED, "x"},
        {CHAT("\"x\"", "model_length"), OP_RESULT_TRUNCATED, "x"},
        {CHAT("null", "tool_calls"), OP_RESULT_SUCCEEDED, NULL},
        {CHAT("[]", "stop"), OP_RESULT_SUCCEEDED, NULL},
        {CHAT("\"\"", "content_filter"), OP_RESULT_REFUSED, ""},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_result r;
        assert_int_equal(decode(cases[i].line, &r, &err), OP_OK);
        assert_str(r.custom_id, "a");
        assert_int_equal(r.class_, cases[i].class_);
        assert_str(r.text, cases[i].text);
        assert_str(r.model, "m");
        assert_true(r.has_usage);
        assert_int_equal(r.usage.tokens[OP_TOKEN_INPUT], 6);
        assert_int_equal(r.usage.tokens[OP_TOKEN_READ], 4);
        assert_int_equal(r.usage.tokens[OP_TOKEN_OUTPUT], 5);
    }
    struct op_err err = OP_ERR_INIT;
    struct op_result r;
    assert_int_equal(
        decode("{\"custom_id\":\"a\",\"response\":{\"status_code\":200,\"body\":{"
               "\"data\":[{\"embedding\":[1,2]}],\"usage\":{\"prompt_tokens\":3}}}}",
               &r, &err),
        OP_OK);
    assert_str(r.text, "[1,2]");
    assert_int_equal(r.usage.tokens[OP_TOKEN_INPUT], 3);
}

static void test_bad_lines(void **state)
{
    (void)state;
#define BAD(status, body, error)                                                   \
    "{\"custom_id\":\"a\",\"response\":{\"status_code\":" status ",\"body\":" body \
    "},\"error\":" error "}"
    static const struct {
        const char *line, *message;
        enum op_disp disp;
    } cases[] = {
        {BAD("400", "{\"message\":\"m\",\"type\":\"t\"}", "null"), "m", OP_DISP_REJECT},
        {BAD("422", "{\"detail\":[{\"msg\":\"m\"}]}", "null"), "m", OP_DISP_REJECT},
        {BAD("429", "null", "{\"message\":\"m\"}"), "m", OP_DISP_RETRY},
        {BAD("500", "null", "\"m\""), "m", OP_DISP_RETRY},
        {BAD("402", "null", "null"), NULL, OP_DISP_QUOTA},
        {BAD("0", "{}", "null"), NULL, OP_DISP_RETRY}, /* lost, in OpenAI's form */
        {"{\"custom_id\":\"a\",\"error\":\"m\"}", "m", OP_DISP_RETRY},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_result r;
        assert_int_equal(decode(cases[i].line, &r, &err), OP_OK);
        assert_int_equal(r.class_, OP_RESULT_ERRORED);
        assert_str(r.error_message, cases[i].message);
        assert_int_equal(r.disp, cases[i].disp);
    }
    static const char *const none[] = {"{}", "null", "{\"custom_id\":\"a\"}",
                                       "{\"custom_id\":7,\"error\":\"m\"}",
                                       "{\"custom_id\":\"a\",\"response\":{\"body\":7}}"};
    for (size_t i = 0; i < OP_COUNT(none); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_result r;
        assert_int_equal(decode(none[i], &r, &err), OP_INVAL);
        assert_true(err.msg[0]);
    }
    static const char *const lines[] = {
        CHAT("[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"text\",\"text\":\"y\"}]", "stop"),
        BAD("400", "{\"message\":\"m\",\"type\":\"t\"}", "null"),
    };
    check_changes(lines, OP_COUNT(lines), decode);
}

/* A single answer decodes as the line that says the same in a batch. */
static void test_fold(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        enum op_rc rc;
        const char *line; /* or what the message mentions */
        enum op_disp disp;
    } cases[] = {
        {200, "{\"choices\":\n[]}", OP_OK,
         "{\"custom_id\":\"i\",\"response\":{\"status_code\":200,\"body\":{\"choices\":[]}},"
         "\"error\":null}",
         OP_DISP_FATAL},
        {422, "{\"detail\":[{\"msg\":\"m\"}]}", OP_OK,
         "{\"custom_id\":\"i\",\"response\":{\"status_code\":422,\"body\":{\"detail\":[{\"msg\":"
         "\"m\"}]}},\"error\":null}",
         OP_DISP_FATAL},
        {404, "<html>", OP_REMOTE, "404", OP_DISP_RETRY},
        {429, "{\"message\":\"slow\"}", OP_REMOTE, "slow", OP_DISP_RETRY},
        {401, "{\"detail\":\"who\"}", OP_REMOTE, "who", OP_DISP_PAUSE},
        {200, "", OP_REMOTE, "no JSON", OP_DISP_AMBIGUOUS},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_http_reply reply;
        make_reply(&reply, cases[i].status, "", cases[i].body);
        OP_CLEANUP(op_buf_release) struct op_buf line;
        op_buf_init(&line, 4096);
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(ops->fold(OP_STR("i"), &reply, &line, &err), cases[i].rc);
        if (cases[i].rc == OP_OK) {
            assert_string_equal(line.ptr, cases[i].line);
        } else {
            assert_mentions(err.msg, cases[i].line);
            assert_int_equal(err.disp, cases[i].disp);
        }
        drop_reply(&reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_params, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_exchanges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_upload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_amend, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_create_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_jobs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_results, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answers, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_bad_lines, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_fold, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
