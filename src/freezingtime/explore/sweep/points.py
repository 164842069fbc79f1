# SPDX-License-Identifier: GPL-2.0-or-later
"""The points of a sweep: every combination of values, some side by side, some drawn."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from freezingtime.errors import InputError, did_you_mean
from freezingtime.explore.sweep.values import VALUES_MAX, Interval, VariedKey

#: The value of each varied key, as text, in the order in which the keys are given.
Point: TypeAlias = Mapping[str, str]

_SAMPLE = re.compile(r"(sobol|lhs):([1-9][0-9]{0,5})")
_SAMPLE_SEED = 0


def make_points(
    varied: Sequence[VariedKey], zipped: Sequence[str] = (), sample: str | None = None
) -> list[Point]:
    """Return all points, in an order that is always the same.

    ``zipped`` are lists of keys that take their values side by side, ``KEY,KEY``; ``sample`` is
    how intervals are drawn from: ``sobol:64`` (a scrambled Sobol sequence) or ``lhs:64`` (a Latin
    hypercube), always the same for the same number.

    Raises:
        InputError: they do not go together.
    """
    names = [key.name for key in varied]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--set {name}: is given twice; keep one")
    axes: list[list[Point]] = []
    taken: set[str] = set()
    by_name = {key.name: key for key in varied}
    for text in zipped:
        group = _group(text, by_name, taken)
        taken |= set(group)
        columns = [by_name[name].values for name in group]
        axes.append([dict(zip(group, row, strict=True)) for row in zip(*columns, strict=True)])
    intervals = {key.name: key.interval for key in varied if key.interval is not None}
    axes += [_axis(key) for key in varied if key.name not in taken and key.interval is None]
    if intervals or sample is not None:
        axes.append(_drawn(intervals, sample))
    count = 1
    for axis in axes:
        count *= len(axis)
    if count > VALUES_MAX:
        raise InputError(f"--set: these are {count} points; at most {VALUES_MAX} are possible")
    points: list[Point] = []
    for combination in itertools.product(*axes):
        merged = {name: value for part in combination for name, value in part.items()}
        points.append({name: merged[name] for name in names})
    return points


def _axis(key: VariedKey) -> list[Point]:
    repeated = [value for value in key.values if key.values.count(value) > 1]
    if repeated:
        raise InputError(f"--set {key.name}: {repeated[0]} is given twice; keep one")
    return [{key.name: value} for value in key.values]


def _group(text: str, by_name: Mapping[str, VariedKey], taken: set[str]) -> list[str]:
    group = [name.strip() for name in text.split(",")]
    for name in group:
        if name not in by_name:
            hint = did_you_mean(name, by_name)
            raise InputError(f"--zip {text}: {name!r} is not varied; {hint}add --set {name}=...")
        if by_name[name].interval is not None:
            raise InputError(f"--zip {text}: {name} is an interval; list its values")
        if name in taken or group.count(name) > 1:
            raise InputError(f"--zip {text}: {name} is named twice; keep one")
    counts = [len(by_name[name].values) for name in group]
    if len(group) < 2 or len(set(counts)) > 1:
        said = ", ".join(f"{name} has {count}" for name, count in zip(group, counts, strict=True))
        raise InputError(f"--zip {text}: needs two or more keys of equally many values; {said}")
    return group


def _drawn(intervals: Mapping[str, Interval], sample: str | None) -> list[Point]:
    if sample is None:
        name = next(iter(intervals))
        raise InputError(
            f"--set {name}: say how its interval is drawn from: --sample sobol:64 or lhs:64"
        )
    found = _SAMPLE.fullmatch(sample)
    if found is None:
        raise InputError(f"--sample {sample}: write sobol:NUMBER or lhs:NUMBER, such as sobol:64")
    if not intervals:
        raise InputError(f"--sample {sample}: no key has an interval; write KEY=interval(LOW,HIGH)")
    kind, count = found[1], int(found[2])
    if kind == "sobol" and count & (count - 1):
        raise InputError(f"--sample {sample}: a Sobol sequence needs a power of two, such as 64")
    # Imported here: it takes long, and only a sample needs it.
    from scipy.stats import qmc

    make = qmc.Sobol if kind == "sobol" else qmc.LatinHypercube
    shares = make(len(intervals), seed=_SAMPLE_SEED).random(count)
    drawn = [
        tuple(
            interval.at(float(share))
            for interval, share in zip(intervals.values(), row, strict=True)
        )
        for row in shares
    ]
    # Of few whole numbers, some are drawn twice.
    return [dict(zip(intervals, row, strict=True)) for row in dict.fromkeys(drawn)]
