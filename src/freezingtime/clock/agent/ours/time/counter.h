/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest's cycle counter (TSC), as far as it is a matter of guest time: it is 0 when that is,
 * and has one frequency as long as the guest lives, whoever executes it.
 */
#ifndef FREEZINGTIME_OURS_TIME_COUNTER_H
#define FREEZINGTIME_OURS_TIME_COUNTER_H

#include <stdint.h>

/* Main thread, before the machine first runs; 1 GHz until then. */
void ft_guest_time_counter_start(uint32_t khz);

/* Any thread, no lock. */
int64_t ft_guest_time_ns_of(int64_t cycles);
int64_t ft_guest_time_cycles_of(int64_t duration_ns); /* rounded up */

/* The last cycle of a nanosecond: however a time was rounded to whole nanoseconds, the counter does
 * not go back. */
int64_t ft_guest_time_counter_at(int64_t now_ns);

#endif
