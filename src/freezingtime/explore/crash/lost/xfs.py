# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks of XFS by what they hold, in the words of xfs_db (xfsprogs).

What xfs_db prints comes from a guest: a line that is not as expected says nothing, and a name is
only ever shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from freezingtime.explore.crash.lost.spans import BLOCKS_MOST, blocks_of, list_names

_SECTOR_BYTES = 512
_BLOCK_EXPONENTS = range(9, 17)
#: Of a block's inodes, and of a group's blocks.
_INODES_EXPONENT_MAX, _GROUP_EXPONENT_MAX = 8, 31
_NAME = re.compile(r"^ *(\d+) (.+)$", re.MULTILINE)
_USE = re.compile(r"^block \d+ \((\d+)/(\d+)\) type (\w+)(?: inode (\d+)(?: .*)?)?$", re.MULTILINE)
_KINDS = {
    "sb": "a superblock",
    "log": "the journal",
    "free1": "nothing, as the block is free",
    "free2": "nothing, as the block is free",
}


@dataclass(frozen=True, slots=True)
class XfsLayout:
    """Sizes in a file system."""

    block_bytes: int
    group_blocks: int
    block_exponent: int
    """Of the number of inodes in a block."""
    group_exponent: int
    """Of the number of blocks that numbers of inodes have room for in a group."""

    def place(self, block: int) -> tuple[int, int]:
        """Return a block's allocation group, and its place there."""
        return divmod(block, self.group_blocks)

    def inodes_in(self, block: int) -> range:
        """The inodes that a block would hold."""
        group, place = self.place(block)
        first = (group << self.group_exponent | place) << self.block_exponent
        return range(first, first + (1 << self.block_exponent))


def read_layout(start: bytes) -> XfsLayout | None:
    """Read a disk's first sector; None: it is not of XFS's kind.

    Source: Linux, fs/xfs/libxfs/xfs_format.h (``struct xfs_dsb``).
    """
    if start[:4] != b"XFSB" or len(start) < _SECTOR_BYTES:
        return None
    block_bytes = int.from_bytes(start[4:8], "big")
    group_blocks = int.from_bytes(start[84:88], "big")
    block_exponent, group_exponent = start[123], start[124]
    if (
        block_bytes not in [1 << exponent for exponent in _BLOCK_EXPONENTS]
        or not 0 < group_blocks <= 1 << group_exponent
        or block_exponent > _INODES_EXPONENT_MAX
        or group_exponent > _GROUP_EXPONENT_MAX
    ):
        return None
    return XfsLayout(block_bytes, group_blocks, block_exponent, group_exponent)


def questions_about_blocks(layout: XfsLayout, blocks: Iterable[int]) -> list[str]:
    """The commands of xfs_db that name all inodes, and say what blocks are used for."""
    questions = ["blockget -n", "ncheck"]
    for block in blocks:
        questions += [f"daddr {block * layout.block_bytes // _SECTOR_BYTES}", "blockuse -n"]
    return questions


@dataclass(frozen=True, slots=True)
class XfsAnswers:
    """XfsAnswers of xfs_db to these questions."""

    layout: XfsLayout
    uses: Mapping[tuple[int, int], tuple[str, int | None]]
    """What a block of a group is, and whose."""
    names: Mapping[int, str]
    directories: frozenset[int]

    @classmethod
    def read(cls, layout: XfsLayout, text: str) -> XfsAnswers:
        """Read them."""
        uses = {
            (int(group), int(place)): (kind, int(inode) if inode else None)
            for group, place, kind, inode in _USE.findall(text)
        }
        # A directory is named by its entry for itself.
        found = {int(inode): name for inode, name in _NAME.findall(text)}
        names = {inode: "/" + name.removesuffix("/.") for inode, name in found.items()}
        directories = frozenset(inode for inode, name in found.items() if name.endswith("/."))
        return cls(layout, uses, names, directories)

    def contents(self, offset_bytes: int, length_bytes: int) -> tuple[str, ...]:
        """Return what these bytes hold, each thing once."""
        blocks = blocks_of(offset_bytes, length_bytes, self.layout.block_bytes)[:BLOCKS_MOST]
        held = map(self._content, blocks)
        return tuple(dict.fromkeys(content for content in held if content))

    def _content(self, block: int) -> str:
        use = self.uses.get(self.layout.place(block))
        if use is None:
            return ""
        kind, owner = use
        if kind == "inode":
            names = [self.names[n] for n in self.layout.inodes_in(block) if n in self.names]
            return f"the inodes of {list_names(names)}" if names else "inodes that nothing names"
        if owner is None:
            return _KINDS.get(kind, f"metadata ({kind})")
        name = self.names.get(owner)
        if kind == "data":
            return f"inode {owner}, which has no name" if name is None else f"data of {name}"
        if kind == "dir":
            return f"the directory {name or '/'}"
        return f"metadata of {name or f'inode {owner}'} ({kind})"
