/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE
#include "qemu/lock.h"

#include <stddef.h>
#include <time.h>

#include "ours/base.h"
#include "qemu/exports.h"
#include "qemu/hooks.h"

/* For how long a thread that may not keep it leaves the BQL to others. */
#define YIELD_NS 20000

WEAK bool bql_locked(void);
WEAK bool qemu_mutex_iothread_locked(void);
WEAK void bql_lock_impl(const char *file, int line);
WEAK void qemu_mutex_lock_iothread_impl(const char *file, int line);
WEAK void bql_unlock(void);
WEAK void qemu_mutex_unlock_iothread(void);

/* How QEMU locks the BQL. */
WEAK extern qemu_lock_fn *bql_mutex_lock_func;
WEAK extern qemu_lock_fn *qemu_bql_mutex_lock_func;

static bool (*thread_may_keep)(int64_t tried_ns);

void ft_lock_require(void)
{
    bool complete = (bql_locked || qemu_mutex_iothread_locked) &&
                    (bql_lock_impl || qemu_mutex_lock_iothread_impl) &&
                    (bql_unlock || qemu_mutex_unlock_iothread) &&
                    (&bql_mutex_lock_func || &qemu_bql_mutex_lock_func);
    if (!complete) {
        ft_die(FT_EXIT_REFUSED, "this QEMU does not export the functions of its big lock by any "
                                "name that the agent knows; " FT_CURE);
    }
}

bool ft_lock_is_held(void)
{
    return bql_locked ? bql_locked() : qemu_mutex_iothread_locked();
}

void ft_lock_take(void)
{
    if (bql_lock_impl) {
        bql_lock_impl(__FILE__, __LINE__);
    } else {
        qemu_mutex_lock_iothread_impl(__FILE__, __LINE__);
    }
}

void ft_lock_release(void)
{
    if (bql_unlock) {
        bql_unlock();
    } else {
        qemu_mutex_unlock_iothread();
    }
}

/* In place of QEMU's function that locks the BQL. */
static void lock(QemuMutex *bql, const char *file, int line)
{
    int64_t start_ns = 0;
    ft_hook_called(FT_HOOK_LOCK);
    for (;;) {
        qemu_mutex_lock_impl(bql, file, line);
        if (thread_may_keep(start_ns ? ft_host_now_ns() - start_ns : 0)) {
            return;
        }
        start_ns = start_ns ? start_ns : ft_host_now_ns();
        qemu_mutex_unlock_impl(bql, file, line);
        nanosleep(&(struct timespec){.tv_nsec = YIELD_NS}, NULL);
    }
}

void ft_lock_hook(bool (*may_keep)(int64_t tried_ns))
{
    thread_may_keep = may_keep;
    /* From here on other threads call it, and need no lock to find what it calls. */
    qemu_lock_fn **place = &bql_mutex_lock_func ? &bql_mutex_lock_func : &qemu_bql_mutex_lock_func;
    __atomic_store_n(place, lock, __ATOMIC_RELEASE);
    ft_hook_found(FT_HOOK_LOCK, "variable");
}
