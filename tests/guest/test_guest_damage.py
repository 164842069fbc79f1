# SPDX-License-Identifier: GPL-2.0-or-later
"""A flipped bit anywhere in the cache: the run heals what can be made again, and says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from freezingtime.images.build import build_mini_image
from freezingtime.images.debian.suite import DEFAULT
from freezingtime.images.guest_image import find_image
from freezingtime.store.cache import cache_directory
from tests.conftest import RunProgram

# Each boots the guest; one builds it.
pytestmark = [pytest.mark.guest, pytest.mark.slow]

WORDS = ("run", "-q", "--", "echo", "well")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of its own, with what building an image takes."""
    image = find_image() or build_mini_image(DEFAULT)
    root = tmp_path / "cache" / "freezingtime"
    root.mkdir(parents=True)
    shutil.copytree(cache_directory() / "debian", root / "debian")
    (root / "images").mkdir()
    shutil.copytree(image.directory, root / "images" / image.directory.name)
    return root


def flip_bit(path: Path, share: float) -> None:
    with path.open("r+b") as file:
        file.seek(int(share * path.stat().st_size))
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 16]))


def test_a_damaged_snapshot_is_taken_anew(freezingtime: RunProgram, cache: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(cache.parent)}
    freezingtime(*WORDS, environment=environment)
    (snapshot,) = (cache / "snapshots").glob("[!.]*")
    flip_bit(snapshot / "state", 0.4)
    ran = freezingtime(*WORDS, environment=environment)
    assert (ran.returncode, ran.stdout) == (0, "well\n")
    assert "is damaged (state: its checksum is" in ran.stderr
    assert ran.stderr.endswith("the guest is booted again\n")
    assert ran.stderr.count("\n") == 1
    assert list((cache / "snapshots").glob("[!.]*")) == [snapshot]
    again = freezingtime(*WORDS, environment=environment)
    assert (again.returncode, again.stdout, again.stderr) == (0, "well\n", "")


@pytest.mark.parametrize("name", ["vmlinuz", "initrd.cpio"])
def test_a_damaged_mini_image_is_built_anew(
    freezingtime: RunProgram, cache: Path, name: str
) -> None:
    environment = {"XDG_CACHE_HOME": str(cache.parent)}
    freezingtime(*WORDS, environment=environment)
    (image,) = (cache / "images").glob("mini-*")
    flip_bit(image / name, 0.5)
    ran = freezingtime(*WORDS, environment=environment)
    assert (ran.returncode, ran.stdout) == (0, "well\n")
    assert f"the image {image.name} is damaged ({name}: " in ran.stderr
    again = freezingtime(*WORDS, environment=environment)
    assert (again.returncode, again.stdout, again.stderr) == (0, "well\n", "")
