# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures that programs print: pgbench, sysbench, db_bench, speedtest1, dd and ``time``.

Each parser takes text and yields figures: none of a text of something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from freezingtime.application.figure import Direction, Figure, as_name

_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,15})?)"
_LOWER, _HIGHER = Direction.LOWER, Direction.HIGHER


class _Line(NamedTuple):
    """A line of a program's output that has one figure in it."""

    pattern: str
    name: str
    unit: str
    direction: Direction


_PGBENCH = (
    _Line(rf"^tps = {_NUMBER} ", "tps", "1/s", _HIGHER),
    _Line(rf"^latency average = {_NUMBER} ms$", "latency_average", "ms", _LOWER),
    _Line(rf"^latency stddev = {_NUMBER} ms$", "latency_stddev", "ms", _LOWER),
    _Line(r"^number of failed transactions: ([0-9]{1,15}) ", "failed_transactions", "", _LOWER),
)
_SYSBENCH = (
    _Line(rf"^ +events per second: +{_NUMBER}$", "events_per_s", "1/s", _HIGHER),
    _Line(rf"^ +transactions: +[0-9]+ +\({_NUMBER} per sec\.\)$", "tps", "1/s", _HIGHER),
    _Line(rf"^ +queries: +[0-9]+ +\({_NUMBER} per sec\.\)$", "queries_per_s", "1/s", _HIGHER),
    _Line(rf"^ +reads/s: +{_NUMBER}$", "reads_per_s", "1/s", _HIGHER),
    _Line(rf"^ +writes/s: +{_NUMBER}$", "writes_per_s", "1/s", _HIGHER),
    _Line(rf"^ +fsyncs/s: +{_NUMBER}$", "fsyncs_per_s", "1/s", _HIGHER),
    _Line(rf"^ +read, MiB/s: +{_NUMBER}$", "read_bandwidth", "MiB/s", _HIGHER),
    _Line(rf"^ +written, MiB/s: +{_NUMBER}$", "write_bandwidth", "MiB/s", _HIGHER),
    _Line(rf"^ +avg: +{_NUMBER}$", "latency_average", "ms", _LOWER),
    _Line(rf"^ +max: +{_NUMBER}$", "latency_max", "ms", _LOWER),
)
_SYSBENCH_HEAD = re.compile(r"^sysbench [0-9]+\.[0-9]+", re.MULTILINE)
_SYSBENCH_PERCENTILE = re.compile(rf"^ +([0-9]{{1,2}})th percentile: +{_NUMBER}$", re.MULTILINE)
_DB_BENCH = re.compile(
    rf"^(\w{{1,40}}) +: +{_NUMBER} micros/op ([0-9]{{1,15}}) ops/sec", re.MULTILINE
)
_SPEEDTEST1_HEAD = re.compile(r"^-- Speedtest1 for SQLite ", re.MULTILINE)
_SPEEDTEST1 = re.compile(
    rf"^ +(?:([0-9]{{1,6}}) - [^\n]{{1,80}}|TOTAL)\.{{2,}} +{_NUMBER}s$", re.MULTILINE
)
_DD = re.compile(
    rf"^([0-9]{{1,18}}) bytes \([^)\n]{{1,40}}\) copied, {_NUMBER} s(?:econds)?,", re.MULTILINE
)
_TIME_GNU = re.compile(
    rf"^{_NUMBER}user {_NUMBER}system (?:([0-9]{{1,6}}):)?([0-9]{{1,2}}):{_NUMBER}elapsed ",
    re.MULTILINE,
)
_TIME = re.compile(
    rf"^real[ \t]+(?:([0-9]{{1,9}})m ?)?{_NUMBER}s?\n"
    rf"user[ \t]+(?:([0-9]{{1,9}})m ?)?{_NUMBER}s?\n"
    rf"sys[ \t]+(?:([0-9]{{1,9}})m ?)?{_NUMBER}s?$",
    re.MULTILINE,
)


def pgbench(text: str) -> Iterator[Figure]:
    """Transactions per second and their latency, with ``-P`` or without."""
    return _figures_of_lines(text, _PGBENCH)


def sysbench(text: str) -> Iterator[Figure]:
    """Rates and latencies of any of its tests."""
    if not _SYSBENCH_HEAD.search(text):
        return  # its lines have nothing of its own that others might not print
    yield from _figures_of_lines(text, _SYSBENCH)
    for found in _SYSBENCH_PERCENTILE.finditer(text):
        yield Figure(f"latency_p{found[1]}", float(found[2]), "ms", _LOWER)


def db_bench(text: str) -> Iterator[Figure]:
    """RocksDB's and LevelDB's benchmark: each test's rate and mean latency."""
    for found in _DB_BENCH.finditer(text):
        name = as_name(found[1])
        yield Figure(f"{name}.ops_per_s", float(found[3]), "1/s", _HIGHER)
        yield Figure(f"{name}.latency_average", float(found[2]), "us", _LOWER)


def speedtest1(text: str) -> Iterator[Figure]:
    """SQLite's benchmark: the time of each test, by its number, and of all."""
    if not _SPEEDTEST1_HEAD.search(text):
        return
    for found in _SPEEDTEST1.finditer(text):
        yield Figure(f"speedtest1.{found[1] or 'total'}", float(found[2]), "s", _LOWER)


def dd(text: str) -> Iterator[Figure]:
    """Throughput, of the bytes and the time that it prints: its own rate is rounded."""
    for found in _DD.finditer(text):
        seconds = float(found[2])
        if seconds:
            yield Figure("dd.bandwidth", int(found[1]) / seconds, "bytes/s", _HIGHER)


def time(text: str) -> Iterator[Figure]:
    """The ``time`` of shells, of POSIX and of GNU, in guest time."""
    for found in _TIME_GNU.finditer(text):
        user, system, hours, minutes, seconds = found.groups()
        real_s = 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds)
        for name, value_s in (("real", real_s), ("user", float(user)), ("sys", float(system))):
            yield Figure(f"time.{name}", round(value_s, 6), "s", _LOWER)
    for found in _TIME.finditer(text):
        for name, minutes, seconds in zip(
            ("real", "user", "sys"), found.groups()[::2], found.groups()[1::2], strict=True
        ):
            value_s = round(60 * int(minutes or 0) + float(seconds), 6)
            yield Figure(f"time.{name}", value_s, "s", _LOWER)


def _figures_of_lines(text: str, lines: tuple[_Line, ...]) -> Iterator[Figure]:
    for line in lines:
        for found in re.finditer(line.pattern, text, re.MULTILINE):
            yield Figure(line.name, float(found[1]), line.unit, line.direction)
