/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Holding the vCPU: the one place where guest time waits for the emulator.
 *
 * A request's doorbell is handled in the vCPU thread, so its arrival is stamped there to
 * the instruction. It arms the agent's timer for this very instant; the timer fires before
 * the next guest instruction, and the exchange that follows covers everything that the
 * doorbell sent. The emulator answers with the replies that are due now and the time of
 * the next event, for which the timer is armed again.
 *
 * While the machine does not run, guest time cannot reach any event: whatever QEMU asks
 * of a disk then is answered at once (a drain). The same holds where QEMU itself waits for
 * a disk with the BQL held, as in a device's reset or at the machine's end.
 */
#include <stdlib.h>

#include "agent.h"
#include "qemu.h"

/* Larger than any QEMUTimer; QEMU initialises it. */
static _Alignas(16) char event_timer[256];

static bool holding; /* on_event is at work: what QEMU polls for now, we poll for */
static bool arrivals_to_report;
static int64_t next_event_ns = FT_NEVER; /* as last ordered */
static uint32_t in_flight;

/* Replies that QEMU has read but whose interrupts are not yet raised. */
static struct {
    uint32_t disk;
    uint64_t cookie;
} delivering[FT_MAX_STAMPS];
static size_t delivering_count;
static uint64_t replies_received;

#ifdef FT_FAULTS
/* Test builds only: every event is met this much too late, for the audit to find. */
static int64_t fault_late_ns(void)
{
    const char *text = getenv("FREEZINGTIME_FAULT_LATE_NS");
    return text ? strtoll(text, NULL, 10) : 0;
}
#else
static int64_t fault_late_ns(void)
{
    return 0;
}
#endif

static void stamp_deliveries(void)
{
    int64_t now_ns = ft_clock_now_ns();
    for (size_t i = 0; i < delivering_count; i++) {
        ft_control_stamp(delivering[i].disk, FT_STAMP_DELIVERY, delivering[i].cookie, now_ns);
    }
    delivering_count = 0;
}

/* Run QEMU's main loop until it has read the replies and raised their interrupts. */
static void deliver(uint32_t reply_count)
{
    AioContext *context = qemu_get_aio_context();
    uint64_t expected = replies_received + reply_count;
    while (replies_received < expected) {
        aio_poll(context, true);
    }
    while (aio_poll(context, false)) {
    }
    stamp_deliveries();
}

static struct ft_order exchange(uint16_t flags)
{
    arrivals_to_report = false;
    struct ft_order order = ft_control_exchange(flags, ft_clock_now_ns(), ft_clock_warped_ns());
    if (order.rate_hz) {
        ft_clock_set_rate(order.rate_hz);
    }
    return order;
}

static void arm(void)
{
    if (next_event_ns == FT_NEVER) {
        timer_del(event_timer);
    } else {
        timer_mod_ns(event_timer, next_event_ns + fault_late_ns());
    }
}

static void stop_machine(void)
{
    vm_stop(qapi_enum_parse(RunState_lookup, "paused", -1, NULL));
}

/* The agent's timer: vCPU thread between two guest instructions, BQL held. */
static void on_event(void *unused)
{
    (void)unused;
    bool stop = false;

    holding = true;
    ft_deferred_run();
    /* A completion may let QEMU send more, such as the next piece of a request that it has
     * split: it arrives now too. Deliveries alone can wait. */
    while (arrivals_to_report || ft_clock_now_ns() >= next_event_ns) {
        struct ft_order order = exchange(FT_REPORT_RUNNING);
        deliver(order.reply_count);
        next_event_ns = order.next_event_ns;
        stop = stop || (order.flags & FT_ORDER_STOP);
    }
    arm();
    holding = false;
    if (stop) {
        stop_machine();
    }
}

/* Answer everything now; QEMU's own polling picks the replies up. */
static void drain(void)
{
    exchange(FT_REPORT_DRAIN);
}

/* Main thread, BQL held; the vCPU is stopped. */
static void on_vm_change(void *unused, bool running, int state)
{
    (void)unused;
    (void)state;
    if (running) {
        ft_clock_machine_runs();
        ft_cpus_machine_runs();
        return;
    }
    ft_deferred_forget();
    if (in_flight > 0) {
        drain();
    }
}

/* Main thread, BQL held, once the machine is built. */
void ft_hold_start(void)
{
    timer_init_full(event_timer, NULL, QEMU_CLOCK_VIRTUAL, QEMU_TIMER_NS, 0, on_event, NULL);
    qemu_add_vm_change_state_handler(on_vm_change, NULL);
    exchange(FT_REPORT_HELLO);
}

/* A request has been sent whole. BQL held. */
void ft_hold_request_sent(uint32_t disk, uint64_t cookie)
{
    int64_t now_ns = ft_clock_now_ns();
    in_flight++;
    if (!runstate_is_running()) {
        ft_control_stamp(disk, FT_STAMP_HOST, cookie, now_ns);
        drain();
        return;
    }
    ft_control_stamp(disk, qemu_in_vcpu_thread() ? 0 : FT_STAMP_ADRIFT, cookie, now_ns);
    arrivals_to_report = true;
    timer_mod_ns(event_timer, now_ns);
}

/* A reply has been read whole. BQL held. */
void ft_hold_reply_received(uint32_t disk, uint64_t cookie)
{
    in_flight--;
    replies_received++;
    if (holding) {
        if (delivering_count == FT_MAX_STAMPS) {
            ft_die(FT_EXIT_REFUSED, "more than %u replies in one hold", FT_MAX_STAMPS);
        }
        delivering[delivering_count].disk = disk;
        delivering[delivering_count].cookie = cookie;
        delivering_count++;
    } else {
        uint32_t how = runstate_is_running() ? FT_STAMP_ADRIFT : FT_STAMP_HOST;
        ft_control_stamp(disk, FT_STAMP_DELIVERY | how, cookie, ft_clock_now_ns());
    }
}

/* vCPU thread, BQL held. */
bool ft_hold_before_next_instruction(void)
{
    if (holding || !runstate_is_running()) {
        return false;
    }
    timer_mod_ns(event_timer, ft_clock_now_ns());
    return true;
}

/* Whoever waits for I/O with the BQL held (a device in a register handler, or QEMU's main
 * thread on its way out) blocks the vCPU: guest time cannot move, so the event that it
 * waits for would never come. The main loop releases the BQL before it waits. */
void ft_hold_about_to_block(void)
{
    if (qemu_mutex_iothread_locked() && in_flight > 0 && !holding) {
        drain();
    }
}
