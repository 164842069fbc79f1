# SPDX-License-Identifier: GPL-2.0-or-later
"""fio's iologs: what their waits mean, by what the real fio does of them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from freezingtime.trace.readers import Reading, read_trace
from tests.conftest import require_tool


def arrivals(path: Path, text: str) -> tuple[list[int], Reading]:
    path.write_text(text)
    told: list[Reading] = []
    return read_trace(path, on_reading=told.append).arrival_ns.tolist(), told[0]


def test_iolog_waits_are_what_fio_does_of_them(tmp_path: Path) -> None:
    """Waits of 1 to 300: us would be 45 ms in all, ms after the one before 45 s."""
    waits = range(1, 301)
    (tmp_path / "data").write_bytes(bytes(4096))
    lines = [f"{tmp_path}/data {what}" for what in ("add", "open", "read 0 4096")]
    for wait in waits:
        lines += [f"{tmp_path}/data wait {wait} 0", f"{tmp_path}/data read 0 4096"]
    log = tmp_path / "iolog"
    log.write_text("\n".join(["fio version 2 iolog", *lines, f"{tmp_path}/data close", ""]))
    begin_s = time.monotonic()
    subprocess.run(
        [require_tool("fio"), "--name=t", f"--read_iolog={log}", "--ioengine=psync"],
        check=True,
        capture_output=True,
        cwd=tmp_path,
        timeout=40,
    )
    assert time.monotonic() - begin_s >= 0.3
    at_ns, reading = arrivals(log, log.read_text())
    assert at_ns == [0, *(10**6 * wait for wait in waits)]
    assert "waits are ms since the start, as fio replays them" in reading.facts


def test_waits_that_are_over_or_of_version_3(tmp_path: Path) -> None:
    text = "fio version 2 iolog\n/f wait 30 0\n/f read 0 512\n/f wait 20 0\n/f read 0 512\n"
    at_ns, reading = arrivals(tmp_path / "log", text)
    assert at_ns == [0, 0]
    assert reading.notes == ("1 of 2 waits end before the previous one, and do not wait",)
    text = "fio version 3 iolog\n5 /f read 0 512\n6 /f wait 2000 0\n9 /f read 0 512\n"
    at_ns, reading = arrivals(tmp_path / "log", text)
    assert at_ns == [0, 4000]
    assert reading.notes == ("left out 1 waits, as fio does in version 3",)
