/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "pipeline/plan.h"
#include "pipeline/plan_internal.h"

/* What kind a request is of: whom it is asked of, and, for providers that take one model and one
 * endpoint in a batch, which ones. */

static bool is_own_server(const struct op_lane *lane)
{
    const char *own = lane->provider->default_url;
    return lane->emulated || (own && strcmp(lane->base_url, own) == 0);
}

enum op_rc op_plan_check_model(const struct op_lane *lane, const char *model, const char *place,
                               struct op_err *err)
{
    const struct op_provider_ops *provider = lane->provider;
    const struct op_provider_ops *owner = model[0] ? op_provider_for_model(model) : NULL;
    /* A provider without model names of its own serves everybody's. */
    if (!owner || owner == provider || !provider->model_prefixes[0] || !is_own_server(lane))
        return OP_OK;
    return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                      "%s: the model '%.80s' is one of %s's, and this job goes to %s", place,
                      model, owner->name, provider->name);
}

static void list_endpoints(const struct op_provider_ops *provider, struct op_buf *list)
{
    for (size_t i = 0; provider->endpoints[i]; i++)
        op_buf_addf(list, "%s%s", i ? ", " : "", provider->endpoints[i]);
}

enum op_rc op_plan_endpoint(const struct op_lane *lane, const char *name, const char *place,
                            const char **ret, struct op_err *err)
{
    const struct op_provider_ops *provider = lane->provider;
    for (size_t i = 0; provider->endpoints[i]; i++) {
        if (!name || strcmp(name, provider->endpoints[i]) == 0) {
            *ret = provider->endpoints[i];
            return OP_OK;
        }
    }
    OP_CLEANUP(op_buf_release) struct op_buf list;
    op_buf_init(&list, 500);
    list_endpoints(provider, &list);
    return op_fail(err, OP_INVAL, "%s: %s has no endpoint '%.80s'; there are: %s", place,
                   provider->name, name ? name : "", list.ptr);
}

static bool is_one_kind(const struct op_plan_request *a, const struct op_plan_request *b)
{
    if (a->lane != b->lane)
        return false;
    return !a->lane->provider->one_model ||
           (strcmp(a->model, b->model) == 0 && strcmp(a->endpoint, b->endpoint) == 0);
}

void op_plan_number_kinds(struct op_plan *plan)
{
    plan->kind_count = 0;
    for (size_t i = 0; i < plan->def->request_count; i++) {
        struct op_plan_request *r = &plan->requests[i];
        r->kind = -1;
        for (size_t j = 0; j < i && r->kind < 0; j++) {
            if (is_one_kind(&plan->requests[j], r))
                r->kind = plan->requests[j].kind;
        }
        if (r->kind < 0)
            r->kind = plan->kind_count++;
    }
}
