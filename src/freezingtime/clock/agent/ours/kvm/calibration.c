/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A machine with one page of memory executes: read the counter, write it down, leave. The same
 * passes are made with it as with QEMU's guest, uncompensated; what they show is the cost. The
 * least of many is taken, and a little less than that: compensated by more than it took, the
 * guest's counter would go back.
 */
#define _GNU_SOURCE
#include "ours/kvm/calibration.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ours/base.h"

#define PASSES 300
#define WARM_UP 20
#define MARGIN 64 /* this part of the cost is left in */

enum { CODE = 0x1000, COUNTER = 0x1800, MEMORY_BYTES = 0x2000, DEVICE = 0xd0000 };

/* Real mode, 16 bits; es is where no memory is. */
static const unsigned char read_counter[] = {
    0x0f, 0x31,                   /* rdtsc */
    0x66, 0xa3, 0x00, 0x18,       /* mov %eax, COUNTER */
    0x66, 0x89, 0x16, 0x04, 0x18, /* mov %edx, COUNTER + 4 */
};
static const struct exit_code {
    unsigned char bytes[4];
    size_t count;
    uint32_t reason;
} exits[FT_PASS_KINDS] = {
    [FT_PASS_OTHER] = {{0xe6, 0x10}, 2, KVM_EXIT_IO},                /* out %al, $0x10 */
    [FT_PASS_MEMORY] = {{0x26, 0xa2, 0x00, 0x00}, 4, KVM_EXIT_MMIO}, /* mov %al, %es:0 */
    [FT_PASS_HALT] = {{0xf4}, 1, KVM_EXIT_HLT},                      /* hlt */
};

struct tiny {
    int kvm_fd, vm_fd;
    size_t run_bytes;
    unsigned char *memory;
    struct ft_vcpu vcpu;
};

static long call(int fd, unsigned long request, uintptr_t argument, const char *what)
{
    long result = syscall(SYS_ioctl, fd, request, argument);
    if (result < 0) {
        ft_die(FT_EXIT_REFUSED, "KVM does not %s: %s", what, strerror(errno));
    }
    return result;
}

static void *map(size_t bytes, int flags, int fd)
{
    void *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (mapped == MAP_FAILED) {
        ft_die(FT_EXIT_REFUSED, "cannot map %zu bytes of a machine of KVM's: %s", bytes,
               strerror(errno));
    }
    return mapped;
}

static void make(struct tiny *tiny)
{
    tiny->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (tiny->kvm_fd < 0) {
        ft_die(FT_EXIT_REFUSED, "cannot open /dev/kvm: %s", strerror(errno));
    }
    tiny->vm_fd = (int)call(tiny->kvm_fd, KVM_CREATE_VM, 0, "make a machine");
    tiny->memory = map(MEMORY_BYTES, MAP_SHARED | MAP_ANONYMOUS, -1);
    struct kvm_userspace_memory_region region = {
        .memory_size = MEMORY_BYTES,
        .userspace_addr = (uintptr_t)tiny->memory,
    };
    call(tiny->vm_fd, KVM_SET_TSS_ADDR, 0xfffbd000, "place its own pages");
    call(tiny->vm_fd, KVM_SET_USER_MEMORY_REGION, (uintptr_t)&region, "give it memory");
    tiny->vcpu.fd = (int)call(tiny->vm_fd, KVM_CREATE_VCPU, 0, "make a CPU");
    tiny->run_bytes = (size_t)call(tiny->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0, "tell a size");
    tiny->vcpu.run = map(tiny->run_bytes, MAP_SHARED, tiny->vcpu.fd);
}

static void unmake(struct tiny *tiny)
{
    munmap(tiny->vcpu.run, tiny->run_bytes);
    close(tiny->vcpu.fd);
    close(tiny->vm_fd);
    close(tiny->kvm_fd);
    munmap(tiny->memory, MEMORY_BYTES);
}

/* Has it execute the loop that leaves in one way. */
static void load(struct tiny *tiny, const struct exit_code *exit)
{
    unsigned char *code = tiny->memory + CODE;
    memcpy(code, read_counter, sizeof read_counter);
    memcpy(code + sizeof read_counter, exit->bytes, exit->count);
    size_t end = sizeof read_counter + exit->count;
    code[end] = 0xeb; /* jmp to the start */
    code[end + 1] = (unsigned char)-(end + 2);
    struct kvm_sregs segments;
    call(tiny->vcpu.fd, KVM_GET_SREGS, (uintptr_t)&segments, "tell registers");
    segments.cs.base = segments.cs.selector = 0;
    segments.es.base = DEVICE;
    segments.es.selector = DEVICE >> 4;
    call(tiny->vcpu.fd, KVM_SET_SREGS, (uintptr_t)&segments, "set registers");
    struct kvm_regs registers = {.rip = CODE, .rflags = 2};
    call(tiny->vcpu.fd, KVM_SET_REGS, (uintptr_t)&registers, "set registers");
}

static uint32_t least(uint32_t value, int64_t other)
{
    return other < 0 ? 0 : other < value ? (uint32_t)other : value;
}

static void measure(struct tiny *tiny, enum ft_pass_kind kind, struct ft_pass_cost *cost)
{
    static const struct ft_pass_cost none;
    const struct exit_code *exit = &exits[kind];
    uint32_t out = UINT32_MAX;
    uint64_t at = 1;
    load(tiny, exit);
    for (int pass = 0; pass < PASSES; pass++) {
        uint64_t left, seen;
        if (ft_pass(&tiny->vcpu, &none, ft_pass_offset(&none, at), &left) != 0 ||
            tiny->vcpu.run->exit_reason != exit->reason) {
            ft_die(FT_EXIT_REFUSED, "KVM does not execute a guest of a few instructions (exit %u)",
                   tiny->vcpu.run->exit_reason);
        }
        memcpy(&seen, tiny->memory + COUNTER, sizeof seen);
        if (seen < at || seen > left) {
            ft_die(
                FT_EXIT_REFUSED,
                "KVM's offset of the guest's cycle counter has no effect: it read %llu, not %llu "
                "to %llu",
                (unsigned long long)seen, (unsigned long long)at, (unsigned long long)left);
        }
        if (pass >= WARM_UP) {
            cost->in_cycles = least(cost->in_cycles, (int64_t)(seen - at));
            out = least(out, (int64_t)(left - seen));
        }
        at = left;
        if (kind != FT_PASS_HALT) {
            ft_pass_none(&tiny->vcpu); /* as it is done with QEMU's, which completes the access */
            tiny->vcpu.run->immediate_exit = 0;
        }
    }
    cost->out_cycles[kind] = out - out / MARGIN;
}

void ft_calibrate(struct ft_calibration *calibration)
{
    struct tiny tiny = {0};
    make(&tiny);
    calibration->tsc_khz =
        (uint32_t)call(tiny.vcpu.fd, KVM_GET_TSC_KHZ, 0, "tell the frequency of the counter");
    calibration->cost.in_cycles = UINT32_MAX;
    for (enum ft_pass_kind kind = 0; kind < FT_PASS_KINDS; kind++) {
        measure(&tiny, kind, &calibration->cost);
    }
    calibration->cost.in_cycles -= calibration->cost.in_cycles / MARGIN;
    unmake(&tiny);
}
