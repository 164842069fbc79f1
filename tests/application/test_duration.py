# SPDX-License-Identifier: GPL-2.0-or-later
"""How long jobs say that they will run."""

from __future__ import annotations

from pathlib import Path

import pytest

from freezingtime.application.duration import expected_guest_ns
from freezingtime.errors import InputError
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import make_plan
from freezingtime.runs.script import Command

S = 10**9
JOB_FILE = """#!/bin/sh
cat >job.fio <<END
[global]
runtime=2m
[a]
rw=read
[b]
runtime = 500ms
END
exec fio job.fio
"""


@pytest.mark.parametrize(
    ("script", "expected_ns"),
    [
        ("fio --name=a --runtime=30 --time_based", 30 * S),
        ("fio --name=a --runtime 500ms", S // 2),
        ("fio --name=a --runtime=30s --name=b --runtime=1m", 60 * S),
        ("fio --name=a \\\n  --runtime=1h", 3600 * S),
        (JOB_FILE, 120 * S),
        ("pgbench -i test\npgbench -c 4 -T 60 test", 60 * S),
        ("pgbench -T60 test; echo done\nsysbench fileio --time=10 run", 70 * S),
        ('pgbench -T "$T" test', 7 * S),
        ("pgbench -T ${T} test", 7 * S),
        ("pgbench --time=$UNKNOWN test", None),
        ("pgbench -t 1000 test", None),
        ("# pgbench -T 60 test", None),
        ("grep -T 60 file", None),
        ("runtime=30 ./mine", None),
        ("fio --runtime=soon", None),
        ("fio --runtime=" + "9" * 400, None),
        ("", None),
    ],
)
def test_durations_are_read_of_the_jobs_text(script: str, expected_ns: int | None) -> None:
    assert expected_guest_ns(script, {"T": "7"}) == expected_ns


def test_the_option_is_right_whatever_the_job_says(tmp_path: Path) -> None:
    job = Command(("pgbench", "-T", "60", "test"))
    assert make_plan(RunOptions(), script=job).expected_ns == 60 * S
    assert make_plan(RunOptions(expect="90s"), script=job).expected_ns == 90 * S
    with pytest.raises(InputError, match=r"^--expect: bad time 'soon'"):
        make_plan(RunOptions(expect="soon"), script=job)
    with pytest.raises(InputError, match=r"^--expect 0: must be more than 0"):
        make_plan(RunOptions(expect="0"), script=job)
    (tmp_path / "run").write_text("#!/bin/sh\nexec pgbench -T 5 test\n")
    plan = make_plan(RunOptions(), script=b"#!/bin/sh\nexec /job/run\n", job_directory=tmp_path)
    assert plan.expected_ns == 5 * S
