# SPDX-License-Identifier: GPL-2.0-or-later
"""Synthetic workloads, described in one line with fio's words.

``PATTERN,KEY=VALUE,...``, such as ``randread,bs=4k,qd=32,count=1M``. This module parses
the line; :mod:`freezingtime.simulate.generator` makes the requests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TypeVar

from freezingtime.errors import InputError, did_you_mean
from freezingtime.request import Operation
from freezingtime.simulate.options import QUEUE_DEPTH_MAX
from freezingtime.units import MAX_VALUE, parse_rate_hz, parse_size_bytes, parse_time_ns

Value = TypeVar("Value")

SECTOR_BYTES = 512
_LENGTH_MAX_BYTES = 1 << 30
_COUNT_DEFAULT = 100_000
_READ_PERCENT_DEFAULT = 50
_COUNT_MAX = 10**10
_RATE_MAX_HZ = 10**9
_ZIPF_MAX = 10.0
_COUNT = re.compile(r"([0-9]{1,11})([kKMG]?)")
_COUNT_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True, slots=True)
class Pattern:
    """Access pattern of a workload: its operations, sequential or random."""

    operations: tuple[Operation, ...]
    random: bool


PATTERNS = {
    "read": Pattern((Operation.READ,), random=False),
    "write": Pattern((Operation.WRITE,), random=False),
    "rw": Pattern((Operation.READ, Operation.WRITE), random=False),
    "randread": Pattern((Operation.READ,), random=True),
    "randwrite": Pattern((Operation.WRITE,), random=True),
    "randrw": Pattern((Operation.READ, Operation.WRITE), random=True),
    "randtrim": Pattern((Operation.DISCARD,), random=True),
}


@dataclass(frozen=True, slots=True)
class BlockSize:
    """One of the lengths of a workload's requests, and how often: a percentage."""

    length_bytes: int
    percent: int


_BLOCK_SIZES_DEFAULT = (BlockSize(4096, 100),)


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload, parsed. Either ``queue_depth`` (closed loop) or ``rate_hz`` is set."""

    text: str
    pattern: Pattern
    block_sizes: tuple[BlockSize, ...]
    queue_depth: int | None
    device_depth: int | None
    """Maximum of requests in the device at once; None: all in flight."""
    think_ns: int
    """What a request costs the host's only CPU before the application sees it completed."""
    rate_hz: int | None
    poisson: bool
    """Whether gaps between arrivals are exponential; all equal otherwise."""
    count: int | None
    """How many requests, flushes not counted; None while only the time ends it."""
    time_ns: int | None
    """No request arrives at or after this time."""
    read_percent: int
    size_bytes: int | None
    """How much of the disk is used; None: all of it."""
    offset_bytes: int
    """Where on the disk the part that is used begins."""
    seed: int | None
    """None: the seed of the whole replay."""
    fsync_every: int
    """A flush follows this many writes; 0: none does."""
    zipf_theta: float
    """0: all places are equally likely; else the exponent of Zipf's law."""

    @property
    def longest_bytes(self) -> int:
        """The length of the longest request."""
        return max(size.length_bytes for size in self.block_sizes)


def parse_workload(text: str) -> Workload:
    """Parse a workload.

    Raises:
        InputError: it is invalid; names key, value and what is allowed.
    """
    name, *fields = text.split(",")
    pattern = PATTERNS.get(name)
    if pattern is None:
        raise _error(name or "empty", f"unknown pattern; {_known(name, PATTERNS)}")
    values = _Values(fields)
    read_percent = values.parsed("rwmixread", _whole(0, 100))
    workload = Workload(
        text=text,
        pattern=pattern,
        block_sizes=values.parsed("bs", _parse_block_sizes) or _BLOCK_SIZES_DEFAULT,
        queue_depth=values.parsed("qd", _whole(1, QUEUE_DEPTH_MAX)),
        device_depth=values.parsed("queue", _whole(1, QUEUE_DEPTH_MAX)),
        think_ns=values.parsed("think", parse_time_ns) or 0,
        rate_hz=values.parsed("rate", _parse_rate_hz),
        poisson=values.parsed("arrival", _parse_arrival) != "even",
        count=values.parsed("count", _parse_count),
        time_ns=values.parsed("time", _parse_positive_time_ns),
        read_percent=_READ_PERCENT_DEFAULT if read_percent is None else read_percent,
        size_bytes=values.parsed("size", _parse_sectors_bytes),
        offset_bytes=values.parsed("offset", _parse_sectors_bytes) or 0,
        seed=values.parsed("seed", _whole(0, MAX_VALUE)),
        fsync_every=values.parsed("fsync", _whole(0, MAX_VALUE)) or 0,
        zipf_theta=values.parsed("zipf", _parse_zipf) or 0.0,
    )
    _check(workload, values)
    if workload.queue_depth is None and workload.rate_hz is None:
        workload = replace(workload, queue_depth=1)
    if workload.count is None and workload.time_ns is None:
        workload = replace(workload, count=_COUNT_DEFAULT)
    return workload


def _known(text: str, names: Collection[str]) -> str:
    return f"{did_you_mean(text, names)}available: {', '.join(names)}"


class _Values:
    """The ``KEY=VALUE`` fields."""

    def __init__(self, fields: list[str]) -> None:
        self._values: dict[str, str] = {}
        for field in fields:
            key, _, value = field.partition("=")
            if key not in _KEYS:
                raise _error(field or "empty field", f"unknown key; {_known(key, _KEYS)}")
            if not value:
                raise _error(key, f"has no value; write {key}=VALUE")
            if key in self._values:
                raise _error(field, f"{key}= is given twice; keep one")
            self._values[key] = value

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def error(self, key: str, problem: str) -> InputError:
        """The error to raise about a key's value."""
        return _error(f"{key}={self._values[key]}", problem)

    def parsed(self, key: str, parse: Callable[[str], Value]) -> Value | None:
        """The value of ``key``, or None if it is not there."""
        if key not in self._values:
            return None
        try:
            return parse(self._values[key])
        except InputError as error:
            raise self.error(key, str(error)) from error


_KEYS = (
    "bs",
    "qd",
    "queue",
    "think",
    "rate",
    "arrival",
    "count",
    "time",
    "rwmixread",
    "size",
    "offset",
    "seed",
    "fsync",
    "zipf",
)


def _check(workload: Workload, values: _Values) -> None:
    """Refuse what makes no sense together."""
    pattern = workload.pattern
    if workload.queue_depth is not None and workload.rate_hz is not None:
        raise values.error("qd", "cannot be combined with rate=; keep one")
    for key in ("queue", "think"):
        if key in values and workload.rate_hz is not None:
            raise values.error(key, "is for closed loops; write qd= instead of rate=")
    if "arrival" in values and workload.rate_hz is None:
        raise values.error("arrival", "needs rate=IOPS")
    if "rwmixread" in values and len(pattern.operations) < 2:
        raise values.error("rwmixread", "is for rw and randrw")
    if "zipf" in values and not pattern.random:
        raise values.error("zipf", "is for the random patterns")
    if workload.fsync_every and Operation.WRITE not in pattern.operations:
        raise values.error("fsync", "is for patterns that write")
    if workload.size_bytes is not None and workload.size_bytes < workload.longest_bytes:
        raise values.error("size", f"must be at least bs, {workload.longest_bytes} bytes")


def _error(what: str, problem: str) -> InputError:
    return InputError(f"--workload: {what}: {problem}")


def _whole(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers in a range."""

    def parse(text: str) -> int:
        if text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most:
            return int(text)
        raise InputError(f"must be a whole number from {least} to {most}")

    return parse


def _parse_rate_hz(text: str) -> int:
    rate_hz = parse_rate_hz(text)
    if rate_hz > _RATE_MAX_HZ:
        raise InputError(f"must be at most {_RATE_MAX_HZ} per second")
    return rate_hz


def _parse_count(text: str) -> int:
    match = _COUNT.fullmatch(text)
    count = int(match[1]) * _COUNT_UNITS[match[2]] if match else 0
    if not 1 <= count <= _COUNT_MAX:
        raise InputError(f"must be from 1 to {_COUNT_MAX}, such as 500000, 500k or 1M")
    return count


def _parse_positive_time_ns(text: str) -> int:
    time_ns = parse_time_ns(text)
    if time_ns == 0:
        raise InputError("must be more than 0")
    return time_ns


def _parse_arrival(text: str) -> str:
    if text not in ("poisson", "even"):
        raise InputError("write poisson or even")
    return text


def _parse_zipf(text: str) -> float:
    try:
        theta = float(text)
    except ValueError:
        theta = 0.0
    if not 0 < theta <= _ZIPF_MAX:
        raise InputError(f"must be a number more than 0 and at most {_ZIPF_MAX:g}, such as 1.1")
    return theta


def _parse_sectors_bytes(text: str) -> int:
    """A size of whole sectors."""
    size_bytes = parse_size_bytes(text)
    if size_bytes % SECTOR_BYTES:
        raise InputError(f"must be a multiple of {SECTOR_BYTES} bytes")
    return size_bytes


def _parse_length_bytes(text: str) -> int:
    length_bytes = _parse_sectors_bytes(text)
    if not 0 < length_bytes <= _LENGTH_MAX_BYTES:
        raise InputError(f"must be from {SECTOR_BYTES} bytes to {_LENGTH_MAX_BYTES} bytes")
    return length_bytes


def _parse_block_sizes(text: str) -> tuple[BlockSize, ...]:
    """One size, or several with percentages: ``4k/70:64k/30``."""
    if "/" not in text:
        return (BlockSize(_parse_length_bytes(text), 100),)
    sizes = []
    for part in text.split(":"):
        length, _, percent = part.partition("/")
        sizes.append(BlockSize(_parse_length_bytes(length), _whole(1, 100)(percent)))
    if sum(size.percent for size in sizes) != 100:
        raise InputError("percentages must add up to 100, such as 4k/70:64k/30")
    return tuple(sizes)
