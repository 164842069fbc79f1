# SPDX-License-Identifier: GPL-2.0-or-later
"""Copy-on-write over a file: the base stays as it is, and what has changed is kept apart."""

from __future__ import annotations

import errno
import io
import os
import random
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezingtime.errors import InputError
from freezingtime.medium import fallocate
from freezingtime.medium.base import SECTOR_BYTES
from freezingtime.medium.file import FileMedium
from freezingtime.medium.memory import MemoryMedium
from freezingtime.medium.overlay import OverlayMedium
from freezingtime.medium.sector_map import SectorMap, SectorSource
from tests.support.medialib import (
    SIZE_BYTES,
    fail_with_eio,
    filled_file,
    open_overlay,
    random_range,
)

# --- Copy-on-write ---


def test_the_base_of_an_overlay_is_never_written(tmp_path: Path) -> None:
    path = filled_file(tmp_path)
    original = path.read_bytes()
    with closing(open_overlay(tmp_path)) as medium:
        medium.write(0, b"x" * 8192)
        medium.discard(8192, SIZE_BYTES - 8192)
        assert medium.writable
        assert medium.read(0, SIZE_BYTES) == b"x" * 8192 + bytes(SIZE_BYTES - 8192)
    assert path.read_bytes() == original


def test_an_overlay_leaves_no_file_behind(tmp_path: Path) -> None:
    scratch_dir = tmp_path / "scratch"
    scratch_dir.mkdir()
    base = FileMedium(filled_file(tmp_path), writable=False)
    with closing(OverlayMedium(base, scratch_dir)) as medium:
        medium.write(0, bytes(4096))
        assert list(scratch_dir.iterdir()) == []


def test_an_overlay_without_its_directory_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with (
        closing(MemoryMedium(4096)) as base,
        pytest.raises(InputError, match=rf"^cannot keep copy-on-write data in {missing} \(No such"),
    ):
        OverlayMedium(base, missing)


def test_an_overlay_on_a_full_disk_names_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwritev(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with closing(OverlayMedium(MemoryMedium(4096), tmp_path)) as medium:
        monkeypatch.setattr(os, "pwritev", pwritev)
        with pytest.raises(OSError, match=f"file in {tmp_path}: cannot write 512 bytes: No space"):
            medium.write(0, b"x" * 512)
        assert medium.read(0, 512) == bytes(512)


def test_an_overlay_names_its_directory_when_reading_or_discarding_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(OverlayMedium(MemoryMedium(4096), tmp_path)) as medium:
        assert medium.describe() == f"memory, writes to {tmp_path}"
        medium.write(0, b"x" * 512)
        monkeypatch.setattr(os, "pread", fail_with_eio)
        monkeypatch.setattr(fallocate, "punch_hole", fail_with_eio)
        with pytest.raises(OSError, match=f"file in {tmp_path}: cannot read 512 bytes: Input"):
            medium.read(0, 512)
        with pytest.raises(OSError, match=f"file in {tmp_path}: cannot discard 512 bytes: Input"):
            medium.discard(0, 512)


def test_discarding_a_whole_large_disk_is_quick_and_small(tmp_path: Path) -> None:
    """What mkfs does first. A record of every sector would have two billion entries."""
    with closing(OverlayMedium(MemoryMedium(2**40), tmp_path)) as medium:
        medium.discard(0, 2**40)
        medium.write(2**39, b"x" * 512)
        assert medium.read(2**39, 1024) == b"x" * 512 + bytes(512)


@given(
    st.lists(
        st.tuples(st.integers(0, 5000), st.integers(1, 5000), st.sampled_from(list(SectorSource))),
        max_size=20,
    )
)
def test_the_sector_map_matches_a_list(marks: list[tuple[int, int, SectorSource]]) -> None:
    sectors, model = SectorMap(), [SectorSource.BASE] * 10_000
    for first, count, source in marks:
        sectors.mark(first * SECTOR_BYTES, count * SECTOR_BYTES, source)
        model[first : first + count] = [source] * count
    start_bytes, found = 0, []
    for run in sectors.runs(0, 10_000 * SECTOR_BYTES):
        assert run.offset_bytes == start_bytes
        start_bytes += run.length_bytes
        found += [run.source] * (run.length_bytes // SECTOR_BYTES)
    assert found == model


# --- The changes of an overlay ---


def test_saved_changes_are_what_differs(tmp_path: Path) -> None:
    """Zeroed and unchanged sectors cost next to nothing; all else comes back as it was."""
    rng = random.Random(7)
    changes = io.BytesIO()
    with closing(open_overlay(tmp_path)) as first:
        assert isinstance(first, OverlayMedium)
        for _ in range(20):
            offset_bytes, length_bytes = random_range(rng)
            first.write(offset_bytes, rng.randbytes(length_bytes))
            first.discard(*random_range(rng))
        expected = bytes(first.read(0, SIZE_BYTES))
        first.save_changes(changes)
    assert 0 < changes.tell() < SIZE_BYTES
    changes.seek(0)
    with closing(open_overlay(tmp_path)) as second:
        assert isinstance(second, OverlayMedium)
        second.load_changes(changes)
        assert second.read(0, SIZE_BYTES) == expected


def test_changes_cut_short_are_refused(tmp_path: Path) -> None:
    changes = io.BytesIO()
    with closing(open_overlay(tmp_path)) as medium:
        assert isinstance(medium, OverlayMedium)
        medium.write(0, bytes(4096))
        medium.save_changes(changes)
        for cut_bytes in (1, 4090):
            cut = io.BytesIO(changes.getvalue()[:-cut_bytes])
            with pytest.raises(ValueError, match="truncated"):
                medium.load_changes(cut)
