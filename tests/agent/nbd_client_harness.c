/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Drives the agent's NBD client on an inherited socket, for tests/agent/test_agent_nbd.py.
 *
 * Argument: the socket's descriptor; it is disk 7's. Input, one command a line:
 *   ask COMMAND FLAGS OFFSET LENGTH PARTS    send a request, whose data, byte i being
 *                                            (OFFSET + i) % 251, is cut into so many parts
 *   receive COOKIE KEEP                      receive the next reply, which must be that request's;
 *                                            KEEP (0 or 1): not into its memory, before it counts
 *                                            as answered
 * Output: "sent COOKIE", and "received COOKIE ERROR DATA", the data of a read in hexadecimal.
 * Each part lies in memory of exactly its size, so that a sanitizer sees every byte beside it.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ours/base.h"
#include "ours/emulator/nbd_client.h"

#define DISK 7

_Noreturn void ft_die(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(status);
}

static struct iovec *make_parts(uint64_t offset, size_t bytes, size_t count, bool filled)
{
    struct iovec *parts = calloc(count, sizeof *parts);
    size_t done = 0;
    for (size_t i = 0; i < count; i++) {
        size_t size = i + 1 < count ? bytes / count : bytes - done;
        uint8_t *data = malloc(size);
        for (size_t k = 0; k < size; k++) {
            data[k] = filled ? (uint8_t)((offset + done + k) % 251) : 0;
        }
        parts[i] = (struct iovec){.iov_base = data, .iov_len = size};
        done += size;
    }
    return parts;
}

static void ask(const char *line)
{
    struct ft_request *request = calloc(1, sizeof *request);
    request->disk = DISK;
    if (sscanf(line, "ask %" SCNu16 " %" SCNu16 " %" SCNu64 " %" SCNu32 " %zu", &request->command,
               &request->flags, &request->offset_bytes, &request->length_bytes,
               &request->part_count) != 5) {
        exit(2);
    }
    request->parts = make_parts(request->offset_bytes, request->length_bytes, request->part_count,
                                request->command == FT_NBD_WRITE);
    ft_nbd_send(request);
    printf("sent %" PRIu64 "\n", request->cookie);
}

static bool is_blank(const struct ft_request *request)
{
    for (size_t i = 0; i < request->part_count; i++) {
        const uint8_t *data = request->parts[i].iov_base;
        for (size_t k = 0; request->command == FT_NBD_READ && k < request->parts[i].iov_len; k++) {
            if (data[k] != 0) {
                return false;
            }
        }
    }
    return true;
}

static void receive(const char *line)
{
    uint64_t cookie;
    int keep;
    if (sscanf(line, "receive %" SCNu64 " %d", &cookie, &keep) != 2) {
        exit(2);
    }
    struct ft_request *request = ft_nbd_receive(DISK, cookie, keep);
    if (request->answered || (keep && !is_blank(request)) ||
        ft_nbd_receive(DISK, cookie, false) != request) {
        exit(2);
    }
    ft_nbd_answer(request);
    if (!request->answered) {
        exit(2);
    }
    printf("received %" PRIu64 " %" PRIu32 " ", request->cookie, request->error);
    for (size_t i = 0; i < request->part_count; i++) {
        const uint8_t *data = request->parts[i].iov_base;
        for (size_t k = 0; request->command == FT_NBD_READ && k < request->parts[i].iov_len; k++) {
            printf("%02x", data[k]);
        }
        free(request->parts[i].iov_base);
    }
    printf("\n");
    free((void *)request->parts);
    free(request);
}

int main(int argc, char **argv)
{
    char line[200];
    if (argc != 2) {
        return 2;
    }
    ft_nbd_connected(DISK, atoi(argv[1]));
    while (fgets(line, sizeof line, stdin)) {
        if (strncmp(line, "ask ", 4) == 0) {
            ask(line);
        } else {
            receive(line);
        }
        fflush(stdout);
    }
    return 0;
}
