# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime replay`: a trace or a workload on devices, without a guest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from freezingtime.cli.declared_options import takes_options
from freezingtime.cli.options import (
    AllowCodeOption,
    JsonOption,
    QuietOption,
    RecordOption,
    SeedOption,
    command_app,
    store_of_single_run,
)
from freezingtime.cli.output.json_stream import print_json
from freezingtime.errors import InputError
from freezingtime.host.foreign_text import show
from freezingtime.option import Argument, Option, Values
from freezingtime.simulate.options import ReplayOptions
from freezingtime.units import four_digits, time_cell

if TYPE_CHECKING:
    from freezingtime.cli.device.replayed.shown import ShownReplay
    from freezingtime.results.latency_summary import LatencySummary


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
_OF_A_MEMBER = re.compile(r"[0-9]+\.")


@takes_options(then={"time_unit": "trace_disk", "read_code": "time_unit"})
def replay_command(
    trace: Annotated[Path | None, Argument("TRACE", "Trace to replay.")] = None,
    device: Annotated[
        Sequence[str],
        Option(
            "DEVICE",
            "Device as in `run --disk`, such as `constant:100us`. Repeat to compare.",
            values=Values.DEVICE,
        ),
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
    fail_if: Annotated[
        Sequence[str],
        Option(
            "CONDITION",
            "Exit with status 1 if a device meets this: `[OPERATION.]METRIC OP VALUE`, such as "
            "`p99 > 5ms` or `read.iops < 10k`. Repeatable. A column says which devices pass.",
        ),
    ] = (),
    *,
    faults: Annotated[
        Sequence[str],
        Option(
            "RULE",
            "How each device fails on purpose, such as `slow=10,probability=0.01`; of one device: "
            "its key `fault=RULE`. Repeatable.",
            flag="--fault",
        ),
    ] = (),
    at: Annotated[
        Sequence[str],
        Option(
            "CHANGE",
            "What changes of each device meanwhile, such as `5s read=2ms`: a time of the trace, "
            "then parameters; of one device: its key `at=CHANGE`. Repeatable.",
            flag="--at",
        ),
    ] = (),
    options: ReplayOptions,
    seed: SeedOption = 0,
    out: RecordOption = None,
    store: Annotated[
        Path | None,
        Option(
            "DIR",
            "Keep the results in this store of results, and read them back, instead of replaying, "
            "when nothing has changed that decides them. `cache`: the store in the cache, which "
            "`sweep` and `gate` use.",
        ),
    ] = None,
    refresh: Annotated[
        bool, Option("", "With `--store`: replay also if the store has the result.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: Annotated[
        bool,
        Option(
            "",
            "Also print the statistics of the members of a composition, and those that are 0.",
            short="-v",
        ),
    ] = False,
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
    from freezingtime.cli.device.replay_progress import ReplayProgress
    from freezingtime.cli.device.replayed.shown import replay_each
    from freezingtime.cli.output.columns import aligned, print_columns
    from freezingtime.cli.output.fault_lines import change_lines, fault_lines
    from freezingtime.cli.results.compare import EXIT_FAILED_IF
    from freezingtime.disk.changes import with_changes_of_each
    from freezingtime.disk.faults import with_faults_of_each
    from freezingtime.results.limit import is_met, parse_limit
    from freezingtime.simulate.options import trace_source, workload_source
    from freezingtime.simulate.replay import check_out, open_new_record

    if not device:
        raise InputError("name at least one --device, such as --device constant:100us")
    if (trace is None) == (workload is None):
        raise InputError("give either a TRACE or --workload LINE, not both")
    limits = [parse_limit(text) for text in fail_if]
    devices = [str(each) for each in with_changes_of_each(with_faults_of_each(device, faults), at)]
    source = (
        workload_source(workload or "", options) if trace is None else trace_source(trace, options)
    )
    if out is not None:
        check_out(source, out)
    chosen = store_of_single_run(store, refresh=refresh)

    documents: list[dict[str, Any]] = []
    rows: list[tuple[str, ...]] = []
    with ExitStack() as cleanup:
        progress = cleanup.enter_context(ReplayProgress(quiet=quiet))
        results: Iterator[ShownReplay]
        if chosen is None:
            with_samples = out is not None
            results = replay_each(source, devices, seed, progress, with_samples=with_samples)
        else:
            from freezingtime.cli.device.replayed.stored import StoredReplays

            stored = StoredReplays(source, devices, seed, chosen, refresh)
            results = stored.results(progress, quiet=quiet)
        record = (
            None
            if out is None
            else cleanup.enter_context(open_new_record(out, devices, source, seed=seed))
        )
        for index, (figures, host_s, write_to) in enumerate(results):
            if record is not None:
                write_to(record, index, observer=progress)
            each = figures.by_operation
            failed = [limit.text for limit in limits if is_met(limit, figures.device, each)]
            document = figures.as_dict(host_s)
            if limits:
                document["failed"] = failed
            documents.append(document)
            if figures.overload is not None:
                progress.notify(f"{figures.device}: {figures.overload}")
            for line in (
                *fault_lines(figures.device, figures.faults),
                *change_lines(figures.device, figures.unreached),
            ):
                progress.notify(line)
            verdict = ("NO" if failed else "yes",) if limits else ()
            rows += [(*_row(figures.device, each), *verdict) for each in figures.summaries]
    if as_json:
        print_json({"seed": seed, "devices": documents})
    else:
        table = [(*_HEADER, "pass") if limits else _HEADER, *rows]
        print_columns(aligned(table, _TEXT_COLUMNS))
        _print_statistics(documents, verbose=verbose)
        for document in documents:
            for condition in document.get("failed", ()):
                show(f"FAILED {condition}: {document['device']}")
    return EXIT_FAILED_IF if any(document.get("failed") for document in documents) else 0


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


def _print_statistics(documents: Sequence[Mapping[str, Any]], *, verbose: bool) -> None:
    """Print the devices' statistics below the table."""
    from freezingtime.cli.output.columns import print_columns

    rows = [
        (document["device"], name, f"{value:.6g}")
        for document in documents
        for name, value in document["statistics"].items()
        if verbose or (value and not _OF_A_MEMBER.match(name))
    ]
    left_out = sum(len(document["statistics"]) for document in documents) - len(rows)
    if rows:
        show()
        print_columns(rows)
    if left_out and not verbose:
        show(f"{left_out} more statistics, of members or 0; --verbose prints them")


app = command_app(replay_command)
