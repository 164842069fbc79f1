# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs, or the devices of replays, beside each other in a report, each under a short label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase

import msgspec

from freezingtime.report.figures.style import COLORS
from freezingtime.report.run_data import RunData

#: What a replay's device is called among the disks, so that several share their panels.
DEVICE = "device"


def side_by_side(runs: Sequence[RunData]) -> list[RunData]:
    """Return the runs with their labels; a replay of several devices as a run of each.

    The devices of one replay stand beside each other as those of several do. More of them than
    there are colours stay together, with panels of their own.
    """
    single = [each for run in runs for each in (_devices(run) if _is_replay(run) else [run])]
    if len(single) > len(COLORS):
        single = list(runs)
    return [replace(run, label=label) for run, label in zip(single, _labels(single), strict=True)]


def _is_replay(run: RunData) -> bool:
    return not run.has_guest


def _devices(run: RunData) -> Iterator[RunData]:
    for disk in run.header.disks:
        if disk.name in run.disks:
            yield replace(
                run,
                header=msgspec.structs.replace(
                    run.header, disks=[msgspec.structs.replace(disk, name=DEVICE)]
                ),
                disks={DEVICE: run.disks[disk.name]},
                audits={DEVICE: run.audits[disk.name]},
                statistics=(
                    {DEVICE: run.statistics[disk.name]} if disk.name in run.statistics else {}
                ),
            )


def _labels(runs: Sequence[RunData]) -> Sequence[str]:
    """One run keeps its name; devices of replays have theirs; else there are letters."""
    if len(runs) == 1:
        return [runs[0].name]
    devices = [_device_name(run) for run in runs]
    if all(map(_is_replay, runs)) and all(devices) and len(set(devices)) == len(devices):
        return devices
    return ascii_uppercase[: len(runs)]


def _device_name(run: RunData) -> str:
    """The device of a run that has one, as short as it can be; else nothing."""
    if len(run.header.disks) != 1:
        return ""
    spec = run.header.disks[0].spec.partition(",")[0]
    return Path(spec).name if spec.endswith(".toml") else spec
