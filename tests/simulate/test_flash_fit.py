# SPDX-License-Identifier: GPL-2.0-or-later
"""Fitting the flash model to load-latency curves: what is known, what is found, and how well."""

from __future__ import annotations

import copy
import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freezingtime.calibrate.fit.device_toml import device_toml
from freezingtime.calibrate.fit.flash.curve_file import CurveFile, read_curve_file
from freezingtime.calibrate.fit.flash.flash_fit import FlashFitPlan, fit_flash
from freezingtime.calibrate.fit.flash.objective import Vector, log_ratios, loss, scales
from freezingtime.calibrate.fit.flash.quick_curve import COARSE, QuickCurve
from freezingtime.calibrate.fit.flash.search import search
from freezingtime.calibrate.fit.flash.search_space import (
    SPARE,
    SUSPEND,
    WAITING,
    WRITE,
    program_time_ns,
    search_space,
)
from freezingtime.calibrate.fit.flash.technology import TECHNOLOGIES
from freezingtime.calibrate.fit.options import (
    FitOptions,
    FlashFitOptions,
    make_fit_plan,
    make_flash_fit_plan,
)
from freezingtime.cli.device.curves.fit_flash import fit_flash_command
from freezingtime.device.registry import from_content
from freezingtime.errors import InputError
from freezingtime.simulate.load_curve import (
    PERCENTILES,
    SATURATION,
    FigureComparison,
    Point,
    compare,
    measured_curve,
    trace_of_point,
)
from freezingtime.simulate.simulate import simulate_closed_loop
from freezingtime.units import format_time_ns
from tests.conftest import RunProgram

TLC = TECHNOLOGIES["tlc"]
LATENCIES = dict.fromkeys(PERCENTILES, "100us")
# A small drive: 8 dies, whose curve is simulated in a fraction of a second.
PARAMETERS: dict[str, Any] = {
    "precondition": "steady",
    "array": {
        "channels": 4,
        "chips_per_channel": 2,
        "planes_per_die": 2,
        "pages_per_block": 384,
        "page": "16KiB",
    },
    "cells": {
        "t_read": "50us, 60us, 75us",
        "t_program": "1.5ms",
        "t_erase": "8ms",
        "pages_per_program": 3,
        "multi_plane": True,
        "plane_reads": True,
        "t_suspend": "70us",
        "suspensions": 100,
    },
    "channel": {"bandwidth": "800MB/s"},
    "host": {
        "bandwidth": "3.5GB/s",
        "t_command_interval": "2us",
        "t_read": "2us",
        "t_write": "9us",
        "writes_waiting": 0,
    },
    "write_buffer": {"size": "8MiB", "power_loss_protection": True},
    "mapping": {"over_provisioning": 0.21},
}
WRITE_BANDWIDTH = 475  # MB/s
CONTENT: dict[str, Any] = {
    "capacity": "2GiB",
    "model": "flash",
    "parameters": PARAMETERS,
    "measured": {
        "source": "S",
        "condition": "simulated",
        "probe_iops": 10_000,
        "probe_reads": 0.5,
        "rest_reads": 0.01,
        "depth": 32,
        "point": [
            {"iops": 11_000, **LATENCIES},
            {"iops": 12_000, **LATENCIES},
            {"iops": 24_000, **LATENCIES},
            {"iops": 40_000, "saturated": True, **LATENCIES},
        ],
    },
    "sources": {"S": "this test"},
}


def synthetic(point_count: int) -> dict[str, Any]:
    """The content with a curve that its own parameters make, of the last points of these."""
    made = copy.deepcopy(CONTENT)
    made["measured"]["point"] = made["measured"]["point"][-point_count:]
    description = from_content(made, "drive.toml", "drive")
    curve = measured_curve(description)
    assert curve is not None
    points = {
        point.iops: dict(table) for point, table in zip(curve.points, _points(made), strict=True)
    }
    for figure in compare(description, curve, seed=1):
        value = round(figure.predicted)
        is_rate = figure.figure == SATURATION
        points[figure.point.iops][figure.figure] = value if is_rate else format_time_ns(value)
    made["measured"]["point"] = list(points.values())
    return made


def _points(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = content["measured"]["point"]
    return found


def without(content: Mapping[str, Any], *paths: str) -> dict[str, Any]:
    """The content without these parameters."""
    made = copy.deepcopy(dict(content))
    for path in paths:
        table, name = path.split(".")
        del made["parameters"][table][name]
    return made


def written(directory: Path, content: Mapping[str, Any]) -> Path:
    path = directory / "curve.toml"
    path.write_text(device_toml(content))
    return path


def known(directory: Path, content: Mapping[str, Any]) -> CurveFile:
    return read_curve_file(written(directory, content), TLC)


def test_what_is_not_said_is_derived_or_assumed(tmp_path: Path) -> None:
    content = {
        "capacity": "2GiB",
        "parameters": {"array": {"channels": 4, "chips_per_channel": 2, "planes_per_die": 2}},
        "published": {
            "read_iops": {"value": 500_000},
            "read_bandwidth": {"value": "3.5GB/s"},
            "write_bandwidth": {"value": f"{WRITE_BANDWIDTH}MB/s"},
        },
        "measured": CONTENT["measured"],
    }
    drive = known(tmp_path, content)
    assert drive.parameters["host"]["t_command_interval"] == "2us"
    assert drive.parameters["host"]["bandwidth"] == "3.5GB/s"
    assert drive.origins["array.channels"] == ("derived", "data sheet")
    assert drive.origins["host.bandwidth"][0] == "derived"
    assert drive.origins["cells.t_erase"][0] == "assumed"
    assert drive.write_bytes_per_s == WRITE_BANDWIDTH * 10**6
    space = search_space(drive, TLC)
    assert "cells.t_program" not in [free.name for free in space.free]
    parameters = space.parameters(space.guess().tolist())
    assert parameters is not None
    channel = {**parameters, "channel": {"bandwidth": "800MB/s"}}
    # 8 dies of 98,304 bytes at 475 MB/s: 1655.6 us, of which 122.9 us on the channel.
    assert program_time_ns(channel, WRITE_BANDWIDTH * 10**6) == pytest.approx(1_532_766, abs=1)


def test_what_the_file_marks_as_fitted_is_found_again(tmp_path: Path) -> None:
    content = {**CONTENT, "fitted": {SPARE: "by hand"}, "assumed": {"cells.t_erase": "usual"}}
    drive = known(tmp_path, content)
    assert [free.name for free in search_space(drive, TLC).free] == [SPARE]
    assert drive.origins["cells.t_erase"] == ("assumed", "usual")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"measured": None}, "measured: is missing; it must be a table"),
        ({"capacity": None}, "curve.toml: capacity: is missing; it must be a size"),
        ({"capacity": "512B"}, "curve.toml: capacity = '512B': must be at least 4KiB"),
        ({"capacity": "-1GiB"}, "curve.toml: capacity = '-1GiB': must be a size"),
        ({"parameters": {**PARAMETERS, "cells": 3}},
         "curve.toml: parameters.cells = 3: must be"),
        ({"parameters": {**PARAMETERS, "mapping": "x"}},
         "parameters.mapping = 'x': must be a table"),
        ({"parameters": {**PARAMETERS, "array": {"channels": 0}}},
         "curve.toml: parameters.array.channels = 0: must be a whole number from 1 to 256"),
        ({"model": "disk"}, 'model = \'disk\': must be "flash", or missing'),
        ({"extra": 1}, "extra: unknown key"),
        ({"parameters": {"array": {}}}, "parameters.array.channels: is missing"),
        ({"parameters": {"array": {"channels": 4}}}, "parameters.host.bandwidth: is missing"),
        ({"published": {"read_iops": {"value": 0}}, "parameters": {"array": {"channels": 4}}},
         "published.read_iops.value = 0: must be a whole number"),
        ({}, "parameters: all are given, so there is nothing to fit"),
        ({"parameters": {**PARAMETERS, "arrray": {"a": 4}}}, "parameters.arrray: unknown key"),
    ],
)  # fmt: skip
def test_mistakes_in_a_curve_file_are_named(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    content = {name: value for name, value in {**CONTENT, **changed}.items() if value is not None}
    if "arrray" in content.get("parameters", {}):
        content = without(content, SPARE)
    with pytest.raises(InputError) as raised:
        fit_flash(written(tmp_path, content), FlashFitPlan(budget_s=1))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_load_of_one_operation_has_no_percentiles_of_the_other(
    tmp_path: Path, share: float
) -> None:
    content = without(CONTENT, SPARE)
    content["measured"] |= {"probe_reads": share, "rest_reads": share}
    missing = "write" if share else "read"
    with pytest.raises(InputError, match=rf"curve\.toml: measured: .* none is a {missing}, so"):
        fit_flash(written(tmp_path, content), FlashFitPlan(budget_s=1))


def test_what_is_derived_but_has_no_value_is_derived(tmp_path: Path) -> None:
    content = without(CONTENT, "cells.t_program")
    content["published"] = {"write_bandwidth": {"value": f"{WRITE_BANDWIDTH}MB/s"}}
    content |= {table: {"cells.t_program": "as ever"} for table in ("derived", "fitted")}
    drive = known(tmp_path, content)
    assert drive.write_bytes_per_s == WRITE_BANDWIDTH * 10**6
    assert not drive.has("cells.t_program")


def test_the_curve_is_not_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path, CONTENT)
    (tmp_path / "same.toml").symlink_to(path)
    before = path.read_bytes()
    for out in (path, tmp_path / "same.toml"):
        with pytest.raises(InputError, match="is what the fit reads; name another file"):
            fit_flash_command([path], out, FlashFitPlan(), seed=0, as_json=False, quiet=True)
    assert path.read_bytes() == before


def test_a_curve_needs_a_saturated_point(tmp_path: Path) -> None:
    content = copy.deepcopy(CONTENT)
    content["measured"]["point"].pop()
    with pytest.raises(InputError, match="needs one point with saturated = true"):
        known(tmp_path, content)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cells": "plc"}, "--cells plc: must be one of: slc, mlc, tlc, qlc"),
        ({"budget": "0"}, "--budget 0: must be more than 0"),
        ({"budget": "ten"}, "--budget ten: bad time"),
        ({"held_out": "1.5"}, "--held-out 1.5: must be a share from 0 to 0.9"),
        ({"held_out": "many"}, "--held-out many: must be a share"),
        ({"held_out": "nan"}, "--held-out nan: must be a share"),
    ],
)
def test_mistakes_in_options_are_named(options: dict[str, str], said: str) -> None:
    with pytest.raises(InputError) as raised:
        make_flash_fit_plan(dataclasses.replace(FlashFitOptions(), **options), "")
    assert said in str(raised.value)


def test_the_flash_model_is_not_fitted_to_logs() -> None:
    with pytest.raises(InputError, match="is fitted to a load-latency curve, not to logs"):
        make_fit_plan(FitOptions(model="flash"))


def test_the_loss_of_what_cannot_be_met_is_bounded() -> None:
    point = Point(iops=2, **dict.fromkeys((f"{name}_ns" for name in PERCENTILES), 1))

    def of(predicted: float) -> Vector:
        figures = [FigureComparison(point, "read_p50", 100, predicted)]
        return log_ratios(figures) * scales(figures)

    assert of(115.0)[0] == pytest.approx(1.0)  # at its aim
    assert loss(of(100.0)) == 0
    assert loss(of(1e4)) - loss(of(1e3)) < 1.5


def test_the_search_finds_the_least_of_a_known_function_and_repeats() -> None:
    least = np.array([0.3, 0.62, 0.9])

    def residuals(places: Vector) -> Vector | None:
        if places[2] < 0.2:  # as a choice that contradicts the data sheet
            return None
        # The third number jumps: only its tenth counts.
        return 8 * (np.array([places[0], places[1], np.floor(places[2] * 10) / 10]) - least)

    def run() -> tuple[list[float], int]:
        guess, steps = np.array([0.5, 0.5, 0.5]), [0.02, 0.02, 0.0]
        found = search(
            residuals, residuals, guess, steps, seed=3, budget_s=60, notify=lambda *_: None
        )
        assert found is not None
        assert not found.is_cut
        return found.places.tolist(), found.evaluations

    places, evaluations = run()
    assert places[:2] == pytest.approx(least[:2], abs=0.01)
    assert 0.9 <= places[2] < 1.0
    assert run() == (places, evaluations)


def test_a_search_without_time_has_the_best_so_far() -> None:
    guess = np.array([0.5])
    found = search(
        lambda places: 8 * (places - 0.1),
        lambda places: 8 * (places - 0.1),
        guess,
        [0.02],
        seed=0,
        budget_s=1e-9,
        notify=lambda *_: None,
    )
    assert found is not None
    assert (found.is_cut, found.evaluations, found.places.tolist()) == (True, 1, [0.5])


def test_nothing_possible_is_no_drive() -> None:
    nothing = search(
        lambda _: None,
        lambda _: None,
        np.array([0.5]),
        [0.02],
        seed=0,
        budget_s=9,
        notify=lambda *_: None,
    )
    assert nothing is None


def test_saturation_in_the_search_is_the_closed_loop_to_the_nanosecond(tmp_path: Path) -> None:
    drive = known(tmp_path, CONTENT)
    saturated = drive.curve.points[-1]
    figures = QuickCurve(drive, [saturated], COARSE, 5).compare(drive.parameters)
    description = from_content(CONTENT, "drive.toml", "drive")
    count = COARSE.closed_count(drive.curve.depth, 2 << 30)
    trace = trace_of_point(drive.curve, saturated, 5, 2 << 30, closed_count=count)
    looped = simulate_closed_loop(description.build(5), [trace], drive.curve.depth, count=count)
    is_write = looped.trace.operation[count // 5 :] == 1
    ordered_ns = np.sort(looped.latency_ns[count // 5 :][is_write])
    p50 = next(figure.predicted for figure in figures if figure.figure == "write_p50")
    assert p50 in ordered_ns[len(ordered_ns) // 2 - 1 : len(ordered_ns) // 2 + 1]


def test_a_fit_recovers_what_made_the_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Spare space and the write's time; the rest is known. Another seed made the curve."""
    path = written(tmp_path, without(synthetic(3), SPARE, WRITE))
    out, plan = tmp_path / "mine.toml", FlashFitPlan(budget_s=600)
    assert fit_flash_command([path], out, plan, seed=0, as_json=False, quiet=True) == 0
    fitted = tomllib.loads(out.read_text())
    parameters = fitted["parameters"]
    assert parameters["mapping"]["over_provisioning"] == pytest.approx(0.21, rel=0.05)
    assert float(parameters["host"]["t_write"].removesuffix("us")) == pytest.approx(9, rel=0.05)
    assert sorted(fitted["fitted"]) == [WRITE, SPARE]
    assert fitted["derived"]["cells.t_read"] == "data sheet"
    assert "cut short" not in fitted["notes"]["fit"]
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("24,000*") for line in lines)
    assert "4 of 4 held-out figures within the aim" in lines
    assert "9 of 9 fitted figures within the aim" in lines
    rows = {line.split("  ")[0]: line for line in lines}
    assert " yes " in rows[SPARE]
    assert " yes " in rows[WRITE]


def test_options_of_the_other_kind_are_refused(freezingtime: RunProgram, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "x.toml")
    done = freezingtime("fit", "a.toml", "--model", "flash", "--depth", "4", *out)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "freezingtime: --depth: has no meaning with --model flash, which reads no logs",
    )


@pytest.mark.slow
def test_a_fit_recovers_all_that_is_identifiable(tmp_path: Path) -> None:
    """Only the data sheet is known: what the fit calls identifiable is within 5 %."""
    content = synthetic(4)
    content["published"] = {"write_bandwidth": {"value": f"{WRITE_BANDWIDTH}MB/s"}}
    free = ("cells.t_read", "cells.t_program", SUSPEND, SPARE, WRITE, WAITING)
    fitted = fit_flash(
        written(tmp_path, without(content, *free, "channel.bandwidth")),
        FlashFitPlan(held_out=0, budget_s=1800),
    )
    right = {
        "cells.t_read": 60_000.0,
        "cells.t_read, fastest": 50 / 60,
        "cells.t_read, slowest": 75 / 60,
        SUSPEND: 70_000.0,
        "channel.bandwidth": 800e6,
        SPARE: 0.21,
        WRITE: 9_000.0,
    }
    identifiable = [found.name for found in fitted.sensitivities if found.is_identifiable]
    assert {"cells.t_read", SPARE, WRITE} <= set(identifiable)
    found = {name: fitted.values[name] for name in identifiable}
    assert found == pytest.approx({name: right[name] for name in identifiable}, rel=0.05)
