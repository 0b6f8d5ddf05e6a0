/* SPDX-License-Identifier: MIT */
#include <openssl/evp.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/time.h"
#include "pipeline/sql_fuzzy.h"
#include "pipeline/sql_internal.h"

static const struct op_sql_function functions[] = {
    {"fuzzy_match(a, b)",
     "how alike two names are, 0 to 100, whatever the case, the order of the words and the "
     "apostrophes: the indel ratio of their sorted words"},
    {"name_fold(text)",
     "a name as fuzzy_match compares it, its words in the order of the text: folded, without 's "
     "and apostrophes, one blank between words"},
    {"sha256(x)", "the SHA-256 of a text or blob, in hexadecimal"},
    {"uuid5(namespace, name)",
     "the UUID of a name; namespace is a UUID, or dns, url, oid or x500"},
    {"now()", "the time, as in 2026-11-20T12:00:00.000Z"},
    {"xml(text)",
     "the text as XML content: & < > \" written as entities, without characters that XML forbids"},
    {"fold(text)", "the text for comparing: Unicode NFKC with case folding"},
    {NULL, NULL},
};

const struct op_sql_function *op_sql_functions(void)
{
    return functions;
}

static struct op_str bytes_of(sqlite3_value *v)
{
    if (sqlite3_value_type(v) == SQLITE_NULL)
        return OP_STR_NULL;
    struct op_str s;
    bool is_bytes =
        sqlite3_value_type(v) == SQLITE_BLOB || sqlite3_value_type(v) == SQLITE_TEXT;
    s.ptr = is_bytes ? sqlite3_value_blob(v) : (const char *)sqlite3_value_text(v);
    s.len = (size_t)sqlite3_value_bytes(v);
    return s.ptr ? s : OP_STR("");
}

static void give_buf(sqlite3_context *c, struct op_buf *buf)
{
    if (buf->failed)
        sqlite3_result_error_toobig(c);
    else
        sqlite3_result_text64(c, buf->ptr, buf->len, SQLITE_TRANSIENT, SQLITE_UTF8);
    op_buf_release(buf);
}

static void fuzzy_match(sqlite3_context *c, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct op_str a = bytes_of(argv[0]), b = bytes_of(argv[1]);
    if (a.ptr && b.ptr)
        sqlite3_result_double(c, op_fuzzy_match(sqlite3_user_data(c), a, b));
}

static void fold(sqlite3_context *c, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct op_str text = bytes_of(argv[0]);
    if (!text.ptr)
        return;
    struct op_buf out;
    op_buf_init(&out, OP_SQL_MAX_LENGTH);
    op_fold(sqlite3_user_data(c), text, &out);
    give_buf(c, &out);
}

static void name_fold(sqlite3_context *c, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct op_str text = bytes_of(argv[0]);
    if (!text.ptr)
        return;
    struct op_buf out;
    op_buf_init(&out, OP_SQL_MAX_LENGTH);
    op_fuzzy_words(sqlite3_user_data(c), text, &out);
    op_buf_addz(&out, "");
    give_buf(c, &out);
}

static void sha256(sqlite3_context *c, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct op_str s = bytes_of(argv[0]);
    if (!s.ptr)
        return;
    char hex[OP_SHA256_HEX];
    op_sha256_hex(s.ptr, s.len, hex);
    sqlite3_result_text(c, hex, OP_SHA256_HEX - 1, SQLITE_TRANSIENT);
}

/* 32 hexadecimal digits, hyphens anywhere between bytes. */
static bool parse_uuid(struct op_str text, uint8_t ret[16])
{
    size_t digits = 0;
    for (size_t i = 0; i < text.len; i++) {
        int c = (unsigned char)text.ptr[i];
        if (c == '-' && digits % 2 == 0)
            continue;
        int v = c >= '0' && c <= '9'                     ? c - '0'
                : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                         : -1;
        if (v < 0 || digits == 32)
            return false;
        ret[digits / 2] = (uint8_t)(digits % 2 ? ret[digits / 2] | v : v << 4);
        digits++;
    }
    return digits == 32;
}

/* RFC 9562 names four namespaces; they differ in one digit. */
static bool find_namespace(struct op_str text, uint8_t ret[16])
{
    static const struct {
        const char *name, *uuid;
    } known[] = {
        {"dns", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
        {"url", "6ba7b811-9dad-11d1-80b4-00c04fd430c8"},
        {"oid", "6ba7b812-9dad-11d1-80b4-00c04fd430c8"},
        {"x500", "6ba7b814-9dad-11d1-80b4-00c04fd430c8"},
    };
    for (size_t i = 0; i < OP_COUNT(known); i++)
        if (text.len == strlen(known[i].name) &&
            sqlite3_strnicmp(text.ptr, known[i].name, (int)text.len) == 0)
            return parse_uuid(op_str_from(known[i].uuid), ret);
    return parse_uuid(text, ret);
}

static void uuid5(sqlite3_context *c, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct op_str space = bytes_of(argv[0]), name = bytes_of(argv[1]);
    uint8_t id[16], digest[EVP_MAX_MD_SIZE];
    if (!space.ptr || !name.ptr)
        return;
    if (!find_namespace(space, id)) {
        sqlite3_result_error(
            c, "uuid5: the namespace must be a UUID, or one of dns, url, oid, x500", -1);
        return;
    }
    struct op_buf all;
    op_buf_init(&all, OP_SQL_MAX_LENGTH + sizeof(id));
    op_buf_add(&all, id, sizeof(id));
    op_buf_add_str(&all, name);
    int good = EVP_Digest(all.ptr, all.len, digest, NULL, EVP_sha1(), NULL);
    op_buf_release(&all);
    if (!good) {
        sqlite3_result_error(c, "uuid5: SHA-1 is not to be had here", -1);
        return;
    }
    digest[6] = (uint8_t)((digest[6] & 0x0f) | 0x50);
    digest[8] = (uint8_t)((digest[8] & 0x3f) | 0x80);
    char hex[33], text[37];
    op_hex(digest, 16, hex);
    snprintf(text, sizeof(text), "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
             hex + 20);
    sqlite3_result_text(c, text, 36, SQLITE_TRANSIENT);
}

static void now(sqlite3_context *c, int argc, sqlite3_value **argv)
{
    struct op_env *env = sqlite3_user_data(c);
    char text[OP_TIME_TEXT];
    (void)argc;
    (void)argv;
    op_time_format(env->ops->now_ms(env), text);
    sqlite3_result_text(c, text, -1, SQLITE_TRANSIENT);
}

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    default:
        return NULL;
    }
}

/* What XML 1.0 has no way to write: control characters, U+FFFE and U+FFFF, and bytes that are not
 * UTF-8. The length of what to skip; 0: nothing. */
static size_t forbidden(struct op_str s)
{
    unsigned char c = (unsigned char)s.ptr[0];
    if (c < 0x20)
        return c != '\t' && c != '\n' && c != '\r';
    if (c < 0x80)
        return 0;
    if (s.len >= 3 &&
        (memcmp(s.ptr, "\xEF\xBF\xBE", 3) == 0 || memcmp(s.ptr, "\xEF\xBF\xBF", 3) == 0))
        return 3;
    size_t len = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (len > s.len)
        len = s.len;
    return op_utf8_valid_len(s.ptr, len) == 0;
}

static void xml(sqlite3_context *c, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct op_str s = bytes_of(argv[0]);
    if (!s.ptr)
        return;
    struct op_buf out;
    op_buf_init(&out, OP_SQL_MAX_LENGTH);
    while (s.len > 0) {
        unsigned char first = (unsigned char)s.ptr[0];
        const char *text = entity(s.ptr[0]);
        size_t skip = text ? 1 : forbidden(s), take = 0;
        if (text)
            op_buf_addz(&out, text);
        else if (!skip)
            take = first < 0xC0 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
        op_buf_add(&out, s.ptr, take);
        s.ptr += skip + take;
        s.len -= skip + take;
    }
    give_buf(c, &out);
}

enum op_rc op_sql_add_functions(struct op_sqlenv *sql, struct op_err *err)
{
    const int pure = SQLITE_UTF8 | SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC;
    const int impure = SQLITE_UTF8 | SQLITE_INNOCUOUS;
    struct op_env *env = sql->plan->env;
    sqlite3 *db = sql->db;
    /* SQLite frees the scratch with the function. */
    int code = sqlite3_create_function_v2(db, "fuzzy_match", 2, pure, op_fuzzy_new(),
                                          fuzzy_match, NULL, NULL, op_fuzzy_free);
    if (!code)
        code = sqlite3_create_function_v2(db, "fold", 1, pure, op_fuzzy_new(), fold, NULL, NULL,
                                          op_fuzzy_free);
    if (!code)
        code = sqlite3_create_function_v2(db, "name_fold", 1, pure, op_fuzzy_new(), name_fold,
                                          NULL, NULL, op_fuzzy_free);
    if (!code)
        code = sqlite3_create_function(db, "sha256", 1, pure, NULL, sha256, NULL, NULL);
    if (!code)
        code = sqlite3_create_function(db, "uuid5", 2, pure, NULL, uuid5, NULL, NULL);
    if (!code)
        code = sqlite3_create_function(db, "xml", 1, pure, NULL, xml, NULL, NULL);
    if (!code)
        code = sqlite3_create_function(db, "now", 0, impure, env, now, NULL, NULL);
    return code ? op_fail(err, OP_IO, "SQLite: %s", sqlite3_errmsg(db)) : OP_OK;
}
