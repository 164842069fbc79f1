# SPDX-License-Identifier: GPL-2.0-or-later
"""What a notebook asks of results: figures to go on with, times in units, one line of status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import freezingtime as ft
from tests.support.recordlib import completed, stream_of

FAST, SLOW = "constant:read=80us,write=20us", "constant:1ms"
WORKLOAD = "randrw,bs=4k,qd=4,count=500"


@pytest.fixture(scope="module")
def replayed() -> ft.Result:
    return ft.replay(WORKLOAD, devices=[FAST, SLOW])


@pytest.fixture(scope="module")
def compared() -> ft.Comparison:
    """Of two results of which nobody else has hold."""
    return ft.compare(*(ft.replay(WORKLOAD, devices=[device]) for device in (FAST, SLOW)))


def titles_of(figure: object) -> list[str]:
    return [axes.get_title() for axes in figure.axes]  # type: ignore[attr-defined]


class TestPlot:
    def test_devices_share_the_panels(self, replayed: ft.Result) -> None:
        figure = replayed.plot()
        assert titles_of(figure) == [
            *("device: read: latency distribution", "device: write: latency distribution"),
            *("device: read: latency", "device: write: latency"),
            *("device: IOPS", "device: bandwidth"),
        ]
        read = figure.axes[0].lines
        assert [line.get_xdata()[0] for line in read] == [80_000, 1_000_000]
        [legend] = figure.legends
        texts = [text.get_text() for text in legend.get_texts()]
        assert texts[-2:] == [FAST.partition(",")[0], SLOW] or texts[-2:] == [FAST, SLOW]
        figure.axes[0].set_title("ours")
        assert titles_of(figure)[0] == "ours"

    def test_one_kind_at_a_time_has_short_titles(self, replayed: ft.Result) -> None:
        assert titles_of(replayed.plot("queue-depth")) == ["device"]

    def test_a_notebook_shows_it_without_pyplot(self, replayed: ft.Result) -> None:
        figure = replayed.plot("queue-depth")
        bundle = figure._repr_mimebundle_()  # type: ignore[attr-defined]
        assert bundle["image/png"].startswith("iVBOR")
        again = replayed.plot("queue-depth")
        assert again._repr_mimebundle_()["image/png"] == bundle["image/png"]  # type: ignore[attr-defined]

    def test_what_cannot_be_drawn_is_one_line(self, replayed: ft.Result, tmp_path: Path) -> None:
        with pytest.raises(ft.InputError, match="did you mean queue-depth") as raised:
            replayed.plot("queue-dept")
        assert "latency-distribution" in str(raised.value)
        with pytest.raises(ft.InputError, match="nothing to draw for warp"):
            replayed.plot("warp")

    @pytest.mark.slow
    def test_matplotlib_is_imported_by_who_draws(self) -> None:
        program = (
            "import sys, freezingtime as ft; "
            "ft.replay('randread,count=9', devices=['constant:1us']).summary; "
            "print('matplotlib' in sys.modules)"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        assert ended.stdout == b"False\n"


class TestComparison:
    def test_both_are_in_the_same_panels(self, compared: ft.Comparison) -> None:
        figure = compared.plot("latency-distribution", labels=("before", "after"))
        for axes, fast_ns in zip(figure.axes, (80_000, 20_000), strict=True):
            assert [line.get_xdata()[0] for line in axes.lines] == [fast_ns, 1_000_000]
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts == ["before", "after"]
        for wrong in (("a", "a"), ("a",)):
            with pytest.raises(ft.InputError, match="must be two different ones"):
                compared.plot(labels=wrong)

    def test_its_table_has_every_figure(self, compared: ft.Comparison) -> None:
        row = compared.table.query("operation == 'read' and metric == 'p99'").iloc[0]
        assert row.tolist() == [FAST, "read", "p99", "ns", 80_000, 1_000_000, 11.5]
        assert len(compared.table) == len(compared.metrics)

    def test_it_shows_what_differs(self, compared: ft.Comparison) -> None:
        assert "requests differ" in repr(compared)
        assert "\n" not in repr(compared)
        page = compared._repr_html_()
        assert page.index("requests differ") < page.index("read.p99")
        same = ft.replay(WORKLOAD, devices=[FAST])
        assert ft.compare(same, same)._repr_html_().count("identical") == 1


class TestUnits:
    def test_of_every_frame(self, replayed: ft.Result) -> None:
        summary = ft.in_unit(replayed.summary, "us")
        assert "p99_ns" not in summary
        assert (summary.mean_us * 1000).tolist() == pytest.approx(replayed.summary.mean_ns.tolist())
        assert summary.columns.get_loc("p99_us") == replayed.summary.columns.get_loc("p99_ns")
        requests = ft.in_unit(replayed.requests, "ms")
        assert requests.latency_ms.max() == 1.0
        assert requests["operation"].equals(replayed.requests["operation"])
        assert "p99_ns" in replayed.summary

    def test_timedelta_is_exact(self, replayed: ft.Result) -> None:
        latency = ft.in_unit(replayed.requests, "timedelta").latency
        assert latency.max() == pd.Timedelta("1ms")
        assert (latency.to_numpy() == replayed.requests.latency_ns.to_numpy("m8[ns]")).all()

    def test_what_is_missing_stays_missing(self) -> None:
        frame = pd.DataFrame({"held_ns": [1000, None]})
        assert np.isnan(ft.in_unit(frame, "us").held_us[1])
        assert ft.in_unit(frame, "timedelta").held.isna().tolist() == [False, True]

    def test_what_is_no_unit_is_one_line(self, replayed: ft.Result) -> None:
        with pytest.raises(ft.InputError, match="is no unit of time; choose from ns, us, ms, s"):
            ft.in_unit(replayed.summary, "minutes")
        with pytest.raises(ft.InputError, match="no column that ends with _ns"):
            ft.in_unit(ft.devices(), "us")


class TestStatus:
    def test_of_a_replay(self, replayed: ft.Result) -> None:
        assert replayed.status == "simulated: 1,000 requests"
        page = replayed._repr_html_()
        assert page.index(replayed.status) < page.index("p99_ns")

    def test_of_a_run_that_was_killed(self, tmp_path: Path) -> None:
        stream_of(tmp_path / "requests.parquet", [[completed()]])
        with pytest.warns(UserWarning, match="was killed"):
            result = ft.open_run(tmp_path)
        assert result.status == "the run was killed, or is still running"
