# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of text, compressed or not, in UTF-8 or UTF-16, opened for reading line by line.

A binary trace of blktrace is opened as the text that blkparse makes of it.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, BinaryIO, TextIO, cast

from freezingtime.errors import InputError
from freezingtime.host import file_formats
from freezingtime.host.file_formats import FileFormat, recognize

#: No line is longer, in characters.
LINE_MAX = 1 << 16
# Bytes peeked at; every buffer is larger.
_BUFFER_BYTES = 1 << 16
_BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# Text in Latin letters has a zero in every other byte of UTF-16.
_UTF_16_SAMPLE_BYTES = 64


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, TextIO]]:
    """The file as it is on the disk, for its position, and its text.

    Raises:
        InputError: it cannot be read, is damaged, or is no text, in which case the message
            says what it is, and how to make text of it.
    """
    try:
        with path.open("rb") as binary:
            known = recognize(binary.peek(file_formats.HEAD_BYTES))
            content = io.BufferedReader(cast(io.RawIOBase, _unpacked(binary, known)), _BUFFER_BYTES)
            head = content.peek(file_formats.HEAD_BYTES)
            known = recognize(head)
            if known is file_formats.BLKTRACE:
                # Imported here, since few traces are binary.
                from freezingtime.trace.readers.block.blktrace import as_text

                yield binary, as_text(path, content)
                return
            if known is not None:
                raise InputError(
                    f"{path}: is {known.name}, not text; convert it with '{known.command(path)}'"
                )
            with io.TextIOWrapper(content, encoding=_encoding(head), errors="replace") as text:
                yield binary, text
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or f"is damaged: {error}"
        raise InputError(f"{path}: {reason}; name a readable trace") from error


def bounded_lines(file: str, text: TextIO, begun: Sequence[str] = ()) -> Iterator[str]:
    """Lines of at most 64 KiB, so that a file without any does not fill the memory.

    ``begun`` are those that were read before, by ``readline(LINE_MAX)``.
    """
    for line in chain(begun, iter(lambda: text.readline(LINE_MAX), "")):
        if len(line) == LINE_MAX and not line.endswith("\n"):
            raise InputError(f"{file}: a line has more than {LINE_MAX} characters; is it text?")
        if line:
            yield line


def _unpacked(binary: BinaryIO, known: FileFormat | None) -> IO[bytes]:
    """Decompress the content of a file."""
    unpack = _UNPACKERS.get(known.name) if known is not None else None
    return binary if unpack is None else unpack(binary)


def _unpack_gzip(binary: BinaryIO) -> IO[bytes]:
    return cast(IO[bytes], gzip.GzipFile(fileobj=binary))


def _unpack_zstd(binary: BinaryIO) -> IO[bytes]:
    # Imported here, since pyarrow takes its time and other traces do without.
    import pyarrow as pa

    return cast(IO[bytes], pa.CompressedInputStream(pa.PythonFile(binary, mode="r"), "zstd"))


def _unpack_zip(binary: BinaryIO) -> IO[bytes]:
    cure = f"unpack it with '{file_formats.ZIP.command(binary.name)}'"
    if not binary.seekable():
        raise InputError(f"{binary.name}: is a zip archive in a pipe; unpack it first")
    archive = zipfile.ZipFile(binary)
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        raise InputError(
            f"{binary.name}: is a zip archive of {len(members)} files; {cure} and name one"
        )
    try:
        return archive.open(members[0])
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(f"{binary.name}: is a zip archive, but {error}; {cure}") from error


_UNPACKERS: dict[str, Callable[[BinaryIO], IO[bytes]]] = {
    file_formats.GZIP.name: _unpack_gzip,
    file_formats.XZ.name: lzma.LZMAFile,
    file_formats.BZIP2.name: bz2.BZ2File,
    file_formats.ZSTD.name: _unpack_zstd,
    file_formats.ZIP.name: _unpack_zip,
}


def _encoding(head: bytes) -> str:
    """Detect the encoding of text from its first bytes."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return encoding
    sample = head[:_UTF_16_SAMPLE_BYTES]
    if len(sample) > 1 and not any(sample[1::2]) and all(sample[::2]):
        return "utf-16-le"
    if len(sample) > 1 and not any(sample[::2]) and all(sample[1::2]):
        return "utf-16-be"
    return "utf-8-sig"
