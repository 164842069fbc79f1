# SPDX-License-Identifier: GPL-2.0-or-later
"""One trial: a job stores things on a writable file, something breaks, and all of it is there."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from experiments.crash.programs import find
from experiments.kill.writer import (
    DURABLE,
    POINT,
    acknowledged,
    find_lost,
    make_disk,
    write_job,
)

from freezingtime.errors import RunError
from freezingtime.frontend import Frontend

_START_DEADLINE_S = 120.0
_END_DEADLINE_S = 60.0
_POLL_S = 0.005
#: Somebody is killed so soon after the job has stored so many things; calls fail from there on.
_ACKNOWLEDGED_MOST, _MOMENT_MOST_S = 12, 0.2
_CALLS = (30, 250)
_MARK = "FREEZINGTIME_KILL_MARK"
#: Room for the empty file system, and some twenty of the job's files.
_SMALL_BYTES = 4_800 << 10


class Break(StrEnum):
    """What breaks."""

    EMULATOR = "emulator"
    QEMU = "QEMU"
    BOTH = "both"
    ERROR = "EIO"
    """The medium's writes and flushes fail, from some call on."""
    NO_SPACE = "ENOSPC"
    """Likewise, for lack of space."""
    FULL = "full disk"
    """The file lies in a small file system: for root only, who may mount one."""


_ERRORS = {Break.ERROR: errno.EIO, Break.NO_SPACE: errno.ENOSPC}


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried, as far as a seed can say it: when a process dies, the host decides."""

    what: Break
    frontend: Frontend
    direct: bool
    delay: str
    journal: str
    synchronous: str
    stored: int
    """How much the job has said to be stored before somebody is killed..."""
    moment_s: float
    """...so much later."""
    failing_call: int

    @property
    def is_death(self) -> bool:
        """Whether somebody is killed."""
        return self.what in (Break.EMULATOR, Break.QEMU, Break.BOTH)

    def __str__(self) -> str:
        when = f"call {self.failing_call}"
        if self.is_death:
            when = f"{self.moment_s:.3f} s after {self.stored} were stored"
        direct = ", direct" if self.direct else ""
        return f"{self.what} at {when}, {self.frontend}{direct}, delay {self.delay}, {self.journal}"


def trial_of(seed: int, number: int) -> Trial:
    """The trial of a number: what breaks and the frontend take turns, the rest is by chance."""
    chance = random.Random(f"{seed} {number}")
    kinds, frontends = [*Break], [*Frontend]
    journal, synchronous = chance.choice(DURABLE)
    what = kinds[number % len(kinds)]
    return Trial(
        what=Break.NO_SPACE if what is Break.FULL and os.geteuid() else what,
        frontend=frontends[number // len(kinds) % len(frontends)],
        direct=chance.random() < 0.25,
        delay=chance.choice(("0s", "1ms", "5ms")),
        journal=journal,
        synchronous=synchronous,
        stored=chance.randint(1, _ACKNOWLEDGED_MOST),
        moment_s=chance.uniform(0.0, _MOMENT_MOST_S),
        failing_call=chance.randint(*_CALLS),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial."""

    acknowledged: int
    """How many things the job had said to be stored."""
    wrong: list[str]
    """What is not as it should be."""


def try_once(trial: Trial, directory: Path) -> Outcome:
    """Run it in a new directory, which is removed.

    Raises:
        RunError: a tool is not installed, or the run under test did not begin.
    """
    directory.mkdir(parents=True)
    try:
        with _place(trial, directory / "place") as place:
            return _try(trial, directory, place)
    finally:
        shutil.rmtree(directory)


def _try(trial: Trial, directory: Path, place: Path) -> Outcome:
    write_job(directory / "job", trial.journal, trial.synchronous)
    image = place / "disk.img"
    make_disk(image)
    settings = f"frontend={trial.frontend},delay={trial.delay},mount={POINT},writable=yes"
    direct = ",direct=yes" if trial.direct and trial.what is not Break.FULL else ""
    (directory / "tmp").mkdir()
    mark = uuid.uuid4().hex
    environment = {
        **os.environ,
        "TMPDIR": str(directory / "tmp"),
        _MARK: mark,
        **_failing(trial, directory, image),
    }
    output, messages = directory / "output", directory / "messages"
    with output.open("wb") as stdout, messages.open("wb") as stderr:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "freezingtime", "run", "-q"),
                *("--disk", f"constant:50us,medium=file:{image},{settings}{direct}"),
                *("--job", directory / "job"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=environment,
        )
    try:
        _break(trial, process, output, mark)
        status = process.wait(_START_DEADLINE_S + _END_DEADLINE_S)
        _await_gone(mark)
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        said = messages.read_text(errors="replace")[-1000:]
        raise RunError(f"{trial}: {error}; it said: {said}") from error
    finally:
        for pid in _processes(mark):
            os.kill(pid, signal.SIGKILL)
        process.wait(_END_DEADLINE_S)
    stored = acknowledged(output.read_text(errors="replace"))
    wrong = find_lost(image, stored, directory)
    said = messages.read_text(errors="replace")
    if trial.what in (Break.EMULATOR, Break.BOTH):
        expected = -signal.SIGKILL
    else:
        expected = 1
        if "Traceback" in said or not said.startswith("freezingtime: "):
            wrong.append(f"it said: {said[-500:]}")
    if status != expected:
        wrong.append(f"exit status {status}, not {expected}: {said[-500:]}")
    return Outcome(len(stored), wrong)


def _break(trial: Trial, process: subprocess.Popen[bytes], output: Path, mark: str) -> None:
    deadline_s = time.monotonic() + _START_DEADLINE_S
    if not trial.is_death:
        return
    while len(acknowledged(output.read_text(errors="replace"))) < trial.stored:
        if process.poll() is not None:
            return  # what it says of that is looked at
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"the job has stored too little within {_START_DEADLINE_S:g} s")
        time.sleep(_POLL_S)
    time.sleep(trial.moment_s)
    emulator = process.pid
    others = [pid for pid in _processes(mark) if pid != emulator]
    victims = {Break.EMULATOR: [emulator], Break.QEMU: others, Break.BOTH: [emulator, *others]}
    for pid in victims[trial.what]:
        os.kill(pid, signal.SIGKILL)


def _failing(trial: Trial, directory: Path, image: Path) -> Mapping[str, str]:
    """The environment in which the emulator's writes to the image fail, if they are to."""
    if trial.what not in _ERRORS:
        return {}
    library = directory / "failing.so"
    source = Path(__file__).with_name("failing_writes.c")
    command = [find("gcc"), "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, timeout=_END_DEADLINE_S)
    return {
        "LD_PRELOAD": str(library),
        "FAILING_PATH": str(image),
        "FAILING_FROM": str(trial.failing_call),
        "FAILING_ERROR": str(_ERRORS[trial.what]),
    }


@contextmanager
def _place(trial: Trial, path: Path) -> Iterator[Path]:
    """A directory for the image: of a file system that is soon full, if it is to be."""
    path.mkdir()
    if trial.what is not Break.FULL:
        yield path
        return
    size = f"size={_SMALL_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def _processes(mark: str) -> list[int]:
    """Living processes that have inherited a mark."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (directory / "environ").read_bytes():
                found.append(int(directory.name))
        except OSError:
            continue  # it has ended meanwhile, or is somebody else's
    return found


def _await_gone(mark: str) -> None:
    deadline_s = time.monotonic() + _END_DEADLINE_S
    while left := _processes(mark):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"still there: processes {left}")
        time.sleep(_POLL_S)
