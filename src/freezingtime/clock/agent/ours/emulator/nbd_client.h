/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Requests out and replies in, on the connections that QEMU has made. BQL held, unless said.
 */
#ifndef FREEZINGTIME_OURS_EMULATOR_NBD_CLIENT_H
#define FREEZINGTIME_OURS_EMULATOR_NBD_CLIENT_H

#include "ours/request.h"

void ft_nbd_connected(uint32_t disk, int fd); /* any thread */
void ft_nbd_closed(uint32_t disk);

/* Sends a request; it must stay where it is until it is answered. */
void ft_nbd_send(struct ft_request *request);

/* The request that a reply answers, which the emulator has announced; receives the reply, unless
 * that has been done. `keep`: until it is answered, nothing of it is to be seen in the request's
 * memory. */
struct ft_request *ft_nbd_receive(uint32_t disk, uint64_t cookie, bool keep);

/* Makes a request whose reply was received an answered one. */
void ft_nbd_answer(struct ft_request *request);

#endif
