# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON documents on stdout, including texts too large to hold in memory."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO, TextIO

_PIECE_BYTES = 1 << 18


def print_json(document: object) -> None:
    """Print a document on stdout; it is ASCII, so that no terminal obeys what is in it."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def print_document(
    document: Mapping[str, Any], texts: Mapping[str, BinaryIO], target: TextIO
) -> None:
    """Print ``document``, which is not empty, with the files' content as further values.

    What is no UTF-8 becomes U+FFFD. The files are read from their beginning.
    """
    head = json.dumps(document, indent=2)
    target.write(head.removesuffix("\n}"))
    for key, file in texts.items():
        target.write(f",\n  {json.dumps(key)}: ")
        _print_text(file, target)
    target.write("\n}\n")


def _print_text(file: BinaryIO, target: TextIO) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    file.seek(0)
    target.write('"')
    while piece := file.read(_PIECE_BYTES):
        target.write(_escaped(decoder.decode(piece)))
    target.write(_escaped(decoder.decode(b"", final=True)) + '"')


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]
