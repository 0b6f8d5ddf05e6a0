/* SPDX-License-Identifier: MIT */
#include "pipeline/definition_read.h"

static enum op_rc check_presence(const struct op_definition *def, struct op_err *err)
{
    if (!def->name)
        return op_fail(err, OP_INVAL, "%s:1: 'pipeline' is missing: give the pipeline a name",
                       def->file);
    if (def->request_count == 0)
        return op_fail(err, OP_INVAL, "%s:1: 'requests' is missing: it says what is asked",
                       def->file);
    return OP_OK;
}

static enum op_rc check_records(const struct op_definition *def, struct op_err *err)
{
    if (def->records.text.ptr)
        return OP_OK;
    if (def->input_count == 0)
        return op_fail(err, OP_INVAL, "%s:1: there is nothing to ask about: add 'inputs'",
                       def->file);
    if (def->input_count > 1)
        return op_fail(err, OP_INVAL,
                       "%s: with several inputs, 'records' must select what is asked about",
                       def->inputs[1].place);
    return OP_OK;
}

/* A later round buys what it selects, so something must tell it what the answers brought. */
static enum op_rc check_rounds(const struct op_definition *def, struct op_err *err)
{
    bool looks_back = def->rounds <= 1 || def->done.text.ptr;
    for (size_t i = 0; i < def->input_count && !looks_back; i++)
        looks_back = def->inputs[i].optional;
    if (looks_back)
        return OP_OK;
    return op_fail(err, OP_INVAL,
                   "%s:1: 'rounds' is above 1, but every round would ask the same: add 'done', "
                   "or an optional input that reads what an output wrote",
                   def->file);
}

static enum op_rc check_checks(const struct definer *d, struct op_err *err)
{
    const struct op_definition *def = d->def;
    const char **names = op_arena_array(d->arena, def->request_count + 1, sizeof(*names));
    for (size_t i = 0; i < def->request_count; i++)
        names[i] = def->requests[i].name;
    for (size_t i = 0; i < def->check_count; i++) {
        const struct op_check_def *check = &def->checks[i];
        bool known = !check->request;
        for (size_t j = 0; j < def->request_count && !known; j++)
            known = strcmp(names[j], check->request) == 0;
        char hint[120];
        if (!known)
            return op_fail(err, OP_INVAL,
                           "%s: this check is for '%.80s', which is no request%s",
                           check->sql.place, check->request,
                           op_definer_hint(hint, check->request, names, def->request_count));
    }
    return OP_OK;
}

enum op_rc op_definer_finish(struct definer *d, struct op_err *err)
{
    /* With mistakes told already, what is missing may be what could not be read. */
    if (d->mistakes > 0)
        return OP_OK;
    if (check_presence(d->def, err) && op_definer_note(d, err))
        return err->rc;
    if (check_records(d->def, err) && op_definer_note(d, err))
        return err->rc;
    if (check_rounds(d->def, err) && op_definer_note(d, err))
        return err->rc;
    if (check_checks(d, err) && op_definer_note(d, err))
        return err->rc;
    if (!d->def->about)
        d->def->about = "";
    return OP_OK;
}
