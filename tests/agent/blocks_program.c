/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A table of blocks that is looked up and reset as QEMU does it, and the agent's hook let loose on
 * it, for tests/agent/test_agent_blocks.py. With -DTWICE there are two places that look up. Output:
 * a line "NAME VALUE" for each thing that was done.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "qemu/cpus/blocks.h"
#include "qemu/hooks.h"

#define EXPORTED __attribute__((noinline, noclone, visibility("default")))

typedef bool is_wanted_fn(const void *block, const void *wanted);

void *qht_lookup_custom(const void *table, const void *wanted, uint32_t hash,
                        is_wanted_fn *is_wanted);
bool qht_reset_size(void *table, size_t count);

void ft_hook_found(enum ft_hook hook, const char *how)
{
    printf("found %d %s\n", hook == FT_HOOK_BLOCKS, how);
}

struct block {
    uint32_t hash;
    int value;
};

static struct block blocks[3];
static int looked_up, compared, resets;

EXPORTED void *qht_lookup_custom(const void *table, const void *wanted, uint32_t hash,
                                 is_wanted_fn *is_wanted)
{
    looked_up++;
    for (size_t i = 0; table == blocks && i < 3; i++) {
        if (blocks[i].hash == hash && is_wanted(&blocks[i], wanted)) {
            return &blocks[i];
        }
    }
    return NULL;
}

EXPORTED bool qht_reset_size(void *table, size_t count)
{
    resets += table == blocks && count == 7;
    return true;
}

static bool is_wanted(const void *block, const void *wanted)
{
    compared++;
    return ((const struct block *)block)->value == *(const int *)wanted;
}

static int __attribute__((noinline, noclone)) find(uint32_t hash, int value)
{
    const struct block *block = qht_lookup_custom(blocks, &value, hash, is_wanted);
    return block ? (int)(block - blocks) : -1;
}

#ifdef TWICE
EXPORTED int find_other(uint32_t hash, int value);
EXPORTED int find_other(uint32_t hash, int value)
{
    return qht_lookup_custom(blocks, &value, hash, is_wanted) != NULL;
}
#endif

static void __attribute__((noinline, noclone)) forget(void)
{
    bool done = qht_reset_size(blocks, 7);
    printf("reset %d %d\n", done, resets);
}

static void look(const char *name, uint32_t hash, int value)
{
    looked_up = compared = 0;
    int found = find(hash, value); /* before the counts are read */
    printf("%s %d %d %d\n", name, found, looked_up, compared);
}

int main(void)
{
    const uint32_t hash = 0x12345678;
    const uint32_t same_place = 0x77775678;
    ft_blocks_hook();
    blocks[0] = (struct block){hash, 1};
    blocks[1] = (struct block){same_place, 2};
    blocks[2] = (struct block){hash, 3};
    look("first", hash, 1);
    look("again", hash, 1);
    look("same_place", same_place, 2);
    look("replaced", hash, 1);
    look("same_hash", hash, 3);
    look("back", hash, 1);
    blocks[0].value = -1;
    look("invalid", hash, 1);
    look("missing", 0, 1);
    look("still_missing", 0, 1);
    look("known", hash, 3);
    look("known_again", hash, 3);
    forget();
    look("forgotten", hash, 3);
    return 0;
}
