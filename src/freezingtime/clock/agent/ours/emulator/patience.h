/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Waiting for the emulator: long, never for ever, and not while it is stopped.
 */
#ifndef FREEZINGTIME_OURS_EMULATOR_PATIENCE_H
#define FREEZINGTIME_OURS_EMULATOR_PATIENCE_H

#include <stdbool.h>

/* `control_fd` is a socket whose other end is the emulator's. Before others wait. */
void ft_patience_init(int control_fd);

/* Waits for events of poll; false: in vain. Any thread, any lock. */
bool ft_poll_patiently(int fd, short events, int deadline_s);

#endif
