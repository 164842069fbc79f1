# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks of btrfs by what they hold, in the words of its own tool (btrfs-progs).

Blocks have addresses of their own, which chunks map to places on the disk. What the tool prints
comes from a guest: a line that is not as expected says nothing, and a name is only ever shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from freezingtime.explore.crash.lost.spans import BLOCKS_MOST, blocks_of, list_names

#: The smallest unit that is allocated, whatever the machine; a node has several.
BLOCK_BYTES = 4096
#: Where the copies of the superblock are, with room for one each.
_SUPERBLOCKS = (64 << 10, 64 << 20, 256 << 30)
#: Where the first one is.
SUPERBLOCK_OFFSET_BYTES = _SUPERBLOCKS[0]
_MAGIC_OFFSET_BYTES, _MAGIC = 64, b"_BHRfS_M"
_DATA = "DATA"
_NODE_SIZE = slice(148, 152)
_NODE_BYTES = [4096 << exponent for exponent in range(5)]
_CHUNK = re.compile(r"^\s*item \d+ key \(\S+ CHUNK_ITEM (\d+)\)", re.MULTILINE)
_LENGTH = re.compile(r"^\s*length (\d+) owner \d+ stripe_len \d+ type (\w+)", re.MULTILINE)
_STRIPE = re.compile(r"^\s*stripe \d+ devid \d+ offset (\d+)$", re.MULTILINE)
_ANSWER = re.compile(r"^address (\d+)$", re.MULTILINE)
_NODE = re.compile(r"^(?:leaf|node) (\d+) .* owner (\w+)", re.MULTILINE)


def node_bytes_of(superblock: bytes) -> int | None:
    """The size of a node, of the bytes at 64 KiB of a disk; None: they are not of btrfs's kind.

    Source: Linux, fs/btrfs/ctree.h (``struct btrfs_super_block``).
    """
    if not superblock[_MAGIC_OFFSET_BYTES:].startswith(_MAGIC):
        return None
    node_bytes = int.from_bytes(superblock[_NODE_SIZE], "little")
    return node_bytes if node_bytes in _NODE_BYTES else None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Addresses that are mapped together."""

    first: int
    length_bytes: int
    kind: str
    places: tuple[int, ...]
    """Where its copies begin on the disk."""


@dataclass(frozen=True, slots=True)
class BtrfsLayout:
    """Chunks of a file system, and the size of its nodes."""

    node_bytes: int
    chunks: Sequence[Chunk]

    def address(self, block: int) -> tuple[int, str] | None:
        """Return the address of a block, or of its node, and its chunk's kind; None: no chunk."""
        place = block * BLOCK_BYTES
        for chunk in self.chunks:
            for start in chunk.places:
                if start <= place < start + chunk.length_bytes:
                    address = chunk.first + place - start
                    unit = BLOCK_BYTES if chunk.kind == _DATA else self.node_bytes
                    return address // unit * unit, chunk.kind
        return None

    def addresses(self, blocks: Iterable[int]) -> list[int]:
        """Return the addresses of blocks, each once."""
        found = map(self.address, blocks)
        return list(dict.fromkeys(address[0] for address in found if address is not None))


def read_chunks(text: str) -> list[Chunk]:
    """Read the chunk tree, as ``dump-tree -t chunk`` prints it."""
    starts = list(_CHUNK.finditer(text))
    ends = [*(start.start() for start in starts[1:]), len(text)]
    chunks = []
    for start, end in zip(starts, ends, strict=False):
        item = text[start.end() : end]
        if length := _LENGTH.search(item):
            places = tuple(map(int, _STRIPE.findall(item)))
            chunks.append(Chunk(int(start[1]), int(length[1]), length[2], places))
    return chunks


@dataclass(frozen=True, slots=True)
class BtrfsAnswers:
    """BtrfsAnswers of the tool about addresses, each behind a line ``address NUMBER``."""

    layout: BtrfsLayout
    said: Mapping[int, str]

    @classmethod
    def read(cls, layout: BtrfsLayout, text: str, point: str) -> BtrfsAnswers:
        """Read them; the file system was mounted at ``point``."""
        starts = list(_ANSWER.finditer(text))
        ends = [*(start.start() for start in starts[1:]), len(text)]
        said = {}
        for start, end in zip(starts, ends, strict=False):
            said[int(start[1])] = "".join(_meant(text[start.end() : end], int(start[1]), point))
        return cls(layout, said)

    def contents(self, offset_bytes: int, length_bytes: int) -> tuple[str, ...]:
        """Return what these bytes hold, each thing once."""
        blocks = blocks_of(offset_bytes, length_bytes, BLOCK_BYTES)[:BLOCKS_MOST]
        return tuple(dict.fromkeys(map(self._content, blocks)))

    def _content(self, block: int) -> str:
        if block * BLOCK_BYTES in _SUPERBLOCKS:
            return "a superblock"
        found = self.layout.address(block)
        if found is None:
            return "nothing, as the block is in no chunk"
        address, kind = found
        if said := self.said.get(address, ""):
            return said
        return "nothing, as the block is free" if kind == _DATA else f"metadata ({kind})"


def _meant(answer: str, address: int, point: str) -> Iterator[str]:
    """What an answer means: who has the data, or whose node it is."""
    names = [
        line.removeprefix(point) for line in answer.splitlines() if line.startswith(f"{point}/")
    ]
    if names:
        yield f"data of {list_names(names)}"
    elif (node := _NODE.search(answer)) and int(node[1]) == address:
        yield f"a node of {node[2]}"
