# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages of the guest's job runner over the control disk; ``guest/job-runner`` sends them.

Any process of the guest that may write to that disk can send anything; so a message is accepted
only where its word is due.
"""

from __future__ import annotations

import re

from freezingtime.errors import GuestError

#: In the order in which they come; FAILED may come in the place of any.
READY, STARTED, EXIT, DONE = "READY", "STARTED", "EXIT", "DONE"
FAILED = "FAILED"
_WORDS = frozenset({READY, STARTED, EXIT, DONE, FAILED})

_EXIT_MESSAGE = re.compile(r"EXIT ([0-9]{1,3})")
_EXIT_STATUS_MAX = 255
_SHOWN_LENGTH = 80


def first_word(text: str) -> str:
    """Return the first word of a message; empty if no job runner sends such a message."""
    word = text.partition(" ")[0]
    return word if word in _WORDS else ""


def exit_status(text: str) -> int:
    """The job's exit status, from the message that it has ended.

    Raises:
        GuestError: it is none that a process can have.
    """
    match = _EXIT_MESSAGE.fullmatch(text)
    if match is None or int(match[1]) > _EXIT_STATUS_MAX:
        raise _unexpected(text, f"'EXIT <0 to {_EXIT_STATUS_MAX}>'")
    return int(match[1])


def unexpected_message(text: str, word: str) -> GuestError:
    """The error of a message that came where the one with ``word`` was due."""
    if first_word(text) == FAILED:
        return GuestError(f"the guest: {text.removeprefix(FAILED).strip()}")
    return _unexpected(text, repr(word))


def _unexpected(text: str, due: str) -> GuestError:
    shown = text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."
    return GuestError(
        f"the guest sent {shown!r} over the control disk, expected {due}; "
        "does the job write to the disk 'freezingtime-control'?"
    )
