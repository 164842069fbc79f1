"""Files of text, gzipped or not, opened for reading line by line."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from freezingtime.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"
_LINE_MAX = 1 << 16


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, TextIO]]:
    """The file as it is on the disk, for its position, and its text."""
    try:
        with path.open("rb") as binary:
            packed = binary.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
            unpacked = gzip.GzipFile(fileobj=binary) if packed else binary
            with io.TextIOWrapper(unpacked, encoding="utf-8-sig", errors="replace") as text:
                yield binary, text
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or f"is damaged: {error}"
        raise InputError(f"{path}: {reason}; name a readable trace") from error


def bounded_lines(file: str, text: TextIO) -> Iterator[str]:
    """Lines of at most 64 KiB, so that a file without any does not fill the memory."""
    while line := text.readline(_LINE_MAX):
        if len(line) == _LINE_MAX and not line.endswith("\n"):
            raise InputError(f"{file}: a line has more than {_LINE_MAX} characters; is it a text?")
        yield line
