/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU's block driver for NBD, with our functions in it for what reaches a device.
 */
#ifndef FREEZINGTIME_QEMU_NBD_DRIVER_H
#define FREEZINGTIME_QEMU_NBD_DRIVER_H

#include "ours/request.h"

/* `send` is called for each request, in a coroutine with the BQL held; the request is good until
 * it is answered. Before QEMU's main; single thread. */
void ft_nbd_driver_hook(void (*send)(struct ft_request *request));

/* Whenever QEMU waits; any thread, any lock. Acts once, when it can: what QEMU opens disks with
 * must be what was found. */
void ft_nbd_driver_check(void);

#endif
