# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU of a suite of Debian's, unpacked into the cache: no root, and nothing installed.

It comes with all the libraries that it needs and is started by its own dynamic loader, so it is the
same QEMU whatever the host runs. Once it is there it stays as it is: guest time is exact for a
build of QEMU, and another build is a few nanoseconds off.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from freezingtime.clock.agent import agent_path
from freezingtime.errors import FreezingTimeError, RunError
from freezingtime.host.json_document import write_document
from freezingtime.images.debian.archive import open_archive
from freezingtime.images.debian.package import Package, unpack
from freezingtime.images.debian.packages import PackageArchive, Progress
from freezingtime.images.debian.suite import Suite
from freezingtime.images.guest_image import PackageVersion, images_lock_path, package_version
from freezingtime.store.cache import (
    cache_directory,
    exclusive_lock,
    publish,
    require_writable_cache,
    storing,
    unfinished_directory,
)
from freezingtime.vm.qemu.program import (
    AUTO,
    DEBIAN,
    PINNED_SHA256,
    PINNED_SUITE,
    PINNED_VERSION,
    SYSTEM,
    VARIABLE,
    debian_directory,
    find_qemu,
    pinned_qemu,
    requested_qemu,
)

_PACKAGE = "qemu-system-x86"
#: Which packages it was unpacked from.
_PACKAGES = "packages.json"

_log = logging.getLogger(__name__)


def ready_qemu(name: str | None, report: Progress) -> None:
    """See to it that what is asked for is there, if it is the pinned QEMU or named by its suite.

    Raises:
        InputError: there is no such suite, or no agent that a QEMU could run with.
        RunError: its packages cannot be fetched or unpacked.
    """
    agent_path()  # before anything is fetched in vain
    suite = requested_suite(name)
    if requested_qemu(name) != AUTO and suite is not None:
        fetch_qemu(suite, report)
    elif suite is not None and pinned_qemu() is None:
        _fetch_pinned(report)


def _fetch_pinned(report: Progress) -> None:
    require_writable_cache()  # no other QEMU would help with one that is not
    try:
        root = fetch_qemu(Suite(PINNED_SUITE), report)
    except FreezingTimeError as error:
        raise type(error)(
            f"cannot fetch the pinned QEMU ({error}); "
            f"--qemu {SYSTEM} takes the one that is installed"
        ) from error
    if find_qemu(str(root)).sha256 != PINNED_SHA256:
        _log.warning(
            "Debian %s has another QEMU by now than the pinned %s: guest times may be some "
            "nanoseconds off those of other hosts",
            PINNED_SUITE,
            PINNED_VERSION,
        )


def fetch_qemu(suite: Suite, report: Progress) -> Path:
    """Return the directory with a suite's QEMU, fetched if it is not there.

    Raises:
        InputError: there is no such suite.
        RunError: its packages cannot be fetched or unpacked.
    """
    final = debian_directory(suite.name)
    if final.is_dir():
        return final
    require_writable_cache()
    with exclusive_lock(images_lock_path(), lambda holder: report(holder, 0, 1)):
        if not final.is_dir():  # another process may have fetched it meanwhile
            with storing(f"unpack the QEMU of {suite.name} in {final.parent}"):
                _fetch(suite, final, report)
    return final


def _fetch(suite: Suite, final: Path, report: Progress) -> None:
    archive = open_archive(cache_directory() / "debian", suite)
    step = f"fetch the QEMU of {suite.name}"
    report(step, 0, 3)
    archive.update()
    report(step, 1, 3)
    packages = archive.with_dependencies([_PACKAGE])
    archive.download(packages)
    report(step, 2, 3)
    unpack_qemu(archive, packages, final)
    report(step, 3, 3)


def unpack_qemu(
    archive: PackageArchive, packages: Iterable[Package], final: Path, sha256: str | None = None
) -> None:
    """Unpack a QEMU's packages into the new directory ``final``, and note there which they are.

    ``sha256``: that of the program that must be in them. The caller holds the lock of the images.

    Raises:
        RunError: one cannot be had or unpacked, or another program is in them.
        OSError: there is no room.
    """
    ordered = sorted(packages, key=lambda package: package.name)
    with unfinished_directory(final.parent) as building:
        for deb in archive.download(ordered):
            unpack(deb, building)
        if sha256 is not None and (found := find_qemu(str(building)).sha256) != sha256:
            raise RunError(f"the QEMU of the locked packages is {found}, not {sha256}")
        write_document(building / _PACKAGES, [package_version(package) for package in ordered])
        publish(building, final)


def read_qemu_packages(root: Path) -> list[PackageVersion]:
    """The packages of a QEMU that was fetched; none, if nothing was noted of them."""
    try:
        return msgspec.json.decode((root / _PACKAGES).read_bytes(), type=list[PackageVersion])
    except (OSError, ValueError):
        return []


def requested_suite(name: str | None) -> Suite | None:
    """The suite that the QEMU of a name is fetched from; None: it is no such.

    Raises:
        InputError: there can be no such suite.
    """
    requested = requested_qemu(name)
    if requested == AUTO:
        return Suite(PINNED_SUITE)
    if not requested.startswith(DEBIAN):
        return None
    option = "--qemu" if name else VARIABLE
    return Suite.parse(requested.removeprefix(DEBIAN), f"{option} {requested}")
