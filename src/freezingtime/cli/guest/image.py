# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime image`: the guest images in the cache."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from freezingtime.cli.declared_options import Only, takes_options
from freezingtime.cli.options import group_app
from freezingtime.errors import InputError, did_you_mean
from freezingtime.host.foreign_text import say, show
from freezingtime.images.names import DEFAULT_SUITE, FILE_SYSTEM_NAMES, MINI
from freezingtime.option import Argument, Option, Values
from freezingtime.runs.options import RunOptions
from freezingtime.runs.progress.step_lines import StepLines
from freezingtime.units import Limits, parse_option, parse_size_bytes

if TYPE_CHECKING:
    from freezingtime.images.guest_image import GuestImage

_SIZE = "8GiB"
_SIZE_LIMITS = Limits(512 << 20, 16 << 40, "whole MiB, from 512MiB to 16TiB", unit=1 << 20)

NameArgument: TypeAlias = Annotated[
    str, Argument("NAME", "Name, or prefix of an id, as shown by `image list`.", Values.IMAGE)
]


def build_command(
    kind: Annotated[str, Argument("KIND", "Kind of image: `mini` or `debian`.")] = MINI,
    suite: Annotated[str, Option("NAME", "Debian suite, such as `trixie`.")] = DEFAULT_SUITE,
    packages: Annotated[
        str, Option("NAME,...", "For debian: packages to add to the base system.")
    ] = "",
    size: Annotated[str, Option("SIZE", "For debian: size of the root disk.")] = _SIZE,
    file_system: Annotated[
        str,
        Option(
            "TYPE", f"For debian: file system of the root disk: {', '.join(FILE_SYSTEM_NAMES)}."
        ),
    ] = "ext4",
    name: Annotated[
        str | None,
        Option(
            "NAME",
            "For debian: what `run --guest` will call it. By default `debian`, or such as "
            "`debian-trixie` with `--suite trixie`.",
        ),
    ] = None,
    locked: Annotated[
        Path | None,
        Option(
            "FILE",
            "Build the very image of a file that `freezingtime lock` has written, which says all "
            "of it.",
        ),
    ] = None,
) -> int:
    """Build a guest image from Debian's packages.

    `mini` is a small system in memory; `debian` a whole one, with systemd, on a root disk.
    Either is of the suite that is named, whatever the host is, and called `mini`, or such as
    `mini-trixie`. Does nothing if the image of the newest packages is there already. `debian`
    takes root, or user namespaces with subordinate ids.

    Example: `freezingtime image build debian --packages postgresql,sqlite3,fio`
    """
    from freezingtime.images.build import build_debian_image, build_mini_image
    from freezingtime.images.debian.image import DebianPlan
    from freezingtime.images.debian.suite import Suite
    from freezingtime.images.guest_image import RootDisk
    from freezingtime.runs.locked import build_from_lock

    if locked is not None:
        given = {"KIND": kind != MINI, "--suite": suite != DEFAULT_SUITE, "--packages": packages}
        given |= {"--size": size != _SIZE, "--file-system": file_system != "ext4", "--name": name}
        for option in (option for option, is_given in given.items() if is_given):
            raise InputError(f"{option}: --locked {locked} says all of the image; leave out one")
        with StepLines() as steps:
            _show_image(build_from_lock(locked, steps))
        return 0
    if kind not in (MINI, "debian"):
        raise InputError(
            f"image build {kind}: unknown kind of image; {did_you_mean(kind, (MINI, 'debian'))}"
            "available: mini, debian"
        )
    wanted = Suite.parse(suite, f"--suite {suite}")
    with StepLines() as steps:
        if kind == MINI:
            image = build_mini_image(wanted, steps)
        else:
            size_bytes = parse_option("--size", size, parse_size_bytes, _SIZE_LIMITS)
            root = RootDisk(_file_system(file_system), size_bytes)
            plan = DebianPlan(_packages(packages), root, wanted)
            name = name or ("debian" if wanted.is_default else f"debian-{wanted.name}")
            image = build_debian_image(_name(f"--name {name}", name), plan, steps)
    _show_image(image)
    return 0


def _packages(text: str) -> tuple[str, ...]:
    names = tuple(sorted({name.strip() for name in text.split(",")} - {""}))
    for name in names:
        if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name):
            raise InputError(f"--packages: {name!r} is not a package name, such as postgresql")
    return names


def _file_system(text: str) -> str:
    if text not in FILE_SYSTEM_NAMES:
        raise InputError(f"--file-system {text}: must be one of {', '.join(FILE_SYSTEM_NAMES)}")
    return text


def _name(option: str, text: str) -> str:
    is_mini = text == MINI or text.startswith(f"{MINI}-")
    if is_mini or not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,40}", text):
        raise InputError(
            f"{option}: write up to 41 small letters, digits, '.', '_' or '-', and not 'mini' or "
            "'mini-...'"
        )
    return text


@takes_options()
def import_command(
    source: Annotated[
        str,
        Argument(
            "FILE|NAME",
            "A file that `image export` has written. With `--root-disk`: what `run --guest` "
            "will call your system.",
        ),
    ],
    name: Annotated[
        str | None,
        Option(
            "NAME", "For an exported image: what `run --guest` will call it, if not what it was."
        ),
    ] = None,
    root_disk: Annotated[
        Path | None,
        Option("FILE", "The disk with a system of your own: raw or qcow2. It is copied."),
    ] = None,
    *,
    options: Annotated[RunOptions, Only(["kernel", "initrd", "append", "allow_backing"])],
    with_qemu: Annotated[
        bool,
        Option(
            "",
            "Take in the QEMU of an exported file, too. It is a program that runs on this host: "
            "only if you trust who wrote the file.",
        ),
    ] = False,
) -> int:
    """Take in an exported image, or a system of your own under a name.

    An image that `image export` wrote is here what it was there, by its content: its runs are the
    same to the nanosecond. With `--root-disk` a system of your own is taken in, as
    `run --guest FILE` does without a name; it needs systemd, or what `image runner` writes.

    Example: `freezingtime image import mini.tar`, or
    `freezingtime image import mine --root-disk disk.qcow2`
    """
    from freezingtime.images.exported.restore import import_exported
    from freezingtime.runs.own.system import import_plan, import_system

    if root_disk is None:
        _refuse_system_options(source, options)
        name = None if name is None else _name(f"--name {name}", name)
        with StepLines() as steps:
            restored = import_exported(Path(source), name, steps, with_qemu=with_qemu)
        if restored.left_out_qemu:
            say(f"left out the QEMU in {source}; --with-qemu takes it in, if you trust that file")
        _show_image(restored.image, "is already there" if restored.was_there else "")
        return 0
    for option, is_given in ((f"--name {name}", name), ("--with-qemu", with_qemu)):
        if is_given:
            raise InputError(f"{option}: is for an exported image; leave it out with --root-disk")
    plan = import_plan(root_disk, options, "--root-disk")
    with StepLines() as steps:
        image = import_system(_name(f"image import {source}", source), plan, steps)
    _show_image(image)
    return 0


def _refuse_system_options(source: str, options: RunOptions) -> None:
    if options != RunOptions():
        raise InputError(
            f"image import {source}: --kernel, --initrd, --append and --allow-backing are for a "
            "system of your own; name its disk with --root-disk"
        )
    if not Path(source).exists():
        raise InputError(
            f"image import {source}: there is no such file; name one that 'image export' has "
            "written, or the disk of a system of your own with --root-disk"
        )


def _show_image(image: GuestImage, note: str = "") -> None:
    show(f"{image.name} {image.image_id[:12]} {note or image.directory}")


def export_command(
    name_or_id: NameArgument,
    file: Annotated[Path, Argument("FILE", "The file to write.")],
    qemu: Annotated[
        str | None,
        Option("NAME", "Put a QEMU into the file, too: `auto`, the pinned one, or `debian:SUITE`."),
    ] = None,
) -> int:
    """Write a built image into one file, for `image import` on another machine.

    The same image gives the same bytes.

    Example: `freezingtime image export mini mini.tar`
    """
    from freezingtime.images.exported.export import export_image
    from freezingtime.images.exported.qemu import qemu_to_export
    from freezingtime.images.guest_image import find_by_name_or_id

    image = find_by_name_or_id(name_or_id)
    with StepLines() as steps:
        export_image(image, file, steps, None if qemu is None else qemu_to_export(qemu, steps))
    show(f"{image.name} {image.image_id[:12]} {file}")
    return 0


def runner_command(
    directory: Annotated[Path, Argument("DIR", "Directory to write the tree to.")],
) -> int:
    """Write what a system without systemd 242 needs to run jobs: a tree to copy onto its root.

    That is a shell script, a systemd unit that starts it, and the link that enables the unit.
    """
    from freezingtime.images.imported import write_runner

    for path in write_runner(directory):
        show(str(path))
    return 0


def list_command() -> int:
    """List the images in the cache."""
    from freezingtime.cli.output.columns import print_columns
    from freezingtime.cli.output.skipped import print_skipped
    from freezingtime.images.guest_image import list_images, list_unusable_images

    rows = [("name", "id", "suite", "kernel", "size", "directory")]
    for image in list_images():
        files = [image.kernel_path, image.initrd_path, *filter(None, [image.root_path])]
        size_bytes = sum(file.stat().st_blocks * 512 for file in files)
        size_mib = f"{size_bytes / (1 << 20):.1f} MiB"
        kernel = image.manifest.kernel_release
        suite = image.manifest.suite or "-"
        rows.append(
            (image.name, image.image_id[:12], suite, kernel, size_mib, str(image.directory))
        )
    print_columns(rows)
    print_skipped(list_unusable_images())
    return 0


def remove_command(name_or_id: NameArgument) -> int:
    """Remove images from the cache; the next run builds what it needs."""
    from freezingtime.images.guest_image import remove_image, remove_unusable_image

    if remove_unusable_image(name_or_id):
        show(f"removed {name_or_id}")
        return 0
    for image in remove_image(name_or_id):
        show(f"removed {image.name} {image.image_id[:12]}")
    return 0


app = group_app(
    "Build, list and remove guest images.",
    {
        "build": build_command,
        "import": import_command,
        "export": export_command,
        "runner": runner_command,
        "list": list_command,
        "remove": remove_command,
    },
)
