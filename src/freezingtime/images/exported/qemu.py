# SPDX-License-Identifier: GPL-2.0-or-later
"""The QEMU of an exported file, put where one is that was fetched from its suite."""

from __future__ import annotations

from pathlib import Path

from freezingtime.errors import InputError
from freezingtime.images.debian.packages import Progress
from freezingtime.images.exported.description import QEMU_PART, ExportedQemu
from freezingtime.images.exported.export import QemuToExport
from freezingtime.images.exported.parts import PartsReader
from freezingtime.images.exported.tree import write_tree
from freezingtime.images.qemu import fetch_qemu, requested_suite
from freezingtime.vm.qemu.program import debian_directory, find_qemu


def qemu_to_export(name: str, progress: Progress) -> QemuToExport:
    """The QEMU of a suite, fetched if need be.

    Raises:
        InputError: ``name`` is no such.
        RunError: it cannot be fetched.
    """
    suite = requested_suite(name)
    if suite is None:
        raise InputError(
            f"--qemu {name}: only a QEMU that is fetched can be put into the file: auto, or "
            "debian:SUITE"
        )
    root = fetch_qemu(suite, progress)
    return QemuToExport(suite.name, root, find_qemu(str(root)).sha256)


def needs_exported_qemu(exported: ExportedQemu | None) -> bool:
    """Whether a file has a QEMU that is not here.

    Raises:
        InputError: another of that suite is.
    """
    if exported is None:
        return False
    place = debian_directory(exported.suite)
    if not place.is_dir():
        return True
    if find_qemu(str(place)).sha256 != exported.sha256:
        raise InputError(
            f"another QEMU of {exported.suite} than the file's is in {place}; remove that directory"
        )
    return False


def unpack_exported_qemu(
    parts: PartsReader, exported: ExportedQemu, building: Path, progress: Progress
) -> None:
    """Unpack the QEMU of a file into an empty directory.

    Raises:
        InputError: it is damaged.
        OSError: there is no room for it.
    """
    progress("take in its QEMU", 0, 1)
    write_tree(exported.tree, parts.pieces(QEMU_PART), building)
    if find_qemu(str(building)).sha256 != exported.sha256:
        raise InputError("is damaged: its QEMU is another than it says")
