# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters that a fit may choose: their limits, and how a choice becomes a description.

A choice is a vector of numbers from 0 to 1, one for each free parameter; they are logarithms
between the limits, so that a step means the same share everywhere.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freezingtime.calibrate.fit.flash.curve_file import PROGRAM, CurveFile, put, value_at
from freezingtime.calibrate.fit.flash.technology import Technology
from freezingtime.device.flash.hardware import Array, Cells, Channel
from freezingtime.device.parameters import Table
from freezingtime.errors import InputError
from freezingtime.simulate.load_curve import REQUEST_BYTES, Point
from freezingtime.units import NS_PER_S, format_time_ns

READ = "cells.t_read"
#: How much faster the fastest kind of page is read than the middle one, and slower the slowest.
FASTEST, SLOWEST = f"{READ}, fastest", f"{READ}, slowest"
SUSPEND = "cells.t_suspend"
CHANNEL = "channel.bandwidth"
SPARE = "mapping.over_provisioning"
WRITE = "host.t_write"
WAITING = "host.writes_waiting"
CHIPS = "array.chips_per_channel"

#: Below this place, reads never wait for writes; above, the logarithm of how many.
_WAITING_NEVER = 0.25
_WAITING_MOST = 256
#: Differences are taken over this share of a value: wider than the noise of a short curve.
_STEP = 0.08
_CHIPS = (1, 2, 4, 8, 16)
_CHANNEL_GUESS = 700e6
_SUSPEND_GUESS_NS = 60_000.0
#: Of a write into the buffer, beside the controller's time: the buffer and the link.
_BUFFERED_NS = 2000


@dataclass(frozen=True, slots=True)
class Free:
    """A parameter that is free between limits, in its own unit (ns, bytes/s, or a number)."""

    name: str
    least: float
    most: float
    guess: float
    fitted_to: str
    is_discrete: bool = False

    @property
    def span(self) -> float:
        """The logarithm of the most over the least."""
        return math.log(self.most / self.least)

    def value(self, place: float) -> float:
        """The value at a place from 0 to 1."""
        return self.least * math.exp(self.span * min(max(place, 0.0), 1.0))

    def place(self, value: float) -> float:
        """The place of a value."""
        share = math.log(max(value, self.least) / self.least) / self.span
        return min(share, 1.0)


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The free parameters of a drive."""

    known: CurveFile
    technology: Technology
    free: Sequence[Free]

    def guess(self) -> NDArray[np.float64]:
        """Start of the search, by simple formulas."""
        return np.array(
            [free.guess if free.is_discrete else free.place(free.guess) for free in self.free]
        )

    def steps(self) -> list[float]:
        """Widths of differences that say how figures depend on each number; 0: it jumps."""
        return [0.0 if free.is_discrete else math.log1p(_STEP) / free.span for free in self.free]

    def values(self, places: Sequence[float]) -> dict[str, float]:
        """Each free parameter's value in its unit, rounded as the description has it."""
        values: dict[str, float] = {}
        for free, place in zip(self.free, places, strict=True):
            if free.name == WAITING:
                values[free.name] = _waiting(place)
            elif free.name == CHIPS:
                values[free.name] = _CHIPS[min(int(place * len(_CHIPS)), len(_CHIPS) - 1)]
            else:
                values[free.name] = float(f"{free.value(place):.4g}")
        return values

    def parameters(self, places: Sequence[float]) -> dict[str, Any] | None:
        """The model's parameters of a choice; None if they contradict the data sheet."""
        parameters: dict[str, Any] = copy.deepcopy(dict(self.known.parameters))
        values = self.values(places)
        for name, value in values.items():
            if name in (READ, FASTEST, SLOWEST):
                continue
            put(parameters, name, _text(name, value))
        if READ in values:
            put(parameters, READ, _read_times(values, self.technology.page_kinds))
        if self.known.write_bytes_per_s is not None:
            program_ns = program_time_ns(parameters, self.known.write_bytes_per_s)
            least, most = self.technology.program_ns
            if program_ns <= 0 or (CHIPS in values and not least <= program_ns <= most):
                return None
            put(parameters, PROGRAM, _time(program_ns))
        return parameters


def search_space(known: CurveFile, technology: Technology) -> SearchSpace:
    """Find out what is free.

    Raises:
        InputError: nothing is, or the array or the cells are not right.
    """
    _hardware(known.parameters, known.file)
    lowest, saturated = _ends(known)
    read_ns = lowest.read_p50_ns - 2000 - REQUEST_BYTES * NS_PER_S / _CHANNEL_GUESS
    write_ns = lowest.write_p50_ns - _BUFFERED_NS
    candidates = [
        Free(READ, *technology.read_ns, read_ns, "the read percentiles"),
        Free(SUSPEND, 2_000, 600_000, _SUSPEND_GUESS_NS, "the read percentiles under load"),
        Free(CHANNEL, 200e6, 2.4e9, _CHANNEL_GUESS, "the read percentiles: data keep the bus"),
        Free(SPARE, 0.03, 1.0, _spare_guess(known, technology, saturated), "the saturation"),
        Free(WRITE, 500, 200_000, max(write_ns, 500.0), "the write median"),
        Free(WAITING, 0, 1, 0.0, "the reads at saturation", is_discrete=True),
        Free(CHIPS, 0, 1, 0.3, "the whole curve", is_discrete=True),
    ]
    if known.write_bytes_per_s is None:
        program_ns = math.sqrt(math.prod(technology.program_ns))
        candidates.append(Free(PROGRAM, *technology.program_ns, program_ns, "the whole curve"))
    free = [candidate for candidate in candidates if not known.has(candidate.name)]
    if technology.page_kinds > 1 and not known.has(READ):
        free[1:1] = [
            Free(FASTEST, 0.4, 1.0, 0.85, "the read percentiles"),
            Free(SLOWEST, 1.0, 2.5, 1.2, "the read percentiles"),
        ]
    if not free:
        raise InputError(
            f"{known.file}: parameters: all are given, so there is nothing to fit; leave out "
            f"some of {', '.join(candidate.name for candidate in candidates)}"
        )
    return SearchSpace(known, technology, free)


def program_bytes(parameters: Mapping[str, Any]) -> int:
    """Bytes that a die programs at once."""
    array, cells = _hardware(parameters)
    planes = array.planes_per_die if cells.multi_plane else 1
    return planes * array.page_bytes * cells.pages_per_program


def die_count(parameters: Mapping[str, Any]) -> int:
    """Number of dies."""
    array, _ = _hardware(parameters)
    return array.channels * array.chips_per_channel * array.dies_per_chip


def program_time_ns(parameters: Mapping[str, Any], write_bytes_per_s: int) -> float:
    """Time of a program if dies that take in and program come to the write bandwidth."""
    size_bytes = program_bytes(parameters)
    channel = Table(parameters, "").below("channel").read(Channel)
    in_ns = size_bytes * NS_PER_S / channel.channel_bytes_per_s
    return die_count(parameters) * size_bytes * NS_PER_S / write_bytes_per_s - in_ns


def _hardware(parameters: Mapping[str, Any], file: str = "") -> tuple[Array, Cells]:
    """Read the array and the cells; what is still to be found does not count."""
    array = {"chips_per_channel": 1, **parameters["array"]}
    cells = {"t_read": "1us", "t_program": "1us", "t_erase": "1us", **parameters.get("cells", {})}
    return (
        Table(array, file, "parameters.array.").read(Array),
        Table(cells, file, "parameters.cells.").read(Cells),
    )


def _ends(known: CurveFile) -> tuple[Point, Point]:
    below = [point for point in known.curve.points if not point.saturated]
    (saturated,) = (point for point in known.curve.points if point.saturated)
    return min(below, key=lambda point: point.iops), saturated


def _spare_guess(known: CurveFile, technology: Technology, saturated: Point) -> float:
    """From write amplification: with p = 1 - 1 / WA, the ratio of capacities is -ln p / (1 - p).

    (Desnoyers, "Analytic Models of SSD Write Performance", 2014; see the steady state's
    :func:`~freezingtime.device.flash.precondition.victim_share`.)
    """
    parameters = copy.deepcopy(dict(known.parameters))
    if value_at(parameters, CHIPS) is None:
        return 0.15
    program_ns = math.sqrt(math.prod(technology.program_ns))
    rate_bytes_per_s = (
        known.write_bytes_per_s
        or die_count(parameters) * program_bytes(parameters) * 1e9 / program_ns
    )
    writes_hz = saturated.iops * (1 - known.curve.read_share(saturated))
    kept = 1 - writes_hz * REQUEST_BYTES / rate_bytes_per_s
    if not 0.01 < kept < 0.99:
        return 0.15
    return -math.log(kept) / (1 - kept) - 1


def _waiting(place: float) -> int:
    if place < _WAITING_NEVER:
        return 0
    share = (place - _WAITING_NEVER) / (1 - _WAITING_NEVER)
    return round(math.exp(math.log(_WAITING_MOST) * min(share, 1.0)))


def _read_times(values: Mapping[str, float], kinds: int) -> str:
    """The times by kind of page, from the fastest to the slowest."""
    half = (kinds - 1) / 2
    times_ns = []
    for kind in range(kinds):
        away = (kind - half) / half if half else 0.0
        factor = values.get(FASTEST, 1.0) ** -away if away < 0 else values.get(SLOWEST, 1.0) ** away
        times_ns.append(values[READ] * factor)
    return ", ".join(map(_time, times_ns))


def _text(name: str, value: float) -> Any:
    """A value as a description has it."""
    if name == CHANNEL:
        return f"{round(value / 1e6)}MB/s"
    if name == SPARE:
        return value
    if name in (WAITING, CHIPS):
        return int(value)
    return _time(value)


def _time(time_ns: float) -> str:
    """A time to four digits."""
    return format_time_ns(round(float(f"{time_ns:.4g}")))
