# SPDX-License-Identifier: GPL-2.0-or-later
"""``freezingtime.in_unit``: the times of a data frame in another unit than ns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freezingtime.api.plain_errors import plain_errors
from freezingtime.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

_SUFFIX = "_ns"
_UNITS_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
_TIMEDELTA = "timedelta"


@plain_errors
def in_unit(frame: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Return a data frame with its times, the columns ``..._ns``, in another unit.

    ``unit`` is ``us``, ``ms`` or ``s``, and then the columns' ending (``p99_ns`` becomes
    ``p99_us``); or ``timedelta``: pandas' Timedelta, to the nanosecond, in columns without an
    ending (``p99``). Works for every frame that this package returns; other columns stay.

    Raises:
        InputError: there is no such unit, or the frame has no time in ns.
    """
    if unit not in (*_UNITS_NS, _TIMEDELTA):
        choices = ", ".join((*_UNITS_NS, _TIMEDELTA))
        problem = f"unit={unit!r}: is no unit of time"
        raise InputError(f"{problem}; {did_you_mean(unit, _UNITS_NS)}choose from {choices}")
    times = [name for name in frame.columns if str(name).endswith(_SUFFIX)]
    if not times:
        raise InputError(f"in_unit: the frame has no column that ends with {_SUFFIX}")
    ending = "" if unit == _TIMEDELTA else f"_{unit}"
    names = {name: f"{name.removesuffix(_SUFFIX)}{ending}" for name in times}
    columns = {name: _converted(frame[name], unit) for name in times}
    return frame.assign(**columns).rename(columns=names)


def _converted(times_ns: pd.Series, unit: str) -> pd.Series:
    if unit == _TIMEDELTA:
        import pandas as pd

        return pd.to_timedelta(times_ns, unit="ns")
    return times_ns if unit == "ns" else times_ns / _UNITS_NS[unit]
