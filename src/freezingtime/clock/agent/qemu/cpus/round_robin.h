/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU's round robin: the loop of its one vCPU thread, which executes the CPUs in turn.
 */
#ifndef FREEZINGTIME_QEMU_CPUS_ROUND_ROBIN_H
#define FREEZINGTIME_QEMU_CPUS_ROUND_ROBIN_H

#include "qemu/exports.h"

/* What executing a CPU returns (QEMU's exec/cpu-common.h). */
enum { EXCP_INTERRUPT = 0x10000, EXCP_HLT = 0x10001, EXCP_HALTED = 0x10003 };

/* All in the vCPU thread. */
struct ft_round_robin_calls {
    /* Timers are due and about to be run. BQL held. */
    void (*before_timers)(void);

    /* QEMU has handled the timers that are due and is about to go a round. BQL held. */
    void (*begin_round)(void);

    /* A CPU is next: whether it may execute, and so gets a budget. No lock, as those below. */
    bool (*begin_turn)(CPUState *cpu);

    /* How many instructions all CPUs together may execute until this time has gone by. */
    int64_t (*budget)(int64_t duration_ns);

    /* Executes a CPU by means of QEMU's function, or not; returns what that does. */
    int (*execute)(CPUState *cpu, int (*qemu_execute)(CPUState *cpu));
};

/* `address` is in the file that has the round robin: a module, or QEMU's own binary. Main thread,
 * BQL held, before the machine first runs. */
void ft_round_robin_hook(const void *address, const struct ft_round_robin_calls *calls);

#endif
