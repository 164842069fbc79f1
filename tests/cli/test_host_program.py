# SPDX-License-Identifier: GPL-2.0-or-later
"""A command that names a file of the host: the guest has no such file."""

from __future__ import annotations

from pathlib import Path

import pytest

from freezingtime.errors import InputError
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import make_plan
from freezingtime.runs.script import Command


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    for name in ("work", "bin/work"):
        (tmp_path / name).write_text("#!/bin/sh\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "job",
    [
        Command(("./work",)),
        Command(("bin/work", "-v")),
        Command(line="./work -v"),
        Command(line=" bin/work"),
    ],
)
def test_it_is_refused(job: Command) -> None:
    with pytest.raises(InputError) as refused:
        make_plan(RunOptions(), script=job)
    program = (job.words or (job.line or "").split())[0]
    assert str(refused.value) == (
        f"COMMAND {program}: is a file of this host, which the guest does not have; "
        f"give it with --script {program}"
    )


@pytest.mark.parametrize(
    "job",
    [
        Command(("work",)),  # on the guest's own PATH, if anywhere
        Command(("/bin/sh", "./work")),
        Command(("./bin",)),
        Command(line="cd /tmp; ./work"),
        Command(line="a\0/b"),
    ],
)
def test_what_may_be_a_program_of_the_guest_is_not(job: Command) -> None:
    assert make_plan(RunOptions(), script=job).script == job.script()


def test_a_job_brings_its_programs_along(working_directory: Path) -> None:
    (working_directory / "job").mkdir()
    Command(("./work",)).require_no_host_file(working_directory)
    with pytest.raises(InputError, match=r"^--check \./work: .* with --check-script \./work$"):
        Command(line="./work").require_no_host_file(
            working_directory / "job", "--check", "--check-script"
        )
