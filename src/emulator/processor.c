/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <time.h>

#include "base/time.h"
#include "emulator/state.h"

/* Sleeps until the next batch is due or something has changed since seen. */
static void sleep_until(struct op_emulator *em, int64_t due_us, int64_t seen)
{
    int64_t ms = due_us != INT64_MAX ? op_emu_clock_until_ms(&em->clock, due_us) : OP_HOUR_MS;
    struct timespec until = op_emu_until(ms);
    pthread_mutex_lock(&em->lock);
    int waited = 0;
    while (!em->stopping && em->work == seen && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&em->changed, &em->lock, &until);
    pthread_mutex_unlock(&em->lock);
}

void *op_emu_process(void *emulator)
{
    struct op_emulator *em = emulator;
    while (!op_emu_stopping(em)) {
        struct op_err err = OP_ERR_INIT;
        int64_t due_us = INT64_MAX;
        pthread_mutex_lock(&em->lock);
        int64_t seen = em->work;
        pthread_mutex_unlock(&em->lock);
        if (op_emu_process_due(em, &due_us, &err) && err.rc != OP_STOPPED) {
            op_emu_fail(em, &err);
            return NULL;
        }
        if (due_us > op_emu_clock_now(&em->clock))
            sleep_until(em, due_us, seen);
    }
    return NULL;
}
