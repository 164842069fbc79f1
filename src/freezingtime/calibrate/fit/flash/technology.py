# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits of the times of flash, by the number of bits in a cell.

The limits enclose what is published of each technology, with room for drives that are faster
or slower: ISSCC's presentations (SLC 4 us and 75 us; TLC of 57 to 184 MB/s a die with reads of
40 to 58 us; QLC of 30 MB/s), the tables of FEMU (``hw/femu/nand/nand.h``: MLC 48 to 64 us and
850 to 2300 us, TLC 56 to 106 us, QLC 59 to 170 us) and of SimpleSSD and NVMeVirt, and reads of
88, 116 and 165 us of a drive's three kinds of TLC pages. Programs write all pages of a cell in
one go (one-shot), as drives do since TLC.
"""

from __future__ import annotations

from dataclasses import dataclass

_US = 1000


@dataclass(frozen=True, slots=True)
class Technology:
    """Limits of one kind of cells, in ns; least and most."""

    name: str
    page_kinds: int
    """Kinds of pages, each with a time to read; as many are programmed at once."""
    read_ns: tuple[int, int]
    """Of the page in the middle."""
    program_ns: tuple[int, int]
    """Of all pages of the cells."""
    erase_ns: int
    """Usual; of little weight."""


_TECHNOLOGIES = (
    Technology("slc", 1, (3 * _US, 60 * _US), (60 * _US, 1_000 * _US), 3_000 * _US),
    Technology("mlc", 2, (25 * _US, 110 * _US), (400 * _US, 4_000 * _US), 5_000 * _US),
    Technology("tlc", 3, (25 * _US, 130 * _US), (500 * _US, 6_000 * _US), 10_000 * _US),
    Technology("qlc", 4, (45 * _US, 250 * _US), (2_000 * _US, 20_000 * _US), 15_000 * _US),
)
TECHNOLOGIES = {technology.name: technology for technology in _TECHNOLOGIES}
