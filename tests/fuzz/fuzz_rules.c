/* SPDX-License-Identifier: MIT */
/*
 * The emulator's files of fault rules and scripted answers. Input: a byte for which, then the file.
 * Oracle: a refusal names file and line; rules that were taken can be asked without harm.
 */
#include "emulator/faults.h"
#include "emulator/script.h"
#include "memory_files.h"

FUZZ_TARGET(rules)
{
    static const struct op_str subjects[2] = {{"msgbatch_1", 10}, {"some words", 10}};
    struct memory_files fs;
    struct op_err err = OP_ERR_INIT;
    bool is_script = fuzz_byte(in) & 1;
    memory_files_init(&fs, 0);
    memory_files_put(&fs, "/w/rules", fuzz_rest(in));
    enum op_rc rc;
    if (is_script) {
        struct op_emu_script *script = NULL;
        rc = op_emu_script_open(&fs.env, "/w/rules", &script, &err);
        for (int i = 0; !rc && i < 3; i++)
            (void)op_emu_script_find(script, subjects, 2);
        if (!rc)
            op_emu_script_close(script);
    } else {
        struct op_emu_faults *faults = NULL;
        rc = op_emu_faults_open(&fs.env, "/w/rules", 3, &faults, &err);
        for (int on = 0; !rc && on < OP_EMU_ON_COUNT_; on++) {
            struct op_emu_fired fired;
            op_emu_faults_event(faults, (enum op_emu_operation)on, on & 1, subjects, &fired);
        }
        if (!rc)
            op_emu_faults_close(faults);
    }
    if (rc) {
        fuzz_check_error(rc, &err);
        FUZZ_CHECK(strstr(err.msg, "/w/rules:"), "no place in: %s", err.msg);
    }
    memory_files_release(&fs);
}
