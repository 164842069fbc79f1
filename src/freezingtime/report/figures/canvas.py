# SPDX-License-Identifier: GPL-2.0-or-later
"""From a figure to the bytes of a file; the same figure makes the same bytes every time."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezingtime.errors import InputError
from freezingtime.host.os_errors import os_errors_as
from freezingtime.report.figures.style import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What a figure is written as beside a report.
FIGURE_EXTENSIONS = (".svg", ".png")

# A creation date would make each file differ.
_METADATA: dict[str, dict[str, None]] = {
    ".svg": {"Date": None},
    ".png": {},
    ".pdf": {"CreationDate": None},
}
#: What figures can be written as.
EXTENSIONS = tuple(_METADATA)


@contextmanager
def new_figure(
    width_in: float, height_in: float, kind: type[Figure] | None = None, **settings: Any
) -> Iterator[Figure]:
    """An empty figure in the program's style; drawn and turned into bytes within the block.

    ``kind`` is a class of figures of one's own. ``settings`` are matplotlib's, on top of the style.
    """
    # Half a second to import: only for who draws.
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Independent of the user's settings.
    complete: Any = {**matplotlib.rcParamsDefault, **STYLE, **settings}
    with matplotlib.rc_context(complete), warnings.catch_warnings():
        # A letter in a user's name that the font lacks is no news.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = (kind or Figure)(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def figure_bytes(figure: Figure, extension: str) -> bytes:
    """The figure as a file with one of :data:`EXTENSIONS`."""
    content = io.BytesIO()
    figure.savefig(content, format=extension[1:], metadata=_METADATA[extension])
    return content.getvalue()


def write_file(path: Path, content: bytes, option: str) -> None:
    """Write what ``option`` has asked for.

    Raises:
        InputError: the file cannot be written.
    """
    with os_errors_as(InputError, f"{option} {path}", "name a writable file"):
        path.write_bytes(content)


def write_figures(
    figures: Iterable[tuple[str, Sequence[bytes]]], directory: Path, option: str
) -> list[Path]:
    """Write named figures, each as all of ``FIGURE_EXTENSIONS``, into a directory that is made.

    One without contents has nothing to draw, and no file.

    Raises:
        InputError: they cannot be written.
    """
    with os_errors_as(InputError, f"{option} {directory}", "name a directory that can be created"):
        directory.mkdir(exist_ok=True)
    paths = []
    for name, contents in figures:
        for extension, content in zip(FIGURE_EXTENSIONS if contents else (), contents, strict=True):
            paths.append(directory / f"{name}{extension}")
            write_file(paths[-1], content, option)
    return paths
