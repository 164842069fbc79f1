/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The transmission phase of the disks' NBD connections, client side: requests out, replies in.
 *
 * QEMU makes the connections and shakes hands on them (qemu/libraries/sockets.c tells of the
 * sockets). Nothing here waits for a device, only for bytes that the emulator is about to take or
 * has announced; guest time stands still meanwhile. All with the BQL held, but for
 * ft_nbd_connected.
 * Layouts: the NBD protocol document, "Request message" and "Simple reply message". The
 * emulator never agrees to structured replies.
 */
#define _DEFAULT_SOURCE
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ours/base.h"
#include "ours/emulator/nbd_client.h"
#include "ours/emulator/patience.h"

#define REQUEST_MAGIC 0x25609513u
#define REPLY_MAGIC 0x67446698u

/* Deadline for the emulator to read what is sent and to send what it announced. */
#define SOCKET_DEADLINE_S 60

/* Far above what a machine has, and the queue of any controller. */
#define DISKS_MAX 64
#define UNDER_WAY_MAX 16384

#define PARTS_MAX 1024 /* of a request, QEMU's own limit; and of one system call, Linux's */

struct request_header {
    uint32_t magic;
    uint16_t flags, command;
    uint64_t cookie;
    uint64_t offset_bytes;
    uint32_t length_bytes;
} __attribute__((packed));

struct reply_header {
    uint32_t magic;
    uint32_t error;
    uint64_t cookie;
} __attribute__((packed));

struct disk {
    bool connected;
    int fd;
    size_t next; /* cookie to try next */
    struct ft_request *under_way[UNDER_WAY_MAX];
};
static struct disk *disks[DISKS_MAX];

_Noreturn static void disk_lost(uint32_t disk)
{
    ft_die(FT_EXIT_EMULATOR_LOST, "the emulator closed disk %u; stopping QEMU", disk);
}

/* QEMU's connecting thread; whoever opens the disk waits for it. */
void ft_nbd_connected(uint32_t disk, int fd)
{
    if (disk >= DISKS_MAX) {
        ft_die(FT_EXIT_REFUSED, "disk %u: at most %d disks", disk, DISKS_MAX);
    }
    if (!disks[disk]) {
        disks[disk] = calloc(1, sizeof *disks[disk]);
    }
    if (!disks[disk]) {
        ft_die(FT_EXIT_REFUSED, "out of memory");
    }
    disks[disk]->fd = fd;
    disks[disk]->connected = true;
}

void ft_nbd_closed(uint32_t disk)
{
    disks[disk]->connected = false;
}

static struct disk *connected(uint32_t disk)
{
    if (disk >= DISKS_MAX || !disks[disk] || !disks[disk]->connected) {
        ft_die(FT_EXIT_REFUSED, "disk %u is not connected", disk);
    }
    return disks[disk];
}

static void await(uint32_t disk, short event, const char *what)
{
    if (!ft_poll_patiently(disks[disk]->fd, event, SOCKET_DEADLINE_S)) {
        ft_die(FT_EXIT_EMULATOR_LOST, "disk %u: the emulator has not %s for %d s", disk, what,
               SOCKET_DEADLINE_S);
    }
}

static struct iovec *skip(struct iovec *part, const struct iovec *end, size_t bytes)
{
    for (; part < end && bytes >= part->iov_len; part++) {
        bytes -= part->iov_len;
    }
    if (part < end) {
        part->iov_base = (char *)part->iov_base + bytes;
        part->iov_len -= bytes;
    }
    return part;
}

static struct msghdr next_parts(struct iovec *part, const struct iovec *end)
{
    size_t count = (size_t)(end - part);
    return (struct msghdr){.msg_iov = part, .msg_iovlen = count < PARTS_MAX ? count : PARTS_MAX};
}

static void send_all(uint32_t disk, struct iovec *part, const struct iovec *end)
{
    while (part < end) {
        struct msghdr message = next_parts(part, end);
        ssize_t sent = sendmsg(disks[disk]->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0) {
            part = skip(part, end, (size_t)sent);
        } else if (errno == EAGAIN) {
            await(disk, POLLOUT, "read a request");
        } else if (errno != EINTR) {
            disk_lost(disk);
        }
    }
}

static void receive_all(uint32_t disk, struct iovec *part, const struct iovec *end)
{
    while ((part = skip(part, end, 0)) < end) {
        struct msghdr message = next_parts(part, end);
        ssize_t received = recvmsg(disks[disk]->fd, &message, MSG_DONTWAIT);
        if (received > 0) {
            part = skip(part, end, (size_t)received);
        } else if (received < 0 && errno == EAGAIN) {
            await(disk, POLLIN, "sent a reply that it announced");
        } else if (received == 0 || errno != EINTR) {
            disk_lost(disk);
        }
    }
}

static void keep(struct disk *disk, struct ft_request *request)
{
    for (size_t tried = 0; tried < UNDER_WAY_MAX; tried++) {
        size_t cookie = disk->next;
        disk->next = (cookie + 1) % UNDER_WAY_MAX;
        if (!disk->under_way[cookie]) {
            disk->under_way[cookie] = request;
            request->cookie = cookie;
            return;
        }
    }
    ft_die(FT_EXIT_REFUSED, "disk %u has more than %d requests under way", request->disk,
           UNDER_WAY_MAX);
}

/* The parts are copied, as they are consumed; the first is left for a header. */
static struct iovec *with_header(const struct ft_request *request, size_t *count)
{
    static struct iovec vector[1 + PARTS_MAX]; /* BQL */
    if (request->part_count > PARTS_MAX) {
        ft_die(FT_EXIT_REFUSED, "disk %u: a request in more than %d parts", request->disk,
               PARTS_MAX);
    }
    if (request->part_count > 0) {
        memcpy(vector + 1, request->parts, request->part_count * sizeof *vector);
    }
    *count = 1 + request->part_count;
    return vector;
}

void ft_nbd_send(struct ft_request *request)
{
    keep(connected(request->disk), request);
    struct request_header header = {
        .magic = htobe32(REQUEST_MAGIC),
        .flags = htobe16(request->flags),
        .command = htobe16(request->command),
        .cookie = htobe64(request->cookie),
        .offset_bytes = htobe64(request->offset_bytes),
        .length_bytes = htobe32(request->length_bytes),
    };
    size_t count;
    struct iovec *vector = with_header(request, &count);
    vector[0] = (struct iovec){.iov_base = &header, .iov_len = sizeof header};
    send_all(request->disk, vector, vector + (request->command == FT_NBD_WRITE ? count : 1));
}

static void receive_header(struct ft_request *request)
{
    struct reply_header header;
    struct iovec whole = {.iov_base = &header, .iov_len = sizeof header};
    receive_all(request->disk, &whole, &whole + 1);
    if (be32toh(header.magic) != REPLY_MAGIC) {
        ft_die(FT_EXIT_REFUSED, "disk %u: unknown bytes on the NBD connection", request->disk);
    }
    if (be64toh(header.cookie) != request->cookie) {
        ft_die(FT_EXIT_REFUSED, "disk %u got a reply to another request than was announced",
               request->disk);
    }
    request->error = be32toh(header.error);
}

static void receive_data(struct ft_request *request, bool keep)
{
    if (request->command != FT_NBD_READ || request->error != 0) {
        return;
    }
    if (keep) {
        request->kept = malloc(request->length_bytes);
        if (!request->kept) {
            ft_die(FT_EXIT_REFUSED, "out of memory");
        }
        struct iovec whole = {.iov_base = request->kept, .iov_len = request->length_bytes};
        receive_all(request->disk, &whole, &whole + 1);
        return;
    }
    size_t count;
    struct iovec *vector = with_header(request, &count);
    receive_all(request->disk, vector + 1, vector + count);
}

struct ft_request *ft_nbd_receive(uint32_t disk, uint64_t cookie, bool keep)
{
    if (disk >= DISKS_MAX) {
        ft_die(FT_EXIT_REFUSED, "the emulator announced a reply of disk %u", disk);
    }
    struct ft_request **under_way = connected(disk)->under_way;
    if (cookie >= UNDER_WAY_MAX || !under_way[cookie]) {
        ft_die(FT_EXIT_REFUSED, "disk %u got a reply to a request that was never sent", disk);
    }
    struct ft_request *request = under_way[cookie];
    if (!request->received) {
        receive_header(request);
        receive_data(request, keep);
        request->received = true;
    }
    return request;
}

void ft_nbd_answer(struct ft_request *request)
{
    disks[request->disk]->under_way[request->cookie] = NULL;
    if (request->kept) {
        const char *data = request->kept;
        for (size_t i = 0; i < request->part_count; i++) {
            memcpy(request->parts[i].iov_base, data, request->parts[i].iov_len);
            data += request->parts[i].iov_len;
        }
        free(request->kept);
        request->kept = NULL;
    }
    request->answered = true;
}
