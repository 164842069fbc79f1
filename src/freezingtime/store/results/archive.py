# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as one file, a tar archive, for another machine's store.

An archive is read as untrusted input: only what a result has is taken, each is checked, and none is
taken that is not of the key that it claims. Whether its figures were really computed, it cannot
tell: ``sweep --verify-cache`` can.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from freezingtime.errors import InputError, RunError
from freezingtime.host.foreign_tar import read_members
from freezingtime.host.replaced_file import replaced_path
from freezingtime.store.results.result_store import ResultStore, StoredResult

# A name of a file of a result; what begins with a dot is none.
_MEMBER = re.compile(r"([0-9a-f]{64})/((?:[^./\0][^/\0]{0,254}/){0,16}[^./\0][^/\0]{0,254})")
_COPY_BYTES = 1 << 20


def export_results(store: ResultStore, path: Path, keys: Sequence[str]) -> int:
    """Write results to an archive, all if no key is given; returns how many.

    Keys may be cut short, as long as they name one.

    Raises:
        InputError: there is no such result, or the file cannot be written.
    """
    results = [entry for entry in store.entries() if isinstance(entry, StoredResult)]
    chosen = [_named(results, key) for key in keys] if keys else results
    try:
        with replaced_path(path) as partial, tarfile.open(partial, "w") as tar:
            for result in chosen:
                for file in sorted(result.directory.rglob("*")):
                    if file.is_file() and not file.is_symlink():
                        name = f"{result.key}/{file.relative_to(result.directory)}"
                        tar.add(file, name, recursive=False, filter=_neutral)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); name a file in a directory "
            "with room"
        ) from error
    return len(chosen)


def import_results(store: ResultStore, path: Path) -> tuple[int, int]:
    """Take the results of an archive; returns how many were new, and how many were there.

    Raises:
        InputError: it is no archive of results, or one of them is damaged; those before it stay.
        RunError: the store takes no more; or it has other figures for a key.
    """
    new = known = 0
    try:
        with path.open("rb") as archive:
            for key, members in groupby(_members(archive, path), lambda member: member[0]):
                if store.find(key) is not None:
                    known += 1
                    continue
                with store.building() as run_path:
                    for _, name, member in members:
                        _unpack(archive, member, run_path.parent / name)
                    store.take(run_path.parent, key, f"{path}: {key}")
                new += 1
    except tarfile.ReadError as error:
        raise InputError(
            f"{path}: is no archive that 'store export' has written, or damaged ({error})"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; name a readable archive") from error
    return new, known


def _members(archive: BinaryIO, path: Path) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Key, name below its directory, and member of each file."""
    for member in read_members(archive):
        found = _MEMBER.fullmatch(member.name)
        if found is None or not member.isreg() or member.issparse():
            raise InputError(
                f"{path}: has {member.name!r}, which is no part of a result; name an archive that "
                "'store export' has written"
            )
        yield found[1], found[2], member


def _unpack(archive: BinaryIO, member: tarfile.TarInfo, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            left_bytes, offset_bytes = member.size, member.offset_data
            while left_bytes:
                piece = os.pread(archive.fileno(), min(left_bytes, _COPY_BYTES), offset_bytes)
                if not piece:
                    raise tarfile.ReadError(f"it ends within {member.name!r}")
                file.write(piece)
                left_bytes -= len(piece)
                offset_bytes += len(piece)
    except (FileExistsError, NotADirectoryError) as error:
        raise tarfile.ReadError(f"{member.name!r} is there twice") from error
    except OSError as error:
        raise RunError(
            f"cannot write to the store: {error.strerror or error}; free space"
        ) from error


def _named(results: Sequence[StoredResult], key: str) -> StoredResult:
    found = [result for result in results if key and result.key.startswith(key)]
    if len(found) != 1:
        problem = f"{len(found)} results begin so; write more of it" if found else "no such result"
        raise InputError(f"{key}: {problem}; 'freezingtime store list' has all")
    return found[0]


def _neutral(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o644
    member.mtime = 0
    return member
