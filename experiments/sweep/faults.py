# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever is killed of a sweep, and whenever: no result is lost, none wrong, and it finishes.

Each part kills one process at each of its moments, starts what is missing anew, and looks at every
result in the store: it has to be sound, equal to that of a sweep that nobody disturbed, and still
there if it was there before.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from freezingtime.store.results.result_store import ResultStore, StoredResult, damage

_POINTS = 40
_SWEEP = (
    *("--disk", "micron-7450-pro-960gb", "--workload", "randrw,qd=8,count=20k"),
    *("--set", f"seed=range({_POINTS})", "--quiet"),
)
_MOMENT_S = (0.3, 5.0)
_DEADLINE_S = 300.0
_LEASE = "3s"


@dataclass(slots=True)
class Part:
    """One way to run a sweep, while its processes are killed."""

    place: Path
    name: str
    sweeps: int = 1
    """A sweep that has ended is followed by another, in a directory of its own."""
    killed: Counter[str] = field(default_factory=Counter)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    """Results seen so far in this sweep, and the digest of each one's requests."""

    @property
    def out(self) -> Path:
        return self.place / f"{self.name}-{self.sweeps}"

    @property
    def sweep(self) -> list[str]:
        return ["sweep", *_SWEEP, "--out", str(self.out), "--store", str(self.out / "store")]

    def start(self, role: str, *command: str) -> None:
        """Start a process, in a session of its own, unless it runs already."""
        if role in self.processes and self.processes[role].poll() is None:
            return
        with (self.place / "log").open("ab") as log:
            self.processes[role] = subprocess.Popen(
                [sys.executable, "-m", *command], stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, role: str) -> None:
        """Kill a process at one of the part's moments."""
        self._kill(role)
        self.killed[role.rstrip("0123456789")] += 1

    def _kill(self, role: str) -> None:
        """Kill a process, and require that what it has started ends with it."""
        process = self.processes.pop(role)
        process.kill()
        process.wait()
        deadline_s = time.monotonic() + _DEADLINE_S
        while members := _session_members(process.pid):
            if time.monotonic() > deadline_s:
                raise SystemExit(f"{role}: left behind: {members}")
            time.sleep(0.05)

    def end(self) -> None:
        """Kill all that still runs."""
        for role in list(self.processes):
            self._kill(role)

    def check(self, expected: dict[str, str]) -> None:
        """Require every result that was there, and that all that are there are right."""
        now = {}
        for entry in ResultStore(self.out / "store").entries():
            problem = damage(entry.directory if isinstance(entry, StoredResult) else entry)
            if problem is not None or not isinstance(entry, StoredResult):
                raise SystemExit(f"{self.name}: WRONG: {entry}: {problem}")
            now[entry.key] = entry.content.identity["requests"]
        if lost := self.known.keys() - now.keys():
            raise SystemExit(f"{self.name}: LOST: {sorted(lost)}")
        if wrong := now.items() - expected.items():
            raise SystemExit(f"{self.name}: WRONG: {sorted(wrong)}")
        self.known = now

    def finish(self, expected: dict[str, str], table: bytes) -> None:
        """Have the same command finish: all results, the same table, nothing left over."""
        self.end()
        done = subprocess.run(
            [sys.executable, "-m", "freezingtime", *self.sweep],
            capture_output=True,
            check=False,
            timeout=_DEADLINE_S,
        )
        if done.returncode:
            raise SystemExit(f"{self.name}: the same command fails: {done.stderr.decode()}")
        self.check(expected)
        if self.known != expected or (self.out / "results.parquet").read_bytes() != table:
            raise SystemExit(f"{self.name}: the same command has another end")
        if left := list((self.out / "store" / "results").glob(".*")):
            raise SystemExit(f"{self.name}: left over: {left}")

    def next_sweep(self) -> None:
        """Begin another sweep, where this one has come to its end."""
        self.sweeps += 1
        self.known = {}


def main(place: Path, kills: int, seed: int) -> int:
    """Kill so many processes in three parts; return the exit status."""
    expected, table = _undisturbed(place)
    print(
        f"{'part':10} {'kills':>5}  {'of which':44} {'sweeps':>6} {'lost':>4} {'wrong':>5} {'s':>5}"
    )
    parts: tuple[tuple[str, Callable[[Part], None], tuple[str, ...]], ...] = (
        ("pool", _start_pool, ("coordinator", "process")),
        ("workers", _start_workers, ("coordinator", "worker1", "worker2")),
        ("dask", _start_dask, ("coordinator", "scheduler", "worker1", "worker2")),
    )
    for number, (name, start, victims) in enumerate(parts):
        part = Part(place, name)
        count = kills * (number + 1) // len(parts) - kills * number // len(parts)
        start_s = time.monotonic()
        generator = random.Random(f"{seed} {name}")
        with contextlib.closing(_Ending(part)):
            while part.killed.total() < count:
                _kill_at_a_moment(part, start, generator, victims)
                part.check(expected)
                if part.known == expected:
                    part.finish(expected, table)
                    part.next_sweep()
            part.finish(expected, table)
        spent_s = time.monotonic() - start_s
        said = ", ".join(f"{number} {role}" for role, number in sorted(part.killed.items()))
        print(
            f"{name:10} {count:5}  {said:44} {part.sweeps:6} {0:4} {0:5} {spent_s:5.0f}", flush=True
        )
    return 0


class _Ending:
    """Kills what a part has left running, however it ends."""

    def __init__(self, part: Part) -> None:
        self._part = part

    def close(self) -> None:
        self._part.end()


def _kill_at_a_moment(
    part: Part,
    start: Callable[[Part], None],
    generator: random.Random,
    victims: tuple[str, ...],
) -> None:
    """Start what is missing, wait, and kill; where a victim has ended by itself, wait anew."""
    while True:
        start(part)
        time.sleep(generator.uniform(*_MOMENT_S))
        victim = generator.choice(victims)
        if victim == "process":
            coordinator = part.processes["coordinator"]
            while not (found := list(_grandchildren(coordinator.pid))):
                if coordinator.poll() is not None:
                    break
                time.sleep(0.1)
            if not found:
                continue  # the sweep has ended: another moment
            with contextlib.suppress(ProcessLookupError):  # ended just now: another moment
                os.kill(generator.choice(found), signal.SIGKILL)
                part.killed[victim] += 1
                return
        elif victim in part.processes and part.processes[victim].poll() is None:
            part.kill(victim)
            return
        elif _is_done(part):
            return  # nobody is left: the sweep has come to its end


def _is_done(part: Part) -> bool:
    return sum(1 for _ in ResultStore(part.out / "store").entries()) == _POINTS


def _start_pool(part: Part) -> None:
    part.start("coordinator", "freezingtime", *part.sweep, "--workers", "2")


def _start_workers(part: Part) -> None:
    def start_coordinator() -> None:
        part.start("coordinator", "freezingtime", *part.sweep, "--workers", "0")

    start_coordinator()
    _wait_for((part.out / "work" / "queue.json").exists, start_coordinator)
    for role in ("worker1", "worker2"):
        arguments = ("--quiet", "--workers", "1", "--lease", _LEASE)
        part.start(role, "freezingtime", "worker", str(part.out), *arguments)


def _start_dask(part: Part) -> None:
    file = part.place / "scheduler.json"
    if "scheduler" not in part.processes:
        file.unlink(missing_ok=True)
        for role in ("worker1", "worker2", "coordinator"):  # without a scheduler they end
            if role in part.processes:
                process = part.processes.pop(role)
                process.kill()
                process.wait()
    here = ("--host", "127.0.0.1", "--no-dashboard")
    scheduler = ("distributed.cli.dask_scheduler", "--port", "0", "--scheduler-file", str(file))
    part.start("scheduler", *scheduler, *here)
    _wait_for(lambda: _address(file) is not None, lambda: None)
    address = _address(file) or ""
    for role in ("worker1", "worker2"):
        one = ("--nthreads", "1", "--no-nanny", "--local-directory", str(part.place / "dask"))
        part.start(role, "distributed.cli.dask_worker", address, *one, *here)
    part.start("coordinator", "freezingtime", *part.sweep, "--dask", address)


def _address(file: Path) -> str | None:
    try:
        return str(json.loads(file.read_text())["address"])
    except (OSError, ValueError):
        return None  # not written yet


def _wait_for(is_there: Callable[[], bool], meanwhile: Callable[[], None]) -> None:
    deadline_s = time.monotonic() + _DEADLINE_S
    while not is_there():
        if time.monotonic() > deadline_s:
            raise SystemExit("what should have started has not")
        meanwhile()
        time.sleep(0.05)


def _undisturbed(place: Path) -> tuple[dict[str, str], bytes]:
    """The results of a sweep that nobody disturbs, by their keys, and its table."""
    whole = Part(place, "whole")
    command = [sys.executable, "-m", "freezingtime", *whole.sweep]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    entries = ResultStore(whole.out / "store").entries()
    results = {
        each.key: each.content.identity["requests"]
        for each in entries
        if isinstance(each, StoredResult)
    }
    if len(results) != _POINTS:
        raise SystemExit("the undisturbed sweep has not all results")
    return results, (whole.out / "results.parquet").read_bytes()


def _grandchildren(parent: int) -> Iterator[int]:
    """The processes that the server of processes has started for a sweep."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            stats[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    children = {pid for pid, of in stats.items() if of == parent}
    yield from (pid for pid, of in stats.items() if of in children)


def _session_members(session: int) -> list[str]:
    command = ["ps", "-s", str(session), "-o", "pid=,stat=,args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return [line for line in listed.stdout.splitlines() if "Z" not in line.split()[1]]
