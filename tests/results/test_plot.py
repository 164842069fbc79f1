# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime devices --plot`: the numbers, the file, and what is refused."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from freezingtime.device.registry import describe
from freezingtime.errors import InputError
from freezingtime.predict.latency_curves import CDF_DEPTHS, DEPTHS, latency_curves
from freezingtime.predict.predict import predict
from freezingtime.report.figures.files import LatencyRow, LatencySeries, Mark, draw_latency
from tests.cli.conftest import RunHere
from tests.conftest import RunProgram

SSD = "samsung-pm883-960gb"
MAGIC = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}


def series(name: str, *, seed: int = 0, marks: tuple[Mark, ...] = ()) -> LatencySeries:
    sorted_ns = np.sort(np.random.default_rng(seed).integers(10_000, 900_000, 5000))
    by_depth = {1: 10_000.0, 32: 320_000.0, 256: 2_560_000.0}
    return LatencySeries(
        name,
        dict.fromkeys(("mean", "p50", "p99", "p99.9"), by_depth),
        {1: sorted_ns, 32: sorted_ns * 32},
        marks,
    )


def draw(path: Path, *devices: LatencySeries) -> bytes:
    draw_latency([LatencyRow("random reads", devices)], path, "--plot")
    return path.read_bytes()


def test_curves_are_the_predictions_simulations() -> None:
    description = describe(SSD)
    reads, writes = latency_curves(description)
    assert (reads.operation, writes.operation) == ("read", "write")
    predicted = {
        (prediction.case.metric, prediction.case.depth): prediction.value
        for prediction in predict(description)
    }
    for curve in (reads, writes):
        assert tuple(curve.summaries) == DEPTHS
        assert tuple(curve.sorted_ns) == CDF_DEPTHS
        latency_ns = predicted[f"{curve.operation}_latency", 1]
        assert curve.summaries[1].mean_ns == pytest.approx(latency_ns, rel=0.01)
        # Little's law.
        iops = predicted[f"{curve.operation}_iops", 32]
        assert curve.summaries[32].mean_ns == pytest.approx(32e9 / iops, rel=0.02)
        means_ns = [summary.mean_ns for summary in curve.summaries.values()]
        assert means_ns == sorted(means_ns)


def test_published_figures_are_marked_at_their_depth() -> None:
    reads, _ = latency_curves(describe("intel-optane-p4800x-750gb"))
    marks = {(mark.depth, mark.bound, mark.from_rate) for mark in reads.published}
    assert (1, True, False) in marks
    assert any(mark.from_rate and mark.depth == 16 for mark in reads.published)
    for mark in reads.published:
        assert mark.latency_ns == pytest.approx(reads.summaries[mark.depth].mean_ns, rel=0.2)


@pytest.mark.parametrize("extension", MAGIC)
def test_same_data_same_bytes(extension: str, tmp_path: Path) -> None:
    marks = (Mark(1, 12_000, True, False), Mark(32, 300_000, False, True))
    first = draw(tmp_path / f"first{extension}", series("a", marks=marks), series("b", seed=1))
    again = draw(tmp_path / f"again{extension}", series("a", marks=marks), series("b", seed=1))
    assert first.startswith(MAGIC[extension])
    assert first == again
    assert first != draw(tmp_path / f"other{extension}", series("a", seed=2))


def test_no_latency_at_all_can_be_drawn(tmp_path: Path) -> None:
    nothing = LatencySeries(
        "nothing",
        {statistic: {1: 0.0, 2: 0.0} for statistic in ("mean", "p50", "p99", "p99.9")},
        {1: np.zeros(3, dtype=np.int64)},
    )
    assert draw(tmp_path / "nothing.svg", nothing)


def test_unwritable_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--plot .*: Not a directory; name a writable file"):
        draw(tmp_path / "file" / "plot.svg", series("a"))


def test_several_devices_in_one_figure(freezingtime: RunProgram, tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    ended = freezingtime("devices", SSD, "aws-gp3", "--plot", plot)
    assert ended.returncode == 0, ended.stderr
    assert f"{SSD}: " in ended.stdout
    assert "\naws-gp3: " in ended.stdout
    root = ElementTree.fromstring(plot.read_text())
    assert root.tag.endswith("svg")
    alone = tmp_path / "alone.svg"
    assert freezingtime("devices", "aws-gp3", "--plot", alone, "--json").returncode == 0
    assert alone.read_bytes() != plot.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--plot x.svg", "--plot x.svg: name a device to plot, such as aws-gp3"),
        ("aws-gp3 --plot x.bmp", "--plot x.bmp: unknown extension; write .svg, .png, .pdf"),
        ("aws-gp3 --plot no/x.svg", "--plot no/x.svg: no directory no; create it first"),
        ("aws-gp3 --plot d.svg", "--plot d.svg: is not a regular file; name another file"),
        ("a b c d e f g --plot x.svg", "--plot x.svg: 7 devices; at most 6 fit into one figure"),
        ("nothing --plot x.svg", "unknown device 'nothing'; 'freezingtime devices PATTERN'"),
    ],
)
def test_what_cannot_be_plotted_is_one_line(
    run_here: RunHere,
    tmp_path: Path,
    arguments: str,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.svg").mkdir()
    ended = run_here("devices", *arguments.split())
    assert ended.returncode == 2
    assert expected in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["d.svg"]
