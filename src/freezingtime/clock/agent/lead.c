/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Functions of QEMU's own binary, replaced. Its calls of them do not go by a table, so they are
 * led away by a jump at their beginning. (Those of its modules are found by name: a preloaded
 * library's come first.)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent.h"

/* movabs $target, %rax; jmp *%rax. Before any other thread calls it. */
void ft_lead(void *from, const void *target)
{
#ifndef __x86_64__
    ft_die(FT_EXIT_REFUSED, "needs an x86-64 host, whose code it knows to write");
#endif
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
