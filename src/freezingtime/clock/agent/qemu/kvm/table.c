/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * KVM leaves most of the table empty, so the entries are found by their neighbours: five functions
 * that bring a CPU's registers here or there have names, all but the last; the idle entry is before
 * them. Behind them are those of the clock: what interrupts a CPU, then the virtual clock.
 */
#define _GNU_SOURCE
#include "qemu/kvm/table.h"

#include <stddef.h>

#include "ours/base.h"
#include "qemu/hooks.h"

#define TABLE_ENTRIES 40 /* that are looked at */

/* From kvm_cpu_synchronize_post_reset on. */
enum { IDLE = -1, CLOCK = 6, END = 9 };

static struct ft_kvm_table_calls ours;

static int64_t time_ns(void)
{
    ft_hook_called(FT_HOOK_TIME);
    return ours.now_ns();
}

static bool idle(CPUState *cpu)
{
    ft_hook_called(FT_HOOK_IDLE);
    return ours.may_sleep(cpu);
}

static void replace(void **entry, const void *function, enum ft_hook hook)
{
    __atomic_store_n(entry, (void *)(uintptr_t)function, __ATOMIC_RELEASE);
    ft_hook_found(hook, "table");
}

void ft_kvm_table_hook(const struct ft_kvm_table_calls *calls)
{
    void **table = (void **)(uintptr_t)cpus_get_accel();
    void **post_reset = NULL;
    ours = *calls;
    for (int i = 1; i + END < TABLE_ENTRIES && !post_reset; i++) {
        if (table[i] == (void *)kvm_cpu_synchronize_post_reset) {
            post_reset = &table[i];
        }
    }
    if (!post_reset || !post_reset[IDLE] || post_reset[CLOCK] || post_reset[CLOCK + 1]) {
        ft_die(FT_EXIT_REFUSED,
               "this QEMU's table of KVM is not one that the agent knows; " FT_CURE);
    }
    replace(&post_reset[IDLE], (const void *)idle, FT_HOOK_IDLE);
    replace(&post_reset[CLOCK], (const void *)time_ns, FT_HOOK_TIME);
}
