# SPDX-License-Identifier: GPL-2.0-or-later
"""Choice of the mirror for Debian's packages: the user's, else the host's, else Debian's.

The host's apt is asked for no more than that. What it reaches, this reaches as well: it may be
all that a network lets through.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from freezingtime.errors import InputError
from freezingtime.images.debian.tools import run_tool

#: The mirror, and behind a space that of the security archive.
MIRROR_VARIABLE = "FREEZINGTIME_DEBIAN_MIRROR"
#: A file with the keys, for a mirror that others have signed.
KEYRING_VARIABLE = "FREEZINGTIME_DEBIAN_KEYRING"

_DEBIANS_MIRROR = "http://deb.debian.org/debian"
_DEBIANS_SECURITY_MIRROR = "http://deb.debian.org/debian-security"

#: What `apt-get --print-uris update` says of a mirror of Debian's: one that ends in its name, a
#: list of such mirrors, or one of a past day.
_HOSTS_MIRROR = re.compile(
    r"^'(\S+/debian(-security)?(?:\.list|/\d{8}T\d{6}Z)?)/?/dists/[^/\s]+/main/", re.MULTILINE
)
#: What the user may name.
_URI = re.compile(r"(https?://[^/\s]+|file:)/\S*")
#: A file of the host's with such addresses, one a line.
_LIST = "mirror+file:"


class DebianMirror(NamedTuple):
    """Addresses of Debian's archive and security archive; ``said_by`` names their origin."""

    archive: str
    security: str
    said_by: str
    may_be_expired: bool = False
    """Whether lists of packages count beyond their time, as in a mirror that stands still."""


def find_mirror() -> DebianMirror:
    """The mirror to use.

    Raises InputError when the user names one that is none.
    """
    named = os.environ.get(MIRROR_VARIABLE, "").split()
    if len(named) > 2 or not all(map(_URI.fullmatch, named)):
        raise InputError(
            f"{MIRROR_VARIABLE}: must be the address of a mirror of Debian's archive, then a "
            f"space and that of its security archive, such as '{_DEBIANS_MIRROR} "
            f"{_DEBIANS_SECURITY_MIRROR}'"
        )
    hosts_archive, hosts_security = ("", "") if len(named) == 2 else _hosts_mirror()
    may_be_expired = False
    if named:
        archive, said_by = named[0], MIRROR_VARIABLE
    elif hosts_archive:
        archive, said_by = hosts_archive, "the host's apt sources"
        may_be_expired = _host_takes_expired_lists()
    else:
        archive, said_by = _DEBIANS_MIRROR, "default"
    security = named[1] if len(named) == 2 else hosts_security or _DEBIANS_SECURITY_MIRROR
    return DebianMirror(archive.rstrip("/"), security.rstrip("/"), said_by, may_be_expired)


def _hosts_mirror() -> tuple[str, str]:
    """The host's mirror of Debian's archive and of its security archive; "" where it has none."""
    if shutil.which("apt-get") is None:
        return "", ""
    # This reads the sources and nothing else: no lists need be there, and none are fetched.
    printed = run_tool(["apt-get", "--print-uris", "update"], check=False).stdout
    found: dict[bool, str] = {}
    for uri, security in _HOSTS_MIRROR.findall(printed):
        if usable := _usable(uri):
            found.setdefault(bool(security), usable)
    return found.get(False, ""), found.get(True, "")


def _host_takes_expired_lists() -> bool:
    """Whether the host's administrator has told apt that its mirror may stand still."""
    question = ["apt-config", "shell", "checks", "Acquire::Check-Valid-Until/b"]
    return run_tool(question, check=False).stdout.strip() == "checks='false'"


def _usable(uri: str) -> str:
    """The address that one of apt's stands for; "" if only apt can make use of it."""
    if not uri.startswith(_LIST):
        return uri if _URI.fullmatch(uri) else ""
    try:
        listed = Path(uri.removeprefix(_LIST)).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return next((line for line in listed.split() if _URI.fullmatch(line)), "")
