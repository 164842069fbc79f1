"""A file without a name that QEMU writes and we read as it grows.

Nothing is left behind, however the processes end.
"""

from __future__ import annotations

import os
import tempfile
from types import TracebackType
from typing import Self

_READ_BYTES = 1 << 20


class Capture:
    """An output stream of a child process, kept in an unlinked temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="freezingtime-")  # noqa: SIM115
        self._read_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def fileno(self) -> int:
        return self._file.fileno()

    @property
    def path_in_child(self) -> str:
        """A path under which a child that inherits the descriptor can open the file."""
        return f"/proc/self/fd/{self.fileno()}"

    def read_new(self) -> bytes:
        """What has been written since the last call."""
        new = self._read_from(self._read_bytes)
        self._read_bytes += len(new)
        return new

    def read_all(self) -> bytes:
        """Everything that has been written."""
        return self._read_from(0)

    def last_lines(self, count: int) -> list[str]:
        """The last lines with something on them."""
        lines = self.read_all().decode(errors="replace").splitlines()
        return [line.rstrip() for line in lines if line.strip()][-count:]

    def _read_from(self, offset_bytes: int) -> bytes:
        content = bytearray()
        while part := os.pread(self.fileno(), _READ_BYTES, offset_bytes + len(content)):
            content += part
        return bytes(content)
