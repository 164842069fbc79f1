# SPDX-License-Identifier: GPL-2.0-or-later
"""`replay --store`: what is known is read back, and shown as if it were replayed now."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import freezingtime.cli.device.replayed.stored
from freezingtime.cli.device.replay import app
from freezingtime.cli.results.sweep import app as sweep_app
from freezingtime.errors import InputError
from freezingtime.simulate.replay import Replayed
from freezingtime.store.results.result_store import ResultStore, StoredResult, damage

#: How much of it there is depends on the host.
PROGRESS = re.compile(r": \d+%$|^freezingtime: (building|reading|writing|compiling) ")
#: A queue that grows, faults, and statistics.
LINE = ("--workload", "randrw,bs=4k,rate=20k,count=300,size=1MiB")
DEVICES = (
    *("--device", "constant:read=70us,write=30us", "--device", "cached.toml"),
    *("--fault", "slow=10,probability=0.1"),
)
CACHED = """
model = "cache"
capacity = "1GiB"
[parameters]
cache = "64KiB"
block = "64KiB"
fast = {device = "constant:10us"}
[parameters.slow]
model = "latency"
parameters = {servers = 1, read = {fixed = "300us"}, write = {fixed = "200us"}}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cached.toml").write_text(CACHED)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The devices that something was replayed on by way of a store, in their order."""
    devices: list[str] = []
    real: Callable[..., Any] = freezingtime.cli.device.replayed.stored.replay

    def counted(*arguments: Any, **options: Any) -> Any:
        found: list[Replayed] = list(real(*arguments, **options))
        devices.extend(each.device for each in found)
        return iter(found)

    monkeypatch.setattr(freezingtime.cli.device.replayed.stored, "replay", counted)
    return devices


def replay(*arguments: object, status: int = 0) -> tuple[str, list[str]]:
    """What is printed on stdout, and the lines on stderr but for those of progress."""
    result = CliRunner().invoke(app, list(map(str, arguments)), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert result.return_value == status, result.output
    lines = result.stderr.splitlines()
    return result.stdout, [each for each in lines if not PROGRESS.search(each)]


def test_what_is_known_is_shown_as_if_it_were_replayed_now(replayed: list[str]) -> None:
    plain, said = replay(*LINE, *DEVICES, "--verbose", "--out", "plain.parquet")
    assert any("the queue grows" in line for line in said)
    assert sum("fault slow=10,probability=0.1 of" in line for line in said) == 2
    assert "  cache_misses  " in plain, "there are statistics"
    for name in ("first", "known"):
        out = f"{name}.parquet"
        shown, lines = replay(*LINE, *DEVICES, "--verbose", "--store", "store", "--out", out)
        assert shown == plain
        notice = ["freezingtime: not replayed again: the store has the results"]
        assert lines == said + (notice if name == "known" else [])
        assert Path(out).read_bytes() == Path("plain.parquet").read_bytes()
    assert len(replayed) == 2
    documents = [
        json.loads(replay(*LINE, *DEVICES, "--json", *options)[0])
        for options in ((), ("--store", "store"))
    ]
    host_times = [[each.pop("host_s") for each in document["devices"]] for document in documents]
    assert json.dumps(documents[0]) == json.dumps(documents[1])
    assert all(time_s > 0 for time_s in host_times[0])
    assert host_times[1] == [None, None]


def test_only_what_is_missing_is_replayed(replayed: list[str]) -> None:
    replay(*LINE, "--device", "constant:2us", "--store", "store")
    three = [f"--device=constant:{each}us" for each in (1, 2, 3)]
    plain = replay(*LINE, *three, "--out", "plain.parquet")[0]
    shown, said = replay(*LINE, *three, "--store", "store", "--out", "mixed.parquet")
    assert shown == plain
    assert replayed == ["constant:2us", "constant:1us", "constant:3us"]
    assert said == ["freezingtime: not replayed again: the store has 1 of 3 results"]
    assert Path("mixed.parquet").read_bytes() == Path("plain.parquet").read_bytes()
    replay(*LINE, "--device", "constant:2us", "--store", "store", "--refresh")
    assert replayed[3:] == ["constant:2us"]
    # A verdict is of the figures, whoever made them.
    limit = ("--fail-if", "p99 > 1us")
    known = replay(*LINE, "--device", "constant:2us", "--store", "store", *limit, status=1)
    assert known[0] == replay(*LINE, "--device", "constant:2us", *limit, status=1)[0]


def test_a_sweep_and_a_replay_share_their_results(replayed: list[str]) -> None:
    def swept() -> list[bool]:
        arguments = [*LINE, "--disk", "constant:read=1us,write=2us", "--set", "seed=0,1"]
        options = ["--store", "store", "--workers", "1", "--json", "--quiet"]
        result = CliRunner().invoke(sweep_app, [*arguments, *options], standalone_mode=False)
        assert result.exception is None, result.exception
        return [point["from_store"] for point in json.loads(result.stdout)["points"]]

    one = (*LINE, "--device", "constant:read=1us,write=2us")
    plain = replay(*one, "--seed", "1")[0]
    replay(*one, "--store", "store")
    assert swept() == [True, False]
    assert replay(*one, "--seed", "1", "--store", "store")[0] == plain
    assert len(replayed) == 1


def test_how_a_trace_was_read_is_said_also_of_one_that_is_not_read(replayed: list[str]) -> None:
    trace = Path("trace.csv")
    trace.write_text("op,offset,size,time\nR,0,4096,2\nR,8192,4096,1\nW,0,4096,3\n")
    command = ("--device", "constant:2us", "--time-unit", "us", "--store", "store")
    (shown, first), known = (replay(trace, *command) for _ in range(2))
    notice = "freezingtime: not replayed again: the store has the result"
    assert known == (shown, [*first, notice])
    assert first[0].startswith("freezingtime: trace.csv: csv: 3 requests")
    # By another name it is the same trace, and no guess about it is silent.
    other = Path("other.csv")
    other.write_bytes(trace.read_bytes())
    renamed = [line.replace("trace.csv", "other.csv") for line in first]
    assert replay(other, *command) == (shown, [*renamed, notice])
    notes = replay(other, *command, "--quiet")[1]
    assert notes == renamed[1:]
    assert notes, "it is out of order"
    assert replay(other, *command, "--out", "record")[0] == shown
    assert replay("record", "--device", "constant:2us")[0] == shown
    assert len(replayed) == 1
    trace.write_text(trace.read_text().replace("4096,3", "4096,4"))
    replay(trace, *command)
    assert len(replayed) == 2


def test_what_is_damaged_is_replayed_again_and_replaced(replayed: list[str]) -> None:
    command = (*LINE, "--device", "constant:2us", "--store", "store")
    plain = replay(*command)[0]
    for name in ("requests.parquet", "replay.json"):
        [found] = ResultStore(Path("store")).entries()
        assert isinstance(found, StoredResult)
        path = found.run_path / name
        path.write_bytes(path.read_bytes().replace(b"2", b"3", 1))
        shown, said = replay(*command)
        assert shown == plain
        assert "is damaged" in said[0]
        assert damage(found.directory) is None
    assert len(replayed) == 3


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ((*LINE, "--refresh"), "--refresh: goes with --store; leave it out"),
        ((*LINE, "--store", "pipe"), "the store pipe: is not a directory"),
        (("pipe", "--store", "store"), "pipe: is not a regular file"),
        (("nowhere.csv", "--store", "store"), "nowhere.csv: No such file"),
        ((*LINE, "--store", "store", "--device", "constant:1xs"), "--device constant:1xs: "),
    ],
)
def test_what_goes_not_with_a_store_is_refused(given: tuple[str, ...], problem: str) -> None:
    os.mkfifo("pipe")
    with pytest.raises(InputError) as refused:
        replay(*given, "--device", "constant:1us")
    assert str(refused.value).startswith(problem)
    assert not Path("store").exists()


@pytest.mark.parametrize(
    ("workload", "problem"),
    [
        ("read,bs=1MiB,count=2,size=2MiB", "2097152"),
        ("read,bs=4k,count=2,offset=1GiB,size=4KiB", "1073741824"),
    ],
)
def test_what_is_wrong_with_all_points_of_a_sweep_is_said_once(workload: str, problem: str) -> None:
    command = ["--workload", workload, "--disk", "constant:1us", "--store", "s", "--workers", "1"]

    def swept(*sizes: str) -> Any:
        varied = ["--set", f"disk.size={','.join(sizes)}", "--quiet"]
        return CliRunner().invoke(sweep_app, [*command, *varied], standalone_mode=False)

    refused = swept("64KiB", "128KiB")
    assert isinstance(refused.exception, InputError)
    assert str(refused.exception).startswith("--workload: ") or problem in str(refused.exception)
    assert not list(Path("s").glob("results/??/*"))
    # With one that can be run, the others are points that failed.
    Path("sweep-results/sweep.json").unlink(missing_ok=True)
    assert swept("64KiB", "2GiB").return_value == 1
