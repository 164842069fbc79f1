/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Finds where QEMU calls a function, and has it call another one there. Three kinds of place are
 * known:
 *
 *   a slot      of a file's PLT: how a module calls what it exports, or what is in another file
 *   a call      of a function in the same file: the distance to it is in the instruction
 *   a call in   one function of the file only, for what others call as well
 *
 * All before any CPU executes.
 */
#ifndef FREEZINGTIME_QEMU_CPUS_PLACES_H
#define FREEZINGTIME_QEMU_CPUS_PLACES_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>

/* Code of one file that is loaded: all of it, or one function. */
struct ft_code {
    const char *start, *end; /* equal: there is none */
    const char *base;        /* of the file */
    const ElfW(Phdr) * segments;
    size_t segment_count;
};

/* The code of the file that this address is in. */
struct ft_code ft_code_of_file(const void *address);

/* The code of the function that this address is in. */
struct ft_code ft_code_of_function(const void *address);

/* A function that the file of this address exports, or can call by name; NULL: there is none. */
void *ft_function_named(const void *address, const char *name);

/* The instruction that calls this function, if exactly one in this code does; else NULL. */
const char *ft_only_call(const struct ft_code *code, const void *function);

/* Has a function lead to `ours`, whoever calls it and how. Nothing of it can be called again. */
void ft_replace_function(void *function, const void *ours);

/* Have `ours` called instead of `function`; how many places there were. */
int ft_redirect_calls(const struct ft_code *code, const void *function, const void *ours);
int ft_redirect_slots(const struct ft_code *file, const char *name, const void *ours);

#endif
