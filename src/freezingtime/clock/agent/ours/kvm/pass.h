/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One pass through the guest: in, some of its instructions, and out again.
 */
#ifndef FREEZINGTIME_OURS_KVM_PASS_H
#define FREEZINGTIME_OURS_KVM_PASS_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#define FT_VCPUS_MAX 16

/* How a pass ended, as far as it costs differently to leave. */
enum ft_pass_kind {
    FT_PASS_OTHER, /* an interrupt window, the shortest way out; or a signal */
    FT_PASS_PORT,  /* an access to a port */
    FT_PASS_READ,  /* of a device's memory: KVM decodes the instruction */
    FT_PASS_WRITE, /* the same, which takes longer */
    FT_PASS_HALT,
    FT_PASS_KINDS
};

/* Cycles between the host's reading its counter and the guest's instructions. */
struct ft_pass_cost {
    uint32_t in_cycles;
    uint32_t out_cycles[FT_PASS_KINDS]; /* by how the pass ended */
};

struct ft_vcpu {
    int fd;
    struct kvm_run *run;
    uint64_t left_at; /* the host's counter, when it last left the guest */
};

/* The offset with which the counter of a vCPU that is now let in goes on from `from_tsc`. */
int64_t ft_pass_offset(const struct ft_pass_cost *cost, uint64_t from_tsc);

/* What a counter with this offset shows now. */
uint64_t ft_pass_tsc(int64_t offset);

/* Runs a vCPU; returns what KVM_RUN does, with errno. `to_tsc`: where the guest's counter was when
 * it left, by the cost. vCPU's own thread. */
long ft_pass(struct ft_vcpu *vcpu, const struct ft_pass_cost *cost, int64_t offset,
             uint64_t *to_tsc);

/* Cycles of the host's since the vCPU has left. Its own thread. */
uint64_t ft_pass_since_left(const struct ft_vcpu *vcpu);

/* Completes what the guest has accessed, and comes back before it executes anything: returns what
 * KVM_RUN does, with errno. */
long ft_pass_none(struct ft_vcpu *vcpu);

#endif
