/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE
#include "qemu/libraries/waits.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>

#include "ours/base.h"
#include "qemu/hooks.h"

static void (*ours)(bool blocks); /* NULL: this process is not ours to watch */

static int (*libc_ppoll)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);

static void find_libc(void)
{
    libc_ppoll = (int (*)(struct pollfd *, nfds_t, const struct timespec *,
                          const sigset_t *))ft_next_symbol("ppoll");
}

/* Other libraries' constructors may call in before ours has run. */
static void need_libc(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_libc);
}

void ft_waits_hook(void (*on_wait)(bool blocks))
{
    ours = on_wait;
    ft_hook_found(FT_HOOK_WAIT, "by name");
}

static void tell(bool blocks)
{
    if (ours) {
        ft_hook_called(FT_HOOK_WAIT);
        ours(blocks);
    }
}

static bool blocks(const struct timespec *timeout)
{
    return !timeout || timeout->tv_sec > 0 || timeout->tv_nsec > 0;
}

FT_EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                    const sigset_t *mask)
{
    need_libc();
    tell(blocks(timeout));
    return libc_ppoll(fds, count, timeout, mask);
}

/* What ppoll is called in programs built with _FORTIFY_SOURCE. */
FT_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                          const sigset_t *mask, size_t fds_bytes);
FT_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                          const sigset_t *mask, size_t fds_bytes)
{
    if (fds_bytes / sizeof *fds < count) {
        abort();
    }
    return ppoll(fds, count, timeout, mask);
}

/* How an event loop of QEMU's waits where Linux has io_uring, from some version on. */
struct io_uring;
FT_EXPORT int io_uring_submit_and_wait(struct io_uring *ring, unsigned count);
FT_EXPORT int io_uring_submit_and_wait(struct io_uring *ring, unsigned count)
{
    static int (*_Atomic liburing)(struct io_uring *, unsigned);
    if (!liburing) {
        liburing = (int (*)(struct io_uring *, unsigned))ft_next_symbol("io_uring_submit_and_wait");
    }
    tell(count > 0);
    return liburing(ring, count);
}
