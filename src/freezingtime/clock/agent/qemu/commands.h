/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU's own commands, such as those that plug a disk in, executed at a guest time.
 */
#ifndef FREEZINGTIME_QEMU_COMMANDS_H
#define FREEZINGTIME_QEMU_COMMANDS_H

/* Executes a QMP command, given as JSON; one that QEMU refuses ends it with a message. When it
 * returns, what the command takes away is freed. The vCPU thread, between two guest instructions,
 * with the BQL, as when a guest writes to the register that ejects a device; lets go of the BQL
 * for a while. */
void ft_commands_run(const char *text);

#endif
