# SPDX-License-Identifier: GPL-2.0-or-later
"""A run of a job in a guest, as a unit of a sweep."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import msgspec

from freezingtime.clock.kind import ClockKind
from freezingtime.disk.identity import disk_identity
from freezingtime.errors import InputError, RunError
from freezingtime.explore.sweep.unit import make_figures
from freezingtime.host.os_errors import os_errors_as
from freezingtime.results.metrics import disk_metrics, run_metrics
from freezingtime.results.recorded_run import open_recorded_run
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import RunPlan, make_plan
from freezingtime.runs.prepare import ready_machine
from freezingtime.runs.progress.observer import RunObserver
from freezingtime.runs.result import RunResult
from freezingtime.runs.run import run
from freezingtime.runs.script import Command
from freezingtime.store.checksums import CHECKSUMS
from freezingtime.store.machine_identity import MachineIdentity
from freezingtime.store.results.key import ResultKey
from freezingtime.store.results.result_store import StoredFigures
from freezingtime.store.saved_machine import find_saved, is_saved
from freezingtime.trace.record_digest import record_digest
from freezingtime.trace.run_directory import COLLECTED_DIRECTORY, STDOUT_NAME
from freezingtime.vm.job import pack

_MACHINES_MAX = 64
#: How the names of machines begin that a sweep has prepared.
_PREPARED, _PREPARED_DIGITS = "prepared-", 40
_READ_BYTES = 1 << 20
#: What the job has printed on stderr: what is read back is shown again, whole.
STDERR_NAME = "stderr.txt"
#: Of a plan, what decides no figure: limits of host time, ways to the same machine, the directory.
WITHOUT_FIGURES = (
    *("host_limit_s", "medium_deadline_s", "boot_deadline_s", "expected_ns"),
    *("save_as", "out", "logs_writes"),
    "max_leak_ns",  # only under KVM, where no two runs are alike
)
#: What the machine's identity holds of it.
IN_MACHINE = ("system", "memory_bytes", "cpu_count", "cpu_model", "qemu", "lock")


@dataclass(frozen=True, slots=True)
class RunUnit:
    """One job in a guest; see :class:`~.unit.SweepUnit`."""

    options: RunOptions
    job: bytes | Command
    job_directory: Path | None = None
    prepare: RunUnit | None = None
    """The run that leaves the machine from which this one goes on."""

    def prepared(self) -> str:
        """Return the name of the machine that this run leaves; it is run where there is none yet.

        The name is made of all that decides what the machine is.

        Raises:
            InputError: it cannot be run, or the machine cannot be saved.
            RunError: it failed.
        """
        name = f"{_PREPARED}{self.key().digest[:_PREPARED_DIGITS]}"
        if not is_saved(name):
            options = replace(self.options, out=None, save=name)
            plan = make_plan(options, script=self.job, job_directory=self.job_directory)
            try:
                result = run(plan, RunObserver())
            except RunError:
                if is_saved(name):  # another process has done the same, and was faster
                    return name
                raise
            _require_valid(result)
            if status := result.job.exit_status:
                raise RunError(f"--prepare: its job ended with exit status {status}")
        return name

    def plan(self, out: Path | None = None) -> RunPlan:
        """The plan of the run.

        Raises:
            InputError: an option has a value that it cannot have.
        """
        options = replace(self.options, out=out)
        if self.prepare is not None:
            if options.start_from is not None:
                raise InputError(f"--from {options.start_from}: goes not with --prepare; keep one")
            options = replace(options, start_from=self.prepare.prepared())
        return make_plan(options, script=self.job, job_directory=self.job_directory)

    def key(self) -> ResultKey:
        """All that decides its figures; the guest is made ready for that.

        Raises:
            InputError: it cannot be run, or would change something.
            RunError: the guest cannot be made ready.
        """
        plan = self.plan()
        require_repeatable(plan)
        return ResultKey(
            {
                "kind": "run",
                "guest": plan.guest,
                "machine": msgspec.to_builtins(_machine(plan)),
                "clock": plan.clock,
                "cpu_rate_hz": plan.rate_hz,
                "script": plan.script.decode(errors="surrogateescape"),
                "job": _job_digest(plan.job_directory),
                "environment": dict(plan.environment),
                "collect": list(plan.collect),
                "collect_limit_bytes": plan.collect_limit_bytes,
                "metrics": plan.metrics,
                "limit_ns": plan.limit_ns,
                "start_delay_ns": plan.start_delay_ns,
                "seed": plan.seed,
                "fresh_boot": plan.fresh_boot,
                "from": self._start_digest(plan),
                "disks": [disk_identity(spec) for spec in plan.disks],
                "root_device": plan.root_device and disk_identity(plan.root_device),
            }
        )

    def _start_digest(self, plan: RunPlan) -> str | None:
        """By what is known of the machine from which it goes on: how it was made, or its files."""
        if self.prepare is not None:
            return f"prepared by {self.prepare.key().digest}"
        return _saved_digest(plan.start_from)

    def devices(self) -> list[str]:
        """Return those of its disks, and of the guest's root disk if that has one of its own."""
        disks = [disk if isinstance(disk, str) else disk.spec for disk in self.options.disks]
        return [*disks, *([self.options.root_device] if self.options.root_device else [])]

    def check(self) -> None:
        """Do nothing: all that can be known before is in the plan."""

    def execute(self, run_path: Path) -> StoredFigures:
        """Run the job, and leave its run directory at ``run_path``.

        Raises:
            InputError: it cannot be run.
            RunError: it failed, or its figures are not valid.
        """
        result = self.run(run_path, RunObserver())
        _require_valid(result)
        return self.figures(run_path, result)

    def run(self, run_path: Path, observer: RunObserver) -> RunResult:
        """Run the job as :meth:`execute` does, valid or not; ``observer`` is told of it.

        Raises:
            InputError: it cannot be run.
            RunError: it failed.
        """
        with _ErrorsKept(observer, run_path) as kept:
            return run(self.plan(run_path), kept)

    def figures(self, run_path: Path, result: RunResult) -> StoredFigures:
        """Return the figures of a valid run.

        Raises:
            RunError: what ran it is no more what its key has.
        """
        machine = _machine(result.plan)
        if (result.image.image_id, result.qemu_sha256) != (machine.image_id, machine.qemu):
            raise RunError("the guest's image, or QEMU, was changed meanwhile; nothing is stored")
        recorded = open_recorded_run(run_path, lambda notice: None)
        metrics = run_metrics(recorded)
        for name, summaries in recorded.summaries.items():
            metrics |= disk_metrics(name, summaries)
        status = result.job.exit_status
        return make_figures(
            metrics,
            result.statistics,
            {
                "requests": record_digest(run_path),
                "output": _file_digest(run_path / STDOUT_NAME),
                "collected": _tree_digest(run_path / COLLECTED_DIRECTORY),
            },
            f"its job ended with exit status {status}" if status else None,
        )

    def record_path(self, run_path: Path) -> Path:
        """Return the run directory."""
        return run_path


class _ErrorsKept(RunObserver):
    """Writes what the job prints on stderr beside its stdout, and passes everything on."""

    def __init__(self, observer: RunObserver, run_path: Path) -> None:
        self._observer = observer
        self._path = run_path / STDERR_NAME
        self.preparing = observer.preparing  # type: ignore[method-assign]
        self.running = observer.running  # type: ignore[method-assign]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if error is None:
            self._write(b"")  # that there is none is known, too

    def output(self, stdout: bytes, stderr: bytes) -> None:
        if stderr:
            self._write(stderr)
        self._observer.output(stdout, stderr)

    def _write(self, stderr: bytes) -> None:
        cure = "free space, or name another store"
        with os_errors_as(RunError, self._path, cure), self._path.open("ab") as file:
            file.write(stderr)


def require_repeatable(plan: RunPlan) -> None:
    """Require that a run changes nothing, and would be the same again.

    Raises:
        InputError: it is not so.
    """
    for spec in plan.disks:
        if spec.writable:
            raise InputError(
                f"{spec.given.place}{spec.given.value('writable')}: runs with results in a store "
                "change no file; leave it out"
            )
    if plan.clock is not ClockKind.EXACT:
        raise InputError(
            f"--clock {plan.clock}: no two such runs are alike, so none is read back from a store; "
            "take --clock exact"
        )
    if plan.save_as is not None:
        raise InputError(
            f"--save {plan.save_as}: goes not with a store of results; save it with a 'run' before"
        )


def _require_valid(result: RunResult) -> None:
    if (reason := result.reason_invalid) is not None:
        raise RunError(f"NOT VALID: {reason}; nothing is stored")


def _machine(plan: RunPlan) -> MachineIdentity:
    return _known_machine(_PlanOfMachine(plan))


class _PlanOfMachine:
    """A plan as far as its machine goes: others with the same machine are equal."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self._parts = (
            *(plan.guest, plan.system, plan.memory_bytes, plan.cpu_count, plan.cpu_model),
            *(plan.qemu, plan.start_from, plan.fresh_boot),
            None if plan.lock is None else plan.lock.digest,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _PlanOfMachine) and self._parts == other._parts

    def __hash__(self) -> int:
        return hash((self.plan.guest, self.plan.memory_bytes, self.plan.cpu_count))


@lru_cache(_MACHINES_MAX)
def _known_machine(of_plan: _PlanOfMachine) -> MachineIdentity:
    return ready_machine(of_plan.plan, lambda step, done, total: None).identity()


def _saved_digest(name: str | None) -> str | None:
    return None if name is None else _file_digest(find_saved(name).directory / CHECKSUMS)


def _job_digest(directory: Path | None) -> str | None:
    if directory is None:
        return None
    digest = hashlib.sha256()
    with pack(directory) as archive:
        archive.seek(0)
        while piece := archive.read(_READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _tree_digest(directory: Path) -> str:
    """The digest of all files below a directory; of nothing if it is not there."""
    digests: Mapping[str, Any] = {
        str(path.relative_to(directory)): _file_digest(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
    return hashlib.sha256(repr(digests).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(f"{path}: {error.strerror or error}") from error
