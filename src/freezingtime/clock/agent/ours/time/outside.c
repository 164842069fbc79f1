/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest time moves by executed instructions and, where all CPUs idle, to the next timer. All
 * that the guest is given in it comes from the vCPU thread: its own accesses, timers of the
 * virtual clock, and the hold. An interrupt that another thread raises has come by at some time
 * of the host's: a device of QEMU's has waited for the host. It is delivered, and reported.
 */
#include "ours/time/outside.h"

#include "qemu/exports.h"

static bool disturbed; /* BQL */

/* Where the CPUs stand still, as when the machine is about to run, it is the machine's own doing.
 */
void ft_outside_interrupt(void)
{
    if (!qemu_in_vcpu_thread() && runstate_is_running() && !cpu_is_stopped(qemu_get_cpu(0))) {
        disturbed = true;
    }
}

bool ft_outside_take(void)
{
    bool was = disturbed;
    disturbed = false;
    return was;
}
