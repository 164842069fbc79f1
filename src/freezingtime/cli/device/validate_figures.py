# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of a validation: distributions, errors by request, and the measurement's drift."""

from __future__ import annotations

from pathlib import Path

from freezingtime.calibrate.halves import COURSE_BLOCKS
from freezingtime.calibrate.validate.validate import Validation
from freezingtime.report.figures.sample_figures import (
    SamplePanel,
    draw_course,
    draw_distributions,
    draw_error_distributions,
    draw_errors,
    draw_quantiles,
)

FIGURES_OPTION = "--figures"


def draw_validation(validation: Validation, directory: Path) -> None:
    """Draw all figures into an existing directory.

    Raises:
        InputError: one cannot be written.
    """
    panels = [
        SamplePanel(
            found.cell.name,
            found.held_out_ns,
            {
                f"guest, {cpus} CPU{'s' if cpus > 1 else ''}": latency_ns
                for cpus, latency_ns in found.guests_ns.items()
            },
        )
        for found in validation.cells
    ]
    courses = [
        SamplePanel(found.cell.name, found.cell.latency_ns, {}) for found in validation.cells
    ]
    for name, draw in {
        "distributions": draw_distributions,
        "quantiles": draw_quantiles,
        "errors": draw_errors,
        "error-distributions": draw_error_distributions,
    }.items():
        draw(panels, directory / f"validate-{name}.svg", FIGURES_OPTION)
    draw_course(courses, directory / "validate-drift.svg", FIGURES_OPTION, COURSE_BLOCKS)
