/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * main FILE LOOPS: what is gated. Fills a hash table, appends to FILE, and spins LOOPS times, which
 * is the change that is planted: two instructions each.
 */
#include <stdio.h>
#include <stdlib.h>
#include "parts.h"

static void spin(unsigned long loops)
{
    if (loops)
        __asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(loops));
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    unsigned long sum = fill_table();
    spin(strtoul(argv[2], NULL, 10));
    if (append_records(argv[1], sum)) {
        perror(argv[1]);
        return 1;
    }
    return 0;
}
