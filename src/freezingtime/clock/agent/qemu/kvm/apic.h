/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The local APIC of a guest under KVM, emulated by QEMU.
 */
#ifndef FREEZINGTIME_QEMU_KVM_APIC_H
#define FREEZINGTIME_QEMU_KVM_APIC_H

/* Before QEMU's main; single thread. */
void ft_kvm_apic_hook(void);

#endif
