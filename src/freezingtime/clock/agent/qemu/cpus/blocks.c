/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest executes in blocks that QEMU has translated. To get from one to the next, QEMU looks it
 * up in a small table of the CPU's, by its virtual address. That one is emptied whenever a guest
 * switches between processes, and it is so small that a kernel alone does not fit. Behind it is
 * a hash table of all blocks, of several MiB: each look is a miss of the host's caches, and a
 * database under TCG spends a fifth of its time there.
 *
 * So a table of ours comes in between, which fits the host's cache. It has what the hash table was
 * found to have, and QEMU's own comparison decides whether it is the block that is wanted. A block
 * that is no longer valid fails that, as it does while another thread takes it out of the hash
 * table; its memory is used again only once QEMU forgets all blocks, and so do we. What a guest
 * executes is the same, with or without.
 */
#include "qemu/cpus/blocks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "qemu/cpus/places.h"
#include "qemu/exports.h"
#include "qemu/hooks.h"

/* 512 KiB. */
#define ENTRIES 65536

/* vCPU thread, or the one that has QEMU forget all while it is stopped. The block's address, and
 * above it those bits of the hash that are not its place here. */
static uint64_t known[ENTRIES];

enum { ADDRESS_BITS = 48, PLACE_BITS = 16 };
_Static_assert(ENTRIES == 1 << PLACE_BITS, "a place has so many bits");

static const uint64_t ADDRESS_MASK = (UINT64_C(1) << ADDRESS_BITS) - 1;

/* In place of qht_lookup_custom: the block of a hash that `is_wanted`. vCPU thread. */
static void *look_up(const void *blocks, const void *wanted, uint32_t hash,
                     qemu_is_wanted_fn *is_wanted)
{
    uint64_t *entry = &known[hash % ENTRIES];
    uint64_t tag = (uint64_t)(hash / ENTRIES) << ADDRESS_BITS;
    void *block = (void *)(uintptr_t)(*entry & ADDRESS_MASK);
    if (block && (*entry & ~ADDRESS_MASK) == tag && is_wanted(block, wanted)) {
        return block;
    }
    block = qht_lookup_custom(blocks, wanted, hash, is_wanted);
    if (block && (uintptr_t)block <= ADDRESS_MASK) {
        *entry = tag | (uintptr_t)block;
    }
    return block;
}

/* In place of qht_reset_size, where QEMU forgets all blocks. */
static bool forget_all(void *blocks, size_t count)
{
    memset(known, 0, sizeof known);
    return qht_reset_size(blocks, count);
}

void ft_blocks_hook(void)
{
    const void *lookup = (const void *)qht_lookup_custom, *reset = (const void *)qht_reset_size;
    struct ft_code file = ft_code_of_file(lookup);
    /* Nobody else may look up or forget in the same way: none without the other. */
    if (lookup && reset && ft_only_call(&file, lookup) && ft_only_call(&file, reset)) {
        ft_redirect_calls(&file, lookup, (const void *)look_up);
        ft_redirect_calls(&file, reset, (const void *)forget_all);
        ft_hook_found(FT_HOOK_BLOCKS, "call");
        return;
    }
    ft_hook_found(FT_HOOK_BLOCKS, "left to QEMU");
}
