# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of a fit: the one list of them, and how a plan is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from freezingtime.calibrate.fit.models import EMPIRICAL, MODELS
from freezingtime.calibrate.log_options import LogOptions
from freezingtime.errors import InputError
from freezingtime.option import Option

if TYPE_CHECKING:
    from freezingtime.calibrate.fit.fit import FitPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions(LogOptions):
    """Options of a fit, as text that a user writes."""

    model: Annotated[
        str,
        Option(
            "MODEL", "`empirical`: quantiles, as measured; `latency`: distributions and servers."
        ),
    ] = EMPIRICAL
    missing: Annotated[
        Sequence[str],
        Option(
            "OPERATION=TIME",
            "Service time of an operation missing from the logs: `write=20us`, `write=read`. "
            "Repeatable.",
        ),
    ] = ()
    correlation: Annotated[bool, Option("", "Cluster slow requests as in the log.")] = True
    summary: Annotated[str, Option("TEXT", "One-line description of the device.")] = ""


def make_fit_plan(options: FitOptions) -> FitPlan:
    """Make the plan of a fit.

    Raises:
        InputError: an option has a value that it cannot have.
    """
    from freezingtime.calibrate.fit.fit import FitPlan, parse_missing

    missing = parse_missing(options.missing)
    return FitPlan(checked_model(options.model), missing, options.correlation, options.summary)


def checked_model(name: str) -> str:
    """Return the name of a model that can be fitted.

    Raises:
        InputError: it is none.
    """
    if name not in MODELS:
        raise InputError(f"--model {name}: must be one of: {', '.join(MODELS)}")
    return name
