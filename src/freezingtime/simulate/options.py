# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of a replay: the one list of them, and the source that is made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from freezingtime.errors import InputError
from freezingtime.option import Option, Values, flag_of, list_options
from freezingtime.trace.readers.format_names import FORMAT_NAMES
from freezingtime.trace.readers.hints import HintOptions, parse_hints

if TYPE_CHECKING:
    from freezingtime.simulate.replay import TraceSource
    from freezingtime.simulate.workload import Workload

#: The largest queue depth, of the host and of a device.
QUEUE_DEPTH_MAX = 1 << 16

_FACTOR = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
#: What a workload has in place of a trace's options.
_CURES = {"closed_loop": "write qd= in the workload", "speed_up": "change rate= in the workload"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions(HintOptions):
    """Options of reading and replaying a trace."""

    closed_loop: Annotated[
        int | None,
        Option(
            "QD",
            "Keep QD requests in flight instead of using the trace's arrival times.",
            minimum=1,
            maximum=QUEUE_DEPTH_MAX,
        ),
    ] = None
    speed_up: Annotated[
        str | int | Fraction | None,
        Option("FACTOR", "Divide arrival times by this, such as `10` or `0.5`."),
    ] = None
    format: Annotated[
        str | None,
        Option(
            "FORMAT",
            f"Trace format: {', '.join(FORMAT_NAMES)}, or `csv:HEADER` for CSV "
            "without a header line. Default: detected.",
            values=Values.TRACE_FORMAT,
        ),
    ] = None
    trace_disk: Annotated[str | None, Option("NAME", "Disk to replay from a trace of several.")] = (
        None
    )


def trace_source(path: Path, options: ReplayOptions) -> TraceSource:
    """Return the trace of a file, to be replayed with these options.

    Raises:
        InputError: an option has a value that it cannot have.
    """
    from freezingtime.simulate.replay import TraceSource

    return TraceSource(
        path,
        options.format,
        options.trace_disk,
        options.closed_loop,
        _speed_up(options),
        parse_hints(options),
    )


def workload_source(text: str, options: ReplayOptions) -> Workload:
    """Return the workload of a line.

    Raises:
        InputError: it is none, or one of the options is given: they are for traces.
    """
    from freezingtime.simulate.workload import parse_workload

    for name, option in list_options(ReplayOptions).items():
        if (value := getattr(options, name)) is not None:
            raise InputError(
                f"{flag_of(name, option.declared)} {value}: cannot be combined with a workload; "
                f"{_CURES.get(name, 'is for traces')}"
            )
    return parse_workload(text)


def _speed_up(options: ReplayOptions) -> Fraction:
    given = options.speed_up
    if given is None:
        return Fraction(1)
    if options.closed_loop is not None:
        raise InputError(f"--speed-up {given}: a closed loop has no arrival times; leave one out")
    factor = Fraction(given) if not isinstance(given, str) or _FACTOR.fullmatch(given) else 0
    if not Fraction(1, 10**6) <= factor < 10**6:
        raise InputError(
            f"--speed-up {given}: must be a number from 0.000001 to 999999, such as 10 or 0.5"
        )
    return Fraction(factor)
