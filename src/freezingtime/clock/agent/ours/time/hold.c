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
#include "ours/time/hold.h"

#include <stdlib.h>
#include <string.h>

#include "ours/base.h"
#include "ours/emulator/control.h"
#include "ours/time/deferred.h"
#include "ours/emulator/nbd_client.h"
#include "ours/time/outside.h"
#include "ours/time/time.h"
#include "ours/time/turns.h"
#include "qemu/exports.h"
#include "qemu/hooks.h"
#include "qemu/lock.h"

/* Larger than any QEMUTimer; QEMU initialises it. */
static _Alignas(16) char event_timer[256];

static bool holding; /* on_event is at work, and does what QEMU defers */
static bool arrivals_to_report;
static int64_t next_event_ns = FT_NEVER; /* as last ordered */
static uint32_t in_flight;
static bool has_booted; /* from power-on, not gone on from a snapshot */

/* How many completions the guest has been given when QEMU must have called every hook: it has
 * asked, idled or not, been interrupted, and gone on. No job ends with fewer. */
#define DELIVERIES_TO_CALL_ALL 3
static uint32_t deliveries_made; /* up to that */
static _Atomic int64_t running_since_ns;

/* The disks of replies that the emulator has announced, to be received from `first` on. */
static struct {
    uint32_t disks[FT_MAX_REPLIES];
    size_t first, count;
} announced;

/* Replies that QEMU has but whose interrupts are not yet raised. */
static struct {
    uint32_t disk;
    uint64_t cookie;
} delivering[FT_MAX_REPLIES];
static size_t delivering_count;

#ifdef FT_FAULTS
/* Test builds only: every event is met this much too late, for the audit to find. */
static int64_t fault_late_ns(void)
{
    const char *text = getenv("FREEZINGTIME_FAULT_LATE_NS");
    return text ? (int64_t)ft_strtoull(text, NULL, 10) : 0;
}
#else
static int64_t fault_late_ns(void)
{
    return 0;
}
#endif

static void stamp_deliveries(void)
{
    int64_t now_ns = ft_time_now_ns();
    for (size_t i = 0; i < delivering_count; i++) {
        ft_control_stamp(delivering[i].disk, FT_STAMP_DELIVERY, delivering[i].cookie, now_ns);
    }
    delivering_count = 0;
}

static struct ft_request *receive_next(void)
{
    struct ft_request *request = ft_nbd_receive(announced.disks[announced.first++]);
    in_flight--;
    return request;
}

/* Complete the requests, and run QEMU's main loop until their interrupts are raised. */
static void deliver(void)
{
    AioContext *context = qemu_get_aio_context();
    while (announced.first < announced.count) {
        struct ft_request *request = receive_next();
        delivering[delivering_count].disk = request->disk;
        delivering[delivering_count].cookie = request->cookie;
        delivering_count++;
        aio_co_wake(request->waiting);
        deliveries_made += deliveries_made < DELIVERIES_TO_CALL_ALL;
    }
    while (aio_poll(context, false)) {
    }
    stamp_deliveries();
}

static struct ft_order exchange(uint16_t flags)
{
    arrivals_to_report = false;
    if (ft_outside_take()) {
        flags |= FT_REPORT_DISTURBED;
    }
    const struct ft_order *order =
        ft_control_exchange(flags, ft_time_now_ns(), ft_time_skipped_ns());
    if (order->rate_hz) {
        ft_time_set_rate(order->rate_hz);
    }
    if (announced.first == announced.count) {
        announced.first = announced.count = 0;
    }
    if (order->reply_count > FT_MAX_REPLIES - announced.count) {
        ft_die(FT_EXIT_REFUSED, "the emulator announced more than %u replies", FT_MAX_REPLIES);
    }
    memcpy(announced.disks + announced.count, order + 1,
           order->reply_count * sizeof announced.disks[0]);
    announced.count += order->reply_count;
    return *order;
}

/* Before the emulator hears of what may be wrong, such as a job's end. */
static void require_hooks_called(void)
{
    if (deliveries_made == DELIVERIES_TO_CALL_ALL) {
        deliveries_made++;
        ft_hooks_require_called(has_booted);
    }
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
    ft_turns_stop();
    vm_stop(qapi_enum_parse(RunState_lookup, "paused", -1, NULL));
    ft_deferred_forget(); /* the request to stop is QEMU's main thread's to see */
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
    while (arrivals_to_report || ft_time_now_ns() >= next_event_ns) {
        require_hooks_called();
        struct ft_order order = exchange(FT_REPORT_RUNNING);
        deliver();
        next_event_ns = order.next_event_ns;
        stop = stop || (order.flags & FT_ORDER_STOP);
    }
    arm();
    holding = false;
    if (stop) {
        stop_machine();
    }
}

/* Have everything answered now. Whoever waits for an answer goes on as soon as QEMU polls: this
 * may be called from within a request, or where QEMU is about to wait. BQL held. */
static void drain(void)
{
    uint32_t how = runstate_is_running() ? FT_STAMP_ADRIFT : FT_STAMP_HOST;
    exchange(FT_REPORT_DRAIN);
    while (announced.first < announced.count) {
        struct ft_request *request = receive_next();
        ft_control_stamp(request->disk, FT_STAMP_DELIVERY | how, request->cookie, ft_time_now_ns());
        if (request->waiting) {
            aio_co_schedule(qemu_get_aio_context(), request->waiting);
        }
    }
}

/* Main thread, BQL held; the vCPU is stopped. */
static void on_vm_change(void *unused, bool running, int state)
{
    (void)unused;
    (void)state;
    running_since_ns = running ? ft_host_now_ns() : 0;
    if (running) {
        ft_time_machine_runs();
        ft_turns_machine_runs();
        return;
    }
    ft_deferred_forget();
    if (in_flight > 0) {
        drain();
    }
}

/* vCPU thread, BQL held. */
static bool before_next_instruction(void)
{
    if (holding || !runstate_is_running()) {
        return false;
    }
    timer_mod_ns(event_timer, ft_time_now_ns());
    return true;
}

void ft_hold_start(bool boots)
{
    has_booted = boots;
    timer_init_full(event_timer, NULL, QEMU_CLOCK_VIRTUAL, QEMU_TIMER_NS, 0, on_event, NULL);
    qemu_add_vm_change_state_handler(on_vm_change, NULL);
    ft_deferred_start(before_next_instruction);
}

void ft_hold_say_hello(void)
{
    exchange(FT_REPORT_HELLO);
}

void ft_hold_send(struct ft_request *request)
{
    ft_nbd_send(request);
    int64_t now_ns = ft_time_now_ns();
    if (++in_flight > FT_MAX_REPLIES) {
        ft_die(FT_EXIT_REFUSED, "more than %u requests in flight", FT_MAX_REPLIES);
    }
    if (!runstate_is_running()) {
        ft_control_stamp(request->disk, FT_STAMP_HOST, request->cookie, now_ns);
        drain();
        return;
    }
    ft_control_stamp(request->disk, qemu_in_vcpu_thread() ? 0 : FT_STAMP_ADRIFT, request->cookie,
                     now_ns);
    arrivals_to_report = true;
    timer_mod_ns(event_timer, now_ns);
}

int64_t ft_hold_running_since_ns(void)
{
    return running_since_ns;
}

/* Whoever waits for I/O with the BQL held (a device in a register handler, or QEMU's main
 * thread on its way out) blocks the vCPU: guest time cannot move, so the event that it
 * waits for would never come. The main loop releases the BQL before it waits. */
void ft_hold_about_to_block(void)
{
    if (ft_lock_is_held() && in_flight > 0) {
        drain();
    }
}
