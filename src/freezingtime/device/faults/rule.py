# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules of faults: where, when and how a device fails. One table ``[[fault]]`` each.

::

    [[fault]]
    error = "EIO"              # how: one of the kinds
    operation = "read"         # where: the requests that it fits
    sectors = "2048..4095"
    from = "2s"                # when: from 2 s after the start of the job on,
    probability = 0.01         # one in a hundred of these requests

A request *fits* a rule by what it is. A rule *hits* those of them that its time and chance allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from msgspec import field

from freezingtime.device.faults.places import (
    SECTOR_BYTES,
    OperationsValue,
    SectorsValue,
    SizesValue,
    TimesValue,
)
from freezingtime.device.faults.rule_text import rule_text
from freezingtime.device.parameters import Table
from freezingtime.device.schema import Parameters, TimeNs, key
from freezingtime.errors import InputError
from freezingtime.request import Operation, Request
from freezingtime.units import MAX_VALUE, format_time_ns

#: The key of the tables in a description.
FAULT_TABLES = "fault"

#: The keys that say how, of which a rule has one.
KINDS = (
    *("error", "unreadable", "read_only", "slow", "slow_by", "slow_distribution", "hang"),
    *("flip", "lose", "torn", "misdirect", "disappear"),
)
_READ, _WRITING = (Operation.READ,), (Operation.WRITE, Operation.WRITE_ZEROES)
_MODIFYING = tuple(each for each in Operation if each.modifies)
#: What can fail so; of the other kinds, everything.
_POSSIBLE = {
    "unreadable": _READ,
    "flip": _READ,
    "misdirect": (*_READ, *_WRITING),
    "torn": _WRITING,
    "lose": _MODIFYING,
    "read_only": _MODIFYING,
}


class FaultRule(Parameters, frozen=True, kw_only=True):
    """Table ``[[fault]]``: a rule of how the device fails."""

    error: (
        Annotated[
            Literal["EIO", "ENOSPC", "timeout"],
            key("the request fails: an I/O error; no space; no answer for 90 s, then an error"),
        ]
        | None
    ) = None
    unreadable: Annotated[bool, key("the sectors cannot be read: a medium error")] = False
    heals: Annotated[bool, key("whether a write makes such a sector readable again")] = True
    slow: (
        Annotated[float, key("factor on the time that the request takes", least=1.0, most=1e6)]
        | None
    ) = None
    slow_by: Annotated[TimesValue, key("how much longer it takes")] | None = None
    slow_distribution: (
        Annotated[Table, key("how much longer it takes: a distribution of times, with its `kind`")]
        | None
    ) = None
    hang: Annotated[
        bool, key("nothing that fits completes in the span; it does when the span ends")
    ] = False

    read_only: Annotated[bool, key("whatever changes bytes fails")] = False
    flip: (
        Annotated[int, key("so many bits of what is read are flipped", least=1, most=4096)] | None
    ) = field(default=None)
    lose: Annotated[bool, key("it is acknowledged, and changes nothing")] = False
    torn: Annotated[
        bool, key("it is acknowledged, and only its first sectors are written: a number by chance")
    ] = False
    misdirect: (
        Annotated[int, key("it reads or writes so many sectors further on", least=1)] | None
    ) = field(default=None)

    disappear: Annotated[
        bool, key("the device is gone; at the end of the span, if it has one, it is back")
    ] = False

    operation: (
        Annotated[
            OperationsValue,
            key("requests that it fits, joined by `+`", missing="all that can fail so"),
        ]
        | None
    ) = None
    sectors: (
        Annotated[
            SectorsValue,
            key("sectors of 512 bytes, one of which it touches", missing="anywhere"),
        ]
        | None
    ) = None
    size: Annotated[SizesValue, key("its size", missing="any")] | None = None

    from_ns: Annotated[
        TimeNs, key("time from which it hits, from the start of the job", most=MAX_VALUE)
    ] = 0
    until_ns: (
        Annotated[TimeNs, key("time from which it hits no more", most=MAX_VALUE, missing="never")]
        | None
    ) = None
    for_ns: (
        Annotated[
            TimeNs, key("span for which it hits, once it has begun to", least=1, missing="for good")
        ]
        | None
    ) = None
    every_ns: (
        Annotated[TimeNs, key("period after which the span begins again", least=1, missing="once")]
        | None
    ) = None
    nth: (
        Annotated[
            int,
            key(
                "begin with the n-th request that fits; without `for`, it is the only one", least=1
            ),
        ]
        | None
    ) = field(default=None)
    after_flush: (
        Annotated[int, key("begin when so many flushes have completed", least=1)] | None
    ) = field(default=None)
    probability: Annotated[float, key("fraction of the requests that are hit", most=1.0)] = 1.0
    count: (
        Annotated[int, key("how many requests it hits at most", least=1, missing="no limit")] | None
    ) = field(default=None)

    @property
    def kind(self) -> str:
        """The key that says how."""
        return next(kind for kind in KINDS if getattr(self, kind) not in (None, False))

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations that it fits."""
        if self.operation is not None:
            return self.operation
        if len(self._possible) < len(Operation):
            return self._possible
        if self.sectors is not None or self.size is not None:
            return tuple(each for each in Operation if each is not Operation.FLUSH)
        return tuple(Operation)

    @property
    def _possible(self) -> tuple[Operation, ...]:
        """What can fail so."""
        if self.error == "ENOSPC":
            return _WRITING
        return _POSSIBLE.get(self.kind, tuple(Operation))

    def check(self, table: Table) -> None:
        self._check_kind(table)
        self._check_where(table)
        self._check_when(table)

    def _check_kind(self, table: Table) -> None:
        given = [kind for kind in KINDS if getattr(self, kind) not in (None, False)]
        if not given:
            written = next((kind for kind in KINDS if kind in table), "error")
            raise table.error(written, f"say how it fails: give one of {', '.join(KINDS)}")
        if len(given) > 1:
            raise table.error(given[1], f"goes not with {given[0]}; write two rules")
        if "heals" in table and not self.unreadable:
            raise table.error("heals", "is only for unreadable sectors; leave it out")
        if self.slow_distribution is not None:
            # It needs numpy, which a description without one does not wait for.
            from freezingtime.device.faults.delays import read_distribution

            read_distribution(table)

    def _check_where(self, table: Table) -> None:
        if not set(self.operations) <= set(self._possible):
            words = ", ".join(each.name.lower() for each in self._possible)
            raise table.error("operation", f"{self.kind} is of these: {words}")
        for name in ("sectors", "size"):
            if name in table and Operation.FLUSH in self.operations:
                raise table.error(name, "a flush has no range; write two rules")

    def _check_when(self, table: Table) -> None:
        if self.until_ns is not None and self.until_ns <= self.from_ns:
            raise table.error("until", f"must be after from, {format_time_ns(self.from_ns)}")
        if self.every_ns is not None:
            if self.for_ns is None:
                raise table.error("every", "needs a span: add for")
            if self.for_ns >= self.every_ns:
                raise table.error("for", "must be shorter than every")
        elif self.for_ns is not None and self.until_ns is not None:
            raise table.error("until", "goes not with for, unless there is every")
        for name, others in {
            "nth": ("after_flush", "every", "probability", "count"),
            "hang": ("probability", "count"),
            "disappear": ("every", "probability", "count"),
        }.items():
            for other in others:
                if getattr(self, name) and other in table and not self._spans(name, other):
                    raise table.error(other, f"goes not with {name}; leave one out")
        if self.disappear and self.nth is None:
            for name in ("operation", "sectors", "size"):
                if name in table:
                    raise table.error(name, "whatever it is, it goes with the device; add nth")
        if self.hang and self.for_ns is None and self.until_ns is None:
            raise table.error("hang", "needs an end: add for, or until")

    def _spans(self, name: str, other: str) -> bool:
        """Whether a rule of the n-th request goes on after it, so that chance has a say."""
        return name == "nth" and other in ("probability", "count") and self.for_ns is not None


@dataclass(frozen=True, slots=True)
class GivenFault:
    """A rule, and where it was written."""

    rule: FaultRule
    table: Table

    @property
    def text(self) -> str:
        """The rule as ``--fault`` has it."""
        return rule_text(self.table.content)

    def check_size(self, size_bytes: int | None) -> None:
        """Refuse sectors beyond the end of a disk of that size, if it has one.

        Raises:
            InputError: there are some.
        """
        sectors = self.rule.sectors
        if size_bytes is not None and sectors is not None:
            last = size_bytes // SECTOR_BYTES - 1
            if sectors.last > last:
                raise self.table.error("sectors", f"the disk's last sector is {last}")


def require_one_disappearance(faults: Sequence[GivenFault]) -> None:
    """Require that a device disappears by one rule at most.

    Raises:
        InputError: it does by two.
    """
    given = [fault for fault in faults if fault.rule.disappear]
    if len(given) > 1:
        raise given[1].table.error("disappear", "a device has one such rule; leave one out")


class FaultTable(Table):
    """The table of a rule."""

    declared: ClassVar[type[FaultRule]] = FaultRule

    def given(self) -> GivenFault:
        """Read it.

        Raises:
            InputError: it is not right.
        """
        return GivenFault(self.read(FaultRule), self)


def sectors_of(request: Request) -> tuple[int, int]:
    """The sectors that a request touches: the first, and the one behind the last."""
    return request.offset_bytes // SECTOR_BYTES, -(-request.end_bytes // SECTOR_BYTES)


def check_rule(content: dict[str, Any], place: str) -> None:
    """Check a rule as its user wrote it; ``place`` is how messages begin.

    Raises:
        InputError: it is not right.
    """
    if not isinstance(content, dict):
        raise InputError(f"{place}: must be a table of keys")
    FaultTable(content, place).given()
