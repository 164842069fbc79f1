/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE
#include "qemu/cpus/rcu.h"

#include <dlfcn.h>
#include <stddef.h>

#include "ours/base.h"
#include "qemu/exports.h"
#include "qemu/hooks.h"

struct rcu_notifier {
    void (*notify)(struct rcu_notifier *notifier, void *data);
    struct rcu_notifier *next;
};

/* The head of what QEMU keeps of a thread for RCU. */
struct rcu_reader {
    unsigned long counter;
    bool waiting;
    unsigned depth;
    void *node[2];
    struct rcu_notifier *first_notifier;
};

static const void *round_robin_address;

static bool is_in_file_of(const void *address, const void *other)
{
    Dl_info here, there;
    return dladdr(address, &here) && dladdr(other, &there) && here.dli_fbase == there.dli_fbase;
}

/* vCPU thread, as the reader is the calling thread's. */
static void find(CPUState *unused, union run_on_cpu_data removes)
{
    (void)unused;
    struct rcu_reader *reader = get_ptr_rcu_reader();
    struct rcu_notifier *notifier = reader->first_notifier;
    if (!notifier || notifier->next ||
        !is_in_file_of((const void *)notifier->notify, round_robin_address)) {
        ft_die(FT_EXIT_REFUSED, "this QEMU's RCU is not as the agent knows it; " FT_CURE);
    }
    ft_hook_called(FT_HOOK_RCU);
    if (removes.address) {
        rcu_remove_force_rcu_notifier(notifier);
    }
}

void ft_rcu_hook(const void *round_robin, bool removes)
{
    round_robin_address = round_robin;
    ft_hook_found(FT_HOOK_RCU, "notifier");
    async_run_on_cpu(qemu_get_cpu(0), find, (union run_on_cpu_data){.address = removes});
}
