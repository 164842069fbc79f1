# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C and SIGTERM: a prompt end, one clear line, the right status, whenever they come.

Imports next to nothing, so that it can take effect before the slow imports begin.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STATUS_BASE = 128
_STDERR_FD = 2
_SAYING = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}

#: How long cleaning up may take before one more signal ends the process as it is. Some
#: send the same signal twice, to the process and to its group: that is not impatience.
_PATIENCE_S = 2.0


class Interrupted(SystemExit):
    """A signal asked us to end. Libraries that catch KeyboardInterrupt let this pass."""

    def __init__(self, number: int) -> None:
        super().__init__(_STATUS_BASE + number)
        self.status = _STATUS_BASE + number
        self._saying = _SAYING[signal.Signals(number)]

    def __str__(self) -> str:
        return self._saying


class _Raiser:
    """Raises :class:`Interrupted` once; ends the process if that has not helped."""

    def __init__(self) -> None:
        self.raised: Interrupted | None = None
        self._raised_s = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.raised is None:
            self.raised = Interrupted(number)
            self._raised_s = time.monotonic()
            raise self.raised
        if time.monotonic() - self._raised_s > _PATIENCE_S:
            _exit_at_once(number, frame)  # the agent ends QEMU once we are gone


_raiser = _Raiser()


def exit_on_signals() -> None:
    """From now on SIGINT and SIGTERM end the process: there is nothing to clean up yet."""
    _handle(_exit_at_once)


def raise_on_signals() -> None:
    """From now on SIGINT and SIGTERM raise :class:`Interrupted` in the main thread."""
    _handle(_raiser)


def ignore_signals() -> None:
    """Ignore signals once the work is done: nothing may disturb the interpreter's exit."""
    _handle(signal.SIG_IGN)


def raised() -> Interrupted | None:
    """Return the exception that a signal raised, in case it surfaces as another one.

    Code that calls us back may convert our exception into its own.
    """
    return _raiser.raised


def _exit_at_once(number: int, _frame: FrameType | None) -> None:
    interrupted = Interrupted(number)
    with contextlib.suppress(OSError):
        os.write(_STDERR_FD, f"freezingtime: {interrupted}\n".encode())
    os._exit(interrupted.status)


def _handle(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    """A signal that our parent had us ignore, as nohup does, stays ignored."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
