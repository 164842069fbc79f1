# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m website.notebook_page``: execute the example notebook anew, and keep its outputs.

The site shows it as a page of Markdown, with its figures as files beside the page.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

NOTEBOOK = Path(__file__).parent.parent / "docs" / "notebooks" / "drives.ipynb"
_DEADLINE_S = 300
# A heading goes down one level: the page has a title.
_HEADING = re.compile(r"^(#+ )", re.MULTILINE)
# What pandas puts in front of a table; the site has a style.
_STYLE = re.compile(r"<style scoped>.*?</style>\n", re.DOTALL)
# Escape sequences of a terminal.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def execute() -> Any:
    """Return the notebook, executed in a kernel of its own; what it was stays as it is.

    Nothing of a host is in it, such as times of cells: the same program has the same outputs.
    """
    import nbclient

    notebook = _read()
    nbclient.NotebookClient(notebook, timeout=_DEADLINE_S, record_timing=False).execute()
    notebook.metadata.pop("language_info", None)
    return notebook


def notebook_page() -> tuple[str, dict[str, bytes]]:
    """Return the page's Markdown, and its figures by the names of their files."""
    figures: dict[str, bytes] = {}
    parts: list[str] = []
    for cell in _read().cells:
        if cell.cell_type == "markdown":
            parts.append(_HEADING.sub(r"#\1", cell.source))
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            parts += _shown(output, figures)
    return "\n\n".join(parts) + "\n", figures


def text_of(output: Any) -> str:
    """Return what an output is without its pictures."""
    if output.output_type == "stream":
        return str(output.text)
    if output.output_type == "error":
        return _COLOURS.sub("", "\n".join(output.traceback))
    return str(output.data.get("text/html") or output.data["text/plain"])


def _read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


def _shown(output: Any, figures: dict[str, bytes]) -> Iterator[str]:
    data = output.get("data", {})
    if "image/png" in data:
        name = f"notebook-{len(figures) + 1}.png"
        figures[name] = base64.b64decode(data["image/png"])
        yield f"![Output of the cell above]({name})"
    elif "text/html" in data:
        yield _STYLE.sub("", str(data["text/html"]))
    else:
        yield f"```text\n{text_of(output)}\n```"


if __name__ == "__main__":
    nbformat.write(execute(), NOTEBOOK)  # type: ignore[no-untyped-call]
    print(f"{NOTEBOOK}: {NOTEBOOK.stat().st_size >> 10} KiB")
