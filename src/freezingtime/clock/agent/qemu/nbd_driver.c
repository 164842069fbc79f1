/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU opens a disk's connection, learns its size and limits, and closes it. But its own requests
 * would wait inside QEMU once 16 are under way, where no device model sees them, and it reads
 * replies one event of its main loop at a time. Ours go straight to the socket and come back in
 * the hold, in the order in which the emulator sent them.
 *
 * The driver is not exported, so it is found by its shape: a table of pointers that begins with
 * the names of the format and of the protocol, and whose functions stand where they do in every
 * QEMU looked at, counted from the one that reads.
 */
#define _GNU_SOURCE
#include "qemu/nbd_driver.h"

#include <link.h>
#include <string.h>

#include "ours/base.h"
#include "qemu/exports.h"
#include "qemu/hooks.h"
#include "qemu/lock.h"

#define NODE_PREFIX "disk" /* QEMU's block node of disk N is called diskN */

/* The shape of struct BlockDriver, counted in pointers. Where the functions begin and how many
 * pointers there are before the read function differs; all others are empty. */
enum {
    FORMAT_NAME = 0,
    PROTOCOL_NAME = 3,
    FIRST_FUNCTION = 8,
    FIELDS = 105, /* at least */
    FUNCTION_COUNT = 19,
    READ_FUNCTION = 11, /* the twelfth */
};

/* From the read function on. */
enum { READ = 0, WRITE = 3, WRITE_ZEROES = 5, DISCARD = 6, FLUSH = 17 };
static const unsigned char from_read[] = {READ, WRITE, WRITE_ZEROES, DISCARD, 9, FLUSH, 18, 19};

enum { REQUEST_MAY_UNMAP = 0x4, REQUEST_FUA = 0x10 }; /* BdrvRequestFlags */

/* "nbd", "nbd+tcp" and "nbd+unix". */
#define DRIVERS_MAX 8
static void **drivers[DRIVERS_MAX];
static size_t driver_count;

static void (*send_request)(struct ft_request *request);

static uint32_t disk_of(const BlockDriverState *bs)
{
    const char *node_name = bdrv_get_node_name(bs);
    const char *number = node_name + strlen(NODE_PREFIX);
    char *end = NULL;
    unsigned long long disk = 0;
    bool is_ours = strncmp(node_name, NODE_PREFIX, strlen(NODE_PREFIX)) == 0;
    if (is_ours) {
        disk = ft_strtoull(number, &end, 10);
    }
    if (!is_ours || end == number || *end || disk > UINT32_MAX) {
        ft_die(FT_EXIT_REFUSED, "the NBD node '%s' is not one of ours; disk N's is called %sN",
               node_name, NODE_PREFIX);
    }
    return (uint32_t)disk;
}

static int system_errno(uint32_t error)
{
    if (error & FT_SYSTEM_ERROR) {
        return (int)(error & ~FT_SYSTEM_ERROR);
    }
    return nbd_errno_to_system_errno((int)error);
}

/* Coroutine, BQL held. */
static int ask(BlockDriverState *bs, struct ft_request request)
{
    if (request.length_bytes == 0 && request.command != FT_NBD_FLUSH) {
        return 0;
    }
    ft_hook_called(FT_HOOK_DISK);
    request.disk = disk_of(bs);
    send_request(&request);
    while (!request.answered) {
        request.waiting = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
    return request.error ? -system_errno(request.error) : 0;
}

static int read_vector(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *data,
                       int flags)
{
    (void)flags;
    return ask(bs, (struct ft_request){.command = FT_NBD_READ,
                                       .offset_bytes = (uint64_t)offset,
                                       .length_bytes = (uint32_t)bytes,
                                       .parts = data->iov,
                                       .part_count = (size_t)data->niov});
}

static int write_vector(BlockDriverState *bs, int64_t offset, int64_t bytes, QEMUIOVector *data,
                        int flags)
{
    return ask(bs, (struct ft_request){.command = FT_NBD_WRITE,
                                       .flags = flags & REQUEST_FUA ? FT_NBD_FUA : 0,
                                       .offset_bytes = (uint64_t)offset,
                                       .length_bytes = (uint32_t)bytes,
                                       .parts = data->iov,
                                       .part_count = (size_t)data->niov});
}

static int write_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes, int flags)
{
    int nbd_flags = flags & REQUEST_FUA ? FT_NBD_FUA : 0;
    nbd_flags |= flags & REQUEST_MAY_UNMAP ? 0 : FT_NBD_NO_HOLE;
    return ask(bs, (struct ft_request){.command = FT_NBD_WRITE_ZEROES,
                                       .flags = (uint16_t)nbd_flags,
                                       .offset_bytes = (uint64_t)offset,
                                       .length_bytes = (uint32_t)bytes});
}

static int discard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return ask(bs, (struct ft_request){.command = FT_NBD_TRIM,
                                       .offset_bytes = (uint64_t)offset,
                                       .length_bytes = (uint32_t)bytes});
}

static int flush(BlockDriverState *bs)
{
    return ask(bs, (struct ft_request){.command = FT_NBD_FLUSH});
}

static bool lies_in(const struct dl_phdr_info *program, uintptr_t address, uint32_t needed_flags)
{
    for (size_t i = 0; i < program->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &program->dlpi_phdr[i];
        uintptr_t start = program->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && (segment->p_flags & needed_flags) == needed_flags &&
            address >= start && address < start + segment->p_memsz) {
            return true;
        }
    }
    return false;
}

static bool is_text(const struct dl_phdr_info *program, const void *address, const char *start)
{
    return lies_in(program, (uintptr_t)address, PF_R) &&
           strncmp(address, start, strlen(start)) == 0;
}

/* The index of the read function of an NBD driver; 0: it is none. */
static size_t read_function(const struct dl_phdr_info *program, void **fields)
{
    if (!is_text(program, fields[FORMAT_NAME], "nbd") || strlen(fields[FORMAT_NAME]) != 3 ||
        !is_text(program, fields[PROTOCOL_NAME], "nbd")) {
        return 0;
    }
    size_t functions[FUNCTION_COUNT];
    size_t count = 0;
    for (size_t i = FIRST_FUNCTION; i < FIELDS; i++) {
        if (!fields[i]) {
            continue;
        }
        if (count == FUNCTION_COUNT || !lies_in(program, (uintptr_t)fields[i], PF_X)) {
            return 0;
        }
        functions[count++] = i;
    }
    if (count != FUNCTION_COUNT) {
        return 0;
    }
    size_t read = functions[READ_FUNCTION];
    for (size_t i = 0; i < sizeof from_read; i++) {
        if (functions[READ_FUNCTION + i] != read + from_read[i]) {
            return 0;
        }
    }
    return read;
}

static void replace_functions(void **from)
{
    from[READ] = (void *)read_vector;
    from[WRITE] = (void *)write_vector;
    from[WRITE_ZEROES] = (void *)write_zeroes;
    from[DISCARD] = (void *)discard;
    from[FLUSH] = (void *)flush;
}

/* Looks through the program's own data; dl_iterate_phdr tells of the program first. */
static int search(struct dl_phdr_info *program, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    for (size_t i = 0; i < program->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &program->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_W)) {
            continue;
        }
        void **field = (void **)(program->dlpi_addr + ((segment->p_vaddr + 7) & ~(ElfW(Addr))7));
        void **end = (void **)(program->dlpi_addr + segment->p_vaddr + segment->p_filesz);
        for (; field + FIELDS <= end && driver_count < DRIVERS_MAX; field++) {
            size_t read = read_function(program, field);
            if (read > 0) {
                replace_functions(field + read);
                drivers[driver_count++] = field;
            }
        }
    }
    return 1;
}

void ft_nbd_driver_hook(void (*send)(struct ft_request *request))
{
    send_request = send;
    dl_iterate_phdr(search, NULL);
    if (driver_count == 0) {
        ft_die(FT_EXIT_REFUSED, "this QEMU's NBD driver is not one that the agent knows; " FT_CURE);
    }
    ft_hook_found(FT_HOOK_DISK, "driver");
}

void ft_nbd_driver_check(void)
{
    static bool checked; /* BQL */
    if (!ft_lock_is_held() || checked) {
        return;
    }
    void *used = bdrv_find_format("nbd"); /* NULL: QEMU has not registered its drivers yet */
    for (size_t i = 0; i < driver_count && !checked; i++) {
        checked = drivers[i] == used;
    }
    if (used && !checked) {
        ft_die(FT_EXIT_REFUSED, "this QEMU uses another NBD driver than was found in it");
    }
}
