"""The control disk: how the host hands a job to the guest and hears from it.

It is a disk like any other to the guest, and served like any other by the emulator, so
everything that passes over it happens at an exact guest time. ``machine/guest/init`` is
its counterpart. Layout:

========================  =====================================================
byte 0                    the job's header: lines of text, zero padded to 4 KiB
byte 4096                 the job's script, then its environment (NAME=value lines)
byte 32 MiB               the guest's messages, one 4 KiB block each, zero padded
========================  =====================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from freezingtime.errors import InputError
from freezingtime.medium.base import Medium
from freezingtime.request import Buffer

SIZE_BYTES = 64 << 20
BLOCK_BYTES = 4096
SCRIPT_OFFSET_BYTES = BLOCK_BYTES
SCRIPT_MAX_BYTES = (16 << 20) - SCRIPT_OFFSET_BYTES
MESSAGE_OFFSET_BYTES = 32 << 20


class ControlDisk(Medium):
    """A read-mostly medium that holds the job and passes the guest's messages on.

    ``on_message`` is called in the emulator's thread, at the guest time of the message.
    """

    size_bytes = SIZE_BYTES
    may_block = False

    def __init__(self, on_message: Callable[[str], None]) -> None:
        self._on_message = on_message
        self._head = b""

    def describe(self) -> str:
        return "control disk"

    def set_job(self, script: bytes, *, environment: Mapping[str, str], disk_count: int) -> None:
        """Put a job where the guest will look for it when the machine goes on.

        Raises:
            InputError: the script is too long.
        """
        variables = "".join(f"{name}={value}\n" for name, value in environment.items()).encode()
        if len(script) + len(variables) > SCRIPT_MAX_BYTES:
            raise InputError(
                f"the script has {len(script)} bytes; at most {SCRIPT_MAX_BYTES} fit; "
                "put large data on a disk"
            )
        header = (
            "FREEZINGTIME-JOB 1\n"
            f"script_bytes={len(script)}\nenv_bytes={len(variables)}\ndisks={disk_count}\n"
        )
        self._head = header.encode().ljust(BLOCK_BYTES, b"\0") + script + variables

    def read(self, offset_bytes: int, length_bytes: int) -> Buffer:
        return self._head[offset_bytes : offset_bytes + length_bytes].ljust(length_bytes, b"\0")

    def write(self, offset_bytes: int, data: Buffer) -> None:
        if offset_bytes == MESSAGE_OFFSET_BYTES:
            self._on_message(bytes(data).rstrip(b"\0").decode(errors="replace").strip())

    def zero(self, offset_bytes: int, length_bytes: int) -> None:
        """Nothing is stored, so there is nothing to zero."""

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        """Nothing is stored, so there is nothing to discard."""

    def flush(self) -> None:
        """Nothing is stored, so there is nothing to make durable."""

    def close(self) -> None:
        """Nothing is held."""
