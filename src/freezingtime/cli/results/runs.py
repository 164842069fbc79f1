# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime runs`: the runs below a directory and their headline figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from freezingtime.cli.options import JsonOption, command_app
from freezingtime.cli.output.json_stream import print_json
from freezingtime.host.foreign_text import say
from freezingtime.option import Argument
from freezingtime.units import format_time_ns

if TYPE_CHECKING:
    from freezingtime.results.catalogue import CatalogueEntry
    from freezingtime.results.latency_summary import LatencySummary
    from freezingtime.results.recorded_run import RecordedRun

_HEADER = ("run", "valid", "guest time", "requests", "p50, p99", "disks", "job")
_JOB_WIDTH = 60
#: What is cut short on a narrow terminal, the first one first.
_FIGURES_MAX = 2
_APPLICATION_COLUMN = _HEADER.index("guest time")
_SHRINK = tuple(map(_HEADER.index, ("job", "disks", "run", "p50, p99")))
_SHRINK_BESIDE = tuple(index + (index >= _APPLICATION_COLUMN) for index in _SHRINK)


def runs_command(
    directory: Annotated[
        Sequence[Path],
        Argument("DIR", "Directories to search recursively. Default: the current one."),
    ] = (),
    as_json: JsonOption = False,
) -> int:
    """List runs (`run --out`) in directories, with their main metrics.

    For a run that cannot be read, the line says why. Runs can be repeated, so they have no
    date; `--json` has the time of the file, `written`.

    Example: `freezingtime runs results`
    """
    from freezingtime.cli.output.columns import print_columns
    from freezingtime.results.catalogue import find_runs, read_entry

    places = directory or [Path()]
    paths = dict.fromkeys(path for place in places for path in find_runs(place))
    entries = [read_entry(path, say) for path in paths]
    if as_json:
        print_json([_document(entry) for entry in entries])
    elif any(entry.run is not None and entry.run.figures for entry in entries):
        rows = [(*_row(entry), _figures(entry)) for entry in entries]
        table = [(*_HEADER, "application"), *rows]
        print_columns([_application_first(row) for row in table], shrink=_SHRINK_BESIDE)
    elif entries:
        print_columns([_HEADER, *(_row(entry) for entry in entries)], shrink=_SHRINK)
    else:
        say(f"no runs in {', '.join(map(str, places))}; 'freezingtime run --out DIR' creates one")
    return 0


def _application_first(row: tuple[str, ...]) -> tuple[str, ...]:
    """Move what the application says of itself before what its disks did."""
    *shown, figures = row
    return (*shown[:_APPLICATION_COLUMN], figures, *shown[_APPLICATION_COLUMN:])


def _figures(entry: CatalogueEntry) -> str:
    """The first few, such as "tps 97.9 1/s, latency_average 20.4 ms"."""
    figures = [] if entry.run is None else entry.run.figures
    more = [f"{len(figures) - _FIGURES_MAX} more"] if len(figures) > _FIGURES_MAX else []
    return ", ".join([*map(str, figures[:_FIGURES_MAX]), *more]) or "-"


def _row(entry: CatalogueEntry) -> tuple[str, ...]:
    run = entry.run
    if run is None:
        return (str(entry.path), "DAMAGED", "-", "-", "-", "-", entry.damage or "")
    return (
        str(entry.path),
        "yes" if run.valid else "NO",
        format_time_ns(run.guest_ns or 0),
        str(run.request_count),
        "; ".join(_latencies(disk, figures, run) for disk, figures in entry.figures) or "-",
        " ".join(disk.spec for disk in run.record.header.disks) or "-",
        _one_line(run.script),
    )


def _latencies(disk: str, figures: LatencySummary, run: RecordedRun) -> str:
    """Such as ``data:read 80us, 82us``; the disk's name only where there are several."""
    prefix = f"{disk}:" if len(run.disks) > 1 else ""
    p50, p99 = format_time_ns(figures.p50_ns), format_time_ns(figures.p99_ns)
    return f"{prefix}{figures.operation} {p50}, {p99}"


def _one_line(script: str) -> str:
    """Abbreviate the script to one line."""
    lines = [line.strip() for line in script.splitlines() if line and not line.startswith("#")]
    text = "; ".join(lines).removeprefix("exec ")
    return text if len(text) <= _JOB_WIDTH else f"{text[: _JOB_WIDTH - 3]}..."


def _document(entry: CatalogueEntry) -> dict[str, Any]:
    """One run, for JSON."""
    head = {"path": str(entry.path), "written": entry.written.isoformat(timespec="seconds")}
    run = entry.run
    if run is None:
        return head | {"damage": entry.damage}
    return head | {
        "valid": run.valid,
        "exit_status": run.exit_status,
        "guest_ns": run.guest_ns,
        "requests": run.request_count,
        "disks": [disk.spec for disk in run.record.header.disks],
        "script": run.script,
        "metrics": [figure.as_dict() for figure in run.figures],
        "figures": [{"disk": disk, **figures.as_dict()} for disk, figures in entry.figures],
    }


app = command_app(runs_command)
