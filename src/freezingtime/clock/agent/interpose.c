/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The C library's functions as QEMU sees them: connect and close tell which descriptors
 * are the disks' NBD sockets, ppoll tells when QEMU is about to wait.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
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

static char *nbd_name_prefix; /* NULL: this process is not ours to watch */

/* The disk that a descriptor is the socket of, from 1 on; 0: none. Set before it is shared. */
static uint32_t disk_numbers[MAX_FD];

static int (*libc_connect)(int, const struct sockaddr *, socklen_t);
static int (*libc_close)(int);
static int (*libc_ppoll)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
static ssize_t (*libc_writev)(int, const struct iovec *, int);

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
    libc_ppoll = (int (*)(struct pollfd *, nfds_t, const struct timespec *,
                          const sigset_t *))next_symbol("ppoll");
    libc_writev = (ssize_t(*)(int, const struct iovec *, int))next_symbol("writev");
}

/* Other libraries' constructors may call in before ours has run. */
static void need_libc(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_libc);
}

ssize_t ft_libc_writev(int fd, const struct iovec *parts, int count)
{
    need_libc();
    return libc_writev(fd, parts, count);
}

void ft_interpose_init(const char *nbd_prefix)
{
    need_libc();
    nbd_name_prefix = strdup(nbd_prefix);
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
        ft_nbd_connected(disk, fd);
        disk_numbers[fd] = disk + 1;
    }
    return libc_connect(fd, address, bytes);
}

/* Any thread. */
EXPORT int close(int fd)
{
    need_libc();
    if (fd >= 0 && fd < MAX_FD && disk_numbers[fd]) {
        ft_nbd_closed(disk_numbers[fd] - 1);
        disk_numbers[fd] = 0;
    }
    return libc_close(fd);
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
        ft_nbd_driver_check();
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
