/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which of QEMU's descriptors are the disks' NBD sockets: the C library's connect and close tell.
 */
#ifndef FREEZINGTIME_QEMU_LIBRARIES_SOCKETS_H
#define FREEZINGTIME_QEMU_LIBRARIES_SOCKETS_H

#include <stdint.h>

/* The socket of disk N is the abstract one named <prefix>N. The functions are called in any
 * thread, before a descriptor is first used and when it is closed. Before QEMU's main. */
void ft_sockets_hook(const char *prefix, void (*connected)(uint32_t disk, int fd),
                     void (*closed)(uint32_t disk));

#endif
