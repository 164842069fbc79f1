# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages over the socket of a run's directory: one line of JSON each way.

The client asks with the changes that it wants, ``{"format": 1, "changes": ["data.write=80us"]}``,
and hears what the disks have now and since when, or what was wrong.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

#: Changes whenever one side of the version before would misread the other.
FORMAT = 1
#: A line is at most so long; who sends more is nobody of ours.
MAX_LINE_BYTES = 1 << 16
#: An answer is at most so long.
MAX_ANSWER_BYTES = 4 * MAX_LINE_BYTES

Message = TypeVar("Message", bound=msgspec.Struct)


class TuneRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes that a client wants; none: only to hear what there is."""

    format: int = FORMAT
    changes: tuple[str, ...] = ()
    """``KEY=VALUE`` each, with the disk's name before it if there are several."""


class Tuned(msgspec.Struct, frozen=True):
    """Answer to :func:`freezingtime.tune`: what has been changed, and what can change."""

    at: str | None = None
    """The change as `--at` has it: the guest time from which it counts, and the values; None:
    nothing was to be changed."""
    values: dict[str, dict[str, str]] = {}
    """By disk: each key that can change, and its value from then on."""


class TuneAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a request: one of the two."""

    error: str | None = None
    tuned: Tuned | None = None


def encode(message: msgspec.Struct) -> bytes:
    """Return the line of a message."""
    return msgspec.json.encode(message) + b"\n"


def decode(line: bytes, kind: type[Message]) -> Message:
    """Return the message of a line.

    Raises:
        ValueError: it is none.
    """
    try:
        return msgspec.json.decode(line, type=kind)
    except RecursionError as error:
        raise ValueError("is nested too deep") from error
