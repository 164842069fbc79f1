/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How a guest starts its other CPUs.
 */
#ifndef FREEZINGTIME_QEMU_KVM_SIPI_H
#define FREEZINGTIME_QEMU_KVM_SIPI_H

/* Main thread, before the machine first runs. */
void ft_kvm_sipi_hook(void);

#endif
