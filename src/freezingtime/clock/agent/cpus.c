/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Several CPUs: who executes next must be a function of the guest alone.
 *
 * QEMU executes its CPUs in one thread, in turn, and they share one budget of instructions up
 * to the next timer. Who is next depends there on the host as well: whatever another thread asks
 * of a CPU breaks the round, and where a round was broken decides where the next one starts. (In
 * QEMU 7.2 the first CPU also takes all of the budget each time, and the others starve.)
 *
 * So the turns are ours. QEMU goes its rounds as it likes; each time that it has handled the
 * timers that are due, we decide whose turn it is, and only that CPU executes when QEMU comes
 * to it. A turn ends when the CPU halts, when it says that it only waits (PAUSE, in a spinlock),
 * or after a quantum of instructions; the next one that is not idle follows. An interruption by
 * QEMU ends no turn.
 *
 * Guest time goes on as if those that are not idle executed at once: by a turn's share of it
 * (guest_clock.c). So N busy CPUs do N times the work of one in the same guest time; what they
 * do to each other is seen a turn later at most.
 *
 * The budget of instructions up to a timer is ours as well: it takes the clock to the deadline
 * exactly, at any rate.
 *
 * QEMU's round robin is in a module, which calls these functions by their names: those of a
 * preloaded library come before those of its own, but not before the main binary's.
 */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "agent.h"
#include "qemu.h"

#define EXPORT __attribute__((visibility("default")))

/* A turn: short against the latency of devices, long against the cost of a switch. */
#define QUANTUM_NS INT64_C(10000) /* as one CPU alone executes */
#define QUANTUM_MIN_INSTRUCTIONS INT64_C(10000)

/* What tcg_cpus_exec returns (QEMU's exec/cpu-common.h). */
enum { EXCP_INTERRUPT = 0x10000, EXCP_HLT = 0x10001, EXCP_HALTED = 0x10003 };

static int cpu_count = 1;

/* The turn; vCPU thread, or while it is stopped. */
static int turn = -1;     /* index of the CPU that executes; -1: none, all are idle */
static int last = -1;     /* index of the one before */
static int64_t turn_left; /* instructions */
static bool waiting;      /* its CPU has said so */
static bool choosing, stopped;

/* The turn's CPU at work; vCPU thread. */
static bool kicked;
static int64_t budget, accounted; /* instructions */

static struct {
    int (*tcg_cpus_exec)(CPUState *cpu);
    void (*icount_handle_deadline)(void);
    void (*icount_prepare_for_run)(CPUState *cpu);
    void (*icount_process_data)(CPUState *cpu);
    void (*kick)(CPUState *cpu);
} qemu;

static void *function_of(void *module, const char *name)
{
    void *function = dlsym(module, name);
    if (!function) {
        ft_die(FT_EXIT_REFUSED, "this QEMU's round robin has no %s; QEMU 7.2 is supported", name);
    }
    return function;
}

/* QEMU's own functions of the names that are ours to others, in the module of this address. */
static void find_round_robin(const void *address)
{
    Dl_info found;
    if (!dladdr(address, &found)) {
        ft_die(FT_EXIT_REFUSED, "QEMU's round robin is in no known file");
    }
    void *module = dlopen(found.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (!module) {
        ft_die(FT_EXIT_REFUSED, "%s: %s", found.dli_fname, dlerror());
    }
    qemu.tcg_cpus_exec = (int (*)(CPUState *))function_of(module, "tcg_cpus_exec");
    qemu.icount_handle_deadline = (void (*)(void))function_of(module, "icount_handle_deadline");
    qemu.icount_prepare_for_run =
        (void (*)(CPUState *))function_of(module, "icount_prepare_for_run");
    qemu.icount_process_data = (void (*)(CPUState *))function_of(module, "icount_process_data");
}

static bool has_turn(const CPUState *cpu)
{
    return cpu_count == 1 || (!stopped && turn >= 0 && qemu_get_cpu(turn) == cpu);
}

/* Those that have something to do. */
struct busy {
    int count;
    int next; /* the first of them behind the last turn's, or -1 */
};

/* vCPU thread. */
static struct busy find_busy(void)
{
    struct busy found = {.count = 0, .next = -1};
    choosing = true;
    for (int step = 1; step <= cpu_count; step++) {
        int candidate = (last + step) % cpu_count;
        if (cpu_thread_is_idle(qemu_get_cpu(candidate))) {
            continue;
        }
        if (found.count == 0) {
            found.next = candidate;
        }
        found.count++;
    }
    choosing = false;
    return found;
}

static void give_turn(int next)
{
    turn = last = next; /* once all are idle, the first comes first again */
    turn_left = ft_clock_instructions(QUANTUM_NS);
    if (turn_left < QUANTUM_MIN_INSTRUCTIONS) {
        turn_left = QUANTUM_MIN_INSTRUCTIONS;
    }
    waiting = false;
}

/* What QEMU itself wants of CPUs makes them look busy: it is done before anybody is asked, so
 * that only what the guest does counts. vCPU thread, BQL held. */
static void do_queued_work(void)
{
    for (int index = 0; index < cpu_count; index++) {
        process_queued_cpu_work(qemu_get_cpu(index));
    }
}

/* QEMU's round robin is about to begin a round: vCPU thread, BQL held. */
EXPORT void icount_handle_deadline(void)
{
    if (!qemu.icount_handle_deadline) {
        find_round_robin(__builtin_return_address(0)); /* the machine ran before the agent */
    }
    qemu.icount_handle_deadline();
    if (cpu_count == 1) {
        return;
    }
    do_queued_work();
    struct busy busy = find_busy();
    if (turn < 0 || turn_left <= 0 || waiting) {
        give_turn(busy.next);
    }
    ft_clock_set_cpus_at_once(busy.count > 0 ? busy.count : 1);
}

/* How many instructions the CPU may execute until a deadline: vCPU thread, no lock, as those
 * below. */
static int64_t round_budget(int64_t duration_ns)
{
    budget = ft_clock_budget(duration_ns);
    if (cpu_count > 1 && budget > turn_left) {
        budget = turn_left;
    }
    return budget;
}

EXPORT void icount_prepare_for_run(CPUState *cpu)
{
    if (has_turn(cpu)) {
        accounted = icount_get_raw();
        kicked = false;
        qemu.icount_prepare_for_run(cpu);
    }
}

static void account(CPUState *cpu)
{
    icount_update(cpu);
    int64_t executed = icount_get_raw() - accounted;
    accounted += executed;
    budget -= executed;
    turn_left -= executed;
}

EXPORT int tcg_cpus_exec(CPUState *cpu)
{
    if (!has_turn(cpu)) {
        return EXCP_INTERRUPT;
    }
    int reason = qemu.tcg_cpus_exec(cpu);
    if (cpu_count == 1) {
        return reason;
    }
    account(cpu);
    /* Neither is its budget used up nor has anything else interrupted it: it was PAUSE. Where all
     * others are idle it goes on at once, as it would after a round. */
    while (reason == EXCP_INTERRUPT && !kicked && budget > 0) {
        waiting = true;
        if (find_busy().next != turn) {
            return reason;
        }
        give_turn(turn);
        reason = qemu.tcg_cpus_exec(cpu);
        account(cpu);
    }
    if (reason == EXCP_HLT || reason == EXCP_HALTED) {
        turn_left = 0;
    }
    return reason;
}

EXPORT void icount_process_data(CPUState *cpu)
{
    if (has_turn(cpu)) {
        qemu.icount_process_data(cpu);
    }
}

/* In place of QEMU's kick; any thread. Whatever another thread does must not interrupt a CPU, as
 * it would look like PAUSE: it is found when the turn ends. */
static void kick(CPUState *cpu)
{
    if (qemu_in_vcpu_thread()) {
        kicked = true;
        qemu.kick(cpu);
    }
}

/* The head of what QEMU keeps of a thread for RCU; the same from 7.0 on. */
struct rcu_reader {
    unsigned long counter;
    bool waiting;
    unsigned depth;
    void *node[2];
    struct rcu_notifier {
        void (*notify)(struct rcu_notifier *notifier, void *data);
        struct rcu_notifier *next;
    } * first_notifier;
};

/* The round robin's kick is in its module, and so is its notifier. */
static bool is_round_robins(const void *address)
{
    Dl_info here, round_robin;
    return dladdr(address, &here) && dladdr((const void *)qemu.kick, &round_robin) &&
           here.dli_fbase == round_robin.dli_fbase;
}

/* QEMU's RCU thread, too, interrupts CPUs, by a notifier of the vCPU thread: it waits for the
 * end of the turn instead. vCPU thread, as the reader is the calling thread's; before the machine
 * first runs. */
static void remove_rcu_notifier(CPUState *unused, union run_on_cpu_data no_data)
{
    (void)unused;
    (void)no_data;
    struct rcu_reader *reader = get_ptr_rcu_reader();
    struct rcu_notifier *notifier = reader->first_notifier;
    if (!notifier || notifier->next || !is_round_robins((const void *)notifier->notify)) {
        ft_die(FT_EXIT_REFUSED, "this QEMU's RCU is not the known one; QEMU 7.2 is supported");
    }
    rcu_remove_force_rcu_notifier(notifier);
}

/* Main thread, BQL held, once the machine is built. */
void ft_cpus_start(void **accelerator_kick)
{
    qemu.kick = (void (*)(CPUState *))(uintptr_t)*accelerator_kick;
    find_round_robin((const void *)qemu.kick);
    ft_lead((void *)&icount_round, (const void *)round_budget);
    while (qemu_get_cpu(cpu_count)) {
        cpu_count++;
    }
    if (cpu_count > 1) {
        *accelerator_kick = (void *)kick;
        async_run_on_cpu(qemu_get_cpu(0), remove_rcu_notifier,
                         (union run_on_cpu_data){.pointer = NULL});
    }
}

/* Main thread, BQL held, vCPUs stopped. */
void ft_cpus_machine_runs(void)
{
    stopped = false;
    turn = last = -1;
}

/* vCPU thread, BQL held: nobody executes from here on, until the machine runs again. */
void ft_cpus_stop(void)
{
    stopped = true;
}

/* vCPU thread, BQL held: it is only asked which CPU is idle, and none is going to sleep. */
bool ft_cpus_choosing(void)
{
    return choosing;
}
