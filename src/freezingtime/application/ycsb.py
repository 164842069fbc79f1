# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of YCSB, from the lines that its default exporter writes: ``[READ], Operations, 175``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from freezingtime.application.figure import Direction, Figure, as_name

_LINE = re.compile(
    r"^\[([A-Za-z][\w%-]{0,39})\], ([^,\n]{1,60}), (-?[0-9][0-9.]{0,25}(?:E-?[0-9]{1,3})?)$",
    re.MULTILINE,
)
_OVERALL = "OVERALL"
_OPERATIONS = "Operations"
_RETURN = "Return="
_OK = (f"{_RETURN}OK", f"{_RETURN}BATCHED_OK")
#: Of the client and its Java, not of the workload; the latter's are in units of their own.
_NOT_OPERATIONS = frozenset(
    {"CLEANUP", "THREAD_COUNT", "USED_MEM_MB", "SYS_LOAD_AVG", "GCS", "GCS_TIME"}
)
# 95th and 99th, 99.9; and 50th, 2nd if somebody asks for them. Old versions have ms.
_PERCENTILE = re.compile(
    r"([0-9]{1,2}(?:\.[0-9]{1,6})?)(?:st|nd|rd|th)?PercentileLatency\((us|ms)\)"
)
_LATENCY = re.compile(r"(Average|Max)Latency\((us|ms)\)")
_NAMES = {"Average": "mean", "Max": "max"}


class _YcsbLine(NamedTuple):
    section: str
    measurement: str
    value: float


def ycsb(text: str) -> Iterator[Figure]:
    """Throughput, and of each operation its latencies, and how many failed."""
    said = [_YcsbLine(found[1], found[2], float(found[3])) for found in _LINE.finditer(text)]
    if not any(each.section == _OVERALL for each in said):
        return  # lines in brackets are others', too
    yield from _overall(said)
    for section in dict.fromkeys(each.section for each in said):
        values = {each.measurement: each.value for each in said if each.section == section}
        # One without operations has been tried, and failed: its latencies are of none.
        if _OPERATIONS in values and section not in _NOT_OPERATIONS:
            prefix = f"ycsb.{as_name(section.lower())}"
            yield from _latencies(prefix, values) if values[_OPERATIONS] else ()
            yield from _failed(prefix, values)


def _overall(said: list[_YcsbLine]) -> Iterator[Figure]:
    for section, measurement, value in said:
        if section == _OVERALL and math.isfinite(value):
            if measurement == "Throughput(ops/sec)":
                yield Figure("ycsb.throughput", value, "1/s", Direction.HIGHER)
            elif measurement == "RunTime(ms)":
                yield Figure("ycsb.runtime", value, "ms", Direction.LOWER)


def _latencies(prefix: str, values: dict[str, float]) -> Iterator[Figure]:
    for measurement, value in values.items():
        if found := _LATENCY.fullmatch(measurement):
            yield Figure(f"{prefix}.{_NAMES[found[1]]}", value, found[2], Direction.LOWER)
        elif found := _PERCENTILE.fullmatch(measurement):
            yield Figure(f"{prefix}.p{found[1]}", value, found[2], Direction.LOWER)


def _failed(prefix: str, values: dict[str, float]) -> Iterator[Figure]:
    """What an operation returned beside OK; of an operation of which that is known."""
    returned = {name: value for name, value in values.items() if name.startswith(_RETURN)}
    if returned:
        failed = sum(value for name, value in returned.items() if name not in _OK)
        yield Figure(f"{prefix}.failed", failed, "", Direction.LOWER)
