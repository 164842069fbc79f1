/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU's block driver for NBD, with our functions in it for what reaches a device.
 *
 * QEMU opens a disk's connection, learns its size and limits, and closes it. But its own
 * requests would wait inside QEMU once 16 are under way, where no device model sees them,
 * and it reads replies one event of its main loop at a time. Ours go straight to the socket
 * and come back in the hold, in the order in which the emulator sent them.
 *
 * The driver is not exported, so it is found by its content, and used only if each of its
 * fields is what it is in QEMU 7.2: a function or empty.
 */
#define _GNU_SOURCE
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "qemu.h"

/* Where things stand in QEMU 7.2's struct BlockDriver, counted in pointers. */
enum {
    FORMAT_NAME = 0,
    PROTOCOL_NAME = 3,
    FIRST_FUNCTION = 8,
    READ = 63,
    WRITE = 66,
    WRITE_ZEROES = 68,
    DISCARD = 69,
    FLUSH = 80,
    FIELDS = 108,
};

/* All functions that the NBD driver has. */
static const unsigned char functions[] = {
    12, 13, 19, 20,   22,    25,           27,      28,
    40, 42, 43, /* open and close, sizes and limits */
    72, 81, 82, READ, WRITE, WRITE_ZEROES, DISCARD, FLUSH,
};

enum { REQUEST_MAY_UNMAP = 0x4, REQUEST_FUA = 0x10 }; /* BdrvRequestFlags */

/* "nbd", "nbd+tcp" and "nbd+unix". */
#define DRIVERS_MAX 8
static void **drivers[DRIVERS_MAX];
static size_t driver_count;

/* Coroutine, BQL held. */
static int ask(BlockDriverState *bs, struct ft_request request)
{
    if (request.length_bytes == 0 && request.command != FT_NBD_FLUSH) {
        return 0;
    }
    request.disk = ft_disk_of_node(bdrv_get_node_name(bs));
    ft_nbd_send(&request);
    ft_hold_request_sent(&request);
    while (!request.answered) {
        request.waiting = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
    return request.error ? -nbd_errno_to_system_errno((int)request.error) : 0;
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

static bool is_driver(const struct dl_phdr_info *program, void **fields)
{
    if (!is_text(program, fields[FORMAT_NAME], "nbd") || strlen(fields[FORMAT_NAME]) != 3 ||
        !is_text(program, fields[PROTOCOL_NAME], "nbd")) {
        return false;
    }
    for (size_t i = FIRST_FUNCTION; i < FIELDS; i++) {
        bool wanted = memchr(functions, (int)i, sizeof functions) != NULL;
        if (wanted ? !lies_in(program, (uintptr_t)fields[i], PF_X) : fields[i] != NULL) {
            return false;
        }
    }
    return true;
}

static void replace_functions(void **fields)
{
    fields[READ] = (void *)read_vector;
    fields[WRITE] = (void *)write_vector;
    fields[WRITE_ZEROES] = (void *)write_zeroes;
    fields[DISCARD] = (void *)discard;
    fields[FLUSH] = (void *)flush;
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
            if (is_driver(program, field)) {
                replace_functions(field);
                drivers[driver_count++] = field;
            }
        }
    }
    return 1;
}

/* Before QEMU's main; single thread. */
void ft_nbd_driver_install(void)
{
    dl_iterate_phdr(search, NULL);
    if (driver_count == 0) {
        ft_die(FT_EXIT_REFUSED, "this QEMU's NBD driver is not the known one; QEMU 7.2 is "
                                "supported");
    }
}

/* Called whenever QEMU polls. What QEMU opens disks with must be what was found. */
void ft_nbd_driver_check(void)
{
    static bool checked; /* BQL */
    if (!qemu_mutex_iothread_locked() || checked) {
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
