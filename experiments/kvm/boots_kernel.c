/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A kernel that starts all CPUs, has each write eight blocks at once, read and compare them, wakes
 * every CPU with an interrupt, says so on the serial port, and resets the machine. It is booted by
 * QEMU's firmware (multiboot), and CPUS is how many there are. Whenever a CPU looks at the disk, it
 * compares its cycle counter with the last that any has read.
 *
 * While they are written, every CPU sleeps between looks at the disk; while they are read, the odd
 * ones compute. The disk is the first virtio-blk, in its legacy layout.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PER_CPU = 8,
    SLOTS = CPUS * PER_CPU,
    BYTES = 4096,
    SECTORS = BYTES / 512,
    STACK_BYTES = 4096,
    TRAMPOLINE = 0x8000, /* as the SIPI names it: its page's number */
    TIMER_VECTOR = 0x40,
    WAKE_VECTOR = 0x41,
    SPURIOUS_VECTOR = 0xff,
    LOOK_NS = 50000, /* a CPU sleeps for so long between looks */
    LOCK_SPINS = 1000,
    LOCK_SLEEP_NS = 20000,
};

/* Local APIC, by offset. Its timer counts nanoseconds in QEMU. */
enum {
    APIC_EOI = 0xb0,
    APIC_SPURIOUS = 0xf0,
    APIC_ICR = 0x300,
    APIC_TIMER = 0x320,
    APIC_TIMER_COUNT = 0x380,
    APIC_TIMER_DIVIDE = 0x3e0,
    TO_ALL_OTHERS = 0xc4000,
    INIT = 0x500,
    STARTUP = 0x600,
};

/* Legacy virtio, by offset from the port. */
enum {
    VIRTIO_GUEST_FEATURES = 4,
    VIRTIO_QUEUE_PAGE = 8,
    VIRTIO_QUEUE_SIZE = 12,
    VIRTIO_QUEUE_SELECT = 14,
    VIRTIO_QUEUE_NOTIFY = 16,
    VIRTIO_STATUS = 18,
    DRIVER_OK = 7, /* and acknowledged, and a driver */
    DESCRIPTOR_NEXT = 1,
    DESCRIPTOR_WRITE = 2,
    QUEUE_MAX = 1024,
    READ = 0,
    WRITE = 1,
};

__asm__(".section .multiboot, \"a\"\n"
        ".long 0x1badb002, 0, -0x1badb002\n"
        ".text\n"
        ".global start\n"
        "start:\n"
        "    cli\n"
        "    lgdt gdt_pointer\n"
        "    ljmp $8, $1f\n"
        "1:  xorl %eax, %eax\n"
        "    jmp run\n"
        "started:\n" /* another CPU */
        "    movl $16, %ecx\n"
        "    movl %ecx, %ds\n"
        "    movl $1, %eax\n"
        "    lock xaddl %eax, cpu_count\n"
        "run:\n"
        "    movl $16, %ecx\n"
        "    movl %ecx, %ds\n"
        "    movl %ecx, %es\n"
        "    movl %ecx, %ss\n"
        "    movl %eax, %ecx\n"
        "    incl %ecx\n"
        "    shll $12, %ecx\n"
        "    leal stacks(%ecx), %esp\n"
        "    pushl %eax\n"
        "    call run_cpu\n"
        "2:  cli\n"
        "    hlt\n"
        "    jmp 2b\n"
        ".code16\n"
        ".global trampoline, trampoline_end\n"
        "trampoline:\n"
        "    cli\n"
        "    xorw %ax, %ax\n"
        "    movw %ax, %ds\n"
        "    lgdtl 0x8000 + (low_pointer - trampoline)\n"
        "    movl %cr0, %eax\n"
        "    orb $1, %al\n"
        "    movl %eax, %cr0\n"
        "    ljmpl $8, $started\n"
        "low_pointer: .word 23\n"
        "    .long gdt\n"
        "trampoline_end:\n"
        ".code32\n"
        ".balign 8\n"
        "gdt: .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff\n"
        "gdt_pointer: .word 23\n"
        "    .long gdt\n"
        "on_timer:\n"
        "    movl $0, 0xfee000b0\n"
        "    iret\n"
        "on_wake:\n"
        "    lock incl woken_count\n"
        "    movl $0, 0xfee000b0\n"
        "    iret\n"
        "on_fault:\n"
        "    cli\n"
        "    call say_fault\n"
        "3:  hlt\n"
        "    jmp 3b\n");

extern const uint8_t trampoline[], trampoline_end[];
extern const uint8_t on_timer[], on_wake[], on_fault[];

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

struct used {
    uint32_t id, length;
};

struct header {
    uint32_t type, reserved;
    uint64_t sector;
};

uint8_t stacks[CPUS][STACK_BYTES] __attribute__((aligned(16)));
volatile uint32_t cpu_count = 1, woken_count;
static volatile uint32_t finished_count, wrong_count, behind_cycles;
static struct {
    uint16_t low, selector, type, high;
} gates[256] __attribute__((aligned(8)));

static uint8_t queue[3 * BYTES + QUEUE_MAX * 32] __attribute__((aligned(BYTES)));
static struct descriptor *descriptors;
static volatile uint16_t *available, *used_index;
static volatile struct used *used;
static uint16_t queue_size, used_seen, disk_port;
static volatile uint32_t disk_lock;
static volatile bool done[SLOTS];
static struct header headers[SLOTS];
static volatile uint8_t statuses[SLOTS];
static uint8_t data[SLOTS][BYTES] __attribute__((aligned(BYTES)));

static void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static void out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static uint16_t in16(uint16_t port)
{
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static uint32_t in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static volatile uint32_t *apic(uint32_t offset)
{
    return (volatile uint32_t *)(0xfee00000u + offset);
}

static void say(const char *text)
{
    while (*text) {
        out8(0x3f8, (uint8_t)*text++);
    }
}

static void say_number(uint32_t number)
{
    char digits[11];
    char *digit = &digits[10];
    *digit = 0;
    do {
        *--digit = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    say(digit);
}

void say_fault(void)
{
    say("a CPU has met a fault\n");
}

static void fail(const char *what)
{
    say(what);
    say("\n");
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

/* Until an interrupt, whichever comes first. */
static void sleep(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

static void sleep_ns(uint32_t span_ns)
{
    *apic(APIC_TIMER_COUNT) = span_ns;
    sleep();
}

static void set_gate(int vector, const uint8_t *handler)
{
    uint32_t address = (uint32_t)handler;
    gates[vector].low = (uint16_t)address;
    gates[vector].selector = 8;
    gates[vector].type = 0x8e00;
    gates[vector].high = (uint16_t)(address >> 16);
}

static void make_gates(void)
{
    for (int vector = 0; vector < 256; vector++) {
        set_gate(vector, on_fault);
    }
    set_gate(TIMER_VECTOR, on_timer);
    set_gate(WAKE_VECTOR, on_wake);
    set_gate(SPURIOUS_VECTOR, on_timer);
}

static void take_interrupts(void)
{
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) pointer = {sizeof gates - 1, (uint32_t)gates};
    __asm__ volatile("lidt %0" : : "m"(pointer));
    *apic(APIC_SPURIOUS) = 0x100 | SPURIOUS_VECTOR;
    *apic(APIC_TIMER_DIVIDE) = 0xb; /* by 1 */
    *apic(APIC_TIMER) = TIMER_VECTOR;
}

static uint32_t pci_read(uint32_t device, uint32_t offset)
{
    out32(0xcf8, 0x80000000u | device << 11 | offset);
    return in32(0xcfc);
}

static void find_disk(void)
{
    for (uint32_t device = 0; device < 32; device++) {
        if (pci_read(device, 0) == 0x10011af4) {
            disk_port = (uint16_t)(pci_read(device, 0x10) & ~3u);
            out32(0xcf8, 0x80000000u | device << 11 | 4);
            out16(0xcfc, 7); /* its ports, its memory, and its own accesses to ours */
            return;
        }
    }
    fail("there is no disk");
}

static void start_disk(void)
{
    find_disk();
    out8(disk_port + VIRTIO_STATUS, 0);
    out8(disk_port + VIRTIO_STATUS, 3);
    out32(disk_port + VIRTIO_GUEST_FEATURES, 0);
    out16(disk_port + VIRTIO_QUEUE_SELECT, 0);
    queue_size = in16(disk_port + VIRTIO_QUEUE_SIZE);
    if (queue_size < 3 * SLOTS || queue_size > QUEUE_MAX) {
        fail("the disk's queue has another size");
    }
    uint32_t behind = 16u * queue_size + 2u * (3u + queue_size);
    descriptors = (struct descriptor *)queue;
    available = (uint16_t *)(queue + 16u * queue_size);
    used_index = (uint16_t *)(queue + ((behind + BYTES - 1) & ~(BYTES - 1u)) + 2);
    used = (struct used *)(used_index + 1);
    out32(disk_port + VIRTIO_QUEUE_PAGE, (uint32_t)queue / BYTES);
    out8(disk_port + VIRTIO_STATUS, DRIVER_OK);
}

/* Spins, then sleeps, as a paravirtual kernel's locks do: whoever holds it may wait for the only
 * CPU of the host's that the spinning one has. */
static void take_disk(void)
{
    for (uint32_t spins = 0; __atomic_exchange_n(&disk_lock, 1, __ATOMIC_ACQUIRE); spins++) {
        if (spins < LOCK_SPINS) {
            __asm__ volatile("pause");
        } else {
            sleep_ns(LOCK_SLEEP_NS);
        }
    }
}

static void give_disk(void)
{
    __atomic_store_n(&disk_lock, 0, __ATOMIC_RELEASE);
}

static void submit(uint32_t slot, uint32_t type)
{
    struct descriptor *first = &descriptors[3 * slot];
    uint16_t index = (uint16_t)(3 * slot);
    headers[slot] = (struct header){.type = type, .sector = (uint64_t)slot * SECTORS};
    statuses[slot] = 0xff;
    done[slot] = false;
    first[0] = (struct descriptor){(uint32_t)&headers[slot], sizeof headers[slot], DESCRIPTOR_NEXT,
                                   (uint16_t)(index + 1)};
    uint16_t way = type == READ ? DESCRIPTOR_NEXT | DESCRIPTOR_WRITE : DESCRIPTOR_NEXT;
    first[1] = (struct descriptor){(uint32_t)data[slot], BYTES, way, (uint16_t)(index + 2)};
    first[2] = (struct descriptor){(uint32_t)&statuses[slot], 1, DESCRIPTOR_WRITE, 0};
    available[2 + available[1] % queue_size] = index;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    available[1]++;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* How far a counter is behind what another has shown. With the lock. */
static void look_at_counter(void)
{
    static uint64_t last;
    uint64_t counter;
    __asm__ volatile("lfence; rdtsc; lfence" : "=A"(counter) : : "memory");
    if (counter < last && last - counter > behind_cycles) {
        behind_cycles = (uint32_t)(last - counter);
    }
    last = counter;
}

static void look_at_disk(void)
{
    take_disk();
    look_at_counter();
    while (used_seen != *used_index) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        done[used[used_seen % queue_size].id / 3] = true;
        used_seen++;
    }
    give_disk();
}

static bool all_done(uint32_t cpu)
{
    for (uint32_t slot = cpu * PER_CPU; slot < (cpu + 1) * PER_CPU; slot++) {
        if (!done[slot]) {
            return false;
        }
    }
    return true;
}

/* All of a CPU's slots at once. */
static void transfer(uint32_t cpu, uint32_t type, bool computes)
{
    for (uint32_t slot = cpu * PER_CPU; slot < (cpu + 1) * PER_CPU; slot++) {
        take_disk();
        submit(slot, type);
        give_disk();
        out16(disk_port + VIRTIO_QUEUE_NOTIFY, 0);
    }
    while (look_at_disk(), !all_done(cpu)) {
        if (computes) {
            __asm__ volatile("pause");
        } else {
            sleep_ns(LOOK_NS);
        }
    }
}

static void work(uint32_t cpu)
{
    uint32_t first = cpu * PER_CPU;
    for (uint32_t slot = first; slot < first + PER_CPU; slot++) {
        for (uint32_t byte = 0; byte < BYTES; byte++) {
            data[slot][byte] = (uint8_t)(slot + 1);
        }
    }
    transfer(cpu, WRITE, false);
    for (uint32_t slot = first; slot < first + PER_CPU; slot++) {
        for (uint32_t byte = 0; byte < BYTES; byte++) {
            data[slot][byte] = 0;
        }
    }
    transfer(cpu, READ, cpu % 2 == 1);
    for (uint32_t slot = first; slot < first + PER_CPU; slot++) {
        bool is_wrong = statuses[slot] != 0;
        for (uint32_t byte = 0; byte < BYTES; byte++) {
            is_wrong |= data[slot][byte] != (uint8_t)(slot + 1);
        }
        __atomic_fetch_add(&wrong_count, is_wrong, __ATOMIC_SEQ_CST);
    }
    __atomic_fetch_add(&finished_count, 1, __ATOMIC_SEQ_CST);
}

static void await(const volatile uint32_t *count, uint32_t wanted)
{
    while (*count != wanted) {
        sleep_ns(LOOK_NS);
    }
}

static void start_others(void)
{
    for (const uint8_t *byte = trampoline; byte < trampoline_end; byte++) {
        ((volatile uint8_t *)TRAMPOLINE)[byte - trampoline] = *byte;
    }
    *apic(APIC_ICR) = TO_ALL_OTHERS | INIT;
    sleep_ns(10000000);
    for (int twice = 0; twice < 2; twice++) {
        *apic(APIC_ICR) = TO_ALL_OTHERS | STARTUP | TRAMPOLINE / BYTES;
        sleep_ns(200000);
    }
    await(&cpu_count, CPUS);
}

static void end(void)
{
    await(&finished_count, CPUS);
    *apic(APIC_ICR) = TO_ALL_OTHERS | WAKE_VECTOR;
    await(&woken_count, CPUS - 1);
    say_number(cpu_count);
    say(" CPUs, ");
    say_number(SLOTS);
    say(" blocks, ");
    say_number(wrong_count);
    say(" wrong, ");
    say_number(behind_cycles);
    say(" cycles behind\n");
    out8(0xcf9, 2);
    out8(0xcf9, 6);
    for (;;) { /* idle, time would be skipped until QEMU's main loop comes to reset the machine */
        __asm__ volatile("pause");
    }
}

void run_cpu(uint32_t cpu)
{
    if (cpu == 0) {
        out8(0x21, 0xff); /* no interrupt but the APIC's */
        out8(0xa1, 0xff);
        make_gates();
        take_interrupts();
        start_disk();
        start_others();
    } else {
        take_interrupts();
    }
    work(cpu);
    if (cpu == 0) {
        end();
    }
    for (;;) {
        sleep();
    }
}
