/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest time as a function of executed instructions and skipped idleness.
 */
#ifndef FREEZINGTIME_OURS_TIME_TIME_H
#define FREEZINGTIME_OURS_TIME_TIME_H

#include <stdint.h>

/* Any thread, no lock. */
int64_t ft_time_now_ns(void); /* exact in the vCPU thread */
int64_t ft_time_skipped_ns(void);

/* Main thread, BQL held, before the machine first runs. */
void ft_time_start(int64_t start_ns, uint64_t rate_hz);

/* BQL held, vCPU stopped. A snapshot brings its own instruction count along. */
void ft_time_machine_runs(void);

/* vCPU thread, BQL held: in a hold, between two turns, and when all CPUs idle. */
void ft_time_set_rate(uint64_t rate_hz);
void ft_time_set_cpus_at_once(int count);
void ft_time_skip(int64_t idle_ns);

/* vCPU thread, no lock. */
int64_t ft_time_instructions(int64_t duration_ns); /* that one CPU executes in it, rounded up */
int64_t
ft_time_budget(int64_t duration_ns); /* the fewest after which it has gone by, of all CPUs */

#endif
