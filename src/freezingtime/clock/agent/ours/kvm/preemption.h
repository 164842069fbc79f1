/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The host's taking the CPU from the guest: how long, and whether the guest has seen it.
 */
#ifndef FREEZINGTIME_OURS_KVM_PREEMPTION_H
#define FREEZINGTIME_OURS_KVM_PREEMPTION_H

#include <stdbool.h>
#include <stdint.h>

/* Sums since the start. */
struct ft_preemptions {
    uint64_t count;
    int64_t taken_out_ns; /* of guest time */
    int64_t left_in_ns;   /* the guest has seen that much at most */
};

/* The vCPU's own thread, once. `signal` makes KVM leave the guest. */
void ft_preemption_watch(int signal);

/* The vCPU's own thread, around a pass. Returns for how long the thread did not have the CPU. */
void ft_preemption_before(void);
int64_t ft_preemption_after_ns(void);

/* Whether KVM leaves the guest when the host takes the CPU, before the guest goes on. The vCPU's
 * own thread; and, of all that there are, any. */
bool ft_preemption_is_signalled(void);
bool ft_preemption_are_all_signalled(void);

/* The vCPU's own thread, after a pass in which its counter has gone on by `passed_ns`: no more than
 * that can have been left in it. */
void ft_preemption_note(int64_t lost_ns, int64_t taken_out_ns, int64_t passed_ns);

/* Any thread. */
struct ft_preemptions ft_preemption_sums(void);

#endif
