# SPDX-License-Identifier: GPL-2.0-or-later
"""Capture of QEMU's output: taken at once and kept in files without a name.

QEMU writes to a pipe, which a thread of ours empties into a file. So what may fail, as a full
disk does, fails here, where it ends the run; QEMU, and the guest with it, sees no more of it
than a pipe that is full for a moment, for which guest time stands still. Nothing is left
behind, however the processes end.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import tempfile
import threading
from collections.abc import Iterator
from typing import BinaryIO, Self

from freezingtime.errors import RunError

_PIECE_BYTES = 1 << 20
_PIPE_BYTES = 1 << 16
_JOIN_DEADLINE_S = 5.0
#: The last lines are sought for in so much; and a line that is longer is taken for several.
_TAIL_BYTES = 1 << 16


class Capture:
    """An output stream of a child process: a pipe, and a file with what has come out of it."""

    def __init__(self, what: str) -> None:
        """``what`` is the stream's name for a user. Ends with :meth:`close`.

        Raises:
            OSError: there is no room for a file, or there are too many.
        """
        self._what = what
        self._file = tempfile.TemporaryFile(prefix="freezingtime-", buffering=0)  # noqa: SIM115
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._lock = threading.Lock()
        self._kept_bytes = 0
        self._passed_bytes = 0
        self._failure: OSError | None = None

    def close(self) -> None:
        for fd in (self._reader, self._writer):
            os.close(fd)
        self._file.close()

    def fileno(self) -> int:
        """The end that the child writes to."""
        return self._writer

    @property
    def reader(self) -> int:
        """The end that is readable when there is something to :meth:`take`."""
        return self._reader

    @property
    def path_in_child(self) -> str:
        """A path under which a child that inherits the descriptor can open the pipe."""
        return f"/proc/self/fd/{self.fileno()}"

    def take(self) -> None:
        """Drain the pipe. Any thread.

        If it cannot be stored, it is dropped, so that no writer waits for us any more, and
        :meth:`check` raises.
        """
        with self._lock, contextlib.suppress(BlockingIOError):
            while piece := os.read(self._reader, _PIPE_BYTES):
                self._keep(piece)

    def printed_bytes(self) -> int:
        """Return how much has been printed so far. Any thread."""
        self.take()
        return self._kept_bytes

    def check(self) -> None:
        """Raise RunError if something that was printed could not be kept."""
        if self._failure is not None:
            raise RunError(
                f"{self._what} cannot be stored in {tempfile.gettempdir()}: "
                f"{self._failure.strerror}; free space there, or set TMPDIR to another "
                "directory"
            ) from self._failure

    def read_new(self) -> bytes:
        """The next piece of what has been printed and not yet been returned; empty: no more.

        Raises:
            RunError: it could not be kept, or not be read.
        """
        self.take()
        self.check()
        new = self._read(self._passed_bytes, _PIECE_BYTES)
        self._passed_bytes += len(new)
        return new

    def read_all(self) -> bytes:
        """Everything that has been printed, of any size.

        Raises:
            RunError: it could not be kept, or not be read.
        """
        self.take()
        self.check()
        return b"".join(self._pieces())

    def copy_handle(self) -> BinaryIO:
        """The file itself, which then outlives this object: its content, by ``os.pread``."""
        self.take()
        return os.fdopen(os.dup(self._file.fileno()), "rb", buffering=0)

    def lines(self) -> Iterator[str]:
        """The lines, in little memory; one that is very long comes in several."""
        self.take()
        rest = b""
        for piece in self._pieces():
            *lines, rest = (rest + piece).splitlines(keepends=True) or [b""]
            if rest.endswith((b"\n", b"\r")) or len(rest) > _TAIL_BYTES:
                lines.append(rest)
                rest = b""
            yield from (line.decode(errors="replace").rstrip("\r\n") for line in lines)
        if rest:
            yield rest.decode(errors="replace")

    def last_lines(self, count: int, since_bytes: int = 0) -> list[str]:
        """The last lines with something on them, of what came behind the first bytes."""
        self.take()
        tail = self._read(max(since_bytes, self._kept_bytes - _TAIL_BYTES), _TAIL_BYTES)
        lines = tail.decode(errors="replace").splitlines()
        return [line.rstrip() for line in lines if line.strip()][-count:]

    def _keep(self, piece: bytes) -> None:
        try:
            while piece and self._failure is None:
                written_bytes = os.pwrite(self._file.fileno(), piece, self._kept_bytes)
                self._kept_bytes += written_bytes
                piece = piece[written_bytes:]
        except OSError as failure:
            self._failure = failure

    def _pieces(self) -> Iterator[bytes]:
        offset_bytes = 0
        while piece := self._read(offset_bytes, _PIECE_BYTES):
            offset_bytes += len(piece)
            yield piece

    def _read(self, offset_bytes: int, length_bytes: int) -> bytes:
        try:
            return os.pread(self._file.fileno(), length_bytes, offset_bytes)
        except OSError as error:
            raise RunError(
                f"{self._what} cannot be read back from {tempfile.gettempdir()}: {error.strerror}"
            ) from error


class Captures:
    """Captures that one thread empties as something comes. A context manager: ends them.

    Writers must have ended, or not mind, when the block ends.
    """

    def __init__(self) -> None:
        self._captures: list[Capture] = []
        self._selector = selectors.DefaultSelector()
        self._stop_receiver, self._stop_sender = os.pipe()
        self._selector.register(self._stop_receiver, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._take_all, name="output", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._stop_sender, b"\0")
        self._thread.join(_JOIN_DEADLINE_S)
        self._selector.close()
        for capture in self._captures:
            capture.close()
        for fd in (self._stop_receiver, self._stop_sender):
            os.close(fd)

    def add(self, what: str) -> Capture:
        """One more; ``what`` is its name for a user."""
        capture = Capture(what)
        self._captures.append(capture)
        self._selector.register(capture.reader, selectors.EVENT_READ, capture)
        return capture

    def check(self) -> None:
        """Raise RunError if something that was printed could not be kept."""
        for capture in self._captures:
            capture.check()

    def _take_all(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                key.data.take()
