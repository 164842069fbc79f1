# SPDX-License-Identifier: GPL-2.0-or-later
"""A job that says what it has stored, and whether that is there afterwards."""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from experiments.crash.programs import bring, find, write_script

#: Where the job's disk is mounted.
POINT = "/data"
#: The settings by which SQLite promises that a commit survives; each with its journal.
DURABLE = (("delete", "extra"), ("wal", "full"))

_DISK_BYTES = 48 << 20
_JOB = """#!/bin/sh
cd /data
sql() {{ /job/sqlite3 shop.db "$@"; }}
sql "pragma journal_mode = {journal}" "create table orders (number integer)" >/dev/null || exit
echo begun
number=0
while :; do
    number=$((number + 1))
    sql "pragma synchronous = {synchronous}" "insert into orders values ($number)" || exit
    echo "ACK order $number"
    seq $number $((number + 3000)) >new && sync new && mv new file$number && sync . || exit
    echo "ACK file $number"
done
"""
_ACKNOWLEDGED = re.compile(r"^ACK (order|file) ([0-9]+)$", re.MULTILINE)
#: What e2fsck ends with that found nothing, or has put all of it right.
_HEALTHY = (0, 1)
_DEADLINE_S = 60.0


def write_job(job: Path, journal: str, synchronous: str) -> None:
    """Write the job and its program into a new directory.

    Raises:
        RunError: ``sqlite3`` is not installed.
    """
    job.mkdir()
    bring("sqlite3", job)
    write_script(job / "run", _JOB.format(journal=journal, synchronous=synchronous))


def make_disk(path: Path) -> None:
    """Make an image with an empty ext4: a sparse file.

    Raises:
        RunError: its tools are not installed.
    """
    with path.open("xb") as file:
        file.truncate(_DISK_BYTES)
    _run([find("mkfs.ext4"), "-q", "-F", path])


def acknowledged(output: str) -> list[tuple[str, int]]:
    """What the job has said that it has stored; a line that was cut off does not count."""
    whole = output[: output.rfind("\n") + 1]
    return [(what, int(number)) for what, number in _ACKNOWLEDGED.findall(whole)]


def find_lost(image: Path, stored: Sequence[tuple[str, int]], scratch: Path) -> list[str]:
    """Recover a copy of the image as a boot would, and name what is not as it was acknowledged.

    Raises:
        RunError: its tools are not installed.
    """
    copy, tree = scratch / "copy", scratch / "tree"
    shutil.copyfile(image, copy)
    checked = _run([find("e2fsck"), "-p", copy], check=False)
    if checked.returncode not in _HEALTHY:
        return [f"e2fsck -p: exit status {checked.returncode}: {checked.stdout.strip()}"]
    tree.mkdir()
    _run([find("debugfs"), "-R", f"rdump / {tree}", copy])
    return [*_lost_files(tree, stored), *_lost_orders(tree, stored)]


def _lost_files(tree: Path, stored: Sequence[tuple[str, int]]) -> Iterator[str]:
    for what, number in stored:
        if what != "file":
            continue
        path = tree / f"file{number}"
        content = "".join(f"{line}\n" for line in range(number, number + 3001)).encode()
        if not path.exists():
            yield f"{path.name} is not there"
        elif _digest(path.read_bytes()) != _digest(content):
            yield f"{path.name} is not what was stored"


def _lost_orders(tree: Path, stored: Sequence[tuple[str, int]]) -> Iterator[str]:
    numbers = [number for what, number in stored if what == "order"]
    if not numbers:
        return
    (tree / "shop.db-shm").unlink(missing_ok=True)  # an index of the log, of no use to others
    try:
        with closing(sqlite3.connect(tree / "shop.db")) as database:
            (state,) = database.execute("pragma integrity_check").fetchone()
            found = {number for (number,) in database.execute("select number from orders")}
    except sqlite3.Error as error:
        yield f"shop.db: {error}"
        return
    if state != "ok":
        yield f"shop.db: {state}"
    yield from (f"order {number} is not there" for number in numbers if number not in found)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _run(command: Sequence[str | Path], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=check, capture_output=True, text=True, timeout=_DEADLINE_S, errors="replace"
    )
