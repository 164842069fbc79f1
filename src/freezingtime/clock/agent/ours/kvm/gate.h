/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Who may be in the guest, and what its counter is meanwhile: several vCPUs at once, or one that
 * works outside while none is.
 *
 * A vCPU that accesses a device becomes the owner: the others leave the guest, and stay out of it
 * until the owner goes back. So whatever a device does, or a timer, is done while guest time
 * stands.
 */
#ifndef FREEZINGTIME_OURS_KVM_GATE_H
#define FREEZINGTIME_OURS_KVM_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "ours/kvm/pass.h"
#include "ours/kvm/stretch.h"

/* Before QEMU's vCPU threads run. */
void ft_gate_start(void);

/* vCPU thread, at its first pass. `kick` is the signal that has KVM leave the guest. */
void ft_gate_adopt(int cpu, const struct kvm_run *run, int kick);

/* vCPU's own thread, no lock. Lets it in: it may be about to execute from here on, until it leaves.
 * An owner gives that up. False: interrupted by QEMU, and not let in. */
bool ft_gate_enter(int cpu);

/* vCPU's own thread, no lock, between entering and leaving: guest time goes on from here. Returns
 * the counter's offset, and where the counter is. */
int64_t ft_gate_begin_pass(int cpu, const struct ft_pass_cost *cost, uint64_t *from_tsc);

/* A pass as its vCPU has seen it. */
struct ft_gate_pass {
    uint64_t from_tsc, to_tsc; /* where its counter was when it began, and when it left */
    uint64_t off_cycles;       /* for which it had no CPU of the host's, at most */
    uint64_t unseen_cycles;    /* of these, the last before it left: the guest has not seen them */
};

/* vCPU's own thread, no lock, after a pass. Returns what the host's taking CPUs has done to the
 * stretch of guest time that ends here, if one does. */
struct ft_stretch_lost ft_gate_leave(int cpu, const struct ft_gate_pass *pass);

/* vCPU's own thread, no lock, having entered: it will not execute. */
void ft_gate_turn_back(int cpu);

/* vCPU's own thread, no lock, having left: once it returns it is the owner, and no vCPU is in the
 * guest. */
void ft_gate_own(int cpu);

/* vCPU's own thread. */
bool ft_gate_is_owner(int cpu);

/* Any thread: whether there is one, for whom the others have to leave. */
bool ft_gate_has_owner(void);

/* vCPU's own thread: it goes to sleep. */
void ft_gate_give_up(int cpu);

/* Any thread, no lock: how far the counter of those in the guest is beyond guest time as others see
 * it. */
int64_t ft_gate_ahead_cycles(void);

/* Whether others than this one have been waiting for so long that a pass must be short: the others
 * wait for it. */
bool ft_gate_is_overdue(int cpu);

/* BQL held: nobody gets in until the machine runs again. */
void ft_gate_stop(void);
void ft_gate_machine_runs(void);

#endif
