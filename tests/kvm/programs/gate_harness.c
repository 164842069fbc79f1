/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The gate with threads that stand for vCPUs: each pass through the "guest" reads the counter that
 * the gate gives it, and ends by an access, by halting for a moment, or where it is interrupted.
 *
 * gate_harness VCPUS PASSES: prints what was found, and ends with 1 where it is not as it has to
 * be.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ours/base.h"
#include "ours/emulator/control.h"
#include "ours/kvm/gate.h"
#include "ours/kvm/guest_time.h"
#include "qemu/exports.h"

enum { KICK = SIGUSR1, DEADLINE_S = 120 };

static struct kvm_run runs[FT_VCPUS_MAX];
static _Thread_local struct kvm_run *own_run;
static atomic_int executing, owners;
static atomic_long access_count, interrupted_count, refused_count, wrong_count, back_count;
static _Atomic uint64_t last_tsc;
static long pass_count;
static int vcpu_count;
static bool computes[FT_VCPUS_MAX]; /* leaves only where it is interrupted */
static atomic_long computed[FT_VCPUS_MAX];
static atomic_int accessing;

_Noreturn void ft_die(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    _exit(status);
}

bool ft_control_is_waiting(void)
{
    return false;
}

bool runstate_is_running(void)
{
    return true;
}

CPUState *qemu_get_cpu(int index)
{
    (void)index;
    return NULL;
}

bool cpu_is_stopped(CPUState *cpu)
{
    (void)cpu;
    return false;
}

static void on_kick(int signal)
{
    (void)signal;
    if (own_run) {
        own_run->immediate_exit = 1;
    }
}

static void wrong(const char *what)
{
    atomic_fetch_add(&wrong_count, 1);
    fprintf(stderr, "wrong: %s\n", what);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* A counter that was less than what somebody has seen before has gone back. */
static uint64_t read_counter(int64_t offset)
{
    uint64_t before = atomic_load(&last_tsc);
    uint64_t tsc = ft_pass_tsc(offset);
    if ((int64_t)(tsc - before) < 0) {
        atomic_fetch_add(&back_count, 1);
    }
    while (before < tsc && !atomic_compare_exchange_weak(&last_tsc, &before, tsc)) {
    }
    return tsc;
}

static void work_as_owner(int cpu)
{
    if (!ft_gate_is_owner(cpu) || atomic_fetch_add(&owners, 1) != 0) {
        wrong("not the only owner");
    }
    uint64_t stands = ft_guest_time_tsc();
    for (int i = 0; i < 20; i++) {
        if (atomic_load(&executing) != 0) {
            wrong("a vCPU executes beside an owner");
        }
    }
    if (ft_guest_time_tsc() != stands || ft_gate_ahead_cycles() != 0) {
        wrong("guest time does not stand");
    }
    if (atomic_load(&last_tsc) > stands) {
        wrong("guest time is behind what a guest has seen");
    }
    atomic_fetch_sub(&owners, 1);
    atomic_fetch_add(&access_count, 1);
}

/* One pass. Whether the guest has left by itself, as it does after `most` readings. */
static bool execute(int cpu, uint32_t most)
{
    static const struct ft_pass_cost none;
    struct kvm_run *run = own_run;
    uint64_t from;
    int64_t offset = ft_gate_begin_pass(cpu, &none, &from);
    struct ft_gate_pass seen = {.from_tsc = from, .to_tsc = from};
    uint32_t count = 0;
    while (count <= most && !__atomic_load_n(&run->immediate_exit, __ATOMIC_RELAXED)) {
        atomic_fetch_add(&executing, 1);
        if (!__atomic_load_n(&run->immediate_exit, __ATOMIC_RELAXED)) {
            seen.to_tsc = read_counter(offset);
            count++;
        }
        atomic_fetch_sub(&executing, 1);
    }
    atomic_fetch_add(&computed[cpu], count);
    ft_gate_leave(cpu, &seen);
    return count > most;
}

/* A CPU that accesses devices goes on until the one that does not has executed as well. */
static bool is_done(int cpu, long pass)
{
    if (computes[cpu]) {
        return atomic_load(&accessing) == 0;
    }
    return pass >= pass_count && (vcpu_count == 1 || atomic_load(&computed[vcpu_count - 1]) > 0);
}

static void *run_vcpu(void *number)
{
    int cpu = (int)(long)number;
    own_run = &runs[cpu];
    uint32_t random = (uint32_t)cpu * 7919u + 1;
    ft_gate_adopt(cpu, own_run, KICK);
    for (long pass = 0; !is_done(cpu, pass); pass++) {
        own_run->immediate_exit = 0;
        if (!ft_gate_enter(cpu)) {
            atomic_fetch_add(&refused_count, 1);
        } else if (!execute(cpu, computes[cpu] ? 400000 : next_random(&random) % 200)) {
            atomic_fetch_add(&interrupted_count, 1);
        } else if (!computes[cpu]) {
            ft_gate_own(cpu);
            work_as_owner(cpu);
            if (next_random(&random) % 16 == 0) {
                ft_gate_give_up(cpu);
            }
        }
    }
    ft_gate_give_up(cpu);
    atomic_fetch_sub(&accessing, !computes[cpu]);
    return NULL;
}

int main(int count, char **arguments)
{
    vcpu_count = count > 1 ? atoi(arguments[1]) : 4;
    pass_count = count > 2 ? atol(arguments[2]) : 10000;
    pthread_t threads[FT_VCPUS_MAX];
    struct sigaction action = {.sa_handler = on_kick};
    sigaction(KICK, &action, NULL);
    alarm(DEADLINE_S);
    ft_guest_time_counter_start(1000000);
    ft_guest_time_start(0);
    ft_gate_start();
    computes[vcpu_count - 1] = vcpu_count > 1;
    accessing = vcpu_count - computes[vcpu_count - 1];
    for (long cpu = 0; cpu < vcpu_count; cpu++) {
        pthread_create(&threads[cpu], NULL, run_vcpu, (void *)cpu);
    }
    for (int cpu = 0; cpu < vcpu_count; cpu++) {
        pthread_join(threads[cpu], NULL);
    }
    printf("{\"accesses\": %ld, \"interrupted\": %ld, \"refused\": %ld, \"back\": %ld, \"wrong\": "
           "%ld, "
           "\"computed\": [",
           access_count, interrupted_count, refused_count, back_count, wrong_count);
    for (int cpu = 0; cpu < vcpu_count; cpu++) {
        printf("%s%ld", cpu ? ", " : "", computed[cpu]);
    }
    printf("]}\n");
    return wrong_count > 0 || back_count > 0;
}
