/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What QEMU asks of KVM: the C library's ioctl.
 */
#ifndef FREEZINGTIME_QEMU_KVM_CALLS_H
#define FREEZINGTIME_QEMU_KVM_CALLS_H

#include <linux/kvm.h>
#include <stdint.h>

/* `run` is called in place of KVM_RUN, in the vCPU's thread without the BQL, with the index that
 * the CPU has in QEMU, and returns what that does, with errno; `tsc` tells the guest's cycle
 * counter, whoever asks. Before QEMU's main. */
void ft_kvm_calls_hook(long (*run)(int cpu, int fd, struct kvm_run *run), uint64_t (*tsc)(void));

#endif
