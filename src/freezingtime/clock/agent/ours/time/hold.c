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

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ours/base.h"
#include "ours/emulator/control.h"
#include "ours/time/deferred.h"
#include "ours/emulator/nbd_client.h"
#include "ours/time/outside.h"
#include "qemu/commands.h"
#include "qemu/exports.h"
#include "qemu/hooks.h"
#include "qemu/lock.h"

/* Larger than any QEMUTimer; QEMU initialises it. */
static _Alignas(16) char event_timer[256];

static struct ft_guest_clock guest;

static bool holding; /* on_event is at work, and does what QEMU defers */
static bool arrivals_to_report;
static int64_t next_event_ns = FT_NEVER; /* as last ordered: a delivery or a report */
static uint32_t in_flight;
static bool has_booted; /* from power-on, not gone on from a snapshot */

/* How many completions the guest has been given when QEMU must have called every hook: it has
 * asked, idled or not, been interrupted, and gone on. No job ends with fewer. */
#define DELIVERIES_TO_CALL_ALL 3
static uint32_t deliveries_made; /* up to that */
static _Atomic int64_t running_since_ns;

/* Requests whose replies are here, to be answered at once. */
static struct {
    struct ft_request *requests[FT_MAX_REPLIES];
    size_t first, count;
} due;

/* The same for those to be answered later, in order of their times, each without a report. A report
 * before takes them back: what is left of them is for the order that follows to say. */
static struct {
    struct ft_request *requests[FT_MAX_SCHEDULED];
    int64_t times_ns[FT_MAX_SCHEDULED];
    size_t first, count;
} scheduled;
static int64_t next_report_ns = FT_NEVER; /* behind those */

/* Replies that QEMU has but whose interrupts are not yet raised. */
static struct {
    uint32_t disk;
    uint64_t cookie;
} delivering[FT_MAX_REPLIES];
static size_t delivering_count;

/* Commands that QEMU is to execute before the next guest instruction. */
static struct {
    char texts[FT_MAX_COMMAND_BYTES];
    size_t bytes;
} commands;
static bool commanding; /* what QEMU asks of a disk now is its own doing, not the guest's */

/* The flush that came last, if the emulator has not heard of it, and the vCPU that is in the access
 * to a register in which it was sent. */
static struct {
    bool is_here;
    pthread_t vcpu;
} last_flush;
static bool stop_ordered; /* in the middle of an access to a register */

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

static void stamp(uint32_t disk, uint32_t flags, uint64_t cookie, int64_t time_ns)
{
    ft_control_stamp((struct ft_stamp){
        .disk = disk,
        .flags = flags,
        .cookie = cookie,
        .time_ns = time_ns,
        .warped_ns = guest.skipped_ns(),
    });
}

static void stamp_deliveries(void)
{
    int64_t now_ns = guest.now_ns();
    for (size_t i = 0; i < delivering_count; i++) {
        stamp(delivering[i].disk, FT_STAMP_DELIVERY, delivering[i].cookie, now_ns);
    }
    delivering_count = 0;
}

static void add_due(struct ft_request *request)
{
    if (due.first == due.count) {
        due.first = due.count = 0;
    }
    if (due.count == FT_MAX_REPLIES) {
        ft_die(FT_EXIT_REFUSED, "the emulator announced more than %u replies", FT_MAX_REPLIES);
    }
    due.requests[due.count++] = request;
}

static struct ft_request *answer_next(void)
{
    struct ft_request *request = due.requests[due.first++];
    ft_nbd_answer(request);
    in_flight--;
    return request;
}

/* Complete the requests, and run QEMU's main loop until their interrupts are raised. */
static void deliver(void)
{
    AioContext *context = qemu_get_aio_context();
    while (due.first < due.count) {
        struct ft_request *request = answer_next();
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
    last_flush.is_here = false;
    if (ft_outside_take()) {
        flags |= FT_REPORT_DISTURBED;
    }
    struct ft_kvm_account account = guest.account();
    const struct ft_order *order =
        ft_control_exchange(flags, guest.now_ns(), guest.skipped_ns(), &account);
    if (order->rate_hz) {
        guest.set_rate(order->rate_hz);
    }
    const struct ft_reply *replies = ft_control_replies(order);
    for (uint32_t i = 0; i < order->reply_count; i++) {
        add_due(ft_nbd_receive(replies[i].disk, replies[i].cookie, false));
    }
    const struct ft_scheduled_reply *later = ft_control_scheduled(order);
    scheduled.first = 0;
    scheduled.count = order->scheduled_count;
    for (uint32_t i = 0; i < order->scheduled_count; i++) {
        scheduled.requests[i] = ft_nbd_receive(later[i].disk, later[i].cookie, true);
        scheduled.times_ns[i] = later[i].time_ns;
    }
    next_report_ns = order->next_event_ns;
    if (order->command_bytes > sizeof commands.texts - commands.bytes) {
        ft_die(FT_EXIT_REFUSED, "the emulator has more commands than fit");
    }
    memcpy(commands.texts + commands.bytes, ft_control_commands(order), order->command_bytes);
    commands.bytes += order->command_bytes;
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

static bool is_scheduled(void)
{
    return scheduled.first < scheduled.count;
}

static int64_t ordered_event_ns(void)
{
    return is_scheduled() ? scheduled.times_ns[scheduled.first] : next_report_ns;
}

/* Whether the event is a delivery that needs no report. What has arrived needs one: the emulator
 * says what becomes of it and of the delivery. */
static bool take_scheduled(void)
{
    if (arrivals_to_report || !is_scheduled()) {
        return false;
    }
    while (is_scheduled() && ordered_event_ns() <= guest.now_ns()) {
        add_due(scheduled.requests[scheduled.first++]);
    }
    return true;
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
    guest.stop();
    vm_stop(qapi_enum_parse(RunState_lookup, "paused", -1, NULL));
    ft_deferred_forget(); /* the request to stop is QEMU's main thread's to see */
}

/* Plug or unplug disks: nothing else is left to do at this guest time. */
static void run_commands(void)
{
    commanding = true;
    for (size_t at = 0; at < commands.bytes; at += strlen(commands.texts + at) + 1) {
        ft_commands_run(commands.texts + at);
    }
    commands.bytes = 0;
    while (aio_poll(qemu_get_aio_context(), false)) {
    }
    commanding = false;
    next_event_ns = ordered_event_ns();
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
    while (arrivals_to_report || guest.now_ns() >= next_event_ns) {
        require_hooks_called();
        if (!take_scheduled()) {
            struct ft_order order = exchange(FT_REPORT_RUNNING);
            stop = stop || (order.flags & FT_ORDER_STOP);
        }
        deliver();
        next_event_ns = ordered_event_ns();
    }
    if (commands.bytes) {
        run_commands();
    }
    arm();
    holding = false;
    if (stop || stop_ordered) {
        stop_ordered = false;
        stop_machine();
    }
}

/* Pass on the replies that are here. Whoever waits for an answer goes on as soon as QEMU polls:
 * this may be called from within a request, or where QEMU is about to wait. BQL held. */
static void answer_due(uint32_t how)
{
    while (due.first < due.count) {
        struct ft_request *request = answer_next();
        stamp(request->disk, FT_STAMP_DELIVERY | how, request->cookie, guest.now_ns());
        if (request->waiting) {
            aio_co_schedule(qemu_get_aio_context(), request->waiting);
        }
    }
}

/* Have everything answered now. BQL held. */
static void drain(void)
{
    int64_t event_ns = ordered_event_ns();
    exchange(FT_REPORT_DRAIN);
    next_report_ns = event_ns; /* when it comes, the emulator is to hear of it as ever */
    answer_due(runstate_is_running() ? FT_STAMP_ADRIFT : FT_STAMP_HOST);
    if (commands.bytes && runstate_is_running()) {
        timer_mod_ns(event_timer, guest.now_ns());
    }
}

/* Main thread, BQL held; the vCPU is stopped. */
static void on_vm_change(void *unused, bool running, int state)
{
    (void)unused;
    (void)state;
    running_since_ns = running ? ft_host_now_ns() : 0;
    if (running) {
        guest.machine_runs();
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
    timer_mod_ns(event_timer, guest.now_ns());
    return true;
}

void ft_hold_take_clock(const struct ft_guest_clock *clock)
{
    guest = *clock;
}

void ft_hold_start(bool boots)
{
    has_booted = boots;
    timer_init_full(event_timer, NULL, QEMU_CLOCK_VIRTUAL, QEMU_TIMER_NS, 0, on_event, NULL);
    qemu_add_vm_change_state_handler(on_vm_change, NULL);
    ft_deferred_start(before_next_instruction, guest.has_left);
}

void ft_hold_say_hello(void)
{
    exchange(FT_REPORT_HELLO);
}

void ft_hold_send(struct ft_request *request)
{
    ft_nbd_send(request);
    int64_t now_ns = guest.now_ns();
    if (++in_flight > FT_MAX_REPLIES) {
        ft_die(FT_EXIT_REFUSED, "more than %u requests in flight", FT_MAX_REPLIES);
    }
    if (!runstate_is_running()) {
        stamp(request->disk, FT_STAMP_HOST, request->cookie, now_ns);
        drain();
        return;
    }
    if (commanding) {
        /* It is answered at once, and the guest's requests as ever. */
        stamp(request->disk, FT_STAMP_HOST, request->cookie, now_ns);
        exchange(FT_REPORT_RUNNING);
        answer_due(FT_STAMP_HOST);
        return;
    }
    stamp(request->disk, qemu_in_vcpu_thread() ? 0 : FT_STAMP_ADRIFT, request->cookie, now_ns);
    last_flush.is_here = request->command == FT_NBD_FLUSH && qemu_in_vcpu_thread() && !holding;
    last_flush.vcpu = pthread_self();
    arrivals_to_report = true;
    timer_mod_ns(event_timer, now_ns);
}

int64_t ft_hold_running_since_ns(void)
{
    return running_since_ns;
}

/* A controller that the guest shuts down (NVMe's) flushes its disk within the access to its
 * register, and has done so when the access is over: it takes no time of the guest's, who has not
 * asked for the flush. That one is answered at once, and the guest's requests as ever. */
static void answer_own_flush(void)
{
    ft_control_mark_last(FT_STAMP_HOST);
    struct ft_order order = exchange(FT_REPORT_RUNNING);
    stop_ordered = stop_ordered || (order.flags & FT_ORDER_STOP);
    answer_due(FT_STAMP_HOST);
    next_event_ns = ordered_event_ns(); /* the timer is still to fire before the next instruction */
}

/* Whoever waits for I/O with the BQL held (a device in a register handler, or QEMU's main
 * thread on its way out) blocks the vCPU: guest time cannot move, so the event that it
 * waits for would never come. The main loop releases the BQL before it waits. */
void ft_hold_about_to_block(void)
{
    if (!ft_lock_is_held() || in_flight == 0) {
        return;
    }
    if (last_flush.is_here && runstate_is_running() &&
        pthread_equal(last_flush.vcpu, pthread_self())) {
        answer_own_flush();
    } else {
        drain();
    }
}
