/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The accelerator's table of functions (AccelOpsClass) as KVM's is.
 */
#ifndef FREEZINGTIME_QEMU_KVM_TABLE_H
#define FREEZINGTIME_QEMU_KVM_TABLE_H

#include "qemu/exports.h"

struct ft_kvm_table_calls {
    int64_t (*now_ns)(void);          /* any thread, no lock */
    bool (*may_sleep)(CPUState *cpu); /* whether an idle CPU's thread may wait; BQL held */
};

/* Main thread, BQL held, before the machine first runs. */
void ft_kvm_table_hook(const struct ft_kvm_table_calls *calls);

#endif
