/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Translated blocks: which one a CPU that goes on at some address executes next.
 */
#ifndef FREEZINGTIME_QEMU_CPUS_BLOCKS_H
#define FREEZINGTIME_QEMU_CPUS_BLOCKS_H

/* Has QEMU find them faster, where it looks them up as the agent knows it; else that is left to
 * QEMU. Main thread, BQL held, before the machine first runs. */
void ft_blocks_hook(void);

#endif
