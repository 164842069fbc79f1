# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of reading logs, for a fit and for a validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from freezingtime.option import Option
from freezingtime.trace.readers.hints import HintOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions(HintOptions):
    """Options of reading logs: what these lack."""

    depth: Annotated[
        int | None,
        Option(
            "QD",
            "Queue depth of the logs. Default: as logged, else by Little's law.",
            minimum=1,
            maximum=1 << 20,
        ),
    ] = None
    trace_disk: Annotated[str | None, Option("NAME", "Disk to read from a log of several.")] = None
