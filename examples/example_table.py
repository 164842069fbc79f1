# SPDX-License-Identifier: GPL-2.0-or-later
"""What the examples share: a guest image made once, a job on several devices, a table."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from freezingtime.cli.guest.progress import RunProgress
from freezingtime.cli.output.columns import print_columns
from freezingtime.disk.spec import parse_disk
from freezingtime.errors import RunError
from freezingtime.images.build import build_debian_image
from freezingtime.images.debian.image import DebianPlan
from freezingtime.images.guest_image import find_image
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.run import run
from freezingtime.vm.job import directory_script

_DIRECTORY = Path(__file__).parent


@dataclass(frozen=True)
class Example:
    """A job directory beside this file, and the guest that it takes."""

    job: str
    image: str
    system: DebianPlan
    disk_size: str
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the job's."""

    @property
    def directory(self) -> Path:
        return _DIRECTORY / self.job

    @property
    def script(self) -> bytes:
        """What is run in the guest."""
        lines = directory_script(self.directory).decode().splitlines()
        exports = [f"export {name}={shlex.quote(text)}" for name, text in self.environment.items()]
        return "\n".join([lines[0], *exports, *lines[1:], ""]).encode()

    def plan(self, device: str) -> RunPlan:
        """The run on a device of the catalogue, or a description."""
        disk = parse_disk(f"{device},size={self.disk_size}")
        return RunPlan([disk], self.script, guest=self.image, job_directory=self.directory)


def build_image(example: Example) -> None:
    """See to it that the example's image is there."""
    if find_image(example.image) is None:
        print(f"building the guest image {example.image}, once ...", file=sys.stderr)
        build_debian_image(example.image, example.system)


def text_of(output: BinaryIO) -> str:
    """All that a job has printed."""
    output.seek(0)
    return output.read().decode(errors="replace")


def job_output(example: Example, device: str) -> dict[str, str]:
    """The names and values that the job prints on a device.

    Raises:
        RunError: the job found something wrong, or its figures are not valid.
    """
    with RunProgress(quiet=not sys.stderr.isatty(), forward_output=False) as progress:
        result = run(example.plan(device), progress)
    text = text_of(progress.stdout)
    if result.job.exit_status or not result.valid:
        raise RunError(f"{example.job} on {device} failed: {text}{text_of(progress.stderr)}")
    return dict(line.split(" ", 1) for line in text.splitlines())


def print_outputs(outputs: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """Print a table: a label and what the job printed, line by line."""
    names = list(outputs[0][1])
    rows = [[label, *(output[name] for name in names)] for label, output in outputs]
    print_columns([["device", *names], *rows])
