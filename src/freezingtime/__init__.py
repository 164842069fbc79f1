# SPDX-License-Identifier: GPL-2.0-or-later
"""Freezing Time: a storage device emulator that is exact in guest time.

::

    import freezingtime as ft

    result = ft.run(disks=[ft.Disk("intel-optane-p5800x-1.6tb")], job="fio ...")
    result.summary

The names in ``__all__`` are stable; docs/reference/python has them. Nothing of it is imported
before it is used, so that the command line starts no slower.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freezingtime.api.catalogue import devices
    from freezingtime.api.comparison import Comparison, compare
    from freezingtime.api.crashes import CrashResult, crash
    from freezingtime.api.fitting import FittedDevice, ValidationResult, fit, measure, validate
    from freezingtime.api.replays import replay
    from freezingtime.api.result import Result, open_run
    from freezingtime.api.runs import run, tune
    from freezingtime.api.sweeps import SweepResult, open_sweep, sweep
    from freezingtime.api.time_units import in_unit
    from freezingtime.device.own_model import allow_code
    from freezingtime.disk.disk import Disk
    from freezingtime.errors import (
        FreezingTimeError,
        GuestError,
        InputError,
        RunError,
        TimeLimitError,
    )
    from freezingtime.runs.tuning.messages import Tuned

_NAMES = {
    "freezingtime._version": ["__version__"],
    "freezingtime.api.catalogue": ["devices"],
    "freezingtime.api.comparison": ["Comparison", "compare"],
    "freezingtime.api.crashes": ["CrashResult", "crash"],
    "freezingtime.api.fitting": ["FittedDevice", "ValidationResult", "fit", "measure", "validate"],
    "freezingtime.api.replays": ["replay"],
    "freezingtime.api.result": ["Result", "open_run"],
    "freezingtime.api.runs": ["run", "tune"],
    "freezingtime.api.sweeps": ["SweepResult", "open_sweep", "sweep"],
    "freezingtime.api.time_units": ["in_unit"],
    "freezingtime.runs.tuning.messages": ["Tuned"],
    "freezingtime.device.own_model": ["allow_code"],
    "freezingtime.disk.disk": ["Disk"],
    "freezingtime.errors": [
        *("FreezingTimeError", "GuestError", "InputError", "RunError", "TimeLimitError"),
    ],
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "Comparison",
    "CrashResult",
    "Disk",
    "FittedDevice",
    "FreezingTimeError",
    "GuestError",
    "InputError",
    "Result",
    "RunError",
    "SweepResult",
    "TimeLimitError",
    "Tuned",
    "ValidationResult",
    "allow_code",
    "compare",
    "crash",
    "devices",
    "fit",
    "in_unit",
    "measure",
    "open_run",
    "open_sweep",
    "replay",
    "run",
    "sweep",
    "tune",
    "validate",
]


def __getattr__(name: str) -> Any:
    """A name of the interface, imported when first asked for (PEP 562)."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
