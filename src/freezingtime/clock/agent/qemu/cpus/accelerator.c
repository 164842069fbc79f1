/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The entries are found by what stands in the table, not by its layout. icount_get stands in it
 * twice, as the virtual clock and as the elapsed ticks, next to each other or with an entry between
 * them that is empty (who sets the clock). The idle entry, which TCG leaves empty, follows the
 * round robin's kick, and the functions that kick and interrupt have names.
 */
#define _GNU_SOURCE
#include "qemu/cpus/accelerator.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "ours/base.h"
#include "qemu/hooks.h"

/* Entries that are looked at; the real table has some 20. */
#define TABLE_ENTRIES 32

static struct ft_accelerator_calls ours;
static void **ticks_entry;
static void (*qemu_kick)(CPUState *cpu);
static void (*qemu_handle_interrupt)(CPUState *cpu, int mask);

static int64_t time_ns(void)
{
    ft_hook_called(FT_HOOK_TIME);
    return ours.now_ns();
}

static int64_t ticks(void)
{
    ft_hook_called(FT_HOOK_TICKS);
    return ours.cycles();
}

static bool idle(CPUState *cpu)
{
    ft_hook_called(FT_HOOK_IDLE);
    return ours.may_sleep(cpu);
}

static void kick(CPUState *cpu)
{
    ft_hook_called(FT_HOOK_KICK);
    if (ours.may_kick()) {
        qemu_kick(cpu);
    }
}

static void handle_interrupt(CPUState *cpu, int mask)
{
    ft_hook_called(FT_HOOK_INTERRUPT);
    ours.interrupts();
    qemu_handle_interrupt(cpu, mask);
}

static bool is_function(const void *address, const char *name)
{
    Dl_info found;
    return address && dladdr(address, &found) && found.dli_sname &&
           strcmp(found.dli_sname, name) == 0;
}

/* Whether an entry is the virtual clock; where the elapsed ticks are then. */
static void **find_ticks(void **entry)
{
    const void *get = (const void *)icount_get;
    if (entry[0] != get) {
        return NULL;
    }
    if (entry[1] == get) {
        return &entry[1];
    }
    return !entry[1] && entry[2] == get ? &entry[2] : NULL;
}

/* From here on other threads call it, and need no lock to find what it calls. */
static void replace(void **entry, const void *function, enum ft_hook hook)
{
    __atomic_store_n(entry, (void *)(uintptr_t)function, __ATOMIC_RELEASE);
    ft_hook_found(hook, "table");
}

static bool is_complete(void)
{
    return qemu_kick && qemu_handle_interrupt && ticks_entry;
}

/* Whatever is found at this entry of the table and behind it. */
static void look_at(void **entry)
{
    if (is_function(entry[0], "rr_kick_vcpu_thread") && !entry[1]) {
        qemu_kick = (void (*)(CPUState *))(uintptr_t)entry[0];
        replace(&entry[0], (const void *)kick, FT_HOOK_KICK);
        replace(&entry[1], (const void *)idle, FT_HOOK_IDLE);
    } else if (is_function(entry[0], "icount_handle_interrupt")) {
        qemu_handle_interrupt = (void (*)(CPUState *, int))(uintptr_t)entry[0];
        replace(&entry[0], (const void *)handle_interrupt, FT_HOOK_INTERRUPT);
    } else if (!ticks_entry && (ticks_entry = find_ticks(entry))) {
        replace(&entry[0], (const void *)time_ns, FT_HOOK_TIME);
        replace(ticks_entry, (const void *)ticks, FT_HOOK_TICKS);
    }
}

const void *ft_accelerator_hook(const struct ft_accelerator_calls *calls)
{
    void **table = (void **)(uintptr_t)cpus_get_accel();
    ours = *calls;
    for (int i = 0; i + 2 < TABLE_ENTRIES && !is_complete(); i++) {
        look_at(&table[i]);
    }
    if (!is_complete()) {
        ft_die(FT_EXIT_REFUSED,
               "this QEMU's accelerator table is not one that the agent knows; " FT_CURE);
    }
    return (const void *)qemu_kick;
}
