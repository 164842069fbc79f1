/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A CPU is started by an interrupt (SIPI) that says where. Some QEMUs leave it pending under KVM
 * once it has been taken, with their own APIC: when the guest's kernel starts the CPU for the
 * second time, behind the firmware, it begins where the firmware wanted it to. So it is taken back
 * here, as newer ones do.
 */
#include "qemu/kvm/sipi.h"

#include <stddef.h>

#include "ours/base.h"
#include "qemu/cpus/places.h"
#include "qemu/exports.h"

#define CPU_INTERRUPT_SIPI 0x800 /* CPU_INTERRUPT_TGT_INT_2 */

/* The CPU's own thread, BQL held. */
static void take_sipi(void *x86_cpu)
{
    cpu_reset_interrupt(x86_cpu, CPU_INTERRUPT_SIPI);
    do_cpu_sipi(x86_cpu);
}

void ft_kvm_sipi_hook(void)
{
    struct ft_code code = ft_code_of_function((const void *)kvm_arch_process_async_events);
    int count = ft_redirect_calls(&code, (const void *)do_cpu_sipi, (const void *)take_sipi);
    if (count == 0 && qemu_get_cpu(1)) {
        ft_die(FT_EXIT_REFUSED,
               "this QEMU starts a guest's second CPU in a way that the agent does "
               "not know; give it one, or " FT_CURE);
    }
}
