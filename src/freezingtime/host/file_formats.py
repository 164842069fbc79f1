# SPDX-License-Identifier: GPL-2.0-or-later
"""Recognition of other programs' files by their first or last bytes, with a cure for each.

The one table for media, traces and device files alike. Not in it is what is right as the bytes of a
disk and no trace either: file systems, partition tables, LUKS, ISO 9660. QEMU's "luks" images are
byte for byte what cryptsetup puts on a disk, so that a guest which unlocks one is right.

Sources: QEMU's ``block/*.c`` and ``docs/interop``; file(1); the formats' own documents.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from enum import Enum
from itertools import chain, count
from pathlib import Path

#: Bytes of a file's start and end needed to recognise it.
HEAD_BYTES = 512
TAIL_BYTES = 512


class FileKind(Enum):
    """Kind of a foreign file."""

    DISK_IMAGE = "a disk image"
    COMPRESSED = "anything, compressed"
    RECORDING = "a binary trace"
    DATA = "not a disk"


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format, where its magic is, and the command that makes of it what can be read."""

    name: str
    """For users, with an article."""
    kind: FileKind
    magic: bytes
    cure: str
    """A command with ``{file}`` in it, quoted; ``{raw}``, ``{txt}`` and ``{plain}`` are names of
    new files beside it, with these suffixes and without one."""
    offset_bytes: int = 0
    """Below 0: from the end."""

    def command(self, path: Path | str) -> str:
        """Return the command that converts a file."""
        file = str(path)
        if file.startswith("-"):  # it would be taken for an option
            file = f"./{file}"
        return self.cure.format(
            file=shlex.quote(file),
            raw=shlex.quote(_beside(file, ".raw")),
            txt=shlex.quote(_beside(file, ".txt")),
            plain=shlex.quote(_beside(file, "")),
        )


def _beside(file: str, suffix: str) -> str:
    """The file's name with that suffix instead of its own, or another: of no file that there is."""
    plain = file.removesuffix(Path(file).suffix)
    endings = chain(("", ".out"), (f".{number}" for number in count(2)))
    return next(
        name for ending in endings if not os.path.lexists(name := f"{plain}{ending}{suffix}")
    )


_CONVERT = "qemu-img convert -O raw {file} {raw}"


def _image(name: str, magic: bytes, offset_bytes: int = 0, cure: str = _CONVERT) -> FileFormat:
    return FileFormat(name, FileKind.DISK_IMAGE, magic, cure, offset_bytes)


def _compressed(name: str, magic: bytes, cure: str) -> FileFormat:
    return FileFormat(name, FileKind.COMPRESSED, magic, cure)


def _recording(name: str, magic: bytes, cure: str) -> FileFormat:
    return FileFormat(name, FileKind.RECORDING, magic, cure)


#: A qcow2 image; version 1, which is called qcow, begins with the same bytes.
QCOW2 = _image("a qcow2 image", b"QFI\xfb")
GZIP = _compressed("gzip", b"\x1f\x8b\x08", "gzip -dc < {file} > {plain}")
XZ = _compressed("xz", b"\xfd7zXZ\0", "xz -dc < {file} > {plain}")
BZIP2 = _compressed("bzip2", b"BZh", "bzip2 -dc < {file} > {plain}")
ZSTD = _compressed("zstd", b"\x28\xb5\x2f\xfd", "zstd -dc < {file} > {plain}")
ZIP = _compressed("a zip archive", b"PK\x03\x04", "unzip {file}")
BLKTRACE = _recording("a binary blktrace trace", b"\x07tae", "blkparse -i {file} -o {txt}")

FORMATS = (
    QCOW2,
    _image("a VMDK image", b"KDMV"),
    _image("a VMDK image", b"COWD"),
    _image("the descriptor of a VMDK image", b"# Disk DescriptorFile"),
    _image("a VDI image", b"\x7f\x10\xda\xbe", 0x40),
    _image("a VHDX image", b"vhdxfile"),
    _image("a VHD image", b"conectix"),
    _image("a VHD image", b"conectix", -512),
    _image("a QED image", b"QED\0"),
    _image("a Parallels image", b"WithoutFreeSpace"),
    _image("a Parallels image", b"WithouFreSpacExt"),
    _image("a Bochs image", b"Bochs Virtual HD Image"),
    _image("an Apple disk image", b"koly", -512),
    _image("an EnCase image", b"EVF\x09\x0d\x0a\xff\0", cure="ewfexport -t {plain} -f raw {file}"),
    _image("an Android sparse image", b"\x3a\xff\x26\xed", cure="simg2img {file} {raw}"),
    GZIP,
    XZ,
    BZIP2,
    ZSTD,
    ZIP,
    _compressed("a 7z archive", b"7z\xbc\xaf\x27\x1c", "7z x {file}"),
    _compressed("lz4", b"\x04\x22\x4d\x18", "lz4 -dc < {file} > {plain}"),
    BLKTRACE,
    _recording(
        "a binary blktrace trace from a big-endian machine",
        b"eat\x07",
        "blkparse -i {file} -o {txt}",
    ),
    _recording(
        "a perf recording", b"PERFILE2", "perf script -i {file} -F comm,pid,time,event,trace"
    ),
    _recording("a trace-cmd recording", b"\x17\x08Dtracing", "trace-cmd report -i {file}"),
    FileFormat("an SQLite database", FileKind.DATA, b"SQLite format 3\0", "sqlite3 -csv {file}"),
    *(
        FileFormat("a network capture", FileKind.DATA, magic, "tshark -r {file}")
        for magic in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\x0a\r\r\n")
    ),
    FileFormat("a tar archive", FileKind.DATA, b"ustar", "tar -xf {file}", 257),
    FileFormat("an ELF program", FileKind.DATA, b"\x7fELF", "file {file}"),
    FileFormat("a PDF", FileKind.DATA, b"%PDF-", "pdftotext {file}"),
)


def recognize(head: bytes, tail: bytes = b"") -> FileFormat | None:
    """The format of a file that begins and ends with these bytes; None: none of these.

    ``head`` is its first :data:`HEAD_BYTES`, ``tail`` its last :data:`TAIL_BYTES`, or what there
    is of them.
    """
    for known in FORMATS:
        if known.offset_bytes >= 0:
            found = head[known.offset_bytes :]
        else:
            found = tail[known.offset_bytes :] if len(tail) >= -known.offset_bytes else b""
        if found.startswith(known.magic):
            return known
    return None


def recognize_open(fd: int, size_bytes: int) -> FileFormat | None:
    """The format of an open regular file or block device.

    Raises:
        OSError: it cannot be read.
    """
    tail_bytes = min(size_bytes, TAIL_BYTES)
    return recognize(os.pread(fd, HEAD_BYTES, 0), os.pread(fd, tail_bytes, size_bytes - tail_bytes))
