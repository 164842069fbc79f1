# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime fit --model flash`: from a load-latency curve to a device file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezingtime.cli.device.curves.curve_table import print_curve
from freezingtime.cli.output.json_stream import print_json
from freezingtime.errors import InputError
from freezingtime.host.foreign_text import show

if TYPE_CHECKING:
    from freezingtime.calibrate.fit.flash.flash_fit import FlashFit, FlashFitPlan
    from freezingtime.calibrate.fit.flash.sensitivity import Sensitivity

_SENSITIVITY_HEADER = ("parameter", "known to", "identifiable", "most visible in", "per +1 %")


def fit_flash_command(
    curves: Sequence[Path],
    out: Path,
    plan: FlashFitPlan,
    *,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Fit the flash model to the curve of one file; print and write what was found."""
    from freezingtime.calibrate.fit.fit import check_out
    from freezingtime.calibrate.fit.flash.flash_fit import fit_flash
    from freezingtime.cli.device.replay_progress import ReplayProgress

    if len(curves) != 1:
        raise InputError("--model flash: takes one file with a load-latency curve")
    check_out(out, curves)
    with ReplayProgress(quiet=quiet) as progress:
        fitted = fit_flash(curves[0], plan, seed=seed, progress=progress)
        if fitted.found.is_cut:
            progress.notify(
                "the search was cut short by --budget; another run may find another drive"
            )
    fitted.write(out)
    if as_json:
        print_json(_document(fitted, out))
    else:
        _show(fitted, out)
    return 0


def _show(fitted: FlashFit, out: Path) -> None:
    from freezingtime.cli.output.columns import print_columns

    held_out = fitted.held_out
    show(f"{fitted.content['summary']}")
    show("Cells are predicted/measured, us; ! is beyond the aim; * was held out")
    print_curve(
        list(dict.fromkeys(figure.point for figure in fitted.figures)), fitted.figures, held_out
    )
    within, total = fitted.within_aims(held_out=False)
    show(f"{within} of {total} fitted figures within the aim")
    if held_out:
        within, total = fitted.within_aims(held_out=True)
        show(f"{within} of {total} held-out figures within the aim")
    else:
        show("no point was held out")
    show()
    if fitted.sensitivities:
        rows = [_SENSITIVITY_HEADER, *map(_row, fitted.sensitivities)]
        print_columns(rows)
    else:
        show("how well parameters are known was not found out: the budget was used up")
    show(f"wrote {out}")


def _row(sensitivity: Sensitivity) -> tuple[str, ...]:
    told = "yes" if sensitivity.is_identifiable else "no"
    if not sensitivity.is_identifiable and sensitivity.confounded_with:
        told = f"no: goes with {sensitivity.confounded_with}"
    return (
        sensitivity.name,
        f"+-{sensitivity.uncertainty:.1%}",
        told,
        sensitivity.strongest,
        f"{sensitivity.slope:+.2f} %",
    )


def _document(fitted: FlashFit, out: Path) -> dict[str, Any]:
    from freezingtime.simulate.load_curve import AIMS

    return {
        "device": str(out),
        "model": "flash",
        "parameters": fitted.content["parameters"],
        "values": dict(fitted.values),
        "evaluations": fitted.found.evaluations,
        "cut_short": fitted.found.is_cut,
        "figures": [
            {
                "iops": figure.point.iops,
                "saturated": figure.point.saturated,
                "held_out": figure.point in fitted.held_out,
                "figure": figure.figure,
                "measured": figure.measured,
                "predicted": figure.predicted,
                "difference": figure.difference,
                "aim": AIMS.get(figure.figure),
                "missed": figure.missed,
            }
            for figure in fitted.figures
        ],
        "sensitivities": [
            {
                "parameter": sensitivity.name,
                "uncertainty": sensitivity.uncertainty,
                "identifiable": sensitivity.is_identifiable,
                "confounded_with": sensitivity.confounded_with or None,
                "strongest": sensitivity.strongest,
                "slope": sensitivity.slope,
            }
            for sensitivity in fitted.sensitivities
        ],
    }
