# SPDX-License-Identifier: GPL-2.0-or-later
"""The socket in a run's directory that takes changes while the run goes on.

Clients are read as the emulator waits for the guest, and their changes are made in its next turn,
while guest time stands still: so nothing that a client does, or leaves undone, is seen by the guest
but the change itself. A client is believed nothing: it must be of our own user, say little, and
soon; and there are only few at a time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Self

from freezingtime.errors import InputError
from freezingtime.host.poller import Poller, same_user
from freezingtime.runs.tuning.messages import (
    FORMAT,
    MAX_ANSWER_BYTES,
    MAX_LINE_BYTES,
    TuneAnswer,
    Tuned,
    TuneRequest,
    decode,
    encode,
)
from freezingtime.runs.tuning.tuned_disks import TunedDisks
from freezingtime.trace.run_directory import TUNE_SOCKET_NAME

_CLIENTS_MAX = 8
#: One that connects has something to say at once.
_REQUEST_DEADLINE_S = 10.0

_log = logging.getLogger(__name__)


class TuneServer:
    """Serves the socket of a run's directory. A context manager: leaving it removes the socket.

    Where a file system has no sockets, the run takes no changes. Entered and left by the main
    thread while the emulator's does not run, which calls everything else.
    """

    def __init__(self, directory: Path, disks: TunedDisks, on_change: Callable[[], None]) -> None:
        """Listen; ``on_change`` is called after each change."""
        self._disks = disks
        self._on_change = on_change
        self._clients: list[_Client] = []
        self._poller: Poller | None = None
        self._directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._is_bound = False
        try:
            os.fchmod(self._listener.fileno(), 0o600)  # of the file that bind makes, from its start
            self._listener.bind(short_path(self._directory_fd))
            self._is_bound = True
            self._listener.listen(_CLIENTS_MAX)
        except OSError as error:
            _log.debug("no changes are taken while it runs: %s", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.connection.close()
        self._listener.close()
        if self._is_bound:
            with contextlib.suppress(OSError):  # somebody has removed it, or all of the directory
                os.unlink(TUNE_SOCKET_NAME, dir_fd=self._directory_fd)
        os.close(self._directory_fd)

    def join(self, poller: Poller) -> None:
        """Have clients read as that poller waits."""
        self._poller = poller
        if self._is_bound:
            poller.register(self._listener.fileno(), self._accept)

    def turn(self, now_ns: int, *, is_over: bool) -> None:
        """Make the changes that have come in; ``is_over``: the job is, and no more are made."""
        for client in list(self._clients):
            if client.request is not None:
                client.answer(self._answer(client.request, now_ns, is_over=is_over))

    def _answer(self, request: TuneRequest, now_ns: int, *, is_over: bool) -> TuneAnswer:
        at = None
        try:
            if request.changes:
                if is_over:
                    raise InputError("the job has ended; nothing has been changed")
                at = self._disks.change(request.changes, now_ns)
                self._on_change()
        except InputError as error:
            return TuneAnswer(str(error))
        return TuneAnswer(tuned=Tuned(at, self._disks.values(now_ns)))

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it has gone again, or there are no descriptors left
            connection, _ = self._listener.accept()
            is_welcome = len(self._clients) < _CLIENTS_MAX and same_user(connection)
            if self._poller is None or not is_welcome:
                connection.close()
            else:
                self._clients.append(_Client(connection, self._poller, self._clients))


class _Client:
    """One client, from its connection to its answer."""

    def __init__(self, connection: socket.socket, poller: Poller, among: list[_Client]) -> None:
        """Read what it has to say; it leaves ``among`` when it is closed."""
        self.connection = connection
        #: What it has asked for, and has not been answered.
        self.request: TuneRequest | None = None
        self._poller = poller
        self._among = among
        self._received = b""
        connection.setblocking(False)
        poller.register(connection.fileno(), self._receive)
        poller.call_later(_REQUEST_DEADLINE_S, self._expire)

    def answer(self, answer: TuneAnswer) -> None:
        """Send the answer, and close. One that does not read gets none."""
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_ANSWER_BYTES)
            self.connection.send(encode(answer))
        self._close()

    def _receive(self) -> None:
        if self.request is not None:
            self._close()  # it is not waited for any more, and so not changed either
            return
        try:
            piece = self.connection.recv(MAX_LINE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._received += piece
        line, newline, behind = self._received.partition(b"\n")
        if newline:
            if self._is_there() and not behind:
                self._take(line)
            else:
                self._close()
        elif not piece:
            self._close()
        elif len(self._received) >= MAX_LINE_BYTES:
            self.answer(TuneAnswer("what was sent is no request of freezingtime's"))

    def _is_there(self) -> bool:
        """Whether it waits for the answer, and has said no more than that line."""
        try:
            self.connection.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def _take(self, line: bytes) -> None:
        try:
            request = decode(line, TuneRequest)
        except ValueError:
            self.answer(TuneAnswer("what was sent is no request of freezingtime's"))
            return
        if request.format != FORMAT:
            self.answer(
                TuneAnswer("the run is one of another version of freezingtime; use that one")
            )
            return
        self.request = request
        # Until its answer, all that is of interest is whether it is still there.
        self._poller.register(self.connection.fileno(), self._receive, readable=False)

    def _expire(self) -> None:
        if self in self._among and self.request is None:
            self._close()

    def _close(self) -> None:
        self._among.remove(self)
        self._poller.unregister(self.connection.fileno())
        self.connection.close()


def short_path(directory_fd: int) -> str:
    """The path of the socket of an open directory: its own may be longer than sockets' may be."""
    return f"/proc/self/fd/{directory_fd}/{TUNE_SOCKET_NAME}"
