/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The audit of what reaches the guest: while it runs, nothing may but what it did itself.
 *
 * Guest time moves by executed instructions and, where all CPUs idle, to the next timer. All
 * that the guest is given in it comes from the vCPU thread: its own accesses, timers of the
 * virtual clock, and the hold. An interrupt that another thread raises has come by at some time
 * of the host's: a device of QEMU's has waited for the host. It is delivered, and reported.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

#include "agent.h"
#include "qemu.h"

/* Entries of AccelOpsClass that are looked at; the real table has about 20. */
#define TABLE_ENTRIES 32

static void (*qemu_handle_interrupt)(CPUState *cpu, int mask);
static bool disturbed; /* BQL */

/* In place of QEMU's entry; any thread, BQL held. Where the CPUs stand still, as when the machine
 * is about to run, it is the machine's own doing. */
static void handle_interrupt(CPUState *cpu, int mask)
{
    if (!qemu_in_vcpu_thread() && runstate_is_running() && !cpu_is_stopped(qemu_get_cpu(0))) {
        disturbed = true;
    }
    qemu_handle_interrupt(cpu, mask);
}

static bool handles_interrupts(const void *address)
{
    Dl_info found;
    return address && dladdr(address, &found) && found.dli_sname &&
           strcmp(found.dli_sname, "icount_handle_interrupt") == 0;
}

/* Main thread, BQL held, once the machine is built. */
void ft_outside_start(void)
{
    void **table = (void **)(uintptr_t)cpus_get_accel();
    for (int i = 0; i < TABLE_ENTRIES; i++) {
        if (handles_interrupts(table[i])) {
            qemu_handle_interrupt = (void (*)(CPUState *, int))(uintptr_t)table[i];
            table[i] = (void *)handle_interrupt;
            return;
        }
        if (table[i] == (void *)ft_clock_now_ns) {
            break; /* the table's last entries */
        }
    }
    ft_die(FT_EXIT_REFUSED, "this QEMU's accelerator table has no known entry for interrupts; "
                            "QEMU 7.2 is supported");
}

/* BQL held: whether it has happened since the last time that this was asked. */
bool ft_outside_take(void)
{
    bool was = disturbed;
    disturbed = false;
    return was;
}
