# SPDX-License-Identifier: GPL-2.0-or-later
"""Templates, style and script of pages."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from freezingtime.report.figures.style import COLORS, DARK_COLORS

# Control characters have no place in a page; there are pictures of them.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0x7F: 0x2421}


def page_text(text: str) -> str:
    """The text of a guest, with pictures of its control characters."""
    return text.translate(_PICTURES)


def page_template(name: str) -> Template:
    """A template by its file's name in this room."""
    return _environment().get_template(name)


def page_style() -> str:
    """The style sheet of all pages."""
    template = page_template("page.css")
    return template.render(light=_series_colors(COLORS), dark=_series_colors(DARK_COLORS))


def page_script() -> str:
    """The script of a page with figures to point at."""
    return files(__package__).joinpath("page.js").read_text()


def _environment() -> Environment:
    resources = files(__package__)
    return Environment(
        loader=FunctionLoader(lambda name: resources.joinpath(name).read_text()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def _series_colors(colors: Sequence[str]) -> str:
    return " ".join(f"--series-{number}: {color};" for number, color in enumerate(colors))
