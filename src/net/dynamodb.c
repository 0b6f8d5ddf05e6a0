/* SPDX-License-Identifier: MIT */
#include "net/dynamodb.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "net/address.h"
#include "net/aws.h"

/* A page of 1 MB, as DynamoDB counts, with a type around each value and control characters escaped
 * to six bytes. */
#define REPLY_MAX  (16 * 1024 * 1024)
#define TIMEOUT_MS (60 * 1000LL)
/* Pauses double from 50 ms to 5 s: 12 tries are half a minute. */
enum { MAX_TRIES = 12, PAUSE_MS = 50, PAUSE_MAX_MS = 5000 };

static const char *const endpoint_envs[] = {"DYNAMODB_ENDPOINT", "AWS_ENDPOINT_URL_DYNAMODB",
                                            "AWS_ENDPOINT_URL", NULL};

struct op_dynamodb {
    struct op_env *env;
    struct op_http *http;
    struct op_aws aws;
    char *scope;
    struct op_http_reply reply;
    struct op_json_parser *parser;
};

enum op_rc op_dynamodb_open(struct op_env *env, struct op_http *http, struct op_dynamodb **ret,
                            struct op_err *err)
{
    struct op_dynamodb *db = op_mem_alloc(sizeof(*db));
    db->env = env;
    db->http = http;
    op_http_reply_init(&db->reply);
    db->reply.body.max = REPLY_MAX;
    db->parser = op_json_parser_new();
    enum op_rc rc = op_aws_load("dynamodb", endpoint_envs, &db->aws, err);
    if (!rc && !http)
        rc = op_http_curl_open(env, NULL, NULL, &db->http, err);
    if (rc) {
        op_dynamodb_close(db);
        return rc;
    }
    db->scope = op_mem_printf("aws:amz:%s:dynamodb", db->aws.region);
    *ret = db;
    return OP_OK;
}

void op_dynamodb_close(struct op_dynamodb *db)
{
    if (!db)
        return;
    if (db->http)
        op_http_close(db->http);
    op_http_reply_release(&db->reply);
    op_json_parser_free(db->parser);
    op_aws_release(&db->aws);
    op_mem_free(db->scope);
    op_mem_free(db);
}

static void allow_file(void *arg, const char *path)
{
    op_sandbox_allow(arg, path, false);
}

void op_dynamodb_reach(const char *target, struct op_sandbox *box)
{
    (void)target; /* a table's name: the service is the environment's */
    const char *endpoint = NULL;
    for (size_t i = 0; endpoint_envs[i] && !(endpoint && *endpoint); i++)
        endpoint = secure_getenv(endpoint_envs[i]);
    op_aws_files(allow_file, box);
    op_sandbox_allow_port(box, op_url_port(endpoint && *endpoint ? endpoint : "https://"));
}

void op_dynamodb_closep(struct op_dynamodb **db)
{
    op_dynamodb_close(*db);
    *db = NULL;
}

bool op_dynamodb_pause(struct op_dynamodb *db, int tries)
{
    if (tries >= MAX_TRIES)
        return false;
    int64_t most = (int64_t)PAUSE_MS << tries;
    if (most > PAUSE_MAX_MS)
        most = PAUSE_MAX_MS;
    /* From half to all of it at random, so that many workers do not come back at once. */
    uint32_t random;
    db->env->ops->random(db->env, &random, sizeof(random));
    db->env->ops->sleep_ms(db->env, most / 2 + (int64_t)random % (most / 2));
    return true;
}

/* --- what the other side says --- */

/* The names of "Error handling with DynamoDB" in the Developer Guide, and of the errors that all
 * services have. */
struct refusal {
    const char *type; /* what stands behind '#' */
    enum op_rc rc;
    enum op_disp disp;
    const char *advice;
};

static const struct refusal refusals[] = {
    {"ResourceNotFoundException", OP_NOTFOUND, OP_DISP_FATAL,
     "check the name, AWS_REGION and the endpoint, or make it: `offpeak doctor --create-tables "
     "PIPELINE`"},
    {"ConditionalCheckFailedException", OP_CONFLICT, OP_DISP_FATAL, ""},
    {"ResourceInUseException", OP_CONFLICT, OP_DISP_FATAL, ""},
    {"ExpiredTokenException", OP_INVAL, OP_DISP_PAUSE,
     "the temporary keys have run out: get new ones, export them and run again; nothing is lost"},
    {"AccessDeniedException", OP_INVAL, OP_DISP_PAUSE,
     "these keys may not do that: the role or user needs this action for the table (reading: "
     "DescribeTable and Query or Scan; writing: DescribeTable, BatchWriteItem, PutItem, "
     "UpdateItem)"},
    {"UnrecognizedClientException", OP_INVAL, OP_DISP_PAUSE,
     "AWS does not know these keys: check AWS_ACCESS_KEY_ID, and AWS_SESSION_TOKEN if they are "
     "temporary"},
    {"InvalidSignatureException", OP_INVAL, OP_DISP_PAUSE,
     "check AWS_SECRET_ACCESS_KEY, and this machine's clock"},
    {"MissingAuthenticationTokenException", OP_INVAL, OP_DISP_PAUSE,
     "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"},
    {"IncompleteSignatureException", OP_INVAL, OP_DISP_PAUSE,
     "check AWS_ACCESS_KEY_ID and AWS_REGION"},
    {"ProvisionedThroughputExceededException", OP_REMOTE, OP_DISP_RETRY,
     "the table gives less than is asked of it: raise its capacity, or make it PAY_PER_REQUEST"},
    {"ThrottlingException", OP_REMOTE, OP_DISP_RETRY, "asked too often"},
    {"ThrottledException", OP_REMOTE, OP_DISP_RETRY, "asked too often"},
    {"RequestLimitExceeded", OP_REMOTE, OP_DISP_RETRY,
     "the account's limit is reached: ask AWS to raise it"},
    {"LimitExceededException", OP_REMOTE, OP_DISP_RETRY,
     "too many tables are being made at once"},
    {"ItemCollectionSizeLimitExceededException", OP_INVAL, OP_DISP_FATAL, ""},
    {"ValidationException", OP_INVAL, OP_DISP_FATAL, ""},
};

static enum op_rc refuse(struct op_dynamodb *db, const char *operation, const char *table,
                         struct op_err *err)
{
    struct op_json root = {0};
    struct op_err ignored = OP_ERR_INIT;
    struct op_str type = OP_STR_NULL, message = OP_STR_NULL;
    int status = db->reply.status;
    if (!op_json_parse(db->parser, db->reply.body.ptr, db->reply.body.len, true, &root,
                       &ignored)) {
        type = op_json_str(op_json_get(root, "__type"));
        message = op_json_str(op_json_get(root, "message"));
        if (!message.ptr)
            message = op_json_str(op_json_get(root, "Message"));
    }
    const char *mark = type.ptr ? memrchr(type.ptr, '#', type.len) : NULL;
    if (mark)
        type = (struct op_str){mark + 1, (size_t)(type.ptr + type.len - mark - 1)};
    struct refusal other = {"", status >= 500 || status == 429 ? OP_REMOTE : OP_INVAL,
                            status >= 500 || status == 429 ? OP_DISP_RETRY : OP_DISP_FATAL, ""};
    const struct refusal *known = &other;
    for (size_t i = 0; i < OP_COUNT(refusals); i++)
        if (op_str_is(type, refusals[i].type))
            known = &refusals[i];
    const char *more = known->advice;
    /* A missing table is often another region's, or another server's. */
    OP_CLEANUP(op_mem_freep)
    char *where = known->rc == OP_NOTFOUND
                      ? op_mem_printf(" at %s (%s)", db->aws.endpoint, db->aws.region)
                      : op_mem_strdup("");
    type.len = type.len < 80 ? type.len : 80;
    message.len = message.len < 400 ? message.len : 400;
    op_err_set_as(err, known->rc, known->disp,
                  "DynamoDB table '%s'%s: %s: %d " OP_STR_FMT "%s" OP_STR_FMT "%s%s", table,
                  where, operation, status, OP_STR_ARG(type), message.len ? ": " : "",
                  OP_STR_ARG(message), *more ? "; " : "", more);
    err->native = status;
    return err->rc;
}

/* --- a call --- */

static enum op_rc perform(struct op_dynamodb *db, const char *target, const struct op_buf *body,
                          struct op_err *err)
{
    char sum[OP_SHA256_HEX];
    op_sha256_hex(body->ptr, body->len, sum);
    struct op_http_header headers[4] = {
        {"Content-Type", "application/x-amz-json-1.0"},
        {"X-Amz-Target", target},
        {"X-Amz-Content-Sha256", sum},
        {"X-Amz-Security-Token", db->aws.token},
    };
    struct op_http_signer signer = {db->scope, db->aws.key, db->aws.secret};
    OP_CLEANUP(op_mem_freep) char *url = op_mem_printf("%s/", db->aws.endpoint);
    struct op_http_request request = {
        .method = "POST",
        .url = url,
        .headers = headers,
        .header_count = db->aws.token ? 4 : 3,
        .body = op_buf_str(body),
        .timeout_ms = TIMEOUT_MS,
        .sign = &signer,
    };
    return op_http_perform(db->http, &request, &db->reply, err);
}

static enum op_rc call_once(struct op_dynamodb *db, const char *operation, const char *table,
                            const struct op_buf *body, struct op_json *ret, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *target = op_mem_printf("DynamoDB_20120810.%s", operation);
    enum op_rc rc = perform(db, target, body, err);
    if (rc)
        return op_err_wrap(err, "DynamoDB table '%s': %s", table, operation);
    if (db->reply.status != 200)
        return refuse(db, operation, table, err);
    struct op_err bad = OP_ERR_INIT;
    if (op_json_parse(db->parser, db->reply.body.ptr, db->reply.body.len, true, ret, &bad))
        return op_fail_as(err, OP_REMOTE, OP_DISP_RETRY,
                          "DynamoDB table '%s': %s: the reply is no JSON: %s", table, operation,
                          bad.msg);
    return OP_OK;
}

enum op_rc op_dynamodb_call(struct op_dynamodb *db, const char *operation, const char *table,
                            const struct op_buf *body, struct op_json *ret, struct op_err *err)
{
    enum op_rc rc = op_buf_finish(body, "a request to DynamoDB", err);
    if (rc)
        return rc;
    for (int tries = 1;; tries++) {
        struct op_err why = OP_ERR_INIT;
        rc = call_once(db, operation, table, body, ret, &why);
        bool again = rc && (why.disp == OP_DISP_RETRY || why.disp == OP_DISP_RETRY_AFTER);
        if (again && op_dynamodb_pause(db, tries))
            continue;
        if (rc)
            *err = why;
        return rc;
    }
}

enum op_rc op_dynamodb_call_once(struct op_dynamodb *db, const char *operation,
                                 const char *table, const struct op_buf *body,
                                 struct op_json *ret, struct op_err *err)
{
    enum op_rc rc = op_buf_finish(body, "a request to DynamoDB", err);
    return rc ? rc : call_once(db, operation, table, body, ret, err);
}
