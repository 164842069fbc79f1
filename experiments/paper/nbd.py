# SPDX-License-Identifier: GPL-2.0-or-later
"""NBD servers in real time, and fio as their client: reads that take as long as they take."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from freezingtime.errors import InputError, RunError
from freezingtime.trace.readers.fio.latency_log import read_latency_log

SIZE = "64M"
_READY_DEADLINE_S = 60.0
_STOP_DEADLINE_S = 10.0
_FIO_DEADLINE_S = 600.0


def require_programs(*names: str) -> None:
    """Raise InputError if one is not installed."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise InputError(f"not installed: {', '.join(missing)}; 'make paper' installs them")


def nbdkit_command(delay: str | None) -> list[str]:
    """nbdkit with its memory plugin; ``delay`` as its filter takes it, for reads."""
    filters = [] if delay is None else ["--filter=delay"]
    parameters = [] if delay is None else [f"rdelay={delay}"]
    return ["nbdkit", "--foreground", *filters, "--unix", "{socket}", "memory", SIZE, *parameters]


def serve_command(disk: str) -> list[str]:
    """Our own server of that disk."""
    return [sys.executable, "-m", "freezingtime", "serve", disk, "--socket", "{socket}"]


@contextlib.contextmanager
def serving(command: Sequence[str]) -> Iterator[Path]:
    """A server while it serves; gives its socket, which ``{socket}`` in the command stands for.

    Raises:
        RunError: it has ended, or is not ready in time.
    """
    with tempfile.TemporaryDirectory(prefix="freezingtime-paper-") as directory:
        socket, log = Path(directory) / "socket", Path(directory) / "log"
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [part.format(socket=socket) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            ) as server,
        ):
            try:
                _await_socket(server, socket, log)
                yield socket
            finally:
                server.terminate()
                try:
                    server.wait(_STOP_DEADLINE_S)
                except subprocess.TimeoutExpired:
                    server.kill()


def _await_socket(server: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    deadline_s = time.monotonic() + _READY_DEADLINE_S
    while not socket.exists():
        if server.poll() is not None or time.monotonic() > deadline_s:
            said = log.read_text(errors="replace").strip()
            raise RunError(f"{server.args!r} does not serve: {said or 'it says nothing'}")
        time.sleep(0.01)


def random_reads_ns(socket: Path, count: int) -> NDArray[np.int64]:
    """4 KiB random reads, one at a time, by fio's own NBD client; each one's latency.

    Raises:
        RunError: fio failed.
    """
    with tempfile.TemporaryDirectory(prefix="freezingtime-paper-") as directory:
        done = subprocess.run(
            [
                *("fio", "--name=reads", "--ioengine=nbd", f"--uri=nbd+unix:///?socket={socket}"),
                *("--rw=randread", "--bs=4k", "--iodepth=1", f"--size={SIZE}"),
                *(f"--number_ios={count}", "--randseed=1", "--write_lat_log=reads"),
            ],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_FIO_DEADLINE_S,
        )
        if done.returncode:
            raise RunError(f"fio: {done.stderr.strip() or done.stdout.strip()}")
        return read_latency_log(Path(directory) / "reads_lat.1.log").latency_ns


@contextlib.contextmanager
def busy_processors() -> Iterator[None]:
    """One process that only computes for each processor, meanwhile."""
    with contextlib.ExitStack() as cleanup:
        for _ in range(os.cpu_count() or 1):
            spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            cleanup.callback(spinner.wait)
            cleanup.callback(spinner.kill)
        yield
