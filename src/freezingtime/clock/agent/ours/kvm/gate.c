/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The counters of all vCPUs are the host's and one offset, as long as any of them executes. The
 * last to leave stops guest time where the furthest has seen it; the first to go back sets a new
 * offset. What one of them accesses is stamped once all have left: that takes the host as long as
 * it takes to interrupt them, and the guest sees it as part of the access.
 *
 * Who waits here can be interrupted by QEMU, or is waited for by nobody with the BQL: an owner may
 * need that. Waits are made of slices, and each of them looks at everything again.
 *
 * Owners come in turn. A vCPU that only computes could be kept out for ever by others that access
 * devices all the time. After it has missed OPENINGS_MAX openings it is overdue: no new owner comes
 * until it has executed.
 */
#define _GNU_SOURCE
#include "ours/kvm/gate.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ours/base.h"
#include "ours/emulator/control.h"
#include "ours/kvm/guest_time.h"
#include "qemu/exports.h"

#define OPENINGS_MAX 8
#define NOBODY (-1)

#define SLICE_NS 1000000

/* An interrupted vCPU leaves within microseconds, on a busy host within seconds. An owner is as
 * fast, apart from what it waits for itself: the emulator has its own deadline. In slices, so that
 * a stopped host counts little. */
#define LEAVE_SLICES 20000
#define OWNER_SLICES 120000

struct place {
    const struct kvm_run *run;
    pid_t thread;
    bool inside, executes, asks, is_overdue;
    bool waits;               /* since an opening */
    unsigned missed_openings; /* counted from there */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* never held across a wait */
static pthread_cond_t changed;
static int kick_signal;

/* All of this under the lock. */
static struct place places[FT_VCPUS_MAX];
static int owner = NOBODY;
static int inside_count, executing_count, asking_count, overdue_count;
static bool stopped;
static unsigned openings;
static int64_t offset; /* while any executes */

void ft_gate_start(void)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attributes);
    pthread_condattr_destroy(&attributes);
    cpu_set_t host_cpus;
    bool is_known = sched_getaffinity(0, sizeof host_cpus, &host_cpus) == 0;
    ft_stretch_start(is_known ? CPU_COUNT(&host_cpus) : FT_VCPUS_MAX);
}

void ft_gate_adopt(int cpu, const struct kvm_run *run, int kick)
{
    pthread_mutex_lock(&lock);
    kick_signal = kick;
    places[cpu].run = run;
    places[cpu].thread = (pid_t)syscall(SYS_gettid);
    pthread_mutex_unlock(&lock);
}

/* Returns whether the slice has gone by. Under the lock, which others get meanwhile. */
static bool wait_slice(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += SLICE_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    return pthread_cond_timedwait(&changed, &lock, &until) != 0;
}

static void require_owner(int cpu, int *slices)
{
    if (owner == NOBODY || stopped || ft_control_is_waiting() || !runstate_is_running()) {
        return; /* it waits for what has a deadline, or for the user */
    }
    if (++*slices > OWNER_SLICES) {
        ft_die(FT_EXIT_REFUSED,
               "CPU %d of the guest has waited %d s for CPU %d, whose access to a device does not "
               "come to its end; guest time stands still at %lld ns",
               cpu, OWNER_SLICES / 1000, owner, (long long)ft_guest_time_now_ns());
    }
}

static void open_gate(void)
{
    openings++;
    int next = NOBODY;
    for (int step = 1; asking_count > 0 && overdue_count == 0 && step <= FT_VCPUS_MAX; step++) {
        int candidate = (owner + step) % FT_VCPUS_MAX;
        if (places[candidate].asks) {
            next = candidate;
            break;
        }
    }
    owner = next;
    pthread_cond_broadcast(&changed);
}

static void note_waiting(struct place *place)
{
    if (!place->waits) {
        place->waits = true;
        place->missed_openings = openings;
    }
    if (!place->is_overdue && openings - place->missed_openings >= OPENINGS_MAX) {
        place->is_overdue = true;
        overdue_count++;
    }
}

static void settle(struct place *place)
{
    if (place->is_overdue) {
        place->is_overdue = false;
        overdue_count--;
        pthread_cond_broadcast(&changed);
    }
}

bool ft_gate_enter(int cpu)
{
    struct place *place = &places[cpu];
    int slices = 0;
    pthread_mutex_lock(&lock);
    if (owner == cpu) {
        open_gate();
    }
    while (owner != NOBODY || stopped) {
        if (__atomic_load_n(&place->run->immediate_exit, __ATOMIC_RELAXED)) {
            settle(place);
            pthread_mutex_unlock(&lock);
            return false;
        }
        note_waiting(place);
        if (wait_slice()) {
            require_owner(cpu, &slices);
        }
    }
    place->inside = true;
    inside_count++;
    pthread_mutex_unlock(&lock);
    return true;
}

int64_t ft_gate_begin_pass(int cpu, const struct ft_pass_cost *cost, uint64_t *from_tsc)
{
    pthread_mutex_lock(&lock);
    places[cpu].executes = true;
    if (executing_count++ == 0) {
        *from_tsc = ft_guest_time_tsc();
        offset = ft_pass_offset(cost, *from_tsc);
        ft_stretch_begin(*from_tsc);
    } else {
        *from_tsc = ft_pass_tsc(offset);
    }
    int64_t common = offset;
    pthread_mutex_unlock(&lock);
    return common;
}

static void go_out(struct place *place)
{
    place->inside = false;
    inside_count--;
    settle(place);
    if (inside_count == 0) {
        pthread_cond_broadcast(&changed);
    }
}

struct ft_stretch_lost ft_gate_leave(int cpu, const struct ft_gate_pass *pass)
{
    struct place *place = &places[cpu];
    struct ft_stretch_lost lost = {0};
    pthread_mutex_lock(&lock);
    place->executes = false;
    executing_count--;
    place->waits = false;
    ft_guest_time_reach(pass->to_tsc - pass->unseen_cycles);
    ft_stretch_add(cpu, pass->to_tsc - pass->from_tsc, pass->off_cycles);
    if (executing_count == 0) {
        lost = ft_stretch_end(pass->to_tsc, ft_guest_time_tsc());
    }
    go_out(place);
    pthread_mutex_unlock(&lock);
    return lost;
}

void ft_gate_turn_back(int cpu)
{
    pthread_mutex_lock(&lock);
    go_out(&places[cpu]);
    pthread_mutex_unlock(&lock);
}

static void kick_all(void)
{
    for (int cpu = 0; cpu < FT_VCPUS_MAX; cpu++) {
        if (places[cpu].inside) {
            syscall(SYS_tgkill, getpid(), places[cpu].thread, kick_signal);
        }
    }
}

/* An owner that has stopped, as its machine does, will not come to give it up. */
static void release_stopped_owner(void)
{
    if (owner != NOBODY && cpu_is_stopped(qemu_get_cpu(owner))) {
        open_gate();
    }
}

static void ask(int cpu)
{
    int slices = 0;
    places[cpu].asks = true;
    asking_count++;
    while (owner != cpu) {
        if (owner == NOBODY && overdue_count == 0) {
            owner = cpu;
        } else if (wait_slice()) {
            release_stopped_owner();
            require_owner(cpu, &slices);
        }
    }
    places[cpu].asks = false;
    asking_count--;
}

void ft_gate_own(int cpu)
{
    pthread_mutex_lock(&lock);
    if (owner != cpu) {
        ask(cpu);
    }
    kick_all();
    for (int slices = 0; inside_count > 0;) {
        if (!wait_slice()) {
            continue;
        }
        kick_all();
        if (++slices > LEAVE_SLICES) {
            ft_die(FT_EXIT_REFUSED,
                   "CPU %d of the guest has waited %d s for %d others to leave it, which KVM was "
                   "told to have them do; guest time stands still at %lld ns",
                   cpu, LEAVE_SLICES / 1000, inside_count, (long long)ft_guest_time_now_ns());
        }
    }
    pthread_mutex_unlock(&lock);
}

bool ft_gate_is_owner(int cpu)
{
    pthread_mutex_lock(&lock);
    bool is_owner = owner == cpu;
    pthread_mutex_unlock(&lock);
    return is_owner;
}

bool ft_gate_has_owner(void)
{
    pthread_mutex_lock(&lock);
    bool has_owner = owner != NOBODY;
    pthread_mutex_unlock(&lock);
    return has_owner;
}

void ft_gate_give_up(int cpu)
{
    pthread_mutex_lock(&lock);
    if (owner == cpu) {
        open_gate();
    }
    places[cpu].waits = false;
    pthread_mutex_unlock(&lock);
}

int64_t ft_gate_ahead_cycles(void)
{
    pthread_mutex_lock(&lock);
    int64_t ahead = executing_count > 0 ? (int64_t)(ft_pass_tsc(offset) - ft_guest_time_tsc()) : 0;
    pthread_mutex_unlock(&lock);
    return ahead > 0 ? ahead : 0;
}

bool ft_gate_is_overdue(int cpu)
{
    return places[cpu].is_overdue; /* its own thread's to write */
}

void ft_gate_stop(void)
{
    pthread_mutex_lock(&lock);
    stopped = true;
    pthread_mutex_unlock(&lock);
}

void ft_gate_machine_runs(void)
{
    pthread_mutex_lock(&lock);
    stopped = false;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}
