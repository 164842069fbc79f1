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
import warnings
from collections.abc import Iterator, Sequence
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
from tests.conftest import skip
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
    "tests/vm/test_queue_depth.py",
    "tests/guest/test_guest_snapshot.py",
    "tests/guest/test_death.py",
    "tests/vm/test_qemus.py",
    "tests/faults/test_faults_guest.py",
)


#: The slow ones too, such as each frontend's latencies; but not the same deaths at many more
#: moments, nor those of an image's build, which is not QEMU's affair.
_PYTEST_OPTIONS = (
    *("-q", "-n", "auto", "--dist", "loadfile"),
    *("-k", "not twenty_random_moments and not TestImageBuild"),
)


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


def oldest_qemu() -> Path:
    """The directory with the oldest QEMU that can be had; skips where there is none."""
    return _first_to_be_had(SUITES)


def newest_qemu() -> Path:
    """The directory with the newest QEMU that can be had; skips where there is none."""
    return _first_to_be_had(SUITES[::-1])


def _first_to_be_had(suites: Sequence[str]) -> Path:
    """Unpack a QEMU of the first suite that can be had: a mirror may be weeks behind in sid."""
    missing = []
    for suite in suites:
        try:
            return unpacked_qemu(suite)
        except QemuUnavailableError as error:
            missing.append(str(error))
            warnings.warn(f"no QEMU of {suite} can be had: {error}", stacklevel=1)
    skip("no QEMU of any suite can be had: " + "; ".join(missing))
    raise AssertionError("skipped")


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


def run_tests(root: Path) -> tuple[bool, str]:
    """Run the tests with the QEMU of this directory: whether all passed, and their last line."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *_PYTEST_OPTIONS, *_TESTS],
        env={**os.environ, VARIABLE: str(root)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    print(ran.stdout, flush=True)
    last = next(reversed(ran.stdout.strip().splitlines()), "nothing printed").strip("= ")
    # Interrupted or killed, pytest may say nothing of a failure.
    passed = ran.returncode == 0
    return passed, last if passed else f"{last} (exit status {ran.returncode})"


def _word(good: bool) -> str:
    return "yes" if good else "NO"


class Tried(NamedTuple):
    """How a suite's QEMU did."""

    suite: str
    row: Row | None
    """None: it could not be had, or would not do."""
    passed: bool
    """Whether the tests passed, if they were to run."""
    tests: str
    """Last line of the tests, or what was wrong."""

    @property
    def good(self) -> bool:
        return self.row is not None and self.row.on_time and self.row.same and self.passed

    def cells(self, reference: Row) -> Iterator[str]:
        """Cells of the table; ``reference`` is what the figure is compared with."""
        yield self.suite
        if self.row is not None:
            yield from (self.row.version, self.row.kernel)
            yield from (_word(self.row.on_time), _word(self.row.same))
            yield format_time_ns(round(self.row.mean_ns))
            yield f"{self.row.mean_ns - reference.mean_ns:+.2f} ns"
        else:
            yield from ["-"] * 6
        yield self.tests


def _try(suite: str, *, with_tests: bool) -> Tried:
    """Try one suite's QEMU; the others are tried whatever comes of it."""
    try:
        root = unpacked_qemu(suite)
        row = measure(root)
    except (FreezingTimeError, QemuUnavailableError) as error:
        return Tried(suite, None, False, f"error: {error}")
    return Tried(suite, row, *(run_tests(root) if with_tests else (True, "not run")))


def main() -> int:
    """Test the QEMUs of the suites that are named, or of all; 1 if one does not do."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("suite", nargs="*", default=SUITES, help=", ".join(SUITES))
    parser.add_argument("--no-tests", action="store_true", help="only the table")
    arguments = parser.parse_args()
    tried: list[Tried] = []
    for suite in arguments.suite:
        tried.append(_try(suite, with_tests=not arguments.no_tests))
        print(f"{suite}: {tried[-1].row}, tests: {tried[-1].tests}", flush=True)
    reference = next((each.row for each in tried if each.row is not None), None)
    if reference is not None:
        columns = ("suite", "QEMU", "guest", "on time", "same", "mean")
        table = rich.table.Table(*columns, f"to {reference.version}", "tests")
        for each in tried:
            table.add_row(*each.cells(reference))
        rich.console.Console(width=160).print(table)
    return 0 if all(each.good for each in tried) else 1


if __name__ == "__main__":
    sys.exit(main())
