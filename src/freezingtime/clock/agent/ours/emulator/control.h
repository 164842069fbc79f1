/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The exchange with the emulator. BQL held.
 */
#ifndef FREEZINGTIME_OURS_EMULATOR_CONTROL_H
#define FREEZINGTIME_OURS_EMULATOR_CONTROL_H

#include <stdbool.h>

#include "ours/emulator/protocol.h"

/* Connects to the emulator's socket. From here on a thread of its own ends QEMU when the emulator
 * is gone, and calls `on_tick`, with no lock held, every few seconds of the host's time. */
void ft_control_connect(const char *name, void (*on_tick)(void));

/* Takes a stamp down for the next report. */
void ft_control_stamp(struct ft_stamp stamp);

/* Adds flags to the stamp that was taken down last, which has not been reported. */
void ft_control_mark_last(uint32_t flags);

/* Reports and waits for the order. What it returns is good until the next exchange, and so is
 * what follows it. */
const struct ft_order *ft_control_exchange(uint16_t flags, int64_t now_ns, int64_t warped_ns,
                                           const struct ft_kvm_account *kvm);
const struct ft_reply *ft_control_replies(const struct ft_order *order);
const struct ft_scheduled_reply *ft_control_scheduled(const struct ft_order *order);
const char *ft_control_commands(const struct ft_order *order);

/* Any thread, no lock: whether an exchange is under way, which has a deadline of its own. */
bool ft_control_is_waiting(void);

#endif
