/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Holding the vCPU while the emulator and the medium work.
 */
#ifndef FREEZINGTIME_OURS_TIME_HOLD_H
#define FREEZINGTIME_OURS_TIME_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "ours/emulator/protocol.h"
#include "ours/request.h"

/* Guest time, and who executes the guest: TCG, which counts instructions, or KVM. */
struct ft_guest_clock {
    int64_t (*now_ns)(void);     /* any thread, no lock */
    int64_t (*skipped_ns)(void); /* idle time skipped; any thread, no lock */

    /* The others with the BQL held, and nobody executing. */
    void (*set_rate)(uint64_t rate_hz);
    void (*machine_runs)(void); /* it is about to */
    void (*stop)(void);         /* nobody executes from here on, until the machine runs again */
    struct ft_kvm_account (*account)(void);

    /* Whether a device may have left work that must be done before the guest goes on, where the
     * clock sees to that; NULL: each device tells. Any thread, no lock. */
    bool (*has_left)(void);
};

/* Before QEMU's main: disks are read while the machine is built. */
void ft_hold_take_clock(const struct ft_guest_clock *clock);

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
