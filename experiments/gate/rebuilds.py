# SPDX-License-Identifier: GPL-2.0-or-later
"""Rebuilds of one program that change nothing but where its code and data lie."""

from __future__ import annotations

import hashlib
import itertools
import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_SOURCES = Path(__file__).parent / "program"
_PARTS = ("main", "table", "log")
_ALIGNMENTS = (1, 16, 32, 64)
#: Padding between the parts: of code, and of data that has a value or none.
_PADDING = """    .section .note.GNU-stack,"",@progbits
    .text
    .fill {code}, 1, 0x90
    .data
    .fill {data}, 1, 1
    .bss
    .zero {bss}
"""


@dataclass(frozen=True, slots=True)
class Builder:
    """Objects to link programs of, in a directory."""

    directory: Path

    def compile(self) -> None:
        """Compile every part with every alignment, and what starts the programs."""
        for part, alignment in itertools.product(_PARTS, _ALIGNMENTS):
            self._gcc("-c", f"-falign-functions={alignment}", _SOURCES / f"{part}.c", "-o",
                      self._object(part, alignment))  # fmt: skip
        self._gcc(_SOURCES / "drive.c", "-o", self.directory / "drive")

    def link(self, number: int, target: Path) -> None:
        """Link rebuild ``number``, always the same; 0 is the program as a plain build makes it."""
        drawn = random.Random(f"rebuild {number}")
        order = list(_PARTS)
        if not number:
            self._gcc(*(self._object(part, 16) for part in order), "-o", target)
            return
        drawn.shuffle(order)
        parts: list[Path] = []
        for place, part in enumerate(order):
            parts += [self._padding(drawn, f"{number}-{place}"), self._object(part, _drawn(drawn))]
        hash_style = drawn.choice(("gnu", "sysv", "both"))
        self._gcc(*parts, f"-Wl,--hash-style={hash_style}", "-o", target)

    def _object(self, part: str, alignment: int) -> Path:
        return self.directory / f"{part}-{alignment}.o"

    def _padding(self, drawn: random.Random, name: str) -> Path:
        source = self.directory / f"padding-{name}.s"
        source.write_text(
            _PADDING.format(
                code=drawn.randrange(1, 6000),
                data=drawn.randrange(1, 6000),
                bss=drawn.randrange(1, 20000),
            )
        )
        return source

    def _gcc(self, *arguments: object) -> None:
        subprocess.run(["gcc", "-O2", *map(str, arguments)], check=True, cwd=self.directory)


def _drawn(drawn: random.Random) -> int:
    return drawn.choice(_ALIGNMENTS)


def batched(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Numbers, so many at a time."""
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]


def sources_identity() -> str:
    """A digest of the sources, of how they are linked, and of the compiler."""
    digest = hashlib.sha256(subprocess.check_output(["gcc", "--version"]))
    for path in (Path(__file__), *sorted(_SOURCES.iterdir())):
        digest.update(path.read_bytes())
    return digest.hexdigest()
