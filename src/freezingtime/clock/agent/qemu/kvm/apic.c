/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * KVM's own APIC has timers in host time, and a guest that halts never leaves it. QEMU's own is
 * the one that TCG takes, and has guest time. Older QEMUs let KVM take it where the interrupt
 * controllers are not in the kernel; newer ones refuse that, in the function that is replaced here.
 */
#include "qemu/kvm/apic.h"

#include <stddef.h>

#include "ours/base.h"
#include "qemu/cpus/places.h"
#include "qemu/exports.h"

#define APIC "apic" /* TYPE_APIC */

static void *get_class(void *errp)
{
    (void)errp;
    void *found = object_class_by_name(APIC);
    if (!found) {
        ft_die(FT_EXIT_REFUSED, "this QEMU has no APIC of its own; " FT_CURE);
    }
    return found;
}

void ft_kvm_apic_hook(void)
{
    ft_replace_function((void *)apic_get_class, (const void *)get_class);
}
