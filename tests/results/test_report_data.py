# SPDX-License-Identifier: GPL-2.0-or-later
"""What a report is made of, against numpy on whole records: quantiles, bins, sums, bad records."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from freezingtime import quantiles
from freezingtime.annotation import Annotation, HeldBy, ServedFrom
from freezingtime.emulator.loop import CompletedRequest
from freezingtime.errors import InputError
from freezingtime.quantiles import Histogram, RankedValues
from freezingtime.report.bins import BINS_MAX, Percentiles, Span, Sums
from freezingtime.report.figures.cdf import cdf_ranks
from freezingtime.report.read import read_run
from freezingtime.report.run_data import RunData
from freezingtime.request import Operation
from freezingtime.request_figures import ALL, PERCENTILES, figures_of
from freezingtime.results.recorded_run import open_recorded_run
from freezingtime.trace.record_parquet import stream_to_parquet
from freezingtime.trace.record_paths import RECORD_NAME
from freezingtime.trace.run_directory import STATISTICS_NAME
from freezingtime.trace.statistics_file import write_statistics
from tests.support.recordlib import completed, stream_of, write_record

DOCUMENT = {"format": 1, "versions": {}, "plan": {}, "job": {}, "audit": {}, "totals": {}}


def in_parts(values: NDArray[np.int64], parts: int) -> list[NDArray[np.int64]]:
    return np.array_split(values, parts)


@given(
    st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 5000), min_size=1),
    st.integers(1, 5),
)
def test_ranked_values_are_the_sorted_ones(numbers: list[int], parts: int) -> None:
    values = np.array(numbers, np.int64)
    histogram = Histogram()
    for part in in_parts(values, parts):
        histogram.add(part)
    assert histogram.total == len(values)
    ranks = np.random.default_rng(1).integers(1, len(values) + 1, 5)
    ranked = RankedValues(histogram, ranks)
    for part in in_parts(values, parts):
        ranked.add(part)
    assert ranked.values().tolist() == np.sort(values)[ranks - 1].tolist()


def test_ranked_values_merge_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantiles, "_WAITING_MIN", 100)
    values = np.random.default_rng(2).lognormal(11, 1, 20_000).astype(np.int64)
    histogram = Histogram()
    histogram.add(values)
    ranks = cdf_ranks(len(values))
    ranked = RankedValues(histogram, ranks)
    for part in in_parts(values, 50):
        ranked.add(part)
        kept = ranked._kept
        assert kept._waiting_count < max(100, len(kept._values))
    assert ranked.values().tolist() == np.sort(values)[ranks - 1].tolist()
    assert len(ranked._kept.counted()[0]) < len(values) / 2


@given(st.integers(0, 2**61), st.integers(0, 2**61))
def test_a_span_is_covered_by_few_bins(start_ns: int, duration_ns: int) -> None:
    span = Span(start_ns, start_ns + duration_ns)
    assert 1 <= span.bin_count <= BINS_MAX
    bins = span.bins_of(np.array([start_ns, start_ns + duration_ns]))
    assert bins.tolist() == [0, span.bin_count - 1]
    edges_ns = span.edges_ns()
    assert edges_ns[-2] <= duration_ns < edges_ns[-1]


@given(st.lists(st.integers(0, 10**6), min_size=1), st.integers(1, 4))
def test_bins_hold_what_numpy_finds(times: list[int], parts: int) -> None:
    times_ns = np.sort(np.array(times, np.int64))
    values = np.random.default_rng(len(times)).integers(0, 10**9, len(times))
    span = Span(int(times_ns[0]), int(times_ns[-1]))
    percentiles, sums = Percentiles(span), Sums(span)
    for some_ns, some in zip(in_parts(times_ns, parts), in_parts(values, parts), strict=True):
        percentiles.add(some_ns, some)
        sums.add(some_ns, some)
    percentiles.finish()
    bins = (times_ns - span.start_ns) // span.bin_ns
    for number in range(span.bin_count):
        inside = values[bins == number]
        assert sums.counts[number] == len(inside)
        if not len(inside):
            assert np.isnan(percentiles.medians[number])
            assert np.isnan(sums.means()[number])
            continue
        expected = np.percentile(inside, [50, 99], method="inverted_cdf")
        assert [percentiles.medians[number], percentiles.p99s[number]] == expected.tolist()
        assert percentiles.maxima[number] == sums.greatest()[number] == inside.max()
        assert sums.means()[number] == pytest.approx(inside.mean())


def said(number: int, latency_ns: int) -> Annotation | None:
    """What a device says of a request: of every fourth one nothing."""
    causes = (HeldBy.NOTHING, HeldBy.PROGRAM, HeldBy.COLLECTION)
    if number % 4 == 3:
        return None
    held_ns = number % 4 * (latency_ns // 4)
    place = ServedFrom.WRITE_BUFFER if number % 5 == 0 else ServedFrom.MEDIA
    return Annotation(
        held_ns=held_ns, held_by=causes[number % 4], served_from=place, die=number % 8
    )


def random_requests(count: int, seed: int) -> list[CompletedRequest]:
    """In order of delivery, on two disks; nothing in them repeats by itself."""
    random = np.random.default_rng(seed)
    delivery_ns = np.cumsum(random.integers(0, 10**6, count)) + 10**9
    latency_ns = random.lognormal(11, 1, count).astype(np.int64)
    operations = random.choice(np.array([Operation.READ, Operation.WRITE, Operation.FLUSH]), count)
    return [
        completed(
            disk_index=int(random.integers(2)),
            operation=Operation(int(operation)),
            length_bytes=0 if operation == Operation.FLUSH else int(random.integers(1, 9)) * 512,
            queue_depth=int(random.integers(1, 17)),
            arrival_ns=int(delivery - latency),
            completion_ns=int(delivery - random.integers(0, 2) * 7),
            delivery_ns=int(delivery),
            warped_ns=int(latency // 3),
            frozen_host_ns=int(random.integers(1000)),
            medium_host_ns=int(random.integers(10**6)),
            on_time=bool(random.integers(10)),
            sequence=number,
            annotation=said(number, int(latency)),
        )
        for number, (delivery, latency, operation) in enumerate(
            zip(delivery_ns, latency_ns, operations, strict=True)
        )
    ]


def read(path: Path) -> RunData:
    return read_run(path, lambda notice: None)


def column(rows: list[CompletedRequest], name: str) -> NDArray[Any]:
    return np.array([getattr(row, name) for row in rows])


def test_figures_are_those_of_the_record(tmp_path: Path) -> None:
    rows = random_requests(3000, seed=3)
    run = read(write_record(tmp_path, rows))
    assert list(run.disks) == ["data", "log"]
    assert run.span == Span(min(r.arrival_ns for r in rows), rows[-1].delivery_ns)
    for index, (disk_name, disk) in enumerate(run.disks.items()):
        of_disk = [row for row in rows if row.disk_index == index]
        assert list(disk.operations) == ["read", "write", "flush", ALL]
        audit = run.audits[disk_name]
        assert audit.late_count == np.count_nonzero(~column(of_disk, "on_time"))
        assert (audit.count, audit.worst_deviation_ns) == (len(of_disk), 7)
        assert disk.worst_deviation_ns == 7
        assert disk.frozen_host_ns == column(of_disk, "frozen_host_ns").sum()
        assert disk.frozen_in_bin_host_ns.sum() == disk.frozen_host_ns
        assert disk.medium_mean_host_ns == pytest.approx(column(of_disk, "medium_host_ns").mean())
        assert disk.medium_max_host_ns == column(of_disk, "medium_host_ns").max()
        assert np.nanmax(disk.depth_max_in_bin) == column(of_disk, "queue_depth").max()
        assert np.nanmean(disk.warped_share_in_bin) == pytest.approx(1 / 3, abs=0.01)
        duration_s = (of_disk[-1].delivery_ns - min(r.arrival_ns for r in of_disk)) / 1e9
        for name, data in disk.operations.items():
            chosen = [row for row in of_disk if name in (ALL, row.operation.name.lower())]
            latency_ns = column(chosen, "delivery_ns") - column(chosen, "arrival_ns")
            assert data.count == len(chosen)
            figures = data.figures
            assert figures.mean_ns == pytest.approx(latency_ns.mean())
            assert figures.max_ns == latency_ns.max() == np.nanmax(data.max_in_bin_ns)
            shares = [per_100k / 1000 for per_100k in PERCENTILES.values()]
            expected = np.percentile(latency_ns, shares, method="inverted_cdf")
            assert list(figures.percentiles_ns.values()) == expected.tolist()
            ranks = cdf_ranks(len(chosen))
            latencies_ns = np.sort(latency_ns)[ranks - 1]
            assert data.distribution.latencies_ns.tolist() == latencies_ns.tolist()
            assert figures.iops == pytest.approx(len(chosen) / duration_s)
            moved_bytes = column(chosen, "length_bytes").sum()
            assert figures.bandwidth_bytes_per_s == pytest.approx(moved_bytes / duration_s)
            bin_s = run.span.bin_ns / 1e9
            assert data.iops_in_bin.sum() * bin_s == pytest.approx(len(chosen))


def test_figures_are_those_of_other_commands(tmp_path: Path) -> None:
    """What a comparison says of a run, a report says too."""
    write_record(tmp_path, random_requests(500, seed=4))
    summaries = open_recorded_run(tmp_path, lambda notice: None).summaries
    for disk, data in read(tmp_path).disks.items():
        for summary in summaries[disk]:
            reported = data.figures[summary.operation]
            assert reported.count == summary.count
            assert reported.iops == summary.iops
            assert reported.bandwidth_bytes_per_s == summary.bandwidth_bytes_per_s
            assert reported.mean_ns == summary.mean_ns
            assert reported.percentiles_ns["p99.9"] == summary.p99_9_ns
            assert reported.max_ns == summary.max_ns


def test_latencies_of_an_overload_have_a_mean() -> None:
    """Their sum does not fit into 64 bits."""
    latency_ns = np.full(6, 2**62, np.int64)
    figures = figures_of(latency_ns, np.zeros(6, np.int64), 1)
    assert figures.mean_ns == 2**62
    assert figures.max_ns == 2**62


def test_one_operation_has_no_row_for_all(tmp_path: Path) -> None:
    run = read(write_record(tmp_path, [completed()]))
    assert list(run.disks["data"].operations) == ["read"]
    assert run.document is None
    assert run.output is None


def test_requests_without_duration_have_no_rate(tmp_path: Path) -> None:
    row = completed(arrival_ns=5, completion_ns=5, delivery_ns=5)
    data = read(write_record(tmp_path, [row])).disks["data"].operations["read"].figures
    assert (data.iops, data.bandwidth_bytes_per_s, data.mean_ns) == (None, None, 0)


def test_a_killed_run_is_read_and_said_once(tmp_path: Path) -> None:
    path = stream_of(tmp_path / RECORD_NAME, [random_requests(10, seed=1)])
    notices: list[str] = []
    assert not read_run(tmp_path, notices.append).is_finished
    assert len(notices) == 1
    assert str(path) in notices[0]


def test_a_run_may_go_on_and_end_meanwhile(tmp_path: Path) -> None:
    """What comes in between the first reading and the second is left out."""
    rows = random_requests(60, seed=6)
    expected = read(write_record(tmp_path / "whole.parquet", rows[:40]))
    record = tmp_path / "live.parquet"
    stream_of(record, [rows[:40]])

    def end(notice: str) -> None:
        stream_to_parquet(stream_of(record, [rows[:40], rows[40:]]), record)

    run = read_run(record, end)
    assert not run.is_finished
    assert run.audits == expected.audits
    assert run.span == expected.span
    for disk, data in expected.disks.items():
        assert run.disks[disk].fsync == data.fsync
        for name, operation in data.operations.items():
            read_now = run.disks[disk].operations[name]
            assert read_now.figures == operation.figures
            assert np.array_equal(read_now.iops_in_bin, operation.iops_in_bin)


def test_output_is_kept_short(tmp_path: Path) -> None:
    write_record(tmp_path, [completed()])
    (tmp_path / "run.json").write_text(json.dumps(DOCUMENT))
    (tmp_path / "stdout.txt").write_bytes(b"first\n" + bytes(1 << 20) + b"last\n")
    output = read(tmp_path).output
    assert output is not None
    assert output.head.startswith("first\n")
    assert output.tail.endswith("last\n")
    assert len(output.head) + len(output.tail) + output.left_out_bytes == (1 << 20) + 11
    assert len(output.head) + len(output.tail) == 64 << 10
    for short in (b"short", b"x" * (50 << 10)):
        (tmp_path / "stdout.txt").write_bytes(short)
        output = read(tmp_path).output
        assert output is not None
        assert (output.head, output.tail) == (short.decode(), "")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"arrival_ns": 20_000}, "a request has arrival_ns after completion_ns; repeat the run"),
        ({"delivery_ns": 10}, "a request has arrival_ns after delivery_ns; repeat the run"),
        ({"frozen_host_ns": -1}, "a request has a negative frozen_host_ns; repeat the run"),
    ],
)
def test_what_cannot_be_is_damage(tmp_path: Path, fields: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=f"requests.parquet: is damaged: {said}"):
        read(write_record(tmp_path, [completed(**fields)]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "run.json: is damaged: .*; repeat the run"),
        ("[]", "run.json: is damaged: it lacks one of versions, plan, job, audit, totals; repeat"),
        (
            json.dumps({**DOCUMENT, "job": {"guest_ns": "long"}}),
            "run.json: is damaged: job.guest_ns is 'long'; repeat the run",
        ),
        (
            json.dumps({**DOCUMENT, "format": 2, "versions": {"freezingtime": "9"}}),
            "run.json: has format 2; this freezingtime reads format 1; use the run's version, 9",
        ),
    ],
)
def test_a_bad_document_is_one_line(tmp_path: Path, content: str, said: str) -> None:
    write_record(tmp_path, [completed()])
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=said):
        read(tmp_path)


def test_no_request_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains no requests; name another record"):
        read(write_record(tmp_path, []))


def test_what_devices_say_of_requests_is_added_up(tmp_path: Path) -> None:
    rows = random_requests(500, 3)
    run = read(write_record(tmp_path / "record", rows))
    for index, disk in enumerate(("data", "log")):
        internals = run.disks[disk].internals
        held = {
            cause: [
                row
                for row in rows
                if row.disk_index == index
                and row.annotation is not None
                and row.annotation.held_by == cause
            ]
            for cause in (HeldBy.NOTHING, HeldBy.PROGRAM, HeldBy.COLLECTION)
        }
        assert list(internals.held) == list(held)
        for cause, found in internals.held.items():
            waits_ns = [row.annotation.held_ns for row in held[cause] if row.annotation]
            assert (found.count, found.wait_max_ns) == (len(waits_ns), max(waits_ns))
            assert found.wait_sum_ns == sum(waits_ns)
        reads = [
            row
            for row in rows
            if row.disk_index == index and row.operation is Operation.READ and row.annotation
        ]
        from_buffer = [
            row.delivery_ns - row.arrival_ns
            for row in reads
            if row.annotation and row.annotation.served_from == ServedFrom.WRITE_BUFFER
        ]
        served = internals.served["read", ServedFrom.WRITE_BUFFER]
        assert (served.count, served.latency_max_ns) == (len(from_buffer), max(from_buffer))
        shares = internals.from_memory_share_in_bin
        assert np.nanmin(shares) == 0
        assert np.nanmax(shares) == 1


def test_statistics_come_with_a_run(tmp_path: Path) -> None:
    write_record(tmp_path, random_requests(20, 3))
    assert read(tmp_path).statistics == {}
    write_statistics(
        tmp_path / STATISTICS_NAME,
        [("log", 10, "erases", 1.0), ("log", 20, "erases", 4.0), ("log", 20, "folds", 2.0)],
    )
    statistics = read(tmp_path).statistics["log"]
    assert statistics.times_ns.tolist() == [10, 20]
    assert statistics.totals == {"erases": 4.0, "folds": 2.0}
    assert np.isnan(statistics.values["folds"][0])
    (tmp_path / STATISTICS_NAME).write_bytes(b"PAR1 is not all of it")
    with pytest.raises(InputError, match=r"statistics.parquet: is damaged: .*; repeat the run"):
        read(tmp_path)


def test_memory_of_a_bin_does_not_grow_with_its_requests() -> None:
    """A small file may hold hundreds of millions of requests that are alike."""
    batch = np.tile(np.array([5, 5, 7, 900], np.int64), 1 << 14)
    times_ns = np.zeros(len(batch), np.int64)
    percentiles = Percentiles(Span(0, 10))
    tracemalloc.start()
    try:
        for _ in range(64):
            percentiles.add(times_ns, batch)
        percentiles.finish()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 16 << 20 < 64 * batch.nbytes
    assert (percentiles.medians[0], percentiles.p99s[0], percentiles.maxima[0]) == (5, 900, 900)
