/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Functions that call each other in the ways of a QEMU's round robin, and the agent's finder of
 * places let loose on them, for tests/agent/test_agent_places.py. Built as a program that has them
 * itself, or with -DMODULE as one, without them, that loads a module which was built of this file
 * with -DMODULE_CODE. Output: a line "NAME VALUE" for each thing that was done.
 */
#define _GNU_SOURCE
#include <stdio.h>

#define NOT_INLINED __attribute__((noinline, noclone, visibility("default")))

int called_once(int value);
int called_twice(int value);
int never_called(int value);
int caller(int value);
int other_caller(int value);
int call_static(int value);
const void *address_in_static(void);

#ifndef MODULE
NOT_INLINED int called_once(int value)
{
    __asm__ volatile("");
    return value + 1;
}

NOT_INLINED int called_twice(int value)
{
    __asm__ volatile("");
    return value + 2;
}

NOT_INLINED int never_called(int value)
{
    __asm__ volatile("");
    return value;
}

static const void *inside;

static int __attribute__((noinline, noclone)) static_caller(int value)
{
    int result = called_twice(value) * 2;
    __asm__ volatile("lea 0(%%rip), %0" : "=r"(inside));
    return result + 1;
}

NOT_INLINED int call_static(int value)
{
    return static_caller(value) - 1;
}

NOT_INLINED const void *address_in_static(void)
{
    static_caller(0);
    return inside;
}

NOT_INLINED int caller(int value)
{
    return called_once(value) * 100 + 1;
}

NOT_INLINED int other_caller(int value)
{
    return called_twice(value) * 3 + 1;
}
#endif

#ifndef MODULE_CODE
#include <dlfcn.h>
#include <stdlib.h>

#include "qemu/cpus/places.h"

static int ours(int value)
{
    return value + 1000;
}

/* The functions by which the program looks at itself, whichever file they are in. */
static void *function(const char *file, const char *name)
{
    void *handle = dlopen(file, RTLD_NOW);
    void *found = handle ? dlsym(handle, name) : NULL;
    if (!found) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    return found;
}

int main(int argc, char **argv)
{
    const char *file = argc > 1 ? argv[1] : NULL;
    int (*call)(int) = (int (*)(int))function(file, "caller");
    int (*other)(int) = (int (*)(int))function(file, "other_caller");
    int (*through_static)(int) = (int (*)(int))function(file, "call_static");
    const void *(*address)(void) = (const void *(*)(void))function(file, "address_in_static");
    const void *once = function(file, "called_once");
    const void *twice = function(file, "called_twice");
    const void *never = function(file, "never_called");

    struct ft_code code = ft_code_of_file((const void *)call);
    struct ft_code one = ft_code_of_function((const void *)call);
    struct ft_code hidden = ft_code_of_function(address());
    struct ft_code none = ft_code_of_function(&code);
    printf("named %d\n", ft_function_named((const void *)call, "called_once") == once);
    printf("unnamed %d\n", ft_function_named((const void *)call, "no_such_function") != NULL);
    printf("caller_begins %d\n", one.start == (const char *)call);
    printf("caller_ends %d\n", one.end > one.start && one.end - one.start < 200);
    printf("no_code %d\n", none.start == none.end);
    printf("only_call %d\n", ft_only_call(&code, once) != NULL);
    printf("not_only_call %d\n", ft_only_call(&code, twice) != NULL);
    printf("before %d %d %d\n", call(1), other(1), through_static(1));
    printf("never %d\n", ft_redirect_calls(&code, never, (const void *)ours) +
                             ft_redirect_slots(&code, "never_called", (const void *)ours));
    printf("calls_in_static %d\n", ft_redirect_calls(&hidden, twice, (const void *)ours));
    printf("one_led %d %d %d\n", call(1), other(1), through_static(1));
    printf("calls %d\n", ft_redirect_calls(&code, once, (const void *)ours));
    printf("slots %d\n", ft_redirect_slots(&code, "called_once", (const void *)ours));
    printf("all_led %d %d %d\n", call(1), other(1), through_static(1));
    return 0;
}
#endif
