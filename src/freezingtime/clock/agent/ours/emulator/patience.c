/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A user who stops the emulator (Ctrl-Z) or the whole group goes on later where he left off. So
 * time is counted in slices of waiting: one that the emulator was stopped for does not count,
 * and one that we were stopped in ourselves counts as one, however long it took.
 */
#define _GNU_SOURCE
#include "ours/emulator/patience.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLICE_MS 1000

static pid_t emulator; /* 0: not known, as from another PID namespace. Set before it is shared. */

void ft_patience_init(int control_fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;
    if (getsockopt(control_fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0) {
        emulator = peer.pid;
    }
}

/* "PID (NAME) STATE ...", where NAME may have anything in it. */
static bool emulator_is_stopped(void)
{
    char path[32], text[256];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)emulator);
    int fd = emulator > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return false;
    }
    ssize_t bytes = read(fd, text, sizeof text - 1);
    close(fd);
    text[bytes > 0 ? bytes : 0] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end && (strncmp(name_end, ") T", 3) == 0 || strncmp(name_end, ") t", 3) == 0);
}

bool ft_poll_patiently(int fd, short events, int deadline_s)
{
    int waited_ms = 0;
    while (waited_ms < deadline_s * 1000) {
        struct pollfd ready = {.fd = fd, .events = events};
        int count = poll(&ready, 1, SLICE_MS);
        if (count > 0) {
            return true;
        }
        if (count == 0 && !emulator_is_stopped()) {
            waited_ms += SLICE_MS;
        }
    }
    return false;
}
