# SPDX-License-Identifier: GPL-2.0-or-later
"""``freezingtime.replay``: a trace or a workload on devices, as the command of the same name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

from freezingtime.api.output_path import OutputPath
from freezingtime.api.plain_errors import plain_errors
from freezingtime.api.progress import ProgressLine, show_share
from freezingtime.api.result import Result, warn, warn_of
from freezingtime.disk.disk import Disk
from freezingtime.errors import InputError
from freezingtime.results.latency_summary import LatencySummary, summarize_each
from freezingtime.results.recorded_run import open_recorded_run
from freezingtime.simulate.replay import (
    TraceSource,
    open_new_record,
    refuse_to_overwrite,
    write_record,
)
from freezingtime.simulate.replay import replay as replay_on
from freezingtime.simulate.workload import PATTERNS, Workload, parse_workload
from freezingtime.trace.readers import HintOptions, Hints, parse_hints
from freezingtime.trace.record_paths import RECORD_NAME


@plain_errors
def replay(
    trace_or_workload: str | os.PathLike[str],
    devices: Sequence[Disk | str],
    *,
    seed: int = 0,
    closed_loop: int | None = None,
    speed_up: Fraction | int = 1,
    format: str | None = None,
    trace_disk: str | None = None,
    time_unit: str | None = None,
    read_code: str | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Result:
    """Run a trace or a workload on devices, each new and idle, without a guest.

    A string that begins with a workload's pattern, such as ``"randread,bs=4k,qd=32,count=1M"``,
    is a workload; anything else is a trace's path. ``closed_loop``, ``speed_up``, ``format``,
    ``trace_disk``, ``time_unit`` and ``read_code`` are for traces, and the options of
    ``freezingtime replay``. ``out`` is the record to write; without it, the record is removed with
    the result.

    The result's disks are the devices. Latencies in its summary are what the application waits;
    the record, and so ``requests``, has the device's part, without a workload's host.

    Raises:
        InputError: the trace, the workload or a device is not right; the text names the option.
        RunError: a device broke its contract.
    """
    hints = parse_hints(HintOptions(time_unit=time_unit, read_code=read_code))
    source = _source(trace_or_workload, closed_loop, Fraction(speed_up), format, trace_disk, hints)
    devices = [] if isinstance(devices, str) else devices
    texts = [device.spec if isinstance(device, Disk) else device for device in devices]
    if not texts or len(set(texts)) < len(texts):
        raise InputError("devices: must be a non-empty list without duplicates")
    output = OutputPath(out, RECORD_NAME)
    refuse_to_overwrite(source, output.path)
    summaries: dict[str, list[LatencySummary]] = {}
    statistics: dict[str, dict[str, float]] = {}
    with ProgressLine(progress) as line:
        observer = partial(show_share, line)
        results = replay_on(
            source, devices, seed=seed, observer=observer, notify=warn, on_reading=warn_of
        )
        with open_new_record(output.path, texts, seed=seed) as record:
            for index, replayed in enumerate(results):
                write_record(record, index, replayed.simulation, observer)
                summaries[replayed.device] = summarize_each(replayed.simulation)
                statistics[replayed.device] = replayed.statistics
    recorded = open_recorded_run(output.path, warn)
    return Result(recorded, output=output, statistics=statistics, summaries=summaries)


def _source(
    given: str | os.PathLike[str],
    closed_loop: int | None,
    speed_up: Fraction,
    format_name: str | None,
    trace_disk: str | None,
    hints: Hints,
) -> TraceSource | Workload:
    if not isinstance(given, str) or given.partition(",")[0] not in PATTERNS:
        return TraceSource(Path(given), format_name, trace_disk, closed_loop, speed_up, hints)
    of_traces = (closed_loop, format_name, trace_disk, hints.time_digits, hints.read_code)
    if speed_up != 1 or any(option is not None for option in of_traces):
        raise InputError(
            f"{given}: closed_loop, speed_up, format, trace_disk, time_unit and read_code are for "
            "traces; leave them out"
        )
    return parse_workload(given)
