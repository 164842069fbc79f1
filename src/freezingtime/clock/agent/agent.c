/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The agent: a library preloaded into a stock QEMU that puts guest time in the emulator's
 * hands. This file decides whether it may work at all, and starts the other parts.
 *
 * Environment (set by the virtual clock; without FREEZINGTIME_CONTROL the agent is inert):
 *   FREEZINGTIME_CONTROL      name of the emulator's control socket (abstract, as all are)
 *   FREEZINGTIME_NBD_PREFIX   disk N's NBD socket has this name followed by N
 *   FREEZINGTIME_START_NS     guest time before the machine first runs
 *   FREEZINGTIME_RATE_HZ      instructions that the guest executes per second
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent.h"
#include "qemu.h"

/* Read from the file (digest.py): which sources this was made of. */
#ifndef FT_SOURCES
#define FT_SOURCES "sources that nobody named"
#endif
__attribute__((used)) static const char made_of[] = "freezingtime agent of " FT_SOURCES;

#define MIN_RATE_HZ UINT64_C(1000000)
#define MAX_RATE_HZ UINT64_C(16000000000)

static struct {
    bool active, started;
    int64_t start_ns;
    uint64_t rate_hz;
} agent;

_Noreturn void ft_die(int status, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    dprintf(STDERR_FILENO, "freezingtime agent: %s\n", text);
    _exit(status);
}

static void require_symbols(void)
{
    const struct {
        const char *name;
        const void *address;
    } needed[] = {
#define NEED(symbol) {#symbol, (const void *)&(symbol)}
        NEED(icount_get),
        NEED(icount_get_raw),
        NEED(icount_round),
        NEED(icount_update),
        NEED(qemu_clock_deadline_ns_all),
        NEED(timer_init_full),
        NEED(timer_mod_ns),
        NEED(timer_del),
        NEED(timerlist_new),
        NEED(use_icount),
        NEED(qemu_get_aio_context),
        NEED(aio_poll),
        NEED(qemu_coroutine_self),
        NEED(qemu_coroutine_yield),
        NEED(aio_co_wake),
        NEED(aio_co_schedule),
        NEED(bdrv_find_format),
        NEED(bdrv_get_node_name),
        NEED(nbd_errno_to_system_errno),
        NEED(phase_check),
        NEED(runstate_is_running),
        NEED(qemu_add_vm_change_state_handler),
        NEED(vm_stop),
        NEED(qapi_enum_parse),
        NEED(RunState_lookup),
        NEED(qemu_in_vcpu_thread),
        NEED(qemu_mutex_iothread_locked),
        NEED(qemu_mutex_lock_impl),
        NEED(qemu_mutex_unlock_impl),
        NEED(qemu_bql_mutex_lock_func),
        NEED(qemu_get_cpu),
        NEED(async_run_on_cpu),
        NEED(cpu_is_stopped),
        NEED(cpu_thread_is_idle),
        NEED(process_queued_cpu_work),
        NEED(get_ptr_rcu_reader),
        NEED(rcu_remove_force_rcu_notifier),
        NEED(cpus_get_accel),
#undef NEED
    };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (!needed[i].address) {
            ft_die(FT_EXIT_REFUSED,
                   "this QEMU does not export %s; use Debian 12's qemu-system-x86_64 7.2",
                   needed[i].name);
        }
    }
}

static const char *required_setting(const char *name)
{
    const char *text = getenv(name);
    if (!text || !*text) {
        ft_die(FT_EXIT_REFUSED, "%s is not set", name);
    }
    return text;
}

static uint64_t number_setting(const char *name, uint64_t least, uint64_t most)
{
    const char *text = required_setting(name);
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno || *end || value < least || value > most) {
        ft_die(FT_EXIT_REFUSED, "%s=%s: expected a number from %llu to %llu", name, text,
               (unsigned long long)least, (unsigned long long)most);
    }
    return value;
}

/* Before QEMU's main; single thread. */
__attribute__((constructor)) static void load(void)
{
    if (!getenv("FREEZINGTIME_CONTROL")) {
        return;
    }
    require_symbols();
    agent.start_ns = (int64_t)number_setting("FREEZINGTIME_START_NS", 0, INT64_MAX / 2);
    agent.rate_hz = number_setting("FREEZINGTIME_RATE_HZ", MIN_RATE_HZ, MAX_RATE_HZ);
    ft_interpose_init(required_setting("FREEZINGTIME_NBD_PREFIX"));
    ft_control_connect(required_setting("FREEZINGTIME_CONTROL"));
    ft_nbd_driver_install();
    ft_output_init();
    agent.active = true;
    /* What QEMU starts (a migration's command, for example) is not ours to watch. */
    unsetenv("LD_PRELOAD");
    unsetenv("FREEZINGTIME_CONTROL");
}

/* Called whenever QEMU polls; acts once, in the main thread's event loop, as soon as the
 * machine is built. Thanks to -S it has not run then. */
void ft_agent_start_when_ready(void)
{
    bool main_thread = getpid() == gettid();
    if (!main_thread || !agent.active || agent.started || !phase_check(QEMU_PHASE_MACHINE_READY)) {
        return;
    }
    agent.started = true;
    if (runstate_is_running()) {
        ft_die(FT_EXIT_REFUSED, "the machine already runs; start QEMU with -S");
    }
    ft_clock_install(agent.start_ns, agent.rate_hz);
    ft_outside_start();
    ft_hold_start();
    ft_deferred_start();
}
