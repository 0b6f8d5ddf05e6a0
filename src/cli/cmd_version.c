/* SPDX-License-Identifier: MIT */
#include "cli/commands.h"
#include "cli/say.h"

static int run_version(struct op_args *args)
{
    if (args->json) {
        struct op_report report;
        op_report_begin(&report);
        op_json_out_kv_text(&report.out, "offpeak", OP_VERSION);
        op_report_print(&report);
    } else {
        op_sayf("offpeak " OP_VERSION "\n");
    }
    return OP_EXIT_OK;
}

static const struct op_option options[] = {
    OP_OPT_FLAG("json", json, "Print it as a JSON object"),
    OP_OPT(FLAG, "help", 'h', NULL, help, "Print this help"),
    OP_OPT_END,
};

const struct op_command op_cmd_version = {
    .name = "version",
    .about = "Prints the version",
    .usage = (const char *const[]){"version [--json]", NULL},
    .details = "`offpeak doctor` tells the versions of the libraries too.",
    .options = options,
    .run = run_version,
};
