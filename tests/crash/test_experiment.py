# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m experiments.crash`: its jobs and checks, and the bugs of PostgreSQL's settings."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from experiments.crash import postgresql
from experiments.crash.__main__ import explore
from experiments.crash.file_systems import make_file_system
from experiments.crash.workloads import Workload, planted, right

from tests.conftest import require_root, require_tool

_ALL = (*planted(), *right(1))
_OF_POSTGRESQL = [workload for workload in planted() if workload.guest == postgresql.GUEST]


def test_names_are_of_one_workload_each() -> None:
    assert len({workload.name for workload in _ALL}) == len(_ALL)
    assert len(_OF_POSTGRESQL) == 2


@pytest.mark.parametrize("workload", _ALL, ids=lambda workload: workload.name)
def test_jobs_and_checks_are_scripts(tmp_path: Path, workload: Workload) -> None:
    require_tool("sqlite3")
    workload.write_job(tmp_path)
    check = tmp_path / "check"
    check.write_text(workload.check or workload.check_first)
    for script in (tmp_path / "run", check):
        assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
    # What a part of the job is named by is printed by it.
    run = (tmp_path / "run").read_text()
    for printed in (workload.since, workload.until):
        assert printed is None or printed in run or printed.startswith("ACK ")


def test_an_image_is_made_once(tmp_path: Path) -> None:
    require_tool("mkfs.ext4")
    image = tmp_path / "disk.img"
    disks = [make_file_system("ext4", image)]
    before = image.stat()
    disks.append(make_file_system("ext4", image))
    assert image.stat().st_mtime_ns == before.st_mtime_ns  # another one would have another UUID
    assert disks == [f"medium=file:{image},mount=/data,fs=ext4"] * 2
    assert list(tmp_path.iterdir()) == [image]


@pytest.mark.slow
@pytest.mark.guest
@pytest.mark.timeout(3600)  # the image of the guest is built first
@pytest.mark.parametrize("workload", _OF_POSTGRESQL, ids=lambda workload: workload.name)
def test_what_postgresqls_settings_lose_is_found_and_replayed(
    tmp_path_factory: pytest.TempPathFactory, workload: Workload
) -> None:
    require_tool("mmdebstrap")
    require_root()
    # The disk with the database is beside the directories, and shared.
    banks = tmp_path_factory.getbasetemp() / "banks"
    row = explore(workload, banks / workload.name.replace(" ", ""), 0)
    assert row.wrong is None
    assert row.said.endswith("replayed")
