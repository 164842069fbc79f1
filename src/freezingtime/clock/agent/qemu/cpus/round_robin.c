/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU has no table for what its round robin calls, so the calls themselves are redirected. They
 * are of three kinds (places.h), depending on how QEMU was built: in a module that calls by name,
 * in a module or a binary that calls directly, and with some functions inlined into others.
 */
#define _GNU_SOURCE
#include "qemu/cpus/round_robin.h"

#include <stddef.h>

#include "ours/base.h"
#include "qemu/hooks.h"
#include "qemu/cpus/places.h"

static struct ft_round_robin_calls ours;

/* QEMU's own. The budget of one CPU, where it has any, is an argument more; to the others that
 * take one only, another in a register means nothing. */
static struct {
    void (*handle_deadline)(void);
    void (*prepare_for_run)(CPUState *cpu, int64_t cpu_budget);
    int (*execute)(CPUState *cpu);
} qemu;

/* In place of icount_handle_deadline, which has every thread of QEMU's with an event loop wake at
 * every timer of the guest's, for timers of its own that count guest time: they want the big lock,
 * and the vCPU thread waits for them. Here they are woken if there is such a timer. The first time,
 * QEMU does it, which shows that whoever leaves work to the main loop is heard. */
static void handle_deadline(void)
{
    if (qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL, QEMU_TIMER_ALL) != 0) {
        return;
    }
    if (ft_hook_was_called[FT_HOOK_DEFER]) {
        ours.before_timers();
        qemu_clock_run_timers(QEMU_CLOCK_VIRTUAL);
        if (qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL, QEMU_TIMER_ALL) != 0) {
            return;
        }
    }
    qemu.handle_deadline();
}

static void begin_round(void)
{
    ft_hook_called(FT_HOOK_ROUND);
    handle_deadline();
    ours.begin_round();
}

static void prepare_for_run(CPUState *cpu, int64_t cpu_budget)
{
    ft_hook_called(FT_HOOK_PREPARE);
    if (ours.begin_turn(cpu)) {
        qemu.prepare_for_run(cpu, cpu_budget);
    }
}

/* In place of icount_percpu_budget: QEMU gives a CPU the lesser of this and of the budget. */
static int64_t share(int cpu_count)
{
    (void)cpu_count;
    ft_hook_called(FT_HOOK_SHARE);
    return INT64_MAX;
}

/* In place of icount_round: instructions for a time. */
static int64_t budget(int64_t duration_ns)
{
    ft_hook_called(FT_HOOK_BUDGET);
    return ours.budget(duration_ns);
}

/* In place of qemu_clock_deadline_ns_all where icount_round is inlined behind it. With shift=0 that
 * leaves a number as it is, and so does the least of it and of no deadline at all. */
static int64_t budget_as_deadline(int clock, int attributes)
{
    if (clock != QEMU_CLOCK_VIRTUAL) {
        return -1;
    }
    int64_t deadline_ns = qemu_clock_deadline_ns_all(clock, attributes);
    bool is_far = deadline_ns < 0 || deadline_ns > INT32_MAX;
    return budget(is_far ? INT32_MAX : deadline_ns);
}

static int execute(CPUState *cpu)
{
    ft_hook_called(FT_HOOK_EXECUTE);
    return ours.execute(cpu, qemu.execute);
}

static void *require_function(const void *address, const char *name)
{
    void *function = ft_function_named(address, name);
    if (!function) {
        ft_die(FT_EXIT_REFUSED, "this QEMU's round robin has no %s; " FT_CURE, name);
    }
    return function;
}

static const char *const BY_SLOT = "slot", *const BY_CALL = "call", *const BY_CALL_IN = "call in";

/* The one place at which a file calls a function. */
static void redirect(const struct ft_code *file, const char *name, const void *function,
                     const void *target, enum ft_hook hook)
{
    if (ft_redirect_slots(file, name, target) == 1) {
        ft_hook_found(hook, BY_SLOT);
    } else if (ft_redirect_calls(file, function, target) == 1) {
        ft_hook_found(hook, BY_CALL);
    }
}

/* Other threads execute CPUs by the same function, so it is the call in the loop that counts. The
 * loop is where CPUs are prepared: known if it does that directly. */
static void redirect_execution(const struct ft_code *file, const char *loop_address)
{
    const char *name = "tcg_cpu_exec";
    void *function = ft_function_named(file->start, name);
    if (!function) {
        name = "tcg_cpus_exec";
        function = require_function(file->start, name);
    }
    qemu.execute = (int (*)(CPUState *))function;
    if (!loop_address) {
        redirect(file, name, function, (const void *)execute, FT_HOOK_EXECUTE);
        return;
    }
    struct ft_code loop = ft_code_of_function(loop_address);
    if (ft_redirect_calls(&loop, function, (const void *)execute) == 1) {
        ft_hook_found(FT_HOOK_EXECUTE, BY_CALL_IN);
        return;
    }
    function = require_function(file->start, "cpu_exec"); /* inlined: what it calls */
    if (ft_only_call(&loop, function)) {
        qemu.execute = (int (*)(CPUState *))function;
        ft_redirect_calls(&loop, function, (const void *)execute);
        ft_hook_found(FT_HOOK_EXECUTE, "call in, inlined");
    }
}

static void redirect_budget(const struct ft_code *file, const void *prepare)
{
    struct ft_code preparation = ft_code_of_function(prepare);
    void *round = require_function(file->start, "icount_round");
    if (ft_redirect_calls(&preparation, round, (const void *)budget) == 1) {
        ft_hook_found(FT_HOOK_BUDGET, BY_CALL_IN);
    } else if (ft_redirect_slots(file, "icount_round", (const void *)budget) == 1) {
        ft_hook_found(FT_HOOK_BUDGET, BY_SLOT);
    } else if (ft_redirect_calls(&preparation, (const void *)qemu_clock_deadline_ns_all,
                                 (const void *)budget_as_deadline) == 2) {
        ft_hook_found(FT_HOOK_BUDGET, "calls in, inlined");
    }
}

void ft_round_robin_hook(const void *address, const struct ft_round_robin_calls *calls)
{
    ours = *calls;
    struct ft_code file = ft_code_of_file(address);
    void *deadline = require_function(address, "icount_handle_deadline");
    void *prepare = require_function(address, "icount_prepare_for_run");
    void *share_of_cpu = ft_function_named(address, "icount_percpu_budget");
    qemu.handle_deadline = (void (*)(void))deadline;
    qemu.prepare_for_run = (void (*)(CPUState *, int64_t))prepare;

    const char *loop = ft_only_call(&file, prepare);
    redirect(&file, "icount_handle_deadline", deadline, (const void *)begin_round, FT_HOOK_ROUND);
    redirect(&file, "icount_prepare_for_run", prepare, (const void *)prepare_for_run,
             FT_HOOK_PREPARE);
    if (share_of_cpu) {
        redirect(&file, "icount_percpu_budget", share_of_cpu, (const void *)share, FT_HOOK_SHARE);
    } else {
        ft_hook_found(FT_HOOK_SHARE, "not needed");
        ft_hook_called(FT_HOOK_SHARE);
    }
    redirect_execution(&file, loop);
    redirect_budget(&file, prepare);
}
