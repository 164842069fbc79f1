/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU's coroutine mutex, replaced by one that does not hand over.
 *
 * A request's coroutine in QEMU 7.2's NBD client (block/nbd.c) takes the connection's
 * receive mutex twice: to read its reply's header, and, when it has the payload, to wake
 * another. QEMU's mutex is fair: at the first release it passes to whoever waits. That
 * coroutine then waits for the next header with the mutex held, and the first one cannot
 * complete its request, all of whose reply it has, before the next reply comes. So with
 * two requests or more in flight the guest would see a completion one reply too late.
 *
 * Here a release only wakes a waiter, which tries again when the releasing coroutine next
 * waits or ends; until then that one may take the mutex again. A waiter may be overtaken,
 * but not for ever: who is in the NBD client takes the mutex a few times and is gone.
 *
 * Both functions are exported by the stock binary. Its own calls do not go by a table, so
 * they are led here by a jump at their beginning. All coroutines of this machine run with
 * the BQL held: there are no I/O threads.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent.h"
#include "qemu.h"

struct waiter {
    Coroutine *coroutine;
    struct waiter *next;
};

/* In the place of QEMU's CoMutex, which is larger and begins as zeros (qemu_co_mutex_init).
 * `locked` and `holder` are where QEMU's assertions look for them. */
struct mutex {
    unsigned locked;
    void *unused_context;
    struct waiter *first, *last;
    unsigned unused_handoff, unused_sequence;
    Coroutine *holder;
};

static void lock(struct mutex *mutex)
{
    Coroutine *self = qemu_coroutine_self();
    while (mutex->locked) {
        struct waiter waiter = {.coroutine = self, .next = NULL};
        *(mutex->first ? &mutex->last->next : &mutex->first) = &waiter;
        mutex->last = &waiter;
        qemu_coroutine_yield();
    }
    mutex->locked = 1;
    mutex->holder = self;
}

static void unlock(struct mutex *mutex)
{
    struct waiter *waiter = mutex->first;
    mutex->locked = 0;
    mutex->holder = NULL;
    if (waiter) {
        mutex->first = waiter->next;
        aio_co_wake(waiter->coroutine);
    }
}

/* movabs $target, %rax; jmp *%rax */
static void lead(void *from, void (*target)(struct mutex *))
{
    unsigned char code[] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};
    memcpy(code + 2, &target, sizeof target);
    uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)from & ~(page_bytes - 1);
    uintptr_t end = ((uintptr_t)from + sizeof code + page_bytes - 1) & ~(page_bytes - 1);
    void *pages = (void *)first;
    if (mprotect(pages, end - first, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
        ft_die(FT_EXIT_REFUSED, "cannot make QEMU's code writable: %s", strerror(errno));
    }
    memcpy(from, code, sizeof code);
    if (mprotect(pages, end - first, PROT_READ | PROT_EXEC) != 0) {
        ft_die(FT_EXIT_REFUSED, "cannot protect QEMU's code again: %s", strerror(errno));
    }
}

void ft_co_mutex_install(void)
{
#ifndef __x86_64__
    ft_die(FT_EXIT_REFUSED, "needs an x86-64 host, whose code it knows to write");
#endif
    lead((void *)&qemu_co_mutex_lock, lock);
    lead((void *)&qemu_co_mutex_unlock, unlock);
}
