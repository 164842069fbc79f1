/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where the host takes the CPU from one vCPU while another executes, guest time goes on rightly: to
 * the guest it is a CPU that is slow for a moment. Only what passes while none of them executes is
 * wrong. When each of them had a CPU is not known, but for how long: together they have executed
 * for no less than the one that did most, and, the host having so many CPUs, for no less than their
 * sum divided by these.
 */
#include "ours/kvm/stretch.h"

#include <string.h>

#include "ours/kvm/pass.h"

static int host_count = FT_VCPUS_MAX;

static struct {
    uint64_t from_tsc;
    uint64_t off_cycles; /* of all vCPUs */
    uint64_t executed_cycles[FT_VCPUS_MAX];
} stretch;

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

void ft_stretch_start(int host_cpus)
{
    host_count = host_cpus > 0 ? host_cpus : 1;
}

void ft_stretch_begin(uint64_t from_tsc)
{
    memset(&stretch, 0, sizeof stretch);
    stretch.from_tsc = from_tsc;
}

void ft_stretch_add(int cpu, uint64_t passed_cycles, uint64_t off_cycles)
{
    uint64_t off = least(passed_cycles, off_cycles);
    stretch.off_cycles += off;
    stretch.executed_cycles[cpu] += passed_cycles - off;
}

static uint64_t executed_at_least(void)
{
    uint64_t sum = 0, most = 0;
    for (int cpu = 0; cpu < FT_VCPUS_MAX; cpu++) {
        uint64_t cycles = stretch.executed_cycles[cpu];
        sum += cycles;
        most = cycles > most ? cycles : most;
    }
    uint64_t shared = sum / (uint64_t)host_count;
    return shared > most ? shared : most;
}

struct ft_stretch_lost ft_stretch_end(uint64_t left_tsc, uint64_t to_tsc)
{
    struct ft_stretch_lost lost = {0};
    if (stretch.off_cycles > 0) {
        int64_t beyond = (int64_t)(left_tsc - to_tsc);
        lost.taken_out_cycles = beyond > 0 ? (uint64_t)beyond : 0;
        uint64_t rest = minus(stretch.off_cycles, lost.taken_out_cycles);
        uint64_t took = to_tsc - stretch.from_tsc;
        lost.left_in_cycles = least(rest, minus(took, executed_at_least()));
        lost.stolen_cycles = rest - lost.left_in_cycles;
    }
    return lost;
}
