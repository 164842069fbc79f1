/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest time.
 *
 *   now = base + executed instructions since base / CPUs at once / rate
 *       + idle time skipped since base
 *
 * QEMU's own icount clock ties one instruction to a power of two of nanoseconds, and lets
 * the main thread skip idle time, two thread switches away. The accelerator's table of
 * functions lets us put both in our own hands: the two clock entries give the CPU any
 * rate, and the idle entry, which TCG leaves empty, is asked by the vCPU thread whether
 * an idle CPU may sleep: it answers no, and skips to the next timer at once.
 *
 * QEMU budgets instructions up to the next deadline. Its own rounding knows only powers of two,
 * so ours takes its place (icount_round in cpus.c).
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
static uint64_t at_once = 1;
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

/* CPUs that execute at once do so in turn: each of them has had its share of this. */
static uint64_t executed_by_each(void)
{
    return (uint64_t)(icount_get_raw() - base_instructions) / at_once;
}

int64_t ft_clock_now_ns(void)
{
    if (!machine_has_run) {
        return base_ns; /* devices that are restored from a snapshot must see its time */
    }
    return base_ns + instructions_to_ns(executed_by_each()) + ft_clock_warped_ns();
}

/* How many instructions one CPU executes in this time, rounded up. Any thread, no lock. */
int64_t ft_clock_instructions(int64_t duration_ns)
{
    uint64_t seconds = (uint64_t)duration_ns / NS_PER_S;
    uint64_t rest_ns = (uint64_t)duration_ns % NS_PER_S;
    return (int64_t)(seconds * rate + (rest_ns * rate + NS_PER_S - 1) / NS_PER_S);
}

/* The least number of instructions after which the clock has gone on by this much.
 * vCPU thread. */
int64_t ft_clock_budget(int64_t duration_ns)
{
    int64_t executed = icount_get_raw() - base_instructions;
    int64_t end_ns = instructions_to_ns(executed_by_each()) + duration_ns;
    int64_t budget = ft_clock_instructions(end_ns) * (int64_t)at_once - executed;
    return budget > 0 ? budget : 0;
}

/* Asked for each CPU in turn until one is not idle; the last CPU's answer decides.
 * vCPU thread (or main thread, which must never skip time itself), BQL held. */
static bool cpu_may_sleep(CPUState *cpu)
{
    if (!qemu_in_vcpu_thread()) {
        return false;
    }
    if (ft_cpus_choosing()) {
        return true;
    }
    int index = 0;
    while (qemu_get_cpu(index) != cpu) {
        index++;
    }
    if (qemu_get_cpu(index + 1)) {
        return true;
    }
    int64_t idle_ns = qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL, QEMU_TIMER_INTERNAL);
    if (idle_ns < 0) {
        return true; /* no timer at all: only the outside world can wake this guest */
    }
    atomic_fetch_add_explicit(&warped_ns, idle_ns, memory_order_relaxed);
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

/* vCPU thread, BQL held: what counts from this very instruction on is to be set. */
static void begin_anew(void)
{
    int64_t now_ns = ft_clock_now_ns();
    base_instructions = icount_get_raw();
    base_ns = now_ns - ft_clock_warped_ns();
}

/* vCPU thread in a hold, BQL held. */
void ft_clock_set_rate(uint64_t rate_hz)
{
    begin_anew();
    rate = rate_hz;
}

/* vCPU thread between two turns, BQL held. */
void ft_clock_set_cpus_at_once(int count)
{
    if (at_once != (uint64_t)count) {
        begin_anew();
        at_once = (uint64_t)count;
    }
}
