# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion of values in a shell: what there is to name, on this host and in the catalogue.

A list is made when the shell asks for it, and what it needs is imported then. Where there is
nothing to say, the shell goes on with names of files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from freezingtime.errors import FreezingTimeError
from freezingtime.option import Values

Completer: TypeAlias = Callable[[str], list[str]]

# A shell waits for the list, so a large tree is not searched to its end.
_DIRECTORIES_MAX = 2000
_DEPTH_MAX = 3


def completer(values: Values | None) -> Completer | None:
    """Return the function that lists the values beginning with a text, as Typer takes it."""
    if values is None:
        return None

    def complete(incomplete: str) -> list[str]:
        try:
            known = sorted(set(_LISTS[values](incomplete)))
        except (FreezingTimeError, OSError):
            # A line of complaint would stand in the midst of the user's own: no names it is.
            return []
        return [name for name in known if name.startswith(incomplete)]

    return complete


def _devices(_: str) -> Iterable[str]:
    from freezingtime.device.catalogue_search import catalogue_names

    return catalogue_names()


def _device_classes(_: str) -> Iterable[str]:
    from freezingtime.device.catalogue_search import catalogue_names
    from freezingtime.device.registry import describe

    return {describe(name).device_class for name in catalogue_names()}


def _images(_: str) -> Iterable[str]:
    from freezingtime.images.guest_image import list_images

    return {image.name for image in list_images()}


def _guests(incomplete: str) -> Iterable[str]:
    from freezingtime.images.names import MINI

    return {MINI, *_images(incomplete)}


def _snapshots(_: str) -> Iterable[str]:
    from freezingtime.store.saved_machine import list_saved

    return {saved.name for saved in list_saved()[0]}


def _trace_formats(_: str) -> Iterable[str]:
    from freezingtime.trace.readers import FORMAT_NAMES

    return FORMAT_NAMES


def _export_formats(_: str) -> Iterable[str]:
    from freezingtime.trace.writers.format_names import EXPORT_FORMATS

    return EXPORT_FORMATS


def _terms(_: str) -> Iterable[str]:
    from freezingtime.cli.results.explain import TERMS

    return [term for term in TERMS if " " not in term]  # a shell takes those apart


def _runs(incomplete: str) -> Iterator[str]:
    from freezingtime.trace.run_directory import DOCUMENT_NAME

    return _directories_with(DOCUMENT_NAME, incomplete)


def _runs_in_progress(incomplete: str) -> Iterator[str]:
    from freezingtime.trace.run_directory import TUNE_SOCKET_NAME

    return _directories_with(TUNE_SOCKET_NAME, incomplete)


def _directories_with(file: str, incomplete: str) -> Iterator[str]:
    """List the directories with a file near what is written, as far below as a shell has time."""
    head, _, _ = incomplete.rpartition("/")
    start = f"{head}/" if head or incomplete.startswith("/") else ""
    waiting, seen = [(start, 0)], 0
    while waiting and seen < _DIRECTORIES_MAX:
        directory, depth = waiting.pop(0)
        with os.scandir(directory or ".") as entries:
            below = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        for name in below:
            seen += 1
            path = f"{directory}{name}"
            if Path(path, file).exists():
                yield path
            elif depth < _DEPTH_MAX and os.access(path, os.R_OK | os.X_OK):
                waiting.append((f"{path}/", depth + 1))


_LISTS: dict[Values, Callable[[str], Iterable[str]]] = {
    Values.DEVICE: _devices,
    Values.DEVICE_CLASS: _device_classes,
    Values.GUEST: _guests,
    Values.IMAGE: _images,
    Values.SNAPSHOT: _snapshots,
    Values.RUN: _runs,
    Values.RUN_IN_PROGRESS: _runs_in_progress,
    Values.TRACE_FORMAT: _trace_formats,
    Values.EXPORT_FORMAT: _export_formats,
    Values.TERM: _terms,
}
