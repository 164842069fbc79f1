/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One request of QEMU's to one disk, from QEMU's block layer to the wire.
 */
#ifndef FREEZINGTIME_OURS_REQUEST_H
#define FREEZINGTIME_OURS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* NBD's numbers. */
enum ft_nbd_command {
    FT_NBD_READ = 0,
    FT_NBD_WRITE = 1,
    FT_NBD_FLUSH = 3,
    FT_NBD_TRIM = 4,
    FT_NBD_WRITE_ZEROES = 6,
};

/* Between the emulator and us: what NBD has no number for. */
#define FT_SYSTEM_ERROR 0x10000u

enum ft_nbd_flag { FT_NBD_FUA = 1, FT_NBD_NO_HOLE = 2 };

struct ft_request {
    uint32_t disk;
    uint16_t command, flags;
    uint32_t length_bytes;
    uint64_t offset_bytes;
    const struct iovec *parts; /* what is written, or where to put what is read */
    size_t part_count;
    uint64_t cookie;
    bool received; /* the reply is here; not yet given to whoever waits */
    void *kept;    /* what has been read, where it must not be seen yet; or NULL */
    bool answered;
    uint32_t error;            /* NBD's number, or Linux's with FT_SYSTEM_ERROR; 0: done */
    struct Coroutine *waiting; /* for the answer; NULL: it is not waited for yet */
};

#endif
