# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of a fit: the one list of them, and how a plan is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from freezingtime.calibrate.fit.models import EMPIRICAL, FLASH, MODELS
from freezingtime.calibrate.log_options import LogOptions
from freezingtime.errors import InputError, about
from freezingtime.option import Option
from freezingtime.units import NS_PER_S, parse_time_ns

if TYPE_CHECKING:
    from freezingtime.calibrate.fit.fit import FitPlan
    from freezingtime.calibrate.fit.flash.flash_fit import FlashFitPlan

_HELD_OUT_MOST = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions(LogOptions):
    """Options of a fit, as text that a user writes."""

    model: Annotated[
        str,
        Option(
            "MODEL",
            "`empirical`: quantiles, as measured; `latency`: distributions and servers; `flash`: "
            "an SSD, from a file with its load-latency curve.",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashFitOptions:
    """Options of a fit of the flash model, as text that a user writes."""

    cells: Annotated[
        str, Option("KIND", "With flash: the drive's cells, `slc`, `mlc`, `tlc` or `qlc`.")
    ] = "tlc"
    budget: Annotated[
        str, Option("TIME", "With flash: host time for the search, such as 600s.")
    ] = "600s"
    held_out: Annotated[
        str,
        Option("SHARE", "With flash: share of the points hidden from the search."),
    ] = "0.2"


def make_flash_fit_plan(options: FlashFitOptions, summary: str) -> FlashFitPlan:
    """Make the plan of a fit of the flash model.

    Raises:
        InputError: an option has a value that it cannot have.
    """
    from freezingtime.calibrate.fit.flash.flash_fit import FlashFitPlan
    from freezingtime.calibrate.fit.flash.technology import TECHNOLOGIES

    if options.cells not in TECHNOLOGIES:
        raise InputError(f"--cells {options.cells}: must be one of: {', '.join(TECHNOLOGIES)}")
    with about(f"--budget {options.budget}: "):
        budget_ns = parse_time_ns(options.budget)
    if not budget_ns:
        raise InputError(f"--budget {options.budget}: must be more than 0")
    try:
        held_out = float(options.held_out)
    except ValueError:
        held_out = -1.0
    if not 0 <= held_out <= _HELD_OUT_MOST:
        raise InputError(
            f"--held-out {options.held_out}: must be a share from 0 to {_HELD_OUT_MOST}, "
            "such as 0.2"
        )
    return FlashFitPlan(options.cells, budget_ns / NS_PER_S, held_out, summary)


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
    if name == FLASH:
        raise InputError(
            "--model flash: is fitted to a load-latency curve, not to logs: "
            "freezingtime fit CURVE.toml --model flash"
        )
    if name not in MODELS:
        raise InputError(f"--model {name}: must be one of: {', '.join(MODELS)}")
    return name
