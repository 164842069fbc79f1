# SPDX-License-Identifier: GPL-2.0-or-later
"""A suite's packages, checked with Debian's own keys: the same on whatever host.

The keys are those of the package debian-archive-keyring. Where the host does not have it (Ubuntu
need not), the host's apt fetches it from the host's own sources, which vouch for it as for
everything that is installed there.
"""

from __future__ import annotations

import os
from pathlib import Path

from freezingtime.errors import FreezingTimeError, InputError
from freezingtime.images.debian.mirror import KEYRING_VARIABLE, find_mirror
from freezingtime.images.debian.packages import (
    KEYRING_PACKAGE,
    AptSources,
    PackageArchive,
    unpack,
)
from freezingtime.images.debian.suite import Suite

_ROOT = Path("/")
_INSTALLED = "usr/share/keyrings/debian-archive-keyring.gpg"
#: What apt takes for a keyring.
_KEYRING_SUFFIXES = (".gpg", ".asc")


def open_archive(directory: Path, suite: Suite) -> PackageArchive:
    """The packages of a suite; what is kept of them is kept in ``directory``.

    The caller sees to it that no other process uses that at the same time.

    Raises:
        InputError: this host cannot fetch packages, or the user names no mirror or keyring.
        RunError: there are no keys to be had.
    """
    PackageArchive.require_tools()
    mirror = find_mirror()
    parts = [(mirror.archive, part) for part in suite.main_parts]
    parts += [(mirror.security, part) for part in suite.security_parts]
    keyring = _find_keyring(directory / "keyring")
    sources = AptSources(suite.name, tuple(parts), keyring, mirror.said_by, suite.preferred_part)
    return PackageArchive(directory / suite.name, sources)


def _find_keyring(directory: Path) -> Path:
    """The file with Debian's keys: the user's, the host's, or one fetched into ``directory``."""
    if named := os.environ.get(KEYRING_VARIABLE):
        keyring = Path(named)
        if keyring.suffix not in _KEYRING_SUFFIXES or not keyring.is_file():
            raise InputError(
                f"{KEYRING_VARIABLE} {named}: must be a file with OpenPGP keys whose name ends in "
                f"{' or '.join(_KEYRING_SUFFIXES)}"
            )
        return keyring.absolute()
    for place in (_ROOT / _INSTALLED, directory / "unpacked" / _INSTALLED):
        if place.is_file():
            return place
    try:
        host = PackageArchive(directory, None)
        host.update()
        (deb,) = host.download([host.candidate(KEYRING_PACKAGE)])
    except FreezingTimeError as error:
        raise type(error)(
            f"Debian's keys are not there, nor to be had by the host's apt: {error}; install the "
            f"package {KEYRING_PACKAGE}, or name its keyring with {KEYRING_VARIABLE}"
        ) from error
    unpack(deb, directory / "unpacked")
    return directory / "unpacked" / _INSTALLED
