/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The parts of the agent and what they promise each other.
 *
 * Threads: QEMU's main thread and its one vCPU thread (TCG, single) call in, always with
 * the BQL held unless a function says otherwise. The BQL is therefore the agent's lock.
 */
#ifndef FREEZINGTIME_AGENT_H
#define FREEZINGTIME_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

/* Exit statuses of a QEMU that the agent ends. */
enum { FT_EXIT_REFUSED = 64, FT_EXIT_EMULATOR_LOST = 70 };

/* agent.c: prints "freezingtime agent: ..." and ends QEMU at once. Any thread, no lock. */
_Noreturn void ft_die(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* agent.c: starts the agent once QEMU's machine is built. QEMU's main loop, any lock. */
void ft_agent_start_when_ready(void);

/* guest_clock.c: guest time as a function of executed instructions and skipped idleness. */
void ft_clock_install(int64_t start_ns, uint64_t rate_hz);
void ft_clock_machine_runs(void);
void ft_clock_set_rate(uint64_t rate_hz);
int64_t ft_clock_now_ns(void); /* any thread, no lock; exact in the vCPU thread */
int64_t ft_clock_warped_ns(void);

/* co_mutex.c: replaces QEMU's coroutine mutex. Before any coroutine runs. */
void ft_co_mutex_install(void);

/* control.c: the exchange with the emulator. */
int64_t ft_host_now_ns(void); /* monotonic; any thread, no lock */
void ft_control_connect(const char *name);
void ft_control_stamp(uint32_t disk, uint32_t flags, uint64_t cookie, int64_t time_ns);
struct ft_order ft_control_exchange(uint16_t flags, int64_t now_ns, int64_t warped_ns);

/* nbd_stream.c: where requests and replies begin and end in an NBD connection's bytes. */
#define FT_MAX_IN_FLIGHT 256 /* far above the 16 of QEMU's NBD client */

struct ft_nbd_reader {
    uint8_t header[28];
    size_t header_have;
    uint64_t body_left;   /* payload bytes still to pass by */
    bool greeted;         /* past the fixed-length opening of the handshake */
    bool message_pending; /* a request or reply ends where body_left reaches 0 */
    uint64_t cookie;
};

struct ft_nbd_connection {
    uint32_t disk;
    bool disconnecting; /* QEMU has said goodbye */
    struct ft_nbd_reader requests, replies;
    struct {
        uint64_t cookie;
        uint32_t read_bytes;
        bool used;
    } in_flight[FT_MAX_IN_FLIGHT];
};

typedef void ft_nbd_message_fn(struct ft_nbd_connection *connection, uint64_t cookie);

void ft_nbd_init(struct ft_nbd_connection *connection, uint32_t disk);
void ft_nbd_sent(struct ft_nbd_connection *connection, const uint8_t *bytes, size_t count,
                 ft_nbd_message_fn *on_request);
void ft_nbd_received(struct ft_nbd_connection *connection, const uint8_t *bytes, size_t count,
                     ft_nbd_message_fn *on_reply);

/* hold.c: holding the vCPU while the emulator and the medium work. */
void ft_hold_start(void);
void ft_hold_request_sent(uint32_t disk, uint64_t cookie);
void ft_hold_reply_received(uint32_t disk, uint64_t cookie);
void ft_hold_about_to_block(void);          /* QEMU is going to wait in poll; any thread */
bool ft_hold_before_next_instruction(void); /* false: there is one already */

/* cpus.c: several CPUs in turn. */
void ft_cpus_start(void **accelerator_kick);
void ft_cpus_machine_runs(void);
void ft_cpus_idle(void);
void ft_cpus_idle_ended(void);

/* deferred.c: work that devices leave to QEMU's main loop. */
void ft_deferred_start(void);
void ft_deferred_run(void);
void ft_deferred_forget(void);

/* interpose.c: the C library's functions as QEMU sees them. */
void ft_interpose_init(const char *nbd_prefix);

#endif
