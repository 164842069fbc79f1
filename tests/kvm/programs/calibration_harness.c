/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Passes through the guest of a few instructions, compensated by what its calibration says: in a
 * machine of its own, with as many CPUs. Prints how far the guest's counter, as it reads it at its
 * first instruction, is beyond where it was left; and guest time beyond that, once it has left.
 *
 * calibration_harness CPUS: in the lab.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ours/kvm/calibration.c"

_Noreturn void ft_die(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    _exit(status);
}

struct range {
    int64_t least, most;
};

static void widen(struct range *range, int64_t value)
{
    range->least = value < range->least ? value : range->least;
    range->most = value > range->most ? value : range->most;
}

/* Other instructions than those that the calibration has, and these. */
static const struct exit_code others[] = {
    {FT_PASS_OTHER, KVM_EXIT_IRQ_WINDOW_OPEN, 3, {0xfb, 0x40, 0x40}}, /* sti; inc %eax, twice */
    {FT_PASS_PORT, KVM_EXIT_IO, 3, {0x66, 0xe5, 0x10}},               /* in $0x10, %ax */
    {FT_PASS_WRITE, KVM_EXIT_MMIO, 2, {0x89, 0x03}},                  /* mov %eax, (%ebx) */
    {FT_PASS_READ, KVM_EXIT_MMIO, 2, {0x8a, 0x0b}},                   /* mov (%ebx), %cl */
    {FT_PASS_WRITE, KVM_EXIT_MMIO, 3, {0xc6, 0x03, 0x01}},            /* movb $1, (%ebx) */
};

static void pass(struct tiny *tiny, const struct exit_code *exit, const struct ft_pass_cost *cost,
                 struct range *in, struct range *out)
{
    uint64_t at = 1000000, left, seen;
    load(tiny, exit);
    struct kvm_regs registers = {.rip = CODE, .rflags = 2, .rbx = DEVICE};
    call(tiny->vcpu.fd, KVM_SET_REGS, (uintptr_t)&registers, "set registers");
    for (int i = 0; i < PASSES; i++) {
        ft_pass(&tiny->vcpu, cost, ft_pass_offset(cost, at), &left);
        if (tiny->vcpu.run->exit_reason != exit->reason) {
            ft_die(1, "exit %u, not %u", tiny->vcpu.run->exit_reason, exit->reason);
        }
        memcpy(&seen, tiny->memory + COUNTER, sizeof seen);
        if (i >= WARM_UP) {
            widen(in, (int64_t)(seen - at));
            widen(out, (int64_t)(left - seen));
        }
        at = left > seen ? left : seen;
        go_on(tiny, exit);
    }
}

int main(int count, char **arguments)
{
    int cpus = count > 1 ? atoi(arguments[1]) : 1;
    struct ft_calibration calibration;
    struct tiny tiny = {0};
    struct range in = {INT64_MAX, INT64_MIN}, out = in;
    ft_calibrate(&calibration, cpus);
    make(&tiny, cpus);
    for (int i = 0; i < EXITS; i++) {
        pass(&tiny, &exits[i], &calibration.cost, &in, &out);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        pass(&tiny, &others[i], &calibration.cost, &in, &out);
    }
    unmake(&tiny);
    printf("{\"in\": [%lld, %lld], \"out\": [%lld, %lld], \"costs\": [%u", (long long)in.least,
           (long long)in.most, (long long)out.least, (long long)out.most,
           calibration.cost.in_cycles);
    for (int kind = 0; kind < FT_PASS_KINDS; kind++) {
        printf(", %u", calibration.cost.out_cycles[kind]);
    }
    printf("]}\n");
    return 0;
}
