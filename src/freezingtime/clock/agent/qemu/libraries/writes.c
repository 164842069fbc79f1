/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE
#include "qemu/libraries/writes.h"

#include <errno.h>
#include <pthread.h>
#include <sys/uio.h>

#include "ours/base.h"
#include "qemu/exports.h"
#include "qemu/hooks.h"

static void (*ours)(int fd, int error); /* NULL: this process is not ours to watch */

static ssize_t (*libc_writev)(int, const struct iovec *, int);

static void find_libc(void)
{
    libc_writev = (ssize_t(*)(int, const struct iovec *, int))ft_next_symbol("writev");
}

void ft_writes_hook(void (*not_written)(int fd, int error))
{
    ours = not_written;
    ft_hook_found(FT_HOOK_WRITE, "by name");
}

/* Any thread; the lock matters to nobody but the vCPU's, which holds the BQL. */
FT_EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    static pthread_once_t once =
        PTHREAD_ONCE_INIT; /* other libraries may call before ours has run */
    pthread_once(&once, find_libc);
    for (;;) {
        ssize_t written = libc_writev(fd, parts, count);
        if (ours) {
            ft_hook_called(FT_HOOK_WRITE);
        }
        if (written >= 0 || !ours || !qemu_in_vcpu_thread()) {
            return written;
        }
        ours(fd, errno);
    }
}
