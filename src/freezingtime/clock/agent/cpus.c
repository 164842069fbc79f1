/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Several CPUs: who executes next must be a function of the guest alone.
 *
 * QEMU executes its CPUs in one thread, in turn, and they share one budget of instructions up
 * to the next timer. In QEMU 7.2 the first CPU takes all of it each time: the others starve.
 * So a timer of ours ends the turn: it has each CPU leave the round robin once and come back
 * to a new budget.
 *
 * Whatever another thread does must not end a turn, as it would do so at a point that depends
 * on the host. QEMU does so by its kick, which is ours to replace: what the kick is about, such
 * as work or a request to stop, the round robin finds in its next pass. And the RCU thread does,
 * by a notifier of the vCPU thread, which is removed: it waits for the end of the turn instead.
 */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "agent.h"
#include "qemu.h"

/* Guest time. Short against the latency of devices, long against the cost of a switch. */
#define QUANTUM_NS INT64_C(50000)

static _Alignas(16) char quantum_timer[256];
static bool several;
static void (*qemu_kick)(CPUState *cpu);

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

/* The round robin is in a module of QEMU's; its kick is there, and so is its notifier. */
static bool is_round_robins(const void *address)
{
    Dl_info here, round_robin;
    return dladdr(address, &here) && dladdr((const void *)qemu_kick, &round_robin) &&
           here.dli_fbase == round_robin.dli_fbase;
}

/* vCPU thread, as the reader is the calling thread's; before the machine first runs. */
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

/* vCPU thread between two passes of the round robin, BQL held. */
static void end_turn(CPUState *unused, union run_on_cpu_data no_data)
{
    (void)unused;
    (void)no_data;
    CPUState *cpu;
    for (int index = 0; (cpu = qemu_get_cpu(index)); index++) {
        cpu_exit(cpu);
    }
}

static void start_quantum(void)
{
    timer_mod_ns(quantum_timer, ft_clock_now_ns() + QUANTUM_NS);
}

/* vCPU thread, BQL held. Not at once: it may be called inside a CPU's turn. */
static void on_quantum(void *unused)
{
    (void)unused;
    async_run_on_cpu(qemu_get_cpu(0), end_turn, (union run_on_cpu_data){.pointer = NULL});
    start_quantum();
}

/* In place of QEMU's kick; any thread. */
static void kick(CPUState *cpu)
{
    if (qemu_in_vcpu_thread()) {
        qemu_kick(cpu);
    }
}

/* Main thread, BQL held, once the machine is built. */
void ft_cpus_start(void **accelerator_kick)
{
    several = qemu_get_cpu(1) != NULL;
    if (several) {
        qemu_kick = (void (*)(CPUState *))(uintptr_t)*accelerator_kick;
        *accelerator_kick = (void *)kick;
        timer_init_full(quantum_timer, NULL, QEMU_CLOCK_VIRTUAL, QEMU_TIMER_NS, 0, on_quantum,
                        NULL);
        async_run_on_cpu(qemu_get_cpu(0), remove_rcu_notifier,
                         (union run_on_cpu_data){.pointer = NULL});
    }
}

/* Main thread, BQL held, vCPUs stopped. */
void ft_cpus_machine_runs(void)
{
    if (several) {
        start_quantum();
    }
}

/* vCPU thread, BQL held: all CPUs idle, and nobody's turn is to end. */
void ft_cpus_idle(void)
{
    if (several) {
        timer_del(quantum_timer);
    }
}

void ft_cpus_idle_ended(void)
{
    if (several) {
        start_quantum();
    }
}
