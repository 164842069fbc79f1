# SPDX-License-Identifier: GPL-2.0-or-later
"""One version of a Debian package, and the .deb file that it is."""

from __future__ import annotations

import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from freezingtime.errors import RunError

_DAMAGE = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError)


@dataclass(frozen=True, slots=True)
class Package:
    """A version of a package, as a list of packages has it.

    ``depends`` has the first alternative of each dependency, ``provides`` further names.
    """

    name: str
    version: str
    architecture: str
    section: str
    depends: tuple[str, ...]
    provides: tuple[str, ...]
    sha256: str
    size_bytes: int = 0
    address: str = ""
    """Where it can be had."""
    path: str = ""
    """Where a mirror has it, such as ``pool/main/f/fio/fio_3.33-3_amd64.deb``."""

    @property
    def file_name(self) -> str:
        """The name under which it is kept."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


def relation_names(relations: str) -> Iterator[str]:
    """The names in ``a (>= 1) | b, c:any``: of alternatives the first."""
    for relation in relations.split(","):
        name = re.match(r"[\w.+-]+", relation.strip())
        if name is not None:
            yield name[0]


def unpack(deb: Path, directory: Path) -> None:
    """Unpack the files of the package ``deb`` into ``directory``, over what is there.

    Raises:
        RunError: it is no package, or cannot be unpacked.
    """
    # Loads slowly, and only building images needs it.
    from debian.arfile import ArError
    from debian.debfile import DebFile

    try:
        with DebFile(str(deb)) as package:
            _extract(package.data.tgz(), directory.resolve())
    except (*_DAMAGE, ArError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the library's word for a part that is cut off
        raise RunError(
            f"cannot unpack the package {deb} ({error}): delete it and try again"
        ) from error


def _extract(tar: tarfile.TarFile, directory: Path) -> None:
    """Write what is in an archive; its links may lead anywhere, but nothing is written there.

    Python's own filters refuse a link that leads elsewhere where it is there already, and not
    every Python 3.11 has them.
    """
    tar.extraction_filter = lambda member, _path: member
    for member in tar:
        member.name = member.name.lstrip("/")
        place = directory / member.name
        if place == directory:
            continue
        _require_inside(directory, place.parent, member)
        if member.islnk():
            _require_inside(directory, directory / member.linkname, member)
        if place.is_symlink():
            if member.isdir() and place.is_dir():
                _require_inside(directory, place, member)
                continue  # such as lib where another package made it a link to usr/lib
            place.unlink()
        if not member.issym():
            member.mode &= 0o777
        tar.extract(member, directory, numeric_owner=True)


def _require_inside(directory: Path, place: Path, member: tarfile.TarInfo) -> None:
    if not place.resolve().is_relative_to(directory):
        raise tarfile.ExtractError(f"{member.name} leads outside")


def control_of(deb: Path) -> str:
    """The control paragraph of the package ``deb``, which says what it is and needs."""
    from debian.debfile import DebFile

    with DebFile(str(deb)) as package:
        return str(package.control.get_content("control", encoding="utf-8")).strip("\n")
