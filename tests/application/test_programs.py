# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of what programs really print: each file in ``outputs/`` is one program's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from freezingtime.application.read import AUTO, PARSERS, Said, read_figures

OUTPUTS = Path(__file__).with_name("outputs")
FIO_READ = {
    "fio.read.iops": (3413.793103, "1/s", "higher"),
    "fio.read.bandwidth": (13982896, "bytes/s", "higher"),
    "fio.read.mean": (266877.919192, "ns", "lower"),
    "fio.read.p50": (58112, "ns", "lower"),
    "fio.read.p99": (5996544, "ns", "lower"),
    "fio.read.p99.9": (5996544, "ns", "lower"),
}


def ycsb(
    operation: str, mean: float, most: float, percentiles: dict[float, float], failed: int = -1
) -> dict[str, tuple[float, str, str]]:
    """Figures of one of YCSB's operations, in us; some do not say what failed."""
    values = {"mean": mean, "max": most, **{f"p{at}": us for at, us in percentiles.items()}}
    said = {f"ycsb.{operation}.{name}": (us, "us", "lower") for name, us in values.items()}
    return said | ({f"ycsb.{operation}.failed": (failed, "", "lower")} if failed >= 0 else {})


FIGURES: dict[str, dict[str, tuple[float, str, str]]] = {
    "db_bench.txt": {
        "fillseq.ops_per_s": (18435, "1/s", "higher"),
        "fillseq.latency_average": (54.228, "us", "lower"),
        "readrandom.ops_per_s": (110969, "1/s", "higher"),
        "readrandom.latency_average": (0.946, "us", "lower"),
    },
    "dd.txt": {"dd.bandwidth": (4096000 / 0.0296736, "bytes/s", "higher")},
    "fio.json": FIO_READ
    | {
        "fio.write.iops": (3482.758621, "1/s", "higher"),
        "fio.write.bandwidth": (14265379, "bytes/s", "higher"),
        "fio.write.mean": (5530.415842, "ns", "lower"),
        "fio.write.p50": (4448, "ns", "lower"),
        "fio.write.p99": (24704, "ns", "lower"),
        "fio.write.p99.9": (27008, "ns", "lower"),
    },
    "fio-two.json": {
        f"fio.{job}.write.{name}": (value, unit, "higher" if "/s" in unit else "lower")
        for job, values in {
            "a_1": (16000, 65536000, 2907.375, 1688, 18816, 18816),
            "b": (16000, 65536000, 4897.0, 2896, 31104, 31104),
        }.items()
        for name, value, unit in zip(
            ("iops", "bandwidth", "mean", "p50", "p99", "p99.9"),
            values,
            ("1/s", "bytes/s", "ns", "ns", "ns", "ns"),
            strict=True,
        )
    },
    "pgbench.txt": {
        "tps": (97.865773, "1/s", "higher"),
        "latency_average": (20.436, "ms", "lower"),
        "failed_transactions": (0, "", "lower"),
    },
    "pgbench-p.txt": {
        "tps": (104.968071, "1/s", "higher"),
        "latency_average": (19.038, "ms", "lower"),
        "latency_stddev": (11.491, "ms", "lower"),
        "failed_transactions": (0, "", "lower"),
    },
    "speedtest1.txt": {
        f"speedtest1.{test}": (float(time_s), "s", "lower")
        for test, time_s in re.findall(
            r"^ +(\d+) - .*\.\s+([0-9.]+)s$",
            (OUTPUTS / "speedtest1.txt").read_text(),
            re.MULTILINE,
        )
    }
    | {"speedtest1.total": (1.333, "s", "lower")},
    "sysbench-cpu.txt": {
        "events_per_s": (795.48, "1/s", "higher"),
        "latency_average": (1.25, "ms", "lower"),
        "latency_max": (43.17, "ms", "lower"),
        "latency_p95": (10.27, "ms", "lower"),
    },
    "sysbench-fileio.txt": {
        "reads_per_s": (3980.42, "1/s", "higher"),
        "writes_per_s": (2653.61, "1/s", "higher"),
        "fsyncs_per_s": (133.66, "1/s", "higher"),
        "read_bandwidth": (62.19, "MiB/s", "higher"),
        "write_bandwidth": (41.46, "MiB/s", "higher"),
        "latency_average": (0.14, "ms", "lower"),
        "latency_max": (21.69, "ms", "lower"),
        "latency_p95": (0.01, "ms", "lower"),
    },
    "sysbench-oltp.txt": {
        "tps": (35, "1/s", "higher"),
        "queries_per_s": (699.98, "1/s", "higher"),
        "latency_average": (28.38, "ms", "lower"),
        "latency_max": (544.26, "ms", "lower"),
        "latency_p95": (29.72, "ms", "lower"),
    },
    "ycsb.txt": {
        "ycsb.runtime": (964, "ms", "lower"),
        "ycsb.throughput": (414.9377593360996, "1/s", "higher"),
        **ycsb("read", 60.64390243902439, 3367, {50: 17, 95: 100, 99: 986, 99.9: 3367}, 0),
        **ycsb(
            "update", 4179.066666666667, 19999, {50: 3639, 95: 11831, 99: 16327, 99.9: 19999}, 0
        ),
    },
    "ycsb-failed.txt": {
        "ycsb.runtime": (1185, "ms", "lower"),
        "ycsb.throughput": (337.55274261603375, "1/s", "higher"),
        **ycsb("read", 46.05714285714286, 661, {50: 17, 95: 170, 99: 644}, 30),
        **ycsb("update_failed", 0.025, 1, {50: 0, 95: 0, 99: 1}),
        **ycsb("read_failed", 131.9, 3957, {50: 0, 95: 0, 99: 3957}),
        **ycsb("update", 3980.206451612903, 13455, {50: 3921, 95: 8035, 99: 11903}, 40),
    },
    "ycsb-histogram.txt": {
        "ycsb.runtime": (387, "ms", "lower"),
        "ycsb.throughput": (1033.59173126615, "1/s", "higher"),
        **ycsb("read", 38.628571428571426, 695, {95: 0, 99: 0}, 30),
        **ycsb("update_failed", 0.0, 0, {95: 0, 99: 0}),
        **ycsb("read_failed", 11.6, 348, {95: 0, 99: 0}),
        **ycsb("update", 2344.8322580645163, 21953, {95: 5000, 99: 20000}, 40),
    },
} | {
    f"time-{shell}.txt": {
        "time.real": (real_s, "s", "lower"),
        "time.user": (user_s, "s", "lower"),
        "time.sys": (0, "s", "lower"),
    }
    for shell, real_s, user_s in (
        ("bash", 0.04, 0.003),
        ("busybox", 0.01, 0),
        ("gnu", 0.01, 0),
        ("posix", 0.05, 0),
    )
}


@pytest.mark.parametrize("source", ["auto", "named"])
@pytest.mark.parametrize("name", sorted(FIGURES))
def test_a_program_s_own_output_is_read(name: str, source: str, tmp_path: Path) -> None:
    """As itself it is found among all; and no other parser takes it for its own."""
    program = name.partition(".")[0].partition("-")[0]
    wanted = AUTO if source == "auto" else program
    with (OUTPUTS / name).open("rb") as output:
        said = read_figures(wanted, [output], tmp_path, [])
    figures = {f.name: (f.value, f.unit, f.direction.value) for f in said.figures}
    assert figures == FIGURES[name]
    assert said.notes == []


LOGS = ["pgbench_log.21225", "pgbench_log.21225.1"]


def read_logs(directory: Path, names: list[str], source: str = AUTO) -> Said:
    return read_figures(source, [], directory, names)


@pytest.mark.parametrize("source", [AUTO, "pgbench"])
def test_the_slowest_transactions_are_in_pgbench_s_logs(source: str) -> None:
    """The same as ``sort -n`` has of the third column: number 104, 205 and 207 of 207."""
    said = read_logs(OUTPUTS, LOGS, source)
    values = {f.name: (f.value, f.unit, f.direction.value) for f in said.figures}
    times_us = sorted(
        int(line.split()[2]) for name in LOGS for line in (OUTPUTS / name).read_text().splitlines()
    )
    assert len(times_us) == 207
    assert values == {
        "latency_p50": (times_us[103] / 1000, "ms", "lower"),
        "latency_p99": (times_us[204] / 1000, "ms", "lower"),
        "latency_p99.9": (times_us[206] / 1000, "ms", "lower"),
        "latency_max": (times_us[206] / 1000, "ms", "lower"),
    }
    assert said.notes == []


def test_what_is_no_transaction_in_a_log_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "pgbench_log.1"
    log.write_text(
        "0 1 2000 0 1577836801 5\n0 2 skipped 0 1577836801 6 1\n0 3 failed 0 1577836801 7\n"
        "0 4 4000 0 1577836801 8 120\n1577836801 5601 1542744 483552416 61 2573\n\0\n"
    )
    said = read_logs(tmp_path, [log.name])
    assert [str(figure) for figure in said.figures] == [
        "latency_p50 2 ms",
        "latency_p99 4 ms",
        "latency_p99.9 4 ms",
        "latency_max 4 ms",
    ]
    log.write_bytes(b"")
    assert read_logs(tmp_path, [log.name]) == Said([], [])
    with log.open("wb") as file:
        file.truncate((64 << 20) + 1)
    assert read_logs(tmp_path, [log.name]).notes == [
        "no figures of pgbench's logs: logs of more than 64 MiB; use --sampling-rate"
    ]


def test_every_output_and_every_program_is_tried() -> None:
    outputs = {path.name for path in OUTPUTS.iterdir()} - {"README.md", *LOGS}
    outputs = {name for name in outputs if not name.endswith(".log")}  # of test_operation_log.py
    assert outputs == set(FIGURES)
    assert {name.partition(".")[0].partition("-")[0] for name in outputs} == set(PARSERS)


def test_programs_that_ran_in_turn_have_figures_of_their_own(tmp_path: Path) -> None:
    text = b"Starting\r\n".join(
        (OUTPUTS / f"pgbench{kind}.txt").read_bytes() for kind in ("", "-p")
    )
    (tmp_path / "stdout").write_bytes(text + (OUTPUTS / "fio.json").read_bytes() + b"done\n")
    with (tmp_path / "stdout").open("rb") as output:
        said = read_figures(AUTO, [output], tmp_path, [])
    values = {figure.name: figure.value for figure in said.figures}
    assert (values["tps"], values["tps_2"]) == (97.865773, 104.968071)
    assert values["fio.read.p99"] == 5996544


def test_ycsb_s_old_lines_and_others_in_brackets(tmp_path: Path) -> None:
    """Values as version 0.12 wrote them, of which an operation that always failed has none."""
    text = (
        "[OVERALL], RunTime(ms), 250501.0\n[OVERALL], Throughput(ops/sec), 3.992000031936\n"
        "[READ], Operations, 0.0\n[READ], AverageLatency(us), NaN\n"
        "[READ], MinLatency(us), 9.223372036854776E18\n[READ], 99thPercentileLatency(us), 0.0\n"
        "[READ], Return=ERROR, 1000\n[UPDATE], Operations, 4\n[UPDATE], AverageLatency(ms), 5.5\n"
        "[UPDATE], 99thPercentileLatency(ms), 7\n[UPDATE], 0, 3\n[UPDATE], >1000, 1\n"
        "[GCS], Operations, 1\n[GCS], AverageLatency(us), 1.0\n[CLEANUP], Operations, 1\n"
    )
    (tmp_path / "stdout").write_text(text)
    with (tmp_path / "stdout").open("rb") as output:
        figures = read_figures("ycsb", [output], tmp_path, []).figures
    assert [str(figure) for figure in figures] == [
        "ycsb.runtime 250,501 ms",
        "ycsb.throughput 3.992 1/s",
        "ycsb.read.failed 1,000",
        "ycsb.update.mean 5.5 ms",
        "ycsb.update.p99 7 ms",
    ]
    (tmp_path / "stdout").write_text("[READ], Operations, 5\n[x], y, 1\n")
    with (tmp_path / "stdout").open("rb") as output:
        assert read_figures(AUTO, [output], tmp_path, []) == Said([], [])
