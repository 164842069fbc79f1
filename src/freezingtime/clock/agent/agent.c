/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The agent: a library preloaded into a stock QEMU that puts guest time in the emulator's
 * hands. This file reads its settings and puts the parts together: what QEMU calls (qemu/) and
 * what is to happen then (ours/).
 *
 * Environment (set by the virtual clock; without the first or the last of these it is inert):
 *   FREEZINGTIME_CONTROL      name of the emulator's control socket (abstract, as all are)
 *   FREEZINGTIME_NBD_PREFIX   disk N's NBD socket has this name followed by N
 *   FREEZINGTIME_START_NS     guest time before the machine first runs
 *   FREEZINGTIME_RATE_HZ      instructions that the guest executes per second
 *   FREEZINGTIME_CLOCK        "kvm": KVM executes the guest, at the host's own rate
 *   FREEZINGTIME_TSC_KHZ      frequency of the guest's cycle counter
 *   FREEZINGTIME_PROBE        instead of all these: find every hook, name them on stdout, end QEMU
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ours/base.h"
#include "ours/emulator/control.h"
#include "ours/emulator/nbd_client.h"
#include "ours/emulator/output.h"
#include "ours/kvm/calibration.h"
#include "ours/kvm/entries.h"
#include "ours/kvm/gate.h"
#include "ours/kvm/guest_time.h"
#include "ours/time/counter.h"
#include "ours/time/deferred.h"
#include "ours/time/hold.h"
#include "ours/time/outside.h"
#include "ours/time/time.h"
#include "ours/time/turns.h"
#include "qemu/cpus/accelerator.h"
#include "qemu/cpus/rcu.h"
#include "qemu/cpus/blocks.h"
#include "qemu/cpus/round_robin.h"
#include "qemu/exports.h"
#include "qemu/hooks.h"
#include "qemu/kvm/calls.h"
#include "qemu/kvm/devices.h"
#include "qemu/kvm/sipi.h"
#include "qemu/kvm/table.h"
#include "qemu/kvm/timers.h"
#include "qemu/libraries/sockets.h"
#include "qemu/libraries/waits.h"
#include "qemu/libraries/writes.h"
#include "qemu/lock.h"
#include "qemu/nbd_driver.h"

/* Read from the file (digest.py): which sources this was made of. */
#ifndef FT_SOURCES
#define FT_SOURCES "sources that nobody named"
#endif
__attribute__((used)) static const char made_of[] = "freezingtime agent of " FT_SOURCES;

#define MIN_RATE_HZ UINT64_C(1000000)
#define MAX_RATE_HZ UINT64_C(16000000000)
#define MIN_TSC_KHZ UINT64_C(1000)
#define MAX_TSC_KHZ UINT64_C(16000000)

/* How long a machine may run, in host time, before QEMU has called every hook: it takes it
 * milliseconds. */
#define CALL_DEADLINE_NS INT64_C(60000000000)

static struct {
    bool probes; /* instead of working */
    bool is_kvm; /* not TCG */
    bool started;
    int64_t start_ns;
    uint64_t rate_hz;
} agent = {.rate_hz = MIN_RATE_HZ};

static const char *required_setting(const char *name)
{
    const char *text = getenv(name);
    if (!text || !*text) {
        ft_die(FT_EXIT_REFUSED, "%s is not set", name);
    }
    return text;
}

static bool is_setting(const char *name, const char *value)
{
    const char *text = getenv(name);
    return text && strcmp(text, value) == 0;
}

static uint64_t number_setting(const char *name, uint64_t least, uint64_t most)
{
    const char *text = required_setting(name);
    char *end;
    errno = 0;
    uint64_t value = ft_strtoull(text, &end, 10);
    if (errno || *end || value < least || value > most) {
        ft_die(FT_EXIT_REFUSED, "%s=%s: expected a number from %llu to %llu", name, text,
               (unsigned long long)least, (unsigned long long)most);
    }
    return value;
}

static int64_t tcg_cycles(void)
{
    return ft_guest_time_counter_at(ft_time_now_ns());
}

static void tcg_machine_runs(void)
{
    ft_time_machine_runs();
    ft_turns_machine_runs();
}

static struct ft_kvm_account no_account(void)
{
    return (struct ft_kvm_account){0};
}

static const struct ft_guest_clock tcg_clock = {
    .now_ns = ft_time_now_ns,
    .skipped_ns = ft_time_skipped_ns,
    .set_rate = ft_time_set_rate,
    .machine_runs = tcg_machine_runs,
    .stop = ft_turns_stop,
    .account = no_account,
};

/* TCG executes the guest, and counts its instructions. Main thread, BQL held. */
static void start_tcg(void)
{
    static const struct ft_accelerator_calls accelerator = {
        .now_ns = ft_time_now_ns,
        .cycles = tcg_cycles,
        .may_sleep = ft_turns_may_sleep,
        .interrupts = ft_outside_interrupt,
        .may_kick = ft_turns_may_kick,
    };
    static const struct ft_round_robin_calls round_robin = {
        .before_timers = ft_deferred_expect,
        .begin_round = ft_turns_begin_round,
        .begin_turn = ft_turns_begin_turn,
        .budget = ft_turns_budget,
        .execute = ft_turns_execute,
    };
    if (use_icount != 1) {
        ft_die(FT_EXIT_REFUSED,
               "QEMU does not count instructions; start it with -icount shift=0,sleep=off");
    }
    ft_time_start(agent.start_ns, agent.rate_hz);
    const void *address = ft_accelerator_hook(&accelerator);
    ft_round_robin_hook(address, &round_robin);
    ft_blocks_hook();
    ft_rcu_hook(address, ft_turns_start() > 1);
    ft_hold_start(agent.start_ns == 0);
}

static void no_rate(uint64_t rate_hz)
{
    (void)rate_hz; /* it is the host's */
}

static const struct ft_guest_clock kvm_clock = {
    .now_ns = ft_guest_time_now_ns,
    .skipped_ns = ft_guest_time_warped_ns,
    .set_rate = no_rate,
    .machine_runs = ft_gate_machine_runs,
    .stop = ft_gate_stop,
    .account = ft_entries_account,
    .has_left = ft_entries_has_left,
};

/* KVM executes the guest, and its cycle counter is its time. Main thread, BQL held. */
static void start_kvm(void)
{
    static const struct ft_kvm_table_calls table = {
        .now_ns = ft_guest_time_now_ns,
        .may_sleep = ft_entries_may_sleep,
    };
    static struct ft_calibration calibration;
    int cpu_count = 1;
    while (qemu_get_cpu(cpu_count)) {
        cpu_count++;
    }
    ft_calibrate(&calibration, cpu_count);
    ft_guest_time_start(agent.start_ns);
    ft_entries_start(&calibration);
    ft_kvm_table_hook(&table);
    ft_kvm_sipi_hook();
    ft_hold_start(agent.start_ns == 0);
}

/* QEMU's machine is built and has not run, thanks to -S. Main thread, BQL held. */
static void start(void)
{
    if (runstate_is_running()) {
        ft_die(FT_EXIT_REFUSED, "the machine already runs; start QEMU with -S");
    }
    if (agent.is_kvm) {
        start_kvm();
    } else {
        start_tcg();
    }
    ft_hooks_require_found();
    if (agent.probes) {
        char text[1024];
        ft_hooks_describe(text, sizeof text);
        dprintf(STDOUT_FILENO, "freezingtime agent: %s\n", text);
        _exit(0);
    }
    ft_hold_say_hello();
}

/* Each few seconds, in a thread of its own: a hook that QEMU does not call may keep guest time from
 * going on at all. */
static void on_tick(void)
{
    int64_t since_ns = ft_hold_running_since_ns();
    if (since_ns > 0 && ft_host_now_ns() - since_ns > CALL_DEADLINE_NS) {
        ft_hooks_require_called(false);
    }
}

/* A thread of QEMU's waits. The main loop does so without the BQL, and no sooner than the machine
 * is built: the first time, the agent starts. */
static void on_wait(bool blocks)
{
    bool is_main_thread = getpid() == (pid_t)syscall(SYS_gettid); /* glibc 2.30 has gettid() */
    ft_nbd_driver_check();
    if (is_main_thread && !agent.started && !ft_lock_is_held() &&
        phase_check(QEMU_PHASE_MACHINE_BUILT)) {
        agent.started = true;
        ft_lock_take();
        start();
        ft_lock_release();
    }
    if (blocks) {
        ft_hold_about_to_block();
    }
}

/* Before QEMU's main; single thread. */
__attribute__((constructor)) static void load(void)
{
    agent.probes = getenv("FREEZINGTIME_PROBE") != NULL;
    if (!getenv("FREEZINGTIME_CONTROL") && !agent.probes) {
        return;
    }
    agent.is_kvm = is_setting("FREEZINGTIME_CLOCK", "kvm");
    ft_hooks_choose(agent.is_kvm);
    ft_exports_require(agent.is_kvm);
    ft_lock_require();
    if (!agent.probes) {
        agent.start_ns = (int64_t)number_setting("FREEZINGTIME_START_NS", 0, INT64_MAX / 2);
        agent.rate_hz = number_setting("FREEZINGTIME_RATE_HZ", MIN_RATE_HZ, MAX_RATE_HZ);
        ft_guest_time_counter_start(
            (uint32_t)number_setting("FREEZINGTIME_TSC_KHZ", MIN_TSC_KHZ, MAX_TSC_KHZ));
        ft_sockets_hook(required_setting("FREEZINGTIME_NBD_PREFIX"), ft_nbd_connected,
                        ft_nbd_closed);
        ft_control_connect(required_setting("FREEZINGTIME_CONTROL"), on_tick);
    }
    ft_hold_take_clock(agent.is_kvm ? &kvm_clock : &tcg_clock);
    ft_nbd_driver_hook(ft_hold_send);
    ft_waits_hook(on_wait);
    ft_writes_hook(ft_output_not_written);
    if (agent.is_kvm) {
        ft_timers_hook();
        ft_kvm_devices_hook();
        ft_gate_start();
        ft_kvm_calls_hook(ft_entries_run, ft_guest_time_tsc);
    }
    /* What QEMU starts (a migration's command, for example) is not ours to watch. */
    unsetenv("LD_PRELOAD");
    unsetenv("FREEZINGTIME_CONTROL");
    unsetenv("FREEZINGTIME_PROBE");
}
