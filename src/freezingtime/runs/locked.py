# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs from a lock file: in its guest and with its QEMU, whatever has been built since."""

from __future__ import annotations

from pathlib import Path

from freezingtime.errors import InputError
from freezingtime.host.replaced_file import replaced, require_place
from freezingtime.images.builder import builder_identity
from freezingtime.images.check import is_sound
from freezingtime.images.debian.packages import Progress
from freezingtime.images.guest_image import GuestImage, find_image_by_id
from freezingtime.images.locked.lock_file import Lock, read_lock
from freezingtime.images.locked.make import lock_guest, make_lock
from freezingtime.images.names import MINI
from freezingtime.images.qemu import ready_qemu
from freezingtime.runs.guest import ready_image, require_image
from freezingtime.runs.options import RunOptions


def require_options_of_lock(lock: Lock, options: RunOptions) -> None:
    """See to it that options ask for no other guest and QEMU than those of the lock.

    Raises:
        InputError: one does.
    """
    about = f"--locked {options.locked}"
    if options.guest not in (None, lock.guest.name):
        raise InputError(
            f"--guest {options.guest}: {about} is of the guest {lock.guest.name}; leave out one"
        )
    if options.qemu is not None and lock.qemu is not None:
        raise InputError(f"--qemu {options.qemu}: {about} has a QEMU; leave out one")


def ready_locked_image(lock: Lock, progress: Progress) -> GuestImage:
    """Return the image that a lock names, built of its packages if it is not there.

    Raises:
        InputError: another version's sources built it, or this host cannot build it.
        RunError: a package can no longer be had, or another image came out.
    """
    image = find_image_by_id(lock.guest.image_id)
    if image is not None and is_sound(image):
        return image
    guest = lock.guest
    if guest.builder != builder_identity(has_root=guest.root is not None):
        raise InputError(
            f"--locked: its guest was built by other sources, those of freezingtime "
            f"{lock.freezingtime}: use that version, or write the lock anew with "
            "'freezingtime lock'"
        )
    # Here, as it takes libraries that a run of an image that is there need not wait for.
    from freezingtime.images.locked.build import build_locked_image

    return build_locked_image(guest, progress)


def ready_qemu_of_lock(lock: Lock | None, name: str | None, progress: Progress) -> str | None:
    """Return what ``--qemu`` is to be for a run: the lock's QEMU, fetched if need be, or ``name``.

    Raises:
        InputError: there is no such QEMU.
        RunError: a package can no longer be had, or cannot be fetched or unpacked.
    """
    if lock is None or lock.qemu is None:
        ready_qemu(name, progress)
        return name
    from freezingtime.images.locked.qemu import ready_locked_qemu

    return ready_locked_qemu(lock.qemu, progress)


def build_from_lock(path: Path, progress: Progress) -> GuestImage:
    """Return the image of a lock file, as :func:`ready_locked_image` does.

    Raises:
        InputError: the file is no lock; or as there.
        RunError: as there.
    """
    return ready_locked_image(read_lock(path), progress)


def write_lock(path: Path, guest: str | None, qemu: str | None, progress: Progress) -> Lock:
    """Write the lock of a guest, which is built if need be, and of a QEMU.

    Raises:
        InputError: a lock cannot hold them, or the file cannot be written.
        RunError: one cannot be fetched or built.
    """
    name = guest or MINI
    require_image(name)
    require_place("--out", path)
    # Here, as it takes libraries that other runs need not wait for.
    from freezingtime.images.locked.qemu import lock_qemu

    image = ready_image(name, progress)
    lock = make_lock(lock_guest(image), lock_qemu(qemu, progress))
    try:
        with replaced(path) as file:
            file.write(lock.to_json())
    except OSError as error:
        raise InputError(
            f"--out {path}: {error.strerror or error}; name a file in a directory with room"
        ) from error
    return lock
