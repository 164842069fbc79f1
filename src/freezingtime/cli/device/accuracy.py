# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime accuracy`: models against the measured load-latency curves of real drives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from freezingtime.cli.options import AllowCodeOption, JsonOption, SeedOption, command_app
from freezingtime.cli.output.json_stream import print_json
from freezingtime.errors import InputError
from freezingtime.host.foreign_text import show
from freezingtime.option import Argument, Values

if TYPE_CHECKING:
    from freezingtime.device.description import Description
    from freezingtime.predict.load_curve import Curve, FigureComparison, Point

_MISS = "!"
_NS_PER_US = 1000


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
    from freezingtime.predict.load_curve import compare

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
    from freezingtime.predict.load_curve import measured_curve

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
    from freezingtime.cli.output.columns import print_columns
    from freezingtime.predict.load_curve import AIMS, PERCENTILES

    show(f"{description.name}: {description.summary}")
    show(f"measured [{curve.source}]: {curve.condition}")
    show("Cells are predicted/measured, us; ! is beyond the aim")
    header = ("requests/s", *map(_title, PERCENTILES))
    print_columns([header, *(_row(point, comparisons) for point in curve.points)])
    aimed = [comparison for comparison in comparisons if comparison.figure in AIMS]
    missed = [comparison for comparison in aimed if comparison.missed]
    show(f"{len(aimed) - len(missed)} of {len(aimed)} figures within the aim")
    show()


def _title(figure: str) -> str:
    """Such as "read p99.9", of ``read_p99_9``."""
    return figure.replace("_", " ", 1).replace("_", ".")


def _row(point: Point, comparisons: list[FigureComparison]) -> tuple[str, ...]:
    from freezingtime.predict.load_curve import PERCENTILES, SATURATION

    of_point = {c.figure: c for c in comparisons if c.point is point}
    load = f"{point.iops:,}"
    if point.saturated:
        saturation = of_point[SATURATION]
        load = f"{saturation.predicted:,.0f}/{load} {_mark(saturation)}"
    return (load, *(_cell(of_point[figure]) for figure in PERCENTILES))


def _cell(comparison: FigureComparison) -> str:
    predicted_us = comparison.predicted / _NS_PER_US
    measured_us = comparison.measured / _NS_PER_US
    return f"{predicted_us:.0f}/{measured_us:.0f} {_mark(comparison)}"


def _mark(comparison: FigureComparison) -> str:
    return f"{comparison.difference:+.0%}{_MISS if comparison.missed else ''}"


def _document(description: Description, comparisons: list[FigureComparison]) -> dict[str, Any]:
    from freezingtime.predict.load_curve import AIMS

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
