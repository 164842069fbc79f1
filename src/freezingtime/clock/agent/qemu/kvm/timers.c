/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Three functions that QEMU exports are replaced as a whole, as they are called directly or by
 * pointers kept here and there. Under icount QEMU itself does what these do.
 */
#include "qemu/kvm/timers.h"

#include <stddef.h>

#include "ours/base.h"
#include "qemu/cpus/places.h"
#include "qemu/exports.h"
#include "qemu/hooks.h"

enum { CLOCKS = 4 }; /* QEMUClockType: real time, guest time, the host's date, real time again */

struct timer_list_group { /* QEMUTimerListGroup */
    void *lists[CLOCKS];
};

/* In place of qemu_clock_run_all_timers. Main thread, BQL held. */
static bool run_all_timers(void)
{
    bool progress = false;
    ft_hook_called(FT_HOOK_TIMERS);
    for (int clock = 0; clock < CLOCKS; clock++) {
        if (clock != QEMU_CLOCK_VIRTUAL) {
            progress |= qemu_clock_run_timers(clock);
        }
    }
    return progress;
}

/* In place of timerlistgroup_deadline_ns: for how long a thread may wait. Any thread. */
static int64_t deadline_ns(struct timer_list_group *group)
{
    int64_t nearest_ns = -1; /* none, and so the greatest as an unsigned number */
    for (int clock = 0; clock < CLOCKS; clock++) {
        if (clock != QEMU_CLOCK_VIRTUAL) {
            int64_t list_ns = timerlist_deadline_ns(group->lists[clock]);
            nearest_ns = (uint64_t)list_ns < (uint64_t)nearest_ns ? list_ns : nearest_ns;
        }
    }
    return nearest_ns;
}

/* Whoever is in the guest has the old deadline, or some other vCPU has. */
static void kick_all(void)
{
    CPUState *cpu;
    for (int index = 0; (cpu = qemu_get_cpu(index)); index++) {
        qemu_cpu_kick(cpu);
    }
}

/* In place of qemu_timer_notify_cb: a list's first deadline has changed. Any thread. */
static void notify(void *unused, int clock)
{
    (void)unused;
    if (clock != QEMU_CLOCK_VIRTUAL) {
        qemu_notify_event();
    } else if (!qemu_in_vcpu_thread()) {
        kick_all();
    }
}

void ft_timers_hook(void)
{
    ft_replace_function((void *)qemu_clock_run_all_timers, (const void *)run_all_timers);
    ft_replace_function((void *)timerlistgroup_deadline_ns, (const void *)deadline_ns);
    ft_replace_function((void *)qemu_timer_notify_cb, (const void *)notify);
    ft_hook_found(FT_HOOK_TIMERS, "function");
}

void ft_timers_run(void)
{
    qemu_clock_run_timers(QEMU_CLOCK_VIRTUAL);
}
