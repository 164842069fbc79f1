# SPDX-License-Identifier: GPL-2.0-or-later
"""The QEMU of a lock: with the very libraries, found in the cache or fetched by its packages."""

from __future__ import annotations

import hashlib
from pathlib import Path

from freezingtime.errors import InputError, RunError
from freezingtime.images.debian.mirror import find_mirror
from freezingtime.images.debian.packages import Progress
from freezingtime.images.debian.suite import Suite
from freezingtime.images.guest_image import images_lock_path
from freezingtime.images.locked.archive import LockedArchive
from freezingtime.images.locked.lock_file import LockedQemu
from freezingtime.images.locked.make import lock_packages
from freezingtime.images.qemu import (
    fetch_qemu,
    read_qemu_packages,
    requested_suite,
    unpack_qemu,
)
from freezingtime.store.cache import exclusive_lock, require_writable_cache
from freezingtime.vm.qemu.program import debian_directory, find_qemu, requested_qemu

_ID_DIGITS = 12


def lock_qemu(name: str | None, progress: Progress) -> LockedQemu | None:
    """Return the locked packages of this QEMU, fetching it if need be; None: not a suite's.

    Raises:
        InputError: there is no such suite, or runs here have another.
        RunError: it cannot be fetched.
    """
    suite = requested_suite(name)
    if suite is None:
        return None
    root = fetch_qemu(suite, progress)
    fetched, used = find_qemu(str(root)), find_qemu(name)
    if fetched.sha256 != used.sha256:
        raise InputError(
            f"--qemu {requested_qemu(name)}: runs here have {used.path}, and the suite "
            f"{suite.name} has another by now; lock that one with --qemu debian:{suite.name}, or "
            "none with --qemu system"
        )
    packages = lock_packages(
        read_qemu_packages(root), f"the QEMU in {root}", "remove that directory, and lock again"
    )
    return LockedQemu(suite=suite.name, sha256=fetched.sha256, packages=packages)


def ready_locked_qemu(locked: LockedQemu, progress: Progress) -> str:
    """Return the directory of a lock's QEMU, as ``--qemu`` takes it; it is fetched if need be.

    Raises:
        RunError: a package can no longer be had, or another program is in them.
    """
    suite = Suite.parse(locked.suite, "qemu.suite")
    if (there := _find(locked)) is not None:
        return str(there)
    root = require_writable_cache()
    with exclusive_lock(images_lock_path(), lambda holder: progress(holder, 0, 1)):
        if (there := _find(locked)) is not None:
            return str(there)
        archive = LockedArchive(root / "debian", suite, find_mirror(), locked.packages)
        suite_place, own_place = _places(locked)
        final = own_place if suite_place.exists() else suite_place
        try:
            archive.fetch("", progress)
            packages = [archive.candidate(package.name) for package in locked.packages]
            progress("unpack the locked QEMU", 0, 1)
            unpack_qemu(archive, packages, final, locked.sha256)
        except OSError as error:
            raise RunError(
                f"cannot store the locked QEMU in {root} ({error}): free some space, or set "
                "XDG_CACHE_HOME to another directory"
            ) from error
    return str(final)


def _find(locked: LockedQemu) -> Path | None:
    wanted = {package.sha256 for package in locked.packages}
    for place in _places(locked):
        if place.is_dir() and {each.sha256 for each in read_qemu_packages(place)} == wanted:
            return place
    return None


def _places(locked: LockedQemu) -> tuple[Path, Path]:
    """Return its possible directories: that of its suite, or one of its own."""
    digests = sorted(package.sha256 for package in locked.packages)
    own = hashlib.sha256("".join(digests).encode()).hexdigest()[:_ID_DIGITS]
    return debian_directory(locked.suite), debian_directory(f"{locked.suite}-{own}")
