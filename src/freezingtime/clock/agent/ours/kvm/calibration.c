/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A machine with one page of memory executes: read the counter, write it down, leave. The same
 * passes are made with it as with QEMU's guest, uncompensated; what they show is the cost. The
 * least of many is taken, and a little less than that: compensated by more than it took, the
 * guest's counter would go back.
 *
 * It has as many CPUs as QEMU's guest, of which one executes. KVM compares the offsets of a
 * machine's counters, and where all are the same it renews its own clock for the guest at the next
 * entry. With one CPU they always are, with several hardly ever: the way in is a third shorter.
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

/* 32 bits, no paging, the shortest forms: these KVM decodes the fastest. No memory is at DEVICE. */
static const unsigned char read_counter[] = {
    0x0f, 0x31,                         /* rdtsc */
    0xa3, 0x00, 0x18, 0x00, 0x00,       /* mov %eax, COUNTER */
    0x89, 0x15, 0x04, 0x18, 0x00, 0x00, /* mov %edx, COUNTER + 4 */
};
static const struct exit_code {
    enum ft_pass_kind kind;
    uint32_t reason;
    size_t count;
    unsigned char bytes[5];
} exits[] = {
    {FT_PASS_OTHER, KVM_EXIT_IRQ_WINDOW_OPEN, 3, {0xfb, 0x90, 0x90}},  /* sti; nop; nop */
    {FT_PASS_PORT, KVM_EXIT_IO, 2, {0xe4, 0x10}},                      /* in $0x10, %al */
    {FT_PASS_PORT, KVM_EXIT_IO, 2, {0xe6, 0x10}},                      /* out %al, $0x10 */
    {FT_PASS_READ, KVM_EXIT_MMIO, 5, {0xa1, 0x00, 0x00, 0x0d, 0x00}},  /* mov DEVICE, %eax */
    {FT_PASS_READ, KVM_EXIT_MMIO, 5, {0xa0, 0x00, 0x00, 0x0d, 0x00}},  /* mov DEVICE, %al */
    {FT_PASS_WRITE, KVM_EXIT_MMIO, 5, {0xa3, 0x00, 0x00, 0x0d, 0x00}}, /* mov %eax, DEVICE */
    {FT_PASS_WRITE, KVM_EXIT_MMIO, 5, {0xa2, 0x00, 0x00, 0x0d, 0x00}}, /* mov %al, DEVICE */
    {FT_PASS_HALT, KVM_EXIT_HLT, 1, {0xf4}},                           /* hlt */
};
enum { EXITS = sizeof exits / sizeof exits[0] };

struct tiny {
    int kvm_fd, vm_fd;
    size_t run_bytes;
    unsigned char *memory;
    struct ft_vcpu vcpu;
    int other_fds[FT_VCPUS_MAX]; /* of CPUs that execute nothing */
    int other_count;
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

static void make(struct tiny *tiny, int cpu_count)
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
    for (int cpu = 1; cpu < cpu_count; cpu++) {
        tiny->other_fds[tiny->other_count++] =
            (int)call(tiny->vm_fd, KVM_CREATE_VCPU, (uintptr_t)cpu, "make another CPU");
    }
}

static void unmake(struct tiny *tiny)
{
    munmap(tiny->vcpu.run, tiny->run_bytes);
    while (tiny->other_count > 0) {
        close(tiny->other_fds[--tiny->other_count]);
    }
    close(tiny->vcpu.fd);
    close(tiny->vm_fd);
    close(tiny->kvm_fd);
    munmap(tiny->memory, MEMORY_BYTES);
}

static void set_segments(const struct tiny *tiny)
{
    struct kvm_sregs registers;
    call(tiny->vcpu.fd, KVM_GET_SREGS, (uintptr_t)&registers, "tell registers");
    struct kvm_segment all = {.limit = UINT32_MAX, .present = 1, .db = 1, .s = 1, .g = 1};
    all.type = 3; /* data, to be written */
    all.selector = 16;
    registers.ds = registers.es = registers.ss = all;
    all.type = 11; /* code, to be read */
    all.selector = 8;
    registers.cs = all;
    registers.cr0 |= 1; /* protected mode */
    call(tiny->vcpu.fd, KVM_SET_SREGS, (uintptr_t)&registers, "set registers");
}

/* Interrupts off. */
static void restart(const struct tiny *tiny)
{
    struct kvm_regs registers = {.rip = CODE, .rflags = 2};
    call(tiny->vcpu.fd, KVM_SET_REGS, (uintptr_t)&registers, "set registers");
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
    tiny->vcpu.run->request_interrupt_window = exit->reason == KVM_EXIT_IRQ_WINDOW_OPEN;
    set_segments(tiny);
    restart(tiny);
}

/* Between two passes. */
static void go_on(struct tiny *tiny, const struct exit_code *exit)
{
    if (exit->reason == KVM_EXIT_IRQ_WINDOW_OPEN) {
        restart(tiny); /* it has come to where interrupts are on */
    } else if (exit->reason != KVM_EXIT_HLT) {
        ft_pass_none(&tiny->vcpu); /* as it is done with QEMU's, which completes the access */
        tiny->vcpu.run->immediate_exit = 0;
    }
}

static uint32_t least(uint32_t value, int64_t other)
{
    return other < 0 ? 0 : other < value ? (uint32_t)other : value;
}

static void measure(struct tiny *tiny, const struct exit_code *exit, struct ft_pass_cost *cost)
{
    static const struct ft_pass_cost none;
    uint32_t *out = &cost->out_cycles[exit->kind];
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
            *out = least(*out, (int64_t)(left - seen));
        }
        at = left;
        go_on(tiny, exit);
    }
}

static void leave_some_in(struct ft_pass_cost *cost)
{
    cost->in_cycles -= cost->in_cycles / MARGIN;
    for (int kind = 0; kind < FT_PASS_KINDS; kind++) {
        cost->out_cycles[kind] -= cost->out_cycles[kind] / MARGIN;
    }
}

void ft_calibrate(struct ft_calibration *calibration, int cpu_count)
{
    struct tiny tiny = {0};
    make(&tiny, cpu_count);
    calibration->tsc_khz =
        (uint32_t)call(tiny.vcpu.fd, KVM_GET_TSC_KHZ, 0, "tell the frequency of the counter");
    memset(&calibration->cost, 0xff, sizeof calibration->cost);
    for (int i = 0; i < EXITS; i++) {
        measure(&tiny, &exits[i], &calibration->cost);
    }
    leave_some_in(&calibration->cost);
    unmake(&tiny);
}
