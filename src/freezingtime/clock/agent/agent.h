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
#include <sys/uio.h>

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
void ft_clock_set_cpus_at_once(int count);
int64_t ft_clock_instructions(int64_t duration_ns);
int64_t ft_clock_budget(int64_t duration_ns);

/* lead.c: from now on, a function of QEMU's is one of ours. */
void ft_lead(void *from, const void *target);

/* nbd_driver.c: QEMU's requests to NBD disks go our way. */
void ft_nbd_driver_install(void); /* before QEMU's main */
void ft_nbd_driver_check(void);   /* any thread, any lock; acts once, when it can */

/* control.c: the exchange with the emulator. */
int64_t ft_host_now_ns(void); /* monotonic; any thread, no lock */
void ft_control_connect(const char *name);
void ft_control_stamp(uint32_t disk, uint32_t flags, uint64_t cookie, int64_t time_ns);
const struct ft_order *ft_control_exchange(uint16_t flags, int64_t now_ns, int64_t warped_ns);

/* nbd_client.c: requests out and replies in, on the connections that QEMU has made. */
#define FT_NODE_PREFIX "disk" /* QEMU's block node of disk N is called diskN */

enum ft_nbd_command {
    FT_NBD_READ = 0,
    FT_NBD_WRITE = 1,
    FT_NBD_FLUSH = 3,
    FT_NBD_TRIM = 4,
    FT_NBD_WRITE_ZEROES = 6,
};

enum ft_nbd_flag { FT_NBD_FUA = 1, FT_NBD_NO_HOLE = 2 };

struct ft_request {
    uint32_t disk;
    uint16_t command, flags;
    uint32_t length_bytes;
    uint64_t offset_bytes;
    const struct iovec *parts; /* what is written, or where to put what is read */
    size_t part_count;
    uint64_t cookie;
    bool answered;
    uint32_t error;            /* NBD's number; 0: done */
    struct Coroutine *waiting; /* for the answer; NULL: it is not waited for yet */
};

uint32_t ft_disk_of_node(const char *node_name);
void ft_nbd_connected(uint32_t disk, int fd); /* any thread */
void ft_nbd_closed(uint32_t disk);
void ft_nbd_send(struct ft_request *request);
struct ft_request *ft_nbd_receive(uint32_t disk);

/* hold.c: holding the vCPU while the emulator and the medium work. */
void ft_hold_start(void);
void ft_hold_request_sent(const struct ft_request *request);
void ft_hold_about_to_block(void);          /* QEMU is going to wait in poll; any thread */
bool ft_hold_before_next_instruction(void); /* false: there is one already */

/* cpus.c: several CPUs in turn. */
void ft_cpus_start(void **accelerator_kick);
void ft_cpus_machine_runs(void);
void ft_cpus_stop(void);
bool ft_cpus_choosing(void);

/* deferred.c: work that devices leave to QEMU's main loop. */
void ft_deferred_start(void);
void ft_deferred_run(void);
void ft_deferred_forget(void);

/* interpose.c: the C library's functions as QEMU sees them. */
void ft_interpose_init(const char *nbd_prefix);
ssize_t ft_libc_writev(int fd, const struct iovec *parts, int count);

/* output.c: the guest's output waits for the emulator, not the guest for another try. */
void ft_output_init(void);

/* outside.c: what other threads do to the guest while it runs. */
void ft_outside_start(void); /* after ft_clock_install */
bool ft_outside_take(void);

/* patience.c: waiting for the emulator, but not while it is stopped. */
void ft_patience_init(int control_fd);
bool ft_poll_patiently(int fd, short events, int deadline_s); /* false: in vain */

#endif
