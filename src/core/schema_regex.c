/* SPDX-License-Identifier: MIT */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/mem.h"
#include "core/schema_impl.h"

/* A pattern that backtracks without end must not stop a job. */
#define MATCH_LIMIT 1000000
#define HEAP_KIB    20000

struct op_schema_regex {
    pcre2_code *code;
    pcre2_match_context *limits;
};

/* The long names of general categories that ECMA-262 knows and PCRE2 does not. */
static const struct {
    const char *name, *category;
} categories[] = {
    {"Letter", "L"},
    {"Cased_Letter", "L&"},
    {"Uppercase_Letter", "Lu"},
    {"Lowercase_Letter", "Ll"},
    {"Titlecase_Letter", "Lt"},
    {"Modifier_Letter", "Lm"},
    {"Other_Letter", "Lo"},
    {"Mark", "M"},
    {"Combining_Mark", "M"},
    {"Nonspacing_Mark", "Mn"},
    {"Spacing_Mark", "Mc"},
    {"Enclosing_Mark", "Me"},
    {"Number", "N"},
    {"Decimal_Number", "Nd"},
    {"digit", "Nd"},
    {"Letter_Number", "Nl"},
    {"Other_Number", "No"},
    {"Punctuation", "P"},
    {"punct", "P"},
    {"Connector_Punctuation", "Pc"},
    {"Dash_Punctuation", "Pd"},
    {"Open_Punctuation", "Ps"},
    {"Close_Punctuation", "Pe"},
    {"Initial_Punctuation", "Pi"},
    {"Final_Punctuation", "Pf"},
    {"Other_Punctuation", "Po"},
    {"Symbol", "S"},
    {"Math_Symbol", "Sm"},
    {"Currency_Symbol", "Sc"},
    {"Modifier_Symbol", "Sk"},
    {"Other_Symbol", "So"},
    {"Separator", "Z"},
    {"Space_Separator", "Zs"},
    {"Line_Separator", "Zl"},
    {"Paragraph_Separator", "Zp"},
    {"Other", "C"},
    {"Control", "Cc"},
    {"cntrl", "Cc"},
    {"Format", "Cf"},
    {"Surrogate", "Cs"},
    {"Private_Use", "Co"},
    {"Unassigned", "Cn"},
};

/* \p{...}: p is at the brace; returns what follows the closing one, NULL when there is none. */
static const char *put_property(struct op_buf *buf, const char *p, const char *end)
{
    const char *close = memchr(p, '}', (size_t)(end - p));

    if (!close)
        return NULL;
    struct op_str name = {p + 1, (size_t)(close - p) - 1};
    struct op_str value = name;
    struct op_str key = op_str_cut(&value, '=');
    if (value.ptr && (op_str_is(key, "gc") || op_str_is(key, "General_Category") ||
                      op_str_is(key, "sc") || op_str_is(key, "Script") ||
                      op_str_is(key, "scx") || op_str_is(key, "Script_Extensions")))
        name = value;
    for (size_t i = 0; i < OP_COUNT(categories); i++) {
        if (op_str_is(name, categories[i].name)) {
            name = op_str_from(categories[i].category);
            break;
        }
    }
    op_buf_addf(buf, "{" OP_STR_FMT "}", OP_STR_ARG(name));
    return close + 1;
}

/* \s of ECMA-262 takes all Unicode white space, while \w and \d are ASCII only. */
static void put_space(struct op_buf *buf, char letter, bool in_class)
{
    static const char space[] = "\\s\\xa0\\ufeff\\p{Z}";

    if (in_class)
        op_buf_addz(buf, letter == 's' ? space : "\\S");
    else
        op_buf_addf(buf, "[%s%s]", letter == 's' ? "" : "^", space);
}

static void translate(struct op_str text, struct op_buf *buf)
{
    const char *p = text.ptr, *end = text.ptr + text.len;
    bool in_class = false;

    while (p < end) {
        if (*p == '\\' && p + 1 < end) {
            char letter = p[1];
            const char *after = NULL;
            if (letter == 's' || letter == 'S') {
                put_space(buf, letter, in_class);
                p += 2;
                continue;
            }
            op_buf_add(buf, p, 2);
            p += 2;
            if ((letter == 'p' || letter == 'P') && p < end && *p == '{')
                after = put_property(buf, p, end);
            p = after ? after : p;
            continue;
        }
        if (*p == '[')
            in_class = true;
        else if (*p == ']')
            in_class = false;
        op_buf_addc(buf, *p++);
    }
}

static pcre2_code *compile(struct op_str text, char *ret_why, size_t why_size)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    struct op_buf buf;
    PCRE2_SIZE offset;
    int error;

    op_buf_init(&buf, SIZE_MAX / 2);
    translate(text, &buf);
    /* '.' stops at every line end of ECMA-262 but U+2028 and U+2029; '$' is the very end */
    pcre2_set_newline(context, PCRE2_NEWLINE_ANYCRLF);
    pcre2_set_compile_extra_options(context, PCRE2_EXTRA_ALT_BSUX);
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)buf.ptr, buf.len,
                                     PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX |
                                         PCRE2_MATCH_UNSET_BACKREF | PCRE2_ALLOW_EMPTY_CLASS |
                                         PCRE2_NEVER_BACKSLASH_C,
                                     &error, &offset, context);
    if (!code)
        pcre2_get_error_message(error, (PCRE2_UCHAR *)ret_why, why_size);
    pcre2_compile_context_free(context);
    op_buf_release(&buf);
    return code;
}

enum op_rc op_schema_regex_compile(struct op_schema *schema, struct op_str text,
                                   const char *pointer, struct op_schema_regex **ret,
                                   struct op_err *err)
{
    char why[200] = "";
    pcre2_code *code = compile(text, why, sizeof(why));

    if (!code)
        return op_fail(err, OP_INVAL, "%s#%s: '" OP_STR_FMT "' is not a regular expression: %s",
                       schema->file, pointer, OP_STR_ARG(text), why);
    struct op_schema_regex *regex = op_mem_alloc(sizeof(*regex));
    regex->code = code;
    regex->limits = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(regex->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(regex->limits, HEAP_KIB);
    schema->regexes =
        op_mem_realloc(schema->regexes, (schema->regex_count + 1) * sizeof(*schema->regexes));
    schema->regexes[schema->regex_count++] = regex;
    *ret = regex;
    return OP_OK;
}

enum op_schema_match op_schema_regex_match(const struct op_schema_regex *regex,
                                           struct op_str text)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    int rc;

    /* our strings come from the JSON reader, which lets only valid UTF-8 through */
    rc = pcre2_match(regex->code, (PCRE2_SPTR)text.ptr, text.len, 0, PCRE2_NO_UTF_CHECK, data,
                     regex->limits);
    pcre2_match_data_free(data);
    if (rc >= 0)
        return OP_SCHEMA_MATCH;
    return rc == PCRE2_ERROR_NOMATCH ? OP_SCHEMA_NO_MATCH : OP_SCHEMA_GAVE_UP;
}

/* What PCRE2 takes and ECMA-262 does not: groups like (?P<x>), (?#...) and (?i), and \a. A pattern
 * may use these; a value of format "regex" may not. */
static bool is_ecma(struct op_str text)
{
    const char *p = text.ptr, *end = text.ptr + text.len;

    for (; p < end; p++) {
        if (*p == '\\' && p + 1 < end) {
            if (*++p == 'a')
                return false;
            continue;
        }
        if (*p != '(' || end - p < 3 || p[1] != '?')
            continue;
        p += 2;
        while (p + 1 < end && memchr("ims-", *p, 4))
            p++;
        if (!memchr(":=!<", *p, 4))
            return false;
    }
    return true;
}

bool op_schema_regex_valid(struct op_str text)
{
    char why[200];
    pcre2_code *code = is_ecma(text) ? compile(text, why, sizeof(why)) : NULL;

    pcre2_code_free(code);
    return code != NULL;
}

void op_schema_regex_free(struct op_schema_regex *regex)
{
    pcre2_match_context_free(regex->limits);
    pcre2_code_free(regex->code);
    op_mem_free(regex);
}
