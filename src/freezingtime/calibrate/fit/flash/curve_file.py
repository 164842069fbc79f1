# SPDX-License-Identifier: GPL-2.0-or-later
"""Knowledge of a drive before a fit: its measured curve, and the data sheet's figures.

The file is a device file that need not be complete: ``[measured]`` is its load-latency curve,
``[parameters]`` what is known, ``[published]`` the data sheet's figures. What is not known is
derived from published figures, found by the fit, or assumed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from freezingtime.calibrate.fit.flash.technology import Technology
from freezingtime.calibrate.fit.models import FLASH
from freezingtime.device.flash.parameters import FlashParams
from freezingtime.device.parameters import Table
from freezingtime.device.schema import Bandwidth, Parameters, SizeBytes, key, keys_of
from freezingtime.device.toml.toml_file import read_toml
from freezingtime.errors import InputError
from freezingtime.simulate.load_curve import REQUEST_BYTES, Curve
from freezingtime.units import NS_PER_S, format_time_ns

PROGRAM = "cells.t_program"
_WRITE_BANDWIDTH = "write_bandwidth"
_INTERFACE = "host.bandwidth"
_INTERVAL = "host.t_command_interval"
#: Tables that say where a parameter comes from.
PROVENANCE = ("derived", "fitted", "assumed")
_KEYS = (
    *("summary", "class", "capacity", "model", "parameters", "disk", "durability"),
    *("published", "measured", "sources", "notes", *PROVENANCE),
)
#: What a drive of today has where nothing else is said.
_ASSUMED: Mapping[str, tuple[Any, str]] = {
    "precondition": ("steady", "the curve was measured in the steady state"),
    "array.planes_per_die": (4, "usual"),
    "array.pages_per_block": (1728, "usual; cut with the disk"),
    "array.page": ("16KiB", "usual"),
    "cells.multi_plane": (True, "as drives do for bandwidth"),
    "cells.plane_reads": (True, "usual"),
    "cells.suspensions": (100, "as many as are asked for"),
    "host.t_read": ("2us", "small beside cells.t_read, with which it is fitted"),
    "write_buffer.size": ("16MiB", "plausible"),
    "write_buffer.power_loss_protection": (True, "writes complete in the buffer"),
}


@dataclass(frozen=True, slots=True)
class CurveFile:
    """Knowledge of a drive before a fit."""

    file: str
    content: Mapping[str, Any]
    """The file's content, without a value of what is to be found."""
    curve: Curve
    parameters: Mapping[str, Any]
    """Known and assumed parameters, as nested tables."""
    origins: Mapping[str, tuple[str, str]]
    """By the parameter's path: the provenance table, and the text there."""
    write_bytes_per_s: int | None
    """Published bandwidth of sequential writes, from which programs' time follows."""

    def has(self, path: str) -> bool:
        """Return whether a parameter has its value."""
        return value_at(self.parameters, path) is not None


def read_curve_file(path: Path, technology: Technology) -> CurveFile:
    """Read a file with a measured curve; what it marks as fitted is to be found again.

    Raises:
        InputError: it cannot be read or is not right; the text names file, key and value.
    """
    content = read_toml(path, "file with a measured curve")
    root = Table(content, str(path))
    for name in content:
        if name not in _KEYS:
            raise InputError(
                f"{path}: {name}: unknown key; a curve's file may have {', '.join(_KEYS)}"
            )
    for name in (*PROVENANCE, "published", "parameters", "sources", "notes"):
        root.below(name)  # refuses what is no table
    if content.get("model", FLASH) != FLASH:
        raise root.error("model", f'must be "{FLASH}", or missing')
    if "measured" not in content:
        raise InputError(
            f"{path}: measured: is missing; it must be a table with a load-latency curve"
        )
    root.read(_Disk, beside=_KEYS)
    _check_tables(root.below("parameters"))
    curve = root.below("measured").read(Curve)
    _check_points(path, curve)
    parameters = copy.deepcopy(dict(root.below("parameters").content))
    origins = _origins(content, parameters)
    found_again = [name for name, (table, _) in origins.items() if table == "fitted"]
    if _WRITE_BANDWIDTH in root.below("published") and PROGRAM in content.get("derived", {}):
        found_again.append(PROGRAM)  # which follows from that and what is fitted
    for name in (name for name in dict.fromkeys(found_again) if name in origins):
        _remove(parameters, name)
        del origins[name]
    if value_at(parameters, "array.channels") is None:
        raise InputError(
            f"{path}: parameters.array.channels: is missing; it must be the number of the "
            "controller's buses"
        )
    write_bytes_per_s = _derive(root, parameters, origins)
    assumed = {
        **_ASSUMED,
        "cells.t_erase": (format_time_ns(technology.erase_ns), "usual; of little weight"),
        "cells.pages_per_program": (technology.page_kinds, "one-shot programs"),
    }
    for name, (value, why) in assumed.items():
        if value_at(parameters, name) is None:
            put(parameters, name, value)
            origins[name] = ("assumed", why)
    return CurveFile(str(path), content, curve, parameters, origins, write_bytes_per_s)


class _Disk(Parameters, frozen=True, kw_only=True):
    capacity_bytes: Annotated[SizeBytes, key("the modelled disk's size", least=REQUEST_BYTES)]


def _check_tables(parameters: Table) -> None:
    """Raise InputError if a table of parameters, into which values are put, is none."""
    for declared in keys_of(FlashParams):
        if declared.is_table:
            parameters.below(declared.name)


def _check_points(path: Path, curve: Curve) -> None:
    saturated = [point for point in curve.points if point.saturated]
    if len(saturated) != 1 or len(curve.points) < 2:
        raise InputError(
            f"{path}: measured.point: a fit needs one point with saturated = true, and at "
            "least one below saturation"
        )


def _origins(
    content: Mapping[str, Any], parameters: Mapping[str, Any]
) -> dict[str, tuple[str, str]]:
    """Where each parameter of the file comes from: as it says, or else the data sheet."""
    told = {
        name: (table, str(text))
        for table in PROVENANCE
        for name, text in content.get(table, {}).items()
    }
    origins = {}
    for path in leaves(parameters):
        above = path.split(".")[0]
        origins[path] = told.get(path) or told.get(above) or ("derived", "data sheet")
    return origins


class _Iops(Parameters, frozen=True, kw_only=True):
    value: Annotated[int, key("requests per second", least=1)]


class _BytesPerS(Parameters, frozen=True, kw_only=True):
    value: Annotated[Bandwidth, key("the bandwidth")]


def _published(root: Table, name: str, kind: type[_Iops | _BytesPerS]) -> int | None:
    """A published figure; None if there is none.

    Raises:
        InputError: it is not right.
    """
    table = root.below("published").below(name)
    if not table.content:
        return None
    beside = [other for other in table.content if other != "value"]
    return table.read(kind, beside=beside).value


def _derive(
    root: Table, parameters: dict[str, Any], origins: dict[str, tuple[str, str]]
) -> int | None:
    """Fill in what follows from published figures; return the write bandwidth, if it does.

    Raises:
        InputError: a figure is not right, or the interface's bandwidth is not known.
    """
    read_iops = _published(root, "read_iops", _Iops)
    if read_iops is not None and value_at(parameters, _INTERVAL) is None:
        put(parameters, _INTERVAL, format_time_ns(round(NS_PER_S / read_iops)))
        origins[_INTERVAL] = ("derived", f"data sheet: reads per second, 1 / {read_iops:_}")
    if value_at(parameters, _INTERFACE) is None:
        if _published(root, "read_bandwidth", _BytesPerS) is None:
            raise root.error(
                f"parameters.{_INTERFACE}",
                "is missing; say it, or the published.read_bandwidth from which it follows",
            )
        put(parameters, _INTERFACE, root.content["published"]["read_bandwidth"]["value"])
        origins[_INTERFACE] = ("derived", "data sheet: sequential read bandwidth")
    if value_at(parameters, PROGRAM) is not None:
        return None
    return _published(root, _WRITE_BANDWIDTH, _BytesPerS)


def value_at(parameters: Mapping[str, Any], path: str) -> Any:
    """The value at a path of keys with dots; None if it is not there."""
    value: Any = parameters
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def put(parameters: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a path."""
    *above, name = path.split(".")
    table = parameters
    for part in above:
        table = table.setdefault(part, {})
    table[name] = value


def _remove(parameters: dict[str, Any], path: str) -> None:
    *above, name = path.split(".")
    table: Any = parameters
    for part in above:
        table = table.get(part, {})
    table.pop(name, None)


def leaves(parameters: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The paths of all values."""
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"
