# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest images with flipped bits: found out, passed by, and in no other guest's way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.errors import InputError
from freezingtime.images.check import is_sound, open_root_disk
from freezingtime.images.guest_image import (
    GuestImage,
    find_image,
    list_unusable_images,
)
from freezingtime.medium.base import SECTOR_BYTES
from freezingtime.medium.checked import BLOCK_BYTES
from freezingtime.runs.guest import ready_image, require_image
from freezingtime.store.cache import cache_directory
from tests.conftest import RunProgram
from tests.store.imagelib import PLACES, SIZE_BYTES, flip_bit, make_root, store


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_directory()


def read(image: GuestImage, offset_bytes: int, length_bytes: int) -> bytes:
    medium = open_root_disk(image)
    try:
        return bytes(medium.read(offset_bytes, length_bytes))
    finally:
        medium.close()


@pytest.mark.parametrize("sealed", [True, False])
def test_what_is_whole_passes(cache: Path, sealed: bool) -> None:
    """Also one that was built before there were checksums: it is given some."""
    image = store(cache, "big", sealed=sealed)
    assert is_sound(image)
    assert (image.directory / "checksums.json").exists()
    assert is_sound(image, whole=True)
    assert ready_image("big", lambda *_: None) == image
    assert (image.directory / "root.sums").stat().st_size == 41 * 8


@settings(max_examples=40)
@given(data=st.data())
def test_reads_are_those_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    cache = tmp_path_factory.getbasetemp() / "checked-reads" / "freezingtime"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(cache.parent))
        image = find_image("big") or store(cache, "big")
        content = make_root(cache / "again.img")
        medium = open_root_disk(image)
        for _ in range(5):
            first = data.draw(st.integers(0, SIZE_BYTES // SECTOR_BYTES - 1))
            last = data.draw(st.integers(first + 1, SIZE_BYTES // SECTOR_BYTES))
            start_bytes, end_bytes = first * SECTOR_BYTES, last * SECTOR_BYTES
            assert (
                medium.read(start_bytes, end_bytes - start_bytes) == content[start_bytes:end_bytes]
            )
        medium.close()


DAMAGES: dict[str, Callable[[GuestImage], None]] = {
    "vmlinuz": lambda image: flip_bit(image.kernel_path, 3000),
    "initrd.cpio": lambda image: flip_bit(image.initrd_path, 0),
    # Still a manifest, of another kernel; it says so nowhere else.
    "manifest.json": lambda image: flip_bit(
        image.manifest_path, image.manifest_path.read_text().index("6.1")
    ),
    "root.sums": lambda image: flip_bit(image.directory / "root.sums", 17 * 8),
    "checksums.json": lambda image: flip_bit(image.directory / "checksums.json", 0),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_one_flipped_bit_of_a_file(
    cache: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = store(cache, "good"), store(cache, "bad")
    DAMAGES[name](bad)
    with pytest.raises(
        InputError, match=rf"--guest bad: the image {bad.directory.name} is damaged; build it"
    ):
        ready_image("bad", lambda *_: None)
    (note,) = caplog.records
    assert f"the image {bad.directory.name} is damaged ({name}: " in note.message
    # From now on everybody knows, and no other guest cares.
    assert find_image("bad") is None
    (unusable,) = list_unusable_images()
    assert unusable.reason.startswith(f"it is damaged ({name}: ")
    with pytest.raises(InputError, match=r"--guest bad: .* cannot be used: it is damaged \("):
        require_image("bad")
    assert ready_image("good", lambda *_: None) == good


@pytest.mark.parametrize("place", [PLACES[0], PLACES[1] + 100, 30 * BLOCK_BYTES, SIZE_BYTES - 1])
def test_one_flipped_bit_of_the_root_disk(cache: Path, place: int) -> None:
    """In data or in a hole: who does not read it is not concerned, who does gets nothing."""
    image = store(cache, "big")
    content = make_root(cache / "again.img")
    assert image.root_path is not None
    flip_bit(image.root_path, place)
    assert is_sound(image)
    block_bytes = place // BLOCK_BYTES * BLOCK_BYTES
    neighbour_bytes = 10 * BLOCK_BYTES
    assert read(image, neighbour_bytes, 512) == content[neighbour_bytes:][:512]
    assert find_image("big") == image
    with pytest.raises(OSError, match=rf"root.img is damaged: the \d+ bytes at {block_bytes} "):
        read(image, block_bytes, 512)
    assert find_image("big") is None
    (unusable,) = list_unusable_images()
    assert f"root.img: the {min(BLOCK_BYTES, SIZE_BYTES - block_bytes)} b" in unusable.reason


def test_all_of_the_root_disk_is_checked_before_an_image_passes_for_built(cache: Path) -> None:
    image = store(cache, "big")
    assert image.root_path is not None
    flip_bit(image.root_path, 30 * BLOCK_BYTES + 5)
    assert is_sound(image)
    assert not is_sound(image, whole=True)
    assert find_image("big") is None


def test_a_damaged_image_without_checksums(cache: Path) -> None:
    image = store(cache, "big", sealed=False)
    assert image.root_path is not None
    flip_bit(image.root_path, PLACES[1])
    assert not is_sound(image)
    assert find_image("big") is None
    assert not (image.directory / "checksums.json").exists()


def test_the_list_says_it(cache: Path, freezingtime: RunProgram) -> None:
    image = store(cache, "bad")
    flip_bit(image.kernel_path, 0)
    assert not is_sound(image)
    listed = freezingtime("image", "list", environment={"XDG_CACHE_HOME": str(cache.parent)})
    assert listed.returncode == 0
    assert listed.stderr.startswith(
        f"freezingtime: skipped {image.directory.name}: it is damaged (vmlinuz: its checksum is "
    )
    sums = json.loads((image.directory / "checksums.json").read_text())
    assert sums.keys() == {"vmlinuz", "initrd.cpio", "manifest.json", "root.sums"}
