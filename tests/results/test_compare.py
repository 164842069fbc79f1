# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime compare`: what differs between runs, and when that fails a test."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.emulator.loop import CompletedRequest
from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.results.compare import RunComparison, compare
from freezingtime.results.condition import failures, parse_condition
from freezingtime.results.judged import verdict
from freezingtime.results.recorded_run import open_recorded_run
from freezingtime.trace.record_paths import RECORD_NAME
from tests.conftest import RunProgram
from tests.results.test_cli_errors import complaint
from tests.support.guestlib import run_guest
from tests.support.recordlib import HEADER, completed, requests, stream_of, write_record

DOCUMENT: dict[str, Any] = {
    "format": 1,
    "versions": {"freezingtime": "0.1.0", "packages": {"fio": "3.33"}},
    "plan": {"disks": ["constant:10us"], "seed": 0, "script": "#!/bin/sh\nexec fio\n"},
    "job": {"exit_status": 0, "start_ns": 0, "guest_ns": 1_000_000},
    "audit": {"valid": True},
    "totals": {},
}


def reads(*latencies_ns: int, **fields: Any) -> list[CompletedRequest]:
    """Reads one after the other, 1 ms apart."""
    return [
        completed(
            offset_bytes=4096 * place,
            arrival_ns=1_000_000 * place,
            completion_ns=1_000_000 * place + latency_ns,
            delivery_ns=1_000_000 * place + latency_ns,
            sequence=place,
            **fields,
        )
        for place, latency_ns in enumerate(latencies_ns)
    ]


def a_run(path: Path, rows: Sequence[CompletedRequest], **tables: dict[str, Any]) -> Path:
    """A run directory with that record; ``tables`` change what run.json says."""
    path.mkdir()
    document = {key: DOCUMENT[key] for key in DOCUMENT}
    for name, changes in tables.items():
        document[name] = document[name] | changes
    (path / "run.json").write_text(json.dumps(document))
    return write_record(path, rows)


def compared(a: Path, b: Path) -> RunComparison:
    return compare(*(open_recorded_run(path, pytest.fail) for path in (a, b)))


@settings(max_examples=50)
@given(rows=requests())
def test_a_run_is_identical_to_itself(
    rows: list[CompletedRequest], tmp_path_factory: pytest.TempPathFactory
) -> None:
    record = write_record(tmp_path_factory.mktemp("run") / "record", rows)
    comparison = compared(record, record)
    assert comparison.is_identical
    assert (comparison.compared_count, comparison.differing_count) == (len(rows), 0)
    assert not comparison.plan


@settings(max_examples=50)
@given(rows=requests(), data=st.data())
def test_a_nanosecond_is_found_where_it_is(
    rows: list[CompletedRequest], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also where requests overtake one another: places are those of arrival."""
    directory = tmp_path_factory.mktemp("run")
    row = data.draw(st.sampled_from(rows))
    later = [
        other._replace(delivery_ns=other.delivery_ns + 1) if other is row else other
        for other in rows
    ]
    comparison = compared(write_record(directory / "a", rows), write_record(directory / "b", later))
    (request,) = comparison.first_differing
    assert (comparison.differing_count, request.number) == (1, row.sequence)
    assert request.differing == ["latency_ns"]
    assert request.a is not None
    assert request.b is not None
    assert request.b["latency_ns"] == int(request.a["latency_ns"]) + 1
    assert not comparison.is_identical


def test_runs_whose_devices_fail_otherwise_are_not_identical(tmp_path: Path) -> None:
    headers = [
        msgspec.structs.replace(
            HEADER, disks=[msgspec.structs.replace(HEADER.disks[0], faults=faults)]
        )
        for faults in ((), ("error=EIO,nth=9",), ("error=EIO,nth=8",))
    ]
    paths = [tmp_path / f"{number}.parquet" for number in range(3)]
    for path, header in zip(paths, headers, strict=True):
        write_record(path, reads(10, 20), header)
    assert compared(paths[1], paths[1]).is_identical
    for other in (0, 2):
        comparison = compared(paths[1], paths[other])
        assert (comparison.differing_count, comparison.is_identical) == (0, False)
        assert verdict(comparison) == "0 of 2 requests differ; the rules of faults do"


def test_a_run_under_kvm_is_identical_to_none(tmp_path: Path) -> None:
    """Not even to itself: what two runs under KVM share is chance."""
    under_kvm = a_run(tmp_path / "kvm", reads(10), plan={"clock": "kvm"})
    exact = a_run(tmp_path / "exact", reads(10), plan={"clock": "exact"})
    earlier = a_run(tmp_path / "earlier", reads(10))
    assert compared(exact, earlier).is_identical
    for other in (under_kvm, exact):
        comparison = compared(under_kvm, other)
        assert comparison.differing_count == 0
        assert not comparison.is_identical
    assert comparison.clocks == ("kvm", "exact")


def test_a_record_alone_says_whether_its_clock_was_exact(tmp_path: Path) -> None:
    header = msgspec.structs.replace(HEADER, cpu_rate_hz=None, is_repeatable=False)
    record = write_record(tmp_path / "record", reads(10), header)
    assert not compared(record, record).is_identical


def test_the_first_to_arrive_is_first_over_all_disks(tmp_path: Path) -> None:
    """And a request that one of the runs lacks is one that differs."""
    log = [row._replace(arrival_ns=row.arrival_ns + 1) for row in reads(20, 20, disk_index=1)]
    changed = [row._replace(operation=Operation.WRITE) for row in log]
    data, more = reads(10, 10), reads(10, 10, 10)
    comparison = compared(
        write_record(tmp_path / "a", [*data, *log]), write_record(tmp_path / "b", [*more, *changed])
    )
    assert [
        (request.disk, request.number, request.differing) for request in comparison.first_differing
    ] == [
        ("log", 0, ["operation"]),
        ("log", 1, ["operation"]),
        (
            "data",
            2,
            ["operation", "offset_bytes", "length_bytes", "fua", "arrival_ns", "latency_ns"],
        ),
    ]
    assert (comparison.compared_count, comparison.differing_count) == (5, 3)


def test_what_the_runs_were_given_comes_from_run_json(tmp_path: Path) -> None:
    a = a_run(tmp_path / "a", reads(10))
    plan = {"seed": 3, "script": "#!/bin/sh\nexec fio\nsync\n", "limit_ns": 5}
    b = a_run(tmp_path / "b", reads(10), plan=plan, versions={"packages": {"fio": "3.34"}})
    found = {(difference.key, difference.a, difference.b) for difference in compared(a, b).plan}
    assert found == {
        ("plan.seed", "0", "3"),
        ("plan.script[2]", "-", "sync"),
        ("plan.limit_ns", "-", "5"),
        ("versions.packages.fio", "3.33", "3.34"),
    }


@pytest.mark.parametrize(
    ("condition", "is_met"),
    [
        ("p50 > +5%", False),
        ("p50 >= +5%", True),
        ("p50 > +4.999%", True),
        ("read.p50 == +5us", True),
        ("data:read.p50 > +4999ns", True),
        ("data:p50 < +0", False),
        ("p50 > 105us", False),
        ("p50>=105us", True),
        ("all.max != +0", True),
        ("count != +0", False),
        ("count < 4", True),
        ("iops < +0", True),
        ("bandwidth > 1GB/s", False),
        ("bandwidth < -90%", False),
        ("guest_time > +0.1%", True),
        ("guest_time > 1.002ms", False),
        ("requests == 3", True),
        ("read.mean != +5us", False),
    ],
)
def test_conditions(condition: str, is_met: bool, tmp_path: Path) -> None:
    a = a_run(tmp_path / "a", reads(100_000, 100_000, 200_000))
    b = a_run(tmp_path / "b", reads(105_000, 105_000, 205_000), job={"guest_ns": 1_001_001})
    found = failures([parse_condition(condition)], compared(a, b))
    assert bool(found) == is_met


@settings(max_examples=50)
@given(share=st.fractions(0, 10, max_denominator=10**6), a=st.integers(1, 10**15))
def test_a_share_is_exact(share: Fraction, a: int) -> None:
    """A threshold that is met exactly is met by ``>=`` and not by ``>``."""
    percent = f"+{float(share * 100):.6f}%"
    condition = parse_condition(f"p99 > {percent}")
    assert condition.threshold == Fraction(percent.strip("+%")) / 100
    assert condition.is_share
    assert condition.is_change


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("p98 > +5%", r"unknown metric 'p98'; did you mean p99\? available: guest_time, requests"),
        ("trim.p99 > +5%", "unknown operation 'trim'; available: all, read"),
        ("p99 > 5%", "5%: a percentage is a change; write \\+5% or -5%"),
        ("p99 > 5", "bad time '5'"),
        ("p99 > +5 %", "not understood; write"),
        ("p99 ~ 5us", "not understood; write"),
        ("bandwidth > 5MB", "bad bandwidth '5MB'"),
        ("read.guest_time > 5s", "guest_time belongs to the run as a whole"),
        ("", "not understood"),
    ],
)
def test_what_is_no_condition(condition: str, problem: str) -> None:
    with pytest.raises(InputError, match=f"^--fail-if .*{problem}"):
        parse_condition(condition)


class TestCommand:
    @pytest.mark.simulation
    def test_status_and_text(self, freezingtime: RunProgram, tmp_path: Path) -> None:
        a, b = (a_run(tmp_path / name, reads(10_000, 10_000)) for name in "ab")
        c = a_run(tmp_path / "c", reads(10_000, 10_001), plan={"disks": ["slower.toml"]})
        same = freezingtime("compare", a, b, "--fail-if", "max != +0")
        assert (same.returncode, same.stderr) == (0, "")
        assert same.stdout == f"{a} -> {b}: identical: 2 requests, to the nanosecond\n"
        other = freezingtime("compare", a, b, c, "--fail-if", "max != +0")
        assert other.returncode == 1
        for line in (
            "1 of 2 requests differ",
            "plan.disks[0]  constant:10us  slower.toml",
            "data  1        latency_ns  10000  10001",
            "FAILED max != +0: data:all.max 10us -> 10.001us, +1ns (+0.010%)",
        ):
            assert line in other.stdout
        assert freezingtime("compare", a, c).returncode == 0

    def test_json(self, freezingtime: RunProgram, tmp_path: Path) -> None:
        a = a_run(tmp_path / "a", reads(10_000))
        b = a_run(tmp_path / "b", reads(12_000))
        ended = freezingtime("compare", a, b, "--json", "--fail-if", "read.mean > +1us")
        assert ended.returncode == 1
        (found,) = json.loads(ended.stdout)["comparisons"]
        assert found["requests"] == {"compared": 1, "differing": 1}
        assert found["failed"] == [{"condition": "read.mean > +1us", "figure": "data:read.mean"}]
        p99 = {"disk": "data", "operation": "read", "metric": "p99", "unit": "ns"}
        assert p99 | {"a": 10_000, "b": 12_000} in found["metrics"]

    def test_a_killed_run_is_compared_and_said_to_be_killed(
        self, freezingtime: RunProgram, tmp_path: Path
    ) -> None:
        a = write_record(tmp_path / "a.parquet", reads(10, 10))
        (tmp_path / "b").mkdir()
        stream_of(tmp_path / "b" / RECORD_NAME, [reads(10)])
        ended = freezingtime("compare", a, tmp_path / "b")
        assert "1 of 2 requests differ" in ended.stdout
        assert "was killed" in ended.stderr

    @pytest.mark.simulation
    def test_bad_input(self, freezingtime: RunProgram, tmp_path: Path) -> None:
        a = a_run(tmp_path / "a", reads(10))
        assert "name two or more" in complaint(freezingtime, "compare", a)
        (tmp_path / "none").mkdir()
        assert "is not a run" in complaint(freezingtime, "compare", a, tmp_path / "none")
        writes = "--fail-if", "write.p99 > +5%"
        assert "no such metric" in complaint(freezingtime, "compare", a, a, *writes)
        damaged = a_run(tmp_path / "damaged", reads(10), job={"guest_ns": "long"})
        said = complaint(freezingtime, "compare", a, damaged)
        assert said == f"{damaged}/run.json: is damaged: job.guest_ns is 'long'; repeat the run"
        (damaged / "run.json").write_text("{")
        assert "run.json: is damaged" in complaint(freezingtime, "compare", a, damaged)
        (damaged / "run.json").write_text(json.dumps(DOCUMENT | {"format": 2}))
        assert "has format 2" in complaint(freezingtime, "compare", a, damaged)
        newer = tmp_path / "newer.parquet"
        table = pq.read_table(a / RECORD_NAME)
        header = json.loads(table.schema.metadata[b"freezingtime"]) | {"record_version": 99}
        pq.write_table(table.replace_schema_metadata({"freezingtime": json.dumps(header)}), newer)
        assert "has record version 99" in complaint(freezingtime, "compare", a, newer)
        record = damaged / RECORD_NAME
        record.write_bytes(record.read_bytes()[:-20])
        assert "is damaged" in complaint(freezingtime, "compare", a, record)


@pytest.mark.guest
def test_a_description_that_has_changed_is_the_cause(tmp_path: Path) -> None:
    """Also where the disk's option is the same."""
    description = tmp_path / "mine.toml"
    job = "dd if=/dev/vda of=/dev/null bs=4k count=5 iflag=direct"
    head = 'summary = "mine"\nclass = "flash"\nmodel = "latency"\n[parameters]\nservers = 1\n'
    tail = '[parameters.write]\nfixed = "20us"\n'
    for out, read in (("a", "80us"), ("b", "81us")):
        description.write_text(f'{head}[parameters.read]\nfixed = "{read}"\n{tail}')
        run_guest(job, str(description), out=tmp_path / out)
    (difference,) = compared(tmp_path / "a", tmp_path / "b").plan
    assert (difference.key, difference.a, difference.b) == (
        "plan.devices[0].parameters.read.fixed",
        "80us",
        "81us",
    )


@pytest.mark.guest
def test_identical_runs_and_another_device(freezingtime: RunProgram, tmp_path: Path) -> None:
    def run(out: str, device: str) -> None:
        job = ("dd", "if=/dev/vda", "of=/dev/null", "bs=4k", "count=50", "iflag=direct")
        ended = freezingtime(
            "run", "--quiet", "--disk", device, "--out", tmp_path / out, "--", *job
        )
        assert ended.returncode == 0, ended.stderr

    run("a", "constant:10us")
    run("again", "constant:10us,delay=1ms")
    run("slower", "constant:11us")
    condition = "--fail-if", "p99 != +0", "--fail-if", "guest_time != +0"
    same = freezingtime("compare", tmp_path / "a", tmp_path / "again", *condition)
    assert same.returncode == 0, same.stdout
    assert "identical: " in same.stdout
    other = freezingtime("compare", tmp_path / "a", tmp_path / "slower", *condition)
    assert other.returncode == 1
    assert re.search(
        r"^plan\.disks\[0\] +constant:10us +constant:11us$", other.stdout, re.MULTILINE
    )
    assert "plan.devices[0].parameters.read     10us           11us\n" in other.stdout
    assert "disk1  0        latency_ns  10000       11000\n" in other.stdout
