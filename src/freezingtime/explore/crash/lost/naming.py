# SPDX-License-Identifier: GPL-2.0-or-later
"""Names for what a power cut took: a guest looks at the disk as it would be had nothing been lost.

There the files are whose parts were on their way. The tool that knows the file system runs in the
guest, and never on the host: what a guest has written is not to be trusted.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from freezingtime.disk.disk import Disk
from freezingtime.errors import RunError
from freezingtime.explore.crash.lost import btrfs, ext4, xfs
from freezingtime.explore.crash.lost.host_program import bring_program, find_host_program
from freezingtime.explore.crash.lost.spans import Span, blocks_of_all
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import make_plan
from freezingtime.runs.progress.observer import RunObserver
from freezingtime.runs.run import run
from freezingtime.trace.run_directory import STDOUT_NAME
from freezingtime.vm.job import directory_script

_log = logging.getLogger(__name__)

Contents = list[tuple[str, ...]]
"""What each of some spans holds."""
_DISK = "lost"
_LIMIT = "60s"
_POINT = "/lost"
# The journal is replayed first, as by a mount; what it repairs is in a layer that is forgotten.
_HEAD = f"""#!/bin/sh
disk=/dev/disk/by-id/virtio-{_DISK}
load() {{ ! command -v modprobe >/dev/null || modprobe -q "$1"; }}
mkdir -p {_POINT}
"""
_ASK_DEBUGFS = """e2fsck -p "$disk" >/dev/null 2>&1
./debugfs -f questions "$disk" 2>/dev/null
exit 0
"""
_ASK_XFS_DB = f"""load xfs
mount -t xfs "$disk" {_POINT} && umount {_POINT}
./xfs_db -r "$disk" <questions 2>/dev/null
exit 0
"""
# The tool prints a node of the disk, and the names of data that is mounted.
_ASK_BTRFS = f"""load btrfs
mount -t btrfs "$disk" {_POINT}
inspect() {{ ./btrfs inspect-internal "$@" 2>/dev/null; }}
while read -r address; do
    if [ "$address" = chunks ]; then
        inspect dump-tree -t chunk "$disk"
        continue
    fi
    echo "address $address"
    inspect logical-resolve "$address" {_POINT} || inspect dump-tree -b "$address" "$disk"
done <questions
exit 0
"""


class _Guest:
    """A guest that asks a tool about an image."""

    def __init__(self, image: Path, options: RunOptions, scratch: Path, script: str) -> None:
        self.image = image
        self._options = options
        self._scratch = scratch
        self._script = _HEAD + script
        self._job = scratch / "names-job"

    def bring(self, tool: str) -> None:
        """Take a program along, to be started from the job's directory."""
        self._job.mkdir()
        bring_program(tool, self._job)
        (self._job / "run").write_text(self._script)
        (self._job / "run").chmod(0o755)

    def leave(self) -> None:
        """Remove its files."""
        shutil.rmtree(self._job, ignore_errors=True)

    def ask(self, questions: Iterable[str]) -> str:
        """Return what the tool says."""
        (self._job / "questions").write_text("".join(f"{line}\n" for line in questions))
        out = self._scratch / "names-run"
        shutil.rmtree(out, ignore_errors=True)
        looking = dataclasses.replace(
            self._options,
            disks=(Disk("constant:10us", file=self.image, name=_DISK, format="raw"),),
            out=out,
            time_limit=_LIMIT,
            real_time_limit=None,
        )
        plan = make_plan(looking, script=directory_script(self._job), job_directory=self._job)
        run(plan, RunObserver())
        return (out / STDOUT_NAME).read_text(errors="replace")


def _name_ext4(guest: _Guest, start: bytes, spans: Sequence[Span]) -> Contents | None:
    block_bytes = ext4.block_bytes_of(start[:2048])
    if block_bytes is None:
        return None
    blocks = blocks_of_all(spans, block_bytes)
    of_blocks = guest.ask(["stats", *ext4.questions_about_blocks(blocks)])
    layout = ext4.read_layout(of_blocks)
    if layout is None or layout.block_bytes != block_bytes:
        return None
    inodes = sorted(ext4.inodes_to_name(layout, blocks, ext4.owners_of(of_blocks)))
    of_inodes = guest.ask(ext4.questions_about_inodes(inodes))
    answers = ext4.Ext4Answers.read(layout, of_blocks, of_inodes)
    return [answers.contents(*span) for span in spans]


def _name_xfs(guest: _Guest, start: bytes, spans: Sequence[Span]) -> Contents | None:
    layout = xfs.read_layout(start)
    if layout is None:
        return None
    blocks = blocks_of_all(spans, layout.block_bytes)
    said = guest.ask(xfs.questions_about_blocks(layout, blocks))
    answers = xfs.XfsAnswers.read(layout, said)
    return [answers.contents(*span) for span in spans]


def _name_btrfs(guest: _Guest, start: bytes, spans: Sequence[Span]) -> Contents | None:
    node_bytes = btrfs.node_bytes_of(start[btrfs.SUPERBLOCK_OFFSET_BYTES :])
    if node_bytes is None:
        return None
    layout = btrfs.BtrfsLayout(node_bytes, btrfs.read_chunks(guest.ask(["chunks"])))
    addresses = layout.addresses(blocks_of_all(spans, btrfs.BLOCK_BYTES))
    answers = btrfs.BtrfsAnswers.read(layout, guest.ask(map(str, addresses)), _POINT)
    return [answers.contents(*span) for span in spans]


@dataclass(frozen=True, slots=True)
class _Tool:
    program: str
    package: str
    """Of Debian's."""
    script: str
    name: Callable[[_Guest, bytes, Sequence[Span]], Contents | None]


_TOOLS = {
    "ext4": _Tool("debugfs", "e2fsprogs", _ASK_DEBUGFS, _name_ext4),
    "xfs": _Tool("xfs_db", "xfsprogs", _ASK_XFS_DB, _name_xfs),
    "btrfs": _Tool("btrfs", "btrfs-progs", _ASK_BTRFS, _name_btrfs),
}
#: The superblocks are within these.
_START_BYTES = 68 << 10


@functools.cache
def _say_missing(tool: _Tool) -> None:
    """Once."""
    _log.warning(
        "what was lost is not named: %s is not installed (Debian has it in %s)",
        tool.program,
        tool.package,
    )


def name_contents(
    file_system: str, image: Path, spans: Sequence[Span], options: RunOptions, scratch: Path
) -> Contents | None:
    """Return what each span of an image holds; None where nothing can tell.

    ``options`` are of the guest that looks; ``scratch`` is a directory for files.

    Raises:
        RunError: the guest that looks failed.
    """
    tool = _TOOLS[file_system]
    program = find_host_program(tool.program)
    if program is None:
        _say_missing(tool)
        return None
    guest = _Guest(image, options, scratch, tool.script)
    try:
        with image.open("rb") as file:
            start = file.read(_START_BYTES)
        guest.bring(program)
        return tool.name(guest, start, spans)
    except OSError as error:
        raise RunError(f"cannot write to {scratch}: {error.strerror}; free space") from error
    finally:
        guest.leave()
