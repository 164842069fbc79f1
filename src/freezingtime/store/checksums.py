# SPDX-License-Identifier: GPL-2.0-or-later
"""Checksums of cached files, to detect flipped bits.

XXH3 with 128 bits: it is about damage, not about people, and it has to keep up with the page
cache, as all that a run starts from is read once more for it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import xxhash

from freezingtime.host.document_fault import document_fault
from freezingtime.host.replaced_file import replaced_path

#: The file of a directory's checksums.
CHECKSUMS = "checksums.json"

# Of all sizes that were tried the fastest: it stays in the CPU's cache.
_BUFFER_BYTES = 1 << 18


class DamagedError(Exception):
    """Raised for a damaged cache entry; the message names the file and the damage."""


def digest_file(path: Path) -> str:
    """The checksum of a file's content, in hexadecimal digits.

    Raises OSError when it cannot be read.
    """
    digest = xxhash.xxh3_128()
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    with path.open("rb", buffering=0) as file:
        while length_bytes := file.readinto(buffer):
            digest.update(buffer[:length_bytes])
    return digest.hexdigest()


def write_checksums(directory: Path, names: Collection[str] | None = None) -> None:
    """Write the checksums of files of a directory (all, if None); OSError if that fails."""
    if names is None:
        names = {path.name for path in directory.iterdir()} - {CHECKSUMS}
    sums = {name: digest_file(directory / name) for name in sorted(names)}
    with replaced_path(directory / CHECKSUMS) as building:
        building.write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")


def check_files(directory: Path, names: Collection[str] | None = None) -> None:
    """Verify files of a directory (all, if None) against their checksums.

    Raises:
        DamagedError: one is not, or cannot be read.
    """
    sums = _read_checksums(directory)
    if names is None:
        names = {*sums, *(path.name for path in directory.iterdir())} - {CHECKSUMS}
    for name in sorted(names):
        if name not in sums:
            raise DamagedError(f"{CHECKSUMS}: has no entry for {name}")
        try:
            found = digest_file(directory / name)
        except OSError as error:
            raise DamagedError(f"{name}: {error.strerror}") from error
        if found != sums[name]:
            raise DamagedError(f"{name}: its checksum is {found}, not {sums[name]}")


def _read_checksums(directory: Path) -> dict[str, str]:
    try:
        sums = json.loads((directory / CHECKSUMS).read_text(encoding="utf-8"))
        if not isinstance(sums, dict) or not all(isinstance(each, str) for each in sums.values()):
            raise ValueError("it is not a checksum file")
    except OSError as error:
        raise DamagedError(f"{CHECKSUMS}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{CHECKSUMS}: {document_fault(error)}") from error
    return sums
