# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters change while a device runs: at exact times, and only those that can."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import freezingtime as ft
from freezingtime.cli.device.replay import app as replay_app
from freezingtime.device.contract import GuardedDevice
from freezingtime.device.faults.faulty_device import FaultyDevice
from freezingtime.device.kept.saved_device import load_device, save_device
from freezingtime.device.registry import MODELS, declared_parameters, from_content
from freezingtime.disk.changes import with_changes, with_changes_of_each
from freezingtime.disk.spec import parse_disk
from freezingtime.errors import InputError
from freezingtime.report.figures.run_figures import (
    LATENCY_DISTRIBUTION,
    THROUGHPUT,
    draw_run_figure,
)
from freezingtime.report.read import read_run
from freezingtime.request import Operation, Request
from freezingtime.trace.record_header import parse_header
from tests.kept.test_kept_state import DEVICES, SIZE_BYTES, described, go_on, load
from tests.support.doclib import ROOT
from tests.support.guestlib import run_guest

MS = 1_000_000


def guarded(disk: str, size_bytes: int = SIZE_BYTES) -> GuardedDevice:
    return GuardedDevice(parse_disk(disk).device.build(1, size_bytes))


def ends(device: GuardedDevice, *arrivals_ns: int) -> list[int]:
    """When reads of 4 KiB complete, in order of completion."""
    reads = [(each, [Operation.READ, 0, 4096, False]) for each in arrivals_ns]
    return [done[0] for done in go_on(device, reads, None)]


def test_it_is_exact_to_the_nanosecond() -> None:
    """What arrives at the time itself finds the new value; what is under way keeps its own."""
    device = guarded("constant:10us,at=1ms read=2ms,at=5ms read=1us")
    assert ends(device, MS - 1, MS, MS + 1, 5 * MS - 1, 5 * MS) == [
        *(MS + 9_999, 3 * MS, 3 * MS + 1, 5 * MS + 1000, 7 * MS - 1)
    ]


def test_what_is_foreseen_ends_at_a_change() -> None:
    device = guarded("constant:10us,at=1ms read=2ms")
    for before_ns in (20_000, 10_001, 10_000):
        device.submit(Request(Operation.READ, 0, 4096), MS - before_ns)
    foreseen = device.foresee()
    assert [event[0] for event in foreseen.events] == [MS - 10_000, MS - 1]
    assert foreseen.then_ns == MS, "the third completes then, and the change comes"
    assert [len(device.advance(each)) for each in (MS - 10_000, MS - 1, MS)] == [1, 1, 1]


def test_a_device_that_fails_changes_inside_when_the_job_starts() -> None:
    disk = parse_disk("constant:10us,at=1ms read=2ms,fault=slow_by=1us..1us")
    device = disk.device.build(1, SIZE_BYTES)
    assert isinstance(device, FaultyDevice)
    device.await_start()
    assert ends(GuardedDevice(device), 3 * MS) == [3 * MS + 10_000]
    device.start(4 * MS)
    assert ends(GuardedDevice(device), 5 * MS - 1, 5 * MS) == [5 * MS + 10_999, 7 * MS + 1000]


def test_a_rate_changes_and_the_balance_stays_to_the_last_part() -> None:
    """Half of a token at 3 a second is half of one at 7."""
    text = (
        'model = "latency"\n[parameters]\niops_limit = 3\nread = {fixed = 0}\nwrite = {fixed = 0}'
    )
    content = {**tomllib.loads(text), "at": [{"time": "1s", "parameters": {"iops_limit": 7}}]}
    device = GuardedDevice(from_content(content, "f", "f").build(1))
    # Two at 0: the second comes at 1/3 s, and the next token is half earned after half a second.
    done = ends(device, 0, 0, 900 * MS, 1000 * MS, 1000 * MS)
    second_ns = 333_333_334
    assert done[:3] == [0, second_ns, 900 * MS]
    # At 1 s, 0.3 of a token is there; the rest comes at 7 a second.
    assert done[3] == 1000 * MS + 100_000_000
    assert done[4] - done[3] in (142_857_142, 142_857_143)


def test_a_volume_is_resized_and_keeps_its_credits() -> None:
    disk = "baseline"
    tables = tomllib.loads(DEVICES["volume"])
    tables["at"] = [{"time": "1ms", "parameters": {"iops": {disk: 100}}}]
    device = GuardedDevice(from_content(tables, "f", "f").build(1, SIZE_BYTES))
    arrivals = [2 * MS] * 60
    done = ends(device, *arrivals)
    gaps = [after - before for before, after in zip(done[-5:], done[-4:], strict=False)]
    assert max(gaps) > 9 * MS, "credits for 50 are used up, and 100 a second are left"
    tables["at"][0]["parameters"] = {"iops": {"credits": 60}}
    with pytest.raises(InputError, match="only the rate of a limit can change"):
        from_content(tables, "f", "f").build(1, SIZE_BYTES)  # and not when its time has come


def test_a_state_is_of_a_device_at_its_own_rates(tmp_path: Path) -> None:
    """Of one that was changed: what was saved of credits stays, at the rate that is described."""
    tables = tomllib.loads(DEVICES["volume"])
    tables["at"] = [{"time": "1ms", "parameters": {"iops": {"baseline": 7}}}]
    changing = from_content(tables, "f", "f")
    device = GuardedDevice(changing.build(1, SIZE_BYTES))
    reads = [(2 * MS, [Operation.READ, 0, 4096, False])] * 55
    go_on(device, reads, 300 * MS)
    save_device(tmp_path / "state", device, changing, SIZE_BYTES)
    later = GuardedDevice(described("volume").build(1, SIZE_BYTES))
    plain = from_content(tomllib.loads(DEVICES["volume"]), "f", "f")
    load_device(tmp_path / "state", later, plain, SIZE_BYTES)
    done = ends(later, *[10**10] * 60)
    assert done[-1] < 10**10 + 100 * MS, "at 3000 a second, not at 7"


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("flash", {"cells.t_read": "600us"}),
        ("disk", {"overhead": "40ms"}),
        ("latency", {"read": {"fixed": {"median": "8ms"}}}),
    ],
)
def test_before_it_nothing_is_different(name: str, changed: dict[str, Any]) -> None:
    """And after it the device is the one that was described so."""
    content = described(name).content
    at = {**content, "at": [{"time": "10ms", "parameters": changed}]}
    requests = load(200, seed=2)
    plain = go_on(GuardedDevice(described(name).build(5, SIZE_BYTES)), requests, None)
    changing = from_content(at, "f", "f").build(5, SIZE_BYTES)
    told = go_on(GuardedDevice(changing), requests, None)
    before = [done for done in plain if done[0] < 10 * MS]
    assert told[: len(before)] == before
    assert len(before) > 20
    assert sum(done[0] for done in told) > sum(done[0] for done in plain) + 5 * MS


def test_a_replay_takes_it_and_its_record_says_so(tmp_path: Path) -> None:
    result = ft.replay(
        "randread,bs=4k,qd=1,count=10",
        devices=["constant:1ms"],
        at=["5ms read=3ms"],
        out=tmp_path / "r",
    )
    assert result.requests.latency_ns.tolist() == [MS] * 5 + [3 * MS] * 5
    header = parse_header("r", pq.read_schema(tmp_path / "r").metadata)
    assert [disk.changes for disk in header.disks] == [("5ms read=3ms",)]
    run = read_run(tmp_path / "r", lambda _done, _total: None)
    assert run.change_times_ns() == [5 * MS]
    (svg,) = draw_run_figure(THROUGHPUT, [run], [".svg"])
    assert b"parameters changed" in svg
    (svg,) = draw_run_figure(LATENCY_DISTRIBUTION, [run], [".svg"])
    assert b"parameters changed" not in svg


def test_a_time_that_never_came_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of what is given in the wrong unit, nothing else would tell."""
    load, at = "randread,bs=4k,qd=1,count=10", ["10ms read=3ms", "10.000001ms read=4ms"]
    with pytest.warns(UserWarning, match=r"^constant:1ms.*: the change 10\.000001ms read=4ms was"):
        ft.replay(load, ["constant:1ms"], at=at, out=tmp_path / "r")
    options = [option for text in at for option in ("--at", text)]
    with pytest.raises(SystemExit):
        replay_app(["--workload", load, "--device", "constant:1ms", *options])
    assert capsys.readouterr().err == (
        f"freezingtime: change {at[1]} of constant:1ms,at={at[0]},at={at[1]}: "
        "NEVER REACHED, as the load ended before\n"
    )


def test_the_text_of_a_disk_has_it() -> None:
    """So the record and run.json have it, and a run of that text is the same."""
    disk = ft.Disk(
        "constant:1ms", at=["5s read=2ms", {"time": "6s", "parameters": {"read": "3ms"}}]
    )
    assert disk.spec == "constant:1ms,at=5s read=2ms,at=6s read=3ms"
    again = parse_disk(disk.spec).device
    assert again.change_texts == ("5s read=2ms", "6s read=3ms")
    assert again.identity() != parse_disk("constant:1ms").device.identity()
    (changed,) = with_changes(["constant:1ms,name=data"], ["5s data.read=2ms write=1ms"])
    assert changed == "constant:1ms,name=data,at=5s read=2ms write=1ms"


@pytest.mark.parametrize(
    ("disk", "problem"),
    [
        ("constant:1us,at=5s", r"at 5s: write TIME KEY=VALUE\.\.\., such as 5s read=2ms"),
        ("constant:1us,at=soon read=1us", "soon"),
        ("constant:1us,at=5s raed=1us", r"raed: cannot .* runs; did you mean read\? the model"),
        (
            "micron-7450-pro-960gb-steady,at=5s cells.t_raed=8us",
            r"cells\.t_raed: cannot change while the device runs; did you mean cells\.t_read\?",
        ),
        ("constant:1us,at=5s size=1us", "size: cannot change while the device runs; the model"),
        ("constant:1us,at=5s read=blue", "read"),
        ("samsung-870-evo-1tb,at=5s servers=3", "servers: cannot change .* can change read, write"),
        ("micron-7450-pro-960gb-steady,at=5s mapping.unit=8KiB", r"mapping\.unit: cannot change"),
    ],
)
def test_what_cannot_change_is_refused_in_one_line(disk: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as refused:
        parse_disk(disk)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_change_is_refused(text: str) -> None:
    for of in (with_changes, with_changes_of_each):
        with pytest.raises(InputError, match=r"^--at \s*: write TIME KEY=VALUE\.\.\., such as"):
            of(["constant:1us"], [text])


def test_own_code_and_the_composition_itself_do_not_change() -> None:
    own = ROOT / "tests/kept/test_kept_state.py"
    with pytest.raises(InputError, match="is Python code, which has no parameters to set"):
        parse_disk(f"{own}:Own,at=5s read=1us")
    at = [{"time": "1s", "parameters": {"count": 3}}]
    with pytest.raises(InputError, match="no key of the model mirror can"):
        from_content({**described("mirror").content, "at": at}, "f", "f")


_PART = 'model = "constant"\nparameters = {read = "10us", write = "20us"}\n'
_COMPOSED = {
    "concatenation": (
        "model = 'concatenation'\n"
        + "".join(f"[[parameters.member]]\nsize = '1MiB'\n{_PART}" for _ in range(2)),
        "member[2].parameters.read",
        [10, 70],
    ),
    "mirror": (
        f"model = 'mirror'\nparameters.count = 2\n[[parameters.member]]\n{_PART}",
        "member[1].parameters.read",
        [70, 70],
    ),
    "perturb": (
        "model = 'perturb'\nparameters.pause_every = '1s'\nparameters.pause = '1ns'\n"
        f"[parameters.device]\n{_PART}",
        "device.parameters.read",
        [70, 70],
    ),
    "nested": (
        "model = 'stripe'\nparameters.chunk = '1MiB'\n"
        f"[[parameters.member]]\n{_PART}"
        "[[parameters.member]]\nmodel = 'mirror'\nparameters.count = 2\n"
        f"[[parameters.member.parameters.member]]\n{_PART}",
        "member[2].parameters.member[1].parameters.read",
        [10, 70],
    ),
}


@pytest.mark.parametrize("name", _COMPOSED)
def test_a_member_changes_by_its_path(name: str) -> None:
    """Exactly then, and the others stay as they are; what it has begun, too."""
    text, path, after_us = _COMPOSED[name]
    content = tomllib.loads(text)
    at = [{"time": f"{time}", "parameters": {path: value}} for time, value in _AT]
    device = GuardedDevice(from_content({**content, "at": at}, "f", "f").build(1, 2 << 20))
    took = []
    for arrival_ns in (MS - 1, MS, 3 * MS):
        reads = [(arrival_ns, [Operation.READ, half << 20, 4096, False]) for half in (0, 1)]
        done = go_on(device, reads, None)
        took.append([each[0] - arrival_ns for each in sorted(done, key=lambda each: each[2])])
    assert took[0] == took[2] == [10_000, 10_000]
    assert took[1] == [us * 1000 for us in after_us]


_AT = [("1ms", "70us"), ("2ms", "70us"), ("3ms", "10us")]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("member[3].parameters.read", r"there is no member\[3\]; the device has 2 of them"),
        ("member.parameters.read", r"member has 2 members; write member\[1\]"),
        (
            "member[1].parameters.raed",
            r"\[1\]\.parameters\.raed: .* did you mean read\? the model c",
        ),
        ("member[2].parameters.read", r"the member is constant:1us, which is described elsewhere"),
        ("member[1].size", r"no key of the model concatenation can, but those of its members: mem"),
        ("member[1].parameters.read=blue", "read = 'blue=2us': must be a time"),
    ],
)
def test_what_of_a_member_cannot_change_is_refused(path: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text(
        f"model = 'concatenation'\n[[parameters.member]]\nsize = '1MiB'\n{_PART}"
        "[[parameters.member]]\nsize = '1MiB'\ndevice = 'constant:1us'\n"
    )
    with pytest.raises(InputError, match=problem) as refused:
        parse_disk(f"{tmp_path}/d.toml,at=1s {path}=2us")
    assert "\n" not in str(refused.value)


def test_a_disk_is_named_where_there_are_several() -> None:
    disks = ["constant:1us,name=a", "constant:1us,name=b"]
    assert with_changes(disks, ["1s b.read=2us"])[1] == "constant:1us,name=b,at=1s read=2us"
    with pytest.raises(InputError, match=r"no disk 'dta'; did you mean data\? available: data, b"):
        with_changes(["constant:1us,name=data", disks[1]], ["1s dta.read=2us"])
    with pytest.raises(InputError, match=r"--at 1s read=2us: say of which disk, such as a\.KEY="):
        with_changes(disks, ["1s read=2us"])


def test_the_table_of_what_can_change_is_true() -> None:
    page = (ROOT / "docs/reference/devices/changes.md").read_text()
    rows = {
        row.split("`")[1]: re.findall(r"`([a-z_.]+)`", row)
        for row in page.splitlines()
        if row.startswith("| `")
    }
    able = {model for model in MODELS if declared_parameters(model).changeable}
    assert rows.keys() == able
    for model in able:
        for path in declared_parameters(model).changeable:
            last = path.rpartition(".")[2]
            told = [path, last, path.rpartition(".")[0]]
            limit = last.endswith("_limit") or path.startswith("host.t_")
            assert limit or any(name in rows[model] for name in told), f"{model}: {path}"


@pytest.mark.guest
@pytest.mark.slow
def test_a_guest_sees_it_at_that_time_of_its_job(tmp_path: Path) -> None:
    """And a run of what run.json has is the same."""
    script = "dd if=/dev/vda of=/dev/null bs=4k count=100 iflag=direct 2>/dev/null"
    disk = "constant:100us,size=1MiB,name=data,at=5ms read=1ms"
    ran = run_guest(script, disk, out=tmp_path / "run")
    start_ns = ran.result.job.start_ns
    table = pq.read_table(tmp_path / "run" / "requests.parquet").to_pylist()
    job = [row for row in table if row["arrival_ns"] >= start_ns]
    changed_ns = start_ns + 5 * MS
    for row in job:
        took_ns = row["completion_ns"] - row["arrival_ns"]
        assert took_ns == (100_000 if row["arrival_ns"] < changed_ns else MS)
    assert any(row["arrival_ns"] >= changed_ns for row in job)
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    assert disk in json.dumps(document)
    assert run_guest(script, disk).result.job.end_ns == ran.result.job.end_ns
