# SPDX-License-Identifier: GPL-2.0-or-later
"""Filling an SSD from its beginning to its end: the write rate before and after the cliff.

What was published of it stands in a description's ``[cliff]``::

    [cliff]
    cached_bandwidth = "4GB/s"          # while the SLC cache takes all
    cache = "341GB"                     # written until it is full
    after_cache_bandwidth = "450MB/s"   # right behind the cliff
    fill_bandwidth = "596MB/s"          # mean over the whole disk
    source = "TPU"                      # a key of [sources]
    condition = "sequential writes of 1 MB, erased drive"

A prediction is a simulation of the model itself, which writes all of a disk in order as fast as
it goes. It is one of at most :data:`SIMULATED_BYTES` with all dies and channels of the drive: the
flash is cut to the disk, and shares of the disk keep their meaning. Its mapping units are pages.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from msgspec import field
from numpy.typing import NDArray

from freezingtime.device.description import Description
from freezingtime.device.flash import FlashDevice, FlashParams
from freezingtime.device.parameters import Table
from freezingtime.device.registry import from_content
from freezingtime.device.schema import Bandwidth, Parameters, SizeBytes, key
from freezingtime.request import Operation
from freezingtime.units import NS_PER_S, format_size_bytes

#: The largest disk that is simulated.
SIMULATED_BYTES = 64 << 30
#: How far a prediction may be from what is published.
AIMS = {
    "cached_bandwidth": 0.10,
    "cache": 0.10,
    "after_cache_bandwidth": 0.15,
    "fill_bandwidth": 0.15,
}

_WRITE_BYTES = 1 << 20
_UNIT_BYTES_MAX = 32 * 1024
#: Rates are means over windows, of which a disk has so many: fewer if it is small beside the
#: write buffer, which takes the first part of each disk at the host's speed.
_WINDOWS_MAX = 512
_WINDOWS_MIN = 16
_BUFFERS_PER_WINDOW = 2
#: The cache is full when the rate has fallen below this share of what it was.
_CLIFF_SHARE = 0.85
#: The rate behind the cliff is the mean over this share of the disk.
_AFTER_SHARE = 24 / 512


@dataclass(frozen=True, slots=True)
class FillCurve:
    """The rate at which a disk is written, from its beginning to its end."""

    written_bytes: NDArray[np.float64]
    """Where each window ends."""
    bytes_per_s: NDArray[np.float64]
    """The mean rate in each window."""

    @property
    def cliff_window(self) -> int | None:
        """The first window in which the cache is full; None if the rate never falls for long."""
        slow_bytes_per_s = _CLIFF_SHARE * self.cached_bytes_per_s
        for window in map(int, np.flatnonzero(self.bytes_per_s < slow_bytes_per_s)):
            if self._behind(window) < slow_bytes_per_s:
                return window
        return None

    def _behind(self, window: int) -> float:
        """The mean rate right behind a window."""
        count = max(1, round(_AFTER_SHARE * self.bytes_per_s.size))
        behind = self.bytes_per_s[window + 1 : window + 1 + count]
        behind = behind if behind.size else self.bytes_per_s[window:]
        return float(behind.size / np.sum(1 / behind))

    @property
    def cached_bytes_per_s(self) -> float:
        """The rate at the beginning."""
        return float(self.bytes_per_s[1])

    @property
    def cache_bytes(self) -> float | None:
        """Bytes written until the cache is full; inside a window, as far as its rate says."""
        window = self.cliff_window
        if window is None:
            return None
        width_bytes = float(self.written_bytes[0])
        after = self._behind(window)
        ns_per_byte, before, behind = (
            1 / rate for rate in (self.bytes_per_s[window], self.cached_bytes_per_s, after)
        )
        share = min(1.0, max(0.0, (behind - ns_per_byte) / (behind - before)))
        return (window + share) * width_bytes

    @property
    def after_cache_bytes_per_s(self) -> float | None:
        """The mean rate right behind the cliff; None if there is none."""
        window = self.cliff_window
        return None if window is None else self._behind(window)

    @property
    def fill_bytes_per_s(self) -> float:
        """The mean rate over the whole disk."""
        return float(self.bytes_per_s.size / np.sum(1 / self.bytes_per_s))


@dataclass(frozen=True, slots=True)
class FillFigure:
    """One figure: bytes, or bytes per second. ``predicted`` is None where there is no cliff."""

    name: str
    predicted: float | None
    published: int | None
    exception: str

    @property
    def difference(self) -> float | None:
        """Predicted over published, less 1."""
        if self.published is None or self.predicted is None:
            return None
        return self.predicted / self.published - 1

    @property
    def holds(self) -> bool:
        """Whether the prediction is within the aim of what is published, if anything is."""
        if self.published is None:
            return True
        return self.difference is not None and abs(self.difference) <= AIMS[self.name]


@dataclass(frozen=True, slots=True)
class Fill:
    """The curves of an SSD with an SLC cache, and figures taken from them."""

    fresh: FillCurve
    full: FillCurve
    """Written once in order, then at rest until the cache was folded, and now overwritten."""
    figures: list[FillFigure]
    source: str | None
    condition: str


class ExceptionTable(Parameters, frozen=True, kw_only=True):
    """Reasons why predictions deviate."""

    cached_bandwidth: Annotated[str, key("reason")] = ""
    cache: Annotated[str, key("reason")] = ""
    after_cache_bandwidth: Annotated[str, key("reason")] = ""
    fill_bandwidth: Annotated[str, key("reason")] = ""


class CliffTable(Parameters, frozen=True, kw_only=True):
    """Declaration of what was published of writing a whole disk."""

    cached_bandwidth: Annotated[Bandwidth, key("rate into the SLC cache")] | None = None
    cache: Annotated[SizeBytes, key("written until it is full", least=512)] | None = None
    after_cache_bandwidth: Annotated[Bandwidth, key("rate right behind the cliff")] | None = None
    fill_bandwidth: Annotated[Bandwidth, key("mean rate over the whole disk")] | None = None
    source: Annotated[str, key("a key of `[sources]`")]
    condition: Annotated[str, key("conditions of the measurement")] = ""
    exceptions: Annotated[ExceptionTable, key("by figure: why a prediction deviates")] = field(
        default=ExceptionTable(), name="exception"
    )


def published_cliff(description: Description) -> CliffTable | None:
    """Return what a description says was published of writing the whole disk.

    Raises:
        InputError: it is not right; the text names file, key and value.
    """
    root = Table(description.content, f"{description.name}.toml")
    if "cliff" not in root:
        return None
    return root.below("cliff").read(CliffTable)


def has_slc_cache(description: Description) -> bool:
    """Whether a device is an SSD with an SLC cache."""
    content = description.content
    cache = content.get("parameters", {}).get("slc_cache", {})
    shares = (cache.get("share", 0), cache.get("dynamic_share", 0))
    return content.get("model") == "flash" and any(shares)


def predict_fill(description: Description, *, seed: int = 0) -> Fill | None:
    """Fill an SSD with an SLC cache; None for others, and disks hardly larger than a buffer.

    Raises:
        InputError: the device cannot be built, or its ``[cliff]`` is not right.
    """
    published = published_cliff(description)
    if not has_slc_cache(description) or _window_count(description) < _WINDOWS_MIN:
        return None
    fresh = fill_curve(description, "fresh", seed=seed)
    values = {
        "cached_bandwidth": fresh.cached_bytes_per_s,
        "cache": fresh.cache_bytes,
        "after_cache_bandwidth": fresh.after_cache_bytes_per_s,
        "fill_bandwidth": fresh.fill_bytes_per_s,
    }
    exceptions = ExceptionTable() if published is None else published.exceptions
    figures = [
        FillFigure(name, value, getattr(published, name, None), getattr(exceptions, name))
        for name, value in values.items()
    ]
    return Fill(
        fresh,
        fill_curve(description, "sequential", seed=seed),
        figures,
        published.source if published else None,
        published.condition if published else "",
    )


def fill_curve(
    description: Description, precondition: str, *, seed: int = 0, most_bytes: int = SIMULATED_BYTES
) -> FillCurve:
    """Write an SSD of ``precondition`` in order, as fast as it goes.

    Raises:
        InputError: the device cannot be built.
    """
    capacity_bytes = description.capacity_bytes
    assert capacity_bytes is not None
    content: dict[str, Any] = copy.deepcopy(description.content)
    parameters = content["parameters"]
    parameters["precondition"] = precondition
    mapping = parameters.setdefault("mapping", {})
    mapping.pop("cache", None)
    mapping["unit"] = format_size_bytes(_unit_bytes(description))
    coarse = from_content(content, f"{description.name}.toml", description.name)
    windows = _window_count(description)
    window_writes = max(1, min(capacity_bytes, most_bytes) // _WRITE_BYTES // windows)
    writes = window_writes * windows
    device = coarse.build(seed, writes * _WRITE_BYTES)
    same = np.ones(writes, np.int64)
    offsets_bytes = np.arange(writes, dtype=np.int64) * _WRITE_BYTES
    assert isinstance(device, FlashDevice)
    completions_ns = device.complete_all(
        same * 0, same * Operation.WRITE, offsets_bytes, same * _WRITE_BYTES
    )
    ends_ns = np.sort(completions_ns)[window_writes - 1 :: window_writes]
    durations_ns = np.diff(ends_ns, prepend=0).astype(np.float64)
    scale = capacity_bytes / (writes * _WRITE_BYTES)
    window_bytes = window_writes * _WRITE_BYTES
    return FillCurve(
        np.arange(1, windows + 1, dtype=np.float64) * (window_bytes * scale),
        window_bytes * NS_PER_S / durations_ns,
    )


def _window_count(description: Description) -> int:
    """How many windows a disk has, each of which holds the write buffer more than once."""
    buffer_bytes = _flash(description).write_buffer.write_buffer_bytes
    window_bytes = max(_WRITE_BYTES, _BUFFERS_PER_WINDOW * buffer_bytes)
    simulated_bytes = min(description.capacity_bytes or 0, SIMULATED_BYTES)
    return min(_WINDOWS_MAX, simulated_bytes // window_bytes)


def _flash(description: Description) -> FlashParams:
    table = Table(description.content["parameters"], f"{description.name}.toml")
    return table.read(FlashParams)


def _unit_bytes(description: Description) -> int:
    """A mapping unit as large as it can be: a page, if that is a power of two."""
    page_bytes = _flash(description).array.page_bytes
    unit_bytes = page_bytes & -page_bytes
    return min(unit_bytes, _UNIT_BYTES_MAX)
