# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults of documents that cannot be parsed, in the same words with every Python."""

from __future__ import annotations


def document_fault(error: Exception) -> str:
    """Return what a parser found, for a message about the document.

    Python's own words for one that nests too deep are about its stack, and change by version.
    """
    return "nests too deep" if isinstance(error, RecursionError) else str(error)
