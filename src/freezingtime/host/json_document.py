# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON documents that some version of freezingtime wrote: first the format, then keys and types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from freezingtime.host.document_fault import document_fault

Declared = TypeVar("Declared", bound=msgspec.Struct)


class OtherFormatError(ValueError):
    """Raised for a document that another version of freezingtime wrote."""

    def __init__(self, document: dict[str, object], format_key: str, known_format: int) -> None:
        self.document = document
        self.found = document[format_key]
        super().__init__(
            f"its format is {self.found!r}, not {known_format}: "
            "written by another version of freezingtime"
        )


def parse_document(
    text: str | bytes, declared: type[Declared], known_format: int, *, format_key: str = "format"
) -> Declared:
    """Parse a document as what is declared, if its ``format_key`` has the known format.

    Raises:
        OtherFormatError: it has another.
        ValueError: it is damaged: no JSON, or its keys or types are not those declared.
    """
    try:
        document = msgspec.json.decode(text)
    except RecursionError as error:
        raise ValueError(document_fault(error)) from error
    if not isinstance(document, dict) or format_key not in document:
        raise ValueError(f"has no {format_key!r}")
    if document[format_key] != known_format:
        raise OtherFormatError(document, format_key, known_format)
    return msgspec.convert(document, declared)


def write_document(path: Path, document: msgspec.Struct | Sequence[msgspec.Struct]) -> None:
    """Write a document to be read by people, too.

    Raises:
        OSError: it cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(document), indent=2)
    path.write_bytes(text + b"\n")
