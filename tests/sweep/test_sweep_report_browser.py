# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of a sweep in a real browser: values where the pointer is, links, a thousand points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from freezingtime.report.sweep.page import sweep_page
from tests.conftest import require_tool
from tests.results.test_report_browser import CUT, LOAD_MAX_MS, SCREENS, contrast, load_ms
from tests.support.browserlib import Browser
from tests.sweep.test_sweep_report import of_depth, read, write_points, write_sweep

POINTS = 1000
PAGE_MAX_BYTES = 2 << 20

pytestmark = pytest.mark.slow


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(require_tool("chromium"), tmp_path / "profile") as browser:
        yield browser


def resize(browser: Browser, width: int, height: int) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.call("Emulation.setDeviceMetricsOverride", **size)


def write_page(tmp_path: Path, keys: int) -> Path:
    """The page of a sweep of as many keys, with seeds and points that fail."""
    values = {
        "workload__qd": ["1", "4", "16", "64"],
        "disk": ["micron-7450-pro-960gb", "samsung-870-evo-1tb", "wd-ultrastar-dc-hc310-6tb"],
        "disk.mapping.over_provisioning": ["0.07", "0.14", "0.28"],
    }
    varied = dict(list(values.items())[:keys])
    page = tmp_path / f"{keys}.html"
    page.write_text(
        sweep_page(
            read(write_sweep(tmp_path / str(keys), of_depth, **varied, seed=["0", "3", "9"]))
        )
    )
    return page


@pytest.mark.parametrize("keys", [1, 2, 3])
def test_nothing_is_cut_on_any_screen_nor_without_contrast(
    browser: Browser, tmp_path: Path, keys: int
) -> None:
    page = write_page(tmp_path, keys)
    for (width, height), dark in zip(SCREENS.values(), (False, True), strict=True):
        resize(browser, width, height)
        browser.open(page, dark=dark)
        assert browser.complaints() == []
        assert browser.requested() == [page.as_uri()]
        assert browser.evaluate(CUT) == []
        # What is wider scrolls in a frame of its own, and is large enough to be read.
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        sizes = "[...document.querySelectorAll('figure svg')].map(e => e.clientWidth)"
        assert min(browser.evaluate(sizes)) > 600
        text, ground = browser.evaluate(
            "[getComputedStyle(document.querySelector('figure text')).fill,"
            " getComputedStyle(document.body).backgroundColor]"
        )
        assert contrast(text, ground) > 7


def test_points_say_what_they_are_and_lead_to_their_runs(browser: Browser, tmp_path: Path) -> None:
    page = write_page(tmp_path, 2)
    resize(browser, 1280, 800)
    browser.open(page)
    figure = "document.querySelector('#figure-heat-map')"
    browser.evaluate(f"{figure}.scrollIntoView()")
    links = browser.evaluate(
        f"[...{figure}.querySelectorAll('a')]"
        ".map(a => [a.href.baseVal, a.target.baseVal, a.tabIndex])"
    )
    # A cell for each pair, in both panels, to the first of its seeds.
    assert sorted(links) == sorted(
        [[f"file:///{3 * cell}/", "_blank", -1] for cell in range(12)] * 2
    )
    box = f"{figure}.querySelector('a').getBoundingClientRect()"
    left, top, right, bottom = browser.evaluate(f"(r => [r.left, r.top, r.right, r.bottom])({box})")
    x, y = (left + right) / 2, (top + bottom) / 2
    tip = "document.getElementById('tip')"

    def mouse(kind: str, x: float, y: float) -> None:
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    for at in (x, left + 3):  # anywhere in the cell
        mouse("mouseMoved", at, y)
        assert browser.evaluate(f"{tip}.innerText").splitlines()[:4] == [
            "points 0 to 2: 3 seeds",
            "workload.qd: 1",
            "disk: micron-7450-pro-960gb",
            "all.iops: 1,002/s (1,000/s to 1,003/s)",
        ]
    # Drawing a part within one cell enlarges it, and follows no link.
    view = f"{figure}.querySelector('svg').getAttribute('viewBox')"
    whole = browser.evaluate(view)
    mouse("mousePressed", left + 4, top + 4)
    mouse("mouseMoved", right - 4, bottom - 4)
    mouse("mouseReleased", right - 4, bottom - 4)
    assert browser.evaluate(view) != whole
    assert browser.requested() == [page.as_uri()]
    browser.evaluate("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    assert browser.evaluate(view) == whole
    assert browser.complaints() == []


def test_a_thousand_points_open_fast_and_print(browser: Browser, tmp_path: Path) -> None:
    points = [
        {
            "workload.qd": str(number % 64 + 1),
            "disk.read": f"{1000 + number * 37 % 1009}us",
            "disk.x": f"{number * 61 % 1013 / 1013:.4f}",
        }
        for number in range(POINTS)
    ]

    def figures(point: Mapping[str, str]) -> Mapping[str, float]:
        depth = int(point["workload.qd"])
        return {"all.iops": 100 * depth, "all.p99": 1e6 * math.exp(float(point["disk.x"])) / depth}

    page = tmp_path / "page.html"
    page.write_text(sweep_page(read(write_points(tmp_path / "out", points, figures))))
    assert page.stat().st_size < PAGE_MAX_BYTES
    resize(browser, 1280, 800)
    loads_ms = []
    for _ in range(3):  # the machine may be busy with something else
        browser.open(page)
        loads_ms.append(load_ms(browser))
    assert min(loads_ms) < LOAD_MAX_MS
    assert browser.complaints() == []
    assert browser.evaluate("document.querySelectorAll('#figure-parallel a').length") == POINTS
    # The line of the point under the pointer is drawn through all its places.
    browser.evaluate("document.querySelector('#figure-parallel').scrollIntoView()")
    left, top, width, height = browser.evaluate(
        "(r => [r.left, r.top, r.width, r.height])"
        "(document.querySelector('#figure-parallel svg').getBoundingClientRect())"
    )
    browser.call(
        "Input.dispatchMouseEvent", type="mouseMoved", x=left + width / 2, y=top + height / 2
    )
    line = "document.querySelector('#figure-parallel .pointer').getAttribute('d')"
    assert browser.evaluate(line).count("L") == 4
    browser.open(page, dark=True, media="print")
    assert (
        browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    )
