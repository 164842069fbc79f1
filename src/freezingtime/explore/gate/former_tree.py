# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of a command as a commit has them, below a directory in which the same words mean them.

The directory mirrors the host's paths as far as the command goes: of the repository, the commit's
files; of what lies elsewhere, and of what makes the machine, links to what is there today.
Seen from the mirror of the working directory, a relative path means the former file, so that
the command's own text, which the record has, stays the same.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

from freezingtime.device import own_model
from freezingtime.disk.disk import Disk
from freezingtime.disk.spec import read_option
from freezingtime.errors import InputError
from freezingtime.explore.gate.commit import OPTION, Commit
from freezingtime.explore.sweep.request import ReplayRequest, SweepRequest
from freezingtime.explore.sweep.run_request import RunRequest

#: This package, which may be imported from a working tree as well.
_OURS = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class CommandFiles:
    """The files that a command names, but for that of its job."""

    devices: Sequence[Path]
    """Descriptions, and Python code: each may name further files."""
    media: Sequence[Path]
    machine: Sequence[Path]
    """Kernel, lock and such: both sides of a gate have those of today."""


def command_files(request: SweepRequest) -> CommandFiles:
    """Return the files that a request names."""
    disks: Sequence[Disk | str] = ()
    machine: list[Path] = []
    if isinstance(request, ReplayRequest):
        disks = request.disks
    elif isinstance(request, RunRequest):
        options = request.options
        disks = [*options.disks, *([options.root_device] if options.root_device else [])]
        named = (options.kernel, options.initrd, options.locked, *options.allow_backing)
        machine = [Path(each) for each in (*named, *_guest_paths(options.guest)) if each]
    read = [read_option(disk) if isinstance(disk, str) else disk for disk in disks]
    devices = [path for disk in read if (path := _device_file(str(disk.device))) is not None]
    media = [Path(disk.file) for disk in read if disk.file is not None]
    return CommandFiles(devices, media, [path for path in machine if path.exists()])


def _guest_paths(guest: str | None) -> Sequence[str]:
    """What may be the file or directory of a guest: ``FILE``, ``dir:PATH``, ``oci:PATH:NAME``."""
    path = (guest or "").removeprefix("dir:").removeprefix("oci:")
    return [path, path.rpartition(":")[0]]


def _device_file(device: str) -> Path | None:
    if device.endswith(".toml"):
        return Path(device)
    module = device.rpartition(":")[0]
    return Path(module) if module.endswith(".py") and own_model.is_name(device) else None


@dataclass(frozen=True, slots=True)
class FormerTree:
    """Files of a command as a commit has them."""

    commit: Commit
    root: Path
    """The mirror of the host's root directory."""

    def lay_out(self, job: Path | None, files: CommandFiles) -> bool:
        """Write all that the command needs; returns whether anything of it is the commit's.

        Raises:
            InputError: git cannot tell what a file was, or the same words would not mean it.
        """
        self._mirrored(Path.cwd()).mkdir(parents=True, exist_ok=True)
        own = [path for path in (*files.devices, *files.media) if self._is_inside(path)]
        for path in own:
            if path.is_absolute():
                raise InputError(
                    f"{OPTION} {self.commit.ref}: {path} is in the repository; name it by a path "
                    "from the current directory, which means the file of the commit there"
                )
        if self._is_of(files.devices, own):  # and whatever they name
            self.commit.take_out(self.commit.top, self.root)
        wanted = [*own, *([] if job is None else [job])]
        for path in wanted:
            self.commit.take_out(path, self.root)
        for path in (*files.devices, *files.media):
            if path not in own and not path.is_absolute():
                self._link(path)
        for path in files.machine:
            if not path.is_absolute():
                self._link(path)
        return bool(wanted)

    def file(self, path: Path | None) -> Path | None:
        """The path by which a file is named there."""
        return self._mirrored(path) if path is not None and path.is_absolute() else path

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Work there for the time of the block; what it imports there is forgotten afterwards.

        Raises:
            InputError: code was imported from the working tree instead.
        """
        known = {*sys.modules}
        try:
            with chdir(self._mirrored(Path.cwd())):
                yield
            for name in {*sys.modules} - known:
                file = _file_of(name)
                if file and file.is_relative_to(self.commit.top) and not self._is_ours(file):
                    raise InputError(
                        f"{OPTION} {self.commit.ref}: {file} was imported as it is today, by "
                        "PYTHONPATH; leave that out, or make the baseline when that commit is "
                        "checked out, with --update"
                    )
        finally:
            for name in {*sys.modules} - known:
                if (file := _file_of(name)) and file.is_relative_to(self.root):
                    del sys.modules[name]

    def _is_ours(self, file: Path) -> bool:
        return file.is_relative_to(_OURS) or file.is_relative_to(self.root)

    @staticmethod
    def _is_of(paths: Sequence[Path], some: Sequence[Path]) -> bool:
        return any(path in some for path in paths)

    def _is_inside(self, path: Path) -> bool:
        return self.commit.relative(path) is not None

    def _mirrored(self, path: Path) -> Path:
        return self.root / path.absolute().resolve().relative_to("/")

    def _link(self, path: Path) -> None:
        """Have a file or directory of today there; outside of the repository, all beside it."""
        real = path.absolute().resolve()
        place = self._mirrored(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if any(each.is_relative_to(real) for each in (self.commit.top, Path.cwd())):
            return  # what is within is linked by itself
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        place.symlink_to(real)
        if self._is_inside(path):
            return
        for other in real.parent.iterdir():  # a description may name them
            link = place.parent / other.name
            if not link.is_symlink() and not link.exists():
                link.symlink_to(other)


def _file_of(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file).resolve() if file else None
