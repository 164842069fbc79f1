# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters change while a run goes on: over its socket, at a guest time that repeats the run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import freezingtime as ft
from freezingtime.cli.completion import completer
from freezingtime.cli.guest.live.tune import app as tune_app
from freezingtime.device.changes.changing_device import ChangingDevice
from freezingtime.device.contract import GuardedDevice
from freezingtime.device.faults.faulty_device import FaultyDevice
from freezingtime.disk.changes import with_changes
from freezingtime.disk.spec import parse_disk
from freezingtime.errors import InputError, RunError
from freezingtime.host.poller import Poller
from freezingtime.option import Values
from freezingtime.runs.disks import OpenDisk, devices_of_job, open_disks
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.tuning import server as tune_server
from freezingtime.runs.tuning import tuned_disks
from freezingtime.runs.tuning.client import tune_run
from freezingtime.runs.tuning.messages import MAX_LINE_BYTES
from freezingtime.runs.tuning.server import TuneServer
from freezingtime.runs.tuning.tuned_disks import TunedDisks, tunable_plan
from freezingtime.trace.record_digest import record_digest
from freezingtime.trace.record_file import RecordFile
from freezingtime.trace.record_header import RecordedDisk, RecordHeader, parse_header
from freezingtime.trace.run_directory import TUNE_SOCKET_NAME, locked_run_directory
from freezingtime.units import parse_time_ns
from tests.conftest import PROGRAM
from tests.kept.test_kept_state import DEVICES, go_on, load
from tests.support.doclib import ROOT

MS = 1_000_000
#: When the job of these tests starts.
START_NS = 7 * MS


def opened(*texts: str) -> list[OpenDisk]:
    """Disks that can be tuned, whose job starts at 7 ms of guest time."""
    plan = tunable_plan(RunPlan([parse_disk(text) for text in texts], b""))
    disks = open_disks(plan.disks, 5, [], kept=False, cleanup=contextlib.ExitStack())
    for device in devices_of_job(disks):
        device.await_start()
    return disks


class Turns:
    """The emulator's thread, as far as the socket is concerned: a turn a millisecond of guest time.

    Nothing else happens in it, so a client that keeps it from its turns would be seen.
    """

    def __init__(self, directory: Path, *texts: str) -> None:
        self.disks = opened(*(texts or ("constant:10us,name=data,size=1MiB",)))
        self.tuned = TunedDisks(self.disks)
        self.changed_count = 0
        self.is_over = False
        self.now_ns = START_NS
        self.turn_count = 0
        self.pause = threading.Event()
        self._ended = threading.Event()
        self._poller = Poller()
        self._server = TuneServer(directory, self.tuned, self._note)
        self._server.join(self._poller)
        self.tuned.start(START_NS)
        for device in devices_of_job(self.disks):
            device.start(START_NS)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Turns:
        self._server.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._poller.close()
        self._server.__exit__()

    def _note(self) -> None:
        self.changed_count += 1

    def _run(self) -> None:
        while not self._ended.is_set():
            self._poller.poll(0.002)
            if not self.pause.is_set():
                self.now_ns += MS
                self.turn_count += 1
                self._server.turn(self.now_ns, is_over=self.is_over)


@pytest.fixture
def turns(tmp_path: Path) -> Iterator[Turns]:
    with Turns(tmp_path) as running:
        yield running


def test_what_the_page_lists_is_what_that_disk_has() -> None:
    page = (ROOT / "docs/how-to/fail/tune.md").read_text()
    [shown] = re.findall(r"(?s)\ndisk +key +value\n(.*?)\n\.\.\.", page)
    tuned = TunedDisks(opened("samsung-870-evo-1tb,name=data,size=1GiB"))
    rows = [("data", *row) for row in tuned.values(0)["data"].items()]
    listed = [tuple(line.split(maxsplit=2)) for line in shown.splitlines()]
    assert listed == rows[: len(listed)]


def connected(directory: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(str(directory / TUNE_SOCKET_NAME))
    return client


def said(client: socket.socket) -> bytes:
    """What comes until the other side closes; nothing if it has not read all."""
    with contextlib.suppress(ConnectionError):
        return b"".join(iter(lambda: client.recv(4096), b""))
    return b""


def test_a_change_counts_from_the_next_nanosecond(tmp_path: Path, turns: Turns) -> None:
    tuned = tune_run(tmp_path, ["data.write=80us", "read=1ms"])
    assert tuned.at is not None
    time_text, _, values = tuned.at.partition(" ")
    assert values == "data.write=80us read=1ms"
    assert tuned.values["data"]["write"] == "80us"
    assert (tuned.values["data"]["read"], tuned.values["data"]["flush"]) == ("1ms", "10us")
    (change,) = turns.tuned.specs[0].device.changes
    assert (change.time_ns - 1) % MS == 0, "one after the turn, which is at whole milliseconds"
    assert 0 < change.time_ns < turns.now_ns
    given = with_changes(["constant:10us,name=data,size=1MiB"], turns.tuned.texts)
    assert [turns.tuned.specs[0].text] == given
    assert given == [f"constant:10us,name=data,size=1MiB,at={time_text} write=80us read=1ms"]
    assert turns.changed_count == 1
    assert tune_run(tmp_path).at is None
    assert tune_run(tmp_path).values == tuned.values


@pytest.mark.parametrize(
    ("name", "key", "other"),
    [
        ("constant", "read", "write"),
        ("latency", "d.read.fixed.median", "write.fixed"),
        ("volume", "read.fixed.mean", "write.fixed"),
    ],
)
@pytest.mark.parametrize("fault", ["", ",fault=slow_by=1us..5us"])
def test_the_device_does_what_it_does_with_at(
    name: str, key: str, other: str, fault: str, tmp_path: Path
) -> None:
    """A change at some times of a load, and from its start the changes that were noted."""
    (tmp_path / "d.toml").write_text(DEVICES[name])
    disk = f"{tmp_path}/d.toml,name=d,size=64MiB,at=9ms {other}=1ms{fault}"
    requests = [(START_NS + each, how) for each, how in load(200, seed=3)]
    (opened_disk,) = disks = opened(disk)
    tuned = TunedDisks(disks)
    device = GuardedDevice(opened_disk.plan.device)
    choose = random.Random(name)
    completed = []
    tuned.change([f"{key}=20us"], 0)  # the job has not started
    tuned.start(START_NS)
    for each in devices_of_job(disks):
        each.start(START_NS)
    for now_ns, how in requests:
        completed += go_on(device, [(now_ns, how)], now_ns)
        if choose.random() < 0.05:
            tuned.change([f"{key}={choose.randrange(1, 900)}us"], now_ns)
    completed += go_on(device, [], None)
    assert len(tuned.texts) > 5
    assert tuned.texts[0].startswith("0ns ")
    (text,) = with_changes([disk], tuned.texts)
    assert tuned.specs[0].text == text
    again = parse_disk(str(text))
    assert again.device.change_texts == tuned.specs[0].device.change_texts
    repeated = again.device.build(5, 64 << 20)
    assert isinstance(repeated, FaultyDevice | ChangingDevice)
    repeated.await_start()
    repeated.start(START_NS)
    assert go_on(GuardedDevice(repeated), requests, None) == completed


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (["raed=1us"], "raed: cannot change while the device runs; did you mean read? the model"),
        (["size=1MiB"], "size: cannot change while the device runs; the model constant can change"),
        (["read=blue"], "parameters.read = 'blue': must be a time such as"),
        (["5s", "read=2ms"], "5s: write KEY=VALUE..., such as read=2ms; it counts from now on"),
        (["read=1us", "read=2us"], "read: is given twice; keep one"),
        ([""], "write KEY=VALUE..., such as read=2ms; it counts from now on"),
        (["read=1us"] * 10_000, "these are too many changes at once; give fewer"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    changes: list[str], problem: str, tmp_path: Path, turns: Turns
) -> None:
    with pytest.raises(InputError) as refused:
        tune_run(tmp_path, changes)
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (turns.tuned.texts, turns.changed_count) == ([], 0)
    assert turns.tuned.specs[0].device.changes == ()


def test_of_several_disks_all_change_or_none(tmp_path: Path) -> None:
    volume = tmp_path / "v.toml"
    volume.write_text(DEVICES["volume"])
    disks = ["constant:1us,name=log,size=1MiB", f"{volume},name=data,size=1MiB"]
    with Turns(tmp_path, *disks, "constant:1us,name=third,size=1MiB") as turns:
        for change, problem in (
            ("read=1us", "say of which disk, such as log.KEY=VALUE; there are log, data, third"),
            (
                "dta.read.fixed=1us",
                r"no disk 'dta'; did you mean data\? available: log, data, third",
            ),
            ("data.iops.credits=60", "only the rate of a limit can change while the device runs"),
        ):
            with pytest.raises(InputError, match=problem):
                tune_run(tmp_path, ["log.read=9us", change])
        assert all(spec.device.changes == () for spec in turns.tuned.specs)
        at = tune_run(tmp_path, ["log.read=9us data.iops.baseline=7"]).at
        assert at is not None
        assert at.endswith("log.read=9us data.iops.baseline=7")
        assert [len(spec.device.changes) for spec in turns.tuned.specs] == [1, 1, 0]
        values = tune_run(tmp_path).values
    assert values["log"]["read"] == "9us"
    assert (values["data"]["iops.baseline"], values["data"]["iops.credits"]) == ("7", "50")


def test_own_code_is_refused_and_members_have_paths(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(DEVICES["mirror"])
    own = Path(__file__).parents[1] / "kept/test_kept_state.py"
    with Turns(tmp_path, f"{tmp_path}/m.toml,name=m", f"{own}:Own,name=own"):
        with pytest.raises(InputError, match="no key of the model mirror can"):
            tune_run(tmp_path, ["m.count=3"])
        with pytest.raises(InputError, match="is Python code, which has no parameters to set"):
            tune_run(tmp_path, ["own.x=3"])
        values = tune_run(tmp_path, ["m.member[1].parameters.write.fixed=3us"]).values
    assert values["own"] == {}
    assert values["m"]["member[1].parameters.write.fixed"] == "3us"
    assert all(path.startswith("member[1].parameters.") for path in values["m"])


def test_a_client_can_do_no_harm(
    tmp_path: Path, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Garbage, halves, floods and silence: turns go on, and others are served meanwhile."""
    monkeypatch.setattr(tune_server, "_REQUEST_DEADLINE_S", 0.3)
    silent, half, garbage, flood, other, gone, chatty = (connected(tmp_path) for _ in range(7))
    half.send(b'{"format": 1, "chan')
    gone.send(b'{"format":1,"changes":["read=5us"')
    gone.close()
    garbage.sendall(b"\xff\x00[[[[\n")
    chatty.sendall(b'{"changes": ["read=5us"]}\n{"changes": ["read=6us"]}\n')
    other.sendall(b'{"format": 2, "changes": []}\n')
    with contextlib.suppress(ConnectionError):
        flood.sendall(b"[" * (4 * MAX_LINE_BYTES))
    assert tune_run(tmp_path).values["data"]["read"] == "10us"
    assert b"no request of freezingtime's" in said(garbage)
    assert said(chatty) == b""
    assert b"another version" in said(other)
    said(flood)
    before = turns.turn_count
    assert said(silent) == said(half) == b"", "closed after their time"
    assert turns.turn_count > before, "which guest time did not wait for"
    crowd = [connected(tmp_path) for _ in range(8)]
    with pytest.raises(RunError, match="or is asked by others"):
        tune_run(tmp_path)
    for client in crowd:
        client.close()
    time.sleep(0.05)
    nested = connected(tmp_path)
    nested.sendall(b"[" * 60_000 + b"\n")
    assert b"no request" in said(nested)
    assert (turns.tuned.texts, turns.changed_count) == ([], 0)
    assert tune_run(tmp_path, ["read=1us"]).at is not None


def test_who_does_not_wait_changes_nothing(tmp_path: Path, turns: Turns) -> None:
    turns.pause.set()
    hasty = connected(tmp_path)
    hasty.sendall(b'{"format": 1, "changes": ["read=1us"]}\n')
    hasty.close()  # before anybody has read it
    with pytest.raises(RunError, match=r"has not answered for 0 s .* its run\.json will say"):
        tune_run(tmp_path, ["read=1us"], deadline_s=0.05)
    time.sleep(0.05)
    turns.pause.clear()
    assert tune_run(tmp_path).values["data"]["read"] == "10us"
    assert turns.tuned.texts == []


def test_there_is_an_end_to_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuned_disks, "_CHANGES_MAX", 2)
    tuned = TunedDisks(opened("constant:1us,size=1MiB"))
    tuned.change(["read=1us"], 0)
    tuned.change(["read=1us"], 0)
    with pytest.raises(InputError, match="has been changed 2 times, and takes no more"):
        tuned.change(["read=1us"], 0)
    assert len(tuned.texts) == 2


def test_when_the_job_has_ended_nothing_changes(tmp_path: Path, turns: Turns) -> None:
    turns.is_over = True
    with pytest.raises(InputError, match="the job has ended; nothing has been changed"):
        tune_run(tmp_path, ["read=1us"])


def test_the_socket_is_its_owners_and_goes_with_the_run(tmp_path: Path) -> None:
    """Also in a directory whose path is longer than those of sockets may be."""
    directory = tmp_path / ("d" * 120) / ("e" * 120)
    directory.mkdir(parents=True)
    old = os.umask(0)
    try:
        with Turns(directory):
            assert stat.S_IMODE((directory / TUNE_SOCKET_NAME).stat().st_mode) == 0o600
            assert tune_run(directory).values["data"]["read"] == "10us"
            complete = completer(Values.RUN_IN_PROGRESS)
            assert complete is not None
            assert complete(f"{tmp_path}/") == [str(directory)]
    finally:
        os.umask(old)
    assert list(directory.iterdir()) == []


def _in_child(act: Callable[[], None]) -> tuple[int, int]:
    """Fork; return the child's process id, and a descriptor that ends when it does."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(read_end)
            act()
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    return pid, read_end


def test_what_a_killed_run_leaves_is_recognised_and_removed(tmp_path: Path) -> None:
    def be_a_run() -> None:
        with locked_run_directory(tmp_path), Turns(tmp_path):
            (tmp_path / "requests.parquet.arrows").touch()
            time.sleep(60)

    pid, end = _in_child(be_a_run)
    deadline_s = time.monotonic() + 20
    while not (tmp_path / "requests.parquet.arrows").exists():
        time.sleep(0.01)
        assert time.monotonic() < deadline_s
    assert tune_run(tmp_path).values
    (tmp_path / TUNE_SOCKET_NAME).rename(tmp_path / "moved")
    with pytest.raises(InputError, match="the run takes no changes yet, or at all"):
        tune_run(tmp_path)
    (tmp_path / "moved").rename(tmp_path / TUNE_SOCKET_NAME)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(end)
    assert (tmp_path / TUNE_SOCKET_NAME).exists()
    with pytest.raises(InputError, match="the run is over: it was killed, or failed"):
        tune_run(tmp_path)
    assert not (tmp_path / TUNE_SOCKET_NAME).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_may_not() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)

        def be_nobody() -> None:
            os.setresuid(65534, 65534, 65534)
            with pytest.raises(InputError, match=f"{name}: only the user who runs it may change"):
                tune_run(directory, ["read=1us"])

        with Turns(directory):
            pid, end = _in_child(be_nobody)
            assert os.waitpid(pid, 0)[1] == 0
            os.close(end)


def test_where_there_is_no_run_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="is not the directory of a run"):
        tune_run(tmp_path)
    (tmp_path / "run.json").touch()
    with pytest.raises(InputError, match=f"{tmp_path}: the run is over$"):
        ft.tune(tmp_path, "read=1us")
    with pytest.raises(InputError, match="No such file or directory; name the --out of a run"):
        tune_run(tmp_path / "nosuch")
    with pytest.raises(InputError, match="Not a directory; name the --out of a run"):
        tune_run(tmp_path / "run.json")
    (tmp_path / "run.json").unlink()
    with Turns(tmp_path):
        with pytest.raises(SystemExit) as ended:
            tune_app([str(tmp_path), "data.read=2us", "write=3us"])
        assert ended.value.code in (0, None)
        assert capsys.readouterr().out.endswith('data.read=2us write=3us"\n')
        with pytest.raises(SystemExit):
            tune_app([str(tmp_path)])
        assert capsys.readouterr().out.splitlines()[:2] == [
            "disk  key      value",
            "data  read     2us",
        ]
        with pytest.raises(SystemExit):
            tune_app([str(tmp_path), "--json"])
        assert json.loads(capsys.readouterr().out)["values"]["data"]["write"] == "3us"


def test_the_record_says_at_its_end_what_was_changed(tmp_path: Path) -> None:
    header = RecordHeader(disks=[RecordedDisk("d", "constant:1us")], seed=0)
    later = RecordHeader(disks=[RecordedDisk("d", "x", changes=("1s read=2us",))], seed=0)
    with RecordFile(tmp_path / "r", header) as file:
        file.begin()
        file.header = later
    with RecordFile(tmp_path / "s", later):
        pass
    assert parse_header("r", pq.read_schema(tmp_path / "r").metadata) == later
    assert (tmp_path / "r").read_bytes() == (tmp_path / "s").read_bytes()


def document_of(result: ft.Result) -> dict[str, Any]:
    assert result.document is not None
    return dict(result.document)


def _await_requests(directory: Path, alive: Callable[[], bool]) -> None:
    """Wait until the run's record, which is flushed each second, has some."""
    stream = directory / "requests.parquet.arrows"
    deadline_s = time.monotonic() + 240
    while not stream.exists() or stream.stat().st_size < 20_000:
        time.sleep(0.02)
        assert alive()
        assert time.monotonic() < deadline_s


@pytest.mark.guest
@pytest.mark.slow
def test_a_tuned_run_is_the_run_with_what_its_document_says(tmp_path: Path) -> None:
    """The record is the same to the byte, but for the medium's host times."""
    device = tmp_path / "d.toml"
    device.write_text(DEVICES["latency"])
    disks = [f"{device},name=data,size=64MiB", "constant:50us,name=log,size=64MiB"]
    job = (
        "for i in $(seq 30); do dd if=/dev/vda of=/dev/vdb bs=4k count=100 iflag=direct "
        "oflag=direct 2>/dev/null; done; date +%s%N"
    )
    out = tmp_path / "run"
    results: list[ft.Result] = []
    thread = threading.Thread(
        target=lambda: results.append(ft.run(disks, job, out=out, seed=3, progress=False))
    )
    thread.start()
    _await_requests(out, thread.is_alive)
    told = []
    for change in (
        "data.read.fixed.median=90us",
        "log.write=2ms",
        "data.read.fixed.median=1ms log.write=70us",
    ):
        time.sleep(0.3)
        told.append(ft.tune(out, change).at)
    thread.join()
    (result,) = results
    assert result.valid
    assert not (out / TUNE_SOCKET_NAME).exists()
    assert document_of(result)["tuned"] == told
    again = ft.run(disks, job, at=told, out=tmp_path / "again", seed=3, progress=False)
    assert again.stdout == result.stdout
    assert document_of(again)["tuned"] == []
    assert document_of(again)["plan"] == document_of(result)["plan"]
    from_plan = document_of(result)["plan"]["disks"]
    assert from_plan == document_of(again)["plan"]["disks"]
    assert record_digest(out) == record_digest(tmp_path / "again")
    schemas = [pq.read_schema(each / "requests.parquet") for each in (out, tmp_path / "again")]
    assert schemas[0].equals(schemas[1], check_metadata=True)
    assert ft.compare(result, again).is_identical
    start_ns = document_of(result)["job"]["start_ns"]
    steps = [(start_ns + parse_time_ns(str(at).partition(" ")[0]), at) for at in told]
    log = result.requests.query("disk == 'log' and arrival_ns >= @start_ns")
    for arrival_ns, completion_ns in zip(log.arrival_ns, log.completion_ns, strict=True):
        after = [at for time_ns, at in steps if time_ns <= arrival_ns]
        expected_ns = (50_000, 50_000, 2 * MS, 70_000)[len(after)]
        assert completion_ns - arrival_ns == expected_ns
    assert log.latency_ns.nunique() > 1


@pytest.mark.guest
@pytest.mark.slow
def test_a_shell_is_tuned(tmp_path: Path) -> None:
    from tests.guest.test_guest_shell import Typist

    assert PROGRAM.exists()
    typist = Typist("--disk", "constant:1ms,size=8MiB,name=data", "--out", str(tmp_path / "out"))
    try:
        typist.expect("# ")
        at = tune_run(tmp_path / "out", ["data.read=30ms"]).at
        typist.type("dd if=/dev/vda of=/dev/null bs=4k count=3 iflag=direct; exit\r")
        assert typist.status() == 0
    finally:
        typist.close()
    result = ft.open_run(tmp_path / "out")
    assert document_of(result)["tuned"] == [at]
    assert result.requests.latency_ns.tolist()[-3:] == [30 * MS] * 3


def test_an_answer_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    sent_bytes = 0

    def pour() -> None:
        nonlocal sent_bytes
        connection, _ = listener.accept()
        with connection, contextlib.suppress(ConnectionError):
            while sent_bytes < 64 << 20:
                sent_bytes += connection.send(bytes(1 << 16))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / TUNE_SOCKET_NAME))
        listener.listen()
        thread = threading.Thread(target=pour)
        thread.start()
        with pytest.raises(RunError, match="no run of freezingtime's"):
            tune_run(tmp_path)
        thread.join()
    assert sent_bytes < 4 << 20
