# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes of which a power cut took something, with what that was."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from freezingtime.errors import RunError
from freezingtime.explore.crash.lost.naming import name_contents
from freezingtime.explore.crash.recovery.candidate import Candidate, ignore_read
from freezingtime.explore.crash.recovery.disk_file import write_disk
from freezingtime.explore.crash.states import Fate
from freezingtime.explore.crash.undecided import Piece
from freezingtime.medium.base import SECTOR_BYTES
from freezingtime.runs.options import RunOptions
from freezingtime.trace.explored.crash_files import LostWrite


def places_by_write(pieces: Sequence[Piece]) -> list[list[int]]:
    """The places of each write's pieces."""
    groups = itertools.groupby(range(len(pieces)), key=lambda place: pieces[place].sequence)
    return [list(places) for _, places in groups]


def lost_writes(candidate: Candidate, names: Sequence[str]) -> Iterator[LostWrite]:
    """The writes of which something was lost in a state; ``names`` are of the disks."""
    pieces, fates = candidate.states.pieces, candidate.state.fates
    for places in places_by_write(pieces):
        lost = [place for place in places if fates[place] != Fate.NEW]
        if lost:
            first, last = pieces[lost[0]].sectors[0], pieces[lost[-1]].sectors[-1]
            yield LostWrite(
                names[pieces[lost[0]].disk],
                int(first) * SECTOR_BYTES,
                int(last - first + 1) * SECTOR_BYTES,
                len(lost),
                len(places),
                "/".join(sorted({Fate(fates[place]).name.lower() for place in lost})),
            )


def named(
    lost: Sequence[LostWrite],
    candidate: Candidate,
    disk_names: Sequence[str],
    file_systems: Sequence[str | None],
    options: RunOptions,
    scratch: Path,
) -> tuple[LostWrite, ...]:
    """Say of each lost write what it would have held.

    ``file_systems`` are of the disks; ``options`` are of the guest that looks at them.

    Raises:
        RunError: it failed, or the host's disk is full.
    """
    found = list(lost)
    kept = bytes([Fate.NEW]) * len(candidate.states.pieces)
    whole = replace(candidate, state=candidate.states.state(kept))
    for disk, (name, file_system) in enumerate(zip(disk_names, file_systems, strict=True)):
        places = [place for place, write in enumerate(found) if write.disk == name]
        if not places or file_system is None:
            continue
        image = scratch / "names.raw"
        try:
            write_disk(whole.medium(disk, ignore_read), image)
            spans = [(found[place].offset_bytes, found[place].length_bytes) for place in places]
            contents = name_contents(file_system, image, spans, options, scratch)
        except OSError as error:
            raise RunError(f"cannot write {image}: {error.strerror}; free space") from error
        finally:
            image.unlink(missing_ok=True)
        for place, holds in zip(places, contents or (), strict=False):
            found[place] = replace(found[place], holds=holds)
    return tuple(found)
