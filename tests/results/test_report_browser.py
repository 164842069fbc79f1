# SPDX-License-Identifier: GPL-2.0-or-later
"""The report in a real browser: fast, quiet, light and dark, on the screen and on paper."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from freezingtime.device.annotations.columns import new_annotations
from freezingtime.report.figures.run_figures import RUN_FIGURES
from freezingtime.report.page import report_page
from freezingtime.request import Operation
from freezingtime.trace.record_file import RecordFile
from tests.cli.test_report_answer import recorded
from tests.conftest import require_tool
from tests.results.test_report import make_run
from tests.results.test_report_data import read
from tests.support.browserlib import Browser
from tests.support.recordlib import HEADER

REQUESTS = 1_000_000
BATCH = 1 << 14
LOAD_MAX_MS = 3000
PAGE_MAX_BYTES = 4 << 20

pytestmark = pytest.mark.slow


def write_large_record(path: Path) -> Path:
    """A million requests, now to one disk and now to the other."""
    random = np.random.default_rng(5)
    delivery_ns = np.cumsum(random.integers(1, 60_000, REQUESTS)) + 10**9
    latency_ns = random.lognormal(11, 0.5, REQUESTS).astype(np.int64)
    operations = random.choice(
        np.array([Operation.READ, Operation.WRITE, Operation.FLUSH], np.uint8), REQUESTS
    )
    with RecordFile(path, HEADER) as file:
        for number, start in enumerate(range(0, REQUESTS, BATCH)):
            rows = np.arange(start, min(start + BATCH, REQUESTS))
            columns = {
                "offset_bytes": np.zeros(len(rows), np.int64),
                "length_bytes": np.where(operations[rows] == Operation.FLUSH, 0, 4096),
                "fua": np.zeros(len(rows), np.bool_),
                "queue_depth": random.integers(1, 17, len(rows)).astype(np.int32),
                "arrival_ns": (delivery_ns - latency_ns)[rows],
                "completion_ns": delivery_ns[rows],
                "delivery_ns": delivery_ns[rows],
                "warped_ns": latency_ns[rows] // 2,
                "frozen_host_ns": random.integers(0, 10_000, len(rows)),
                "medium_host_ns": random.integers(0, 20_000, len(rows)),
                "on_time": np.ones(len(rows), np.bool_),
                "sequence": rows,
            }
            annotations = new_annotations(len(rows))
            annotations["held_by"] = rows % 4
            annotations["held_ns"] = latency_ns[rows] // 3 * (rows % 4 > 0)
            annotations["served_from"] = rows % 5
            file.append(file.batches.of_columns(number % 2, operations[rows], columns, annotations))
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("report")
    path = directory / "report.html"
    path.write_text(report_page([read(write_large_record(directory / "large.parquet"))]))
    return path


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(require_tool("chromium"), tmp_path / "profile") as browser:
        yield browser


def load_ms(browser: Browser) -> float:
    """From the beginning of the navigation to the end of the load event, as the browser has it."""
    timing = "performance.getEntriesByType('navigation')[0].loadEventEnd"
    value = browser.evaluate(timing)
    assert isinstance(value, int | float)
    return float(value)


def test_a_million_requests_open_fast_and_quietly(browser: Browser, report: Path) -> None:
    assert report.stat().st_size < PAGE_MAX_BYTES
    loads_ms = []
    for _ in range(3):  # the machine may be busy with something else
        browser.open(report)
        loads_ms.append(load_ms(browser))
    assert 0 < min(loads_ms) < LOAD_MAX_MS
    assert browser.complaints() == []
    assert browser.requested() == [report.as_uri()]
    count = browser.evaluate("document.querySelectorAll('figure svg').length")
    assert count == len(RUN_FIGURES) - 1  # without faults
    sizes = (
        "[...document.querySelectorAll('figure svg')].map(e => e.getBoundingClientRect().height)"
    )
    assert min(browser.evaluate(sizes)) > 100
    # Wide tables scroll in their own frames; the page does not.
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")


#: Text that a figure cuts off, or that stands outside of the page, and panels without a line.
CUT = """[...document.querySelectorAll('figure svg text')].filter(text => {
    const [a, b] = [text, text.closest('svg')].map(e => e.getBoundingClientRect());
    return a.width && (a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1
        || a.bottom > b.bottom + 1);
}).map(text => text.textContent)"""
SCREENS = {"desk": (1280, 800), "phone": (390, 844)}


@pytest.mark.parametrize("kind", ["runs", "devices"])
def test_six_fit_on_the_first_screen_and_are_not_cut(
    browser: Browser, tmp_path: Path, kind: str
) -> None:
    if kind == "runs":
        compared = [read(make_run(tmp_path / f"run-{number}", number)) for number in range(6)]
    else:
        names = [f"a-drive-with-a-long-name-{number}" for number in range(6)]
        compared = [recorded(tmp_path / "record", names)]
    page = tmp_path / "report.html"
    page.write_text(report_page(compared))
    for width, height in SCREENS.values():
        browser.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        browser.open(page)
        assert browser.complaints() == []
        assert browser.evaluate(CUT) == []
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        **{"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.open(page)
    rows = "[...document.querySelectorAll('.answer tbody tr')].slice(0, 6)"
    bottoms = browser.evaluate(f"{rows}.map(row => row.getBoundingClientRect().bottom)")
    assert len(bottoms) == 6
    assert max(bottoms) < 800
    # The side navigation stays.
    browser.evaluate("scrollTo(0, 3000)")
    top = browser.evaluate("document.querySelector('nav').getBoundingClientRect().top")
    assert 0 <= top < 50


def test_figures_say_their_values_and_can_be_enlarged(browser: Browser, tmp_path: Path) -> None:
    """With a mouse, and back again; nothing of it is on paper."""
    page = tmp_path / "report.html"
    page.write_text(report_page([recorded(tmp_path / "record", ["aws-gp3", "constant:20us"])]))
    size = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    browser.open(page)
    figure = "document.querySelector('#figure-latency-over-time')"
    view = f"{figure}.querySelector('svg').getAttribute('viewBox')"
    whole = browser.evaluate(view)
    browser.evaluate(f"{figure}.scrollIntoView()")
    left, top, width, height = browser.evaluate(
        f"(r => [r.left, r.top, r.width, r.height])({figure}.querySelector('svg')"
        ".getBoundingClientRect())"
    )
    x, y = left + 0.5 * width, top + 0.6 * height
    tip = "document.getElementById('tip')"

    def mouse(kind: str, x: float, y: float) -> None:
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    mouse("mouseMoved", x, y)
    assert {"aws-gp3 median: 10us", "constant:20us p99: 20us"} <= set(
        browser.evaluate(f"{tip}.innerText").splitlines()
    )
    right = browser.evaluate(f"{tip}.getBoundingClientRect().right")
    assert 0 < right <= 1280
    mouse("mousePressed", x, y)
    mouse("mouseMoved", x + 100, y + 40)
    mouse("mouseReleased", x + 100, y + 40)
    enlarged = browser.evaluate(view)
    assert float(enlarged.split()[2]) < float(whole.split()[2]) / 4
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert browser.evaluate(view) == whole
    mouse("mouseMoved", x, y)
    browser.evaluate("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    assert browser.evaluate(f"getComputedStyle({tip}).display") == "none"
    assert browser.complaints() == []
    assert browser.requested() == [page.as_uri()]


def test_what_is_wrong_in_a_page_is_noticed(browser: Browser, tmp_path: Path) -> None:
    """Else a quiet page would say nothing."""
    page = tmp_path / "bad.html"
    page.write_text("<script>console.error('no')</script><img src='nowhere.png'>")
    browser.open(page)
    assert len(browser.complaints()) >= 2
    assert len(browser.requested()) == 2


def test_light_and_dark_are_both_readable(browser: Browser, report: Path, tmp_path: Path) -> None:
    shots = {}
    for dark in (False, True):
        browser.open(report, dark=dark)
        shots[dark] = gray(browser.screenshot(tmp_path / f"{dark}.png", whole_page=True))
        text, page = browser.evaluate(
            "[getComputedStyle(document.querySelector('figure text')).fill,"
            " getComputedStyle(document.body).backgroundColor]"
        )
        assert contrast(text, page) > 7
    light, dark_shot = shots[False], shots[True]
    assert light.shape == dark_shot.shape
    assert np.median(light) > 0.95
    assert np.median(dark_shot) < 0.15
    for shot in shots.values():
        # Neither blank nor without anything below the tables.
        for part in np.array_split(shot, 4):
            assert 0.005 < np.mean(np.abs(part - np.median(shot)) > 0.3) < 0.5


def test_it_prints_light_on_a_few_sheets(browser: Browser, report: Path) -> None:
    browser.open(report, dark=True, media="print")
    assert (
        browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    )
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    # No table's head stays behind on the sheet before its rows.
    assert browser.evaluate("getComputedStyle(document.querySelector('table')).breakInside") == (
        "avoid"
    )
    document = base64.b64decode(browser.call("Page.printToPDF")["data"])
    assert document.startswith(b"%PDF")
    assert 3 <= document.count(b"/Type /Page\n") <= 15


def gray(path: Path) -> NDArray[np.float64]:
    shot: NDArray[np.float64] = imread(path)[..., :3].mean(axis=2)
    return shot


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two CSS colours, 1 to 21, as WCAG 2 defines it."""
    darker, lighter = sorted(luminance(color) for color in (first, second))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    levels = np.array([int(part) for part in color[4:-1].split(",")]) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
