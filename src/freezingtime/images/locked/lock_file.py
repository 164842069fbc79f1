# SPDX-License-Identifier: GPL-2.0-or-later
"""A lock file: every package that a guest and its QEMU are made of, and what is made of them.

JSON, to be kept in a repository and read by people: one package after the other, by name.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from freezingtime.errors import InputError
from freezingtime.host.document_fault import document_fault
from freezingtime.images.debian.suite import Suite

FORMAT = 1
#: What Debian calls the CPU that guests and QEMUs are for.
ARCHITECTURE = "amd64"

_BYTES_MAX = 16 << 20
_Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9+.-]{0,127}$")]
#: What may be in the name of a package's file here.
_Version = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.+:~-]{1,127}$")]
_Path = re.compile(r"pool(/[\w.+~:%-]+)+\.deb", re.ASCII)


class LockedPackage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One package, and where a mirror of Debian's archive or of its security archive has it."""

    name: _Name
    version: _Version
    architecture: Annotated[str, msgspec.Meta(pattern="^(all|amd64)$")]
    sha256: _Sha256
    size_bytes: _Count
    path: str


class LockedRoot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The guest's root disk."""

    file_system: Literal["btrfs", "ext4", "xfs"]
    size_bytes: Annotated[int, msgspec.Meta(gt=0, le=16 << 40, multiple_of=512)]


class LockedGuest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A guest image: what it is made of, and what must come out."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,40}$")]
    image_id: _Sha256
    builder: _Sha256
    """Identifies the sources of freezingtime that put it together."""
    suite: str
    kernel_release: str
    root: LockedRoot | None
    not_installed: tuple[_Name, ...]
    """The packages that are in the image, but not installed in the system on its root disk."""
    packages: tuple[LockedPackage, ...]

    @property
    def kernel_package(self) -> str:
        """Return the name of the kernel's package."""
        return f"linux-image-{self.kernel_release}"


class LockedQemu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A QEMU with all that it needs."""

    suite: str
    sha256: _Sha256
    """Of its program."""
    packages: tuple[LockedPackage, ...]


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Locked packages of a guest and its QEMU."""

    format: int = msgspec.field(default_factory=lambda: FORMAT)
    freezingtime: str
    """The version that wrote it."""
    architecture: str = msgspec.field(default_factory=lambda: ARCHITECTURE)
    guest: LockedGuest
    qemu: LockedQemu | None

    def to_json(self) -> bytes:
        """Return the text of the file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @property
    def digest(self) -> str:
        """The SHA-256 of what it says, whatever the file's white space."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


class _LockEnvelope(msgspec.Struct):
    """Fields common to every version's lock."""

    format: int
    freezingtime: str
    architecture: str


def read_lock(path: Path) -> Lock:
    """Read a lock file.

    Raises:
        InputError: it cannot be read, or is none; the text names the file and the key.
    """
    about = f"--locked {path}"
    try:
        with path.open("rb") as file:
            text = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(
            f"{about}: {error.strerror}; name a file that 'freezingtime lock' has written"
        ) from error
    if len(text) > _BYTES_MAX:
        raise InputError(f"{about}: has more than {_BYTES_MAX} bytes, which is no lock file's")
    try:
        return _parse(text)
    except (msgspec.DecodeError, RecursionError, InputError) as error:
        raise InputError(
            f"{about}: {document_fault(error)}; write it anew with 'freezingtime lock'"
        ) from error


def _parse(text: bytes) -> Lock:
    envelope = msgspec.json.decode(text, type=_LockEnvelope)
    if envelope.format != FORMAT:
        raise InputError(
            f"its format is {envelope.format}, not {FORMAT}: freezingtime {envelope.freezingtime} "
            "wrote it; use that version"
        )
    if envelope.architecture != ARCHITECTURE:
        raise InputError(f"is for another CPU ({envelope.architecture}, not {ARCHITECTURE})")
    try:
        lock = msgspec.json.decode(text, type=Lock)
    except msgspec.ValidationError as error:
        raise InputError(_with_number(str(error), msgspec.json.decode(text))) from error
    Suite.parse(lock.guest.suite, "guest.suite")
    _require_packages("guest", lock.guest.packages)
    names = {package.name for package in lock.guest.packages}
    for key, wanted in (
        ("kernel_release", (lock.guest.kernel_package,)),
        ("not_installed", lock.guest.not_installed),
    ):
        if missing := sorted({*wanted} - names):
            raise InputError(f"guest.{key}: {missing[0]} is not among guest.packages")
    if lock.qemu is not None:
        Suite.parse(lock.qemu.suite, "qemu.suite")
        _require_packages("qemu", lock.qemu.packages)
    return lock


def _require_packages(room: str, packages: tuple[LockedPackage, ...]) -> None:
    names = set()
    for package in packages:
        if package.name in names:
            raise InputError(f"{room}.packages: {package.name} is there twice")
        names.add(package.name)
        if not _Path.fullmatch(package.path) or ".." in package.path.split("/"):
            raise InputError(
                f"{room}.packages: {package.name}: path {package.path!r} is none of a mirror's, "
                "such as pool/main/f/fio/fio_3.33-3_amd64.deb"
            )
    if not packages:
        raise InputError(f"{room}.packages: there are none")


def _with_number(said: str, document: Any) -> str:
    """Add the package's number to an error in which msgspec only says that it is one of them."""
    for room in ("guest", "qemu"):
        if f"`$.{room}.packages[...]" not in said:
            continue
        for number, package in enumerate(document[room]["packages"]):
            try:
                msgspec.convert(package, LockedPackage)
            except msgspec.ValidationError:
                return said.replace("[...]", f"[{number}]")
    return said
