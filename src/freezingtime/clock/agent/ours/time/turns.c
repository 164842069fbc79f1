/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Several CPUs: who executes next must be a function of the guest alone.
 *
 * QEMU executes its CPUs in one thread, in turn, and they share one budget of instructions up
 * to the next timer. Who is next depends there on the host as well: whatever another thread asks
 * of a CPU breaks the round, and where a round was broken decides where the next one starts. (In
 * some QEMUs the first CPU also takes all of the budget each time, and the others starve.)
 *
 * So the turns are ours. QEMU goes its rounds as it likes; each time that it has handled the
 * timers that are due, we decide whose turn it is, and only that CPU executes when QEMU comes
 * to it. A turn ends when the CPU halts, when it says that it only waits (PAUSE, in a spinlock),
 * or after a quantum of instructions; the next one that is not idle follows. An interruption by
 * QEMU ends no turn.
 *
 * Guest time goes on as if those that are not idle executed at once: by a turn's share of it
 * (time.c). So N busy CPUs do N times the work of one in the same guest time; what they
 * do to each other is seen a turn later at most.
 *
 * The budget of instructions up to a timer is ours as well: it takes the clock to the deadline
 * exactly, at any rate.
 */
#include "ours/time/turns.h"

#include <stddef.h>

#include "ours/time/time.h"
#include "qemu/cpus/round_robin.h"

/* A turn: short against the latency of devices, long against the cost of a switch. */
#define QUANTUM_NS INT64_C(10000) /* as one CPU alone executes */
#define QUANTUM_MIN_INSTRUCTIONS INT64_C(10000)

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
    turn_left = ft_time_instructions(QUANTUM_NS);
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

void ft_turns_begin_round(void)
{
    if (cpu_count == 1) {
        return;
    }
    do_queued_work();
    struct busy busy = find_busy();
    if (turn < 0 || turn_left <= 0 || waiting) {
        give_turn(busy.next);
    }
    ft_time_set_cpus_at_once(busy.count > 0 ? busy.count : 1);
}

int64_t ft_turns_budget(int64_t duration_ns)
{
    budget = ft_time_budget(duration_ns);
    if (cpu_count > 1 && budget > turn_left) {
        budget = turn_left;
    }
    return budget;
}

bool ft_turns_begin_turn(CPUState *cpu)
{
    if (!has_turn(cpu)) {
        return false;
    }
    accounted = icount_get_raw();
    kicked = false;
    return true;
}

static void account(CPUState *cpu)
{
    icount_update(cpu);
    int64_t executed = icount_get_raw() - accounted;
    accounted += executed;
    budget -= executed;
    turn_left -= executed;
}

int ft_turns_execute(CPUState *cpu, int (*qemu_execute)(CPUState *cpu))
{
    if (!has_turn(cpu)) {
        return EXCP_INTERRUPT;
    }
    int reason = qemu_execute(cpu);
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
        reason = qemu_execute(cpu);
        account(cpu);
    }
    if (reason == EXCP_HLT || reason == EXCP_HALTED) {
        turn_left = 0;
    }
    return reason;
}

/* Whatever another thread does must not interrupt a CPU, as it would look like PAUSE: it is found
 * when the turn ends. */
bool ft_turns_may_kick(void)
{
    if (cpu_count == 1) {
        return true;
    }
    if (!qemu_in_vcpu_thread()) {
        return false;
    }
    kicked = true;
    return true;
}

bool ft_turns_may_sleep(CPUState *cpu)
{
    if (!qemu_in_vcpu_thread()) {
        return false; /* the main thread must never skip time itself */
    }
    if (choosing) {
        return true; /* it is only asked who is idle, and none is going to sleep */
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
    ft_time_skip(idle_ns);
    return false;
}

int ft_turns_start(void)
{
    while (qemu_get_cpu(cpu_count)) {
        cpu_count++;
    }
    return cpu_count;
}

void ft_turns_machine_runs(void)
{
    stopped = false;
    turn = last = -1;
}

void ft_turns_stop(void)
{
    stopped = true;
}
