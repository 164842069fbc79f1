# SPDX-License-Identifier: GPL-2.0-or-later
"""What an exact run costs beside an older version: ``python bench/before.py COMMIT``.

That version is installed from its commit, behind this one's dependencies. Both run the same jobs
in turn, and the ratio is taken round by round. Printed is the CPU time of all processes of a run,
without what a start takes: on a shared host wall time says less. The first time, a guest image
with PostgreSQL is built, and each version prepares a database in it; that takes some minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
REPOSITORY = Path(__file__).resolve().parent.parent
IMAGE = "bench-database"
SSD = "micron-7450-pro-960gb"

READS = 20_000
TRANSACTIONS = 25  # of each client

_POSTGRES = (
    "programs=$(dirname /usr/lib/postgresql/*/bin/postgres); cd /tmp; "
    "as() { setpriv --reuid postgres --regid postgres --clear-groups "
    'env PATH=$programs:$PATH "$@"; }'
)
_PREPARE = (
    f"set -e; {_POSTGRES}; "
    "mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 /dev/vda; mount /dev/vda /mnt; "
    "mkdir /mnt/data; chown postgres: /mnt/data; "
    "as initdb -D /mnt/data --no-sync --auth=trust --locale=C >/dev/null; "
    "as pg_ctl -D /mnt/data -w -o '-k /tmp -c listen_addresses=' -l /tmp/log start >/dev/null; "
    "as pgbench -h /tmp -i -q -s 4 postgres >/dev/null 2>&1; "
    "as psql -h /tmp -d postgres -At -c CHECKPOINT >/dev/null"
)
_MEASURE = (
    f"set -e; {_POSTGRES}; "
    f"as pgbench -h /tmp -n -c 8 -j 4 -t {TRANSACTIONS} --random-seed=1 postgres >/dev/null"
)


@dataclass(frozen=True)
class Version:
    """One installed version of Freezing Time."""

    name: str
    path: Path | None
    """Where its package is; None: this environment's."""

    @property
    def machine(self) -> str:
        """Name of the machine that this version has saved, with the database filled."""
        return f"bench-{self.name}"

    def run(self, *arguments: str) -> float:
        """Run freezingtime; return the CPU time of all processes in s."""
        environment = dict(os.environ)
        if self.path is not None:
            environment["PYTHONPATH"] = str(self.path)
        command = [sys.executable, "-m", "freezingtime", *arguments]
        before_s = _children_cpu_s()
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise SystemExit(f"before: {self.name}: {ran.stderr}")
        return _children_cpu_s() - before_s


class Cost(NamedTuple):
    """CPU time of a job's processes, and how long it was in the guest."""

    cpu_s: float
    guest_ns: int


@dataclass(frozen=True)
class Load:
    """What a guest does, and where."""

    title: str
    machine: tuple[str, ...]
    disk: tuple[str, ...]
    script: str


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def loads_of(version: Version) -> list[Load]:
    """Return the loads as a version runs them: each starts from its own saved machine."""
    fio = (
        "fio --name=cost --filename=/dev/vda --direct=1 --rw=randread --bs=4k --ioengine=psync "
        f"--size=512m --output=/dev/null --number_ios={READS}"
    )
    return [
        Load(f"{READS} reads, depth 1, constant:10us", (), ("--disk", "constant:10us"), fio),
        Load(
            f"pgbench, 4 CPUs, 8 clients, {SSD}",
            ("--guest", IMAGE, "--from", version.machine),
            ("--disk", SSD),
            _MEASURE,
        ),
    ]


def measure(version: Version, load: Load) -> Cost:
    """Run a job, and one that does nothing."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "run"
        run = ("run", "--quiet", *load.machine, *load.disk)
        start_s = version.run(*run, "--", "true")
        whole_s = version.run(*run, "--out", str(out), "--", "sh", "-c", load.script)
        guest_ns = json.loads((out / "run.json").read_text())["job"]["guest_ns"]
    return Cost(whole_s - start_s, guest_ns)


def prepare(version: Version) -> None:
    """Have a version save a machine with the database."""
    with contextlib.suppress(SystemExit):  # of an earlier bench
        version.run("snapshot", "remove", version.machine)
    version.run(
        *("run", "--quiet", "--guest", IMAGE, "--cpus", "4", "--memory", "1GiB"),
        *("--disk", "constant:0,size=1GiB", "--save", version.machine, "--", "sh", "-c", _PREPARE),
    )


def install(commit: str, directory: Path) -> Version:
    """Install the version of a commit."""
    revision = subprocess.run(
        ["git", "-C", str(REPOSITORY), "rev-parse", commit],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    source = f"git+file://{REPOSITORY}@{revision}"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(directory)]
    subprocess.run([*pip, source], check=True)
    return Version(revision[:8], directory)


def main() -> None:
    """Print one row for each load."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python bench/before.py COMMIT")
    with tempfile.TemporaryDirectory() as directory:
        versions = [install(sys.argv[1], Path(directory)), Version("now", None)]
        packages = ("--packages", "postgresql", "--size", "4GiB")
        versions[1].run("image", "build", "debian", *packages, "--name", IMAGE)
        for version in versions:
            prepare(version)
        table = Table("load", "guest ms", "before, CPU s", "now, CPU s", "before / now")
        for before, now in zip(*map(loads_of, versions), strict=True):
            rounds = [
                (measure(versions[0], before), measure(versions[1], now)) for _ in range(ROUNDS)
            ]
            times = sorted({f"{cost.guest_ns / 1e6:.6f}" for costs in rounds for cost in costs})
            ratios = [was.cpu_s / is_now.cpu_s for was, is_now in rounds]
            before_s, now_s = (
                statistics.median(costs[side].cpu_s for costs in rounds) for side in (0, 1)
            )
            table.add_row(
                *(now.title, " or ".join(times)),
                *(f"{before_s:.1f}", f"{now_s:.1f}", f"{statistics.median(ratios):.2f}"),
            )
    load = f"load average of the last 5 minutes {os.getloadavg()[1]:.1f}"
    Console(width=140).print(table, f"{ROUNDS} rounds, {os.cpu_count()} cores, {load}")


if __name__ == "__main__":
    main()
