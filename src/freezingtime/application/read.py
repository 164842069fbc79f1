# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of a job: of what it printed, and of the file that it handed over."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from freezingtime.application import programs
from freezingtime.application.figure import Figure, from_json, make_figure, numbered
from freezingtime.application.fio import fio
from freezingtime.application.operation_log import PGBENCH
from freezingtime.application.pgbench_log import pgbench_log
from freezingtime.application.ycsb import ycsb
from freezingtime.errors import InputError, did_you_mean
from freezingtime.host.document_fault import document_fault

AUTO, NONE = "auto", "none"
#: What a job may call its file of figures.
FILE_NAME = "metrics.json"

Parser: TypeAlias = Callable[[str], Iterable[Figure]]
PARSERS: dict[str, Parser] = {
    "fio": fio,
    "pgbench": programs.pgbench,
    "sysbench": programs.sysbench,
    "db_bench": programs.db_bench,
    "speedtest1": programs.speedtest1,
    "ycsb": ycsb,
    "time": programs.time,
    "dd": programs.dd,
}

_METRIC = re.compile(r"^METRIC[ \t]+(.*)$", re.MULTILINE)
#: The end of what a job prints is looked through: so much of stdout, and so much of stderr.
_TEXT_MAX_BYTES = 4 << 20
_FILE_MAX_BYTES = 1 << 20
_NOTES_MAX = 3
_FORM = "write METRIC NAME VALUE [UNIT [lower|higher]]"


@dataclass(frozen=True, slots=True)
class Said:
    """Figures, and why some are none, in lines for the user."""

    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()


def check_source(text: str) -> str:
    """Return the name of where figures come from, as ``--metrics`` has it.

    Raises:
        InputError: it is no parser, no file, and neither ``auto`` nor ``none``.
    """
    known = (AUTO, NONE, *PARSERS)
    if text not in known and not text.endswith(".json"):
        raise InputError(
            f"--metrics {text}: unknown; {did_you_mean(text, known)}available: "
            f"{', '.join(known)}, or the name of a collected file, NAME.json"
        )
    return text


def read_figures(
    source: str, outputs: Sequence[BinaryIO], directory: Path, collected: Sequence[str]
) -> Said:
    """Read what a job has said of itself; nothing of it is trusted.

    ``outputs`` are what it has printed, ``collected`` the files below ``directory`` that came back.
    """
    if source == NONE:
        return Said()
    texts = [_tail(output) for output in outputs]
    figures: list[Figure] = []
    notes: list[str] = []
    if source in PARSERS:
        figures = [figure for text in texts for figure in _parsed(PARSERS[source], text)]
        if source == "pgbench":
            _read_logs(directory, collected, figures, notes)
        if not figures and not notes:
            notes = [f"--metrics {source}: the job printed no figures of {source}"]
    else:
        wanted = FILE_NAME if source == AUTO else source
        files = [name for name in collected if f"/{name}".endswith(f"/{wanted}")]
        if source != AUTO and not files:
            notes.append(f"--metrics {source}: no such file was collected; see --collect")
        for name in files:
            _read_file(directory / name, name, figures, notes)
        if source == AUTO:
            for text in texts:
                _read_lines(text, figures, notes)
                for parser in PARSERS.values():
                    figures += _parsed(parser, text)
            _read_logs(directory, collected, figures, notes)
    more = len(notes) - _NOTES_MAX
    shown = notes[:_NOTES_MAX] + ([f"{more} more figures are none"] if more > 0 else [])
    return Said(numbered(figures), shown)


def _parsed(parser: Parser, text: str) -> Iterator[Figure]:
    """Yield what is right of it: a guest may have printed it to harm."""
    for figure in parser(text):
        try:
            yield make_figure(figure.name, figure.value, figure.unit, figure.direction)
        except ValueError:
            continue


def _read_lines(text: str, figures: list[Figure], notes: list[str]) -> None:
    for found in _METRIC.finditer(text):
        try:
            figures.append(_of_line(found[1].split()))
        except ValueError as error:
            notes.append(f"no figure: {found[0].strip()[:80]}: {error}")


def _of_line(words: list[str]) -> Figure:
    if not 2 <= len(words) <= 4:
        raise ValueError(_FORM)
    name, value, *rest = words
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{value[:20]} is no number; {_FORM}") from None
    if rest in (["lower"], ["higher"]):
        rest = ["", *rest]  # a count has no unit
    unit, direction = (*rest, "", "")[:2]
    return make_figure(name, number, unit, direction)


def _read_file(path: Path, name: str, figures: list[Figure], notes: list[str]) -> None:
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_MAX_BYTES + 1)
        if len(content) > _FILE_MAX_BYTES:
            raise ValueError(f"larger than {_FILE_MAX_BYTES >> 20} MiB")
        figures += from_json(json.loads(content))
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"no figures: {name}: {document_fault(error)}")


def _read_logs(
    directory: Path, collected: Sequence[str], figures: list[Figure], notes: list[str]
) -> None:
    logs = [directory / name for name in collected if PGBENCH.file.fullmatch(name)]
    try:
        figures += pgbench_log(logs)
    except (OSError, ValueError) as error:
        notes.append(f"no figures of pgbench's logs: {error}")


def _tail(file: BinaryIO) -> str:
    size_bytes = os.fstat(file.fileno()).st_size
    start = max(0, size_bytes - _TEXT_MAX_BYTES)
    content = bytearray()
    while piece := os.pread(file.fileno(), size_bytes - start - len(content), start + len(content)):
        content += piece
    return bytes(content).decode(errors="replace").replace("\r\n", "\n")
