# SPDX-License-Identifier: GPL-2.0-or-later
"""A small mirror of made-up suites, signed with a throw-away key, to be read as file:."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
from email.utils import formatdate
from pathlib import Path

from tests.conftest import require_tool

#: What a package must have to be taken for a QEMU.
_FILES = ("usr/bin/qemu-system-x86_64", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")


class SmallMirror:
    """A directory with ``debian`` and ``debian-security``, both signed with ``keyring``'s key."""

    def __init__(self, directory: Path) -> None:
        for tool in ("gpg", "dpkg-deb"):
            require_tool(tool)
        self.directory = directory
        self.keyring = directory / "key.gpg"
        self._home = directory / "gnupg"
        self._home.mkdir(mode=0o700)
        self._gpg("--passphrase", "", "--quick-generate-key", "test", "ed25519", "sign", "never")
        self._gpg("--output", str(self.keyring), "--export")

    @property
    def addresses(self) -> str:
        """What FREEZINGTIME_DEBIAN_MIRROR is to say."""
        return f"file:{self.directory}/debian file:{self.directory}/debian-security"

    def add_suite(self, name: str, *, version: str, security: str = "") -> None:
        """A suite with the package ``tool``, maybe of another version in its security part."""
        self.add_part(f"debian/dists/{name}", version)
        self.add_part(f"debian/dists/{name}-updates", "")
        self.add_part(f"debian-security/dists/{name}-security", security)

    def add_part(
        self, place: str, version: str, *, package: str = "tool", hash_names: bool = False
    ) -> Path:
        """A part with the package, or with none if it has no version; return the package's file.

        With ``hash_names`` its list is to be had by its digest only.
        """
        part = self.directory / place
        index = part / "main" / "binary-amd64"
        index.mkdir(parents=True)
        archive = part.parents[1]
        deb = archive / "pool" / f"{package}_{version}_all.deb"
        text = self._make_package(package, version, deb) if version else ""
        packed = gzip.compress(text.encode(), mtime=0)
        (index / "Packages.gz").write_bytes(packed)
        sums = "".join(
            f" {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-amd64/{file}\n"
            for file, data in (("Packages", text.encode()), ("Packages.gz", packed))
        )
        if hash_names:
            place_by_hash = index / "by-hash" / "SHA256"
            place_by_hash.mkdir(parents=True)
            (index / "Packages.gz").rename(place_by_hash / hashlib.sha256(packed).hexdigest())
        (part / "Release").write_text(
            f"Origin: Test\nSuite: {part.name}\nCodename: {part.name}\nComponents: main\n"
            f"Architectures: amd64\nDate: {formatdate(usegmt=True)}\n"
            f"Acquire-By-Hash: {'yes' if hash_names else 'no'}\nSHA256:\n{sums}"
        )
        self.sign(part)
        return deb

    def sign(self, part: Path) -> None:
        """Sign a part's list of index files as it is."""
        (part / "InRelease").unlink(missing_ok=True)
        self._gpg("--output", str(part / "InRelease"), "--clearsign", str(part / "Release"))

    def _make_package(self, name: str, version: str, deb: Path) -> str:
        tree = self.directory / f"{name}-{version}"
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\n"
            "Description: for a test\n"
        )
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN" / "control").write_text(control)
        for path in (*_FILES, "tool"):
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(version)
        deb.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["dpkg-deb", "-Znone", "--build", tree, deb], check=True, capture_output=True
        )
        data = deb.read_bytes()
        return (
            f"{control}Filename: pool/{deb.name}\nSize: {len(data)}\n"
            f"SHA256: {hashlib.sha256(data).hexdigest()}\n\n"
        )

    def _gpg(self, *arguments: str) -> None:
        command = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", *arguments]
        environment = {**os.environ, "GNUPGHOME": str(self._home)}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        # Each starts an agent, which would stay.
        subprocess.run(["gpgconf", "--homedir", self._home, "--kill", "all"], check=False)
