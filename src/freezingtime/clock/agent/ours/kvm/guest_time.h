/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest time under KVM: what the guest's cycle counter (TSC) shows it.
 *
 * Guest time is 0 when the counter is, and goes on with it: only while the guest executes, or
 * where the agent takes it ahead.
 */
#ifndef FREEZINGTIME_OURS_KVM_GUEST_TIME_H
#define FREEZINGTIME_OURS_KVM_GUEST_TIME_H

#include <stdint.h>

#include "ours/time/counter.h"

/* Main thread, before the machine first runs. */
void ft_guest_time_start(int64_t start_ns);

/* Any thread, no lock. */
int64_t ft_guest_time_now_ns(void);
uint64_t ft_guest_time_tsc(void);
int64_t ft_guest_time_warped_ns(void); /* idle time skipped */

/* vCPU thread, while it does not execute the guest. Guest time never goes back. */
void ft_guest_time_reach(uint64_t tsc);      /* the guest has come so far */
void ft_guest_time_reach_ns(int64_t now_ns); /* it is taken there */
void ft_guest_time_warp(int64_t idle_ns);

#endif
