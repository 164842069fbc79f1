/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The places at which QEMU's calls are led to the agent: which there must be, which were found,
 * and which were really called. One that is missing does not show in every run; so a QEMU is
 * refused unless all were found, and a run ends unless all were called.
 */
#ifndef FREEZINGTIME_QEMU_HOOKS_H
#define FREEZINGTIME_QEMU_HOOKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum ft_hook {
    FT_HOOK_TIME,      /* what guest time is */
    FT_HOOK_TICKS,     /* what the guest's cycle counter is made of */
    FT_HOOK_IDLE,      /* whether an idle CPU may sleep */
    FT_HOOK_INTERRUPT, /* a CPU is interrupted */
    FT_HOOK_KICK,      /* one thread interrupts a CPU */
    FT_HOOK_ROUND,     /* the round robin is about to begin a round */
    FT_HOOK_PREPARE,   /* it is about to give a CPU its budget */
    FT_HOOK_SHARE,     /* what of the budget is one CPU's */
    FT_HOOK_BUDGET,    /* how many instructions there are up to the next timer */
    FT_HOOK_EXECUTE,   /* it executes a CPU */
    FT_HOOK_BLOCKS,    /* it looks up the block of code that is next */
    FT_HOOK_KVM_RUN,   /* KVM executes a CPU */
    FT_HOOK_TIMERS,    /* the main loop runs timers */
    FT_HOOK_RCU,       /* QEMU's RCU thread interrupts CPUs no more */
    FT_HOOK_LOCK,      /* a thread locks the BQL */
    FT_HOOK_WAIT,      /* a thread is about to wait */
    FT_HOOK_WRITE,     /* a thread writes */
    FT_HOOK_DEFER,     /* a device leaves work to the main loop */
    FT_HOOK_DISK,      /* the block layer asks something of a disk */
    FT_HOOKS
};

extern _Atomic bool ft_hook_was_called[FT_HOOKS];

/* Which of them a run has: those that TCG's round robin takes, or those that KVM does. Before
 * QEMU's main. */
void ft_hooks_choose(bool for_kvm);

/* `how` stays where it is. Any thread, before the machine first runs. */
void ft_hook_found(enum ft_hook hook, const char *how);

/* Any thread, no lock. */
static inline void ft_hook_called(enum ft_hook hook)
{
    atomic_store_explicit(&ft_hook_was_called[hook], true, memory_order_relaxed);
}

/* Refuses a QEMU in which one was not found. */
void ft_hooks_require_found(void);

/* Ends a run in which one was not called, though the guest has booted, or has run a job at least.
 */
void ft_hooks_require_called(bool has_booted);

/* Writes all, with how each was found, as one line of text without its end. */
void ft_hooks_describe(char *text, size_t bytes);

#endif
