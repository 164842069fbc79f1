/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest time stands wherever the guest has last left it, so a doorbell, which leaves the guest, has
 * its exact time, and so has all that its device does then. Before the guest goes on, timers that
 * are due are run, the agent's among them: that is the hold.
 *
 * A deadline is met in one of two ways. Where the guest idles, guest time is taken to it. Where the
 * guest computes, a timer of the host's interrupts it a little before the deadline (early_ns), and
 * the rest is skipped: a signal takes its time, and what comes late cannot be made good.
 */
#define _GNU_SOURCE
#include "ours/kvm/entries.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ours/base.h"
#include "ours/kvm/gate.h"
#include "ours/kvm/guest_time.h"
#include "ours/kvm/pass.h"
#include "ours/kvm/preemption.h"
#include "ours/time/deferred.h"
#include "qemu/exports.h"
#include "qemu/kvm/timers.h"
#include "qemu/lock.h"

#define EARLY_NS 10000
#define EARLY_OF_SEVERAL_NS 20000 /* all have to leave */

/* After so many passes in which the guest came to execute nothing, as the kick was there before it,
 * a deadline that is not far is taken for near. */
#define BARREN_MAX 3
#define FAR_FACTOR 10

/* What is taken out of a pass may be more than it took. A guest that waits for a device's counter
 * to go on must see it go on nevertheless. */
#define LEAST_PASS_NS 50

/* What a vCPU may execute without being interrupted that others have kept out for long. */
#define OVERDUE_PASS_NS 50000

#define NS_PER_S INT64_C(1000000000)

/* What QEMU interrupts a vCPU thread with (SIG_IPI); its handler has KVM leave the guest. */
#define KICK SIGUSR1

/* glibc's name for it is new. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static struct ft_calibration calibrated;
static int64_t early_ns;
static uint64_t least_cycles; /* of a pass in which the guest came to execute something */
static _Atomic bool has_left; /* the guest has accessed a device, and not gone on since */
static int64_t skipped_ns;    /* ahead of deadlines; BQL, vCPUs not in the guest */
static _Atomic int64_t gathering_ns;

/* Each its own thread's. */
static struct entry {
    struct ft_vcpu vcpu;
    timer_t kick_timer;
    int barren_count; /* passes on end */
    bool is_adopted;
} entries[FT_VCPUS_MAX];

void ft_entries_start(const struct ft_calibration *calibration)
{
    calibrated = *calibration;
    early_ns = qemu_get_cpu(1) ? EARLY_OF_SEVERAL_NS : EARLY_NS;
    least_cycles = (uint64_t)ft_guest_time_cycles_of(LEAST_PASS_NS);
}

/* vCPU thread, at its first pass. */
static void adopt(struct entry *entry, int cpu, int fd, struct kvm_run *run)
{
    entry->vcpu = (struct ft_vcpu){.fd = fd, .run = run};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KICK};
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &event, &entry->kick_timer) != 0) {
        ft_die(FT_EXIT_REFUSED, "cannot make a timer: %s", strerror(errno));
    }
    ft_preemption_watch(KICK);
    ft_gate_adopt(cpu, run, KICK);
    entry->is_adopted = true;
}

static int64_t left_ns(void)
{
    return qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL, QEMU_TIMER_INTERNAL);
}

/* The same for a vCPU that may execute while others do. */
static int64_t left_inside_ns(void)
{
    int64_t deadline_ns = left_ns();
    if (deadline_ns < 0) {
        return deadline_ns;
    }
    deadline_ns -= ft_guest_time_ns_of(ft_gate_ahead_cycles());
    return deadline_ns > 0 ? deadline_ns : 0;
}

/* Whether a deadline is too near to let the guest execute. */
static bool is_near(const struct entry *entry, int64_t deadline_ns)
{
    int64_t near_ns = entry->barren_count < BARREN_MAX ? early_ns : early_ns * FAR_FACTOR;
    return deadline_ns >= 0 && deadline_ns <= near_ns;
}

/* Everything that is due now. The owner's thread, no lock. */
static void run_due(struct entry *entry)
{
    ft_lock_take();
    ft_deferred_run(); /* timers of the block layer's as well */
    atomic_store_explicit(&has_left, false, memory_order_relaxed);
    int64_t ahead_ns = left_ns();
    if (is_near(entry, ahead_ns)) {
        if (ahead_ns > 0) {
            skipped_ns += ahead_ns;
            entry->barren_count = 0;
            ft_guest_time_reach_ns(ft_guest_time_now_ns() + ahead_ns);
        }
        ft_timers_run();
        ft_deferred_run();
    }
    ft_lock_release();
}

/* Has the guest interrupted, this much guest time from now; never, where there is no deadline. */
static void arm_kick(const struct entry *entry, int64_t deadline_ns)
{
    struct itimerspec setting = {.it_value = {0}};
    if (deadline_ns >= 0) {
        int64_t cost = calibrated.cost.in_cycles;
        int64_t wait_ns = deadline_ns - early_ns + ft_guest_time_ns_of(cost);
        setting.it_value = (struct timespec){wait_ns / NS_PER_S, wait_ns % NS_PER_S};
    }
    timer_settime(entry->kick_timer, 0, &setting, NULL);
}

/* Takes the time out for which the host took the CPU, as far as the guest has not seen it. Leaves
 * the gate. `since_ns` after the pass's end the time was read until which it may have been lost;
 * the guest has seen the counter go on to `least_tsc`. */
static void leave(int cpu, int64_t since_ns, struct ft_gate_pass pass, uint64_t least_tsc)
{
    int64_t lost_ns = ft_preemption_after_ns();
    if (lost_ns > 0) {
        int64_t passed_ns = ft_guest_time_ns_of((int64_t)(pass.to_tsc - least_tsc));
        pass.off_cycles = (uint64_t)ft_guest_time_cycles_of(lost_ns);
        if (ft_preemption_is_signalled()) {
            int64_t unseen_ns = ft_preemption_unseen_ns(lost_ns, since_ns, passed_ns);
            pass.unseen_cycles = (uint64_t)ft_guest_time_cycles_of(unseen_ns);
        }
    }
    struct ft_stretch_lost lost = ft_gate_leave(cpu, &pass);
    ft_preemption_note(lost_ns > 0, &lost);
}

/* Whether the device that the guest has left for is to see guest time stand. */
static bool is_access(const struct entry *entry, long result)
{
    return result == 0 && (entry->vcpu.run->exit_reason == KVM_EXIT_MMIO ||
                           entry->vcpu.run->exit_reason == KVM_EXIT_IO);
}

/* The others leave as well. */
static void own(int cpu)
{
    uint64_t left_tsc = ft_guest_time_tsc();
    ft_gate_own(cpu);
    gathering_ns += ft_guest_time_ns_of((int64_t)(ft_guest_time_tsc() - left_tsc));
}

static long run_guest(int cpu, int64_t deadline_ns)
{
    struct entry *entry = &entries[cpu];
    uint64_t from_tsc, to_tsc;
    ft_preemption_before();
    arm_kick(entry, deadline_ns);
    int64_t offset = ft_gate_begin_pass(cpu, &calibrated.cost, &from_tsc);
    long result = ft_pass(&entry->vcpu, &calibrated.cost, offset, &to_tsc);
    int error = errno;
    ft_preemption_left();
    int64_t since_ns = ft_guest_time_ns_of((int64_t)ft_pass_since_left(&entry->vcpu));
    uint64_t least_tsc = from_tsc + (result == 0 ? least_cycles : 0);
    to_tsc = (int64_t)(to_tsc - least_tsc) > 0 ? to_tsc : least_tsc;
    entry->barren_count = to_tsc != from_tsc ? 0 : entry->barren_count + !ft_gate_has_owner();
    struct ft_gate_pass pass = {.from_tsc = from_tsc, .to_tsc = to_tsc};
    leave(cpu, since_ns, pass, least_tsc);
    if (is_access(entry, result)) {
        own(cpu);
        atomic_store_explicit(&has_left, true, memory_order_relaxed);
    }
    errno = error;
    return result;
}

long ft_entries_run(int cpu, int fd, struct kvm_run *run)
{
    struct entry *entry = &entries[cpu];
    if (!entry->is_adopted) {
        adopt(entry, cpu, fd, run);
    }
    bool is_owner = ft_gate_is_owner(cpu);
    if (!is_owner || !(ft_entries_has_left() || is_near(entry, left_ns()))) {
        if (!ft_gate_enter(cpu)) {
            return ft_pass_none(&entry->vcpu);
        }
        int64_t deadline_ns = left_inside_ns();
        if (!is_near(entry, deadline_ns)) {
            if (ft_gate_is_overdue(cpu) && (deadline_ns < 0 || deadline_ns > OVERDUE_PASS_NS)) {
                deadline_ns = OVERDUE_PASS_NS;
            }
            return run_guest(cpu, deadline_ns);
        }
        ft_gate_turn_back(cpu);
        ft_gate_own(cpu);
    }
    run_due(entry);
    /* QEMU has interrupts to look at, maybe, or has been told to stop. */
    return ft_pass_none(&entry->vcpu);
}

/* BQL held. */
static bool are_others_idle(CPUState *cpu)
{
    CPUState *other;
    for (int index = 0; (other = qemu_get_cpu(index)); index++) {
        if (other != cpu && !cpu_thread_is_idle(other)) {
            return false;
        }
    }
    return true;
}

static int index_of(CPUState *cpu)
{
    int index = 0;
    while (qemu_get_cpu(index) != cpu) {
        index++;
    }
    return index;
}

/* All idle: nobody is in the guest, or gets there without the BQL. Returns whether there is nothing
 * to wait for but the outside world. */
static bool run_idle(void)
{
    ft_deferred_run();
    int64_t idle_ns = left_ns();
    if (idle_ns >= 0) {
        ft_guest_time_warp(idle_ns);
        ft_timers_run();
        ft_deferred_run();
    }
    return idle_ns < 0;
}

bool ft_entries_may_sleep(CPUState *cpu)
{
    static bool asking; /* BQL */
    if (!qemu_in_vcpu_thread() || asking) {
        return true;
    }
    asking = true;
    int index = index_of(cpu);
    if (ft_gate_is_owner(index)) {
        ft_deferred_run(); /* it has been reset, for example */
        atomic_store_explicit(&has_left, false, memory_order_relaxed);
    }
    bool may_sleep = !are_others_idle(cpu) || run_idle();
    ft_gate_give_up(index);
    asking = false;
    return may_sleep;
}

bool ft_entries_has_left(void)
{
    return atomic_load_explicit(&has_left, memory_order_relaxed);
}

struct ft_kvm_account ft_entries_account(void)
{
    struct ft_preemptions preemptions = ft_preemption_sums();
    return (struct ft_kvm_account){
        .preemption_count = preemptions.count,
        .taken_out_ns = preemptions.taken_out_ns,
        .left_in_ns = preemptions.left_in_ns,
        .stolen_ns = preemptions.stolen_ns,
        .skipped_ns = skipped_ns,
        .gathering_ns = gathering_ns,
        .in_cycles = calibrated.cost.in_cycles,
        .out_cycles = calibrated.cost.out_cycles[FT_PASS_WRITE],
        .tsc_khz = calibrated.tsc_khz,
        .is_signalled = ft_preemption_are_all_signalled(),
    };
}
