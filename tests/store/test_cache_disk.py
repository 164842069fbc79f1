# SPDX-License-Identifier: GPL-2.0-or-later
"""A cache on a disk that takes nothing, or no more: mounted for the test, as root may."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from freezingtime.store.cache import cache_directory
from tests.conftest import RunProgram, require_root

pytestmark = pytest.mark.guest


@pytest.fixture
def warm(freezingtime: RunProgram) -> Path:
    """A cache in which there is all that a run needs."""
    ran = freezingtime("run", "-q", "--", "true")
    assert ran.returncode == 0, ran.stderr
    return cache_directory()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory to mount on."""
    require_root()
    place = tmp_path / "mounted"
    place.mkdir()
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_warm_cache_may_be_read_only(warm: Path, place: Path, freezingtime: RunProgram) -> None:
    environment = {"XDG_CACHE_HOME": str(place)}
    subprocess.run(["mount", "--bind", warm.parent, place], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
    ran = freezingtime("run", "-q", "--", "echo", "well", environment=environment)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("well\n", "", 0)
    listed = freezingtime("image", "list", environment=environment)
    assert (listed.stderr, listed.returncode) == ("", 0)
    words = "(Read-only file system): set XDG_CACHE_HOME to a writable directory\n"
    for command in (
        ["run", "--save", "x", "--", "true"],  # before the job
        ["run", "--memory", "257MiB", "--", "true"],
        ["image", "remove", "mini"],
    ):
        refused = freezingtime(*command, environment=environment)
        assert refused.returncode == 2
        assert refused.stdout == ""
        assert refused.stderr.splitlines()[-1].endswith(words.strip())
    found = freezingtime("doctor", environment=environment)
    assert "read-only" in found.stdout


def test_a_full_cache_is_named(
    warm: Path, place: Path, freezingtime: RunProgram, tmp_path: Path
) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "none", place], check=True)
    cache = place / "freezingtime"
    cache.mkdir()
    for part in ("images", "snapshots", "qemus"):
        if (warm / part).exists():  # of qemus: unless the pinned one is installed
            (cache / part).symlink_to(warm / part)
    environment = {"XDG_CACHE_HOME": str(place), "TMPDIR": str(tmp_path)}
    ran = freezingtime("run", "-q", "--save", "x", "--", "true", environment=environment)
    assert ran.returncode == 1
    assert "No space left on device" in ran.stderr
    assert "free space, or set XDG_CACHE_HOME" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert os.listdir(cache / "saved") == [".lock"]  # noqa: PTH208
