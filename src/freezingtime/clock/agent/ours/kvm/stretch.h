/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A stretch of guest time, from the first vCPU's going in to the last one's coming out: how much of
 * it passed while none of them executed.
 *
 * All of it under the gate's lock (gate.c), apart from the start.
 */
#ifndef FREEZINGTIME_OURS_KVM_STRETCH_H
#define FREEZINGTIME_OURS_KVM_STRETCH_H

#include <stdint.h>

/* What the host's taking CPUs has done to a stretch. */
struct ft_stretch_lost {
    uint64_t taken_out_cycles; /* the guest has not seen them, and they are not guest time */
    uint64_t left_in_cycles;   /* of guest time, in which no vCPU may have executed: at most */
    uint64_t stolen_cycles;    /* others executed meanwhile: of all vCPUs together, at most */
};

/* Before QEMU's vCPU threads run. `host_cpus`: so many of them execute at once, at most. */
void ft_stretch_start(int host_cpus);

void ft_stretch_begin(uint64_t from_tsc);

/* A vCPU's counter has gone on by so much, and for so much it had no CPU, at most. */
void ft_stretch_add(int cpu, uint64_t passed_cycles, uint64_t off_cycles);

/* `left_tsc`: where the last one's counter was; `to_tsc`: where guest time is. */
struct ft_stretch_lost ft_stretch_end(uint64_t left_tsc, uint64_t to_tsc);

#endif
