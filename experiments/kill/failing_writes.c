/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Preloaded, it lets writes and flushes of one file fail from the n-th on.
 *
 * FAILING_PATH: the end of the file's path. FAILING_FROM: n, counted over both.
 * FAILING_ERROR: the number of the error. Any thread. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long done;

/* Whether the call is to fail; errno is set then. */
static int fails(int fd)
{
    const char *end = getenv("FAILING_PATH"), *from = getenv("FAILING_FROM");
    const char *error = getenv("FAILING_ERROR");
    if (!end || !from || !error) {
        return 0;
    }
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(link, path, sizeof path - 1);
    if (bytes < (ssize_t)strlen(end)) {
        return 0;
    }
    path[bytes] = '\0';
    if (strcmp(path + bytes - strlen(end), end) != 0 || atomic_fetch_add(&done, 1) + 1 < atol(from)) {
        return 0;
    }
    errno = atoi(error);
    return 1;
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite64");
    return fails(fd) ? -1 : real(fd, data, bytes, offset);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    ssize_t (*real)(int, const struct iovec *, int, off_t, int) = dlsym(RTLD_NEXT, "pwritev2");
    return fails(fd) ? -1 : real(fd, parts, count, offset, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    return pwritev2(fd, parts, count, offset, flags);
}

int fdatasync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return fails(fd) ? -1 : real(fd);
}

int fsync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    return fails(fd) ? -1 : real(fd);
}
