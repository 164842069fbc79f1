/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU's RCU thread interrupts the CPUs when it waits for them, by a notifier of the vCPU thread.
 */
#ifndef FREEZINGTIME_QEMU_CPUS_RCU_H
#define FREEZINGTIME_QEMU_CPUS_RCU_H

#include <stdbool.h>

/* Looks for the notifier, which is in the file of this address, in the vCPU thread, and has the RCU
 * thread wait for the end of a turn instead if `removes`. Main thread, BQL held, before the machine
 * first runs. */
void ft_rcu_hook(const void *round_robin, bool removes);

#endif
