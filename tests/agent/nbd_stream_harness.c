/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Feeds recorded chunks of an NBD connection to the agent's stream reader, for
 * tests/test_agent_refusals.py. Input: one byte 's' (sent) or 'r' (received), a 32-bit
 * length in host order, and so many bytes; again and again. Output: one line
 * "CHUNK s|r COOKIE" for each message that ends in a chunk. Each chunk lies in memory of
 * exactly its size, so that a sanitizer sees every byte read beside it.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent.h"

static unsigned chunk_index;
static char direction;

_Noreturn void ft_die(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(status);
}

static void print_message(struct ft_nbd_connection *connection, uint64_t cookie)
{
    (void)connection;
    printf("%u %c %" PRIu64 "\n", chunk_index, direction, cookie);
}

int main(void)
{
    static struct ft_nbd_connection connection;
    uint32_t length;

    ft_nbd_init(&connection, 7);
    for (; fread(&direction, 1, 1, stdin) == 1; chunk_index++) {
        if (fread(&length, sizeof length, 1, stdin) != 1) {
            return 2;
        }
        uint8_t *bytes = malloc(length);
        if (fread(bytes, 1, length, stdin) != length) {
            return 2;
        }
        if (direction == 's') {
            ft_nbd_sent(&connection, bytes, length, print_message);
        } else {
            ft_nbd_received(&connection, bytes, length, print_message);
        }
        free(bytes);
    }
    return 0;
}
