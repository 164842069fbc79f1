/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * KVM's own APIC has timers in host time, and a guest that halts never leaves it. QEMU's own is
 * the one that TCG takes, and has guest time. Older QEMUs let KVM take it where the interrupt
 * controllers are not in the kernel; newer ones refuse that, in a function that is replaced here.
 *
 * QEMU also saves KVM's own clock, of which our guests know nothing. A saved machine would have a
 * device that there is not under TCG, and could not go on there.
 */
#include "qemu/kvm/devices.h"

#include <stdbool.h>
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

static void no_clock(bool always)
{
    (void)always;
}

void ft_kvm_devices_hook(void)
{
    ft_replace_function((void *)apic_get_class, (const void *)get_class);
    ft_replace_function((void *)kvmclock_create, (const void *)no_clock);
}
