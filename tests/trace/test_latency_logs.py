# SPDX-License-Identifier: GPL-2.0-or-later
"""fio's latency logs, as fio writes them, and what is said of malformed ones."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from freezingtime.errors import InputError
from freezingtime.trace.readers.fio.latency_log import read_latency_log
from tests.conftest import require_tool
from tests.trace.readerlib import R, W

# Each: what fio is told to log, and which of offset and priority is there then.
LATENCY_LOGS = {
    "": False,
    "--log_offset=1": True,
    "--log_prio=1": False,
    "--log_offset=1 --log_prio=1": True,
}


@pytest.mark.parametrize("options", LATENCY_LOGS)
@pytest.mark.parametrize("kind", ["lat", "clat", "slat"])
def test_latency_logs_that_fio_writes_are_read(kind: str, options: str, tmp_path: Path) -> None:
    printed = subprocess.run(
        [
            *(require_tool("fio"), "--name=t", "--filename=data", "--size=1m", "--bs=4k"),
            *("--rw=randrw", "--ioengine=libaio", "--write_lat_log=log", *options.split()),
            "--output-format=json",
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    ).stdout
    (job,) = json.loads(printed[printed.index("{") :])["jobs"]
    log = read_latency_log(tmp_path / f"log_{kind}.1.log")
    for operation, word in ((R, "read"), (W, "write")):
        logged_ns = log.latency_ns[log.operation == operation]
        assert len(logged_ns) == job[word]["total_ios"]
        assert logged_ns.mean() == pytest.approx(job[word][f"{kind}_ns"]["mean"], rel=1e-6)
    assert set(log.length_bytes.tolist()) == {4096}
    if LATENCY_LOGS[options]:
        assert log.offset_bytes is not None
        assert sorted(log.offset_bytes.tolist()) == list(range(0, 1 << 20, 4096))
    else:
        assert log.offset_bytes is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "log: contains no requests; name a fio latency log"),
        (
            "1, 2, 0, 4096, 0, 0\n1, 2, 0, 4096, 0\n",
            "log:2: line '1, 2, 0, 4096, 0': must have the same fields as all: "
            "time, value, direction, size, offset, priority, issue time",
        ),
        (
            "1, 2, 0\n",
            "log:1: line '1, 2, 0': must have the same fields as all: "
            "time, value, direction, size, offset, priority, issue time",
        ),
        ("1, 2, 7, 4096\n", "log:1: direction '7': must be one of: 0, 1, 2"),
        (
            "1, -2, 0, 4096\n",
            "log:1: value '-2': must be a whole number from 0 to 9223372036854774",
        ),
        (
            "1, 2, 0, 4096, 8192\n",
            "log:1: priority '8192': must be 0, 1 or 0x and four digits",
        ),
    ],
)
def test_malformed_latency_log_is_named(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_latency_log(path)
    assert str(caught.value).replace(f"{tmp_path}/", "") == expected
