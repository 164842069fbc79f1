"""The API's docstrings, which are in reStructuredText, as mkdocstrings wants them."""

from __future__ import annotations

from typing import Any

import griffe

from website.markdown import from_docstring


class Docstrings(griffe.Extension):
    """Puts roles and literals into Markdown; sections are Google's already."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each object that is loaded."""
        if obj.docstring is not None:
            obj.docstring.value = from_docstring(obj.docstring.value)
