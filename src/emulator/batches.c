/* SPDX-License-Identifier: MIT */
#include "emulator/batches.h"

#include <string.h>

#include "base/mem.h"
#include "emulator/state.h"
#include "emulator/words.h"

static int64_t part_of(int64_t takes, int64_t part)
{
    return part ? takes / part : 0;
}

void op_emu_batch_plan(struct op_emulator *em, struct op_emu_batch *batch,
                       const struct op_emu_timing *timing)
{
    const struct op_emu_quirks *quirks = &batch->quirks;
    uint64_t random = em->seed ^ (uint64_t)batch->seq;
    int64_t spread = em->process_max_us - em->process_min_us;
    int64_t takes =
        em->process_min_us + (int64_t)op_emu_random_below(&random, (uint64_t)spread + 1);
    batch->created_us = op_emu_clock_now(&em->clock);
    if (op_emu_quirk(quirks, OP_EMU_SLOW))
        takes = quirks->value[OP_EMU_SLOW] * 1000;
    int64_t finalizing = part_of(takes, timing->finalizing_part);
    batch->expires_us = batch->created_us + timing->window_us;
    batch->start_us = batch->created_us + part_of(takes, timing->pending_part);
    batch->full_us = batch->created_us + takes - finalizing;
    if (op_emu_quirk(quirks, OP_EMU_LONG_FINALIZING))
        finalizing = quirks->value[OP_EMU_LONG_FINALIZING] * 1000;
    batch->due_us = batch->full_us + finalizing;
    if (batch->due_us > batch->expires_us)
        batch->due_us = batch->expires_us;
    if (op_emu_quirk(quirks, OP_EMU_EXPIRE))
        batch->full_us = batch->due_us = batch->expires_us;
    if (op_emu_quirk(quirks, OP_EMU_STUCK_PENDING)) {
        batch->start_us = batch->full_us = INT64_MAX;
        batch->due_us = batch->expires_us;
    }
    if (op_emu_quirk(quirks, OP_EMU_NEVER_END))
        batch->full_us = batch->due_us = INT64_MAX;
}

struct op_emu_quirks op_emu_batch_quirks(const struct op_emu_call *call,
                                         const struct op_emu_batch *batch)
{
    struct op_emu_quirks quirks = batch->quirks;
    op_emu_quirks_add(&quirks, &call->fired);
    return quirks;
}

enum op_emu_phase op_emu_batch_phase(const struct op_emu_batch *batch,
                                     const struct op_emu_quirks *quirks, int64_t now_us)
{
    if (batch->settled && !op_emu_quirk(quirks, OP_EMU_STATE_REGRESS)) {
        if (batch->cancel_us)
            return OP_EMU_STOPPED;
        return batch->due_us >= batch->expires_us ? OP_EMU_TIMED_OUT : OP_EMU_ENDED;
    }
    if (batch->settled)
        return OP_EMU_RUNNING;
    if (batch->cancel_us)
        return OP_EMU_CANCELING;
    if (now_us < batch->start_us)
        return OP_EMU_PENDING;
    return now_us < batch->full_us ? OP_EMU_RUNNING : OP_EMU_FINALIZING;
}

int64_t op_emu_batch_now(const struct op_emu_call *call, const struct op_emu_batch *batch)
{
    if (call->route->on == OP_EMU_ON_CREATE)
        return batch->created_us;
    return op_emu_clock_now(&call->emulator->clock);
}

int64_t op_emu_batch_progress(const struct op_emu_batch *batch, int64_t now_us)
{
    int64_t passed = now_us - batch->start_us, all = batch->full_us - batch->start_us;
    if (batch->full_us == INT64_MAX || passed <= 0)
        return 0;
    if (passed >= all)
        return batch->total;
    return (int64_t)((double)batch->total * (double)passed / (double)all);
}

static bool exists(const struct op_emu_batch *batch, int64_t now_us)
{
    return !op_emu_quirk(&batch->quirks, OP_EMU_VANISH) ||
           now_us < batch->created_us + batch->quirks.value[OP_EMU_VANISH] * 1000;
}

bool op_emu_batch_find(struct op_emu_call *call, struct op_str id, struct op_emu_batch *ret)
{
    struct op_emulator *em = call->emulator;
    return op_emu_store_get(em->store, id, ret) && exists(ret, op_emu_clock_now(&em->clock)) &&
           strcmp(ret->provider, call->api->name) == 0;
}

bool op_emu_batch_is_listed(const struct op_emu_batch *batch, int64_t now_us)
{
    if (!exists(batch, now_us))
        return false;
    return !op_emu_quirk(&batch->quirks, OP_EMU_LIST_LAG) ||
           now_us >= batch->created_us + batch->quirks.value[OP_EMU_LIST_LAG] * 1000;
}

bool op_emu_batch_accept(void *arg, const struct op_emu_batch *batch)
{
    return op_emu_batch_is_listed(batch, *(const int64_t *)arg);
}

bool op_emu_batch_flaps(struct op_emu_call *call, const struct op_emu_batch *batch)
{
    enum op_emu_action action =
        batch->settled ? OP_EMU_FLAP_AFTER_END : OP_EMU_FLAP_AFTER_CREATE;
    if (!op_emu_quirk(&batch->quirks, action))
        return false;
    struct op_str id = op_str_from(batch->id);
    return op_emu_store_look(call->emulator->store, id, batch->settled) <=
           batch->quirks.value[action];
}

bool op_emu_batch_shows_output(struct op_emu_call *call, const struct op_emu_batch *batch)
{
    struct op_str id = op_str_from(batch->id);
    if (!op_emu_quirk(&batch->quirks, OP_EMU_LATE_OUTPUT))
        return true;
    if (call->route->on != OP_EMU_ON_GET)
        return false;
    return op_emu_store_look(call->emulator->store, id, true) >
           batch->quirks.value[OP_EMU_LATE_OUTPUT];
}

static bool take_cancel(void *arg, struct op_emu_batch *batch)
{
    const struct op_emulator *em = arg;
    int64_t now = op_emu_clock_now(&em->clock);
    uint64_t random = em->seed ^ (uint64_t)batch->seq;
    if (batch->cancel_us || batch->ended_us)
        return false;
    batch->cancel_us = now;
    int64_t end = now + (int64_t)op_emu_random_below(&random, 20 * OP_EMU_SECOND_US) +
                  5 * OP_EMU_SECOND_US;
    if (end < batch->due_us)
        batch->due_us = end;
    return true;
}

enum op_rc op_emu_batch_cancel(struct op_emulator *em, struct op_str id,
                               struct op_emu_batch *ret, struct op_err *err)
{
    enum op_rc rc = op_emu_store_change(em->store, id, take_cancel, em, ret, err);
    if (!rc)
        op_emu_wake(em);
    return rc;
}

enum op_rc op_emu_batch_place(struct op_emulator *em, const struct op_emu_batch *batch,
                              const struct op_emu_output *output,
                              const struct op_emu_placing *placing, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (int i = 0; i < 2 && !rc; i++) {
        OP_CLEANUP(op_mem_freep)
        char *where = op_mem_printf("%s.%s", batch->id, i ? "errors" : "results");
        OP_CLEANUP(op_mem_freep)
        char *name = op_mem_printf("%s_%s.jsonl", batch->id, i ? "error" : "output");
        struct op_emu_file file = {
            .provider = batch->provider,
            .name = name,
            .purpose = placing->purpose,
            .mime = "application/jsonl",
            .batch = where,
            .seq = op_emu_files_next_seq(em->files),
            .bytes = i ? output->error_bytes : output->result_bytes,
            .lines = i ? output->error_lines : output->result_lines,
            .created_us = batch->ended_us,
            .expires_us = placing->expires_us,
        };
        placing->id(em, batch, i == 1, file.id);
        if (file.lines > 0)
            rc = op_emu_files_put(em->files, &file, err);
    }
    return rc;
}

int64_t op_emu_batch_page_shift(const struct op_emu_call *call)
{
    const struct op_emu_rule *rule = op_emu_fired_rule(&call->fired, OP_EMU_LIST_PAGE_SHIFT);
    if (!rule)
        return 0;
    return rule->by == INT64_MIN ? -1 : rule->by;
}
