/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a pass costs on this host, measured in a guest of a few instructions.
 */
#ifndef FREEZINGTIME_OURS_KVM_CALIBRATION_H
#define FREEZINGTIME_OURS_KVM_CALIBRATION_H

#include "ours/kvm/pass.h"

struct ft_calibration {
    struct ft_pass_cost cost;
    uint32_t tsc_khz;
};

/* For a guest of so many CPUs. Ends QEMU with the reason where KVM will not do. Main thread. */
void ft_calibrate(struct ft_calibration *calibration, int cpu_count);

#endif
