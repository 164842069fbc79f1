/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What every part of the agent may use. Includes nothing of the agent's own.
 *
 * Threads: QEMU's main thread and its vCPU thread (one under TCG, one for each CPU under KVM) call
 * in, always with the BQL, QEMU's big lock, held unless a function says otherwise. The BQL is
 * therefore the agent's lock. "vCPU thread in a hold": the one whose turn it is, or that owns the
 * gate (ours/kvm/gate.h), so that no other executes.
 *
 * The rooms: ours/ is what the agent does, whatever the QEMU: what it says to the emulator
 * (emulator/, which knows no QEMU) and what it does with guest time (time/). qemu/ finds what a
 * QEMU offers, by its features and never by its version, and leads QEMU's calls to functions that
 * it is given at start: how CPUs execute (cpus/), and functions of libraries (libraries/). So ours/
 * includes qemu/, never the reverse (request.h and this apart).
 */
#ifndef FREEZINGTIME_OURS_BASE_H
#define FREEZINGTIME_OURS_BASE_H

#include <stdint.h>

/* Seen by QEMU and its libraries in place of the function of this name. */
#define FT_EXPORT __attribute__((visibility("default")))

/* Exit statuses of a QEMU that the agent ends. */
enum { FT_EXIT_REFUSED = 64, FT_EXIT_EMULATOR_LOST = 70 };

/* How messages about a QEMU that is refused end. */
#define FT_CURE "use the qemu-system-x86_64 of Debian 12 or later"

/* Prints "freezingtime agent: ..." and ends QEMU at once. Any thread, no lock. */
_Noreturn void ft_die(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Monotonic time of the host. Any thread, no lock. */
int64_t ft_host_now_ns(void);

/* strtoull by the name that it always had. Newer headers of the C library lead it to a new one,
 * which the C library of an unpacked QEMU need not have. Any thread, no lock. */
unsigned long long ft_strtoull(const char *text, char **end, int base) __asm__("strtoull");

/* The function of this name that an exported one of ours stands before. Any thread, no lock. */
void *ft_next_symbol(const char *name);

#endif
