# SPDX-License-Identifier: GPL-2.0-or-later
"""What lay in lost sectors of ext4, in the words of the real debugfs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from freezingtime.explore.crash.lost.ext4 import (
    Answers,
    Layout,
    block_bytes_of,
    inodes_to_name,
    owners_of,
    questions_about_blocks,
    questions_about_inodes,
    read_layout,
)
from tests.conftest import require_tool
from tests.crash.crashlib import crash_request, explore

_SIZE_BYTES = 64 << 20
#: Far behind all content, and before the end whatever the size of a block is.
_FREE = 15_000


def make_image(directory: Path, block_bytes: int) -> Path:
    """A file system with a directory and two files."""
    content, image = directory / "content", directory / "disk.img"
    (content / "shop").mkdir(parents=True)
    (content / "shop" / "orders.db").write_bytes(b"o" * 100_000)
    (content / "b").write_bytes(b"x" * 5000)
    command = [require_tool("mke2fs"), "-q", "-t", "ext4", "-b", str(block_bytes)]
    with image.open("wb") as file:
        file.truncate(_SIZE_BYTES)
    subprocess.run([*command, "-d", content, image], check=True)
    return image


def ask(image: Path, questions: list[str]) -> str:
    """As the guest does that looks."""
    file = image.with_name("questions")
    file.write_text("".join(f"{question}\n" for question in questions))
    ended = subprocess.run(
        [require_tool("debugfs"), "-f", file, image], capture_output=True, text=True, check=True
    )
    return ended.stdout


def blocks_of(image: Path, *names: str) -> list[int]:
    """The first block of each."""
    said = ask(image, [f"blocks {name}" for name in names])
    return [int(line.split()[0]) for line in said.splitlines() if line[:1].isdigit()]


def answers(image: Path, blocks: list[int]) -> Answers:
    of_blocks = ask(image, ["stats", *questions_about_blocks(blocks)])
    layout = read_layout(of_blocks)
    assert layout is not None
    inodes = inodes_to_name(layout, blocks, owners_of(of_blocks))
    return Answers.read(layout, of_blocks, ask(image, questions_about_inodes(sorted(inodes))))


@pytest.mark.parametrize("block_bytes", [1024, 4096])
def test_every_block_has_its_name(tmp_path: Path, block_bytes: int) -> None:
    image = make_image(tmp_path, block_bytes)
    assert block_bytes_of(image.read_bytes()[:2048]) == block_bytes
    layout = read_layout(ask(image, ["stats"]))
    assert layout is not None
    asked = [layout.first_block, min(layout.block_bitmaps), min(layout.inode_bitmaps), _FREE]
    asked += [layout.tables[0], *blocks_of(image, "<2>", "shop", "<8>", "shop/orders.db", "b")]
    said = answers(image, asked)

    def at(block: int) -> tuple[str, ...]:
        return said.contents(block * block_bytes, block_bytes)

    assert at(layout.first_block) == ("the superblock",)
    assert at(min(layout.block_bitmaps)) == ("a block bitmap",)
    assert at(min(layout.inode_bitmaps)) == ("an inode bitmap",)
    assert "/" in at(layout.tables[0])[0].removeprefix("the inodes of ").split(", ")
    by_owner = {owner: block for block, owner in said.owners.items()}
    names = {at(block)[0] for block in by_owner.values()}
    assert {"data of /shop/orders.db", "data of /b"} <= names
    assert {"the directory /", "the directory /shop", "the journal"} <= names
    # Bytes at odd places are those of all blocks that they touch.
    (first,) = blocks_of(image, "b")
    before = said.contents((first - 1) * block_bytes, block_bytes)
    assert said.contents(first * block_bytes - 512, 1024) == (*before, "data of /b")
    assert at(_FREE) == ("nothing, as the block is free",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Block size: 0\n",
        "Block size:  4096\n Group  0: block bitmap at x, inode bitmap at y, inode table at z\n",
        "Filesystem not open\n" * 3,
    ],
)
def test_a_tool_that_says_something_else_names_nothing(text: str) -> None:
    assert read_layout(text) is None
    assert owners_of(text) == {}


@pytest.mark.parametrize("start", [b"", b"\xff" * 2048, bytes(2048)])
def test_what_is_no_ext4_has_no_blocks(start: bytes) -> None:
    assert block_bytes_of(start) is None


def test_names_are_limited_in_number() -> None:
    layout = Layout(4096, 0, 256, 8192, 512, frozenset(), frozenset(), {0: 10})
    names = {inode: f"/{inode}" for inode in range(1, 17)}
    said = Answers(layout, {}, frozenset(), names, frozenset())
    assert said.contents(10 * 4096, 4096) == ("the inodes of /1, /2, /3, /4 and 12 more",)


@pytest.mark.slow
@pytest.mark.guest
def test_a_failure_names_what_was_lost(tmp_path: Path) -> None:
    require_tool("debugfs")
    (tmp_path / "liar.toml").write_text(
        'model = "constant"\nparameters = { read = "80us", write = "20us", flush = "500us" }\n'
        'durability = { torn_unit = "4KiB", ignores_flush = true }\n'
    )
    disk = f"{tmp_path / 'liar.toml'},size=64MiB,mount=/data"
    job = "mkdir /data/shop; echo paid >/data/shop/order; sync; echo ACK shop/order"
    found = explore(crash_request(job, disk, states=16), tmp_path / "out")
    held = {
        content for failure in found.failures for lost in failure.lost for content in lost.holds
    }
    assert held & {"the directory /shop", "the directory /", "data of /shop/order", "the journal"}
