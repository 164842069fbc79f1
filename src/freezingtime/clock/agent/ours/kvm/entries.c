/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest time stands wherever the guest has last left it, so a doorbell, which leaves the guest, has
 * its exact time, and so has all that its device does then. Before the guest goes on, timers that
 * are due are run, the agent's among them: that is the hold.
 *
 * A deadline is met in one of two ways. Where the guest idles, guest time is taken to it. Where the
 * guest computes, a timer of the host's interrupts it a little before the deadline (EARLY_NS), and
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
#include "ours/kvm/guest_time.h"
#include "ours/kvm/pass.h"
#include "ours/kvm/preemption.h"
#include "ours/time/deferred.h"
#include "qemu/exports.h"
#include "qemu/kvm/timers.h"
#include "qemu/lock.h"

#define EARLY_NS 10000

/* After so many passes in which the guest came to execute nothing, as the kick was there before it,
 * a deadline that is not far is taken for near. */
#define BARREN_MAX 3
#define FAR_NS (10 * EARLY_NS)

/* What is taken out of a pass may be more than it took. A guest that waits for a device's counter
 * to go on must see it go on nevertheless. */
#define LEAST_PASS_NS 50

#define NS_PER_S INT64_C(1000000000)

/* What QEMU interrupts a vCPU thread with (SIG_IPI); its handler has KVM leave the guest. */
#define KICK SIGUSR1

/* glibc's name for it is new. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static struct ft_calibration calibrated;
static struct ft_vcpu vcpu = {.fd = -1};
static uint64_t least_cycles; /* of a pass in which the guest came to execute something */
static timer_t kick_timer;
static _Atomic bool has_left; /* the guest has accessed a device, and not gone on since */
static int barren_count;      /* vCPU thread: passes on end */
static int64_t skipped_ns;    /* ahead of deadlines; BQL */

void ft_entries_start(const struct ft_calibration *calibration)
{
    calibrated = *calibration;
    least_cycles = (uint64_t)ft_guest_time_cycles_of(LEAST_PASS_NS);
}

/* vCPU thread, at its first pass. */
static void adopt(int fd, struct kvm_run *run)
{
    if (vcpu.fd >= 0) {
        ft_die(FT_EXIT_REFUSED, "under KVM the machine has one CPU");
    }
    vcpu.fd = fd;
    vcpu.run = run;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KICK};
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &event, &kick_timer) != 0) {
        ft_die(FT_EXIT_REFUSED, "cannot make a timer: %s", strerror(errno));
    }
    ft_preemption_watch(KICK);
}

static int64_t left_ns(void)
{
    return qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL, QEMU_TIMER_INTERNAL);
}

/* Whether a deadline is too near to let the guest execute. */
static bool is_near(int64_t deadline_ns)
{
    return deadline_ns >= 0 && deadline_ns <= (barren_count < BARREN_MAX ? EARLY_NS : FAR_NS);
}

/* Everything that is due now. vCPU thread, BQL held. */
static void run_due(void)
{
    ft_deferred_run(); /* timers of the block layer's as well */
    atomic_store_explicit(&has_left, false, memory_order_relaxed);
    int64_t ahead_ns = left_ns();
    if (is_near(ahead_ns)) {
        if (ahead_ns > 0) {
            skipped_ns += ahead_ns;
            barren_count = 0;
            ft_guest_time_reach_ns(ft_guest_time_now_ns() + ahead_ns);
        }
        ft_timers_run();
        ft_deferred_run();
    }
}

/* Has the guest interrupted, this much guest time from now; never, where there is no deadline. */
static void arm_kick(int64_t deadline_ns)
{
    struct itimerspec setting = {.it_value = {0}};
    if (deadline_ns >= 0) {
        int64_t cost = calibrated.cost.in_cycles;
        int64_t wait_ns = deadline_ns - EARLY_NS + ft_guest_time_ns_of(cost);
        setting.it_value = (struct timespec){wait_ns / NS_PER_S, wait_ns % NS_PER_S};
    }
    timer_settime(kick_timer, 0, &setting, NULL);
}

static long run_guest(int64_t deadline_ns)
{
    uint64_t from_tsc = ft_guest_time_tsc(), to_tsc;
    ft_preemption_before();
    arm_kick(deadline_ns);
    long result = ft_pass(&vcpu, &calibrated.cost, from_tsc, &to_tsc);
    int error = errno;
    int64_t lost_ns = ft_preemption_after_ns();
    if (lost_ns > 0) {
        int64_t passed_ns = ft_guest_time_ns_of((int64_t)(to_tsc - from_tsc));
        /* KVM left for the signal of it: the guest has not seen it. */
        bool taken_out =
            ft_preemption_is_signalled() && result < 0 && error == EINTR && lost_ns < passed_ns;
        to_tsc -= taken_out ? (uint64_t)ft_guest_time_cycles_of(lost_ns) : 0;
        ft_preemption_note(lost_ns, taken_out, passed_ns);
    }
    uint64_t least_tsc = from_tsc + (result == 0 ? least_cycles : 0);
    to_tsc = (int64_t)(to_tsc - least_tsc) > 0 ? to_tsc : least_tsc;
    barren_count = to_tsc != from_tsc ? 0 : barren_count + 1;
    ft_guest_time_reach(to_tsc);
    bool accessed = result == 0 && (vcpu.run->exit_reason == KVM_EXIT_MMIO ||
                                    vcpu.run->exit_reason == KVM_EXIT_IO);
    atomic_store_explicit(&has_left, accessed, memory_order_relaxed);
    errno = error;
    return result;
}

long ft_entries_run(int fd, struct kvm_run *run)
{
    if (vcpu.fd != fd) {
        adopt(fd, run);
    }
    int64_t deadline_ns = left_ns();
    if (is_near(deadline_ns) || ft_entries_has_left()) {
        ft_lock_take();
        run_due();
        ft_lock_release();
        /* QEMU has interrupts to look at, maybe, or has been told to stop. */
        return ft_pass_none(&vcpu);
    }
    return run_guest(deadline_ns);
}

bool ft_entries_may_sleep(CPUState *cpu)
{
    static bool asking; /* vCPU thread */
    (void)cpu;
    if (!qemu_in_vcpu_thread() || asking) {
        return true;
    }
    asking = true;
    ft_deferred_run();
    int64_t idle_ns = left_ns();
    if (idle_ns >= 0) {
        ft_guest_time_warp(idle_ns);
        ft_timers_run();
        ft_deferred_run();
    }
    asking = false;
    return idle_ns < 0; /* no timer at all: only the outside world can wake this guest */
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
        .skipped_ns = skipped_ns,
        .in_cycles = calibrated.cost.in_cycles,
        .out_cycles = calibrated.cost.out_cycles[FT_PASS_MEMORY],
        .tsc_khz = calibrated.tsc_khz,
        .is_signalled = ft_preemption_is_signalled(),
    };
}
