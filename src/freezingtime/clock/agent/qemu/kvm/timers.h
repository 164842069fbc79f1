/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU's timers of guest time, which its main loop would run by the host's.
 */
#ifndef FREEZINGTIME_QEMU_KVM_TIMERS_H
#define FREEZINGTIME_QEMU_KVM_TIMERS_H

/* Takes them from the main loop: they are run by ft_timers_run alone, and a thread that arms one
 * interrupts the vCPU. Before QEMU's main; single thread. */
void ft_timers_hook(void);

/* Runs those that are due. vCPU thread, BQL held. */
void ft_timers_run(void);

#endif
