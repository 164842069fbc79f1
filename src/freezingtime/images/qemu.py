# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU of a suite of Debian's, unpacked into the cache: no root, and nothing installed.

It comes with all the libraries that it needs and is started by its own dynamic loader, so it is the
same QEMU whatever the host runs. Once it is there it stays as it is: guest time is exact for a
build of QEMU, and another build is a few nanoseconds off.
"""

from __future__ import annotations

from pathlib import Path

from freezingtime.images.debian.archive import open_archive
from freezingtime.images.debian.package import unpack
from freezingtime.images.debian.packages import Progress
from freezingtime.images.debian.suite import Suite
from freezingtime.images.guest_image import images_lock_path
from freezingtime.store.cache import (
    cache_directory,
    exclusive_lock,
    publish,
    require_writable_cache,
    unfinished_directory,
)
from freezingtime.vm.qemu.program import DEBIAN, VARIABLE, debian_directory, requested_qemu

_PACKAGE = "qemu-system-x86"


def ready_qemu(name: str | None, report: Progress) -> None:
    """See to it that a QEMU that is named by its suite, as ``debian:trixie``, is in the cache.

    Raises:
        InputError: there is no such suite, or this host cannot fetch packages.
        RunError: its packages cannot be fetched or unpacked.
    """
    requested = requested_qemu(name)
    if requested.startswith(DEBIAN):
        option = "--qemu" if name else VARIABLE
        fetch_qemu(Suite.parse(requested.removeprefix(DEBIAN), f"{option} {requested}"), report)


def fetch_qemu(suite: Suite, report: Progress) -> Path:
    """Return the directory with a suite's QEMU, fetched if it is not there.

    Raises:
        InputError: there is no such suite, or this host cannot fetch packages.
        RunError: its packages cannot be fetched or unpacked.
    """
    final = debian_directory(suite.name)
    if final.is_dir():
        return final
    require_writable_cache()
    with exclusive_lock(images_lock_path(), lambda holder: report(holder, 0, 1)):
        if not final.is_dir():  # another process may have fetched it meanwhile
            _fetch(suite, final, report)
    return final


def _fetch(suite: Suite, final: Path, report: Progress) -> None:
    archive = open_archive(cache_directory() / "debian", suite)
    step = f"fetch the QEMU of {suite.name}"
    report(step, 0, 3)
    archive.update()
    report(step, 1, 3)
    debs = archive.download(archive.with_dependencies([_PACKAGE]))
    with unfinished_directory(final.parent) as building:
        report(step, 2, 3)
        for deb in debs:
            unpack(deb, building)
        publish(building, final)
    report(step, 3, 3)
