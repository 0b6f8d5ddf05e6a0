/* SPDX-License-Identifier: MIT */
#include "net/aws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/str.h"

#define LINE_MAX_BYTES 8192

static const char *env(const char *name)
{
    const char *value = secure_getenv(name);
    return value && *value ? value : NULL;
}

static const char *taken_secret, *taken_token;

bool op_aws_take(void)
{
    taken_secret = op_secret_take_env("AWS_SECRET_ACCESS_KEY");
    taken_token = op_secret_take_env("AWS_SESSION_TOKEN");
    return taken_secret || taken_token;
}

static const char *secret_of(const char *name, const char *taken)
{
    return taken ? taken : env(name);
}

static char *path_of(const char *path_env, const char *name)
{
    const char *own = env(path_env), *home = env("HOME");
    return own ? op_mem_strdup(own) : op_mem_printf("%s/.aws/%s", home ? home : "", name);
}

void op_aws_files(void (*fn)(void *arg, const char *path), void *arg)
{
    OP_CLEANUP(op_mem_freep)
    char *keys = path_of("AWS_SHARED_CREDENTIALS_FILE", "credentials");
    OP_CLEANUP(op_mem_freep) char *config = path_of("AWS_CONFIG_FILE", "config");
    const char *all[] = {keys, config};
    for (size_t i = 0; i < OP_COUNT(all); i++)
        if (access(all[i], R_OK) == 0)
            fn(arg, all[i]);
}

static void wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    op_mem_free(secret);
}

void op_aws_release(struct op_aws *aws)
{
    op_mem_free(aws->endpoint);
    op_mem_free(aws->region);
    op_mem_free(aws->key);
    wipe(aws->secret);
    wipe(aws->token);
    *aws = (struct op_aws){0};
}

static void take(char **into, struct op_str value)
{
    if (!*into && value.len > 0)
        *into = op_mem_strndup(value.ptr, value.len);
}

static void take_line(struct op_aws *aws, struct op_str line, bool keys)
{
    struct op_str name = op_str_trim(op_str_cut(&line, '='));
    struct op_str value = line.ptr ? op_str_trim(line) : OP_STR_NULL;
    if (op_str_is(name, "region"))
        take(&aws->region, value);
    if (keys && op_str_is(name, "aws_access_key_id"))
        take(&aws->key, value);
    if (keys && op_str_is(name, "aws_secret_access_key"))
        take(&aws->secret, value);
    if (keys && op_str_is(name, "aws_session_token"))
        take(&aws->token, value);
}

/* "[name]", and in the config file "[profile name]" */
static bool heads_profile(struct op_str line, const char *profile)
{
    line.ptr++;
    line.len -= line.len > 1 ? 2 : 1;
    line = op_str_trim(line);
    if (op_str_starts(line, "profile ")) {
        line.ptr += strlen("profile ");
        line.len -= strlen("profile ");
    }
    return op_str_is(op_str_trim(line), profile);
}

/* What the profile has in an INI file and is not known yet. A missing file has nothing. */
static void read_file(struct op_aws *aws, const char *path_env, const char *name, bool keys)
{
    char line[LINE_MAX_BYTES];
    const char *profile = env("AWS_PROFILE") ? env("AWS_PROFILE") : "default";
    OP_CLEANUP(op_mem_freep) char *path = path_of(path_env, name);
    FILE *f = fopen(path, "re");
    bool ours = false;
    while (f && fgets(line, sizeof(line), f)) {
        struct op_str text = op_str_trim(op_str_from(line));
        if (op_str_starts(text, "["))
            ours = heads_profile(text, profile);
        else if (ours && !op_str_starts(text, "#"))
            take_line(aws, text, keys);
    }
    explicit_bzero(line, sizeof(line));
    if (f)
        (void)fclose(f);
}

/* An access key and its secret belong together: never one from here and one from there. */
static void find_keys(struct op_aws *aws)
{
    const char *secret = secret_of("AWS_SECRET_ACCESS_KEY", taken_secret);
    if (env("AWS_ACCESS_KEY_ID") && secret) {
        aws->key = op_mem_strdup(env("AWS_ACCESS_KEY_ID"));
        aws->secret = op_mem_strdup(secret);
        aws->token = op_mem_strdup(secret_of("AWS_SESSION_TOKEN", taken_token));
    }
    bool keys = !aws->key;
    const char *region = env("AWS_REGION") ? env("AWS_REGION") : env("AWS_DEFAULT_REGION");
    aws->region = op_mem_strdup(region);
    if (keys || !region) {
        read_file(aws, "AWS_SHARED_CREDENTIALS_FILE", "credentials", keys);
        read_file(aws, "AWS_CONFIG_FILE", "config", keys && !aws->key);
    }
}

/* What runs beside us (DynamoDB Local, an emulator) takes any key and any region. */
static void make_up(struct op_aws *aws)
{
    if (!op_str_starts(op_str_from(aws->endpoint), "http://"))
        return;
    take(&aws->region, OP_STR("us-east-1"));
    if (!aws->key && !aws->secret) {
        take(&aws->key, OP_STR("local"));
        take(&aws->secret, OP_STR("local"));
    }
}

static enum op_rc check(const struct op_aws *aws, const char *service, struct op_err *err)
{
    if (!aws->key || !aws->secret)
        return op_fail(err, OP_INVAL,
                       "no keys for AWS: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and "
                       "AWS_SESSION_TOKEN with temporary keys), or AWS_PROFILE to a profile of "
                       "~/.aws/credentials; `aws configure export-credentials --format env` "
                       "makes the first of a login or role");
    if (!aws->region)
        return op_fail(err, OP_INVAL,
                       "no region for %s: set AWS_REGION, as in AWS_REGION=us-east-1", service);
    /* It becomes a part of a host name. */
    if (strspn(aws->region, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(aws->region) ||
        strlen(aws->region) > 60)
        return op_fail(err, OP_INVAL, "'%.80s' is no AWS region: set AWS_REGION", aws->region);
    return OP_OK;
}

enum op_rc op_aws_load(const char *service, const char *const *endpoint_envs,
                       struct op_aws *ret, struct op_err *err)
{
    const char *endpoint = NULL;
    for (; *endpoint_envs && !endpoint; endpoint_envs++)
        endpoint = env(*endpoint_envs);
    *ret = (struct op_aws){.endpoint = op_mem_strdup(endpoint)};
    find_keys(ret);
    if (endpoint)
        make_up(ret);
    enum op_rc rc = check(ret, service, err);
    if (rc) {
        op_aws_release(ret);
        return rc;
    }
    if (!endpoint)
        ret->endpoint =
            op_mem_printf("https://%s.%s.amazonaws.com%s", service, ret->region,
                          op_str_starts(op_str_from(ret->region), "cn-") ? ".cn" : "");
    for (size_t len = strlen(ret->endpoint); len && ret->endpoint[len - 1] == '/';)
        ret->endpoint[--len] = '\0';
    if (strcmp(ret->secret, "local") != 0)
        op_log_secret(op_str_from(ret->secret));
    op_log_secret(op_str_from(ret->token));
    return OP_OK;
}
