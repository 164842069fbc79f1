# SPDX-License-Identifier: GPL-2.0-or-later
"""The gallery's pictures: there in both themes, small, true in colour, made by the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image
from website.gallery import DIRECTORY, PICTURES, make_gallery

from freezingtime.report.figures.style import COLORS, DARK_COLORS
from tests.conftest import require_tool
from tests.support.doclib import ROOT, read_page

#: The repository keeps them.
BYTES_MAX = 40_000
#: The first devices' colours, of those that a picture has.
SERIES = {"drives": 4, "distribution": 4, "ssd": 1, "sweep": 3}


def colors_of(path: Path) -> set[tuple[int, ...]]:
    found = Image.open(path).convert("RGB").getcolors(1 << 24)
    assert found is not None
    return {color for _, color in found}  # type: ignore[misc]


@pytest.mark.parametrize("name", [picture.name for picture in PICTURES])
def test_a_picture_is_small_and_keeps_the_colours_apart(name: str) -> None:
    for theme, series in (("light", COLORS), ("dark", DARK_COLORS)):
        path = DIRECTORY / f"{name}-{theme}.png"
        assert path.stat().st_size < BYTES_MAX
        wanted = {tuple(bytes.fromhex(color[1:])) for color in series[: SERIES[name]]}
        assert wanted <= colors_of(path)


@pytest.mark.parametrize("page", ["README", "gallery"])
def test_pages_show_both_themes(page: str) -> None:
    text = read_page(page)
    place = ROOT if page == "README" else ROOT / "docs"
    shown = re.findall(r'(?:src|srcset)="([^"]+)"', text)
    assert shown
    for path in shown:
        assert (place / path).is_file(), path
    themes = [re.findall(rf"(\w+)-{theme}\.png", text) for theme in ("light", "dark")]
    assert themes[0] == themes[1]
    if page == "gallery":
        assert themes[0] == [picture.name for picture in PICTURES]


@pytest.mark.slow
def test_they_are_what_the_program_makes(tmp_path: Path) -> None:
    """Fonts and browsers differ by some pixels."""
    made = list(make_gallery(require_tool("chromium"), tmp_path))
    assert sorted(path.name for path in made) == sorted(path.name for path in DIRECTORY.iterdir())
    for path in made:
        sizes = [Image.open(each).size for each in (path, DIRECTORY / path.name)]
        for now, kept in zip(*sizes, strict=True):
            assert now == pytest.approx(kept, rel=0.05), path.name
