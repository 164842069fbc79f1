# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMUs of Debian's suites, unpacked into the cache: no root, nothing installed.

`make test-qemus` runs this as a program: the tests that a QEMU may break, once for each suite, and
a table of what one job sees in each.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import rich.console
import rich.table

from freezingtime.store.cache import cache_directory
from freezingtime.units import format_time_ns
from freezingtime.vm.qemu.probe import probe
from freezingtime.vm.qemu.program import VARIABLE, find_qemu
from tests.support.guestlib import GuestRun, fio_command, mean_latency_ns, run_guest

_ARCHIVE = "http://deb.debian.org/debian"
_SECURITY = "http://deb.debian.org/debian-security"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_DEADLINE_S = 300.0


class Suite(NamedTuple):
    """Where a suite's packages come from, in the order of apt's sources, and its own options."""

    sources: tuple[tuple[str, str], ...]
    options: tuple[str, ...] = ()


_BOOKWORM = (
    (_ARCHIVE, "bookworm"),
    (_ARCHIVE, "bookworm-updates"),
    (_SECURITY, "bookworm-security"),
)
_TRIXIE = ((_ARCHIVE, "trixie"), (_ARCHIVE, "trixie-updates"), (_SECURITY, "trixie-security"))

#: From the oldest QEMU to the newest.
SUITES = {
    "bookworm": Suite(_BOOKWORM),
    "bookworm-backports": Suite(
        (*_BOOKWORM, (_ARCHIVE, "bookworm-backports")), ("-t", "bookworm-backports")
    ),
    "trixie": Suite(_TRIXIE),
    "forky": Suite(((_ARCHIVE, "forky"),)),
    "sid": Suite(((_ARCHIVE, "sid"),)),
}

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
    directory = cache_directory() / "test-qemus"
    directory.mkdir(exist_ok=True)
    root = directory / suite
    with (directory / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            building = directory / f"{suite}.unfinished"
            shutil.rmtree(building, ignore_errors=True)
            _fetch(SUITES[suite], building)
            (building / "root").rename(root)
            shutil.rmtree(building)
    return root


def _fetch(suite: Suite, building: Path) -> None:
    for part in ("lists/partial", "archives/partial", "root"):
        (building / part).mkdir(parents=True)
    (building / "status").touch()
    (building / "sources.list").write_text(
        "".join(f"deb [signed-by={_KEYRING}] {uri} {name} main\n" for uri, name in suite.sources)
    )
    settings = {
        "Dir::State": building,
        "Dir::State::lists": building / "lists",
        "Dir::State::status": building / "status",
        "Dir::Cache": building,
        "Dir::Cache::archives": building / "archives",
        "Dir::Etc::sourcelist": building / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "true",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    _run("apt-get", *options, "update", "-qq")
    install = ("install", "-qq", "-y", "--download-only")
    _run("apt-get", *options, *suite.options, *install, "qemu-system-x86")
    for package in sorted((building / "archives").glob("*.deb")):
        _run("dpkg-deb", "-x", str(package), str(building / "root"))


def _run(*command: str) -> None:
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise QemuUnavailableError(str(error)) from error
    if ran.returncode != 0:
        raise QemuUnavailableError(f"{command[0]}: {ran.stderr.strip()[-200:]}")


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
    parser.add_argument("suite", nargs="*", default=list(SUITES), help=", ".join(SUITES))
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
