# SPDX-License-Identifier: GPL-2.0-or-later
"""The list of devices: which ones, in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freezingtime.cli.output.columns import print_columns
from freezingtime.cli.output.json_stream import print_json
from freezingtime.device.catalogue_search import catalogue_names
from freezingtime.device.description import Description
from freezingtime.device.registry import describe, is_device, search_catalogue
from freezingtime.errors import InputError, did_you_mean
from freezingtime.units import format_size_bytes, format_time_ns, parse_option, parse_size_bytes

if TYPE_CHECKING:
    from freezingtime.results.latency_summary import LatencySummary

_HEADER = ("name", "class", "model", "capacity", "summary")
_LATENCIES = {"mean": "mean_ns", "p50": "p50_ns", "p99": "p99_ns", "p99.9": "p99_9_ns"}
_KEYS = ("name", "class", "capacity", *_LATENCIES)
_NONE = "-"


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions and order of a list of devices; false where nothing is said."""

    device_class: str | None = None
    min_capacity_bytes: int | None = None
    sort: str | None = None

    @classmethod
    def parse(
        cls, device_class: str | None, min_capacity: str | None, sort: str | None
    ) -> Selection:
        """Read what the user has written.

        Raises:
            InputError: a value is not one that there is.
        """
        if sort is not None and sort not in _KEYS:
            suggestion = did_you_mean(sort, _KEYS)
            raise InputError(f"--sort {sort}: {suggestion}available: {', '.join(_KEYS)}")
        least_bytes = None
        if min_capacity is not None:
            least_bytes = parse_option("--min-capacity", min_capacity, parse_size_bytes)
        return cls(device_class, least_bytes, sort)

    def __bool__(self) -> bool:
        return self != Selection()

    def of(self, devices: Iterable[Description]) -> list[Description]:
        """Return those of the devices that are selected."""
        least_bytes = self.min_capacity_bytes
        return [
            device
            for device in devices
            if self.device_class in (None, device.device_class)
            and (least_bytes is None or (device.capacity_bytes or 0) >= least_bytes)
        ]


def list_devices(patterns: Sequence[str], selection: Selection, *, as_json: bool) -> None:
    """List the catalogue, or devices and what patterns match of it, as far as selected.

    Raises:
        InputError: nothing matches a pattern, or no device is of the class.
    """
    devices = [found for text in patterns for found in _find(text)]
    if not patterns:
        devices = list(map(describe, catalogue_names()))
    _check_class(selection.device_class, devices)
    devices = selection.of({device.name: device for device in devices}.values())
    if not devices:
        raise InputError("no device is of that class and capacity; 'freezingtime devices' has all")
    latencies = _latencies(devices) if selection.sort in _LATENCIES else {}
    if selection.sort is not None:
        devices.sort(key=lambda device: _sort_key(device, selection.sort or "", latencies))
    if as_json:
        print_json([_document(device, latencies) for device in devices])
        return
    *head, summary = _HEADER
    header = (*head, *(_LATENCIES if latencies else ()), summary)
    print_columns([header, *(_row(device, latencies) for device in devices)])


def capacity_cell(device: Description) -> str:
    """The capacity as a table shows it."""
    size_bytes = device.capacity_bytes
    return _NONE if size_bytes is None else format_size_bytes(size_bytes)


def _find(text: str) -> list[Description]:
    return [describe(text)] if is_device(text) else search_catalogue(text)


def _check_class(wanted: str | None, devices: Iterable[Description]) -> None:
    known = sorted({device.device_class for device in devices})
    if wanted is not None and wanted not in known:
        suggestion = did_you_mean(wanted, known)
        raise InputError(
            f"--class {wanted}: no such device; {suggestion}available: {', '.join(known)}"
        )


def _latencies(devices: Iterable[Description]) -> dict[str, LatencySummary]:
    """Simulate each device; there is nothing of one that does not take random reads."""
    # Simulations take long to import, and most lists need none.
    from freezingtime.cli.device.replay_progress import ReplayProgress
    from freezingtime.predict.read_latency import read_latency

    devices, latencies = list(devices), {}
    with ReplayProgress(quiet=False) as progress:
        for number, device in enumerate(devices):
            progress(f"simulating {device.name}", number, len(devices))
            summary = read_latency(device)
            if summary is not None:
                latencies[device.name] = summary
    return latencies


def _sort_key(
    device: Description, key: str, latencies: dict[str, LatencySummary]
) -> tuple[bool, Any, str]:
    """What has no value is last."""
    value: Any = {
        "name": device.name,
        "class": device.device_class,
        "capacity": device.capacity_bytes,
    }.get(key)
    if key in _LATENCIES and device.name in latencies:
        value = getattr(latencies[device.name], _LATENCIES[key])
    return (value is None, value, device.name)


def _row(device: Description, latencies: dict[str, LatencySummary]) -> tuple[str, ...]:
    shown: tuple[str, ...] = ()
    if latencies:
        shown = tuple(
            format_time_ns(round(getattr(latencies[device.name], field)))
            if device.name in latencies
            else _NONE
            for field in _LATENCIES.values()
        )
    model = device.content.get("model", _NONE)
    return (
        *(device.name, device.device_class, model, capacity_cell(device)),
        *(*shown, device.summary),
    )


def _document(device: Description, latencies: dict[str, LatencySummary]) -> dict[str, Any]:
    summary = latencies.get(device.name)
    if summary is None:
        return device.headline()
    figures = {field: getattr(summary, field) for field in _LATENCIES.values()}
    return device.headline() | {"read_latency": figures}
