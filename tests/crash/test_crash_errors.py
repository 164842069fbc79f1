# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input of `freezingtime crash`: one line that names option, value and what would be right."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from freezingtime.cli.guest import crash as command
from freezingtime.device.faults.durability import Durability, durability_of
from freezingtime.device.registry import describe
from freezingtime.disk.mount import Mount
from freezingtime.disk.spec import parse_disk
from freezingtime.errors import InputError
from freezingtime.explore.crash import failures
from freezingtime.explore.crash.check import Acknowledged, default_check
from freezingtime.explore.crash.directory import ExplorationDirectory, state_key
from freezingtime.explore.crash.explore import FailedState
from freezingtime.explore.crash.failures import LostWrite
from freezingtime.explore.crash.points import JobSpan, choose_points, parse_selection
from freezingtime.explore.crash.recovery.outcome import RecoveryOutcome
from freezingtime.explore.crash.recovery.scripts import (
    CHECK_NAME,
    recovery_script,
    state_script,
)
from freezingtime.explore.crash.request import CrashRequest
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command
from freezingtime.trace.explored.crash_files import CrashFailure, CutPoint
from tests.conftest import RunProgram, require_tool
from tests.crash.crashlib import crash_request

MOUNTED = "constant:10us,size=64MiB,mount=/data"


def _require(request: CrashRequest) -> None:
    request.require_possible()
    request.check_plan()


@pytest.mark.parametrize(
    ("disks", "values", "message"),
    [
        ((), {}, "--disk: none is given; name the disks whose power is cut"),
        ((MOUNTED,), {"points": "sometimes"}, "--points sometimes: no such points; write one of: "),
        ((MOUNTED,), {"points": "0"}, "--points 0: no such points"),
        ((MOUNTED,), {"points": "at=soon"}, "--points at=soon: "),
        ((MOUNTED,), {"points": "after=("}, "--points after=(: no regular expression: "),
        ((MOUNTED,), {"points": "after=x*"}, "--points after=x*: matches an empty text"),
        ((MOUNTED,), {"since": "("}, "--since (: no regular expression: "),
        (
            (MOUNTED,),
            {"points": "at=1ms", "until": "ACK"},
            "--points at=1ms: says when by itself; leave out --since and --until",
        ),
        ((MOUNTED,), {"values": ["lost"]}, "--values lost: no such value; write some of zero,"),
        (("constant:10us,medium=file:d.img,writable=yes",), {}, "leave out writable=yes"),
        ((f"{MOUNTED},fault=slow=2",), {}, "its device fails (slow=2); the power is cut of"),
        (("constant:10us",), {}, "no disk has a file system to check; give --disk DEVICE,mount="),
        ((MOUNTED,), {"check_limit": "0"}, "--check-limit 0: "),
    ],
)
def test_bad_requests(disks: tuple[str, ...], values: dict[str, Any], message: str) -> None:
    request = crash_request("true", *disks, **values)
    with pytest.raises(InputError) as refused:
        _require(request)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_check_that_is_a_file_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "check").write_text("#!/bin/sh\n")
    request = crash_request("true", MOUNTED, check=Command(line="./check"))
    with pytest.raises(InputError, match=r"^--check \./check: .*give it with --check-script"):
        _require(request)
    # One of the job's is no file that the check itself is in.
    _require(replace(request, job_directory=tmp_path))
    assert f"/job/{CHECK_NAME}" in recovery_script(["a"], {}, leaves_disks=True).decode()
    assert CHECK_NAME != "check"


def test_a_job_that_wrote_nothing_has_no_points() -> None:
    with pytest.raises(InputError, match="wrote nothing to its disks"):
        choose_points([], parse_selection("all-flushes"), JobSpan(0, 10, b""), 0)


def test_the_program_says_it_in_one_line(freezingtime: RunProgram, tmp_path: Path) -> None:
    ran = freezingtime("crash", "--out", tmp_path / "out", "--disk", "constant:1us", "--", "true")
    assert ran.returncode == 2
    assert ran.stderr.startswith("freezingtime: no disk has a file system to check; give --disk ")
    assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"check": "true", "check_script": Path("c.sh")}, "give one of: --check LINE, --check-"),
        ({"check": " "}, "--check: is empty"),
        ({"check_script": Path("not-there.sh")}, "--check-script not-there.sh: No such file"),
        ({"replay_failure": 1, "command": ("true",)}, "--replay: has the job of its exploration"),
        ({"replay_failure": 1}, "crash.json: No such file|failures/1.json: No such file"),
    ],
)
def test_bad_options(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=message):
        command.crash(out=tmp_path / "out", disks=(MOUNTED,), quiet=True, **values)


def test_of_a_reason_the_state_that_lost_least_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failed(reason: str, fates: bytes) -> Any:
        state = SimpleNamespace(fates=fates)
        return FailedState(
            SimpleNamespace(state=state),  # type: ignore[arg-type]
            RecoveryOutcome(False, reason, (), (), True),
        )

    lost = [("a", b"\0\0\1"), ("b", b"\0\1"), ("a", b"\1\2\1"), ("b", b"\1\0"), ("a", b"\4")]
    exploration: Any = SimpleNamespace(failures=[failed(*one) for one in lost])
    monkeypatch.setattr(failures, "_minimised", lambda owner, failed: failed)
    monkeypatch.setattr(
        failures, "_report", lambda _, owner, number, failed: (number, failed.candidate.state.fates)
    )
    assert failures.report_failures(exploration) == [(1, b"\1\2\1"), (2, b"\0\1")]


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    refused = pytest.raises(InputError, match="is not empty, and has no exploration")
    with ExplorationDirectory(tmp_path) as directory, refused:
        directory.begin({})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_exploration_of_another_job_is_left_alone(tmp_path: Path) -> None:
    with ExplorationDirectory(tmp_path) as directory:
        directory.begin(crash_request("true", MOUNTED).identity())
    with ExplorationDirectory(tmp_path) as directory:
        directory.begin(crash_request("true", MOUNTED, states=3, points="5").identity())
        with pytest.raises(InputError, match="has an exploration with another job"):
            directory.begin(crash_request("false", MOUNTED).identity())


def refuse_begun(out: Path, *, with_job: bool) -> None:
    """Begin an exploration that turns out to be impossible, before or behind its job."""
    with ExplorationDirectory(out) as directory:
        directory.begin(crash_request("true", MOUNTED).identity())
        if with_job:
            directory.job_path.mkdir()
        raise InputError("no such guest")


def test_a_refused_exploration_is_not_in_the_way_of_the_next(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such guest"):
        refuse_begun(tmp_path / "out", with_job=False)
    assert not (tmp_path / "out").exists()


def test_a_recorded_job_is_kept_whatever_is_refused_then(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such guest"):
        refuse_begun(tmp_path / "out", with_job=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["crash.json", "job"]


def test_two_explorations_do_not_share_a_directory(tmp_path: Path) -> None:
    with ExplorationDirectory(tmp_path), pytest.raises(InputError, match="another run is still"):
        ExplorationDirectory(tmp_path)


def test_outcomes_survive_an_interruption(tmp_path: Path) -> None:
    """But for the line that was being written."""
    key, outcome = state_key(7, b"a\n"), RecoveryOutcome(False, "gone", ("a",), ("b",))
    with ExplorationDirectory(tmp_path) as directory:
        directory.begin({})
        directory.keep(key, outcome)
    states = tmp_path / "states.jsonl"
    whole = states.read_text()
    states.write_text(whole + whole[:-5])
    with ExplorationDirectory(tmp_path) as directory:
        directory.begin({})
        assert directory.outcomes == {key: outcome}
        directory.keep(state_key(8, b""), outcome)
    assert len(states.read_text().splitlines()) == 2
    states.write_text(whole + "nonsense\n")
    with ExplorationDirectory(tmp_path) as directory, pytest.raises(InputError, match="line 2 is"):
        directory.begin({})


def test_a_request_is_the_same_as_a_document() -> None:
    request = crash_request("echo 1", MOUNTED, check_limit="3s")
    document = json.loads(json.dumps(request.identity()))
    again = type(request).of_identity(document, request.fates)
    assert again.identity() == request.identity()
    assert again.options == request.options == RunOptions(disks=[MOUNTED])
    # A replay makes the plans again, from what is in the directory.
    assert again.job_plan(Path("out")) == request.job_plan(Path("out"))
    assert again.check_plan() == request.check_plan()


def test_acknowledged_is_what_was_printed_as_a_whole() -> None:
    acknowledged = Acknowledged(b"start\nACK one\nNACK two\nACK two abc\nACK three")
    assert acknowledged.by(13) == b""
    assert acknowledged.by(14) == b"one\n"
    assert acknowledged.by(10**6) == b"one\ntwo abc\n"


def test_file_systems_are_recovered_from_outside_in_and_checked_from_inside_out() -> None:
    mounts = {"b": Mount("/data/log", "xfs"), "a": Mount("/data", "ext4")}
    recovery = recovery_script(["b", "a"], mounts, leaves_disks=True).decode()
    outside_in = ["insert b b", "insert a a", "recover a a ext4 /data", "recover b b xfs /data/log"]
    inside_out = [
        f"/job/{CHECK_NAME} || exit",
        "cd /",
        "leave /data/log",
        "leave /data",
        "look_for_traces",
    ]
    assert "\n".join(outside_in + inside_out) in recovery
    only = recovery_script(["b", "a"], mounts, leaves_disks=False).decode()
    assert "leave /data" not in only
    check = default_check(list(mounts.values())).decode()
    assert check.index("umount /data/log") < check.index("umount /data ")


@pytest.mark.parametrize(
    ("acked", "reason"),
    [
        ("", ""),
        ("order {old}\norder {new}\n", ""),
        ("order\n", ""),
        ("order {new}\norder {old}\n", "not the content that was acknowledged: order\n"),
        ("order {new}\nother\n", "lost after it was acknowledged: other\n"),
    ],
)
def test_of_a_file_that_is_acknowledged_again_the_last_line_counts(
    tmp_path: Path, acked: str, reason: str
) -> None:
    (tmp_path / "order").write_bytes(b"new\n")
    digests = {name: hashlib.sha256(f"{name}\n".encode()).hexdigest() for name in ("old", "new")}
    (tmp_path / "acked").write_text(acked.format(**digests))
    check = default_check([Mount(str(tmp_path), "ext4")]).decode()
    check = check[: check.index("find ")].replace("/job/acked", str(tmp_path / "acked"))
    ended = subprocess.run(["sh", "-c", check], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.returncode) == (reason, 1 if reason else 0)


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("length", [0, 3750, 3780, 9000])
def test_a_state_s_script_is_read_by_the_block(tmp_path: Path, shell: str, length: int) -> None:
    """Whatever a job acknowledges arrives, and is no command."""
    acked = b"$(touch bad) '\n`touch bad`'\\''\\n %s\n" + bytes(range(1, 256)) + b"x" * length
    acked += b"\n"
    script = state_script(acked)
    blocks = int(script.partition(b"\n")[0].split()[1])
    assert len(script) == blocks * 4096
    (tmp_path / "state").write_bytes(script.replace(b"/job/", b"./"))
    subprocess.run([require_tool(shell), "-c", ". ./state"], cwd=tmp_path, check=True)
    assert (tmp_path / "acked").read_bytes() == acked
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize(
    ("disk", "durability"),
    [
        ("constant:1us", Durability()),
        ("constant:1us,write-cache=off", Durability(is_volatile=False)),
        ("constant:1us,block-size=4KiB", Durability(torn_unit_sectors=8, atomic_write_sectors=8)),
        ("intel-p4500-2tb", Durability(is_volatile=False)),
        ("wd-dc-960gb-steady", Durability(is_volatile=False)),
        ("samsung-970-evo-plus-1tb", Durability()),
        ("intel-p4500-2tb,frontend=nvme", Durability(is_volatile=False)),
    ],
)
def test_durability_of_disks(disk: str, durability: Durability) -> None:
    assert parse_disk(disk).durability == durability


def test_a_durability_table_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    text = 'model = "constant"\n[parameters]\nread = "1us"\n[durability]\n'
    for line, message in (
        ('torn_unit = "1000B"', "durability.torn_unit = '1000B': must be a multiple of 512 bytes"),
        ('torn_units = "4KiB"', "durability.torn_units: unknown key; did you mean torn_unit?"),
        ("ignores_flush = 1", "durability.ignores_flush = 1: must be true or false"),
        ('cache_size = "700B"', "durability.cache_size = '700B': must be a multiple of 512 bytes"),
        ('drain_after = "soon"', "durability.drain_after = 'soon': "),
    ):
        file.write_text(text + line)
        with pytest.raises(InputError) as refused:
            describe(str(file))
        assert message in str(refused.value)
    file.write_text(text + 'atomic_write = "16KiB"\natomic_boundary = "64KiB"\n')
    durability = parse_disk(str(file)).durability
    assert durability == Durability(atomic_write_sectors=32, atomic_boundary_sectors=128)
    assert list(durability.pieces(96, 32)) == [(96, 32)]
    assert list(durability.pieces(127, 2)) == [(127, 1), (128, 1)]
    assert len(list(durability.pieces(0, 33))) == 33
    limited = tmp_path / "limited.toml"
    limited.write_text(text + 'cache_size = "1MiB"\ndrain_after = "2s"\n')
    assert parse_disk(str(limited)).durability == Durability(
        cache_sectors=2048, drain_after_ns=2 * 10**9
    )
    table = describe(str(file)).durability
    assert durability_of(
        table, write_cache=True, logical_block_bytes=4096, protects=True
    ) == Durability(False, False, 8, 32, 128)


@pytest.mark.parametrize(
    ("undecided", "lost", "line"),
    [
        (0, (), "nothing could be lost: all that was written was durable"),
        (1, (), "the one piece that was not durable is kept"),
        (1, (LostWrite("data", 0, 512, 1, 1, "old"),), "of 1 piece that was not durable, lost:"),
        (3, (), "all 3 pieces that were not durable are kept"),
        (3, (LostWrite("data", 0, 512, 1, 1, "old"),), "of 3 pieces that were not durable, lost:"),
    ],
)
def test_what_a_failed_state_has_lost_is_said_plainly(
    capsys: pytest.CaptureFixture[str], undecided: int, lost: tuple[LostWrite, ...], line: str
) -> None:
    point = CutPoint(0, 0, 0, "a flush of data")
    failure = CrashFailure(1, point, 1000, "it failed", (), (), lost, undecided, ())
    command._say_failure(failure, Path("out"))
    assert f"freezingtime:   {line}\n" in capsys.readouterr().err
