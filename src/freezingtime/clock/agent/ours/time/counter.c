/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Written once, before anybody reads.
 */
#include "ours/time/counter.h"

#define CYCLES_PER_MS_IN_NS 1000000 /* a counter at 1 kHz counts one cycle in so many ns */

static int64_t counter_khz = CYCLES_PER_MS_IN_NS;

/* A counter at 5 GHz overflows 64 bits within an hour when it is multiplied by 10^6. */
__extension__ typedef __int128 wide;

void ft_guest_time_counter_start(uint32_t khz)
{
    counter_khz = khz;
}

int64_t ft_guest_time_ns_of(int64_t cycles)
{
    return (int64_t)((wide)cycles * CYCLES_PER_MS_IN_NS / counter_khz);
}

int64_t ft_guest_time_cycles_of(int64_t duration_ns)
{
    wide cycles = (wide)duration_ns * counter_khz;
    return (int64_t)((cycles + CYCLES_PER_MS_IN_NS - 1) / CYCLES_PER_MS_IN_NS);
}

int64_t ft_guest_time_counter_at(int64_t now_ns)
{
    return ft_guest_time_cycles_of(now_ns + 1) - 1;
}
