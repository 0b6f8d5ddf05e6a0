/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/driver.h"
#include "provider/openai/openai.h"

/* Families by the beginning of the name, the longest one that fits. The sources are OpenAI's model
 * pages; a name that fits none is held against nothing, the API decides. */
static const struct family {
    const char *prefix;
    bool reasons; /* takes effort, and max_completion_tokens but not max_tokens */
    bool samples; /* takes temperature and top_p */
    bool always;  /* reasoning cannot be switched off: no effort "none" or "minimal" */
} families[] = {
    {"gpt-3.5", false, true, false},    {"gpt-4", false, true, false},
    {"chatgpt-4o", false, true, false}, {"gpt-5", true, false, false},
    {"gpt-6", true, false, false},      {"gpt-6.1", true, false, true},
    {"gpt-6.2", true, false, true},     {"o1", true, false, false},
    {"o3", true, false, false},         {"o4", true, false, false},
    {"codex-", true, false, false},     {"text-embedding-", false, false, false},
};

static const struct family *family_of(struct op_str model)
{
    /* A fine-tuned model is one of its base: "ft:gpt-4.1-mini-2025-04-14:org::id". */
    if (op_str_starts(model, "ft:"))
        model = (struct op_str){model.ptr + 3, model.len - 3};
    const struct family *best = NULL;
    size_t longest = 0;
    for (size_t i = 0; i < OP_COUNT(families); i++) {
        size_t len = strlen(families[i].prefix);
        if (len <= longest || !op_str_starts(model, families[i].prefix))
            continue;
        longest = len;
        best = &families[i];
    }
    return best;
}

/* The chat snapshots of the reasoning families ("gpt-5.2-chat-latest") have settings of their own,
 * told differently from one to the next: nothing is held against them. */
static bool is_chat_snapshot(struct op_str model)
{
    return op_str_mentions(model, "-chat-latest");
}

const char *op_openai_refuses_sampling(const char *model)
{
    const struct family *f = family_of(op_str_from(model));
    if (!f || f->samples || is_chat_snapshot(op_str_from(model)))
        return NULL;
    return f->reasons ? "remove it and steer with the prompt or with effort" : "remove it";
}

const char *op_openai_refuses_effort(const char *model, const char *effort)
{
    const struct family *f = family_of(op_str_from(model));
    if (f && !f->reasons)
        return "remove it, or choose a model that reasons";
    bool least = strcmp(effort, "none") == 0 || strcmp(effort, "minimal") == 0;
    return f && f->always && least ? "use low" : NULL;
}

bool op_openai_is_reasoning(struct op_str model)
{
    const struct family *f = family_of(model);
    return f && f->reasons;
}
