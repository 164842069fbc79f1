/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The C library's and liburing's functions by which QEMU's threads wait.
 */
#ifndef FREEZINGTIME_QEMU_LIBRARIES_WAITS_H
#define FREEZINGTIME_QEMU_LIBRARIES_WAITS_H

#include <stdbool.h>

/* `on_wait` is called before each; `blocks`: it would wait if nothing is ready. Any thread, any
 * lock. Before QEMU's main. */
void ft_waits_hook(void (*on_wait)(bool blocks));

#endif
