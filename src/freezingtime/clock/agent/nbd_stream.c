/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where requests and replies begin and end in the bytes of an NBD connection.
 *
 * The agent only passes bytes by; it must know when a request has been sent whole and
 * when a reply has been received whole. Messages of the handshake and of the
 * transmission phase differ in their first four bytes, so no phase has to be tracked.
 * Layouts: the NBD protocol document, "Fixed newstyle negotiation", "Request message"
 * and "Simple reply message". The emulator never agrees to structured replies.
 */
#define _DEFAULT_SOURCE
#include <endian.h>
#include <string.h>

#include "agent.h"

enum {
    CLIENT_FLAGS_BYTES = 4,
    GREETING_BYTES = 18,
    OPTION_BYTES = 16,
    OPTION_REPLY_BYTES = 20,
    REQUEST_BYTES = 28,
    REPLY_BYTES = 16,
};

#define OPTION_MAGIC 0x49484156u       /* "IHAV" of "IHAVEOPT" */
#define OPTION_REPLY_MAGIC 0x0003e889u /* of 0x0003e889045565a9 */
#define REQUEST_MAGIC 0x25609513u
#define REPLY_MAGIC 0x67446698u
#define COMMAND_READ 0
#define COMMAND_WRITE 1
#define COMMAND_DISCONNECT 2

static uint32_t be32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return be32toh(value);
}

/* Cookies are opaque and pass through unchanged; host order, as the emulator reads them. */
static uint64_t be64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return be64toh(value);
}

static void remember_request(struct ft_nbd_connection *connection, uint64_t cookie,
                             uint32_t read_bytes)
{
    for (size_t i = 0; i < FT_MAX_IN_FLIGHT; i++) {
        if (!connection->in_flight[i].used) {
            connection->in_flight[i].used = true;
            connection->in_flight[i].cookie = cookie;
            connection->in_flight[i].read_bytes = read_bytes;
            return;
        }
    }
    ft_die(FT_EXIT_REFUSED, "disk %u has more than %d requests in flight", connection->disk,
           FT_MAX_IN_FLIGHT);
}

static uint32_t forget_request(struct ft_nbd_connection *connection, uint64_t cookie)
{
    for (size_t i = 0; i < FT_MAX_IN_FLIGHT; i++) {
        if (connection->in_flight[i].used && connection->in_flight[i].cookie == cookie) {
            connection->in_flight[i].used = false;
            return connection->in_flight[i].read_bytes;
        }
    }
    ft_die(FT_EXIT_REFUSED, "disk %u got a reply to a request that was never sent",
           connection->disk);
}

/* How long the header is whose first four bytes are known; 0: not an NBD message. */
static size_t request_header_bytes(uint32_t magic)
{
    return magic == REQUEST_MAGIC ? REQUEST_BYTES : magic == OPTION_MAGIC ? OPTION_BYTES : 0;
}

static size_t reply_header_bytes(uint32_t magic)
{
    return magic == REPLY_MAGIC          ? REPLY_BYTES
           : magic == OPTION_REPLY_MAGIC ? OPTION_REPLY_BYTES
                                         : 0;
}

static void request_header_done(struct ft_nbd_connection *connection, struct ft_nbd_reader *reader)
{
    if (be32(reader->header) == OPTION_MAGIC) {
        reader->body_left = be32(reader->header + 12);
        return;
    }
    uint32_t command = be32(reader->header + 4) & 0xffff;
    if (command == COMMAND_DISCONNECT) {
        connection->disconnecting = true; /* it has no reply: nothing to wait for */
        return;
    }
    uint32_t length_bytes = be32(reader->header + 24);
    reader->cookie = be64(reader->header + 8);
    reader->body_left = command == COMMAND_WRITE ? length_bytes : 0;
    reader->message_pending = true;
    remember_request(connection, reader->cookie, command == COMMAND_READ ? length_bytes : 0);
}

static void reply_header_done(struct ft_nbd_connection *connection, struct ft_nbd_reader *reader)
{
    if (be32(reader->header) == OPTION_REPLY_MAGIC) {
        reader->body_left = be32(reader->header + 16);
        return;
    }
    bool failed = be32(reader->header + 4) != 0;
    reader->cookie = be64(reader->header + 8);
    uint32_t read_bytes = forget_request(connection, reader->cookie);
    reader->body_left = failed ? 0 : read_bytes;
    reader->message_pending = true;
}

static size_t take(struct ft_nbd_reader *reader, const uint8_t *bytes, size_t count, size_t wanted)
{
    size_t missing = wanted - reader->header_have;
    size_t taken = count < missing ? count : missing;
    memcpy(reader->header + reader->header_have, bytes, taken);
    reader->header_have += taken;
    return taken;
}

static void pass(struct ft_nbd_connection *connection, struct ft_nbd_reader *reader,
                 size_t greeting_bytes, size_t (*header_bytes)(uint32_t),
                 void (*header_done)(struct ft_nbd_connection *, struct ft_nbd_reader *),
                 const uint8_t *bytes, size_t count, ft_nbd_message_fn *on_message)
{
    while (count > 0 || (reader->message_pending && reader->body_left == 0)) {
        size_t used;
        if (reader->body_left > 0) {
            used = count < reader->body_left ? count : (size_t)reader->body_left;
            reader->body_left -= used;
        } else if (reader->message_pending) {
            reader->message_pending = false;
            on_message(connection, reader->cookie);
            continue;
        } else if (!reader->greeted) {
            used = take(reader, bytes, count, greeting_bytes);
            if (reader->header_have == greeting_bytes) {
                reader->greeted = true;
                reader->header_have = 0;
            }
        } else {
            used = 0;
            if (reader->header_have < 4) {
                used = take(reader, bytes, count, 4);
            }
            if (reader->header_have >= 4) {
                size_t wanted = header_bytes(be32(reader->header));
                if (wanted == 0) {
                    ft_die(FT_EXIT_REFUSED, "disk %u: unknown bytes on the NBD connection",
                           connection->disk);
                }
                used += take(reader, bytes + used, count - used, wanted);
                if (reader->header_have == wanted) {
                    reader->header_have = 0;
                    header_done(connection, reader);
                }
            }
        }
        bytes += used;
        count -= used;
    }
}

void ft_nbd_init(struct ft_nbd_connection *connection, uint32_t disk)
{
    memset(connection, 0, sizeof *connection);
    connection->disk = disk;
}

void ft_nbd_sent(struct ft_nbd_connection *connection, const uint8_t *bytes, size_t count,
                 ft_nbd_message_fn *on_request)
{
    pass(connection, &connection->requests, CLIENT_FLAGS_BYTES, request_header_bytes,
         request_header_done, bytes, count, on_request);
}

void ft_nbd_received(struct ft_nbd_connection *connection, const uint8_t *bytes, size_t count,
                     ft_nbd_message_fn *on_reply)
{
    pass(connection, &connection->replies, GREETING_BYTES, reply_header_bytes, reply_header_done,
         bytes, count, on_reply);
}
