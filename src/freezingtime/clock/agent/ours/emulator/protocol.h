/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The words between the agent and the emulator, over a SOCK_SEQPACKET Unix socket.
 *
 * One exchange: the agent sends a report (with its stamps) and waits for an order. The
 * vCPU is held meanwhile, so no guest time passes during an exchange. Little-endian,
 * all times in nanoseconds of guest time. protocol.py holds the same layout in Python;
 * a test compares the two field by field.
 */
#ifndef FREEZINGTIME_PROTOCOL_H
#define FREEZINGTIME_PROTOCOL_H

#include <stdint.h>

#define FT_MAGIC 0x545a5246u /* "FRZT" */
#define FT_VERSION 6u

/* The most stamps of one report: bounds the message size on both sides. */
#define FT_MAX_STAMPS 1024u

/* The most replies of one order, and so the most requests in flight on all disks. */
#define FT_MAX_REPLIES 32768u

/* The most that are scheduled by one order. */
#define FT_MAX_SCHEDULED 1024u

/* The most bytes of the commands of one order. */
#define FT_MAX_COMMAND_BYTES 8192u

#define FT_NEVER INT64_MAX

enum ft_report_flag {
    FT_REPORT_HELLO = 1,      /* the first report: QEMU is built, nothing has run */
    FT_REPORT_RUNNING = 2,    /* the machine runs: guest time obeys the device */
    FT_REPORT_DRAIN = 4,      /* guest time cannot move: answer everything at once */
    FT_REPORT_MORE = 8,       /* not all stamps fit: the next report goes on; no order yet */
    FT_REPORT_DISTURBED = 16, /* since the last report the host has reached into the guest */
};

enum ft_stamp_flag {
    FT_STAMP_DELIVERY = 1, /* a completion was delivered; otherwise a request arrived */
    FT_STAMP_ADRIFT = 2,   /* taken outside the vCPU's hold while the machine ran: inexact */
    FT_STAMP_HOST = 4,     /* the machine did not run: QEMU's own doing, not the guest's */
};

/* What KVM cost and took; all 0 under another clock. Sums are since the start. */
struct ft_kvm_account {
    uint64_t preemption_count; /* the host took the CPU from the guest */
    int64_t taken_out_ns;      /* of guest time, for that */
    int64_t left_in_ns;   /* what could not be taken out of it, no CPU of the guest executing */
    int64_t stolen_ns;    /* of the guest's CPUs, while others of them executed */
    int64_t skipped_ns;   /* skipped ahead of deadlines that a computing guest had to meet */
    int64_t gathering_ns; /* accesses to devices took so much longer, as other CPUs had to leave */
    uint32_t in_cycles;   /* of each pass, taken out: on the way into the guest */
    uint32_t out_cycles;  /* and out of it, at a write to a device's memory */
    uint32_t tsc_khz;
    uint32_t is_signalled; /* 1: the host tells when it takes the CPU */
};

struct ft_report {
    uint32_t magic;
    uint16_t version;
    uint16_t flags;
    int64_t now_ns;
    int64_t warped_ns; /* idle time skipped since QEMU started */
    uint32_t stamp_count;
    uint32_t reserved;
    struct ft_kvm_account kvm;
};

/* Stamps follow the report in the order in which they were taken. */
struct ft_stamp {
    uint32_t disk;
    uint32_t flags;
    uint64_t cookie; /* the NBD request's own */
    int64_t time_ns;
    int64_t warped_ns; /* idle time skipped by then */
};

enum ft_order_flag {
    FT_ORDER_STOP = 1, /* stop the machine here, once the replies are delivered */
};

/* Behind the order, first the replies that are due, then those that are scheduled, each in the
 * order in which they are to be delivered. A report before its time takes a scheduled reply back;
 * an order may name it again. The connection of its disk has a reply once, in the order in which
 * replies are named first. Then the commands: QEMU executes them behind the deliveries, before
 * guest time moves on. */
struct ft_reply {
    uint32_t disk;
    uint32_t cookie;
};

struct ft_scheduled_reply {
    uint32_t disk;
    uint32_t cookie;
    int64_t time_ns; /* deliver it then, without a report */
};

struct ft_order {
    uint32_t magic;
    uint16_t version;
    uint16_t flags;
    int64_t next_event_ns; /* report then, behind all deliveries; FT_NEVER: no event is due */
    uint64_t rate_hz;      /* instructions per second from here on; 0: unchanged */
    uint32_t reply_count;  /* NBD replies to deliver before guest time moves on */
    uint32_t scheduled_count;
    uint32_t command_bytes; /* QMP commands behind the replies, each a text that ends with 0 */
    uint32_t reserved;
};

#endif
