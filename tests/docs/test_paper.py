# SPDX-License-Identifier: GPL-2.0-or-later
"""The paper's experiments: their arithmetic, and that what they promise holds."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from experiments.paper import alternatives, emulated_ssd, fastest, ffmpeg, overhead
from experiments.paper.alternatives import Spread
from experiments.paper.errors import errors_of, variation_percent
from experiments.paper.guest import OPERATIONS, measure
from experiments.paper.outcome import Outcome, Settings, Table, conclude, parse_settings

from tests.conftest import require_root, require_tool


class TestErrors:
    def test_what_is_on_target_has_none(self) -> None:
        latency_ns = np.array([1000, 2000, 3000])
        errors = errors_of(latency_ns, latency_ns)
        assert (errors.of_mean, errors.mean_absolute, errors.band) == (0, 0, (0, 0))

    def test_errors_that_cancel_out_in_the_mean_are_seen(self) -> None:
        errors = errors_of(np.array([1100, 900]), np.array([1000, 1000]))
        assert errors.of_mean == pytest.approx(0)
        assert errors.mean_absolute == pytest.approx(10)
        assert errors.worst_mean == pytest.approx(10)

    def test_each_request_has_its_own_target(self) -> None:
        errors = errors_of(np.array([110, 1000]), np.array([100, 1000]))
        assert errors.mean_absolute == pytest.approx(5)
        assert errors.of_mean == pytest.approx(100 * 10 / 1100)

    def test_too_fast_is_an_error_as_well(self) -> None:
        assert errors_of(np.array([800]), np.array([1000])).worst_mean == pytest.approx(20)

    def test_the_band_holds_the_middle_95_percent(self) -> None:
        target_ns = np.full(10_001, 1000.0)
        seen_ns = target_ns + np.linspace(-100, 100, 10_001)
        assert errors_of(seen_ns, target_ns).band == pytest.approx((-9.5, 9.5))

    def test_variation(self) -> None:
        assert variation_percent([5, 5, 5]) == 0
        assert variation_percent([9, 11]) == pytest.approx(100 * 2**0.5 / 10)

    def test_a_spread_over_runs(self) -> None:
        same = Spread([np.array([110, 90])] * 2, 100)
        assert same.is_reproduced
        assert same.mean_error_percent == pytest.approx(0)
        assert same.variation_percent == 0
        other = Spread([np.array([110, 90]), np.array([90, 110])], 100)
        assert not other.is_reproduced  # though the means are the same
        slow = Spread([np.array([100] * 50 + [300] * 50)] * 2, 100)
        assert slow.mean_error_percent == pytest.approx(100)
        assert slow.p99_error_percent == pytest.approx(200)


class TestOutcome:
    def test_a_condition_that_does_not_hold_fails(self, capsys: pytest.CaptureFixture[str]) -> None:
        outcome = Outcome("x")
        outcome.require("first", "1", True)
        assert conclude([outcome]) == 0
        outcome.require("second", "2", False)
        assert conclude([outcome]) == 1
        printed = capsys.readouterr().out
        assert "1 of 1 conditions hold" in printed
        assert "1 of 2 conditions hold\nFAILED: second: 2" in printed

    def test_the_summary_has_everything(self) -> None:
        outcome = Outcome("Title", [Table("Rows", [("a", "b"), ("1", "2")])], ["A note."])
        outcome.figures.append(Path("build/figure.svg"))
        outcome.require("what", "found", True)
        text = outcome.markdown()
        assert "| a | b |\n| --- | --- |\n| 1 | 2 |\n" in text
        for part in ("## Title", "A note.", "- ok: what: found", "![figure](figure.svg)"):
            assert part in text

    def test_settings(self) -> None:
        assert parse_settings("x", []) == Settings(1, Path("build/paper"))
        assert parse_settings("x", ["--scale", "3", "--out", "y"]) == Settings(3, Path("y"))

    @pytest.mark.parametrize("arguments", [["--scale", "0"], ["--scale", "x"], ["--size", "1"]])
    def test_bad_settings_end_with_2(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            parse_settings("x", arguments)
        assert ended.value.code == 2
        assert arguments[-1] in capsys.readouterr().err


@pytest.mark.guest
def test_the_device_in_the_guest_is_the_device_alone() -> None:
    """The smallest experiment: every request over a slow medium meets its own target."""
    measured = measure(emulated_ssd.DEVICES[emulated_ssd.SSD], ",delay=1ms..2ms", count=30)
    software_ns = dict.fromkeys(OPERATIONS, 0.0)
    for operation in OPERATIONS:
        assert len(measured.application[operation]) == 30
        assert np.array_equal(measured.device[operation], measured.target[operation])
        assert len(set(measured.target[operation].tolist())) > 20  # it does have a spread
        software = measured.application[operation] - measured.device[operation]
        assert 1_000 < software.min() <= software.max() < 20_000
        errors = emulated_ssd.compare(measured, operation, software_ns)
        assert errors["D2C"].worst_mean == 0
        assert errors["application"].of_mean > 1


@pytest.mark.guest
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("module", [fastest, emulated_ssd, ffmpeg, overhead, alternatives])
def test_what_an_experiment_promises_holds(module: ModuleType, tmp_path: Path) -> None:
    for tool in ("mmdebstrap", "nbdkit", "fio"):
        require_tool(tool)
    require_root()
    (outcome,) = module.experiment(Settings(1, tmp_path))
    assert outcome.conditions
    assert [condition for condition in outcome.conditions if not condition.holds] == []
    assert outcome.figures
    for figure in outcome.figures:
        assert figure.stat().st_size > 1000
        assert figure.with_suffix(".png").stat().st_size > 1000
