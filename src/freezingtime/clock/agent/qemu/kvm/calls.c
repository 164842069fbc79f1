/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU reads the guest's cycle counter when it stops or saves a machine, and KVM would tell it one
 * that has gone on since the guest left. What QEMU writes there has no effect: each pass sets it.
 */
#define _GNU_SOURCE
#include "qemu/kvm/calls.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ours/base.h"
#include "qemu/hooks.h"

#define CPUS_MAX 16
#define MSR_TSC 0x10

static long (*ours)(int cpu, int fd,
                    struct kvm_run *run); /* NULL: this process is not ours to watch */
static uint64_t (*guest_tsc)(void);

/* Made while the machine is built, in one thread after the other. */
static struct {
    int fd;
    struct kvm_run *run;
} vcpus[CPUS_MAX];
static size_t vcpu_count;

void ft_kvm_calls_hook(long (*run)(int cpu, int fd, struct kvm_run *run), uint64_t (*tsc)(void))
{
    guest_tsc = tsc;
    ours = run;
    ft_hook_found(FT_HOOK_KVM_RUN, "by name");
}

static void note_vcpu(int fd)
{
    void *run = mmap(NULL, sizeof(struct kvm_run), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (vcpu_count == CPUS_MAX || run == MAP_FAILED) {
        ft_die(FT_EXIT_REFUSED, "cannot see into a CPU of KVM's");
    }
    vcpus[vcpu_count].fd = fd;
    vcpus[vcpu_count].run = run;
    vcpu_count++;
}

static long run_vcpu(int fd)
{
    ft_hook_called(FT_HOOK_KVM_RUN);
    for (size_t i = 0; i < vcpu_count; i++) {
        if (vcpus[i].fd == fd) {
            return ours((int)i, fd, vcpus[i].run);
        }
    }
    ft_die(FT_EXIT_REFUSED, "a CPU of KVM's runs that the agent has not seen made");
}

static void correct_tsc(struct kvm_msrs *msrs, long count)
{
    for (long i = 0; i < count; i++) {
        if (msrs->entries[i].index == MSR_TSC) {
            msrs->entries[i].data = guest_tsc();
        }
    }
}

FT_EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (ours && request == KVM_RUN) {
        return (int)run_vcpu(fd);
    }
    long result = syscall(SYS_ioctl, fd, request, argument);
    if (ours && result >= 0) {
        if (request == KVM_CREATE_VCPU) {
            note_vcpu((int)result);
        } else if (request == KVM_GET_MSRS) {
            correct_tsc(argument, result);
        }
    }
    return (int)result;
}
