# SPDX-License-Identifier: GPL-2.0-or-later
"""Three users with a question each, and the README's commands: the last screen has the answer."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROGRAM
from tests.support.doclib import read_page

pytestmark = [pytest.mark.slow, pytest.mark.guest]

#: A terminal shows so many lines.
SCREEN = 24
_DEADLINE_S = 900.0


def at_the_prompt(line: str, directory: Path) -> tuple[str, int]:
    """The last screen of a command line of the shell, and its exit status."""
    command = re.match(r"freezingtime (\w+)", line)
    assert command is not None
    assert f"`freezingtime {command[1]}" in read_page("README"), "the README does not name it"
    ended = subprocess.run(
        ["sh", "-c", line],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_DEADLINE_S,
        cwd=directory,
        env={**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"},
    )
    return "\n".join(ended.stdout.splitlines()[-SCREEN:]), ended.returncode


def test_a_database_engineer_asks_which_drives_keep_p99_below_5_ms(tmp_path: Path) -> None:
    screen, status = at_the_prompt("freezingtime devices --class flash --sort p99", tmp_path)
    assert status == 0
    assert "micron-7450-pro-960gb" in screen
    drives = ("micron-7450-pro-960gb", "samsung-870-evo-1tb", "aws-gp3", "azure-p10")
    devices = " ".join(f"--device {drive}" for drive in (*drives, "constant:6ms"))
    workload = "randrw,bs=8k,rate=100,count=5000,rwmixread=70,fsync=16"
    screen, status = at_the_prompt(
        f"freezingtime replay --workload {workload} {devices} --fail-if 'p99 > 5ms'", tmp_path
    )
    assert status == 1
    assert screen.splitlines()[-1] == "FAILED p99 > 5ms: constant:6ms"
    table = screen.partition("\n\n")[0]  # the devices' statistics stand below
    rows = [line.split() for line in table.splitlines() if line.startswith(drives)]
    assert {row[0] for row in rows} == set(drives)
    assert {row[-1] for row in rows} == {"yes"}


def test_a_researcher_asks_what_a_read_takes_and_whether_it_is_exact(tmp_path: Path) -> None:
    job = (
        "fio --name=t --filename=/dev/vda --direct=1 --rw=randread --number_ios=500 --size=1g "
        "--output-format=json"
    )
    screen, status = at_the_prompt(
        f"freezingtime run --disk constant:read=80us,name=data --out run -- {job} >fio.json",
        tmp_path,
    )
    assert status == 0
    assert re.search(r"app\.fio\.read\.iops 11,\d+", screen)
    assert re.search(r"data +read .* 80us +80us +80us +80us$", screen, re.MULTILINE)
    assert re.search(r"exact: (\d+) of \1 requests on time$", screen, re.MULTILINE)
    assert re.search(r"^freezingtime: \d+ ms in the guest took .*", screen, re.MULTILINE)
    screen, status = at_the_prompt("freezingtime explain exact", tmp_path)
    assert (status, screen[:6]) == (0, "exact:")
    assert at_the_prompt("freezingtime report run -o report.html", tmp_path)[1] == 0
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_an_administrator_asks_whether_the_cheaper_drive_will_do(tmp_path: Path) -> None:
    """A commit is a write and a flush, so the drive without power-loss protection will not."""
    (tmp_path / "log.sh").write_text(
        "#!/bin/sh\nfor i in $(seq 50); do\n"
        "  dd if=/dev/zero of=/dev/vda bs=4k count=1 seek=$i conv=fsync 2>/dev/null\ndone\n"
    )
    for name, drive in (("ours", "micron-7450-pro-960gb"), ("cheap", "samsung-870-evo-1tb")):
        screen, status = at_the_prompt(
            f"freezingtime run --disk {drive},name=data --script log.sh --out {name}", tmp_path
        )
        assert status == 0
        assert re.search(r"data +flush ", screen)
    screen, status = at_the_prompt("freezingtime runs", tmp_path)
    assert status == 0
    assert "flush 3.54ms, 3.54ms" in screen
    screen, status = at_the_prompt(
        "freezingtime compare ours cheap --fail-if 'fsync.p99 > 1ms'", tmp_path
    )
    assert status == 1
    assert re.search(r"^FAILED fsync\.p99 > 1ms: data:fsync\.p99 ", screen, re.MULTILINE)
