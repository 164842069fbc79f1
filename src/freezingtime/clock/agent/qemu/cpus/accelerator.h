/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The accelerator's table of functions (AccelOpsClass): guest time, idle CPUs, kicks.
 */
#ifndef FREEZINGTIME_QEMU_CPUS_ACCELERATOR_H
#define FREEZINGTIME_QEMU_CPUS_ACCELERATOR_H

#include "qemu/exports.h"

struct ft_accelerator_calls {
    int64_t (*now_ns)(void); /* any thread, no lock */
    int64_t (*cycles)(void); /* the guest's cycle counter; any thread, no lock */

    /* Whether an idle CPU's thread may wait. Asked for each CPU in turn until one is not idle; the
     * last one's answer decides. vCPU thread or main thread, BQL held. */
    bool (*may_sleep)(CPUState *cpu);

    void (*interrupts)(void); /* a CPU is interrupted; any thread, BQL held */

    bool (*may_kick)(void); /* whether this thread may interrupt a CPU; any thread */
};

/* Main thread, BQL held, before the machine first runs. Returns an address in the file that has
 * the round robin. */
const void *ft_accelerator_hook(const struct ft_accelerator_calls *calls);

#endif
