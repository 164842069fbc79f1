/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE
#include "qemu/libraries/sockets.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "ours/base.h"

/* Descriptors above this are never NBD sockets: QEMU opens few before them. */
#define MAX_FD 4096

static char *name_prefix; /* NULL: this process is not ours to watch */
static void (*on_connect)(uint32_t disk, int fd);
static void (*on_close)(uint32_t disk);

/* The disk that a descriptor is the socket of, from 1 on; 0: none. Set before it is shared. */
static uint32_t disk_numbers[MAX_FD];

static int (*libc_connect)(int, const struct sockaddr *, socklen_t);
static int (*libc_close)(int);

static void find_libc(void)
{
    libc_connect = (int (*)(int, const struct sockaddr *, socklen_t))ft_next_symbol("connect");
    libc_close = (int (*)(int))ft_next_symbol("close");
}

/* Other libraries' constructors may call in before ours has run. */
static void need_libc(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_libc);
}

void ft_sockets_hook(const char *prefix, void (*connected)(uint32_t disk, int fd),
                     void (*closed)(uint32_t disk))
{
    need_libc();
    on_connect = connected;
    on_close = closed;
    name_prefix = strdup(prefix);
}

/* An abstract name is not NUL-terminated. */
static bool parse_disk(const struct sockaddr *address, socklen_t bytes, uint32_t *disk)
{
    const struct sockaddr_un *local = (const struct sockaddr_un *)(const void *)address;
    size_t name_at = offsetof(struct sockaddr_un, sun_path) + 1;
    if (!name_prefix || address->sa_family != AF_UNIX || bytes <= name_at ||
        bytes > sizeof *local || local->sun_path[0] != '\0') {
        return false;
    }
    char name[sizeof local->sun_path];
    size_t name_bytes = bytes - name_at;
    memcpy(name, local->sun_path + 1, name_bytes);
    name[name_bytes] = '\0';
    size_t prefix_bytes = strlen(name_prefix);
    if (strncmp(name, name_prefix, prefix_bytes) != 0) {
        return false;
    }
    *disk = (uint32_t)ft_strtoull(name + prefix_bytes, NULL, 10);
    return true;
}

/* Any thread: QEMU connects in one of its own. No lock needed before the fd is in use. */
FT_EXPORT int connect(int fd, const struct sockaddr *address, socklen_t bytes)
{
    need_libc();
    uint32_t disk;
    if (fd >= 0 && fd < MAX_FD && parse_disk(address, bytes, &disk)) {
        on_connect(disk, fd);
        disk_numbers[fd] = disk + 1;
    }
    return libc_connect(fd, address, bytes);
}

/* Any thread. */
FT_EXPORT int close(int fd)
{
    need_libc();
    if (fd >= 0 && fd < MAX_FD && disk_numbers[fd]) {
        on_close(disk_numbers[fd] - 1);
        disk_numbers[fd] = 0;
    }
    return libc_close(fd);
}
