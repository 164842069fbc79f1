/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The agent's two protocols against an emulator that says anything: a target for libFuzzer.
 *
 * The agent's sockets are functions here that hand out the input's bytes, in pieces of any size,
 * with EINTR in between. Where the agent would end QEMU, the input ends. An input's first byte
 * says which protocol, and how many steps of four bytes follow; the rest is what the emulator
 * sends. One thread.
 */
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ours/base.h"
#include "ours/emulator/control.h"
#include "ours/emulator/nbd_client.h"
#include "ours/emulator/patience.h"

#define DISK 3
#define REQUESTS_MAX 64
#define PARTS_MAX 4
#define REPLY_MAGIC 0x67446698u

static jmp_buf end_of_input;
static const uint8_t *stream;
static size_t stream_bytes;
static uint8_t header[16];
static size_t header_left;
static unsigned piece;

static struct ft_request *requests[REQUESTS_MAX];
static size_t request_count;

/* Of all that is read, so that a sanitizer sees it read. */
static volatile uint64_t sum;

_Noreturn void ft_die(int status, const char *format, ...)
{
    (void)format;
    longjmp(end_of_input, status ? status : 1);
}

bool ft_poll_patiently(int fd, short events, int seconds)
{
    (void)fd, (void)events, (void)seconds;
    return false;
}

void ft_patience_init(int fd)
{
    (void)fd;
}

int64_t ft_host_now_ns(void)
{
    return 0;
}

static size_t hand_out(void *to, size_t bytes)
{
    const uint8_t *from = header_left ? header + sizeof header - header_left : stream;
    size_t left = header_left ? header_left : stream_bytes;
    if (bytes > left) {
        bytes = left;
    }
    memcpy(to, from, bytes);
    if (header_left) {
        header_left -= bytes;
    } else {
        stream += bytes;
        stream_bytes -= bytes;
    }
    return bytes;
}

ssize_t fuzz_recvmsg(int fd, struct msghdr *message, int flags)
{
    (void)fd, (void)flags;
    piece = piece * 1103515245u + 12345u;
    if (piece >> 28 == 0) {
        errno = EINTR;
        return -1;
    }
    size_t most = piece >> 30 ? SIZE_MAX : 1 + (piece >> 16) % 100, received = 0;
    for (size_t i = 0; i < message->msg_iovlen && received < most; i++) {
        size_t wanted = message->msg_iov[i].iov_len;
        wanted = wanted < most - received ? wanted : most - received;
        size_t got = hand_out(message->msg_iov[i].iov_base, wanted);
        received += got;
        if (got < wanted) {
            break;
        }
    }
    return (ssize_t)received;
}

ssize_t fuzz_sendmsg(int fd, const struct msghdr *message, int flags)
{
    (void)fd, (void)flags;
    size_t bytes = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        const uint8_t *part = message->msg_iov[i].iov_base;
        for (size_t k = 0; k < message->msg_iov[i].iov_len; k++) {
            sum ^= part[k];
        }
        bytes += message->msg_iov[i].iov_len;
    }
    return (ssize_t)bytes;
}

ssize_t fuzz_recv(int fd, void *buffer, size_t bytes, int flags)
{
    (void)fd, (void)flags;
    return (ssize_t)hand_out(buffer, bytes);
}

ssize_t fuzz_send(int fd, const void *buffer, size_t bytes, int flags)
{
    (void)fd, (void)buffer, (void)flags;
    return (ssize_t)bytes;
}

static void ask(uint8_t command, uint8_t length, uint8_t parts)
{
    static const uint16_t commands[] = {FT_NBD_READ, FT_NBD_WRITE, FT_NBD_FLUSH};
    if (request_count == REQUESTS_MAX) {
        return;
    }
    struct ft_request *request = calloc(1, sizeof *request);
    requests[request_count++] = request;
    request->disk = DISK;
    request->command = commands[command % 3];
    request->length_bytes = request->command == FT_NBD_FLUSH ? 0 : 1 + length * 16u;
    request->part_count = request->length_bytes ? 1 + parts % PARTS_MAX : 0;
    struct iovec *made = calloc(PARTS_MAX, sizeof *made);
    size_t left = request->length_bytes;
    for (size_t i = 0; i < request->part_count; i++) {
        size_t bytes = i + 1 < request->part_count ? left / 2 : left;
        made[i] = (struct iovec){.iov_base = calloc(1, bytes), .iov_len = bytes};
        left -= bytes;
    }
    request->parts = made;
    ft_nbd_send(request);
}

/* The emulator announces a reply: to a request, with a proper header or the stream's; or to one
 * that may not be. */
static void receive(uint8_t which, uint8_t how, uint8_t error)
{
    uint64_t cookie = (uint64_t)which << error % 57;
    if (request_count && how & 1) {
        struct ft_request *request = requests[which % request_count];
        if (request->answered) {
            return;
        }
        cookie = request->cookie;
    }
    if (how & 2) {
        uint32_t words[2] = {htobe32(REPLY_MAGIC), htobe32(error)};
        uint64_t wire = htobe64(cookie);
        memcpy(header, words, sizeof words);
        memcpy(header + sizeof words, &wire, sizeof wire);
        header_left = sizeof header;
    }
    struct ft_request *request = ft_nbd_receive(how & 4 ? which : DISK, cookie, how & 8);
    if (how & 16) {
        ft_nbd_answer(request);
    }
}

static void exchange(void)
{
    static const struct ft_kvm_account none;
    ft_control_stamp((struct ft_stamp){.disk = DISK});
    const struct ft_order *order = ft_control_exchange(0, 0, 0, &none);
    const struct ft_reply *replies = ft_control_replies(order);
    for (uint32_t i = 0; i < order->reply_count; i++) {
        sum ^= replies[i].disk + replies[i].cookie;
    }
    const struct ft_scheduled_reply *scheduled = ft_control_scheduled(order);
    for (uint32_t i = 0; i < order->scheduled_count; i++) {
        sum ^= (uint64_t)scheduled[i].time_ns;
    }
    const char *commands = ft_control_commands(order);
    size_t at = 0;
    while (at < order->command_bytes) {
        at += strlen(commands + at) + 1;
    }
    if (at != order->command_bytes) {
        abort(); /* the last one goes on behind the order */
    }
}

static void forget(void)
{
    for (size_t i = 0; i < request_count; i++) {
        struct ft_request *request = requests[i];
        if (!request->answered) {
            ft_nbd_answer(request);
        }
        for (size_t k = 0; k < request->part_count; k++) {
            free(request->parts[k].iov_base);
        }
        free((void *)(uintptr_t)request->parts);
        free(request);
    }
    request_count = header_left = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 1) {
        return 0;
    }
    size_t steps = data[0] >> 1;
    stream = data + 1;
    stream_bytes = bytes - 1;
    piece = data[0];
    if (data[0] & 1) {
        if (setjmp(end_of_input) == 0) {
            exchange();
        }
        return 0;
    }
    ft_nbd_connected(DISK, 0);
    if (setjmp(end_of_input) == 0) {
        for (size_t i = 0; i < steps && stream_bytes >= 4; i++) {
            const uint8_t *step = stream;
            stream += 4;
            stream_bytes -= 4;
            if (step[0] & 1) {
                ask(step[1], step[2], step[3]);
            } else {
                receive(step[1], step[2], step[3]);
            }
        }
    }
    forget();
    return 0;
}
