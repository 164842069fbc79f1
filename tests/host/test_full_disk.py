# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever a run writes may fail: one line says so, and guest time never shows it.

A preloaded library fails the writes of our own process (not QEMU's) to the files that it is told
of by a part of their path, with an error of choice, or writes less than was asked for.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import RunProgram, require_tool

pytestmark = pytest.mark.guest

SHORT = -1
"""Writes succeed, each with half of the bytes at most."""
INTERRUPTED = -2
"""Each write is interrupted once before it succeeds."""

LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* 0: leave it alone. */
static int fault_of(int fd)
{
    const char *part = getenv("FAULT_PATH"), *error = getenv("FAULT_ERROR");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = part && error ? readlink(link, path, sizeof path - 1) : -1;
    if (bytes < 0) {
        return 0;
    }
    path[bytes] = '\0';
    return strstr(path, part) ? atoi(error) : 0;
}

/* How many of the bytes to write; -1: fail, with errno. */
static ssize_t allowed(int fd, size_t bytes)
{
    static int interrupted;
    int fault = fault_of(fd);
    if (fault > 0) {
        errno = fault;
        return -1;
    }
    if (fault == -2 && (interrupted = !interrupted)) {
        errno = EINTR;
        return -1;
    }
    return (ssize_t)(fault == -1 && bytes > 1 ? bytes / 2 : bytes);
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    ssize_t count = allowed(fd, bytes);
    return count < 0 ? -1 : real(fd, data, (size_t)count);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite64");
    ssize_t count = allowed(fd, bytes);
    return count < 0 ? -1 : real(fd, data, (size_t)count, offset);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    ssize_t (*real)(int, const struct iovec *, int, off_t, int) = dlsym(RTLD_NEXT, "pwritev2");
    struct iovec first = parts[0];
    ssize_t bytes = allowed(fd, first.iov_len);
    if (bytes < 0) {
        return -1;
    }
    first.iov_len = (size_t)bytes;
    return real(fd, &first, 1, offset, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    return pwritev2(fd, parts, count, offset, flags);
}
"""

PRINT = "seq 1 3000"
COMPLAIN = "echo error >&2"
SPEAK_ON_CONSOLE = "echo word >/dev/console"
WRITE = "dd if=/dev/zero of=/dev/vda bs=4k count=4 oflag=direct status=none"
LEAVE_A_FILE = "seq 1 30000 >/root/result"
ALL = "; ".join([PRINT, COMPLAIN, SPEAK_ON_CONSOLE, WRITE, LEAVE_A_FILE])
#: Has statistics, so that all files of a run's directory are written.
DEVICE_OF_ALL = "aws-gp2-100gib"
#: Files in TMPDIR have no name.
UNNAMED = " (deleted)"


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The preloaded library."""
    directory = tmp_path_factory.mktemp("faults")
    source, library = directory / "faults.c", directory / "faults.so"
    source.write_text(LIBRARY)
    command = [require_tool("gcc"), "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


def run_with_fault(
    freezingtime: RunProgram,
    faults: Path,
    directory: Path,
    path: str,
    fault: int,
    job: str = ALL,
    device: str = "constant:10us",
) -> subprocess.CompletedProcess[str]:
    scratch = directory / "scratch"
    scratch.mkdir()
    medium = directory / "medium.raw"
    medium.write_bytes(bytes(1 << 20))
    environment = {
        "LD_PRELOAD": str(faults),
        "FAULT_PATH": path,
        "FAULT_ERROR": str(fault),
        "TMPDIR": str(scratch),
    }
    ended = freezingtime(
        *("run", "-q", "--disk", f"{device},medium=file:{medium}"),
        *("--collect", "/root/result", "--out", directory / "run", "--", f"{job}; true"),
        environment=environment,
    )
    assert list(scratch.iterdir()) == []
    return ended


@pytest.mark.parametrize(
    ("path", "job", "error", "words"),
    [
        (UNNAMED, PRINT, errno.ENOSPC, "the job's output cannot be stored in"),
        pytest.param(
            *(UNNAMED, COMPLAIN, errno.EIO, "the job's stderr cannot be stored in"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *(UNNAMED, SPEAK_ON_CONSOLE, errno.ENOSPC, "the guest's console cannot be stored in"),
            marks=pytest.mark.slow,
        ),
        (UNNAMED, WRITE, errno.ENOSPC, "copy-on-write file in "),
        (UNNAMED, LEAVE_A_FILE, errno.ENOSPC, "files from the guest cannot be stored in"),
        pytest.param(
            *("/run/stdout.txt", ALL, errno.ENOSPC, "free space, or name another --out"),
            marks=pytest.mark.slow,
        ),
        ("/requests.parquet.arrows", ALL, errno.EIO, "free space, or name another --out"),
        pytest.param(
            *(".requests.parquet.", ALL, errno.ENOSPC, "free space, or name another --out"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("/run/.statistics.parquet.", ALL, errno.EIO, "free space, or name another --out"),
            marks=pytest.mark.slow,
        ),
        ("/run/.run.json.", ALL, errno.EDQUOT, "free space, or name another --out"),
        ("/result", ALL, errno.ENOSPC, "cannot write the collected files"),
    ],
)
def test_a_write_that_fails_ends_the_run_with_one_line(
    freezingtime: RunProgram,
    faults: Path,
    tmp_path: Path,
    path: str,
    job: str,
    error: int,
    words: str,
) -> None:
    ended = run_with_fault(freezingtime, faults, tmp_path, path, error, job, DEVICE_OF_ALL)
    assert ended.returncode == 1, ended.stderr
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("freezingtime: "), ended.stderr
    assert words in line
    assert os.strerror(error) in line
    assert "Traceback" not in ended.stderr
    # Nothing passes for the results of a run that has ended well.
    assert not (tmp_path / "run" / "run.json").exists()
    assert not list((tmp_path / "run").glob("*.partial"))
    assert not list((tmp_path / "run").glob(".*.partial"))


def test_a_full_stdout_ends_the_run_with_one_line(freezingtime: RunProgram) -> None:
    to_full_disk = ["sh", "-c", 'exec "$@" >/dev/full', "sh"]
    ended = freezingtime("run", "-q", "--", "echo hi; sleep 1000000", prefix=to_full_disk)
    assert ended.returncode == 1
    assert ended.stderr == "freezingtime: cannot write to stdout: No space left on device\n"


def test_a_full_stderr_leaves_the_status(freezingtime: RunProgram) -> None:
    ended = freezingtime("none-such", prefix=["sh", "-c", 'exec "$@" 2>/dev/full', "sh"])
    assert (ended.returncode, ended.stdout) == (2, "")


@pytest.mark.parametrize("arguments", [("devices",), ("--version",), ("explain", "frozen")])
def test_a_full_stdout_is_named_by_every_command(
    freezingtime: RunProgram, arguments: tuple[str, ...]
) -> None:
    ended = freezingtime(*arguments, prefix=["sh", "-c", 'exec "$@" >/dev/full', "sh"])
    assert ended.returncode == 1
    assert ended.stderr == "freezingtime: cannot write to stdout: No space left on device\n"


def test_writes_that_are_short_or_interrupted_change_nothing(
    freezingtime: RunProgram, faults: Path, tmp_path: Path
) -> None:
    results = []
    for name, fault in (("plain", 0), ("short", SHORT), ("interrupted", INTERRUPTED)):
        directory = tmp_path / name
        directory.mkdir()
        ended = run_with_fault(freezingtime, faults, directory, f"/{name}/", fault)
        assert ended.returncode == 0, ended.stderr
        run = directory / "run"
        job = json.loads((run / "run.json").read_text())["job"]
        results.append((job["start_ns"], job["end_ns"], ended.stdout, ended.stderr))
        assert (run / "stdout.txt").read_text() == ended.stdout
        assert (run / "collected" / "root" / "result").read_text().endswith("\n30000\n")
    assert results == results[:1] * 3
