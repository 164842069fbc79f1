/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vCPU is a thread like others. Where the host gives its CPU to another, the guest's counter
 * goes on. Linux can send a signal at each switch (perf's software event), and KVM looks for
 * signals before it goes on with the guest: so the pass is over before the guest has seen what was
 * taken from it, and that can be taken out. The same holds where the guest had left by itself, and
 * the host took the CPU on KVM's way out: the guest executes nothing behind a switch.
 *
 * The event is off except during a pass: a thread that waits is switched from as well, and the
 * signal would wake it for nothing.
 */
#define _GNU_SOURCE
#include "ours/kvm/preemption.h"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ours/base.h"
#include "ours/time/counter.h"

/* What two clocks differ by that are not read at once. */
#define NOISE_NS 2000

/* Between a pass's end and the host's time, if nothing comes in between; two switches take longer.
 */
#define SINCE_LEFT_NS 1000

static _Thread_local int event_fd = -1;
static _Thread_local uint64_t seen_switches; /* when a loss was last looked at */
static _Thread_local int64_t before_host_ns, before_cpu_ns, left_host_ns;

static _Atomic bool any_signalled, any_not_signalled; /* of the vCPU threads */
static _Atomic uint64_t count;
static _Atomic int64_t taken_out_ns, left_in_ns, stolen_ns;

static int64_t cpu_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void control(unsigned long request)
{
    if (event_fd >= 0) {
        syscall(SYS_ioctl, event_fd, request, 0);
    }
}

void ft_preemption_watch(int signal)
{
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_SOFTWARE,
        .size = sizeof attributes,
        .config = PERF_COUNT_SW_CONTEXT_SWITCHES,
        .sample_period = 1,
        .wakeup_events = 1,
        .disabled = 1,
    };
    event_fd = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (event_fd < 0) {
        any_not_signalled = true; /* what is lost is counted, and reported */
        return;
    }
    struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = (int)syscall(SYS_gettid)};
    if (fcntl(event_fd, F_SETOWN_EX, &owner) < 0 || fcntl(event_fd, F_SETSIG, signal) < 0 ||
        fcntl(event_fd, F_SETFL, O_RDWR | O_NONBLOCK | O_ASYNC) < 0) {
        close(event_fd);
        event_fd = -1;
        any_not_signalled = true;
        return;
    }
    any_signalled = true;
}

bool ft_preemption_is_signalled(void)
{
    return event_fd >= 0;
}

bool ft_preemption_are_all_signalled(void)
{
    return any_signalled && !any_not_signalled;
}

void ft_preemption_before(void)
{
    control(PERF_EVENT_IOC_ENABLE);
    before_cpu_ns = cpu_now_ns();
    before_host_ns = ft_host_now_ns();
}

void ft_preemption_left(void)
{
    left_host_ns = ft_host_now_ns();
}

/* A kernel that accounts for the time of its interrupts (CONFIG_IRQ_TIME_ACCOUNTING) does not count
 * them as the thread's: what they took is no loss, as the guest has gone on behind them. */
static bool has_switched(void)
{
    uint64_t switches;
    if (event_fd < 0 ||
        syscall(SYS_read, event_fd, &switches, sizeof switches) != sizeof switches) {
        return true; /* not known */
    }
    bool is_new = switches != seen_switches;
    seen_switches = switches;
    return is_new;
}

/* Never more than it was: the thread's time is read around the host's. */
int64_t ft_preemption_after_ns(void)
{
    int64_t host_ns = left_host_ns - before_host_ns;
    int64_t lost_ns = host_ns - (cpu_now_ns() - before_cpu_ns);
    control(PERF_EVENT_IOC_DISABLE);
    return lost_ns > NOISE_NS && has_switched() ? lost_ns : 0;
}

int64_t ft_preemption_unseen_ns(int64_t lost_ns, int64_t since_ns, int64_t passed_ns)
{
    int64_t before_end_ns = since_ns > SINCE_LEFT_NS ? lost_ns - since_ns : lost_ns;
    if (before_end_ns <= 0 || passed_ns <= 0) {
        return 0;
    }
    return before_end_ns < passed_ns ? before_end_ns : passed_ns;
}

static void add(_Atomic int64_t *sum_ns, uint64_t cycles)
{
    atomic_fetch_add_explicit(sum_ns, ft_guest_time_ns_of((int64_t)cycles), memory_order_relaxed);
}

void ft_preemption_note(bool is_lost, const struct ft_stretch_lost *lost)
{
    atomic_fetch_add_explicit(&count, is_lost, memory_order_relaxed);
    add(&taken_out_ns, lost->taken_out_cycles);
    add(&left_in_ns, lost->left_in_cycles);
    add(&stolen_ns, lost->stolen_cycles);
}

struct ft_preemptions ft_preemption_sums(void)
{
    return (struct ft_preemptions){
        .count = count,
        .taken_out_ns = taken_out_ns,
        .left_in_ns = left_in_ns,
        .stolen_ns = stolen_ns,
    };
}
