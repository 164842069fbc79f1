/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The vCPU's way into the guest and out of it: what happens in between has its exact guest time.
 */
#ifndef FREEZINGTIME_OURS_KVM_ENTRIES_H
#define FREEZINGTIME_OURS_KVM_ENTRIES_H

#include <stdbool.h>

#include "ours/emulator/protocol.h"
#include "ours/kvm/calibration.h"
#include "qemu/exports.h"

/* Main thread, BQL held, once the machine is built. */
void ft_entries_start(const struct ft_calibration *calibration);

/* In place of KVM_RUN of one CPU: returns what it does, with errno. vCPU thread, no lock. */
long ft_entries_run(int cpu, int fd, struct kvm_run *run);

/* Whether an idle CPU's thread may wait. Any thread, BQL held. */
bool ft_entries_may_sleep(CPUState *cpu);

/* Any thread, no lock: whether devices may have left work that must be done before the guest goes
 * on. */
bool ft_entries_has_left(void);

/* BQL held, vCPU not in the guest. */
struct ft_kvm_account ft_entries_account(void);

#endif
