# SPDX-License-Identifier: GPL-2.0-or-later
"""A suite's packages, checked with Debian's own keys: the same on whatever host.

The keys are a file of this package's, so that what is trusted is the same everywhere, too: the
public keys of Debian's archive, as the package debian-archive-keyring (2023.3+deb12u2) has them in
/usr/share/keyrings. They are facts, under no copyright.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from freezingtime.images.debian.mirror import KEYRING_VARIABLE, find_mirror
from freezingtime.images.debian.packages import PackageArchive, Sources
from freezingtime.images.debian.release import read_keyring
from freezingtime.images.debian.suite import Suite

_KEYRING = "debian-archive-keyring.gpg"


def open_archive(directory: Path, suite: Suite) -> PackageArchive:
    """The packages of a suite; what is kept of them is kept in ``directory``.

    The caller sees to it that no other process uses that at the same time.

    Raises:
        InputError: the user names a mirror or a keyring that is none.
    """
    mirror = find_mirror()
    parts = [(mirror.archive, part) for part in suite.main_parts]
    parts += [(mirror.security, part) for part in suite.security_parts]
    if named := os.environ.get(KEYRING_VARIABLE):
        keyring = named
        keys = read_keyring(Path(named), f"{KEYRING_VARIABLE} {named}")
    else:
        keyring = "Debian's"
        with resources.as_file(resources.files(__package__) / _KEYRING) as path:
            keys = read_keyring(path, str(path))
    sources = Sources(
        suite.name,
        tuple(parts),
        tuple(keys),
        keyring,
        mirror.said_by,
        suite.preferred_part,
        mirror.may_be_expired,
    )
    return PackageArchive(directory / suite.name, sources)
