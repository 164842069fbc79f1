/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The exchange with the emulator: stamps are gathered, reported, and answered by an order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ours/base.h"
#include "ours/emulator/control.h"
#include "ours/emulator/patience.h"

/* How long to look for the answer before sleeping: waking a thread costs more than this. */
#define SPIN_NS 60000

/* The emulator has its own, shorter deadline for the medium, which explains more. */
#define ORDER_DEADLINE_S 600

/* How often the watching thread looks at what else there is to look at. */
#define TICK_MS 5000

static int control_fd = -1;
static void (*every_tick)(void);
static int64_t spin_ns;
static _Atomic bool is_waiting;

/* Both with the BQL. */
static struct {
    struct ft_report report;
    struct ft_stamp stamps[FT_MAX_STAMPS];
} message;
static struct {
    struct ft_order order;
    char behind[FT_MAX_REPLIES * sizeof(struct ft_reply) +
                FT_MAX_SCHEDULED * sizeof(struct ft_scheduled_reply) + FT_MAX_COMMAND_BYTES];
} answer;

_Noreturn static void emulator_lost(void)
{
    ft_die(FT_EXIT_EMULATOR_LOST, "the emulator is gone; stopping QEMU");
}

/* Its own thread, no lock: ends QEMU even where both of its threads are stuck. */
static void *watch_emulator(void *unused)
{
    (void)unused;
    for (;;) {
        struct pollfd hangup = {.fd = control_fd, .events = POLLRDHUP};
        int ready = poll(&hangup, 1, TICK_MS);
        if (ready > 0 && (hangup.revents & (POLLRDHUP | POLLHUP | POLLERR))) {
            emulator_lost();
        }
        if (ready == 0) {
            every_tick();
        }
    }
    return NULL;
}

void ft_control_connect(const char *name, void (*on_tick)(void))
{
    every_tick = on_tick;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t name_bytes = strlen(name);
    if (name_bytes + 1 > sizeof address.sun_path) {
        ft_die(FT_EXIT_REFUSED, "the control socket's name is too long: %s", name);
    }
    memcpy(address.sun_path + 1, name, name_bytes);
    socklen_t address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + name_bytes);
    control_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (control_fd < 0 || connect(control_fd, (struct sockaddr *)&address, address_bytes) < 0) {
        ft_die(FT_EXIT_EMULATOR_LOST, "cannot reach the emulator at @%s: %s", name,
               strerror(errno));
    }
    ft_patience_init(control_fd);
    spin_ns = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? SPIN_NS : 0;
    pthread_t watcher;
    if (pthread_create(&watcher, NULL, watch_emulator, NULL) != 0) {
        ft_die(FT_EXIT_REFUSED, "cannot start the thread that watches the emulator");
    }
    pthread_detach(watcher);
}

static void send_report(uint16_t flags, int64_t now_ns, int64_t warped_ns,
                        const struct ft_kvm_account *kvm)
{
    uint32_t stamp_count = message.report.stamp_count;
    message.report = (struct ft_report){
        .magic = FT_MAGIC,
        .version = FT_VERSION,
        .flags = flags,
        .now_ns = now_ns,
        .warped_ns = warped_ns,
        .stamp_count = stamp_count,
        .kvm = *kvm,
    };
    size_t bytes = sizeof message.report + stamp_count * sizeof message.stamps[0];
    ssize_t sent;
    do {
        sent = send(control_fd, &message, bytes, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent != (ssize_t)bytes) {
        emulator_lost();
    }
    message.report.stamp_count = 0;
}

void ft_control_stamp(struct ft_stamp stamp)
{
    if (message.report.stamp_count == FT_MAX_STAMPS) {
        static const struct ft_kvm_account none;
        send_report(FT_REPORT_MORE, stamp.time_ns, 0, &none);
    }
    message.stamps[message.report.stamp_count++] = stamp;
}

void ft_control_mark_last(uint32_t flags)
{
    message.stamps[message.report.stamp_count - 1].flags |= flags;
}

static ssize_t receive_within_deadline(void *buffer, size_t bytes)
{
    int64_t start_ns = ft_host_now_ns();
    ssize_t received;
    do {
        received = recv(control_fd, buffer, bytes, MSG_DONTWAIT);
    } while (received < 0 && errno == EAGAIN && ft_host_now_ns() - start_ns < spin_ns);
    if (received >= 0 || errno != EAGAIN) {
        return received;
    }
    if (!ft_poll_patiently(control_fd, POLLIN, ORDER_DEADLINE_S)) {
        ft_die(FT_EXIT_EMULATOR_LOST,
               "the emulator has not answered for %d s; guest time stood still at %lld ns",
               ORDER_DEADLINE_S, (long long)message.report.now_ns);
    }
    return recv(control_fd, buffer, bytes, 0);
}

const struct ft_reply *ft_control_replies(const struct ft_order *order)
{
    return (const struct ft_reply *)(const void *)(order + 1);
}

const struct ft_scheduled_reply *ft_control_scheduled(const struct ft_order *order)
{
    return (const struct ft_scheduled_reply *)(const void *)(ft_control_replies(order) +
                                                             order->reply_count);
}

const char *ft_control_commands(const struct ft_order *order)
{
    return (const char *)(ft_control_scheduled(order) + order->scheduled_count);
}

/* Whether an order says of itself how long it is, and has its commands' ends. */
static bool is_whole(const struct ft_order *order, size_t bytes)
{
    if (bytes < sizeof *order || order->magic != FT_MAGIC || order->version != FT_VERSION ||
        order->reply_count > FT_MAX_REPLIES || order->scheduled_count > FT_MAX_SCHEDULED ||
        order->command_bytes > FT_MAX_COMMAND_BYTES) {
        return false;
    }
    const char *end = ft_control_commands(order) + order->command_bytes;
    return bytes == (size_t)(end - (const char *)order) && (!order->command_bytes || !end[-1]);
}

bool ft_control_is_waiting(void)
{
    return atomic_load_explicit(&is_waiting, memory_order_relaxed);
}

/* Guest time does not move until it returns. */
const struct ft_order *ft_control_exchange(uint16_t flags, int64_t now_ns, int64_t warped_ns,
                                           const struct ft_kvm_account *kvm)
{
    atomic_store_explicit(&is_waiting, true, memory_order_relaxed);
    send_report(flags, now_ns, warped_ns, kvm);
    ssize_t received = receive_within_deadline(&answer, sizeof answer);
    atomic_store_explicit(&is_waiting, false, memory_order_relaxed);
    if (received <= 0) {
        emulator_lost();
    }
    const struct ft_order *order = &answer.order;
    if (!is_whole(order, (size_t)received)) {
        ft_die(FT_EXIT_REFUSED, "the emulator speaks another version; reinstall freezingtime");
    }
    return order;
}
