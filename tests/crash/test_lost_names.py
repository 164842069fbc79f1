# SPDX-License-Identifier: GPL-2.0-or-later
"""What lay in lost sectors, in the words of the file systems' real tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from freezingtime.explore.crash.lost import btrfs, naming, xfs
from freezingtime.explore.crash.lost.ext4 import (
    Ext4Answers,
    Ext4Layout,
    block_bytes_of,
    inodes_to_name,
    owners_of,
    questions_about_blocks,
    questions_about_inodes,
    read_layout,
)
from freezingtime.explore.crash.lost.lost_writes import lost_writes, named
from freezingtime.explore.crash.recovery.candidate import Candidate
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command
from freezingtime.units import parse_size_bytes
from tests.conftest import require_tool
from tests.crash.crashlib import crash_request, opened

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


def answers(image: Path, blocks: list[int]) -> Ext4Answers:
    of_blocks = ask(image, ["stats", *questions_about_blocks(blocks)])
    layout = read_layout(of_blocks)
    assert layout is not None
    inodes = inodes_to_name(layout, blocks, owners_of(of_blocks))
    return Ext4Answers.read(layout, of_blocks, ask(image, questions_about_inodes(sorted(inodes))))


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
    layout = Ext4Layout(4096, 0, 256, 8192, 512, frozenset(), frozenset(), {0: 10})
    names = {inode: f"/{inode}" for inode in range(1, 17)}
    said = Ext4Answers(layout, {}, frozenset(), names, frozenset())
    assert said.contents(10 * 4096, 4096) == ("the inodes of /1, /2, /3, /4 and 12 more",)


def make_xfs(directory: Path) -> Path:
    """A file system with a directory and two files."""
    content, image = directory / "content", directory / "disk.img"
    content.write_bytes(b"o" * 100_000)
    prototype = directory / "prototype"
    file = f"---644 0 0 {content}"
    prototype.write_text(f"/\n0 0\nd--755 0 0\nb {file}\nshop d--755 0 0\norders.db {file}\n$\n$\n")
    with image.open("wb") as disk:
        disk.truncate(320 << 20)
    command = [require_tool("mkfs.xfs"), "-q", "-f", "-p", prototype, image]
    subprocess.run(command, check=True, capture_output=True)
    return image


def test_every_block_of_xfs_has_its_name(tmp_path: Path) -> None:
    image = make_xfs(tmp_path)
    layout = xfs.read_layout(image.read_bytes()[:512])
    assert layout is not None
    size = layout.block_bytes
    # In the first group and, where the directory is, in another; the journal is in the middle.
    asked = [*range(200), *range(layout.group_blocks, layout.group_blocks + 200)]
    asked += [2 * layout.group_blocks + 10]
    said = subprocess.run(
        [require_tool("xfs_db"), "-r", image],
        input="".join(f"{line}\n" for line in xfs.questions_about_blocks(layout, asked)),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = xfs.XfsAnswers.read(layout, said.stdout)
    held = {block: answers.contents(block * size, size) for block in asked}
    assert held[0] == held[layout.group_blocks] == ("a superblock",)
    assert held[199] == ("nothing, as the block is free",)
    names = {name for contents in held.values() for name in contents}
    assert {"data of /b", "data of /shop/orders.db", "the journal"} <= names
    inodes = {name for name in names if name.startswith("the inodes of ")}
    assert {"/b", "/shop", "/shop/orders.db"} <= {
        word for name in inodes for word in name.removeprefix("the inodes of ").split(", ")
    }
    assert answers.contents(500 * size, size) == ()  # nobody asked


@pytest.mark.parametrize("change", [(0, b"x"), (4, b"\0\0\0\7"), (84, bytes(4)), (124, b"\xff")])
def test_what_is_no_xfs_has_no_blocks(tmp_path: Path, change: tuple[int, bytes]) -> None:
    start = bytearray(make_xfs(tmp_path).read_bytes()[:512])
    offset, new = change
    start[offset : offset + len(new)] = new
    assert xfs.read_layout(bytes(start)) is None
    assert xfs.read_layout(b"XFSB") is None


def test_every_node_of_btrfs_has_its_name(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    with image.open("wb") as disk:
        disk.truncate(128 << 20)
    subprocess.run([require_tool("mkfs.btrfs"), "-q", image], check=True, capture_output=True)

    def inspect(*arguments: object) -> str:
        command = ["btrfs", "inspect-internal", "dump-tree", *map(str, arguments), str(image)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    superblock = image.read_bytes()[64 << 10 : 68 << 10]
    node_bytes = btrfs.node_bytes_of(superblock)
    assert node_bytes == 16384
    assert btrfs.node_bytes_of(bytes(4096)) is None
    layout = btrfs.BtrfsLayout(node_bytes, btrfs.read_chunks(inspect("-t", "chunk")))
    kinds = {chunk.kind: chunk for chunk in layout.chunks}
    assert set(kinds) == {"DATA", "METADATA", "SYSTEM"}
    metadata = kinds["METADATA"]
    assert len(metadata.places) == 2
    blocks = [place // 4096 + number for place in metadata.places for number in range(64)]
    addresses = layout.addresses(blocks)
    assert len(addresses) == 16  # four blocks each, in two copies
    answers = btrfs.BtrfsAnswers.read(
        layout, "".join(f"address {a}\n{inspect('-b', a)}" for a in addresses), "/lost"
    )
    held = {block: answers.contents(block * 4096, 4096) for block in blocks}
    assert ("a node of FS_TREE",) in held.values()
    assert ("a node of EXTENT_TREE",) in held.values()
    # All four blocks of a node, and both copies.
    assert len({held[block] for block in blocks[:4]}) == 1
    assert [held[block] for block in blocks[:64]] == [held[block] for block in blocks[64:]]
    data = kinds["DATA"]
    of_data = btrfs.BtrfsAnswers.read(
        layout, f"address {data.first}\n/lost/shop/a b\n/lost/c\n", "/lost"
    )
    assert of_data.contents(data.places[0] - 4096, 12288) == (
        "nothing, as the block is in no chunk",
        "data of /shop/a b, /c",
        "nothing, as the block is free",
    )
    assert of_data.contents(64 << 10, 1) == ("a superblock",)


@pytest.mark.parametrize("text", ["", "item 1 key (X CHUNK_ITEM 5)", "stripe 0 devid 1 offset 7"])
def test_what_says_no_chunks_maps_nothing(text: str) -> None:
    layout = btrfs.BtrfsLayout(4096, btrfs.read_chunks(text))
    assert layout.address(3) is None


def test_a_tool_that_is_missing_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(naming, "find_host_program", lambda name: None)
    naming._say_missing.cache_clear()
    for _ in range(2):
        found = naming.name_contents("xfs", tmp_path / "none", [(0, 512)], RunOptions(), tmp_path)
        assert found is None
    assert caplog.messages == [
        "what was lost is not named: xfs_db is not installed (Debian has it in xfsprogs)"
    ]
    naming._say_missing.cache_clear()


@pytest.mark.slow
@pytest.mark.guest
@pytest.mark.parametrize(
    ("file_system", "size", "names"),
    [
        ("ext4", "64MiB", {"the directory /shop", "data of /shop/order", "the journal"}),
        ("xfs", "320MiB", {"data of /shop/order", "the journal"}),
        ("btrfs", "128MiB", {"data of /shop/order", "a node of FS_TREE", "a superblock"}),
    ],
)
def test_a_failure_names_what_was_lost(
    tmp_path: Path, file_system: str, size: str, names: set[str]
) -> None:
    require_tool(naming._TOOLS[file_system].program)
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(parse_size_bytes(size))
    subprocess.run(
        [require_tool(f"mkfs.{file_system}"), "-q", image], check=True, capture_output=True
    )
    (tmp_path / "liar.toml").write_text(
        'model = "constant"\nparameters = { read = "80us", write = "20us", flush = "500us" }\n'
        'durability = { torn_unit = "4KiB", ignores_flush = true }\n'
    )
    disk = f"{tmp_path / 'liar.toml'},medium=file:{image},mount=/data,fs={file_system}"
    job = "mkdir /data/shop; seq 9999 >/data/shop/order; sync; echo ACK shop/order"
    request = crash_request(job, disk, check=Command(line="true"))
    with opened(request, tmp_path / "out") as exploration:
        # All that is on its way in the end, whatever of it matters.
        *_, (point, states) = exploration.states_at(exploration.points())
        state = states.state(bytes(len(states.pieces)))
        candidate = Candidate(exploration.ground, point, states, state, b"")
        recoveries = exploration.recoveries
        lost = named(
            tuple(lost_writes(candidate, recoveries.names)),
            candidate,
            recoveries.names,
            recoveries.file_systems,
            request.options,
            exploration.directory.scratch_path,
        )
    held = {content for write in lost for content in write.holds}
    assert names <= held, held
