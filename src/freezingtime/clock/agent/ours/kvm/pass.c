/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest's counter is the host's and an offset, which is set anew at each pass, so that the
 * guest's goes on where it has left off. What the host does between its readings of the counter
 * and the guest's first and last instruction would count as the guest's; it is known
 * (calibration.c) and taken out.
 */
#define _GNU_SOURCE
#include "ours/kvm/pass.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include "ours/base.h"

static uint64_t read_tsc(void)
{
    unsigned processor;
    return __rdtscp(&processor);
}

/* Not libc's ioctl, which is ours (qemu/kvm/calls.c). */
static long call(int fd, unsigned long request, void *argument)
{
    return syscall(SYS_ioctl, fd, request, argument);
}

static void set_offset(const struct ft_vcpu *vcpu, int64_t offset)
{
    struct kvm_device_attr attribute = {
        .group = KVM_VCPU_TSC_CTRL,
        .attr = KVM_VCPU_TSC_OFFSET,
        .addr = (uintptr_t)&offset,
    };
    if (call(vcpu->fd, KVM_SET_DEVICE_ATTR, &attribute) != 0) {
        ft_die(FT_EXIT_REFUSED, "KVM does not set the offset of the guest's cycle counter: %s",
               strerror(errno));
    }
}

static enum ft_pass_kind kind_of(const struct ft_vcpu *vcpu, long result)
{
    if (result < 0) {
        return FT_PASS_OTHER;
    }
    switch (vcpu->run->exit_reason) {
    case KVM_EXIT_IO:
        return FT_PASS_PORT;
    case KVM_EXIT_MMIO:
        return vcpu->run->mmio.is_write ? FT_PASS_WRITE : FT_PASS_READ;
    case KVM_EXIT_HLT:
        return FT_PASS_HALT;
    default:
        return FT_PASS_OTHER;
    }
}

int64_t ft_pass_offset(const struct ft_pass_cost *cost, uint64_t from_tsc)
{
    return (int64_t)(from_tsc - read_tsc() - cost->in_cycles);
}

uint64_t ft_pass_tsc(int64_t offset)
{
    return read_tsc() + (uint64_t)offset;
}

long ft_pass(struct ft_vcpu *vcpu, const struct ft_pass_cost *cost, int64_t offset,
             uint64_t *to_tsc)
{
    set_offset(vcpu, offset);
    long result = call(vcpu->fd, KVM_RUN, NULL);
    vcpu->left_at = read_tsc();
    *to_tsc = vcpu->left_at + (uint64_t)offset - cost->out_cycles[kind_of(vcpu, result)];
    return result;
}

uint64_t ft_pass_since_left(const struct ft_vcpu *vcpu)
{
    return read_tsc() - vcpu->left_at;
}

long ft_pass_none(struct ft_vcpu *vcpu)
{
    vcpu->run->immediate_exit = 1;
    return call(vcpu->fd, KVM_RUN, NULL);
}
