# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks of ext4 by what they hold, in the words of debugfs (e2fsprogs).

What debugfs prints comes from a guest: a line that is not as expected says nothing, and a name is
only ever shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from freezingtime.explore.crash.lost.spans import BLOCKS_MOST, blocks_of, list_names

_JOURNAL_INODE = 8
#: Of 64 KiB, the largest block.
_BLOCK_EXPONENT_MAX = 6
_DIVISORS = ("block_bytes", "inode_bytes")
_NUMBERS_IN_LINE = 16

_VALUES = {
    "block_bytes": re.compile(r"^Block size: +(\d+)$", re.MULTILINE),
    "first_block": re.compile(r"^First block: +(\d+)$", re.MULTILINE),
    "inode_bytes": re.compile(r"^Inode size:\s+(\d+)$", re.MULTILINE),
    "group_inodes": re.compile(r"^Inodes per group: +(\d+)$", re.MULTILINE),
    "table_blocks": re.compile(r"^Inode blocks per group: +(\d+)$", re.MULTILINE),
}
_GROUP = re.compile(
    r"^ Group +(\d+): block bitmap at (\d+), inode bitmap at (\d+), inode table at (\d+)$",
    re.MULTILINE,
)
_OWNER = re.compile(r"^(\d+)\t(\d+)$", re.MULTILINE)
_NAME = re.compile(r"^(\d+)\t/?(/.*)$", re.MULTILINE)
_USED = re.compile(r"^Block (\d+) marked in use$", re.MULTILINE)
_DIRECTORY = re.compile(r"^Inode: (\d+) +Type: directory ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ext4Layout:
    """Structures of a file system by their places, which are block numbers."""

    block_bytes: int
    first_block: int
    inode_bytes: int
    group_inodes: int
    table_blocks: int
    block_bitmaps: frozenset[int]
    inode_bitmaps: frozenset[int]
    tables: Mapping[int, int]
    """The first block of each group's inodes, by group."""

    def blocks(self, offset_bytes: int, length_bytes: int) -> range:
        """The blocks that have a part of these bytes."""
        return blocks_of(offset_bytes, length_bytes, self.block_bytes)

    def inodes_in(self, block: int) -> range:
        """The inodes that a block of an inode table holds; none if it is no such block."""
        for group, first in self.tables.items():
            if first <= block < first + self.table_blocks:
                each = self.block_bytes // self.inode_bytes
                number = group * self.group_inodes + (block - first) * each + 1
                return range(number, number + each)
        return range(0)


def block_bytes_of(start: bytes) -> int | None:
    """The size of a block, of a disk's first 2 KiB; None: they are not of ext4's kind.

    Source: Linux, Documentation/filesystems/ext4/super.rst (``s_magic``, ``s_log_block_size``).
    """
    superblock = start[1024:]
    if superblock[56:58] != b"\x53\xef":
        return None
    exponent = int.from_bytes(superblock[24:28], "little")
    return 1024 << exponent if exponent <= _BLOCK_EXPONENT_MAX else None


def read_layout(text: str) -> Ext4Layout | None:
    """Read what debugfs says about a file system (``stats``); None: it says too little."""
    values = {name: pattern.search(text) for name, pattern in _VALUES.items()}
    groups = [tuple(map(int, group)) for group in _GROUP.findall(text)]
    numbers = {name: int(match[1]) for name, match in values.items() if match}
    if len(numbers) < len(values) or not groups or not all(numbers[n] for n in _DIVISORS):
        return None
    return Ext4Layout(
        **numbers,
        block_bitmaps=frozenset(group[1] for group in groups),
        inode_bitmaps=frozenset(group[2] for group in groups),
        tables={group[0]: group[3] for group in groups},
    )


def questions_about_blocks(blocks: Iterable[int]) -> list[str]:
    """The commands of debugfs that say who owns blocks, and whether they are in use."""
    asked = list(blocks)
    return [*_lines("icheck", asked), *(f"testb {block}" for block in asked)]


def questions_about_inodes(inodes: Iterable[int]) -> list[str]:
    """The commands of debugfs that say what inodes are, and their names."""
    asked = list(inodes)
    return [*_lines("ncheck", asked), *(f"stat <{inode}>" for inode in asked)]


def _lines(command: str, numbers: Sequence[int]) -> Iterator[str]:
    """Few numbers each: some versions of debugfs read no more than 255 characters of a line."""
    for start in range(0, len(numbers), _NUMBERS_IN_LINE):
        yield f"{command} {' '.join(map(str, numbers[start : start + _NUMBERS_IN_LINE]))}"


def owners_of(text: str) -> dict[int, int]:
    """The inodes that own blocks, as ``icheck`` says."""
    return {int(block): int(inode) for block, inode in _OWNER.findall(text)}


@dataclass(frozen=True, slots=True)
class Ext4Answers:
    """Ext4Answers of debugfs about blocks and inodes."""

    layout: Ext4Layout
    owners: Mapping[int, int]
    used: frozenset[int]
    names: Mapping[int, str]
    directories: frozenset[int]

    @classmethod
    def read(cls, layout: Ext4Layout, of_blocks: str, of_inodes: str) -> Ext4Answers:
        """Read the answers to the questions above."""
        return cls(
            layout,
            owners_of(of_blocks),
            frozenset(map(int, _USED.findall(of_blocks))),
            {int(inode): name for inode, name in _NAME.findall(of_inodes)} | {2: "/"},
            frozenset(map(int, _DIRECTORY.findall(of_inodes))),
        )

    def contents(self, offset_bytes: int, length_bytes: int) -> tuple[str, ...]:
        """Return what these bytes hold, each thing once."""
        blocks = self.layout.blocks(offset_bytes, length_bytes)[:BLOCKS_MOST]
        return tuple(dict.fromkeys(map(self._content, blocks)))

    def _content(self, block: int) -> str:
        layout = self.layout
        if block == layout.first_block:
            return "the superblock"
        if block in layout.block_bitmaps:
            return "a block bitmap"
        if block in layout.inode_bitmaps:
            return "an inode bitmap"
        if inodes := layout.inodes_in(block):
            names = [self.names[inode] for inode in inodes if inode in self.names]
            return f"the inodes of {list_names(names)}" if names else "inodes that nothing names"
        if (owner := self.owners.get(block)) is not None:
            return self._part_of(owner)
        return "metadata" if block in self.used else "nothing, as the block is free"

    def _part_of(self, inode: int) -> str:
        if inode == _JOURNAL_INODE:
            return "the journal"
        if (name := self.names.get(inode)) is None:
            return f"inode {inode}, which has no name"
        return f"the directory {name}" if inode in self.directories else f"data of {name}"


def inodes_to_name(
    layout: Ext4Layout, blocks: Iterable[int], owners: Mapping[int, int]
) -> set[int]:
    """The inodes whose names say what blocks hold."""
    return {inode for block in blocks for inode in _inodes_of(layout, block, owners)}


def _inodes_of(layout: Ext4Layout, block: int, owners: Mapping[int, int]) -> Iterator[int]:
    yield from layout.inodes_in(block)
    if (owner := owners.get(block)) is not None:
        yield owner
