# SPDX-License-Identifier: GPL-2.0-or-later
"""Unpacking of a guest's tar archive on the host; a hostile guest may have made it.

Files and directories come out of it, and nothing else: no links to elsewhere, no devices, no
owners, no rights but those of reading, writing and executing, and writing for the user only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from freezingtime.errors import RunError
from freezingtime.host.foreign_tar import read_members
from freezingtime.units import format_size_bytes

#: More files than that are no results, but would use up a file system's inodes.
FILES_MAX = 100_000

_UNPACK_DEADLINE_S = 600.0
_COPY_BYTES = 1 << 20
_ZEROS = bytes(_COPY_BYTES)
_TIME_MAX_S = 1 << 33
_FILE_MODE = 0o755
_UNFINISHED_SUFFIX = ".unfinished"


@dataclass(slots=True)
class Collected:
    """Summary of an unpacked archive."""

    names: list[str] = field(default_factory=list)
    """The files, relative to the directory, sorted."""
    left_out: list[str] = field(default_factory=list)
    """Matches that are neither files nor directories, such as symbolic links."""


def unpack_collected(archive: BinaryIO, directory: Path, *, limit_bytes: int) -> Collected:
    """Write what the guest handed over into ``directory``, which must not exist.

    It appears when all is in it. Holes stay holes; the files' content may have ``limit_bytes``.

    Raises:
        RunError: the archive is damaged, has too much in it, or cannot be written.
    """
    archive.flush()
    if not os.fstat(archive.fileno()).st_size:
        return Collected()
    unfinished = directory.with_name(directory.name + _UNFINISHED_SUFFIX)
    try:
        _remove(unfinished)
        unfinished.mkdir(parents=True)
        collected = _Unpacking(archive, unfinished, limit_bytes).run()
        unfinished.rename(directory)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise _failure(directory, f"{error.strerror or error}{where}") from error
    except RunError as error:
        raise _failure(directory, str(error)) from error
    finally:
        with contextlib.suppress(OSError):  # the reason is already reported
            _remove(unfinished)
    return collected


def _failure(directory: Path, reason: str) -> RunError:
    return RunError(f"cannot write the collected files to {directory}: {reason}")


def _remove(path: Path) -> None:
    """Remove a directory that an earlier run may have left; a link, and not what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class _Unpacking:
    """One archive on its way into a directory that is ours alone."""

    def __init__(self, archive: BinaryIO, directory: Path, limit_bytes: int) -> None:
        self._archive = archive
        self._directory = directory
        self._limit_bytes = self._left_bytes = limit_bytes
        self._deadline_s = time.monotonic() + _UNPACK_DEADLINE_S
        self._files: dict[PurePosixPath, None] = {}
        self._collected = Collected()

    def run(self) -> Collected:
        """Unpack all of it.

        Raises:
            RunError: the archive is damaged, or has too much in it.
            OSError: it cannot be written.
        """
        try:
            self._unpack_members()
        except tarfile.ReadError as error:
            raise RunError(f"the archive is damaged ({error})") from error
        self._collected.names = sorted(_text(name) for name in self._files)
        return self._collected

    def _unpack_members(self) -> None:
        for count, member in enumerate(read_members(self._archive), start=1):
            if count > FILES_MAX:
                raise RunError(f"more than {FILES_MAX} files; pack them into one")
            self._check_time()
            self._unpack(member)

    def _unpack(self, member: tarfile.TarInfo) -> None:
        name = _inner_name(member.name)
        path = self._directory / name
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            return
        if not (member.isreg() or member.islnk()) or not name.parts:
            self._collected.left_out.append(_text(name))
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in self._files:
            path.unlink()  # patterns that overlap hand a file over twice
        if member.islnk():
            target = _inner_name(member.linkname)
            if target not in self._files or target == name:
                raise RunError(
                    f"{_text(name)!r} is a link to {_text(target)!r}, which is not a file"
                )
            path.hardlink_to(self._directory / target)
        else:
            self._write(member, path)
        self._files[name] = None

    def _write(self, member: tarfile.TarInfo, path: Path) -> None:
        if member.issparse():  # nothing that we ask of the guest's tar
            raise RunError(f"{member.name!r} is a sparse member")
        self._left_bytes -= member.size
        if self._left_bytes < 0:
            raise RunError(
                f"the files exceed {format_size_bytes(self._limit_bytes)}; collect less, "
                "or allow more with --collect-limit"
            )
        mode = member.mode & _FILE_MODE | 0o600
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with open(fd, "wb", buffering=0) as file:  # noqa: PTH123 -- a descriptor
            end_bytes = member.offset_data + member.size
            while part := self._read(member.offset_data + file.tell(), end_bytes):
                self._check_time()
                if part == _ZEROS[: len(part)]:
                    file.seek(len(part), os.SEEK_CUR)
                else:
                    _write_all(file.fileno(), part)
            file.truncate(file.tell())
            if file.tell() != member.size:
                raise RunError(f"the archive ends within {member.name!r}")
            if 0 <= member.mtime < _TIME_MAX_S:
                os.utime(file.fileno(), (member.mtime, member.mtime))

    def _read(self, start_bytes: int, end_bytes: int) -> bytes:
        length_bytes = min(_COPY_BYTES, end_bytes - start_bytes)
        return os.pread(self._archive.fileno(), length_bytes, start_bytes)

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline_s:
            raise RunError(f"unpacking took more than {_UNPACK_DEADLINE_S:.0f} s")


def _inner_name(text: str) -> PurePosixPath:
    """A member's name, which leads to somewhere below the directory."""
    name = PurePosixPath(text)
    if name.is_absolute() or ".." in name.parts:
        raise RunError(f"the name {text!r} leads outside the directory")
    return name


def _text(name: PurePosixPath) -> str:
    """The name as text; bytes of it that are no UTF-8 are replaced."""
    return os.fsencode(name).decode(errors="replace")


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
