# SPDX-License-Identifier: GPL-2.0-or-later
"""The formats of ``compare --format``, and where they go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from freezingtime.errors import InputError, did_you_mean
from freezingtime.host.os_errors import os_errors_as
from freezingtime.host.replaced_file import replaced, require_place
from freezingtime.results.exports.figures import to_bencher, to_github_benchmark, to_openmetrics
from freezingtime.results.exports.github import to_annotations, to_markdown
from freezingtime.results.exports.json_document import to_json
from freezingtime.results.exports.junit import to_junit
from freezingtime.results.exports.otava import to_otava
from freezingtime.results.judged import JudgedComparison

Writer: TypeAlias = Callable[[Sequence[JudgedComparison]], str]

_TEXT = "text"
_WRITERS: Mapping[str, Writer] = {
    "json": to_json,
    "junit": to_junit,
    "bmf": to_bencher,
    "gh-benchmark": partial(to_github_benchmark, smaller=True),
    "gh-benchmark-bigger": partial(to_github_benchmark, smaller=False),
    "github": to_annotations,
    "markdown": to_markdown,
    "openmetrics": to_openmetrics,
    "otava": to_otava,
}
FORMAT_NAMES = (_TEXT, *_WRITERS)


@dataclass(frozen=True, slots=True)
class Output:
    """One ``--format``."""

    write: Writer | None
    """None: the text for people, on stdout."""
    path: Path | None
    """None: stdout."""

    def save(self, judged: Sequence[JudgedComparison]) -> None:
        """Write the file, which appears whole; nothing where it goes to stdout.

        Raises:
            InputError: it cannot be written.
        """
        if self.path is None or self.write is None:
            return
        content = self.write(judged).encode(errors="backslashreplace")
        cure = "name a file in a directory"
        with os_errors_as(InputError, f"--format {self.path}", cure), replaced(self.path) as file:
            file.write(content)


def parse_outputs(texts: Sequence[str]) -> list[Output]:
    """Parse the values of ``--format``: ``FORMAT``, or ``FORMAT=FILE``.

    Raises:
        InputError: there is no such format, a file cannot be written, or several would go to
            stdout.
    """
    outputs = list(map(_parse, texts))
    for each in outputs:
        if each.path is not None:
            require_place("--format", each.path)
    if sum(each.path is None for each in outputs) > 1:
        raise InputError("--format: only one goes to stdout; write FORMAT=FILE for the others")
    return outputs


def _parse(text: str) -> Output:
    name, equals, file = text.partition("=")
    if name not in FORMAT_NAMES:
        raise InputError(
            f"--format {text}: unknown format; {did_you_mean(name, FORMAT_NAMES)}"
            f"available: {', '.join(FORMAT_NAMES)}"
        )
    if equals and not file:
        raise InputError(f"--format {text}: has no file; write {name}=FILE")
    if file and name == _TEXT:
        raise InputError(f"--format {text}: text goes to stdout; redirect it")
    return Output(_WRITERS.get(name), Path(file) if file else None)
