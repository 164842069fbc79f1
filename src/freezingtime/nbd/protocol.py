# SPDX-License-Identifier: GPL-2.0-or-later
"""The protocol's numbers, under the names that the protocol document gives them."""

from __future__ import annotations

import errno
import struct
from typing import Final

from freezingtime.errors import RunError


class ProtocolError(RunError):
    """The client broke the protocol in a way that leaves only dropping the connection."""


# Magic numbers.
NBDMAGIC: Final = 0x4E42444D41474943
IHAVEOPT: Final = 0x49484156454F5054
NBD_REP_MAGIC: Final = 0x0003E889045565A9
NBD_REQUEST_MAGIC: Final = 0x25609513
NBD_SIMPLE_REPLY_MAGIC: Final = 0x67446698

# Handshake flags of the server and of the client.
NBD_FLAG_FIXED_NEWSTYLE: Final = 1 << 0
NBD_FLAG_NO_ZEROES: Final = 1 << 1
NBD_FLAG_C_FIXED_NEWSTYLE: Final = 1 << 0
NBD_FLAG_C_NO_ZEROES: Final = 1 << 1

# Transmission flags.
NBD_FLAG_HAS_FLAGS: Final = 1 << 0
NBD_FLAG_READ_ONLY: Final = 1 << 1
NBD_FLAG_SEND_FLUSH: Final = 1 << 2
NBD_FLAG_SEND_FUA: Final = 1 << 3
NBD_FLAG_SEND_TRIM: Final = 1 << 5
NBD_FLAG_SEND_WRITE_ZEROES: Final = 1 << 6
NBD_FLAG_CAN_MULTI_CONN: Final = 1 << 8
NBD_FLAG_SEND_CACHE: Final = 1 << 10

# Options.
NBD_OPT_EXPORT_NAME: Final = 1
NBD_OPT_ABORT: Final = 2
NBD_OPT_LIST: Final = 3
NBD_OPT_INFO: Final = 6
NBD_OPT_GO: Final = 7

# Option replies.
NBD_REP_ACK: Final = 1
NBD_REP_SERVER: Final = 2
NBD_REP_INFO: Final = 3
NBD_REP_FLAG_ERROR: Final = 1 << 31
NBD_REP_ERR_UNSUP: Final = NBD_REP_FLAG_ERROR + 1
NBD_REP_ERR_INVALID: Final = NBD_REP_FLAG_ERROR + 3
NBD_REP_ERR_UNKNOWN: Final = NBD_REP_FLAG_ERROR + 6

# Information types.
NBD_INFO_EXPORT: Final = 0
NBD_INFO_NAME: Final = 1
NBD_INFO_BLOCK_SIZE: Final = 3

# Commands.
NBD_CMD_READ: Final = 0
NBD_CMD_WRITE: Final = 1
NBD_CMD_DISC: Final = 2
NBD_CMD_FLUSH: Final = 3
NBD_CMD_TRIM: Final = 4
NBD_CMD_CACHE: Final = 5
NBD_CMD_WRITE_ZEROES: Final = 6

# Command flags.
NBD_CMD_FLAG_FUA: Final = 1 << 0
NBD_CMD_FLAG_NO_HOLE: Final = 1 << 1

# Errors on the wire, with the protocol's values, not the host's errno.
NBD_SUCCESS: Final = 0
NBD_EPERM: Final = 1
NBD_EIO: Final = 5
NBD_ENOMEM: Final = 12
NBD_EINVAL: Final = 22
NBD_ENOSPC: Final = 28
NBD_EOVERFLOW: Final = 75
NBD_ENOTSUP: Final = 95
NBD_ESHUTDOWN: Final = 108

# The protocol's limit for names and other strings.
NBD_MAX_STRING_BYTES: Final = 4096

# All integers on the wire are unsigned and big-endian.
GREETING: Final = struct.Struct(">QQH")  # NBDMAGIC, IHAVEOPT, handshake flags
CLIENT_FLAGS: Final = struct.Struct(">I")
OPTION_HEADER: Final = struct.Struct(">QII")  # IHAVEOPT, option, data length
OPTION_REPLY_HEADER: Final = struct.Struct(">QIII")  # magic, option, reply type, data length
EXPORT_NAME_REPLY: Final = struct.Struct(">QH")  # export size, transmission flags
INFO_EXPORT: Final = struct.Struct(">HQH")  # type, export size, transmission flags
INFO_BLOCK_SIZE: Final = struct.Struct(">HIII")  # type, minimum, preferred, maximum payload
REQUEST_HEADER: Final = struct.Struct(">IHHQQI")  # magic, flags, command, cookie, offset, length
SIMPLE_REPLY: Final = struct.Struct(">IIQ")  # magic, error, cookie

#: Marks an error of Linux's that the protocol has no number for; between us and our agent only.
SYSTEM_ERROR: Final = 1 << 16

_WIRE_ERRORS: Final = {
    errno.EPERM: NBD_EPERM,
    errno.EACCES: NBD_EPERM,
    errno.EROFS: NBD_EPERM,
    errno.ENOMEM: NBD_ENOMEM,
    errno.EINVAL: NBD_EINVAL,
    errno.ENOSPC: NBD_ENOSPC,
    errno.EDQUOT: NBD_ENOSPC,
    errno.EFBIG: NBD_ENOSPC,
    errno.EOVERFLOW: NBD_EOVERFLOW,
    errno.EOPNOTSUPP: NBD_ENOTSUP,
    errno.ESHUTDOWN: NBD_ESHUTDOWN,
}


def wire_error(error: OSError, *, to_agent: bool = False) -> int:
    """Return the protocol's error for a medium's failure; EIO if none fits.

    Our agent understands Linux's own numbers, too.
    """
    number = error.errno
    if not number or number == errno.EIO:
        return NBD_EIO
    return _WIRE_ERRORS.get(number, SYSTEM_ERROR + number if to_agent else NBD_EIO)
