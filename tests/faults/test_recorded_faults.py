# SPDX-License-Identifier: GPL-2.0-or-later
"""Which requests were hit, in a run's record."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import freezingtime as ft
from freezingtime.request import Fault, FaultKind
from freezingtime.trace.record_digest import record_digest
from freezingtime.trace.record_file import RecordFile
from freezingtime.trace.record_reader import open_record
from freezingtime.trace.writers.record_csv import record_csv
from tests.support.recordlib import HEADER, completed, write_record


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_record_says_which_requests_were_hit_if_a_device_was_to_fail(
    tmp_path: Path, is_killed: bool
) -> None:
    rows = [
        completed(sequence=number, fault=None if number % 3 else Fault(FaultKind.ERROR, 5))
        for number in range(6)
    ]
    disks = [msgspec.structs.replace(HEADER.disks[0], faults=("error=EIO",)), HEADER.disks[1]]
    header = msgspec.structs.replace(HEADER, disks=disks)
    plain, failing = tmp_path / "plain", tmp_path / "failing"
    write_record(plain, rows)
    write_record(failing, rows, header)
    assert "fault" not in open_record(plain).schema.names
    if is_killed:
        file = RecordFile(failing, header)
        file.append(file.batches.of_requests(rows, 0))
    record = open_record(failing)
    assert record.is_finished != is_killed
    assert record.header == header
    (batch,) = record.batches(record.schema.names, lambda notice: None, lambda done, total: None)
    assert batch.column("fault").to_pylist() == ["error", None, None] * 2
    lines = b"".join(record_csv(failing, None, "--disk", lambda notice: None)).decode().split()
    assert [line.rpartition(",")[2] for line in lines] == ["fault", *['"error"', "", ""] * 2]
    if not is_killed:
        requests = ft.open_run(failing).requests
        assert requests[requests.fault.notna()].sequence.tolist() == [0, 3]
        assert "fault" not in ft.open_run(plain).requests
    assert record_digest(failing) != record_digest(plain)
