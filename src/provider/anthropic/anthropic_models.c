/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/anthropic/anthropic.h"

/* major * 100 + minor */
#define ANY_LATER INT_MAX

struct trap {
    enum op_anthropic_trap what;
    const char *family; /* NULL: any */
    int from, to;       /* versions, both included */
    const char *mend;
};

#define DROP_SAMPLING "remove it and steer with the prompt or with effort"
#define LEAVE_OUT     "leave thinking out"
#define USE_ANSWER \
    "leave tool_choice at \"auto\", or ask for JSON with an answer schema instead"

static const struct trap traps[] = {
    {OP_ANTHROPIC_SAMPLING, NULL, 407, ANY_LATER, DROP_SAMPLING},
    {OP_ANTHROPIC_THINKING_ENABLED, NULL, 407, ANY_LATER,
     "use {\"type\": \"adaptive\"} and effort"},
    {OP_ANTHROPIC_THINKING_ADAPTIVE, NULL, 1, 405,
     "use {\"type\": \"enabled\", \"budget_tokens\": 1024 or more}"},
    {OP_ANTHROPIC_THINKING_DISABLED, "fable", 500, 501, LEAVE_OUT},
    {OP_ANTHROPIC_THINKING_DISABLED, "mythos", 1, ANY_LATER, LEAVE_OUT},
    {OP_ANTHROPIC_THINKING_DISABLED, "opus", 505, 505, LEAVE_OUT},
    {OP_ANTHROPIC_THINKING_DISABLED, "sonnet", 505, 505, "use {\"type\": \"between_tools\"}"},
    {OP_ANTHROPIC_FORCED_TOOL, "opus", 505, 505, USE_ANSWER},
    {OP_ANTHROPIC_FORCED_TOOL, "sonnet", 505, 505, USE_ANSWER},
    {OP_ANTHROPIC_FORCED_TOOL, "fable", 501, 501, USE_ANSWER},
};

/* "claude-opus-4-1-20250805" and "claude-3-5-haiku-latest" alike: words are a family, numbers of
 * one or two digits a version, a longer number is a date. 0 when no version can be told. */
static int model_version(const char *model, const char *family, bool *ret_family)
{
    struct op_str rest = op_str_from(model);
    int version = 0, parts = 0;
    *ret_family = family == NULL;
    if (!op_str_starts(rest, "claude-"))
        return 0;
    while (rest.ptr) {
        struct op_str word = op_str_cut(&rest, '-');
        int64_t number;
        if (family && op_str_is(word, family))
            *ret_family = true;
        if (word.len > 2 || !op_str_int64(word, &number) || number < 0 || parts == 2)
            continue;
        version += (int)number * (parts == 0 ? 100 : 1);
        parts++;
    }
    return version;
}

const char *op_anthropic_trapped(const char *model, enum op_anthropic_trap trap)
{
    for (size_t i = 0; i < OP_COUNT(traps); i++) {
        if (traps[i].what != trap)
            continue;
        bool family;
        int version = model_version(model, traps[i].family, &family);
        if (family && version >= traps[i].from && version <= traps[i].to)
            return traps[i].mend;
    }
    return NULL;
}
