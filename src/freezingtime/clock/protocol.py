# SPDX-License-Identifier: GPL-2.0-or-later
"""The words between the emulator and the agent: ``agent/ours/emulator/protocol.h`` in Python.

A test compiles the header and compares sizes, offsets and constants with these.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntFlag
from typing import Final, NamedTuple

from freezingtime.clock.base import KvmAccount, Reply
from freezingtime.errors import RunError
from freezingtime.units import NEVER_NS

MAGIC: Final = 0x545A5246
VERSION: Final = 6
MAX_STAMPS: Final = 1024
MAX_REPLIES: Final = 32768
MAX_SCHEDULED: Final = 1024
MAX_COMMAND_BYTES: Final = 8192

KVM_ACCOUNT: Final = struct.Struct("<QqqqqqIIII")
REPORT: Final = struct.Struct(f"<IHHqqII{KVM_ACCOUNT.size}s")
STAMP: Final = struct.Struct("<IIQqq")
ORDER: Final = struct.Struct("<IHHqQIIII")
REPLY: Final = struct.Struct("<II")
SCHEDULED_REPLY: Final = struct.Struct("<IIq")
MAX_REPORT_BYTES: Final = REPORT.size + MAX_STAMPS * STAMP.size


class ReportFlag(IntFlag):
    HELLO = 1
    RUNNING = 2
    DRAIN = 4
    MORE = 8
    DISTURBED = 16


class StampFlag(IntFlag):
    DELIVERY = 1
    ADRIFT = 2
    HOST = 4


class OrderFlag(IntFlag):
    STOP = 1


# Plain ints: flag enums cost microseconds in the loop that holds the guest.
DELIVERY: Final = int(StampFlag.DELIVERY)
ADRIFT: Final = int(StampFlag.ADRIFT)
HOST: Final = int(StampFlag.HOST)
DRAIN: Final = int(ReportFlag.DRAIN)
MORE: Final = int(ReportFlag.MORE)
DISTURBED: Final = int(ReportFlag.DISTURBED)


class Stamp(NamedTuple):
    disk: int
    flags: int
    cookie: int
    time_ns: int
    warped_ns: int


class Report(NamedTuple):
    flags: int
    now_ns: int
    warped_ns: int
    stamps: list[Stamp]
    kvm: bytes = b""
    """A :class:`KvmAccount`, not yet decoded."""


def decode_report(message: bytes) -> Report:
    """Decode one report.

    Raises:
        RunError: the agent speaks another version, or the message is damaged.
    """
    if len(message) < REPORT.size:
        raise RunError(f"the agent sent {len(message)} bytes; a report has at least {REPORT.size}")
    magic, version, flags, now_ns, warped_ns, stamp_count, _, kvm = REPORT.unpack_from(message)
    if magic != MAGIC or version != VERSION:
        raise RunError("the agent has a different protocol version; reinstall freezingtime")
    if len(message) != REPORT.size + stamp_count * STAMP.size:
        raise RunError(f"the agent announced {stamp_count} stamps in {len(message)} bytes")
    stamps = [Stamp._make(fields) for fields in STAMP.iter_unpack(message[REPORT.size :])]
    return Report(flags, now_ns, warped_ns, stamps, kvm)


def decode_kvm_account(message: bytes) -> KvmAccount:
    """Decode what a report says of KVM."""
    return KvmAccount._make(KVM_ACCOUNT.unpack(message))


def encode_order(
    next_event_ns: int | None,
    replies: Sequence[Reply],
    scheduled: Sequence[Reply] = (),
    commands: Sequence[str] = (),
    *,
    stop: bool = False,
    rate_hz: int | None = None,
) -> bytes:
    """Encode one order; ``replies`` that are due and ``scheduled`` are in order of delivery.

    ``commands`` are QMP's, as JSON.

    Raises:
        RunError: there are too many of them.
    """
    texts = b"".join(text.encode() + b"\0" for text in commands)
    if len(texts) > MAX_COMMAND_BYTES:
        raise RunError(f"too many disks are plugged at once: {len(texts)} bytes of commands")
    head = ORDER.pack(
        MAGIC,
        VERSION,
        OrderFlag.STOP if stop else 0,
        NEVER_NS if next_event_ns is None else next_event_ns,
        rate_hz or 0,
        len(replies),
        len(scheduled),
        len(texts),
        0,
    )
    due = [REPLY.pack(disk, cookie) for disk, cookie, _ in replies]
    return b"".join([head, *due, *(SCHEDULED_REPLY.pack(*reply) for reply in scheduled), texts])
