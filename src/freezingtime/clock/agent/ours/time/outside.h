/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The audit of what reaches the guest: while it runs, nothing may but what it did itself.
 */
#ifndef FREEZINGTIME_OURS_TIME_OUTSIDE_H
#define FREEZINGTIME_OURS_TIME_OUTSIDE_H

#include <stdbool.h>

/* A CPU is interrupted. Any thread, BQL held. */
void ft_outside_interrupt(void);

/* Whether another thread than the vCPU's has done that since the last time that this was asked,
 * while the machine ran. BQL held. */
bool ft_outside_take(void);

#endif
