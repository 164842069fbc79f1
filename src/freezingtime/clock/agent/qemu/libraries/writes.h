/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The C library's function by which QEMU writes to files and pipes.
 */
#ifndef FREEZINGTIME_QEMU_LIBRARIES_WRITES_H
#define FREEZINGTIME_QEMU_LIBRARIES_WRITES_H

/* `not_written` is called when a write of the vCPU thread's fails, with the BQL held; then it is
 * tried again. Before QEMU's main. */
void ft_writes_hook(void (*not_written)(int fd, int error));

#endif
