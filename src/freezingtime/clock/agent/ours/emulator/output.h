/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the guest writes to its console and to its ports, and QEMU to the emulator's pipes.
 */
#ifndef FREEZINGTIME_OURS_EMULATOR_OUTPUT_H
#define FREEZINGTIME_OURS_EMULATOR_OUTPUT_H

/* QEMU could not write to a descriptor, for this reason: waits until it can, or ends QEMU. vCPU
 * thread, BQL held. */
void ft_output_not_written(int fd, int error);

#endif
