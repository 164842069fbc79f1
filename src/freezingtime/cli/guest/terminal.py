# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's terminal, raw, joined to the guest's console until a key ends it."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import termios
import threading
import tty
from typing import Self

from freezingtime.errors import InputError

#: Ctrl-], as with telnet and `virsh console`.
END_KEY = b"\x1d"

_READ_BYTES = 65536
_JOIN_DEADLINE_S = 5.0


class RawTerminal:
    """Passes keys to the guest and what the guest prints to the terminal, in a thread.

    A context manager: the terminal is as it was when the block is left.
    """

    def __init__(self) -> None:
        """Raises InputError when stdin is not a terminal."""
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise InputError("shell: stdin and stdout must be a terminal; 'run' takes a script")
        self._input, self._output = sys.stdin.fileno(), sys.stdout.fileno()
        self._before = termios.tcgetattr(self._input)
        self._ours, self.guest_end = socket.socketpair()
        self._stop_receiver, self._stop_sender = socket.socketpair()
        self._thread = threading.Thread(target=self._pump, name="terminal", daemon=True)
        #: Whether the end key has been pressed, or the terminal has gone.
        self.left = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._stop_sender.send(b"\0")
            self._thread.join(_JOIN_DEADLINE_S)
        with contextlib.suppress(termios.error):  # the terminal may have gone
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)
        for end in (self._ours, self.guest_end, self._stop_receiver, self._stop_sender):
            end.close()

    def start(self) -> None:
        """Make the terminal raw and pass everything on; does nothing the second time."""
        if self._thread.ident is None:
            tty.setraw(self._input)
            self._thread.start()

    def _pump(self) -> None:
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
            for end in (self._input, self._ours, self._stop_receiver):
                selector.register(end, selectors.EVENT_READ)
            while self._pass_on({key.fileobj for key, _ in selector.select()}):
                pass
        self.left.set()

    def _pass_on(self, ready: set[object]) -> bool:
        """Forward available data; return whether there may be more."""
        if self._ours in ready:
            printed = self._ours.recv(_READ_BYTES)
            _write_all(self._output, printed)
            if not printed:
                return False
        if self._input in ready:
            typed, end, _ = os.read(self._input, _READ_BYTES).partition(END_KEY)
            self._ours.sendall(typed)
            if end or not typed:
                return False
        return self._stop_receiver not in ready


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
