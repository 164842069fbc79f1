/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU writes it in the vCPU thread. A pipe that is full, or a write that fails, it would try
 * again from its main loop, with guest time running on: the guest would see the host. So the
 * vCPU thread waits here, with the BQL held, until the emulator has taken what is written; and
 * a write that fails ends QEMU.
 */
#include "ours/emulator/output.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "ours/base.h"
#include "ours/emulator/patience.h"

/* The emulator only has to copy it to a file. */
#define TAKE_DEADLINE_S 600

void ft_output_not_written(int fd, int error)
{
    if (error == EAGAIN) {
        if (!ft_poll_patiently(fd, POLLOUT, TAKE_DEADLINE_S)) {
            ft_die(FT_EXIT_EMULATOR_LOST, "the emulator has not taken the guest's output for %d s",
                   TAKE_DEADLINE_S);
        }
    } else if (error != EINTR) {
        ft_die(FT_EXIT_REFUSED, "the guest's output cannot be written: %s", strerror(error));
    }
}
