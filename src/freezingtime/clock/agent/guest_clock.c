/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest time.
 *
 *   now = base + executed instructions since base / rate + idle time skipped since base
 *
 * QEMU's own icount clock ties one instruction to a power of two of nanoseconds, and lets
 * the main thread skip idle time, two thread switches away. The accelerator's table of
 * functions lets us put both in our own hands: the two clock entries give the CPU any
 * rate, and the idle entry, which TCG leaves empty, is asked by the vCPU thread whether
 * an idle CPU may sleep: it answers no, and skips to the next timer at once.
 *
 * QEMU budgets `deadline` ns >> shift instructions ahead, rounded up; the shift is chosen
 * such that the rate is at least one instruction per 2^shift ns. So the last instruction
 * of a budget is at most the first at whose end the deadline is reached.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

#include "agent.h"
#include "qemu.h"

#define NS_PER_S UINT64_C(1000000000)

/* Entries of AccelOpsClass that are looked at; the real table has about 20. */
#define TABLE_ENTRIES 32

/* Written by the vCPU thread (warp) or while it is stopped (the others). */
static int64_t base_ns;
static int64_t base_instructions;
static uint64_t rate = NS_PER_S;
static _Atomic int64_t warped_ns;
static bool machine_has_run;

int64_t ft_clock_warped_ns(void)
{
    return atomic_load_explicit(&warped_ns, memory_order_relaxed);
}

/* Split, so that 64 bits hold every product for rates up to 16 GHz. */
static int64_t instructions_to_ns(uint64_t instructions)
{
    return (int64_t)(instructions / rate * NS_PER_S + instructions % rate * NS_PER_S / rate);
}

int64_t ft_clock_now_ns(void)
{
    if (!machine_has_run) {
        return base_ns; /* devices that are restored from a snapshot must see its time */
    }
    uint64_t executed = (uint64_t)(icount_get_raw() - base_instructions);
    return base_ns + instructions_to_ns(executed) + ft_clock_warped_ns();
}

/* Asked for each CPU in turn until one is not idle; the last CPU's answer decides.
 * vCPU thread (or main thread, which must never skip time itself), BQL held. */
static bool cpu_may_sleep(CPUState *cpu)
{
    if (!qemu_in_vcpu_thread()) {
        return false;
    }
    int index = 0;
    while (qemu_get_cpu(index) != cpu) {
        index++;
    }
    if (qemu_get_cpu(index + 1)) {
        return true;
    }
    ft_cpus_idle();
    int64_t idle_ns = qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL, QEMU_TIMER_INTERNAL);
    if (idle_ns < 0) {
        return true; /* no timer at all: only the outside world can wake this guest */
    }
    atomic_fetch_add_explicit(&warped_ns, idle_ns, memory_order_relaxed);
    ft_cpus_idle_ended();
    return false;
}

static bool is_function(const void *address, const char *name)
{
    Dl_info found;
    return address && dladdr(address, &found) && found.dli_sname &&
           strcmp(found.dli_sname, name) == 0;
}

/* The entries are found by what stands in the table, not by its layout: icount_get stands
 * in it twice in a row (virtual clock, elapsed ticks), and the idle entry, empty under
 * TCG, follows the round robin's kick. */
static void replace_accelerator_functions(void)
{
    void **table = (void **)(uintptr_t)cpus_get_accel();
    void **clock = NULL;
    void **kick = NULL;
    void **idle = NULL;

    for (int i = 0; i + 1 < TABLE_ENTRIES && !clock; i++) {
        if (table[i] == (void *)icount_get && table[i + 1] == (void *)icount_get) {
            clock = &table[i];
        } else if (is_function(table[i], "rr_kick_vcpu_thread")) {
            kick = &table[i];
            idle = &table[i + 1];
        }
    }
    if (!clock || !idle || *idle) {
        ft_die(FT_EXIT_REFUSED,
               "this QEMU's accelerator table is not the known one; QEMU 7.2 is supported");
    }
    clock[0] = (void *)ft_clock_now_ns;
    clock[1] = (void *)ft_clock_now_ns;
    *idle = (void *)cpu_may_sleep;
    ft_cpus_start(kick);
}

/* Main thread, BQL held, before the machine first runs. */
void ft_clock_install(int64_t start_ns, uint64_t rate_hz)
{
    if (use_icount != 1) {
        ft_die(FT_EXIT_REFUSED,
               "QEMU does not count instructions; start it with -icount shift=N,sleep=off");
    }
    base_ns = start_ns;
    rate = rate_hz;
    replace_accelerator_functions();
}

/* Any thread, BQL held, vCPU stopped. A snapshot brings its own instruction count along. */
void ft_clock_machine_runs(void)
{
    if (!machine_has_run) {
        base_instructions = icount_get_raw();
        machine_has_run = true;
    }
}

/* vCPU thread in a hold, BQL held: the new rate counts from this very instruction. */
void ft_clock_set_rate(uint64_t rate_hz)
{
    int64_t now_ns = ft_clock_now_ns();
    base_instructions = icount_get_raw();
    base_ns = now_ns - ft_clock_warped_ns();
    rate = rate_hz;
}
