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
    MAYBE,   /* a guest need not idle, nor a CPU interrupt another; or only speed depends on it */
};

enum user { BOTH, TCG, KVM };

static const struct {
    const char *name;
    enum calls calls;
    enum user user;
} hooks[FT_HOOKS] = {
    [FT_HOOK_TIME] = {"time", ALWAYS, BOTH},      [FT_HOOK_TICKS] = {"ticks", IN_BOOT, TCG},
    [FT_HOOK_IDLE] = {"idle", MAYBE, BOTH},       [FT_HOOK_INTERRUPT] = {"interrupt", ALWAYS, TCG},
    [FT_HOOK_KICK] = {"kick", MAYBE, TCG},        [FT_HOOK_ROUND] = {"round", ALWAYS, TCG},
    [FT_HOOK_PREPARE] = {"prepare", ALWAYS, TCG}, [FT_HOOK_SHARE] = {"share", ALWAYS, TCG},
    [FT_HOOK_BUDGET] = {"budget", ALWAYS, TCG},   [FT_HOOK_EXECUTE] = {"execute", ALWAYS, TCG},
    [FT_HOOK_BLOCKS] = {"blocks", MAYBE, TCG},    [FT_HOOK_KVM_RUN] = {"run", ALWAYS, KVM},
    [FT_HOOK_TIMERS] = {"timers", ALWAYS, KVM},   [FT_HOOK_RCU] = {"rcu", ALWAYS, TCG},
    [FT_HOOK_LOCK] = {"lock", ALWAYS, BOTH},      [FT_HOOK_WAIT] = {"wait", ALWAYS, BOTH},
    [FT_HOOK_WRITE] = {"write", MAYBE, BOTH},     [FT_HOOK_DEFER] = {"defer", ALWAYS, TCG},
    [FT_HOOK_DISK] = {"disk", ALWAYS, BOTH},
};

static enum user other = KVM;       /* whose hooks this run does not have */
static const char *found[FT_HOOKS]; /* how */
_Atomic bool ft_hook_was_called[FT_HOOKS];

void ft_hooks_choose(bool for_kvm)
{
    other = for_kvm ? TCG : KVM;
}

static bool is_used(size_t hook)
{
    return hooks[hook].user != other;
}

void ft_hook_found(enum ft_hook hook, const char *how)
{
    found[hook] = how;
}

void ft_hooks_require_found(void)
{
    for (size_t hook = 0; hook < FT_HOOKS; hook++) {
        if (is_used(hook) && !found[hook]) {
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
        if (is_used(hook) && must_be_called(hook, has_booted) && !was_called(hook)) {
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
        if (!is_used(hook)) {
            continue;
        }
        int more = snprintf(text + used, bytes - used, "%s%s (%s)", used ? ", " : "",
                            hooks[hook].name, found[hook] ? found[hook] : "not found");
        if (more < 0 || (size_t)more >= bytes - used) {
            return; /* what fits stands there */
        }
        used += (size_t)more;
    }
}
