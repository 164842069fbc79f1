# SPDX-License-Identifier: GPL-2.0-or-later
"""The arm's seek time as a function of distance, fitted to a data sheet's three figures.

A short seek is spent accelerating and braking: its time grows with the square root of the
distance. A long one coasts at full speed: its time grows linearly. Ruemmler and Wilkes, "An
Introduction to Disk Drive Modeling", IEEE Computer 27(3), 1994, give real drives in this form,
with the change at 0.20 (HP 97560) and 0.43 (HP C2200A) of the full stroke.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class SeekCurve(NamedTuple):
    """``short_base + short_root * sqrt(d)`` up to ``crossover`` cylinders, then
    ``long_base + long_slope * d``; all in nanoseconds, distance ``d`` in cylinders, 1 or more.
    """

    short_base_ns: float
    short_root_ns: float
    long_base_ns: float
    long_slope_ns: float
    crossover_cylinders: float


def seek_ns(curve: SeekCurve, distance_cylinders: int) -> int:
    """The time of a seek over ``distance_cylinders``, in whole nanoseconds; 0 for no distance."""
    if distance_cylinders == 0:
        return 0
    if distance_cylinders <= curve.crossover_cylinders:
        time_ns = curve.short_base_ns + curve.short_root_ns * math.sqrt(distance_cylinders)
    else:
        time_ns = curve.long_base_ns + curve.long_slope_ns * distance_cylinders
    return int(time_ns + 0.5)


def fit_seek_curve(
    track_to_track_ns: int, average_ns: int, full_stroke_ns: int, cylinders: int, crossover: float
) -> SeekCurve:
    """The continuous curve through track-to-track, average and full-stroke time.

    The average is over all pairs of different cylinders, each as likely, which is how vendors
    define it (Hitachi's Deskstar manuals, "average seek time"). ``crossover`` is where the
    regimes meet, as a part of the full stroke, between 0 and 1. ``cylinders`` is 4 or more.

    Once the crossover is fixed, everything is linear in the root's factor, and so is the mean.

    Raises ValueError if no curve that never falls has that average; the text gives the range.
    """
    stroke = cylinders - 1
    meeting = max(1.5, crossover * stroke)
    mean_without_root, mean_per_root = _mean_coefficients(
        track_to_track_ns, full_stroke_ns, cylinders, meeting
    )
    most_root = (full_stroke_ns - track_to_track_ns) / (math.sqrt(meeting) - 1)
    root = (average_ns - mean_without_root) / mean_per_root
    if not 0 <= root <= most_root:
        most_ns = mean_without_root + mean_per_root * most_root
        raise ValueError(
            f"must be from {math.ceil(mean_without_root) / 1e6:.3f}ms to "
            f"{math.floor(most_ns) / 1e6:.3f}ms for this track_to_track, full_stroke and "
            "seek_crossover"
        )
    return _curve(track_to_track_ns, full_stroke_ns, stroke, meeting, root)


def _curve(
    track_to_track_ns: float, full_stroke_ns: float, stroke: int, meeting: float, root: float
) -> SeekCurve:
    base_ns = track_to_track_ns - root
    meeting_ns = base_ns + root * math.sqrt(meeting)
    slope = (full_stroke_ns - meeting_ns) / (stroke - meeting)
    return SeekCurve(base_ns, root, full_stroke_ns - slope * stroke, slope, meeting)


def _mean_coefficients(
    track_to_track_ns: int, full_stroke_ns: int, cylinders: int, meeting: float
) -> tuple[float, float]:
    """The mean over all pairs as ``first + second * root``."""
    without_root, with_root = (
        _mean_ns(_curve(track_to_track_ns, full_stroke_ns, cylinders - 1, meeting, root), cylinders)
        for root in (0.0, 1000.0)
    )
    return without_root, (with_root - without_root) / 1000.0


def _mean_ns(curve: SeekCurve, cylinders: int) -> float:
    distance: NDArray[np.float64] = np.arange(1, cylinders, dtype=np.float64)
    pairs = cylinders - distance
    time_ns = np.where(
        distance <= curve.crossover_cylinders,
        curve.short_base_ns + curve.short_root_ns * np.sqrt(distance),
        curve.long_base_ns + curve.long_slope_ns * distance,
    )
    return float(np.sum(time_ns * pairs) / np.sum(pairs))
