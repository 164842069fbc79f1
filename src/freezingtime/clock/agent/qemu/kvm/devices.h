/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Devices of a guest under KVM that are QEMU's, or not there at all.
 */
#ifndef FREEZINGTIME_QEMU_KVM_DEVICES_H
#define FREEZINGTIME_QEMU_KVM_DEVICES_H

/* Before QEMU's main; single thread. */
void ft_kvm_devices_hook(void);

#endif
