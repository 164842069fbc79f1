# SPDX-License-Identifier: GPL-2.0-or-later
"""Slow operations as rows of plain values."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from freezingtime.report.slow.operations import DeviceRequest, SlowOperations

_OPERATION = ("log", "line", "latency_ns", "start_ns", "end_ns", "uncertain_ns", "device_ns")
_REQUEST = tuple(field.name for field in fields(DeviceRequest))
COLUMNS = [*_OPERATION, *_REQUEST]


def rows_of(found: SlowOperations) -> list[dict[str, Any]]:
    """A row for each operation and request; one of an operation without any request."""
    rows: list[dict[str, Any]] = []
    for operation in found.operations:
        own = {name: getattr(operation, name) for name in _OPERATION}
        requests = [asdict(each) for each in operation.requests]
        rows += [{**own, **request} for request in requests or [{}]]
    return rows
