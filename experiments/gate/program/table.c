/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parts.h"

enum { ENTRIES = 1000, BUCKETS = 256 };

struct entry {
    struct entry *next;
    char name[24];
};

static unsigned long hash(const char *name)
{
    unsigned long value = 5381;
    while (*name)
        value = value * 33 + (unsigned char)*name++;
    return value;
}

unsigned long fill_table(void)
{
    static struct entry *buckets[BUCKETS];
    unsigned long sum = 0;
    for (int number = 0; number < ENTRIES; number++) {
        struct entry *entry = malloc(sizeof *entry + (size_t)(number % 7) * 16);
        if (!entry)
            abort();
        snprintf(entry->name, sizeof entry->name, "entry-%d", number);
        unsigned long value = hash(entry->name);
        entry->next = buckets[value % BUCKETS];
        buckets[value % BUCKETS] = entry;
        sum += value;
    }
    return sum;
}
