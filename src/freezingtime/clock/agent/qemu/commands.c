/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/commands.h"

#include <stddef.h>
#include <string.h>

#include "ours/base.h"
#include "qemu/exports.h"

/* How QMP's answer begins if the command was refused. */
static const char refusal[] = "{\"error\"";

void ft_commands_run(const char *text)
{
    if (!&qmp_dispatch || !&qmp_commands || !&qobject_from_json || !&qobject_to_json ||
        !&drain_call_rcu) {
        ft_die(FT_EXIT_REFUSED,
               "this QEMU does not export how it executes commands, so no disk can "
               "disappear; " FT_CURE);
    }
    void *request = qobject_from_json(text, NULL);
    if (!request) {
        ft_die(FT_EXIT_REFUSED, "not a command of QEMU's: %s", text);
    }
    /* Outside of a coroutine it calls the command's function right here. Request and answer are not
     * freed, as QEMU frees them by inline functions: some hundred bytes for each of a few. */
    const struct qemu_text *answer =
        qobject_to_json(qmp_dispatch(qmp_commands, request, false, NULL));
    if (strncmp(answer->text, refusal, sizeof refusal - 1) == 0) {
        ft_die(FT_EXIT_REFUSED, "QEMU has refused a command, %s: %s", text, answer->text);
    }
    /* A device that is unplugged keeps its disk and its name until QEMU's RCU thread has freed it,
     * some 10 ms of host time later; a guest that sleeps can be anywhere by then. */
    drain_call_rcu();
}
