# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMUs of Debian's suites, unpacked into the cache: no root, nothing installed.

`make test-qemus` runs this as a program: the tests that a QEMU may break, once for each suite, and
a table of what one job sees in each.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import rich.console
import rich.table

from freezingtime.errors import FreezingTimeError
from freezingtime.images.debian.suite import Suite
from freezingtime.images.qemu import fetch_qemu
from freezingtime.units import format_time_ns
from freezingtime.vm.qemu.probe import probe
from freezingtime.vm.qemu.program import VARIABLE, find_qemu
from tests.support.guestlib import GuestRun, fio_command, mean_latency_ns, run_guest

#: From the oldest QEMU to the newest.
SUITES = ("bookworm", "bookworm-backports", "trixie", "forky", "sid")

#: What a QEMU may break, of the tests that there are.
_TESTS = (
    "tests/guest/test_exact.py",
    "tests/guest/test_reproducible.py",
    "tests/guest/test_cpus.py",
    "tests/agent/test_audit.py",
    "tests/guest/test_frontends.py",
    "tests/guest/test_queue_depth.py",
    "tests/guest/test_guest_snapshot.py",
    "tests/guest/test_death.py",
    "tests/vm/test_qemus.py",
)


_PYTEST_OPTIONS = ("-q", "-n", "auto", "--dist", "loadfile", "-m", "not slow")


class QemuUnavailableError(Exception):
    """The packages of a suite cannot be had here."""


def unpacked_qemu(suite: str) -> Path:
    """The directory with a suite's QEMU and all that it needs, fetched if it is not there.

    Raises:
        QemuUnavailableError: it cannot be fetched.
    """
    try:
        return fetch_qemu(Suite(suite), lambda _step, _done, _total: None)
    except FreezingTimeError as error:
        raise QemuUnavailableError(str(error)) from error


class Row(NamedTuple):
    """What one job saw in one QEMU."""

    version: str
    kernel: str
    on_time: bool
    same: bool
    mean_ns: float


#: Reads of one disk at a time, in a guest of one CPU and in one of four.
_DEVICE = "constant:100us"
_JOB = fio_command(rw="randread", number_ios=400)


def measure(root: Path) -> Row:
    """Run the job in the QEMU of this directory, over a fast and a slow medium."""
    version = probe(find_qemu(str(root))).version.split()[0]
    on_time, same = True, True
    runs: list[GuestRun] = []
    for cpus in (1, 4):
        pair = [
            run_guest(_JOB, device, check=False, cpu_count=cpus, qemu=str(root))
            for device in (_DEVICE, f"{_DEVICE},delay=2ms")
        ]
        on_time &= all(ran.result.valid for ran in pair)
        same &= pair[0].stdout == pair[1].stdout
        runs += pair
    first = runs[0]
    mean_ns = mean_latency_ns(first.fio(), "read")
    return Row(version, first.result.image.manifest.kernel_release, on_time, same, mean_ns)


def _test(root: Path) -> str:
    """Run the tests with the QEMU of this directory; return pytest's last line."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *_PYTEST_OPTIONS, *_TESTS],
        env={**os.environ, VARIABLE: str(root)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    print(ran.stdout, flush=True)
    return ran.stdout.strip().splitlines()[-1].strip("= ")


def _word(good: bool) -> str:
    return "yes" if good else "NO"


def main() -> int:
    """Test the QEMUs of the suites that are named, or of all; 1 if one does not do."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("suite", nargs="*", default=SUITES, help=", ".join(SUITES))
    parser.add_argument("--no-tests", action="store_true", help="only the table")
    arguments = parser.parse_args()
    table = rich.table.Table("suite", "QEMU", "guest", "on time", "same", "mean", "to 7.2", "tests")
    reference_ns: float | None = None
    status = 0
    for suite in arguments.suite:
        root = unpacked_qemu(suite)
        row = measure(root)
        reference_ns = row.mean_ns if reference_ns is None else reference_ns
        tested = "not run" if arguments.no_tests else _test(root)
        good = row.on_time and row.same and "failed" not in tested and "error" not in tested
        status |= not good
        print(f"{suite}: {row._asdict()}, tests: {tested}", flush=True)
        table.add_row(
            *(suite, row.version, row.kernel, _word(row.on_time), _word(row.same)),
            format_time_ns(round(row.mean_ns)),
            f"{row.mean_ns - reference_ns:+.2f} ns",
            tested,
        )
    rich.console.Console(width=160).print(table)
    return status


if __name__ == "__main__":
    sys.exit(main())
