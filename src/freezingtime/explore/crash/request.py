# SPDX-License-Identifier: GPL-2.0-or-later
"""Request of an exploration, checked; and as a document, to go on or to replay."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezingtime.disk.spec import check_disk
from freezingtime.errors import InputError
from freezingtime.explore.crash.check import default_check
from freezingtime.explore.crash.choices import CHECK_LIMIT, DEPTHS, VALUE_WORDS
from freezingtime.explore.crash.points import (
    PointSelection,
    Stretch,
    parse_selection,
)
from freezingtime.explore.crash.states import Fate
from freezingtime.images.container.plan import ContainerPlan
from freezingtime.images.guest_image import find_image
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import RunPlan, make_plan
from freezingtime.runs.script import Command
from freezingtime.units import MAX_VALUE, Limits, parse_option, parse_time_ns

#: What a lost piece may hold beside its old content, by the words of ``--values``.
VALUES = {word: Fate[word.upper()] for word in VALUE_WORDS}
#: Real time that it may take, whatever it does.
CHECK_REAL_LIMIT_S = 300.0
_CHECK_LIMITS = Limits(1, MAX_VALUE, "more than 0, such as 60s")


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashRequest:
    """Request of an exploration."""

    options: RunOptions
    """Machine and disks, and limits of the job."""
    job: bytes | Command
    job_directory: Path | None = None
    check: bytes | Command | None = None
    """None: the file systems' own, and what the job acknowledged."""
    check_limit: str = CHECK_LIMIT
    points: str = "all-flushes"
    since: str | None = None
    until: str | None = None
    """Patterns in the job's output between which the power is cut."""
    states: int | None = None
    """How many of a point; None: see :meth:`.states.PointStates.choices`."""
    values: Sequence[str] = ()
    depth: int = 1
    """2: the power is also cut during recoveries."""

    @property
    def selection(self) -> PointSelection:
        """The points.

        Raises:
            InputError: there are no such points.
        """
        return parse_selection(self.points)

    @property
    def stretch(self) -> Stretch:
        """The part of the job in which the power is cut.

        Raises:
            InputError: a pattern is none, or goes with no such points.
        """
        stretch, selection = Stretch.parse(self.since, self.until), self.selection
        if not stretch.is_whole and (selection.at_ns, selection.after) != (None, None):
            raise InputError(
                f"--points {self.points}: says when by itself; leave out --since and --until"
            )
        return stretch

    @property
    def fates(self) -> tuple[Fate, ...]:
        """Return what may become of a piece that is not durable.

        Raises:
            InputError: there is no such value.
        """
        for value in self.values:
            if value not in VALUES:
                raise InputError(
                    f"--values {value}: no such value; write some of {','.join(VALUES)}"
                )
        return (Fate.OLD, Fate.NEW, *sorted({VALUES[value] for value in self.values}))

    def require_possible(self) -> None:
        """Refuse what cannot be explored.

        Raises:
            InputError: what is wrong, and what would be right.
        """
        _ = self.selection, self.stretch, self.fates
        if self.depth not in DEPTHS:
            raise InputError(f"--depth {self.depth}: must be one of: 1, 2")
        if self.states is not None and self.states < 1:
            raise InputError(f"--states {self.states}: must be at least 1")
        if not self.options.disks:
            raise InputError("--disk: none is given; name the disks whose power is cut")
        for spec in map(check_disk, self.options.disks):
            if spec.writable:
                raise InputError(
                    f"{spec.given.shown}: every state starts from the file as it is now; "
                    f"leave out {spec.given.value('writable')}"
                )
            if spec.device.faults:
                raise InputError(
                    f"{spec.given.shown}: its device fails ({spec.device.fault_texts[0]}); the "
                    "power is cut of devices that do not: leave out the rule"
                )

    def job_plan(self, out: Path) -> RunPlan:
        """The plan of the recorded run.

        Raises:
            InputError: an option has a value that it cannot have.
        """
        options = dataclasses.replace(self.options, out=out)
        plan = make_plan(options, script=self.job, job_directory=self.job_directory)
        image = find_image(plan.guest)
        if isinstance(plan.system, ContainerPlan) or (image is not None and image.is_container):
            raise InputError(
                f"--guest {self.options.guest}: a container's image cannot recover its disks; name "
                "another guest"
            )
        return dataclasses.replace(plan, logs_writes=True)

    def check_plan(self) -> RunPlan:
        """The plan of all recoveries.

        Raises:
            InputError: an option has a value that it cannot have, or there is nothing to check.
        """
        options = dataclasses.replace(
            self.options,
            out=None,
            time_limit=None,
            real_time_limit=None,
        )
        limit_ns = parse_option("--check-limit", self.check_limit, parse_time_ns, _CHECK_LIMITS)
        check = self.check
        if check is None:
            mounts = [spec.mount for spec in map(check_disk, self.options.disks) if spec.mount]
            check = default_check(mounts)
        if isinstance(check, Command):
            check.require_no_host_file(self.job_directory, "--check", "--check-script")
        plan = make_plan(options, script=check, job_directory=self.job_directory)
        return dataclasses.replace(plan, limit_ns=limit_ns, host_limit_s=CHECK_REAL_LIMIT_S)

    def identity(self) -> dict[str, Any]:
        """Return what explorations must have in common to share their job and outcomes."""
        options = {
            field.name: getattr(self.options, field.name)
            for field in dataclasses.fields(self.options)
        }
        disks = [check_disk(disk).text for disk in self.options.disks]
        return {
            "options": {name: _plain(value) for name, value in options.items()}
            | {"disks": disks, "out": None},
            "job": _as_document(self.job),
            "job_directory": _plain(self.job_directory),
            "check": None if self.check is None else _as_document(self.check),
            "check_limit": self.check_limit,
        }

    @classmethod
    def of_identity(cls, document: Mapping[str, Any], fates: Sequence[Fate]) -> CrashRequest:
        """Return a request with the identity that a document has.

        Raises:
            KeyError, TypeError: it has none.
        """
        check, directory = document["check"], document["job_directory"]
        return cls(
            options=RunOptions(**document["options"]),
            job=_of_document(document["job"]),
            job_directory=None if directory is None else Path(directory),
            check=None if check is None else _of_document(check),
            check_limit=document["check_limit"],
            values=[value for value, fate in VALUES.items() if fate in fates],
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.resolve())
    return list(map(_plain, value)) if isinstance(value, list | tuple) else value


def _as_document(job: bytes | Command) -> dict[str, Any]:
    if isinstance(job, bytes):
        return {"script": job.decode(errors="surrogateescape")}
    return {"words": list(job.words), "line": job.line}


def _of_document(document: Mapping[str, Any]) -> bytes | Command:
    if "script" in document:
        return str(document["script"]).encode(errors="surrogateescape")
    return Command(tuple(document["words"]), document["line"])
