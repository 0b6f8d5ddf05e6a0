/* SPDX-License-Identifier: MIT */
#include "cli/confine.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/sandbox.h"
#include "net/address.h"
#include "provider/provider.h"

static void add_url(struct op_sandbox *box, const char *url)
{
    if (url && url[0])
        op_sandbox_allow_port(box, op_url_port(url));
}

/* Where keys may go: the operator's addresses, and no other's. */
static void add_providers(struct op_sandbox *box)
{
    const struct op_provider_ops *const *all = op_providers();
    for (size_t i = 0; all[i]; i++) {
        const char *own = all[i]->url_env ? getenv(all[i]->url_env) : NULL;
        add_url(box, own && own[0] ? own : all[i]->default_url);
    }
    add_url(box, getenv("OFFPEAK_PROXY"));
}

enum op_rc op_confine_session(struct op_session *session, struct op_err *err)
{
    OP_CLEANUP(op_sandbox_release) struct op_sandbox box = {0};
    op_sandbox_allow(&box, session->state_dir, true);
    enum op_rc rc = op_engine_reach(session->engine, &box, err);
    if (rc)
        return rc;
    const char *ca_file = getenv("OFFPEAK_CA_FILE");
    if (ca_file && ca_file[0])
        op_sandbox_allow(&box, ca_file, false);
    add_providers(&box);
    if (session->emulator)
        add_url(&box, op_child_url(session->emulator));
    op_sandbox_enter(&box);
    return OP_OK;
}

void op_confine_emulator(const char *dir, const char *faults, const char *answers)
{
    OP_CLEANUP(op_sandbox_release) struct op_sandbox box = {0};
    op_sandbox_allow(&box, dir, true);
    if (faults)
        op_sandbox_allow(&box, faults, false);
    if (answers)
        op_sandbox_allow(&box, answers, false);
    op_sandbox_enter(&box);
}

void op_confine_doctor(const char *state_dir)
{
    OP_CLEANUP(op_sandbox_release) struct op_sandbox box = {0};
    op_sandbox_allow(&box, state_dir, true);
    op_sandbox_enter(&box);
}
