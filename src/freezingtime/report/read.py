# SPDX-License-Identifier: GPL-2.0-or-later
"""A run's directory, or a record alone, as a report needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from freezingtime.application.figure import Figure, figures_of
from freezingtime.errors import InputError
from freezingtime.report.internals import read_device_statistics
from freezingtime.report.run_data import GuestOutput, RunData
from freezingtime.report.scan import scan
from freezingtime.report.slow.operations import SHOWN_MAX, slow_operations
from freezingtime.trace.record_reader import Notify
from freezingtime.trace.run_directory import (
    DOCUMENT_NAME,
    STDOUT_NAME,
    document_value,
    read_document,
)

_HEAD_BYTES = 48 << 10
_TAIL_BYTES = 16 << 10

# Values of run.json in a report, if present: type by part and key.
_KINDS: Mapping[str, Mapping[str, type[object]]] = {
    "plan": {"script": str, "memory_bytes": int},
    "job": {"guest_ns": int, "start_ns": int},
    "audit": {"kernel_complaints": list, "disturbed_ns": int},
    "totals": {"warped_ns": int, "frozen_host_ns": int, "job_host_s": float},
}
# Null until it happens.
_NULLABLE = {"disturbed_ns"}


def read_run(path: Path, notify: Notify) -> RunData:
    """Read a run's directory, or the record at ``path``.

    ``notify`` is called with one-line notices for the user.

    Raises:
        InputError: there is none, it is damaged or of another version, or has no request.
    """
    document = read_document(path) if path.is_dir() else None
    if document is not None:
        for part, kinds in _KINDS.items():
            for key in kinds.keys() & document[part].keys():
                if key in _NULLABLE and document[part][key] is None:
                    continue
                document_value(path, document, part, key, kinds[key])
    scanned = scan(path, 0 if document is None else document["job"].get("start_ns", 0), notify)
    return RunData(
        name=str(path),
        header=scanned.record.header,
        is_finished=scanned.record.is_finished,
        span=scanned.span,
        disks=scanned.disks,
        audits=scanned.audits,
        statistics=read_device_statistics(path),
        document=document,
        figures=_read_figures(path, document),
        # Empty until the run has ended.
        output=None if document is None else _read_output(path / STDOUT_NAME),
        slow=slow_operations(path, document, scanned.record, SHOWN_MAX),
    )


def _read_figures(path: Path, document: Mapping[str, Any] | None) -> Sequence[Figure]:
    try:
        return figures_of(document)
    except ValueError as error:
        raise InputError(f"{path / DOCUMENT_NAME}: is damaged: {error}; repeat the run") from error


def _read_output(path: Path) -> GuestOutput | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        size_bytes = path.stat().st_size
        left_out_bytes = max(0, size_bytes - _HEAD_BYTES - _TAIL_BYTES)
        file.seek(len(head) + left_out_bytes)
        tail = file.read(_TAIL_BYTES)
    if not left_out_bytes:
        return GuestOutput((head + tail).decode(errors="replace"), "", 0)
    return GuestOutput(head.decode(errors="replace"), tail.decode(errors="replace"), left_out_bytes)
