/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Several CPUs in turn: what QEMU's round robin and its accelerator's table call (qemu/ says when).
 */
#ifndef FREEZINGTIME_OURS_TIME_TURNS_H
#define FREEZINGTIME_OURS_TIME_TURNS_H

#include "qemu/exports.h"

void ft_turns_begin_round(void);
bool ft_turns_begin_turn(CPUState *cpu);
int64_t ft_turns_budget(int64_t duration_ns);
int ft_turns_execute(CPUState *cpu, int (*qemu_execute)(CPUState *cpu));
bool ft_turns_may_sleep(CPUState *cpu);
bool ft_turns_may_kick(void);

/* Main thread, BQL held, once the machine is built. Returns how many CPUs there are. */
int ft_turns_start(void);

/* Main thread, BQL held, vCPUs stopped. */
void ft_turns_machine_runs(void);

/* vCPU thread, BQL held: nobody executes from here on, until the machine runs again. */
void ft_turns_stop(void);

#endif
