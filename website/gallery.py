# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m website.gallery [DIRECTORY]``: the pictures of the gallery, light and dark.

Runs the commands of docs/gallery.md as they stand, and photographs their reports in Chromium.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tests.support.browserlib import Browser
from tests.support.doclib import ROOT, read_page, run_examples

DIRECTORY = ROOT / "docs" / "images" / "gallery"
#: Pixels of the window at first; a narrow one, as pictures are shrunk to the width of a text.
_WIDTH, _HEIGHT = 1000, 800
_COLORS = 256


@dataclass(frozen=True)
class Picture:
    """A part of a report."""

    name: str
    page: str
    part: str
    """A CSS selector."""


PICTURES = (
    Picture("drives", "drives.html", "#answer"),
    Picture("distribution", "drives.html", "#figure-latency-distribution"),
    Picture("ssd", "ssd.html", "#figure-internals"),
    Picture("sweep", "sweep.html", "#figure-lines"),
)


def make_gallery(chromium: str, directory: Path) -> Iterator[Path]:
    """Make the reports of the page, and yield each picture when it is written."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        list(run_examples(read_page("gallery"), made))
        with Browser(chromium, made / "profile") as browser:
            browser.call("Emulation.setScrollbarsHidden", hidden=True)
            for picture in PICTURES:
                for theme in ("light", "dark"):
                    browser.open(made / picture.page, dark=theme == "dark")
                    _widen(browser)
                    shot = browser.screenshot(made / "shot.png", part=picture.part)
                    path = directory / f"{picture.name}-{theme}.png"
                    path.write_bytes(_small(shot.read_bytes()))
                    yield path


def _widen(browser: Browser) -> None:
    """Make the window as high as the page, so that all of it is there to be photographed."""
    size: dict[str, int] = {"width": _WIDTH, "height": _HEIGHT}
    for _ in range(2):
        browser.call(
            "Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False
        )
        size["height"] = int(browser.evaluate("document.documentElement.scrollHeight"))


def _small(png: bytes) -> bytes:
    """Return it with a palette: shades at the edges of letters share one, areas keep theirs."""
    out = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(_COLORS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        out, "PNG", optimize=True
    )
    return out.getvalue()


def main() -> None:
    """Write the pictures anew."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("gallery: Chromium is missing; install the package chromium")
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    for path in make_gallery(chromium, directory):
        print(f"{path}: {path.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
