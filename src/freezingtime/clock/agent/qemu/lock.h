/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The BQL, whose functions have had two names each. Any thread.
 */
#ifndef FREEZINGTIME_QEMU_LOCK_H
#define FREEZINGTIME_QEMU_LOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Refuses a QEMU that exports none of the names. Before QEMU's main. */
void ft_lock_require(void);

bool ft_lock_is_held(void); /* by the calling thread */
void ft_lock_take(void);
void ft_lock_release(void);

/* From now on, a thread that has locked the BQL keeps it only if it may; else it unlocks it for a
 * moment and tries again. `may_keep` is called with the BQL held, and told for how long the thread
 * has been trying (0: at its first try). */
void ft_lock_hook(bool (*may_keep)(int64_t tried_ns));

#endif
