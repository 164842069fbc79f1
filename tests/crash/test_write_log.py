# SPDX-License-Identifier: GPL-2.0-or-later
"""The write log: what goes in comes out, each content is stored once, damage is refused."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

import pytest

from freezingtime.device.constant import ConstantDevice
from freezingtime.errors import InputError, RunError
from freezingtime.request import Operation, Request
from freezingtime.trace.writes.log import (
    EVENTS_NAME,
    SECTORS_NAME,
    WriteEvent,
    WriteEventKind,
    WriteLog,
    WriteLogWriter,
)
from freezingtime.trace.writes.recorded_device import RecordedDevice

A, B, ZERO = b"a" * 512, b"b" * 512, bytes(512)


def written(directory: Path, requests: Sequence[Request]) -> list[WriteEvent]:
    with WriteLogWriter(directory, [100]) as log:
        for request in requests:
            sequence = log.arrive(0, request, 5, 0)
            log.complete(0, request, sequence, 9, 3)
    with WriteLog(directory) as read:
        return list(read.events())


def write(sector: int, data: bytes, *, fua: bool = False) -> Request:
    return Request(Operation.WRITE, sector * 512, len(data), data, fua)


def test_events_come_back_in_order(tmp_path: Path) -> None:
    requests = [
        write(3, A + B, fua=True),
        Request(Operation.FLUSH, 0, 0),
        Request(Operation.DISCARD, 512, 99 * 512),
    ]
    events = written(tmp_path, requests)
    assert [(event.kind, event.operation, event.sequence) for event in events] == [
        (kind, request.operation, number)
        for number, request in enumerate(requests, 1)
        for kind in (WriteEventKind.ARRIVAL, WriteEventKind.COMPLETION)
    ]
    first, last = events[0], events[-1]
    assert (first.fua, first.time_ns, first.first_sector, first.sector_count) == (True, 5, 3, 2)
    assert (last.fua, last.time_ns, last.first_sector, last.sector_count) == (False, 9, 1, 99)
    assert (first.output_bytes, last.output_bytes) == (0, 3)


def test_each_content_is_stored_once(tmp_path: Path) -> None:
    events = written(tmp_path, [write(0, A + ZERO + B + A + ZERO + ZERO), write(7, B)])
    arrivals = [event.contents for event in events if event.contents is not None]
    assert [contents.tolist() for contents in arrivals] == [[1, 0, 2, 1, 0, 0], [2]]
    assert (tmp_path / SECTORS_NAME).read_bytes() == A + B
    with WriteLog(tmp_path) as log:
        assert log.read(1, 2) == A + B
        with pytest.raises(OSError, match="truncated"):
            log.read(2, 2)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (EVENTS_NAME, lambda data: data[:-1], "truncated"),
        (EVENTS_NAME, lambda data: b"NOTHING" + data[7:], "it is none"),
        (EVENTS_NAME, lambda data: data[:20] + b"\x09" + data[21:], "not a valid WriteEventKind"),
        (EVENTS_NAME, lambda data: data[:12] + b"\x01" + data[13:], "beyond its disk"),
        (SECTORS_NAME, lambda data: b"", "data is not there"),
    ],
)
def test_damage_is_refused(tmp_path: Path, name: str, damage: object, message: str) -> None:
    written(tmp_path, [write(3, A + B)])
    path = tmp_path / name
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(InputError, match=message), WriteLog(tmp_path) as log:
        list(log.events())


def test_a_log_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{tmp_path}.*record the job again"):
        WriteLog(tmp_path)


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = WriteLogWriter(tmp_path, [100])

    class FullFile:
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log, "_events", FullFile())
    with pytest.raises(RunError, match=rf"cannot write the write log to {tmp_path}: No space"):
        log.arrive(0, write(0, A), 0, 0)
    log.close()


def test_a_recorded_device_is_as_fast_as_its_own(tmp_path: Path) -> None:
    printed = iter([10, 20, 30])
    device = ConstantDevice(read_ns=7, write_ns=9, flush_ns=11, discard_ns=0)
    with WriteLogWriter(tmp_path, [100, 100]) as log:
        recorded = RecordedDevice(device, 1, log, lambda: next(printed))
        read, one = Request(Operation.READ, 0, 512), write(5, A)
        recorded.submit(read, 100)
        recorded.submit(one, 101)
        assert recorded.next_event_ns() == 107
        assert recorded.advance(107) == [read]
        assert recorded.advance(110) == [one]
        assert recorded.next_event_ns() is None
    with WriteLog(tmp_path) as log_read:
        events = list(log_read.events())
    assert [(event.disk, event.time_ns, event.output_bytes) for event in events] == [
        (1, 101, 10),
        (1, 110, 20),
    ]
