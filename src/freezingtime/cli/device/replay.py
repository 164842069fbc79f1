# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime replay`: a trace or a workload on devices, without a guest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from freezingtime.cli.declared_options import takes_options
from freezingtime.cli.device.replay_progress import ReplayProgress
from freezingtime.cli.options import (
    AllowCodeOption,
    JsonOption,
    QuietOption,
    RecordOption,
    SeedOption,
    command_app,
)
from freezingtime.cli.output.columns import print_columns
from freezingtime.cli.output.json_stream import print_json
from freezingtime.cli.results.time_columns import four_digits, time_cell
from freezingtime.errors import InputError
from freezingtime.host.foreign_text import show
from freezingtime.option import Argument, Option
from freezingtime.results.latency_summary import LatencySummary, summarize
from freezingtime.simulate.replay import (
    Replayed,
    TraceSource,
    open_new_record,
    refuse_to_overwrite,
    replay,
    write_record,
)
from freezingtime.simulate.workload import QUEUE_DEPTH_MAX, Workload, parse_workload
from freezingtime.trace.readers import FORMAT_NAMES, HintOptions, parse_hints

_FACTOR = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_HEADER = (
    "device",
    "operation",
    "requests",
    "IOPS",
    "MB/s",
    "host",
    "mean",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "p99.99",
    "max",
)
_TEXT_COLUMNS = 2


@takes_options()
def replay_command(
    trace: Annotated[Path | None, Argument("TRACE", "Trace to replay.")] = None,
    device: Annotated[
        Sequence[str],
        Option("DEVICE", "Device as in `run --disk`, such as `constant:100us`. Repeat to compare."),
    ] = (),
    workload: Annotated[
        str | None,
        Option(
            "LINE",
            "Instead of a trace: `PATTERN,KEY=VALUE,...`. PATTERN: `read`, `write`, `rw`, "
            "`randread`, `randwrite`, `randrw`, `randtrim`. KEY: `bs` (also `4k/70:64k/30`), "
            "`qd` (with `queue`, the device's queue depth limit, and `think`, the host's CPU time "
            "per request) or `rate`, `arrival=poisson` or `even`, `count`, "
            "`time`, `rwmixread`, "
            "`size` (else all of each device), `offset`, `seed`, `fsync`, `zipf`.",
        ),
    ] = None,
    closed_loop: Annotated[
        int | None,
        Option(
            "QD",
            "Keep QD requests in flight instead of using the trace's arrival times.",
            minimum=1,
            maximum=QUEUE_DEPTH_MAX,
        ),
    ] = None,
    speed_up: Annotated[
        str | None, Option("FACTOR", "Divide arrival times by this, such as `10` or `0.5`.")
    ] = None,
    format_name: Annotated[
        str | None,
        Option(
            "FORMAT",
            f"Trace format: {', '.join(FORMAT_NAMES)}, or `csv:HEADER` for CSV "
            "without a header line. Default: detected.",
            flag="--format",
        ),
    ] = None,
    trace_disk: Annotated[
        str | None, Option("NAME", "Disk to replay from a trace of several.")
    ] = None,
    *,
    hints: HintOptions,
    seed: SeedOption = 0,
    out: RecordOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    allow_code: AllowCodeOption = False,
) -> int:
    """Replay a trace or a synthetic workload on devices, without a guest.

    Replays a trace in an open loop, at its arrival times, or in a closed loop. The trace may
    be compressed. Formats: a record (a run's directory or its `requests.parquet`), fio's
    iolog, the text of blkparse, ftrace and biosnoop, the CSV of MSR Cambridge, FIU's traces,
    CSV with named columns, SPC, Alibaba, Tencent, MQSim's and DiskSim's ASCII. Reports on
    stderr how it was read, and every assumption.

    Example: `freezingtime replay --workload randread,bs=4k,qd=32,count=1M
    --device constant:100us`
    """
    if not device:
        raise InputError("name at least one --device, such as --device constant:100us")
    if (trace is None) == (workload is None):
        raise InputError("give either a TRACE or --workload LINE, not both")
    source: TraceSource | Workload
    if trace is not None:
        factor = _speed_up(speed_up, closed_loop)
        source = TraceSource(
            trace,
            format_name,
            trace_disk,
            closed_loop,
            factor,
            parse_hints(hints),
        )
    else:
        _refuse_with_workload(
            {
                "--closed-loop": (closed_loop, "write qd= in the workload"),
                "--speed-up": (speed_up, "change rate= in the workload"),
                "--format": (format_name, "is for traces"),
                "--trace-disk": (trace_disk, "is for traces"),
                "--time-unit": (hints.time_unit, "is for traces"),
                "--read-code": (hints.read_code, "is for traces"),
            }
        )
        source = parse_workload(workload or "")
    if out is not None:
        refuse_to_overwrite(source, out)

    documents: list[dict[str, Any]] = []
    rows: list[tuple[str, ...]] = []
    with ExitStack() as cleanup:
        progress = cleanup.enter_context(ReplayProgress(quiet=quiet))
        results = replay(
            source,
            device,
            seed=seed,
            observer=progress,
            notify=progress.notify,
            on_reading=progress.on_reading,
        )
        record = (
            None if out is None else cleanup.enter_context(open_new_record(out, device, seed=seed))
        )
        for index, result in enumerate(results):
            if record is not None:
                write_record(record, index, result.simulation, progress)
            summaries = summarize(result.simulation)
            documents.append(_document(result, summaries))
            rows += [_row(result.device, summary) for summary in summaries]
    if as_json:
        print_json({"seed": seed, "devices": documents})
    else:
        _print_table(rows)
        _print_statistics(documents)
    return 0


def _refuse_with_workload(options: Mapping[str, tuple[object, str]]) -> None:
    for option, (value, cure) in options.items():
        if value is not None:
            raise InputError(f"{option} {value}: cannot be combined with --workload; {cure}")


def _speed_up(text: str | None, closed_loop: int | None) -> Fraction:
    if text is None:
        return Fraction(1)
    if closed_loop is not None:
        raise InputError(f"--speed-up {text}: a closed loop has no arrival times; leave one out")
    factor = Fraction(text) if _FACTOR.fullmatch(text) else Fraction(0)
    if not factor:
        raise InputError(
            f"--speed-up {text}: must be a number from 0.000001 to 999999, such as 10 or 0.5"
        )
    return factor


def _document(result: Replayed, summaries: Sequence[LatencySummary]) -> dict[str, Any]:
    """One device's results, for JSON."""
    return {
        "device": result.device,
        "duration_ns": result.simulation.duration_ns,
        "host_s": round(result.host_s, 6),
        "summaries": [summary.as_dict() for summary in summaries],
        "statistics": result.statistics,
    }


def _row(device: str, summary: LatencySummary) -> tuple[str, ...]:
    """One line of the table; MB are 10**6 bytes."""
    times_ns = (
        summary.mean_host_ns,
        summary.mean_ns,
        summary.p50_ns,
        summary.p90_ns,
        summary.p99_ns,
        summary.p99_9_ns,
        summary.p99_99_ns,
        summary.max_ns,
    )
    bandwidth = summary.bandwidth_bytes_per_s
    return (
        device,
        summary.operation,
        str(summary.count),
        "-" if summary.iops is None else four_digits(summary.iops),
        "-" if bandwidth is None else four_digits(bandwidth / 10**6),
        *map(time_cell, times_ns),
    )


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    table = [_HEADER, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    print_columns(
        [
            [
                cell if index < _TEXT_COLUMNS else cell.rjust(widths[index])
                for index, cell in enumerate(row)
            ]
            for row in table
        ]
    )


def _print_statistics(documents: Sequence[Mapping[str, Any]]) -> None:
    """Print the devices' statistics below the table."""
    rows = [
        (document["device"], name, f"{value:.6g}")
        for document in documents
        for name, value in document["statistics"].items()
    ]
    if rows:
        show()
        print_columns(rows)


app = command_app(replay_command)
