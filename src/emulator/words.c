/* SPDX-License-Identifier: MIT */
#include "emulator/words.h"

#include <ctype.h>
#include <strings.h>

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

static bool ends_nocase(struct op_str s, const char *suffix)
{
    size_t len = strlen(suffix);
    return s.len >= len && strncasecmp(s.ptr + s.len - len, suffix, len) == 0;
}

static bool is_nocase(struct op_str s, const char *text)
{
    return s.len == strlen(text) && ends_nocase(s, text);
}

/* "id", "issue_id", "issue-id", "issueId", "ids" ...; not "valid" or "paid". */
static bool ends_in_id(struct op_str name)
{
    if (name.len == 0)
        return false;
    if (is_nocase(name, "id") || is_nocase(name, "ids"))
        return true;
    size_t tail = ends_nocase(name, "ids") ? 3 : ends_nocase(name, "id") ? 2 : 0;
    if (tail == 0)
        return false;
    char before = name.ptr[name.len - tail - 1];
    char first = name.ptr[name.len - tail];
    return before == '_' || before == '-' || (islower((unsigned char)before) && first == 'I');
}

bool op_emu_names_ids(struct op_str name)
{
    static const char *const names[] = {"citation",   "citations", "cites",     "evidence",
                                        "references", "sources",   "source_ids"};
    if (!name.ptr)
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (is_nocase(name, names[i]))
            return true;
    }
    return ends_in_id(name);
}

static void add_id(struct op_emu_words *words, struct op_str name, struct op_str value)
{
    if (words->id_count == OP_EMU_WORDS_MAX || value.len == 0)
        return;
    struct op_emu_id *id = &words->ids[words->id_count++];
    *id = (struct op_emu_id){.name = name, .value = value};
    id->is_number = op_str_int64(value, &id->number);
}

static size_t skip_blank(struct op_str text, size_t at)
{
    while (at < text.len && (text.ptr[at] == ' ' || text.ptr[at] == '\t'))
        at++;
    return at;
}

static size_t take_value(struct op_emu_words *words, struct op_str name, struct op_str text,
                         size_t at)
{
    if (at < text.len && (text.ptr[at] == '"' || text.ptr[at] == '\''))
        at++;
    size_t start = at;
    while (at < text.len && is_name(text.ptr[at]))
        at++;
    add_id(words, name, (struct op_str){text.ptr + start, at - start});
    return at;
}

/* After a name that ends in id: a separator and one value or a list of them. */
static void take_ids(struct op_emu_words *words, struct op_str name, struct op_str text,
                     size_t at)
{
    if (at < text.len && (text.ptr[at] == '"' || text.ptr[at] == '\''))
        at++;
    at = skip_blank(text, at);
    if (at >= text.len || (text.ptr[at] != '=' && text.ptr[at] != ':'))
        return;
    at = skip_blank(text, at + 1);
    if (at >= text.len || text.ptr[at] != '[') {
        take_value(words, name, text, at);
        return;
    }
    for (int items = 0; items < 1000 && at < text.len && text.ptr[at] != ']'; items++) {
        at = skip_blank(text, at + 1);
        at = take_value(words, name, text, at);
        while (at < text.len && text.ptr[at] != ',' && text.ptr[at] != ']')
            at++;
    }
}

/* [12] and #12 */
static void take_mark(struct op_emu_words *words, struct op_str text, size_t at)
{
    size_t start = at + 1, end = start;
    while (end < text.len && isdigit((unsigned char)text.ptr[end]))
        end++;
    if (text.ptr[at] == '[' && (end >= text.len || text.ptr[end] != ']'))
        return;
    add_id(words, OP_STR(""), (struct op_str){text.ptr + start, end - start});
}

static void take_word(struct op_emu_words *words, struct op_str word)
{
    if (words->word_count < OP_EMU_WORDS_MAX)
        words->words[words->word_count++] = word;
}

void op_emu_words_of(struct op_arena *arena, struct op_str prompt, struct op_emu_words *ret)
{
    size_t most = prompt.len / 2 + 1;
    if (most > OP_EMU_WORDS_MAX)
        most = OP_EMU_WORDS_MAX;
    *ret = (struct op_emu_words){
        .words = op_arena_array(arena, most, sizeof(*ret->words)),
        .ids = op_arena_array(arena, most, sizeof(*ret->ids)),
    };
    bool in_tag = false;
    for (size_t at = 0; at < prompt.len && ret->word_count < most && ret->id_count < most;) {
        char c = prompt.ptr[at];
        char next = at + 1 < prompt.len ? prompt.ptr[at + 1] : ' ';
        if (c == '<' && (isalpha((unsigned char)next) || next == '/'))
            in_tag = true;
        else if (c == '>')
            in_tag = false;
        if ((c == '[' || c == '#') && isdigit((unsigned char)next))
            take_mark(ret, prompt, at);
        if (!is_word(c)) {
            at++;
            continue;
        }
        size_t start = at;
        while (at < prompt.len && (is_name(prompt.ptr[at]) || is_word(prompt.ptr[at])))
            at++;
        struct op_str name = {prompt.ptr + start, at - start};
        if (ends_in_id(name))
            take_ids(ret, name, prompt, at);
        if (!in_tag)
            take_word(ret, name);
    }
}

static bool same_name(struct op_str found, struct op_str asked)
{
    if (found.len == 0)
        return false;
    if (found.len == asked.len)
        return strncasecmp(found.ptr, asked.ptr, asked.len) == 0;
    return found.len + 1 == asked.len && strncasecmp(found.ptr, asked.ptr, found.len) == 0;
}

static size_t collect(const struct op_emu_words *words, struct op_str name, bool numbers,
                      const struct op_emu_id **ret, size_t room)
{
    size_t count = 0;
    for (size_t i = 0; i < words->id_count && count < room; i++) {
        const struct op_emu_id *id = &words->ids[i];
        if ((numbers && !id->is_number) || (name.ptr && !same_name(id->name, name)))
            continue;
        bool known = false;
        for (size_t k = 0; k < count && !known; k++)
            known = op_str_eq(ret[k]->value, id->value);
        if (!known)
            ret[count++] = id;
    }
    return count;
}

size_t op_emu_ids_for(const struct op_emu_words *words, struct op_str name, bool numbers,
                      const struct op_emu_id **ret, size_t room)
{
    size_t count = name.len ? collect(words, name, numbers, ret, room) : 0;
    return count ? count : collect(words, OP_STR_NULL, numbers, ret, room);
}

uint64_t op_emu_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

uint64_t op_emu_random_below(uint64_t *state, uint64_t below)
{
    return below ? op_emu_random(state) % below : 0;
}
