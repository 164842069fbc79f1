/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Holding the vCPU while the emulator and the medium work.
 */
#ifndef FREEZINGTIME_OURS_TIME_HOLD_H
#define FREEZINGTIME_OURS_TIME_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "ours/request.h"

/* Main thread, BQL held, once the machine is built. `boots`: from power-on. */
void ft_hold_start(bool boots);

/* The first report to the emulator, behind that: all is well. Main thread, BQL held. */
void ft_hold_say_hello(void);

/* Sends a request to the emulator, and has it reported. Coroutine, BQL held. */
void ft_hold_send(struct ft_request *request);

/* Since when the machine has been running, in host time; 0: it does not. Any thread, no lock. */
int64_t ft_hold_running_since_ns(void);

/* A thread of QEMU's is going to wait. Any thread, any lock. */
void ft_hold_about_to_block(void);

#endif
