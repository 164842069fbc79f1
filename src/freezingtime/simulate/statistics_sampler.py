# SPDX-License-Identifier: GPL-2.0-or-later
"""Samples of device statistics over guest time, in a run or a replay, of bounded number.

A device's statistics (:func:`~freezingtime.device.base.statistics_of`) are mostly counters: a
reader takes differences. Samples are taken as requests complete, so that there are none of
times in which nothing happens.
"""

from __future__ import annotations

from collections.abc import Mapping

from freezingtime.device.base import Device, statistics_of
from freezingtime.trace.record_file import StatisticsRow

#: At most so many samples of a device are kept; then every other one goes.
SAMPLES_MAX = 512
_FIRST_PERIOD_NS = 1_000_000


class StatisticsSampler:
    """Takes samples of some devices, by name. In the thread that drives them."""

    def __init__(self, devices: Mapping[str, Device]) -> None:
        self._devices = {name: device for name, device in devices.items() if statistics_of(device)}
        self._period_ns = _FIRST_PERIOD_NS
        self._due_ns = 0
        self._samples: list[tuple[int, dict[str, dict[str, float]]]] = []

    @property
    def is_of_use(self) -> bool:
        """Return whether a device has statistics."""
        return bool(self._devices)

    def note(self, now_ns: int) -> None:
        """Take a sample if it is time to; costs next to nothing if not."""
        if now_ns < self._due_ns or not self._devices:
            return
        self._take(now_ns)
        if len(self._samples) >= SAMPLES_MAX:
            self._samples = self._samples[::2]
            self._period_ns *= 2
        self._due_ns = now_ns + self._period_ns

    def finish(self, now_ns: int) -> None:
        """Take the last sample, once nothing drives the devices any more."""
        if not self._devices:
            return
        if self._samples and self._samples[-1][0] == now_ns:
            self._samples.pop()
        self._take(now_ns)

    def totals(self) -> dict[str, dict[str, float]]:
        """Latest statistics of each device that has any."""
        return dict(self._samples[-1][1]) if self._samples else {}

    def rows(self) -> list[StatisticsRow]:
        """All samples."""
        return [
            (device, now_ns, name, value)
            for now_ns, by_device in self._samples
            for device, values in by_device.items()
            for name, value in values.items()
        ]

    def _take(self, now_ns: int) -> None:
        self._samples.append(
            (now_ns, {name: statistics_of(device) for name, device in self._devices.items()})
        )


#: For a device of which nobody wants samples.
NO_SAMPLES = StatisticsSampler({})
