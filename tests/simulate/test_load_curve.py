# SPDX-License-Identifier: GPL-2.0-or-later
"""Measured load-latency curves: how they are read, and what models are compared with."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from freezingtime.device.description import Description
from freezingtime.device.registry import from_content
from freezingtime.errors import InputError
from freezingtime.simulate.load_curve import (
    PERCENTILES,
    SATURATION,
    FigureComparison,
    Point,
    compare,
    measured_curve,
)
from tests.conftest import RunProgram

LATENCIES = {
    "read_p50": "100us",
    "read_p90": "100us",
    "read_p99": "100us",
    "read_p99_9": "100us",
    "write_p50": "20us",
    "write_p99": "20us",
}
# Reads take 100 us and writes 20 us, whatever the load, with 16 servers.
CONTENT: dict[str, Any] = {
    "model": "latency",
    "capacity": "1GiB",
    "parameters": {"servers": 16, "read": {"fixed": "100us"}, "write": {"fixed": "20us"}},
    "measured": {
        "source": "S",
        "condition": "somewhere",
        "probe_iops": 10_000,
        "probe_reads": 0.5,
        "rest_reads": 0.01,
        "depth": 64,
        "point": [
            {"iops": 20_000, **LATENCIES},
            {"iops": 600_000, "saturated": True, **LATENCIES},
        ],
    },
}


def described(**changes: Any) -> Description:
    content = copy.deepcopy(CONTENT)
    content["measured"] |= changes
    return from_content(content, "drive.toml", "drive")


def test_predictions_below_saturation_are_the_latencies_of_the_model() -> None:
    description = described(point=CONTENT["measured"]["point"][:1])
    curve = measured_curve(description)
    assert curve is not None
    comparisons = list(compare(description, curve))
    assert [comparison.figure for comparison in comparisons] == list(PERCENTILES)
    assert all(comparison.difference == 0 for comparison in comparisons)
    assert not any(comparison.missed for comparison in comparisons)


def test_saturation_is_that_of_the_closed_loop() -> None:
    """By Little's law: 16 servers, 1.82 % reads of 100 us among writes of 20 us."""
    description = described(point=CONTENT["measured"]["point"][1:])
    curve = measured_curve(description)
    assert curve is not None
    saturation, *_ = compare(description, curve)
    reads = curve.read_share(curve.points[0])
    assert reads == pytest.approx((5_000 + 5_900) / 600_000)
    rate_hz = 16 / (reads * 100e-6 + (1 - reads) * 20e-6)
    assert saturation.figure == SATURATION
    assert saturation.predicted == pytest.approx(rate_hz, rel=0.01)


def test_the_same_seed_predicts_the_same() -> None:
    description = described()
    curve = measured_curve(description)
    assert curve is not None
    assert list(compare(description, curve, seed=3)) == list(compare(description, curve, seed=3))


POINT = Point(iops=1, **dict.fromkeys((f"{name}_ns" for name in PERCENTILES), 1))


@pytest.mark.parametrize(
    ("figure", "predicted", "missed"),
    [
        ("read_p50", 114.9, False),
        ("read_p50", 115.1, True),
        ("read_p99", 60.1, False),
        ("read_p99", 59.9, True),
        ("read_p99_9", 1000.0, False),  # for which there is no aim
        (SATURATION, 84.9, True),
    ],
)
def test_what_a_miss_is(figure: str, predicted: float, missed: bool) -> None:
    assert FigureComparison(POINT, figure, 100, predicted).missed == missed


def test_without_a_curve_there_is_none() -> None:
    content = {key: value for key, value in CONTENT.items() if key != "measured"}
    assert measured_curve(from_content(content, "drive.toml", "drive")) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"depth": 0}, "drive.toml: measured.depth = 0: must be a whole number from 1 to 65536"),
        ({"probe_reads": 1.5}, "measured.probe_reads = 1.5: must be a number from 0 to 1"),
        ({"extra": 1}, "measured.extra: unknown key"),
        ({"point": [{"iops": 20_000}]}, "measured.point[1].read_p50: is missing"),
        ({"point": [{"iops": 10_000, **LATENCIES}]}, "number 1: iops must be more than probe_iops"),
        ({"point": [{"iops": 20_000, **LATENCIES, "read_p50": 7}]}, "read_p50 = 7: must be a time"),
        ({"point": [{"iops": 20_000, **LATENCIES, "read_p90": "5ms"}]},
         "measured.point[1].read_p99 = '100us': must be at least read_p90"),
        ({"point": [{"iops": 20_000, **LATENCIES}] * 2},
         "number 2: another point has the same iops"),
        ({"point": [{"iops": 20_000, **LATENCIES},
                    {"iops": 15_000, "saturated": True, **LATENCIES}]},
         "number 2: iops must be the most if saturated"),
        ({"point": [{"iops": 10**9, **LATENCIES}]},
         "iops = 1000000000: must be a whole number from"),
    ],
)  # fmt: skip
def test_mistakes_in_a_curve_are_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as raised:
        measured_curve(described(**changes))
    assert said in str(raised.value)


def test_a_curve_needs_a_size() -> None:
    content = {key: value for key, value in CONTENT.items() if key != "capacity"}
    description = from_content(content, "drive.toml", "drive")
    curve = measured_curve(description)
    assert curve is not None
    with pytest.raises(InputError, match=r"drive\.toml: capacity: is missing"):
        list(compare(description, curve))


def test_the_steadiest_drive_of_the_catalogue_is_within_the_aims(
    freezingtime: RunProgram,
) -> None:
    """The whole curve of a real drive; docs/explanation/accuracy-curves.md has the others."""
    done = freezingtime("accuracy", "wd-dc-960gb-steady", "--json")
    assert done.returncode == 0, done.stderr
    (document,) = json.loads(done.stdout)
    aimed = [figure for figure in document["figures"] if figure["aim"] is not None]
    assert len(aimed) == 13
    assert [figure["figure"] for figure in aimed if figure["missed"]] == []
    medians = [abs(f["difference"]) for f in document["figures"] if f["figure"] == "read_p50"]
    assert np.mean(medians) < 0.05


def test_accuracy_refuses_a_device_without_a_curve(freezingtime: RunProgram) -> None:
    done = freezingtime("accuracy", "aws-gp3")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == ("freezingtime: aws-gp3: has no [measured] curve")
