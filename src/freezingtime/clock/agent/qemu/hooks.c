/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/hooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ours/base.h"

/* What a run is certain to call. */
enum calls {
    ALWAYS,
    IN_BOOT, /* a short job may not look at its cycle counter */
    MAYBE,   /* a guest need not idle, nor a CPU interrupt another */
};

static const struct {
    const char *name;
    enum calls calls;
} hooks[FT_HOOKS] = {
    [FT_HOOK_TIME] = {"time", ALWAYS},       [FT_HOOK_TICKS] = {"ticks", IN_BOOT},
    [FT_HOOK_IDLE] = {"idle", MAYBE},        [FT_HOOK_INTERRUPT] = {"interrupt", ALWAYS},
    [FT_HOOK_KICK] = {"kick", MAYBE},        [FT_HOOK_ROUND] = {"round", ALWAYS},
    [FT_HOOK_PREPARE] = {"prepare", ALWAYS}, [FT_HOOK_SHARE] = {"share", ALWAYS},
    [FT_HOOK_BUDGET] = {"budget", ALWAYS},   [FT_HOOK_EXECUTE] = {"execute", ALWAYS},
    [FT_HOOK_RCU] = {"rcu", ALWAYS},         [FT_HOOK_LOCK] = {"lock", ALWAYS},
    [FT_HOOK_WAIT] = {"wait", ALWAYS},       [FT_HOOK_WRITE] = {"write", MAYBE},
    [FT_HOOK_DEFER] = {"defer", ALWAYS},     [FT_HOOK_DISK] = {"disk", ALWAYS},
};

static const char *found[FT_HOOKS]; /* how */
_Atomic bool ft_hook_was_called[FT_HOOKS];

void ft_hook_found(enum ft_hook hook, const char *how)
{
    found[hook] = how;
}

void ft_hooks_require_found(void)
{
    for (size_t hook = 0; hook < FT_HOOKS; hook++) {
        if (!found[hook]) {
            ft_die(FT_EXIT_REFUSED,
                   "this QEMU has no place that the agent knows for the hook '%s'; " FT_CURE,
                   hooks[hook].name);
        }
    }
}

#ifdef FT_FAULTS
/* Test builds only: a hook that is found, and that QEMU passes by. */
static bool is_passed_by(size_t hook)
{
    const char *name = getenv("FREEZINGTIME_FAULT_PASSED_BY");
    return name && strcmp(name, hooks[hook].name) == 0;
}
#else
static bool is_passed_by(size_t hook)
{
    (void)hook;
    return false;
}
#endif

static bool was_called(size_t hook)
{
    return !is_passed_by(hook) &&
           atomic_load_explicit(&ft_hook_was_called[hook], memory_order_relaxed);
}

static bool must_be_called(size_t hook, bool has_booted)
{
    return hooks[hook].calls == ALWAYS || (hooks[hook].calls == IN_BOOT && has_booted);
}

void ft_hooks_require_called(bool has_booted)
{
    for (size_t hook = 0; hook < FT_HOOKS; hook++) {
        if (must_be_called(hook, has_booted) && !was_called(hook)) {
            ft_die(FT_EXIT_REFUSED,
                   "this QEMU never called the hook '%s' (%s), so guest time would not be "
                   "exact; " FT_CURE,
                   hooks[hook].name, found[hook] ? found[hook] : "not found");
        }
    }
}

void ft_hooks_describe(char *text, size_t bytes)
{
    size_t used = 0;
    for (size_t hook = 0; hook < FT_HOOKS; hook++) {
        int more = snprintf(text + used, bytes - used, "%s%s (%s)", hook ? ", " : "",
                            hooks[hook].name, found[hook] ? found[hook] : "not found");
        if (more < 0 || (size_t)more >= bytes - used) {
            return; /* what fits stands there */
        }
        used += (size_t)more;
    }
}
