/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The host's taking the CPU from the guest: how long, and whether the guest has seen it.
 */
#ifndef FREEZINGTIME_OURS_KVM_PREEMPTION_H
#define FREEZINGTIME_OURS_KVM_PREEMPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "ours/kvm/stretch.h"

/* Sums since the start. */
struct ft_preemptions {
    uint64_t count;
    int64_t taken_out_ns; /* of guest time */
    int64_t left_in_ns;   /* of guest time, for which none of the guest's CPUs may have executed */
    int64_t stolen_ns;    /* others executed meanwhile; of all CPUs together, at most */
};

/* The vCPU's own thread, once. `signal` makes KVM leave the guest. */
void ft_preemption_watch(int signal);

/* The vCPU's own thread, around a pass: before it, as soon as it is over, and then. Returns for how
 * long the thread did not have the CPU until it was over. */
void ft_preemption_before(void);
void ft_preemption_left(void);
int64_t ft_preemption_after_ns(void);

/* Of what was lost, which the host tells by a signal, how much the guest has not seen: it ends
 * where the pass does. `since_ns` was between its end and the host's time. Where more was lost than
 * the counter has gone on by, `passed_ns`, KVM never came to enter the guest: the signal was there
 * before, and what is known of the way in and out is more than this pass took. */
int64_t ft_preemption_unseen_ns(int64_t lost_ns, int64_t since_ns, int64_t passed_ns);

/* Whether KVM leaves the guest when the host takes the CPU, before the guest goes on. The vCPU's
 * own thread; and, of all that there are, any. */
bool ft_preemption_is_signalled(void);
bool ft_preemption_are_all_signalled(void);

/* Any thread: what has become of it. `is_lost`: the pass that has just ended has lost some. */
void ft_preemption_note(bool is_lost, const struct ft_stretch_lost *lost);

/* Any thread. */
struct ft_preemptions ft_preemption_sums(void);

#endif
