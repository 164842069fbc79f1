# SPDX-License-Identifier: GPL-2.0-or-later
"""A state as a medium, and recoveries that are one: against bytes and against running all."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.device.faults.durability import Durability
from freezingtime.explore.crash.derive import derive
from freezingtime.explore.crash.image import BASE, new_images
from freezingtime.explore.crash.reads import ReadNotes, ReadTree, TouchedSectors
from freezingtime.explore.crash.recovery.state_medium import StateMedium, contents_of
from freezingtime.explore.crash.states import CrashState, Fate, PointStates
from freezingtime.medium.base import SectorError
from freezingtime.medium.memory import MemoryMedium
from freezingtime.request import Operation, Request
from freezingtime.trace.explored.crash_files import CutPoint
from freezingtime.trace.writes.log import WriteLog, WriteLogWriter

SECTORS = 40
ALL = tuple(Fate)


def sector(number: int) -> bytes:
    return number.to_bytes(2, "little") * 256


def base() -> MemoryMedium:
    medium = MemoryMedium(SECTORS * 512)
    for number in range(SECTORS):
        medium.write(number * 512, sector(1000 + number))
    return medium


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[int, list[int]]]:
    """Writes, none of them flushed: a first sector, and what is in each."""
    return draw(
        st.lists(
            st.tuples(
                st.integers(0, SECTORS - 5),
                st.lists(st.integers(0, 5), min_size=1, max_size=4),
            ),
            min_size=1,
            max_size=3,
        )
    )


def states_of(directory: Path, writes: list[tuple[int, list[int]]]) -> PointStates:
    with WriteLogWriter(directory, [SECTORS]) as log:
        for first, numbers in writes:
            data = b"".join(map(sector, numbers))
            log.arrive(0, Request(Operation.WRITE, first * 512, len(data), data), 1, 0)
    with WriteLog(directory) as read:
        events = list(read.events())
    ((_, states),) = derive(
        events,
        [CutPoint(len(events), 0, 0, "")],
        0,
        new_images([SECTORS], [BASE]),
        [Durability()],
        ALL,
    )
    return states


@given(logs(), st.data())
@settings(max_examples=30)
def test_a_medium_has_the_bytes_of_its_state(
    tmp_path_factory: pytest.TempPathFactory,
    writes: list[tuple[int, list[int]]],
    data: st.DataObject,
) -> None:
    directory = tmp_path_factory.mktemp("log")
    states = states_of(directory, writes)
    fates = data.draw(
        st.lists(
            st.sampled_from([Fate.OLD, Fate.NEW, Fate.ZERO, Fate.UNREADABLE]),
            min_size=len(states.pieces),
            max_size=len(states.pieces),
        )
    )
    expected: list[bytes | None] = [sector(1000 + number) for number in range(SECTORS)]
    flat = [
        (first + place, number) for first, numbers in writes for place, number in enumerate(numbers)
    ]
    for (place, number), fate in zip(flat, fates, strict=True):
        if fate is not Fate.OLD:
            values = {Fate.NEW: sector(number), Fate.ZERO: bytes(512), Fate.UNREADABLE: None}
            expected[place] = values[fate]
    state = states.state(bytes(fates))
    changes = {change[0]: change for change in state.changes}
    with WriteLog(directory) as log:
        medium = StateMedium(base(), states.images[0], changes.get(0), log, 0)
        for first in range(0, SECTORS, 8):
            wanted = expected[first : first + 8]
            if None in wanted:
                with pytest.raises(SectorError) as failed:
                    medium.read(first * 512, 8 * 512)
                assert failed.value.errno == errno.EIO
                first_bad = first + wanted.index(None)
                assert f"sector {first_bad} " in str(failed.value)
            else:
                assert medium.read(first * 512, 8 * 512) == b"".join(
                    map(bytes, filter(None, wanted))
                )


def test_garbage_repeats_and_is_of_the_seed(tmp_path: Path) -> None:
    states = states_of(tmp_path, [(3, [1])])
    state = states.state(bytes([Fate.GARBAGE]))
    with WriteLog(tmp_path) as log:
        of_seed = [
            StateMedium(base(), states.images[0], state.changes[0], log, seed).read(3 * 512, 512)
            for seed in (1, 1, 2)
        ]
    assert of_seed[0] == of_seed[1] != of_seed[2]
    assert sector(1) not in of_seed
    assert sector(1003) not in of_seed


def test_nobody_writes_a_state(tmp_path: Path) -> None:
    states = states_of(tmp_path, [(3, [1])])
    with WriteLog(tmp_path) as log:
        medium = StateMedium(base(), states.images[0], None, log, 0)
        for change in (
            lambda: medium.write(0, sector(0)),
            lambda: medium.zero(0, 512),
            lambda: medium.discard(0, 512),
        ):
            with pytest.raises(OSError, match="cannot be written"):
                change()


def test_a_recovery_s_disk_is_read_over_the_state_that_it_began_with(tmp_path: Path) -> None:
    """What a second power cut leaves: of the recovery's writes, of the job's, and of before."""
    (tmp_path / "job").mkdir()
    (tmp_path / "recovery").mkdir()
    first = states_of(tmp_path / "job", [(3, [1, 2, 3])])
    second = states_of(tmp_path / "recovery", [(4, [7, 8])])
    state = first.state(bytes([Fate.NEW, Fate.OLD, Fate.NEW]))
    again = second.state(bytes([Fate.NEW, Fate.OLD]))
    with WriteLog(tmp_path / "job") as job, WriteLog(tmp_path / "recovery") as recovery:
        below = StateMedium(base(), first.images[0], state.changes[0], job, 0)
        medium = StateMedium(below, second.images[0], again.changes[0], recovery, 0)
        found = [int.from_bytes(medium.read(n * 512, 512)[:2], "little") for n in range(2, 7)]
    assert found == [1002, 1, 7, 3, 1006]


def recover(medium: StateMedium) -> int:
    """A recovery that follows pointers from sector to sector, and adds up what it finds."""
    place, total = 0, 0
    for _ in range(6):
        data = bytes(medium.read(place * 512, 512))
        number = int.from_bytes(data[:2], "little")
        total = total * 31 + number
        place = (place * 3 + number) % (SECTORS // 2)
    return total


@given(logs())
@settings(max_examples=8)
def test_pruned_states_end_as_if_they_had_been_run(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, list[int]]]
) -> None:
    """All that the tree knows without a run is what a run finds."""
    directory = tmp_path_factory.mktemp("log")
    states = states_of(directory, writes)
    touched_of_log: TouchedSectors
    with WriteLog(directory) as log:
        touched_of_log = TouchedSectors(log.events())
        tree: ReadTree[int] = ReadTree()
        run_count = 0
        for choice in states.choices(100, ""):
            if Fate.UNREADABLE in choice:
                continue
            state = states.state(choice)
            notes = ReadNotes(touched_of_log)
            change = next(iter(state.changes), None)
            medium = StateMedium(base(), states.images[0], change, log, 0, notes.note)
            outcome = recover(medium)
            known = tree.find(
                lambda disk, sectors, change=change: contents_of(
                    states.images[disk], change, sectors
                )
            )
            if known is None:
                run_count += 1
                tree.add(notes.reads, outcome)
            else:
                assert known == outcome
        assert run_count
        assert not tree.unlike_count


def test_a_recovery_that_reads_nothing_that_differs_is_run_once(tmp_path: Path) -> None:
    states = states_of(tmp_path, [(30, [1, 2, 3])])
    tree: ReadTree[str] = ReadTree()
    assert tree.find(lambda disk, sectors: np.zeros(0, np.int64)) is None
    tree.add([], "fine")
    assert tree.find(lambda disk, sectors: np.zeros(0, np.int64)) == "fine"
    assert states.possible_count == len(ALL) ** 3


def test_a_recovery_that_does_not_repeat_is_counted() -> None:
    tree: ReadTree[str] = ReadTree()
    one, other = np.array([1], np.int64), np.array([2], np.int64)
    tree.add([(0, one, one)], "fine")
    tree.add([(0, other, one)], "fine")
    assert tree.unlike_count == 1


def test_a_state_is_its_contents(tmp_path: Path) -> None:
    """Two writes of the same over each other: whichever is kept, it is the same disk."""
    states = states_of(tmp_path, [(3, [1]), (3, [1])])
    kept: list[CrashState] = [
        states.state(bytes(fates)) for fates in ([Fate.NEW, Fate.OLD], [Fate.OLD, Fate.NEW])
    ]
    assert kept[0].fingerprint == kept[1].fingerprint
