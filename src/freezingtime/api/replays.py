# SPDX-License-Identifier: GPL-2.0-or-later
"""``freezingtime.replay``: a trace or a workload on devices, as the command of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from freezingtime.api.keywords import with_fields_of
from freezingtime.api.output_path import OutputPath
from freezingtime.api.plain_errors import plain_errors
from freezingtime.api.progress import ProgressLine, show_share
from freezingtime.api.result import Result, warn, warn_of
from freezingtime.disk.changes import with_changes_of_each
from freezingtime.disk.disk import Disk
from freezingtime.disk.faults import with_faults_of_each
from freezingtime.errors import InputError
from freezingtime.option import FilePath
from freezingtime.results.latency_summary import LatencySummary, summarize_each
from freezingtime.results.recorded_run import open_recorded_run
from freezingtime.simulate.options import ReplayOptions, trace_source, workload_source
from freezingtime.simulate.replay import (
    check_out,
    open_new_record,
    write_record,
)
from freezingtime.simulate.replay import replay as replay_on
from freezingtime.simulate.workload import PATTERNS
from freezingtime.trace.record_paths import RECORD_NAME


@dataclass(frozen=True, slots=True)
class ReplayArguments(ReplayOptions):
    """The arguments of :func:`replay`: what is replayed on what, and how."""

    trace_or_workload: FilePath
    devices: Sequence[Disk | str]
    faults: Sequence[str] = field(default=(), kw_only=True)
    at: Sequence[str] = field(default=(), kw_only=True)
    seed: int = field(default=0, kw_only=True)
    out: FilePath | None = field(default=None, kw_only=True)
    progress: bool | None = field(default=None, kw_only=True)


@plain_errors
@with_fields_of(ReplayArguments)
def replay(arguments: ReplayArguments) -> Result:
    """Run a trace or a workload on devices, each new and idle, without a guest.

    A string that begins with a workload's pattern, such as ``"randread,bs=4k,qd=32,count=1M"``,
    is a workload; anything else is a trace's path. ``closed_loop``, ``speed_up``, ``format``,
    ``trace_disk``, ``time_unit`` and ``read_code`` are for traces, and the options of
    ``freezingtime replay``. ``out`` is the record to write; without it, the record is removed with
    the result. ``faults`` are rules by which each of the devices fails, as ``--fault`` has them;
    ``at`` are changes of its parameters, as ``--at`` has them.

    The result's disks are the devices. Latencies in its summary are what the application waits;
    the record, and so ``requests``, has the device's part, without a workload's host.

    Raises:
        InputError: the trace, the workload or a device is not right; the text names the option.
        RunError: a device broke its contract.
    """
    given = arguments.trace_or_workload
    is_workload = isinstance(given, str) and given.partition(",")[0] in PATTERNS
    source = (
        workload_source(str(given), arguments)
        if is_workload
        else trace_source(Path(given), arguments)
    )
    given_devices = [] if isinstance(arguments.devices, str) else arguments.devices
    devices = with_faults_of_each(given_devices, arguments.faults)
    devices = with_changes_of_each(devices, arguments.at)
    texts = [device.spec if isinstance(device, Disk) else device for device in devices]
    if not texts or len(set(texts)) < len(texts):
        raise InputError("devices: must be a non-empty list without duplicates")
    output = OutputPath(arguments.out, RECORD_NAME)
    check_out(source, output.path)
    summaries: dict[str, list[LatencySummary]] = {}
    statistics: dict[str, dict[str, float]] = {}
    with ProgressLine(arguments.progress) as line:
        observer = partial(show_share, line)
        results = replay_on(
            source,
            devices,
            seed=arguments.seed,
            observer=observer,
            notify=warn,
            on_reading=warn_of,
            with_samples=True,
        )
        with open_new_record(output.path, texts, source, seed=arguments.seed) as record:
            for index, replayed in enumerate(results):
                write_record(record, index, replayed, observer)
                for rule, count in replayed.faults:
                    if not count:
                        warn(f"{replayed.device}: the fault {rule} was never hit")
                for text in replayed.unreached:
                    warn(f"{replayed.device}: the change {text} was never reached")
                summaries[replayed.device] = summarize_each(replayed.simulation)
                statistics[replayed.device] = replayed.statistics
    recorded = open_recorded_run(output.path, warn)
    return Result(recorded, output=output, statistics=statistics, summaries=summaries)
