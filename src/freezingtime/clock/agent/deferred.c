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
#define _GNU_SOURCE
#include <time.h>

#include "agent.h"
#include "qemu.h"

/* The vCPU comes to do the work within microseconds, on a busy host within seconds, unless it has
 * stopped. Work that is done by another thread after all is stamped as inexact. */
#define YIELD_NS 20000
#define YIELD_DEADLINE_NS INT64_C(20000000000)

static bool pending; /* BQL */

/* In place of QEMU's function that locks the BQL; any thread. */
static void lock_bql(QemuMutex *bql, const char *file, int line)
{
    int64_t start_ns = 0;
    for (;;) {
        qemu_mutex_lock_impl(bql, file, line);
        if (!pending || qemu_in_vcpu_thread() || cpu_is_stopped(qemu_get_cpu(0))) {
            return;
        }
        int64_t now_ns = ft_host_now_ns();
        start_ns = start_ns ? start_ns : now_ns;
        if (now_ns - start_ns > YIELD_DEADLINE_NS) {
            return;
        }
        qemu_mutex_unlock_impl(bql, file, line);
        nanosleep(&(struct timespec){.tv_nsec = YIELD_NS}, NULL);
    }
}

/* Any thread; only the vCPU's, with the BQL held, leaves work that must not wait. */
static void on_notify(void *unused, int clock)
{
    (void)unused;
    (void)clock;
    if (!pending && qemu_in_vcpu_thread() && qemu_mutex_iothread_locked()) {
        pending = true; /* before the timer is armed: where all CPUs idle, that notifies, too */
        pending = ft_hold_before_next_instruction();
    }
}

/* Main thread, BQL held, once the machine is built. */
void ft_deferred_start(void)
{
    qemu_bql_mutex_lock_func = lock_bql;
    timerlist_new(QEMU_CLOCK_VIRTUAL, on_notify, NULL);
}

/* vCPU thread in a hold, BQL held. */
void ft_deferred_run(void)
{
    AioContext *context = qemu_get_aio_context();
    while (aio_poll(context, false)) {
    }
    pending = false;
}

/* Main thread, BQL held: the vCPU is stopped and may never come to it. */
void ft_deferred_forget(void)
{
    pending = false;
}
