# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU program that runs the machine: installed, or unpacked in a directory of its own.

A directory into which a distribution's packages were unpacked is a QEMU as well, whatever the host
has: it is started by its own dynamic loader, with its own libraries, modules and firmware. Those
of Debian's suites are unpacked in the cache, and named by their suite.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from freezingtime.errors import InputError
from freezingtime.store.cache import cache_directory

PROGRAM_NAME = "qemu-system-x86_64"

#: Environment variable that names the QEMU if no --qemu does.
VARIABLE = "FREEZINGTIME_QEMU"

#: The pinned QEMU, and the one that is installed.
AUTO, SYSTEM = "auto", "system"
#: Before the name of a suite: the QEMU that Debian has there.
DEBIAN = "debian:"

#: Of those that are exact, the fastest; see docs/explanation/qemus.md.
PINNED_SUITE = "bookworm"
PINNED_VERSION = "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)"
#: Of its program.
PINNED_SHA256 = "1493008ba0036014c727bb23bbe2f399135867e9b5c4fe288ef2b4b816f46b0c"

#: It starts no process, gains no rights, and changes no limits, priorities or CPUs.
_SANDBOX = (
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
)
#: There if the kernel filters system calls.
_SECCOMP = Path("/proc/sys/kernel/seccomp/actions_avail")

_PROGRAM = "usr/bin/qemu-system-x86_64"
_LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
_LOADER = "ld-linux-x86-64.so.2"
_MODULES = "usr/lib/x86_64-linux-gnu/qemu"
_FIRMWARE = ("usr/share/qemu", "usr/share/seabios")


@dataclass(frozen=True, slots=True)
class QemuProgram:
    """Command and environment that start one QEMU."""

    path: Path
    """The binary."""
    root: Path | None = None
    """The directory that holds all that it needs; None: it is installed."""

    @property
    def command(self) -> list[str]:
        """Return the command that starts it, before any option of QEMU's."""
        if self.root is None:
            return [str(self.path)]
        libraries = [self.root / name for name in _LIBRARIES if (self.root / name).is_dir()]
        return [
            str(_find_loader(self.root)),
            *("--library-path", ":".join(map(str, libraries))),
            str(self.path),
        ]

    @property
    def sha256(self) -> str:
        """The SHA-256 of the binary; InputError if it cannot be read."""
        try:
            status = self.path.stat()
            return _sha256(self.path, status.st_mtime_ns, status.st_size)
        except OSError as error:
            raise InputError(
                f"--qemu {self.path}: {error.strerror}; name a readable file"
            ) from error

    @property
    def options(self) -> list[str]:
        """QEMU options: the location of its firmware, and its sandbox, where it has one."""
        words = [*_SANDBOX] if self.has_sandbox else []
        if self.root is not None:
            words += [word for name in _FIRMWARE for word in ("-L", str(self.root / name))]
        return words

    @property
    def has_sandbox(self) -> bool:
        """Whether it can give up system calls that it does not need, and so can the host."""
        return _SECCOMP.exists() and _needs_library(self.path, "libseccomp")

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for the location of its modules."""
        return {} if self.root is None else {"QEMU_MODULE_DIR": str(self.root / _MODULES)}


def requested_qemu(name: str | None) -> str:
    """Return the name; for None, what the environment names, or the pinned one."""
    return name or os.environ.get(VARIABLE) or AUTO


def debian_directory(suite: str) -> Path:
    """Return the directory of a suite's QEMU, once it is fetched."""
    return cache_directory() / "qemus" / suite


def find_qemu(name: str | None = None) -> QemuProgram:
    """Find a QEMU by its program's name, a path, its unpacked directory, or ``debian:SUITE``.

    ``auto``: the pinned one; ``system``: the one that is installed. None: the one that the
    environment names, or the pinned one.

    Raises:
        InputError: there is none.
    """
    name = requested_qemu(name)
    if name == AUTO:
        if (pinned := pinned_qemu()) is not None:
            return pinned
        raise InputError(
            f"the pinned QEMU ({PINNED_VERSION}) is not there yet; 'freezingtime run' fetches it, "
            f"or take the one that is installed with --qemu {SYSTEM}"
        )
    if name.startswith(DEBIAN):
        return _find_debian(name)
    if _is_directory(root := Path(name)):
        return _find_unpacked(root.resolve())
    program = PROGRAM_NAME if name == SYSTEM else name
    found = shutil.which(program)
    if found is None:
        raise InputError(
            f"{program} is not installed; install it with 'apt-get install qemu-system-x86', "
            f"or leave --qemu at {AUTO}, which is fetched"
        )
    return QemuProgram(Path(found))


def pinned_qemu() -> QemuProgram | None:
    """Return the pinned QEMU, installed or from the cache; None: it has to be fetched."""
    installed = shutil.which(PROGRAM_NAME)
    if installed is not None and os.access(installed, os.R_OK):
        qemu = QemuProgram(Path(installed))
        if qemu.sha256 == PINNED_SHA256:
            return qemu
    root = debian_directory(PINNED_SUITE)
    return _find_unpacked(root) if root.is_dir() else None


@lru_cache
def _sha256(path: Path, _mtime_ns: int, _size_bytes: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache
def _needs_library(path: Path, name: str) -> bool:
    """Whether a program is linked with a library whose name begins so."""
    try:
        with path.open("rb") as file:
            dynamic = ELFFile(file).get_section_by_name(".dynamic")
            if not isinstance(dynamic, DynamicSection):
                return False
            needed = [vars(tag)["needed"] for tag in dynamic.iter_tags("DT_NEEDED")]
            return any(library.startswith(name) for library in needed)
    except (OSError, ELFError):
        return False  # who starts it finds out what is wrong with it


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError:
        return False  # nor may it be looked for in a working directory that may not be read


def _find_debian(name: str) -> QemuProgram:
    suite = name.removeprefix(DEBIAN)
    root = debian_directory(suite)
    if not re.fullmatch(r"[a-z-]+", suite) or not root.is_dir():
        raise InputError(f"{name}: not fetched yet; 'freezingtime run --qemu {name}' fetches it")
    return _find_unpacked(root)


def _find_unpacked(root: Path) -> QemuProgram:
    program = root / _PROGRAM
    if not program.is_file():
        raise InputError(
            f"--qemu {root}: contains no {_PROGRAM}; name a program, or a directory with QEMU's "
            "unpacked packages and their dependencies"
        )
    _find_loader(root)
    return QemuProgram(program, root)


def _find_loader(root: Path) -> Path:
    for directory in _LIBRARIES:
        if (loader := root / directory / _LOADER).is_file():
            return loader
    raise InputError(
        f"--qemu {root}: contains no {_LOADER}; unpack the C library's package (libc6) there, too"
    )
