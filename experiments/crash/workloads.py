# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs whose disks lose power: such as have a bug that must be found, and such as have none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.crash import postgresql, sqlite
from experiments.crash.programs import write_script

from freezingtime.disk.mount import FILE_SYSTEMS

_HERE = Path(__file__).parent
#: Its cache is volatile; the other's flush does nothing, too.
SSD, LIAR = _HERE / "ssd.toml", _HERE / "liar.toml"

_LINES = 2000
#: Replaces a file as applications do.
_REPLACE = """#!/bin/sh
cd /data
for version in $(seq {versions}); do
    {{ echo "$version"; seq {lines}; }} >new
    {sync_file}
    mv new order
    {sync_directory}
    echo "ACK order"
done
"""
#: As many versions as were acknowledged: the file is the last of these or a later one, and whole.
_CHECK_REPLACED = f"""
acknowledged=$(wc -l </job/acked)
if [ "$acknowledged" -gt 0 ]; then
    read -r version </data/order || bad "the file is lost"
    [ "$version" -ge "$acknowledged" ] || bad "the file is the one before"
    {{ echo "$version"; seq {_LINES}; }} | cmp -s - /data/order || bad "the file is not whole"
fi
"""
#: Files of many sizes, in directories of their own; names are given anew.
_FILES = """#!/bin/sh
cd /data
for number in $(seq FILES); do
    mkdir d$number
    seq $((number * number * 40)) >d$number/new
    sync d$number/new
    mv d$number/new d$number/file
    sync d$number .
    echo "ACK d$number/file $(sha256sum <d$number/file | cut -c 1-64)"
done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A job, what it runs on, and what must come of it."""

    name: str
    device: Path = SSD
    file_system: str = "ext4"
    guest: str = "mini"
    fill: Callable[[Path], str] | None = None
    """Makes the disk in a directory, once for all; None: it is empty."""
    write_job: Callable[[Path], None]
    """Writes the job into its directory."""
    check: str | None = None
    """A script; None: the default check, of the file system and of the files acknowledged."""
    check_first: str = ""
    """What else the default check looks at."""
    points: str = "every-write"
    since: str | None = None
    until: str | None = None
    """Between what output of the job."""
    states: int
    """How many of a point."""
    finds: str | None = None
    """What the reason of a failure must say; None: nothing may fail."""


def _replace(versions: int, *, sync_file: bool, sync_directory: bool) -> Callable[[Path], None]:
    text = _REPLACE.format(
        versions=versions,
        lines=_LINES,
        sync_file="sync new" if sync_file else ":",
        sync_directory="sync ." if sync_directory else ":",
    )
    return lambda job: write_script(job / "run", text)


def _files(count: int) -> Callable[[Path], None]:
    return lambda job: write_script(job / "run", _FILES.replace("FILES", str(count)))


def _shop(synchronous: str, journal_mode: str, orders: int) -> Callable[[Path], None]:
    return lambda job: sqlite.write_shop(
        job, synchronous=synchronous, journal_mode=journal_mode, orders=orders
    )


def _bank(name: str, settings: str, last: str = ":", **values: Any) -> Workload:
    return Workload(
        name=f"PostgreSQL, {name}",
        guest=postgresql.GUEST,
        fill=postgresql.fill_bank,
        write_job=lambda job: postgresql.write_bank(job, settings=settings, last=last),
        check=postgresql.CHECK,
        points="all-flushes",
        **values,
    )


def planted() -> Iterator[Workload]:
    """Jobs with a bug of the application's, of the device's, or of a setting."""
    for name in FILE_SYSTEMS:
        yield Workload(
            name=f"no fsync before rename, {name}",
            file_system=name,
            write_job=_replace(1, sync_file=False, sync_directory=True),
            states=8,
            check_first=_CHECK_REPLACED,
            finds="the file is (lost|not whole)",
        )
    for name in FILE_SYSTEMS:
        yield Workload(
            name=f"no fsync of the directory, {name}",
            file_system=name,
            write_job=_replace(1, sync_file=True, sync_directory=False),
            states=8,
            check_first=_CHECK_REPLACED,
            finds="the file is lost",
        )
    for name in FILE_SYSTEMS:
        yield Workload(
            name=f"a flush that does nothing, {name}",
            device=LIAR,
            file_system=name,
            write_job=_replace(1, sync_file=True, sync_directory=True),
            points="all-flushes",
            states=16,
            check_first=_CHECK_REPLACED,
            finds=".",  # whatever the file system makes of it
        )
    for setting in ("off", "full"):
        yield Workload(
            name=f"SQLite, rollback journal, synchronous = {setting}",
            write_job=_shop(setting, "delete", 2),
            check=sqlite.CHECK,
            states=8,
            finds="orders are lost",
        )
    # Until the kernel writes back by itself what nobody flushed.
    yield _bank(
        "fsync = off",
        "-c fsync=off",
        "sleep 40",
        since="ACK 3",
        states=4,
        finds="a transaction is lost|not of one version|damaged|does not start",
    )
    # Its pages have two halves for such a device, and a checkpoint writes them over what is there.
    yield _bank(
        "full_page_writes = off",
        "-c full_page_writes=off",
        since=postgresql.CHECKPOINT_BEGINS,
        until=postgresql.CHECKPOINT_ENDS,
        states=16,
        finds="does not start|damaged",
    )


def right(scale: int) -> Iterator[Workload]:
    """Jobs without a bug: a failure would be a false alarm. ``scale`` multiplies the states."""
    for name in FILE_SYSTEMS:
        yield Workload(
            name=f"replaced files, {name}",
            file_system=name,
            write_job=_replace(4, sync_file=True, sync_directory=True),
            check_first=_CHECK_REPLACED,
            states=8 * scale,
        )
        yield Workload(
            name=f"new files, {name}",
            file_system=name,
            write_job=_files(6),
            states=8 * scale,
        )
    for setting, journal_mode in (("extra", "delete"), ("extra", "truncate"), ("full", "wal")):
        yield Workload(
            name=f"SQLite, {journal_mode}, synchronous = {setting}",
            write_job=_shop(setting, journal_mode, 6),
            check=sqlite.CHECK,
            states=8 * scale,
        )
    # A recovery of it costs as much as ten of the others.
    yield _bank("fsync and full_page_writes = on", "", states=max(4, scale))
