/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Work that a device leaves to QEMU's main loop (a bottom half), as nvme does with doorbells.
 *
 * The main loop would do it at some later time of the host, with the guest running on. Here
 * it is done in the vCPU thread before the next guest instruction, like all that the agent
 * does in a hold. QEMU tells of it: whoever schedules a bottom half in the vCPU thread has all
 * timer lists of the virtual clock notified, and one of these is ours. From there until the
 * work is done, other threads wait for the BQL, lest one of them does it.
 */
#include "ours/time/deferred.h"

#include <stddef.h>
#include <stdint.h>

#include "qemu/exports.h"
#include "qemu/hooks.h"
#include "qemu/lock.h"

/* The vCPU comes to do the work within microseconds, on a busy host within seconds, unless it has
 * stopped. Work that is done by another thread after all is stamped as inexact. */
#define YIELD_DEADLINE_NS INT64_C(20000000000)

static bool pending; /* BQL */

static bool (*arrange_run)(void);
static bool (*may_be_left)(void);

/* A thread has got the BQL. */
static bool may_keep(int64_t tried_ns)
{
    bool is_left = pending || (may_be_left && may_be_left());
    return !is_left || qemu_in_vcpu_thread() || cpu_is_stopped(qemu_get_cpu(0)) ||
           tried_ns > YIELD_DEADLINE_NS;
}

void ft_deferred_expect(void)
{
    if (!pending) {
        pending = true; /* before the timer is armed: where all CPUs idle, that notifies, too */
        pending = arrange_run();
    }
}

/* Any thread; only the vCPU's, with the BQL held, leaves work that must not wait. */
static void on_notify(void *unused, int clock)
{
    (void)unused;
    (void)clock;
    ft_hook_called(FT_HOOK_DEFER);
    if (qemu_in_vcpu_thread() && ft_lock_is_held()) {
        ft_deferred_expect();
    }
}

void ft_deferred_start(bool (*run_before_next_instruction)(void), bool (*has_left)(void))
{
    arrange_run = run_before_next_instruction;
    may_be_left = has_left;
    ft_lock_hook(may_keep);
    if (has_left) {
        return;
    }
    timerlist_new(QEMU_CLOCK_VIRTUAL, on_notify, NULL);
    ft_hook_found(FT_HOOK_DEFER, "timer list");
}

void ft_deferred_run(void)
{
    AioContext *context = qemu_get_aio_context();
    while (aio_poll(context, false)) {
    }
    pending = false;
}

void ft_deferred_forget(void)
{
    pending = false;
}
