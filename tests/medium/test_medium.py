# SPDX-License-Identifier: GPL-2.0-or-later
"""Media against a bytearray that does the same, and their failures by what they say.

Every medium passes the same random operations; direct I/O runs where the file system of
the temporary directory has it. Concurrent neighbours are tried with real threads.
"""

from __future__ import annotations

import ctypes
import io
import mmap
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import pytest

from freezingtime.errors import InputError
from freezingtime.medium import file_access
from freezingtime.medium.base import SECTOR_BYTES, Medium
from freezingtime.medium.delay import Delay, DelayMedium
from freezingtime.medium.file import FileMedium
from freezingtime.medium.memory import MemoryMedium
from freezingtime.medium.overlay import OverlayMedium
from freezingtime.request import Buffer
from tests.support.medialib import (
    SIZE_BYTES,
    OpenMedium,
    filled_file,
    open_buffered,
    open_direct,
    open_memory,
    open_overlay,
    random_range,
)


def open_direct_with_large_sectors(directory: Path) -> Medium:
    """As on a file system that takes whole pages only, whatever the one below takes."""
    medium = open_direct(directory)
    assert isinstance(medium, FileMedium)
    assert isinstance(medium._access, file_access.DirectAccess)
    medium._access._alignment_bytes = 4096
    return medium


def open_reloaded(directory: Path) -> Medium:
    """An overlay whose changes, back to the same content, were saved by another one."""
    filled_file(directory)
    changes = io.BytesIO()
    with closing(open_overlay(directory)) as first:
        assert isinstance(first, OverlayMedium)
        content = bytes(first.read(0, SIZE_BYTES))
        first.zero(0, SIZE_BYTES)
        first.write(0, content[: 1 << 20])
        first.write(1 << 20, content[1 << 20 :])
        first.save_changes(changes)
    changes.seek(0)
    (directory / "base").write_bytes(bytes(SIZE_BYTES))
    second = OverlayMedium(FileMedium(directory / "base", writable=False), directory)
    second.load_changes(changes)
    return second


def open_delayed(directory: Path) -> Medium:
    return DelayMedium(open_memory(directory), Delay(1000, 1000))


OPENERS = [
    open_memory,
    open_buffered,
    open_direct,
    open_direct_with_large_sectors,
    open_overlay,
    open_reloaded,
    open_delayed,
]


@pytest.fixture(params=OPENERS, ids=lambda opener: opener.__name__.removeprefix("open_"))
def medium(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Medium]:
    opener: OpenMedium = request.param
    with closing(opener(tmp_path)) as medium:
        yield medium


# --- What all media have in common ---


@pytest.mark.parametrize("seed", range(3))
def test_random_operations_match_a_bytearray(medium: Medium, seed: int) -> None:
    rng = random.Random(seed)
    model = bytearray(medium.read(0, SIZE_BYTES))
    assert model == random.Random(1).randbytes(SIZE_BYTES)
    for _ in range(150):
        offset_bytes, length_bytes = random_range(rng)
        end_bytes = offset_bytes + length_bytes
        operation = rng.choice(["read", "read", "write", "write", "zero", "discard", "flush"])
        if operation == "write":
            data = rng.randbytes(length_bytes)
            as_buffer: Callable[[bytes], Buffer] = rng.choice([bytes, bytearray, memoryview])
            medium.write(offset_bytes, as_buffer(data))
            model[offset_bytes:end_bytes] = data
        elif operation == "zero":
            medium.zero(offset_bytes, length_bytes)
            model[offset_bytes:end_bytes] = bytes(length_bytes)
        elif operation == "discard":
            medium.discard(offset_bytes, length_bytes)
            model[offset_bytes:end_bytes] = bytes(length_bytes)
        elif operation == "flush":
            medium.flush()
        assert medium.read(offset_bytes, length_bytes) == model[offset_bytes:end_bytes]
    assert medium.read(0, SIZE_BYTES) == model


def test_what_was_read_does_not_change_later(medium: Medium) -> None:
    before = medium.read(0, 4096)
    copy = bytes(before)
    medium.write(0, bytes(4096))
    medium.read(0, 4096)
    assert before == copy


def test_concurrent_neighbours_do_not_lose_data(medium: Medium) -> None:
    """Threads that write neighbouring sectors at once: every sector has its own data after."""
    sectors = 1024

    def write_every_eighth(first: int) -> None:
        for sector in range(first, sectors, 8):
            medium.write(sector * SECTOR_BYTES, bytes([first + 1]) * SECTOR_BYTES)

    with ThreadPoolExecutor(max_workers=8) as threads:
        for result in [threads.submit(write_every_eighth, first) for first in range(8)]:
            result.result()
    expected = b"".join(bytes([first + 1]) * SECTOR_BYTES for first in range(8))
    assert medium.read(0, sectors * SECTOR_BYTES) == expected * (sectors // 8)


def test_closing_twice_is_harmless(medium: Medium) -> None:
    medium.close()
    medium.close()


# --- Memory ---


class HugePages(mmap.mmap):
    """A mapping as Linux makes it where ``transparent_hugepage/enabled`` says ``always``."""

    def __new__(cls, *arguments: Any, **keywords: Any) -> Self:
        pages = super().__new__(cls, *arguments, **keywords)
        pages.madvise(mmap.MADV_HUGEPAGE)
        return pages


def resident_bytes(pages: mmap.mmap) -> int:
    """What a mapping takes of the host's memory, by /proc/self/smaps."""
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    resident = 0
    inside = False
    for line in Path("/proc/self/smaps").read_text(encoding="ascii", errors="replace").splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = start <= int(found[1], 16) < start + len(pages)
        elif inside and line.startswith("Rss:"):
            resident += int(line.split()[1]) * 1024
    return resident


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="no huge pages in this kernel"
)
def test_a_write_to_memory_takes_a_page_and_no_huge_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freezingtime.medium.memory.mmap.mmap", HugePages)
    medium = MemoryMedium(2**40)
    monkeypatch.undo()
    with closing(medium):
        for number in range(50):
            medium.write(number * 2**30, b"x" * 4096)
        assert resident_bytes(medium._pages) == 50 * 4096


def test_memory_starts_as_zeros_and_takes_up_none() -> None:
    with closing(MemoryMedium(2**40)) as medium:
        assert medium.read(2**40 - 4096, 4096) == bytes(4096)
        assert not medium.may_block
        assert medium.writable


@pytest.mark.parametrize("size_bytes", [0, -512, 1000])
def test_memory_of_a_bad_size_is_refused(size_bytes: int) -> None:
    with pytest.raises(
        InputError, match=rf"^memory: {size_bytes} bytes: must be a positive multiple of 512$"
    ):
        MemoryMedium(size_bytes)


def test_more_memory_than_can_be_mapped_is_refused() -> None:
    with pytest.raises(InputError, match=r"^memory: cannot map 4194304TiB \(.*use a smaller"):
        MemoryMedium(2**62)


# --- Delay ---


def test_a_delayed_medium_takes_longer_and_is_otherwise_the_same() -> None:
    inner = MemoryMedium(4096)
    with closing(DelayMedium(inner, Delay(20_000_000, 20_000_000))) as medium:
        assert medium.may_block
        assert medium.describe() == "memory, delayed by 20ms"
        calls: list[Callable[[], object]] = [
            lambda: medium.write(0, b"x" * 512),
            lambda: medium.read(0, 512),
            lambda: medium.zero(0, 512),
            lambda: medium.discard(0, 512),
            medium.flush,
        ]
        for call in calls:
            start_ns = time.monotonic_ns()
            call()
            assert time.monotonic_ns() - start_ns >= 20_000_000


def test_random_delays_lie_between_the_two_and_are_the_same_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept_s: list[float] = []
    monkeypatch.setattr("freezingtime.medium.delay.time.sleep", slept_s.append)
    for _ in range(2):
        with closing(DelayMedium(MemoryMedium(4096), Delay(2_500_000, 10_000_000))) as medium:
            for _ in range(1000):
                medium.read(0, 512)
    assert slept_s[:1000] == slept_s[1000:]
    assert 0.0025 <= min(slept_s) < 0.0026
    assert 0.0099 < max(slept_s) <= 0.01
    # Uniform: the mean of 1000 is within 3 standard errors (10 - 2.5 ms) / sqrt(12 * 1000).
    assert abs(sum(slept_s[:1000]) / 1000 - 0.00625) < 0.0002
