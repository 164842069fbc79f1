# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices made of devices: the machinery that stripe, mirror, RAID and tiers share.

A request to the whole becomes *phases*, each a list of requests to members; a phase is
submitted when the one before it has completed, and the request completes with its last
phase. What has to happen after that, such as filling a cache, is *background* work.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from freezingtime.annotation import EMPTY_ANNOTATION, UNKNOWN, Annotation
from freezingtime.device.base import Device, statistics_of
from freezingtime.device.compose.members import (
    Chunk,
    Composition,
    Members,
    MemberTable,
    SizedMember,
    SizedMemberTable,
    StripedMembers,
)
from freezingtime.device.contract import GuardedDevice
from freezingtime.device.kept.state import (
    State,
    entry,
    integer,
    items,
    one_of,
    packed_request,
    require,
    unpacked_request,
)
from freezingtime.device.model_parameters import Making
from freezingtime.device.parameters import Table
from freezingtime.device.schema import key
from freezingtime.request import Operation, Request

#: Which member, and what is asked of it.
Part: TypeAlias = tuple[int, Request]
Phase: TypeAlias = Sequence[Part]


@dataclass(slots=True)
class Plan:
    """Plan of a request to the whole, in phases. Empty phases are skipped."""

    phases: Sequence[Phase]
    background: Sequence[Phase] = ()
    served_from: int = UNKNOWN
    """Where the data come from, or go to, if that is the composition's to say."""


@dataclass(slots=True, eq=False)
class _Progress:
    """A plan under way; ``request`` is None once what is left is background work."""

    request: Request | None
    phases: list[Phase]
    background: Sequence[Phase]
    served_from: int = UNKNOWN
    open_count: int = 0
    service_start_ns: int = UNKNOWN
    annotation: Annotation = EMPTY_ANNOTATION
    """What is said of the part that was done last."""


class CompositeDevice(Device):
    """Write :meth:`plan` only. Members complete in the order of their events' times;
    members with an event at the same time, in their own order."""

    def __init__(self, members: Sequence[Device]) -> None:
        """``members`` must be devices of their own, not used elsewhere."""
        if not members:
            raise ValueError("a composite device needs at least one member")
        self.members = [
            GuardedDevice(member, f"member {number}") for number, member in enumerate(members)
        ]
        self._progress: dict[Request, _Progress] = {}
        self._completed: list[Request] = []
        self._completed_at_ns = 0

    @abstractmethod
    def plan(self, request: Request) -> Plan:
        """Plan how to carry out ``request``, which arrives now."""

    def submit(self, request: Request, now_ns: int) -> None:
        plan = self.plan(request)
        progress = _Progress(request, list(plan.phases), plan.background, plan.served_from)
        self._continue(progress, now_ns)

    def next_event_ns(self) -> int | None:
        if self._completed:
            return self._completed_at_ns
        event = self._next_member_event()
        return None if event is None else event[0]

    def advance(self, now_ns: int) -> list[Request]:
        while (event := self._next_member_event()) is not None and event[0] <= now_ns:
            event_ns, index = event
            for part in self.members[index].advance(event_ns):
                self._note(part, index)
                self._part_done(part, event_ns)
        completed, self._completed = self._completed, []
        return completed

    def inner_device(self, index: int) -> Device:
        """Return a member, of which nothing is due."""
        return self.members[index].device

    def statistics(self) -> dict[str, float]:
        """The members' statistics, prefixed with their numbers."""
        collected = {}
        for number, member in enumerate(self.members):
            own = statistics_of(member)
            collected.update({f"{number}.{name}": value for name, value in own.items()})
        return collected

    def save_state(self, under_way: Mapping[Request, int]) -> State:
        members = [member.save_state() for member in self.members]
        # All parts there are, by their numbers: first those that members have.
        parts = [each for member in self.members for each in member.under_way]
        plans = list(dict.fromkeys(map(self._progress.__getitem__, parts)))
        place = {id(plan): number for number, plan in enumerate(plans)}
        submitted_count = len(parts)
        packed_plans = [self._packed_plan(plan, under_way, parts) for plan in plans]
        return {
            "members": members,
            "plan_of": [place[id(self._progress[each])] for each in parts[:submitted_count]],
            "plans": packed_plans,
            "waiting": [packed_request(each) for each in parts[submitted_count:]],
            "completed": [under_way[each] for each in self._completed],
            "completed_at_ns": self._completed_at_ns,
            "own": self.own_state({each: number for number, each in enumerate(parts)}),
        }

    def load_state(self, state: State, under_way: Sequence[Request]) -> None:
        members = items(entry(state, "members"), "the members")
        require(len(members) == len(self.members), "the number of members")
        parts = [
            each
            for member, loaded in zip(self.members, members, strict=True)
            for each in member.load_state(loaded)
        ]
        plan_of = items(entry(state, "plan_of"), "the plans")
        require(len(plan_of) == len(parts), "the plans")
        submitted = list(parts)
        parts += [unpacked_request(each) for each in items(entry(state, "waiting"), "parts")]
        plans = [
            self._unpacked_plan(each, under_way, parts)
            for each in items(entry(state, "plans"), "the plans")
        ]
        for each, number in zip(submitted, plan_of, strict=True):
            plan = one_of(plans, number, "a plan")
            plan.open_count += 1
            self._progress[each] = plan
        require(all(plan.open_count for plan in plans), "a plan")
        completed = items(entry(state, "completed"), "what has completed")
        self._completed = [one_of(under_way, number, "a request") for number in completed]
        self._completed_at_ns = integer(entry(state, "completed_at_ns"), "a time")
        self.restore_own(entry(state, "own"), parts)

    def own_state(self, _parts: Mapping[Request, int]) -> State:
        """Return what the composition itself remembers; ``parts`` has the number of each part."""
        return {}

    def restore_own(self, state: State, parts: Sequence[Request]) -> None:
        """Go on from what :meth:`own_state` returned. Raises StateError."""

    def _packed_plan(
        self, plan: _Progress, under_way: Mapping[Request, int], parts: list[Request]
    ) -> list[Any]:
        """A plan as plain data; the parts that no member has yet are appended to ``parts``."""

        def packed(phases: Sequence[Phase]) -> list[list[list[int]]]:
            numbers = []
            for phase in phases:
                first = len(parts)
                parts.extend(each for _, each in phase)
                numbers.append([[member, first + at] for at, (member, _) in enumerate(phase)])
            return numbers

        return [
            None if plan.request is None else under_way[plan.request],
            *(packed(plan.phases), packed(plan.background)),
            *(
                int(plan.served_from),
                plan.service_start_ns,
                [int(said) for said in plan.annotation],
            ),
        ]

    def _unpacked_plan(
        self, packed: object, under_way: Sequence[Request], parts: Sequence[Request]
    ) -> _Progress:
        values = items(packed, "a plan")
        require(len(values) == 6, "a plan")

        def unpacked(phases: object) -> list[Phase]:
            return [
                [
                    (integer(member, "a member", most=len(self.members) - 1), part_at(number))
                    for member, number in items(phase, "a phase")
                ]
                for phase in items(phases, "the phases")
            ]

        def part_at(number: object) -> Request:
            request: Request = one_of(parts, number, "a part")
            return request

        annotation = [integer(said, "an annotation", -1) for said in items(values[5], "it")]
        require(len(annotation) == len(Annotation._fields), "an annotation")
        return _Progress(
            None if values[0] is None else one_of(under_way, values[0], "a request"),
            *(unpacked(values[1]), unpacked(values[2])),
            served_from=integer(values[3], "an annotation", -1, 127),
            service_start_ns=integer(values[4], "a time", -1),
            annotation=Annotation._make(annotation),
        )

    def everywhere(self, request: Request) -> Phase:
        """The request without its range, to every member: flushes."""
        return [(index, part_of(request, 0, 0)) for index in range(len(self.members))]

    def _next_member_event(self) -> tuple[int, int] | None:
        return min(
            (
                (event, index)
                for index, member in enumerate(self.members)
                if (event := member.next_event_ns()) is not None
            ),
            default=None,
        )

    def _note(self, part: Request, member: int) -> None:
        """Keep what a member says of a part."""
        progress = self._progress[part]
        said = part.annotation or EMPTY_ANNOTATION
        starts_ns = (progress.service_start_ns, said.service_start_ns)
        progress.service_start_ns = min(
            (start_ns for start_ns in starts_ns if start_ns != UNKNOWN), default=UNKNOWN
        )
        progress.annotation = said._replace(member=member)

    def _part_done(self, part: Request, now_ns: int) -> None:
        progress = self._progress.pop(part)
        progress.open_count -= 1
        if progress.open_count == 0:
            self._continue(progress, now_ns)

    def _continue(self, progress: _Progress, now_ns: int) -> None:
        while progress.phases:
            phase = progress.phases.pop(0)
            if phase:
                self._submit_phase(progress, phase, now_ns)
                return
        if progress.request is not None:
            progress.request.annotation = _annotation_of(progress)
            self._completed.append(progress.request)
            self._completed_at_ns = now_ns
            if progress.background:
                self._continue(_Progress(None, list(progress.background), ()), now_ns)

    def _submit_phase(self, progress: _Progress, phase: Phase, now_ns: int) -> None:
        progress.open_count = len(phase)
        for index, part in phase:
            self._progress[part] = progress
            self.members[index].submit(part, now_ns)


def _annotation_of(progress: _Progress) -> Annotation:
    """Return a request's annotation: that of its last part, but with the first part's start."""
    annotation = progress.annotation._replace(service_start_ns=progress.service_start_ns)
    if progress.served_from != UNKNOWN:
        annotation = annotation._replace(served_from=progress.served_from)
    return annotation


def part_of(request: Request, offset_bytes: int, length_bytes: int) -> Request:
    """A request to a member that stands for a piece of ``request``."""
    return Request(request.operation, offset_bytes, length_bytes, fua=request.fua)


class Concatenation(CompositeDevice):
    """Members one after another, each of its own size."""

    def __init__(self, members: Sequence[Device], sizes_bytes: Sequence[int]) -> None:
        super().__init__(members)
        if len(sizes_bytes) != len(members):
            raise ValueError(f"{len(members)} members, but {len(sizes_bytes)} sizes")
        self._sizes_bytes = list(sizes_bytes)

    def plan(self, request: Request) -> Plan:
        if request.operation is Operation.FLUSH:
            return Plan([self.everywhere(request)])
        parts: list[Part] = []
        start_bytes = 0
        last = len(self.members) - 1
        for index, size_bytes in enumerate(self._sizes_bytes):
            # What lies beyond the last member's size is the last member's.
            end_bytes = request.end_bytes if index == last else start_bytes + size_bytes
            low = max(request.offset_bytes, start_bytes)
            high = min(request.end_bytes, end_bytes)
            if low < high:
                parts.append((index, part_of(request, low - start_bytes, high - low)))
            start_bytes = end_bytes
        return Plan([parts])


class StripeParams(StripedMembers, frozen=True, kw_only=True):
    """Members that take turns."""

    chunk_bytes: Chunk = 64 * 1024

    def make(self, making: Making) -> Device:
        return Stripe(self.make_equal_members(making), self.chunk_bytes)


class MirrorParams(Members, frozen=True, kw_only=True):
    """Members that all have the same."""

    least = 2

    def make(self, making: Making) -> Device:
        return Mirror(self.make_members(making, [making.size_bytes] * len(self.tables)))


class ConcatenationParams(Composition, frozen=True, kw_only=True):
    """Members one behind the other."""

    member: Annotated[tuple[SizedMemberTable, ...], key("the devices, in order of address")] = ()

    @property
    def tables(self) -> Sequence[MemberTable]:
        return self.member

    def make(self, making: Making) -> Device:
        sizes_bytes = [table.read(SizedMember).size_bytes for table in self.member]
        return Concatenation(self.make_members(making, sizes_bytes), sizes_bytes)

    def check(self, table: Table) -> None:
        if not self.member:
            raise table.error("member", "needs at least 1 member")


class Stripe(CompositeDevice):
    """RAID-0: chunks go round the members."""

    def __init__(self, members: Sequence[Device], chunk_bytes: int) -> None:
        super().__init__(members)
        self._chunk_bytes = chunk_bytes

    def plan(self, request: Request) -> Plan:
        if request.operation is Operation.FLUSH:
            return Plan([self.everywhere(request)])
        return Plan([self._parts(request)])

    def _parts(self, request: Request) -> list[Part]:
        """One request to a member for all chunks that lie together on it."""
        chunk_bytes, width = self._chunk_bytes, len(self.members)
        ranges: dict[int, list[int]] = {}
        offset_bytes = request.offset_bytes
        while offset_bytes < request.end_bytes:
            chunk, inside_bytes = divmod(offset_bytes, chunk_bytes)
            take_bytes = min(chunk_bytes - inside_bytes, request.end_bytes - offset_bytes)
            row, index = divmod(chunk, width)
            member_offset_bytes = row * chunk_bytes + inside_bytes
            span = ranges.setdefault(index, [member_offset_bytes, member_offset_bytes])
            span[1] = member_offset_bytes + take_bytes
            offset_bytes += take_bytes
        return [
            (index, part_of(request, low, high - low))
            for index, (low, high) in sorted(ranges.items())
        ]


class Mirror(CompositeDevice):
    """RAID-1: writes go to all members, a read to the one with the fewest under way."""

    def __init__(self, members: Sequence[Device]) -> None:
        super().__init__(members)
        self._reads_under_way = [0] * len(members)
        self._read_from: dict[Request, int] = {}

    def plan(self, request: Request) -> Plan:
        if request.operation is not Operation.READ:
            return Plan(
                [
                    [
                        (index, part_of(request, request.offset_bytes, request.length_bytes))
                        for index in range(len(self.members))
                    ]
                ]
            )
        index = min(range(len(self.members)), key=self._reads_under_way.__getitem__)
        part = part_of(request, request.offset_bytes, request.length_bytes)
        self._reads_under_way[index] += 1
        self._read_from[part] = index
        return Plan([[(index, part)]])

    def restore_own(self, state: State, parts: Sequence[Request]) -> None:
        """Reads under way are those of the members; no part of a plan has yet to be submitted."""
        for index, member in enumerate(self.members):
            reads = [each for each in member.under_way if each.operation is Operation.READ]
            self._reads_under_way[index] = len(reads)
            self._read_from.update(dict.fromkeys(reads, index))

    def _part_done(self, part: Request, now_ns: int) -> None:
        index = self._read_from.pop(part, None)
        if index is not None:
            self._reads_under_way[index] -= 1
        super()._part_done(part, now_ns)
