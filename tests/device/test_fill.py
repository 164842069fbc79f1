# SPDX-License-Identifier: GPL-2.0-or-later
"""Filling SSDs with an SLC cache: cache size and rates as published, for every entry that says."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freezingtime.cli.device.described.fill import fill_document, fill_series, show_fill
from freezingtime.device.catalogue_search import catalogue_names
from freezingtime.device.description import Description
from freezingtime.device.registry import describe, from_content
from freezingtime.errors import InputError
from freezingtime.predict.fill import (
    AIMS,
    Fill,
    FillCurve,
    fill_curve,
    has_slc_cache,
    predict_fill,
    published_cliff,
)
from freezingtime.report.figures.files import LatencyRow, LatencySeries, draw_latency

NAMES = [name for name in catalogue_names() if published_cliff(describe(name)) is not None]
#: One whose cache is full beside free blocks, one that has to fold at once; others take as long.
FAST = ("samsung-970-evo-plus-1tb", "wd-blue-sn580-1tb")
GB = 1_000_000_000


@pytest.fixture(scope="module")
def fold_at_once() -> Fill:
    fill = predict_fill(describe(FAST[1]))
    assert fill is not None
    return fill


def with_cliff(cliff: dict[str, Any]) -> Description:
    content = copy.deepcopy(describe(FAST[0]).content) | {"cliff": cliff}
    return from_content(content, "own.toml", "own")


def test_many_drives_have_a_published_cliff() -> None:
    assert len(NAMES) >= 13
    assert all(has_slc_cache(describe(name)) for name in NAMES)
    assert AIMS["cache"] == 0.10
    assert AIMS["after_cache_bandwidth"] == 0.15


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_the_cliff_is_where_it_was_published(name: str) -> None:
    """Within the aims, or an exception with its reason: and then it must really be one."""
    description = describe(name)
    fill = predict_fill(description)
    assert fill is not None
    assert fill.source in description.content["sources"]
    assert fill.condition
    for figure in fill.figures:
        said = f"{figure.name}: {figure.predicted} against {figure.published}"
        assert figure.holds == (figure.exception == ""), said
    by_name = {figure.name: figure for figure in fill.figures}
    assert by_name["cache"].published is not None
    assert by_name["after_cache_bandwidth"].published is not None


def test_a_full_drive_has_hardly_a_cache(fold_at_once: Fill) -> None:
    fresh, full = fold_at_once.fresh, fold_at_once.full
    assert full.bytes_per_s[20] < fresh.bytes_per_s[20] / 4
    assert fresh.written_bytes[-1] == pytest.approx(1000 * GB, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAST)
def test_a_smaller_disk_is_filled_like_the_whole_one(name: str) -> None:
    description = describe(name)
    cut, whole = (fill_curve(description, "fresh", most_bytes=most) for most in (64 << 30, 1 << 50))
    assert cut.cache_bytes == pytest.approx(whole.cache_bytes, rel=0.06)
    assert cut.after_cache_bytes_per_s == pytest.approx(whole.after_cache_bytes_per_s, rel=0.03)
    assert cut.fill_bytes_per_s == pytest.approx(whole.fill_bytes_per_s, rel=0.03)


def test_the_cliff_is_found_inside_a_window() -> None:
    """Four windows of 10 GB at 2 GB/s and a quarter of one; the rest at 500 MB/s."""
    rates = np.array([2.0] * 4 + [10 / (2.5 / 2 + 7.5 / 0.5)] + [0.5] * 20) * GB
    curve = FillCurve(np.arange(1, 26) * 10.0 * GB, rates)
    assert curve.cache_bytes == pytest.approx(42.5 * GB)
    assert curve.cached_bytes_per_s == 2 * GB
    assert curve.after_cache_bytes_per_s == pytest.approx(0.5 * GB)
    assert curve.fill_bytes_per_s == pytest.approx(250 * GB / (42.5 / 2 + 207.5 / 0.5))
    level = FillCurve(curve.written_bytes, np.full(25, 2.0 * GB))
    assert (level.cache_bytes, level.after_cache_bytes_per_s) == (None, None)


def test_a_short_stall_is_no_cliff() -> None:
    """Nor a division by zero, where the rate behind it is what it was before."""
    rates = np.full(512, 2.0 * GB)
    rates[100] = 1.0 * GB
    curve = FillCurve(np.arange(1, 513) * 1.0 * GB, rates)
    assert (curve.cache_bytes, curve.after_cache_bytes_per_s) == (None, None)
    rates[300:] = 0.5 * GB
    assert curve.cache_bytes == pytest.approx(300 * GB)


def small_drive(capacity: str) -> Description:
    """Eight dies that take 1.5 GB/s into their cache, behind a buffer of 8 MiB at 3.2 GB/s."""
    array = {"channels": 4, "chips_per_channel": 2, "planes_per_die": 4, "page": "16KiB"}
    cells = {"t_read": "50us", "t_program": "2ms", "t_erase": "10ms", "pages_per_program": 3}
    parameters = {
        "array": array | {"pages_per_block": 384},
        "cells": cells | {"multi_plane": True},
        "channel": {"bandwidth": "1.2GB/s"},
        "host": {"bandwidth": "3.2GB/s"},
        "write_buffer": {"size": "8MiB"},
        "slc_cache": {"dynamic_share": 0.2, "t_program": "250us"},
    }
    content = {"model": "flash", "capacity": capacity, "parameters": parameters}
    return from_content(content, "small.toml", "small")


def test_the_write_buffer_is_not_taken_for_the_cache() -> None:
    """Windows of a small disk that the buffer takes at once would all be at the host's rate."""
    fill = predict_fill(small_drive("1GiB"))
    assert fill is not None
    assert fill.fresh.cached_bytes_per_s == pytest.approx(1.5e9, rel=0.05)
    assert fill.fresh.cache_bytes is not None
    assert fill.fresh.cache_bytes > 0.15 * 2**30


def test_a_disk_hardly_larger_than_the_buffer_is_not_filled() -> None:
    assert predict_fill(small_drive("64MiB")) is None


def test_devices_without_an_slc_cache_are_not_filled() -> None:
    assert predict_fill(describe("samsung-970-evo-plus-1tb@datasheet")) is None
    assert predict_fill(describe("micron-7450-pro-960gb-steady")) is None


def test_the_cliff_is_shown_beside_what_was_published(
    fold_at_once: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    show_fill(fold_at_once)
    shown = capsys.readouterr().out
    assert re.search(r"written until it is full +3\d\d\.\dGB +341GB +[+-]\d\.\d% +TPU", shown)
    assert re.search(r"write rate behind the cliff +4\d\dMB/s +450MB/s +[+-]\d\.\d% +TPU", shown)
    assert re.search(r"\n62\.5GB +\d\.\d+GB/s +\d+MB/s\n", shown)
    document = fill_document(fold_at_once)
    assert len(document["written_bytes"]) == len(document["full_bytes_per_s"])
    assert document["figures"][1]["published"] == 341 * GB


def test_the_cliff_is_drawn(fold_at_once: Fill, tmp_path: Path) -> None:
    series = fill_series("sn580", fold_at_once)
    one = dict.fromkeys((1, 32), 1000.0)
    latency = LatencySeries(
        "sn580",
        dict.fromkeys(("mean", "p50", "p99", "p99.9"), one),
        {1: np.arange(1, 100), 32: np.arange(1, 100)},
    )
    path = tmp_path / "cliff.svg"
    draw_latency([LatencyRow("reads", [latency])], path, "--plot", [series])
    assert "sequential writes, full, overwritten" in path.read_text()


@pytest.mark.parametrize(
    ("cliff", "said"),
    [
        ({"cache": "42GB"}, r"cliff\.source: is missing"),
        ({"cache": 42, "source": "D1"}, r"cliff\.cache = 42: must be a size"),
        ({"source": "D1", "exception": {"cash": "full"}}, r"cliff\.exception\.cash: unknown key"),
        ({"source": "D1", "exception": {"cache": 5}}, r"cliff\.exception\.cache = 5: must be a t"),
        ({"cash": "42GB", "source": "D1"}, r"cliff\.cash: unknown key; did you mean cache"),
    ],
)
def test_mistakes_in_the_published_cliff_are_named(cliff: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        predict_fill(with_cliff(cliff))
