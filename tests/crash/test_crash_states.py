# SPDX-License-Identifier: GPL-2.0-or-later
"""The states that a power cut could leave, against a model that tries everything by force.

The model knows single sectors and whole histories, and none of images, chunks or fingerprints.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.device.faults.durability import Durability
from freezingtime.errors import InputError
from freezingtime.explore.crash.choices import EXHAUSTIVE_MOST, SAMPLED
from freezingtime.explore.crash.derive import derive
from freezingtime.explore.crash.image import BASE, CHUNK_SECTORS, new_images
from freezingtime.explore.crash.points import (
    JobSpan,
    Stretch,
    choose_points,
    parse_selection,
)
from freezingtime.explore.crash.states import CrashState, Fate, PointStates
from freezingtime.request import Operation
from freezingtime.trace.explored.crash_files import CutPoint
from freezingtime.trace.writes.log import WriteEvent, WriteEventKind

LOST_OR_KEPT = (Fate.OLD, Fate.NEW)
#: Around the border of two chunks, so that writes lie in both.
FIRST = CHUNK_SECTORS - 4
SECTORS = 8
DISK_SECTORS = (CHUNK_SECTORS * 2, CHUNK_SECTORS * 2)
Model = dict[tuple[int, int], int]
"""Content by disk and sector."""


def arrival(sequence: int, time_ns: int, operation: Operation, **values: int) -> WriteEvent:
    first, count = values.get("first", 0), values.get("count", 0)
    contents = None
    if operation is Operation.WRITE:
        contents = np.arange(count) + 100 * sequence
    return WriteEvent(
        WriteEventKind.ARRIVAL,
        operation,
        bool(values.get("fua", 0)),
        values.get("disk", 0),
        sequence,
        time_ns,
        first,
        count,
        0,
        contents,
    )


def completion(of: WriteEvent, time_ns: int) -> WriteEvent:
    return replace(of, kind=WriteEventKind.COMPLETION, time_ns=time_ns, contents=None)


@st.composite
def histories(draw: st.DrawFn) -> list[WriteEvent]:
    """A few requests that arrive, overlap and complete in any order."""
    requests = draw(
        st.lists(
            st.tuples(
                st.sampled_from(
                    [Operation.WRITE, Operation.WRITE, Operation.FLUSH, Operation.DISCARD]
                ),
                st.integers(0, 1),
                st.integers(0, SECTORS - 1),
                st.integers(1, 3),
                st.booleans(),
            ),
            min_size=1,
            max_size=5,
        )
    )
    arrivals = []
    for sequence, (operation, disk, place, length, fua) in enumerate(requests, 1):
        values = {"disk": disk}
        if operation is not Operation.FLUSH:
            count = min(length, SECTORS - place)
            values |= {"first": FIRST + place, "count": count, "fua": fua}
        arrivals.append(arrival(sequence, 0, operation, **values))
    events: list[WriteEvent] = []
    waiting, under_way = list(arrivals), []
    while waiting or under_way:
        if waiting and (not under_way or draw(st.booleans())):
            event = replace(waiting.pop(0), time_ns=10 * len(events) + 10)
            under_way.append(event)
            events.append(event)
        else:
            done = under_way.pop(draw(st.integers(0, len(under_way) - 1)))
            events.append(completion(done, 10 * len(events) + 10))
    return events


def durabilities_of(draw: st.DrawFn) -> Durability:
    unit = draw(st.sampled_from([1, 2]))
    return Durability(
        is_volatile=draw(st.booleans()),
        ignores_flush=draw(st.booleans()),
        torn_unit_sectors=unit,
        atomic_write_sectors=draw(st.sampled_from([unit, 2, 4])),
        atomic_boundary_sectors=draw(st.sampled_from([0, 2, 4])),
        cache_sectors=draw(st.sampled_from([None, None, 1, 3, 5])),
        drain_after_ns=draw(st.sampled_from([None, None, 10, 25])),
    )


durabilities = st.composite(durabilities_of)()


def by_force(
    events: Sequence[WriteEvent], cut: int, durabilities: Sequence[Durability]
) -> set[frozenset[tuple[tuple[int, int], int]]]:
    """Every state before the event ``cut``: each piece of each write there, or not there."""
    before = events[:cut]
    arrived = [event for event in before if event.kind is WriteEventKind.ARRIVAL]
    completed_at = {
        event.sequence: place
        for place, event in enumerate(before)
        if event.kind is WriteEventKind.COMPLETION
    }
    arrived_at = {
        event.sequence: place
        for place, event in enumerate(before)
        if event.kind is WriteEventKind.ARRIVAL
    }
    flushes = [event for event in arrived if event.operation is Operation.FLUSH]

    def is_flushed(write: WriteEvent, place: int) -> bool:
        """Whether it is durable behind the event at a place, if caches write nothing back."""
        rule = durabilities[write.disk]
        if completed_at.get(write.sequence, place + 1) > place:
            return False
        if not rule.is_volatile:
            return True
        if rule.ignores_flush:
            return False
        return write.fua or any(
            flush.disk == write.disk
            and completed_at.get(flush.sequence, place + 1) <= place
            and completed_at[write.sequence] < arrived_at[flush.sequence]
            for flush in flushes
        )

    # What the caches have written back: event by event, the oldest first.
    drained: set[int] = set()
    for place in range(len(before)):
        now_ns = events[min(place + 1, len(events) - 1)].time_ns
        for disk, rule in enumerate(durabilities):
            cached = [
                write
                for write in sorted(arrived, key=lambda each: completed_at.get(each.sequence, 0))
                if write.disk == disk
                and write.operation is not Operation.FLUSH
                and completed_at.get(write.sequence, place + 1) <= place
                and not is_flushed(write, place)
                and write.sequence not in drained
            ]
            limit = rule.cache_sectors
            while limit is not None and sum(each.sector_count for each in cached) > limit:
                drained.add(cached.pop(0).sequence)
            for write in cached:
                done_ns = before[completed_at[write.sequence]].time_ns
                if rule.drain_after_ns is not None and done_ns + rule.drain_after_ns <= now_ns:
                    drained.add(write.sequence)

    def is_durable(write: WriteEvent) -> bool:
        return write.sequence in drained or is_flushed(write, len(before) - 1)

    pieces: list[tuple[Model, bool]] = []
    for write in arrived:
        if write.operation is Operation.FLUSH:
            continue
        rule, last = durabilities[write.disk], write.first_sector + write.sector_count
        contents = [0] * write.sector_count if write.contents is None else list(write.contents)
        cells = {
            (write.disk, write.first_sector + place): int(content)
            for place, content in enumerate(contents)
        }
        boundary = rule.atomic_boundary_sectors
        crosses = boundary and (write.first_sector // boundary != (last - 1) // boundary)
        is_whole = write.operation is Operation.DISCARD or (
            write.sector_count <= rule.atomic_write_sectors and not crosses
        )
        groups: dict[int, Model] = {}
        for (disk, sector), content in cells.items():
            group = 0 if is_whole else sector // rule.torn_unit_sectors
            groups.setdefault(group, {})[disk, sector] = content
        pieces += [(group, is_durable(write)) for group in groups.values()]
    states = set()
    for kept in itertools.product((False, True), repeat=len(pieces)):
        if all(keep for keep, (_, durable) in zip(kept, pieces, strict=True) if durable):
            state: Model = {}
            for keep, (cells, _) in zip(kept, pieces, strict=True):
                state |= cells if keep else {}
            states.add(frozenset(state.items()))
    return states


def content(states: PointStates, state: CrashState) -> frozenset[tuple[tuple[int, int], int]]:
    """All sectors of a state that are not as before the run."""
    cells: Model = {}
    for image in states.images:
        for first, contents in image.stored():
            for place in np.flatnonzero(contents != BASE):
                cells[image.disk, first + int(place)] = int(contents[place])
    for disk, sectors, contents in state.changes:
        for sector, number in zip(sectors.tolist(), contents.tolist(), strict=True):
            cells.pop((disk, sector), None)
            if number != BASE:
                cells[disk, sector] = number
    return frozenset(cells.items())


def states_at(
    events: Sequence[WriteEvent], cut: int, rules: Sequence[Durability], start_ns: int = 0
) -> PointStates:
    time_ns = events[min(cut, len(events) - 1)].time_ns
    point = CutPoint(cut, time_ns, 0, "")
    images = new_images(DISK_SECTORS, [BASE, BASE])
    ((_, states),) = derive(events, [point], start_ns, images, rules, LOST_OR_KEPT)
    return states


@given(histories(), durabilities, durabilities, st.data())
@settings(max_examples=150)
def test_derived_states_are_those_that_can_be(
    events: list[WriteEvent], first: Durability, second: Durability, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(events)))
    states = states_at(events, cut, [first, second])
    if len(states.pieces) > 12:
        return
    derived = [states.state(choice) for choice in states.choices(1 << 12, "")]
    contents = {content(states, state) for state in derived}
    assert contents == by_force(events, cut, [first, second])
    # One fingerprint for each content, and another for each other.
    by_fingerprint = {state.fingerprint: content(states, state) for state in derived}
    assert len(by_fingerprint) == len(contents)


@given(histories(), durabilities)
@settings(max_examples=50)
def test_equal_contents_at_two_points_have_one_fingerprint(
    events: list[WriteEvent], rule: Durability
) -> None:
    """However they came about: durable in one, kept by chance in the other."""
    found: dict[frozenset[tuple[tuple[int, int], int]], int] = {}
    for cut in range(len(events) + 1):
        states = states_at(events, cut, [rule, rule])
        for choice in itertools.islice(states.choices(None, ""), 40):
            state = states.state(choice)
            assert found.setdefault(content(states, state), state.fingerprint) == state.fingerprint
    assert len(set(found.values())) == len(found)


def four_writes() -> list[WriteEvent]:
    writes = [
        arrival(number, number, Operation.WRITE, first=8 * number, count=8)
        for number in range(1, 5)
    ]
    return [*writes, *(completion(write, 100 + write.time_ns) for write in writes)]


def test_more_than_ten_pieces_are_sampled_by_strata() -> None:
    events = four_writes()
    states = states_at(events, len(events), [Durability()] * 2)
    assert len(states.pieces) == 32
    choices = list(states.choices(None, "1"))
    assert len(choices) == len(set(choices)) == SAMPLED < EXHAUSTIVE_MOST
    assert choices[:2] == [bytes([Fate.NEW]) * 32, bytes([Fate.OLD]) * 32]
    assert choices == list(states.choices(None, "1")) != list(states.choices(None, "2"))
    many = set(states.choices(2000, "1"))
    for number in range(4):  # each write lost, each kept, and none but the first ones kept
        lost = b"\1" * 8 * number + b"\0" * 8 + b"\1" * 8 * (3 - number)
        assert {lost, lost.translate(bytes([1, 0, *range(2, 256)]))} <= many
        assert b"\1" * 8 * (number + 1) + b"\0" * 8 * (3 - number) in many
    for place in range(32):
        lost = b"\1" * place + b"\0" + b"\1" * (31 - place)
        assert {lost, lost.translate(bytes([1, 0, *range(2, 256)]))} <= many


def test_a_limit_bounds_also_what_could_be_exhaustive() -> None:
    events = four_writes()[:2]
    states = states_at(events, 2, [Durability(torn_unit_sectors=2)] * 2)
    assert states.possible_count == 256
    assert len(list(states.choices(None, ""))) == 256
    assert len(list(states.choices(20, ""))) == 20


@pytest.mark.parametrize("limit", [1, 100, 624])
def test_any_number_of_states_can_be_drawn(limit: int) -> None:
    """Also nearly all of them, and with all values."""
    events = [arrival(1, 1, Operation.WRITE, first=5, count=4)]
    images = new_images(DISK_SECTORS, [BASE, BASE])
    ((_, states),) = derive(
        events, [CutPoint(1, 0, 0, "")], 0, images, [Durability()] * 2, tuple(Fate)
    )
    assert states.possible_count == 5**4
    assert len(set(states.choices(limit, ""))) == limit


def test_damaged_pieces_are_among_the_states() -> None:
    events = [arrival(1, 1, Operation.WRITE, first=5, count=1)]
    images = new_images(DISK_SECTORS, [BASE, BASE])
    fates = (Fate.OLD, Fate.NEW, Fate.ZERO, Fate.GARBAGE, Fate.UNREADABLE)
    ((_, states),) = derive(events, [CutPoint(1, 0, 0, "")], 0, images, [Durability()] * 2, fates)
    derived = [states.state(choice) for choice in states.choices(None, "")]
    assert [content(states, state) for state in derived] == [
        frozenset(),
        *(frozenset({((0, 5), number)}) for number in (100, 0, -3, -2)),
    ]


def test_what_completed_before_the_job_is_durable() -> None:
    write = arrival(1, 10, Operation.WRITE, first=0, count=1)
    late = arrival(2, 40, Operation.WRITE, first=1, count=1)
    events = [write, completion(write, 20), late]
    assert len(states_at(events, 3, [Durability()] * 2, start_ns=30).pieces) == 1
    assert len(states_at(events, 3, [Durability()] * 2, start_ns=15).pieces) == 2


def flushed_job() -> list[WriteEvent]:
    events = []
    for number in range(3):
        write = arrival(2 * number + 1, 100 * number + 10, Operation.WRITE, first=number, count=1)
        flush = arrival(2 * number + 2, 100 * number + 30, Operation.FLUSH)
        printed = 6 * number
        events += [
            replace(event, output_bytes=printed)
            for event in (
                write,
                completion(write, write.time_ns + 10),
                flush,
                completion(flush, flush.time_ns + 10),
            )
        ]
    return events


@pytest.mark.parametrize(
    ("text", "cuts"),
    [
        ("all-flushes", [3, 7, 11, 12]),
        ("every-write", [1, 3, 5, 7, 9, 11, 12]),
        ("at=20ns", [2]),
        ("at=119ns", [5]),
        ("at=300ns", [12]),
        ("after=ACK 0", [4]),
        ("after=ACK [0-9]", [4, 8, 12]),
    ],
)
def test_points(text: str, cuts: list[int]) -> None:
    span = JobSpan(0, 300, b"ACK 0\nACK 1\nACK 2\n")
    points = choose_points(flushed_job(), parse_selection(text), span, 0)
    assert [point.event for point in points] == cuts


@pytest.mark.parametrize(
    ("text", "since", "until", "cuts"),
    [
        ("all-flushes", "ACK 0", None, [7, 11, 12]),
        ("all-flushes", None, "ACK 0", [3]),
        ("all-flushes", "ACK 0", "ACK .", [7]),  # the next one
        ("every-write", "ACK 0", "ACK 1", [5, 7]),
        ("every-write", "ACK 2", None, [12]),
        ("1", "ACK 0", "ACK 1", [5]),
        ("3", "ACK 0", "ACK 1", [5, 7]),
    ],
)
def test_points_of_a_part_of_the_job(
    text: str, since: str | None, until: str | None, cuts: list[int]
) -> None:
    span = JobSpan(0, 300, b"ACK 0\nACK 1\nACK 2\n")
    stretch = Stretch.parse(since, until)
    points = choose_points(flushed_job(), parse_selection(text), span, 0, stretch)
    assert [point.event for point in points] == cuts


@pytest.mark.parametrize(
    ("since", "until", "message"),
    [
        ("ACK 7", None, "^--since ACK 7: the job printed nothing like that$"),
        ("ACK 1", "ACK 0", "^--until ACK 0: the job printed nothing like that behind what"),
        (None, "A", "^--until A: nothing was written or flushed before that$"),
        ("C", "K", "^--since C, --until K: nothing was written or flushed between them$"),
        ("ACK (", None, r"^--since ACK \(: no regular expression: "),
        (None, "x*", r"^--until x\*: matches an empty text; "),
    ],
)
def test_parts_of_the_job_that_are_not_there(
    since: str | None, until: str | None, message: str
) -> None:
    span = JobSpan(0, 300, b"ACK 0\nACK 1\nACK 2\n")
    events = [replace(event, output_bytes=1) for event in flushed_job()]

    def choose() -> None:
        choose_points(events, parse_selection("all-flushes"), span, 0, Stretch.parse(since, until))

    with pytest.raises(InputError, match=message):
        choose()


def test_random_points_are_seeded() -> None:
    span = JobSpan(0, 300, b"")
    of_seed = [choose_points(flushed_job(), parse_selection("3"), span, seed) for seed in (1, 1, 2)]
    assert of_seed[0] == of_seed[1] != of_seed[2]
    assert all(len(points) == 3 for points in of_seed)
    assert len(choose_points(flushed_job(), parse_selection("50"), span, 1)) == 7


def test_events_outside_the_job_are_no_points() -> None:
    span = JobSpan(115, 225, b"")
    points = choose_points(flushed_job(), parse_selection("every-write"), span, 0)
    assert [point.event for point in points] == [5, 7, 9, 10]
