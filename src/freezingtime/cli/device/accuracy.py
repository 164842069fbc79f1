# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime accuracy`: models against the measured load-latency curves of real drives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from freezingtime.cli.device.curves.curve_table import print_curve
from freezingtime.cli.options import AllowCodeOption, JsonOption, SeedOption, command_app
from freezingtime.cli.output.json_stream import print_json
from freezingtime.errors import InputError
from freezingtime.host.foreign_text import show
from freezingtime.option import Argument, Values

if TYPE_CHECKING:
    from freezingtime.device.description import Description
    from freezingtime.simulate.load_curve import Curve, FigureComparison


def accuracy_command(
    names: Annotated[
        Sequence[str],
        Argument(
            "NAME",
            "Devices with a measured curve. Default: all such entries of the catalogue.",
            Values.DEVICE,
        ),
    ] = (),
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    allow_code: AllowCodeOption = False,
) -> int:
    """Compare models with measured load-latency curves of the real drives.

    Each row is a load; each cell has the prediction, the measurement and the difference.
    An exclamation mark flags differences beyond the aim: 15 % for medians and
    saturation, 40 % for 99th percentiles.
    """
    from freezingtime.cli.device.replay_progress import ReplayProgress
    from freezingtime.simulate.load_curve import compare

    curves = _curves(names)
    documents = []
    with ReplayProgress(quiet=False) as progress:
        for number, (description, curve) in enumerate(curves):
            comparisons = []
            for comparison in compare(description, curve, seed=seed):
                comparisons.append(comparison)
                done = curve.points.index(comparison.point) / len(curve.points) + number
                progress(description.name, round(100 * done), 100 * len(curves))
            if as_json:
                documents.append(_document(description, comparisons))
            else:
                _show(description, curve, comparisons)
    if as_json:
        print_json(documents)
    return 0


def _curves(names: Sequence[str]) -> list[tuple[Description, Curve]]:
    from freezingtime.device.catalogue_search import catalogue_names
    from freezingtime.device.registry import describe
    from freezingtime.simulate.load_curve import measured_curve

    curves = []
    for name in names or catalogue_names():
        description = describe(name)
        curve = measured_curve(description)
        if curve is not None:
            curves.append((description, curve))
        elif names:
            raise InputError(f"{name}: has no [measured] curve")
    return curves


def _show(description: Description, curve: Curve, comparisons: list[FigureComparison]) -> None:
    from freezingtime.simulate.load_curve import AIMS

    show(f"{description.name}: {description.summary}")
    show(f"measured [{curve.source}]: {curve.condition}")
    show("Cells are predicted/measured, us; ! is beyond the aim")
    print_curve(curve.points, comparisons)
    aimed = [comparison for comparison in comparisons if comparison.figure in AIMS]
    missed = [comparison for comparison in aimed if comparison.missed]
    show(f"{len(aimed) - len(missed)} of {len(aimed)} figures within the aim")
    show()


def _document(description: Description, comparisons: list[FigureComparison]) -> dict[str, Any]:
    from freezingtime.simulate.load_curve import AIMS

    return {
        "device": description.name,
        "figures": [
            {
                "iops": comparison.point.iops,
                "saturated": comparison.point.saturated,
                "figure": comparison.figure,
                "measured": comparison.measured,
                "predicted": comparison.predicted,
                "difference": comparison.difference,
                "aim": AIMS.get(comparison.figure),
                "missed": comparison.missed,
            }
            for comparison in comparisons
        ],
    }


app = command_app(accuracy_command)
