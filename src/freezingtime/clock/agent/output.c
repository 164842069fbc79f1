/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the guest writes to its console and to its ports, and QEMU to the emulator's pipes.
 *
 * QEMU writes it in the vCPU thread. A pipe that is full, or a write that fails, it would try
 * again from its main loop, with guest time running on: the guest would see the host. So the
 * vCPU thread waits here, with the BQL held, until the emulator has taken what is written; and
 * a write that fails ends QEMU.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent.h"
#include "qemu.h"

#define EXPORT __attribute__((visibility("default")))

/* The emulator only has to copy it to a file. */
#define TAKE_DEADLINE_S 600

static bool watching; /* set before QEMU's main */

void ft_output_init(void)
{
    watching = true;
}

/* Any thread; the lock matters to nobody but the vCPU's, which holds the BQL. */
EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    for (;;) {
        ssize_t written = ft_libc_writev(fd, parts, count);
        if (written >= 0 || !watching || !qemu_in_vcpu_thread()) {
            return written;
        }
        if (errno == EAGAIN) {
            if (!ft_poll_patiently(fd, POLLOUT, TAKE_DEADLINE_S)) {
                ft_die(FT_EXIT_EMULATOR_LOST,
                       "the emulator has not taken the guest's output for %d s", TAKE_DEADLINE_S);
            }
        } else if (errno != EINTR) {
            ft_die(FT_EXIT_REFUSED, "the guest's output cannot be written: %s", strerror(errno));
        }
    }
}
