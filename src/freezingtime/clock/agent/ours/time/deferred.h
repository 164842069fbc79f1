/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Work that devices leave to QEMU's main loop, done in a hold instead.
 */
#ifndef FREEZINGTIME_OURS_TIME_DEFERRED_H
#define FREEZINGTIME_OURS_TIME_DEFERRED_H

#include <stdbool.h>

/* `run_before_next_instruction` is called in the vCPU thread, BQL held, when there is work: it has
 * ft_deferred_run called before the next guest instruction, or says that this happens anyway
 * (false). Where there is a `has_left`, whoever runs the guest asks that instead, in any thread
 * without a lock, and sees to ft_deferred_run. Main thread, BQL held, once the machine is built. */
void ft_deferred_start(bool (*run_before_next_instruction)(void), bool (*has_left)(void));

/* Devices may leave work from here on, as their timers are about to be run: it is done behind
 * those. vCPU thread, BQL held. */
void ft_deferred_expect(void);

/* vCPU thread in a hold, BQL held. */
void ft_deferred_run(void);

/* BQL held: the vCPU is stopped and may never come to it. */
void ft_deferred_forget(void);

#endif
