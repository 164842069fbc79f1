/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The C library's functions as QEMU sees them: connect and close tell which descriptors
 * are the disks' NBD sockets, sendmsg and recvmsg pass their bytes by, ppoll tells when
 * QEMU is about to wait.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent.h"

#define EXPORT __attribute__((visibility("default")))

/* Descriptors above this are never NBD sockets: QEMU opens few before them. */
#define MAX_FD 4096

/* Deadline for the emulator to read what QEMU sends; it always reads. */
#define SEND_DEADLINE_MS 60000

static char *nbd_name_prefix;                         /* NULL: this process is not ours to watch */
static struct ft_nbd_connection *connections[MAX_FD]; /* set before the fd is shared */

static int (*libc_connect)(int, const struct sockaddr *, socklen_t);
static int (*libc_close)(int);
static ssize_t (*libc_sendmsg)(int, const struct msghdr *, int);
static ssize_t (*libc_recvmsg)(int, struct msghdr *, int);
static int (*libc_ppoll)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);

static void *next_symbol(const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    if (!symbol) {
        ft_die(FT_EXIT_REFUSED, "the C library has no %s", name);
    }
    return symbol;
}

static void find_libc(void)
{
    libc_connect = (int (*)(int, const struct sockaddr *, socklen_t))next_symbol("connect");
    libc_close = (int (*)(int))next_symbol("close");
    libc_sendmsg = (ssize_t(*)(int, const struct msghdr *, int))next_symbol("sendmsg");
    libc_recvmsg = (ssize_t(*)(int, struct msghdr *, int))next_symbol("recvmsg");
    libc_ppoll = (int (*)(struct pollfd *, nfds_t, const struct timespec *,
                          const sigset_t *))next_symbol("ppoll");
}

/* Other libraries' constructors may call in before ours has run. */
static void need_libc(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_libc);
}

void ft_interpose_init(const char *nbd_prefix)
{
    need_libc();
    nbd_name_prefix = strdup(nbd_prefix);
}

static struct ft_nbd_connection *connection_of(int fd)
{
    return fd >= 0 && fd < MAX_FD ? connections[fd] : NULL;
}

/* The socket of disk N is the abstract one named <prefix>N: not NUL-terminated. */
static bool parse_disk(const struct sockaddr *address, socklen_t bytes, uint32_t *disk)
{
    const struct sockaddr_un *local = (const struct sockaddr_un *)(const void *)address;
    size_t name_at = offsetof(struct sockaddr_un, sun_path) + 1;
    if (!nbd_name_prefix || address->sa_family != AF_UNIX || bytes <= name_at ||
        bytes > sizeof *local || local->sun_path[0] != '\0') {
        return false;
    }
    char name[sizeof local->sun_path];
    size_t name_bytes = bytes - name_at;
    memcpy(name, local->sun_path + 1, name_bytes);
    name[name_bytes] = '\0';
    size_t prefix_bytes = strlen(nbd_name_prefix);
    if (strncmp(name, nbd_name_prefix, prefix_bytes) != 0) {
        return false;
    }
    *disk = (uint32_t)strtoul(name + prefix_bytes, NULL, 10);
    return true;
}

/* Any thread: QEMU connects in one of its own. No lock needed before the fd is in use. */
EXPORT int connect(int fd, const struct sockaddr *address, socklen_t bytes)
{
    need_libc();
    uint32_t disk;
    if (fd >= 0 && fd < MAX_FD && parse_disk(address, bytes, &disk)) {
        struct ft_nbd_connection *connection = malloc(sizeof *connection);
        if (!connection) {
            ft_die(FT_EXIT_REFUSED, "out of memory");
        }
        ft_nbd_init(connection, disk);
        connections[fd] = connection;
    }
    return libc_connect(fd, address, bytes);
}

/* Any thread. */
EXPORT int close(int fd)
{
    need_libc();
    struct ft_nbd_connection *connection = connection_of(fd);
    if (connection) {
        connections[fd] = NULL;
        free(connection);
    }
    return libc_close(fd);
}

static void on_request(struct ft_nbd_connection *connection, uint64_t cookie)
{
    ft_hold_request_sent(connection->disk, cookie);
}

static void on_reply(struct ft_nbd_connection *connection, uint64_t cookie)
{
    ft_hold_reply_received(connection->disk, cookie);
}

typedef void pass_fn(struct ft_nbd_connection *, const uint8_t *, size_t, ft_nbd_message_fn *);

static void pass_vector(struct ft_nbd_connection *connection, const struct msghdr *message,
                        size_t bytes, pass_fn *pass, ft_nbd_message_fn *on_message)
{
    for (size_t i = 0; i < message->msg_iovlen && bytes > 0; i++) {
        size_t part = message->msg_iov[i].iov_len;
        part = part < bytes ? part : bytes;
        pass(connection, message->msg_iov[i].iov_base, part, on_message);
        bytes -= part;
    }
}

/* A full socket would make QEMU finish sending later, from its main thread and at some
 * other guest time: wait here instead, where guest time stands still. */
static ssize_t send_some(int fd, const struct msghdr *message, int flags)
{
    for (;;) {
        ssize_t sent = libc_sendmsg(fd, message, flags | MSG_NOSIGNAL);
        if (sent >= 0 || errno != EAGAIN) {
            return sent;
        }
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        if (libc_ppoll(&room, 1, &(struct timespec){.tv_sec = SEND_DEADLINE_MS / 1000}, NULL) ==
            0) {
            ft_die(FT_EXIT_EMULATOR_LOST, "the emulator has not read a request for %d s",
                   SEND_DEADLINE_MS / 1000);
        }
    }
}

/* Handshake: QEMU's connecting thread. Requests: main or vCPU thread, BQL held. */
EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    need_libc();
    struct ft_nbd_connection *connection = connection_of(fd);
    if (!connection) {
        return libc_sendmsg(fd, message, flags);
    }
    ssize_t sent = send_some(fd, message, flags);
    if (sent > 0) {
        pass_vector(connection, message, (size_t)sent, ft_nbd_sent, on_request);
    }
    return sent;
}

/* As sendmsg. */
EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    need_libc();
    ssize_t received = libc_recvmsg(fd, message, flags);
    struct ft_nbd_connection *connection = connection_of(fd);
    if (connection && received == 0 && !connection->disconnecting) {
        ft_die(FT_EXIT_EMULATOR_LOST, "the emulator closed disk %u; stopping QEMU",
               connection->disk);
    }
    if (connection && received > 0) {
        int saved_errno = errno;
        pass_vector(connection, message, (size_t)received, ft_nbd_received, on_reply);
        errno = saved_errno;
    }
    return received;
}

static bool may_wait(const struct timespec *timeout)
{
    return !timeout || timeout->tv_sec > 0 || timeout->tv_nsec > 0;
}

EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                 const sigset_t *mask)
{
    need_libc();
    if (nbd_name_prefix) {
        ft_agent_start_when_ready();
        if (may_wait(timeout)) {
            ft_hold_about_to_block();
        }
    }
    return libc_ppoll(fds, count, timeout, mask);
}

/* What ppoll is called in programs built with _FORTIFY_SOURCE. */
EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                       const sigset_t *mask, size_t fds_bytes);
EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                       const sigset_t *mask, size_t fds_bytes)
{
    if (fds_bytes / sizeof *fds < count) {
        abort();
    }
    return ppoll(fds, count, timeout, mask);
}
