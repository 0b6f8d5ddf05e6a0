/* SPDX-License-Identifier: MIT */
#include "cli/oneline.h"

#include <strings.h>

#include "base/io.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "pipeline/plan.h"
#include "provider/provider.h"

/* Names of the params: no column of a file is likely to be called so. */
#define INPUT_PARAM    "input_path"
#define OUTPUT_PARAM   "output_path"
#define FIRST_LINE_MAX (16 * 1024 * 1024)

/* --- texts -------------------------------------------------------------------------------- */

static bool is_file_name(const char *text, const char *const *suffixes)
{
    if (strpbrk(text, " \t\n{"))
        return false;
    for (; *suffixes; suffixes++)
        if (op_str_ends(op_str_from(text), *suffixes))
            return true;
    return false;
}

/* What a text is called in the bundle, and so in messages: as its file, else as its option. */
static const char *text_name(struct op_subject *subject, const char *option, const char *text,
                             bool file, const char *const *suffixes)
{
    const char *slash = strrchr(text, '/');
    const char *base = slash ? slash + 1 : text;
    if (file && is_file_name(base, suffixes) && !op_bundle_get(&subject->bundle, base).ptr)
        return base;
    return op_arena_printf(&subject->arena, "--%s%s", option, suffixes[0]);
}

/* The text itself, or what is in the file it names: @FILE, or a word that ends like a file. */
static enum op_rc put_text(struct op_subject *subject, const char *option, const char *text,
                           const char *const *suffixes, const char **ret_name,
                           struct op_err *err)
{
    bool at = text[0] == '@';
    bool file = at || is_file_name(text, suffixes);
    OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
    op_buf_init(&buf, OP_BUNDLE_FILE_MAX);
    if (file) {
        enum op_rc rc = op_io_read_file(op_env_default(), text + at, &buf, err);
        if (rc)
            return op_err_wrap(err, "--%s", option);
    } else {
        op_buf_addz(&buf, text);
    }
    if (buf.len == 0)
        return op_fail(err, OP_INVAL, "--%s is empty", option);
    if (op_utf8_valid_len(buf.ptr, buf.len) != buf.len)
        return op_fail(err, OP_INVAL, "--%s is not UTF-8 text", option);
    *ret_name = text_name(subject, option, text + at, file, suffixes);
    op_bundle_put(&subject->bundle, *ret_name, op_buf_str(&buf));
    return OP_OK;
}

/* A pipeline's name from a file's: small letters, digits and '-'. */
static void slug(const char *path, char ret[48])
{
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    size_t n = 0;
    for (; *base && *base != '.' && n < 40; base++) {
        char c = *base >= 'A' && *base <= 'Z' ? (char)(*base + 32) : *base;
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (word && !(n == 0 && c <= '9'))
            ret[n++] = c;
        else if (!word && n > 0 && ret[n - 1] != '-')
            ret[n++] = '-';
    }
    while (n > 0 && ret[n - 1] == '-')
        n--;
    ret[n] = '\0';
    if (n == 0)
        memcpy(ret, "records", 8);
}

/* --- what the input and the schema have --------------------------------------------------- */

struct shape {
    const char *kind;     /* of the source */
    const char **columns; /* of the input */
    size_t column_count;
    const char *key;      /* the column that names records; NULL: the row's number */
    bool select;          /* the key must be said in a SELECT */
    const char **answers; /* top-level properties of the schema */
    size_t answer_count;
};

static const char *find_column(const struct shape *shape, const char *name)
{
    for (size_t i = 0; i < shape->column_count; i++)
        if (strcmp(shape->columns[i], name) == 0)
            return shape->columns[i];
    return NULL;
}

static enum op_rc choose_key(const struct op_args *args, struct shape *shape,
                             struct op_err *err)
{
    const char *usual = find_column(shape, "key");
    if (!usual)
        usual = find_column(shape, "id");
    shape->key = usual;
    if (!args->key)
        return OP_OK;
    shape->key = find_column(shape, args->key);
    shape->select = shape->key != usual;
    if (shape->key)
        return OP_OK;
    const char *near = op_str_nearest(args->key, shape->columns, shape->column_count);
    return op_fail(err, OP_INVAL, "--key: %s has no column '%.80s'%s%s%s", args->input,
                   args->key, near ? " (did you mean '" : "", near ? near : "",
                   near ? "'?)" : "");
}

static enum op_rc read_columns(const struct op_args *args, struct op_arena *arena,
                               struct shape *shape, struct op_err *err)
{
    const struct op_source_ops *ops = op_source_guess(args->input);
    if (!ops)
        return op_fail(
            err, OP_INVAL,
            "--input: the name '%.200s' does not tell what it is; .csv, .tsv, .jsonl "
            "and .ndjson files can be read so, everything else in a pipeline",
            args->input);
    struct op_source_config config = {
        .env = op_env_default(), .name = "input", .target = args->input, .place = "--input"};
    OP_CLEANUP(op_source_closep) struct op_source *source = NULL;
    enum op_rc rc = op_source_open(ops, &config, &source, err);
    if (rc)
        return rc;
    shape->kind = ops->kind;
    shape->column_count = source->column_count;
    shape->columns = op_arena_array(arena, source->column_count + 1, sizeof(*shape->columns));
    for (size_t i = 0; i < source->column_count; i++)
        shape->columns[i] = op_arena_strdup(arena, op_str_from(source->columns[i]));
    return choose_key(args, shape, err);
}

static enum op_rc read_schema(struct op_str text, struct op_arena *arena, struct shape *shape,
                              struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    if (op_json_parse(parser, text.ptr, text.len, false, &root, err))
        return op_err_wrap(err, "--schema");
    struct op_json properties = op_json_get(root, "properties");
    if (!op_json_is(root, OP_JSON_OBJECT) || !op_json_is(properties, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL,
                       "--schema must be a JSON Schema of an object: "
                       "{\"type\": \"object\", \"properties\": {...}}");
    shape->answers = op_arena_array(arena, op_json_count(properties) + 1, sizeof(char *));
    struct op_json_iter it = op_json_iter(properties);
    while (op_json_next(&it))
        if (it.name.len > 0 && !memchr(it.name.ptr, '"', it.name.len))
            shape->answers[shape->answer_count++] = op_arena_strdup(arena, it.name);
    return OP_OK;
}

/* --- SQL ---------------------------------------------------------------------------------- */

static void add_name(struct op_buf *sql, const char *name)
{
    op_buf_addc(sql, '"');
    for (; *name; name++) {
        if (*name == '"')
            op_buf_addc(sql, '"');
        op_buf_addc(sql, *name);
    }
    op_buf_addc(sql, '"');
}

static void add_path(struct op_buf *sql, const char *name)
{
    op_buf_addz(sql, "'$.\"");
    for (; *name; name++) {
        if (*name == '\'')
            op_buf_addc(sql, '\'');
        op_buf_addc(sql, *name);
    }
    op_buf_addz(sql, "\"'");
}

static const char *key_name(const struct shape *shape)
{
    return shape->key ? shape->key : "row";
}

/* The column of an answer: its own name, unless the key's has it. */
static char *answer_name(const struct shape *shape, const char *name)
{
    return strcasecmp(name, key_name(shape)) == 0 ? op_mem_printf("%s_answer", name)
                                                  : op_mem_strdup(name);
}

/* Values keep their JSON type where the sink can write it. */
static void rows_sql(const struct shape *shape, bool json, struct op_buf *sql)
{
    op_buf_addz(sql, "SELECT key AS ");
    add_name(sql, key_name(shape));
    for (size_t i = 0; i < shape->answer_count; i++) {
        OP_CLEANUP(op_mem_freep) char *name = answer_name(shape, shape->answers[i]);
        op_buf_addz(sql, json ? ", answer -> " : ", answer ->> ");
        add_path(sql, shape->answers[i]);
        op_buf_addz(sql, " AS ");
        add_name(sql, name);
    }
    if (!shape->answer_count)
        op_buf_addz(sql, ", answer");
    op_buf_addz(sql, " FROM answers");
}

static void records_sql(const struct shape *shape, struct op_buf *sql)
{
    op_buf_addz(sql, "SELECT ");
    add_name(sql, shape->key);
    op_buf_addz(sql, " AS key");
    for (size_t i = 0; i < shape->column_count; i++) {
        if (strcasecmp(shape->columns[i], "key") == 0)
            continue;
        op_buf_addz(sql, ", ");
        add_name(sql, shape->columns[i]);
    }
    op_buf_addz(sql, " FROM input");
}

/* Their names in the bundle; NULL: there is none. */
struct texts {
    const char *prompt, *system, *schema;
};

/* --- pipeline.yaml ------------------------------------------------------------------------ */

static void write_param(struct op_json_out *out, const char *name, const char *about)
{
    op_json_out_name(out, name);
    op_json_out_object(out);
    op_json_out_kv_text(out, "type", "path");
    op_json_out_kv_text(out, "about", about);
    op_json_out_kv_bool(out, "required", true);
    op_json_out_end_object(out);
}

static void write_head(const struct op_args *args, const char *file, struct op_json_out *out)
{
    char name[48];
    slug(file, name);
    op_json_out_object(out);
    op_json_out_kv_text(out, "pipeline", name);
    op_json_out_name(out, "params");
    op_json_out_object(out);
    write_param(out, INPUT_PARAM, "what is read");
    if (args->output)
        write_param(out, OUTPUT_PARAM, "what is written");
    op_json_out_end_object(out);
}

static void write_output(const struct shape *shape, const struct op_sink_ops *sink,
                         struct op_json_out *out)
{
    bool json = strcmp(sink->kind, "jsonl") == 0 || strcmp(sink->kind, "json") == 0;
    OP_CLEANUP(op_buf_release) struct op_buf sql = {0};
    op_buf_init(&sql, OP_BUNDLE_FILE_MAX);
    rows_sql(shape, json, &sql);
    op_json_out_name(out, "outputs");
    op_json_out_array(out);
    op_json_out_object(out);
    op_json_out_kv_text(out, sink->kind, "{{" OUTPUT_PARAM "}}");
    if (strcmp(sink->kind, "sqlite") == 0)
        op_json_out_kv_text(out, "table", "answers");
    op_json_out_name(out, "key");
    op_json_out_array(out);
    op_json_out_text(out, key_name(shape));
    op_json_out_end_array(out);
    op_json_out_kv_str(out, "rows", op_buf_str(&sql));
    if (json && shape->answer_count) {
        op_json_out_name(out, "json_columns");
        op_json_out_array(out);
        for (size_t i = 0; i < shape->answer_count; i++) {
            OP_CLEANUP(op_mem_freep) char *name = answer_name(shape, shape->answers[i]);
            op_json_out_text(out, name);
        }
        op_json_out_end_array(out);
    }
    op_json_out_end_object(out);
    op_json_out_end_array(out);
}

static void write_requests(const struct op_args *args, const struct texts *texts,
                           struct op_json_out *out)
{
    op_json_out_name(out, "requests");
    op_json_out_object(out);
    op_json_out_name(out, "ask");
    op_json_out_object(out);
    op_json_out_kv_text(out, "user", texts->prompt);
    if (texts->system)
        op_json_out_kv_text(out, "system", texts->system);
    if (texts->schema)
        op_json_out_kv_text(out, "answer", texts->schema);
    if (args->max_tokens)
        op_json_out_kv_int(out, "max_tokens", args->max_tokens);
    if (args->provider)
        op_json_out_kv_text(out, "provider", args->provider);
    op_json_out_end_object(out);
    op_json_out_end_object(out);
}

static enum op_rc check_output(const struct op_args *args, bool need_output, const char *what,
                               struct op_err *err)
{
    if (!args->output && need_output)
        return op_fail(err, OP_INVAL, "--output is missing: it says where the %s go", what);
    return OP_OK;
}

/* Parses what was written: from here on it is a pipeline as any other. */
static enum op_rc finish(const struct op_args *args, const char *input,
                         struct op_subject *subject, struct op_buf *yaml, struct op_err *err)
{
    enum op_rc rc = op_buf_finish(yaml, "the pipeline made of the options", err);
    if (rc)
        return rc;
    op_bundle_put(&subject->bundle, OP_BUNDLE_MAIN, op_buf_str(yaml));
    rc = op_definition_parse(op_env_default(), &subject->bundle, &subject->def, err);
    if (rc)
        return rc;
    subject->has_def = true;
    subject->given =
        op_arena_array(&subject->arena, subject->def.param_count + 1, sizeof(char *));
    subject->given[0] = input;
    if (args->output)
        subject->given[1] = args->output;
    return OP_OK;
}

static enum op_rc put_texts(const struct op_args *args, struct op_subject *subject,
                            struct texts *ret, struct op_err *err)
{
    static const char *const texts[] = {".md", ".txt", ".mustache", ".xml", NULL};
    static const char *const schemas[] = {".json", NULL};
    enum op_rc rc = put_text(subject, "prompt", args->prompt, texts, &ret->prompt, err);
    if (!rc && args->system)
        rc = put_text(subject, "system", args->system, texts, &ret->system, err);
    if (!rc && args->schema)
        rc = put_text(subject, "schema", args->schema, schemas, &ret->schema, err);
    return rc;
}

enum op_rc op_oneline_make(const struct op_args *args, bool need_output,
                           struct op_subject *subject, struct op_err *err)
{
    struct shape shape = {0};
    struct texts texts = {0};
    const struct op_sink_ops *sink = args->output ? op_sink_guess(args->output) : NULL;
    if (!args->prompt)
        return op_fail(err, OP_INVAL,
                       "--prompt is missing: what is asked of each row of %s, such as "
                       "--prompt 'Classify: {{subject}}'",
                       args->input);
    enum op_rc rc = check_output(args, need_output, "answers", err);
    if (!rc && args->output && !sink)
        rc = op_fail(err, OP_INVAL,
                     "--output: the name '%.200s' does not tell the form; .csv, .jsonl, .json "
                     "and .db files can be written so",
                     args->output);
    if (!rc)
        rc = put_texts(args, subject, &texts, err);
    if (!rc && texts.schema)
        rc = read_schema(op_bundle_get(&subject->bundle, texts.schema), &subject->arena, &shape,
                         err);
    if (!rc)
        rc = read_columns(args, &subject->arena, &shape, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_buf_release) struct op_buf yaml = {0};
    OP_CLEANUP(op_buf_release) struct op_buf sql = {0};
    op_buf_init(&yaml, OP_BUNDLE_FILE_MAX);
    op_buf_init(&sql, OP_BUNDLE_FILE_MAX);
    struct op_json_out out;
    op_json_out_init(&out, &yaml, 1);
    write_head(args, args->input, &out);
    op_json_out_name(&out, "inputs");
    op_json_out_object(&out);
    op_json_out_name(&out, "input");
    op_json_out_object(&out);
    op_json_out_kv_text(&out, shape.kind, "{{" INPUT_PARAM "}}");
    op_json_out_end_object(&out);
    op_json_out_end_object(&out);
    if (shape.select) {
        records_sql(&shape, &sql);
        op_json_out_kv_str(&out, "records", op_buf_str(&sql));
    }
    write_requests(args, &texts, &out);
    if (sink)
        write_output(&shape, sink, &out);
    op_json_out_end_object(&out);
    return finish(args, args->input, subject, &yaml, err);
}

/* --- a file of requests ------------------------------------------------------------------- */

/* core/raw_key.h: a key without the number that tells equal ids apart. */
#define RAW_STEM "rtrim(substr(key, 1, length(key) - 1), '0123456789')"
#define RAW_ID                                                                       \
    "CASE WHEN key GLOB '*[0-9])' AND " RAW_STEM " GLOB '* (' THEN substr(" RAW_STEM \
    ", 1, length(" RAW_STEM ") - 2) ELSE key END"

struct first_line {
    const struct op_provider_ops *provider;
    char *model;
    const char *endpoint; /* of its url; NULL: it has none */
};

/* Of the providers that speak one form, the one that the model's name tells. */
static const struct op_provider_ops *speaker(const struct op_provider_ops *first,
                                             const char *model)
{
    const struct op_provider_ops *told = model ? op_provider_for_model(model) : NULL;
    return told && told->split_line == first->split_line ? told : first;
}

static enum op_rc find_form(struct op_json root, struct op_str text, const char *path,
                            struct first_line *ret, struct op_err *err)
{
    const struct op_provider_ops *const *all = op_providers();
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *inner = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf reasons;
    op_buf_init(&reasons, 4096);
    for (size_t i = 0; all[i]; i++) {
        struct op_str custom_id, params;
        struct op_json json;
        const char *endpoint;
        struct op_err why = OP_ERR_INIT;
        bool seen = false;
        for (size_t j = 0; j < i; j++)
            seen = seen || all[j]->split_line == all[i]->split_line;
        if (seen)
            continue;
        if (all[i]->split_line(root, text, &custom_id, &params, &endpoint, &why) ||
            op_json_parse(inner, params.ptr, params.len, false, &json, &why)) {
            op_buf_addf(&reasons, "%s%s: %s", reasons.len ? "; " : "", all[i]->name, why.msg);
            continue;
        }
        struct op_str model = op_json_str(op_json_get(json, "model"));
        ret->model = model.ptr ? op_mem_strndup(model.ptr, model.len) : NULL;
        ret->endpoint = endpoint;
        ret->provider = speaker(all[i], ret->model);
        return OP_OK;
    }
    return op_fail(err, OP_INVAL, "%s:1: this line is no request in the form of a provider: %s",
                   path, reasons.ptr);
}

/* Whose form the file's first line has. */
static enum op_rc read_first(const char *path, struct first_line *ret, struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_line line = {0};
    struct op_json root;
    enum op_rc rc = op_lines_open(op_env_default(), path, 0, FIRST_LINE_MAX, &lines, err);
    while (!rc && line.len == 0)
        rc = op_lines_next(lines, &line, err);
    if (rc == OP_NOTFOUND && !err->rc)
        return op_fail(err, OP_INVAL, "%s is empty", path);
    if (rc)
        return rc;
    struct op_str text =
        op_str_skip_bom((struct op_str){line.ptr, line.oversize ? 0 : line.len});
    if (op_json_parse(parser, text.ptr, text.len, false, &root, err))
        return op_err_wrap(err, "%s:1: this line is no request", path);
    return find_form(root, text, path, ret, err);
}

static enum op_rc refuse(const struct op_args *args, struct op_err *err)
{
    const struct {
        const char *name;
        bool given;
    } own[] = {
        {"input", args->input},   {"prompt", args->prompt},
        {"system", args->system}, {"schema", args->schema},
        {"key", args->key},       {"max-tokens", args->max_tokens > 0},
    };
    for (size_t i = 0; i < OP_COUNT(own); i++)
        if (own[i].given)
            return op_fail(err, OP_INVAL,
                           "%s holds ready requests, which are sent as they are: --%s has no "
                           "place here",
                           args->subject.word, own[i].name);
    return OP_OK;
}

/* Where a batch has one model, its lines may leave it out; then --model names it. */
static enum op_rc check_model(const struct op_args *args, const struct first_line *first,
                              struct op_err *err)
{
    const struct op_provider_ops *provider = first->provider;
    if (first->model && args->model && strcmp(first->model, args->model) != 0)
        return op_fail(
            err, OP_INVAL,
            "%s:1: this line names its model, '%.80s': --model is for lines that name "
            "none, leave it out",
            args->subject.word, first->model);
    if (first->model || args->model)
        return OP_OK;
    return op_fail(
        err, OP_INVAL,
        "%s:1: this line names no model, which in the form of %s it need not: say it "
        "with --model%s%s%s",
        args->subject.word, provider->name, provider->default_model ? " (" : "",
        provider->default_model ? provider->default_model : "",
        provider->default_model ? ", for example)" : "");
}

enum op_rc op_oneline_raw(const struct op_args *args, bool need_output,
                          struct op_subject *subject, struct op_err *err)
{
    struct first_line first = {0};
    enum op_rc rc = refuse(args, err);
    if (!rc)
        rc = check_output(args, need_output, "results", err);
    if (!rc)
        rc = read_first(subject->word, &first, err);
    OP_CLEANUP(op_mem_freep) char *own_model = first.model;
    if (!rc)
        rc = check_model(args, &first, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_buf_release) struct op_buf yaml = {0};
    op_buf_init(&yaml, OP_BUNDLE_FILE_MAX);
    struct op_json_out out;
    op_json_out_init(&out, &yaml, 1);
    write_head(args, subject->word, &out);
    op_json_out_name(&out, "inputs");
    op_json_out_raw(&out, OP_STR("{\"input\": {\"lines\": \"{{" INPUT_PARAM "}}\"}}"));
    op_json_out_name(&out, "requests");
    op_json_out_object(&out);
    op_json_out_name(&out, "ask");
    op_json_out_object(&out);
    op_json_out_kv_bool(&out, "raw", true);
    op_json_out_kv_text(&out, "provider", first.provider->name);
    if (own_model && !args->model) /* which says the same */
        op_json_out_kv_text(&out, "model", own_model);
    if (first.endpoint)
        op_json_out_kv_text(&out, "endpoint", first.endpoint);
    op_json_out_end_object(&out);
    op_json_out_end_object(&out);
    if (args->output) {
        /* The provider's own line under the id that the file gave; what it never returned is
         * said. */
        op_json_out_name(&out, "outputs");
        op_json_out_raw(&out, OP_STR("[{\"lines\": \"{{" OUTPUT_PARAM
                                     "}}\", \"rows\": \"SELECT coalesce(line, json_object("
                                     "'custom_id', " RAW_ID ", 'error', problem)) AS line "
                                     "FROM results\"}]"));
    }
    op_json_out_end_object(&out);
    return finish(args, subject->word, subject, &yaml, err);
}
