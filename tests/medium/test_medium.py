# SPDX-License-Identifier: GPL-2.0-or-later
"""Media against a bytearray that does the same, and their failures by what they say.

Every medium passes the same random operations; direct I/O runs where the file system of
the temporary directory has it. Concurrent neighbours are tried with real threads.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import io
import mmap
import os
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezingtime.errors import InputError
from freezingtime.medium import fallocate, file_access
from freezingtime.medium.base import SECTOR_BYTES, Medium
from freezingtime.medium.delay import Delay, DelayMedium
from freezingtime.medium.file import FileMedium
from freezingtime.medium.memory import MemoryMedium
from freezingtime.medium.overlay import OverlayMedium
from freezingtime.medium.sector_map import SectorMap, SectorSource
from freezingtime.request import Buffer
from tests.conftest import require_tool

# More than two of the sector map's chunks, and not a whole number of pages.
SIZE_BYTES = 2 * 2**20 + 3 * SECTOR_BYTES
SIZE_SECTORS = SIZE_BYTES // SECTOR_BYTES

OpenMedium = Callable[[Path], Medium]


def filled_file(directory: Path, size_bytes: int = SIZE_BYTES) -> Path:
    """Make a file with content that is the same everywhere and different in each sector."""
    path = directory / "disk.img"
    path.write_bytes(random.Random(1).randbytes(size_bytes))
    return path


def has_direct_io(directory: Path) -> bool:
    try:
        fd = os.open(directory / "probe", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    except OSError:
        return False
    os.close(fd)
    return True


def open_memory(directory: Path) -> Medium:
    medium = MemoryMedium(SIZE_BYTES)
    medium.write(0, filled_file(directory).read_bytes())
    return medium


def open_buffered(directory: Path) -> Medium:
    return FileMedium(filled_file(directory), writable=True)


def open_direct(directory: Path) -> Medium:
    if not has_direct_io(directory):
        pytest.skip(f"no direct I/O in {directory}")
    return FileMedium(filled_file(directory), writable=True, direct=True)


def open_direct_with_large_sectors(directory: Path) -> Medium:
    """As on a file system that takes whole pages only, whatever the one below takes."""
    medium = open_direct(directory)
    assert isinstance(medium, FileMedium)
    assert isinstance(medium._access, file_access.DirectAccess)
    medium._access._alignment_bytes = 4096
    return medium


def open_overlay(directory: Path) -> Medium:
    return OverlayMedium(FileMedium(filled_file(directory), writable=False), directory)


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


def fail_with_eio(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def random_range(rng: random.Random) -> tuple[int, int]:
    """Pick an offset and a length in bytes: often short, at times across chunks."""
    length_sectors = rng.choice([1, 1, 8, 8, 9, 64, 300, 2048, 2500])
    offset_sectors = rng.randrange(SIZE_SECTORS - length_sectors + 1)
    if rng.random() < 0.5:
        offset_sectors = offset_sectors // 2048 * 2048
    return offset_sectors * SECTOR_BYTES, length_sectors * SECTOR_BYTES


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


# --- Files ---


def test_a_write_reaches_the_file(tmp_path: Path) -> None:
    path = filled_file(tmp_path)
    with closing(FileMedium(path, writable=True)) as medium:
        assert medium.size_bytes == SIZE_BYTES
        assert medium.describe() == f"file:{path}"
        medium.write(512, b"x" * 512)
        medium.flush()
    assert path.read_bytes()[512:1024] == b"x" * 512


def test_a_discard_gives_space_back(tmp_path: Path) -> None:
    path = filled_file(tmp_path)
    os.sync()
    before_blocks = path.stat().st_blocks
    with closing(FileMedium(path, writable=True)) as medium:
        if not fallocate.punch_hole(medium._fd, 0, 4096):
            pytest.skip(f"no holes in {tmp_path}")
        medium.discard(0, 2**20)
    assert path.stat().st_blocks < before_blocks


def test_zeros_are_written_where_fallocate_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("punch_hole", "zero_range"):
        monkeypatch.setattr(fallocate, name, lambda *_: False)
    path = filled_file(tmp_path)
    original = path.read_bytes()
    with closing(FileMedium(path, writable=True)) as medium:
        medium.zero(512, 2**20 + 1024)
        medium.discard(2 * 2**20, 512)
    after = path.read_bytes()
    assert after[:512] == original[:512]
    assert after[512 : 2**20 + 1536] == bytes(2**20 + 1024)
    assert after[2**20 + 1536 : 2 * 2**20] == original[2**20 + 1536 : 2 * 2**20]
    assert after[2 * 2**20 : 2 * 2**20 + 512] == bytes(512)
    assert after[2 * 2**20 + 512 :] == original[2 * 2**20 + 512 :]


def test_short_transfers_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pread, pwritev = os.pread, os.pwritev
    monkeypatch.setattr(os, "pread", lambda fd, n, offset: pread(fd, min(n, 700), offset))
    monkeypatch.setattr(
        os, "pwritev", lambda fd, parts, offset, flags: pwritev(fd, [parts[0][:700]], offset, flags)
    )
    data = random.Random(2).randbytes(8192)
    with closing(FileMedium(filled_file(tmp_path), writable=True)) as medium:
        medium.write(1024, data)
        assert medium.read(1024, 8192) == data


@pytest.mark.parametrize("opener", [open_buffered, open_direct])
def test_a_file_that_shrinks_is_a_failure_that_names_it(tmp_path: Path, opener: OpenMedium) -> None:
    with closing(opener(tmp_path)) as medium:
        os.truncate(tmp_path / "disk.img", 512)
        with pytest.raises(
            OSError, match=r"disk\.img: cannot read 4096 bytes at 8192: .* truncated"
        ):
            medium.read(8192, 4096)


def test_a_full_disk_is_a_failure_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwritev(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwritev", pwritev)
    with closing(FileMedium(filled_file(tmp_path), writable=True)) as medium:
        with pytest.raises(OSError, match="cannot write 512 bytes at 1024: No space") as caught:
            medium.write(1024, bytes(512))
        assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda medium: medium.zero(0, 512), "cannot zero 512 bytes at 0: Input/output error"),
        (lambda medium: medium.discard(512, 512), "cannot discard 512 bytes at 512: Input/output"),
        (lambda medium: medium.flush(), "cannot flush: Input/output error"),
    ],
)
def test_every_failure_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[Medium], None], said: str
) -> None:
    monkeypatch.setattr(fallocate, "punch_hole", fail_with_eio)
    monkeypatch.setattr(fallocate, "zero_range", fail_with_eio)
    monkeypatch.setattr(os, "fdatasync", fail_with_eio)
    with (
        closing(open_buffered(tmp_path)) as medium,
        pytest.raises(OSError, match=rf"file:{tmp_path}/disk\.img: {said}"),
    ):
        call(medium)


@pytest.mark.parametrize("punch_or_zero", [fallocate.punch_hole, fallocate.zero_range])
def test_fallocate_tells_failing_from_unsupported(
    tmp_path: Path, punch_or_zero: Callable[[int, int, int], bool]
) -> None:
    with filled_file(tmp_path).open("r+b") as file:
        assert punch_or_zero(file.fileno(), 0, -1) is False
    with pytest.raises(OSError, match="Bad file descriptor"):
        punch_or_zero(-1, 0, 512)


def test_size_can_be_less_than_the_file(tmp_path: Path) -> None:
    path = filled_file(tmp_path)
    with closing(FileMedium(path, writable=False, size_bytes=1024)) as medium:
        assert medium.size_bytes == 1024


def refusal(path: Path, *, writable: bool = False, size_bytes: int | None = None) -> str:
    """Return what is said about a file that cannot be used, after ``file:PATH: ``."""
    with pytest.raises(InputError) as caught:
        FileMedium(path, writable=writable, size_bytes=size_bytes)
    prefix = f"file:{path}: "
    assert str(caught.value).startswith(prefix)
    return str(caught.value).removeprefix(prefix)


def test_a_missing_file_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "no disk"
    assert refusal(path) == f"no such file; create it with 'truncate -s 1G '{path}''"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "is a directory; name a file or a block device in it"


def test_a_pipe_is_refused_without_waiting_for_its_other_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe").startswith("is neither a regular file nor a block device")


def test_an_empty_file_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert refusal(path) == f"is empty; give it a size with 'truncate -s 1G {path}'"


def test_a_file_of_odd_size_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = filled_file(tmp_path, 1000)
    assert refusal(path) == (
        f"1000 bytes is not a multiple of 512; pad it with 'truncate -s %512 {path}'"
    )


def test_a_file_smaller_than_the_size_asked_for_is_refused(tmp_path: Path) -> None:
    path = filled_file(tmp_path, 4096)
    assert refusal(path, size_bytes=8192) == (
        f"too small for size=8KiB, has 4KiB; extend it with 'truncate -s 8192 {path}'"
    )


def qemu_io(path: Path, *commands: str, read_only: bool = False) -> str:
    """What QEMU's own tool says of the file, which it locks as a running QEMU does."""
    options = ["-r"] if read_only else []
    words = [word for command in commands for word in ("-c", command)]
    ended = subprocess.run(
        [require_tool("qemu-io"), "-f", "raw", *options, *words, path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.stdout


def test_qemus_tools_and_we_exclude_each_other(tmp_path: Path) -> None:
    path = filled_file(tmp_path)
    with closing(FileMedium(path, writable=True)):
        for read_only, command in ((False, "write 0 512"), (True, "read 0 512")):
            assert 'Failed to get "consistent read" lock' in qemu_io(
                path, command, read_only=read_only
            )
    with closing(FileMedium(path, writable=False)):
        assert 'Failed to get "write" lock' in qemu_io(path, "write 0 512")
        assert "read 512/512 bytes" in qemu_io(path, "read 0 512", read_only=True)
    assert "wrote 512/512 bytes" in qemu_io(path, "write 0 512")


@pytest.mark.parametrize("theirs", [True, False], ids=["they write", "they read"])
def test_a_file_that_a_qemu_has_is_refused(tmp_path: Path, theirs: bool) -> None:
    path = filled_file(tmp_path)
    options = [] if theirs else ["-r"]
    qemu = subprocess.Popen(
        [require_tool("qemu-io"), "-f", "raw", *options, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert qemu.stdin is not None
        assert qemu.stdout is not None
        qemu.stdin.write("length\n")
        qemu.stdin.flush()
        qemu.stdout.readline()
        assert refusal(path, writable=True).startswith("another process uses it; wait for it")
        if theirs:
            assert refusal(path).startswith("another process writes to it; wait for it to end")
        else:
            FileMedium(path, writable=False).close()
    finally:
        qemu.communicate("quit\n", timeout=60)
    FileMedium(path, writable=True).close()


def test_a_file_is_told_from_one_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    base = FileMedium(Path(path.name), writable=False)
    medium = DelayMedium(OverlayMedium(base, tmp_path), Delay(0, 0))
    with closing(medium):
        monkeypatch.chdir("/")
        assert medium.displacement() is None
        path.rename(tmp_path / "moved")
        assert medium.displacement() == f"file:{path.name} was deleted while it was in use"
        filled_file(tmp_path)
        assert medium.displacement() == (
            f"file:{path.name} was replaced by another file while it was in use"
        )
        (tmp_path / "moved").rename(path)
        assert medium.displacement() is None
        os.truncate(path, medium.size_bytes - 1)
        assert medium.displacement() == f"file:{path.name} was truncated while it was in use"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errno.EACCES, "permission denied; allow it with 'chmod u+rw "),
        (errno.EROFS, "is on a read-only file system; omit writable=yes"),
        (errno.EBUSY, "is mounted or part of another device; unmount it"),
        (errno.ELOOP, "cannot be opened (Too many levels of symbolic links); name a readable"),
    ],
)
def test_a_file_that_cannot_be_opened_is_refused_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, said: str
) -> None:
    """The errors are staged, since nothing forbids root to open a file."""
    path = filled_file(tmp_path)

    def fail(*_: object) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "open", fail)
    assert refusal(path, writable=True).startswith(said)


def test_a_file_has_one_writer_or_many_readers(tmp_path: Path) -> None:
    path = filled_file(tmp_path)
    cure = "wait for it to end, or use a copy of the file"
    with closing(FileMedium(path, writable=True)):
        assert refusal(path, writable=True) == f"another process uses it; {cure}"
        assert refusal(path) == f"another process writes to it; {cure}"
    with (
        closing(FileMedium(path, writable=False)),
        closing(FileMedium(path, writable=False)),
    ):
        assert refusal(path, writable=True) == f"another process uses it; {cure}"
    FileMedium(path, writable=True).close()


def test_direct_is_refused_where_the_file_system_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoDirectAccess:
        def __init__(self, *_: object, **__: object) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("freezingtime.medium.file.DirectAccess", NoDirectAccess)
    path = filled_file(tmp_path)
    open_fds = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(InputError, match=r"no direct I/O on this file system \(Invalid argument\)"):
        FileMedium(path, writable=True, direct=True)
    assert len(os.listdir("/proc/self/fd")) == open_fds  # noqa: PTH208


def test_direct_falls_back_to_whole_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a disk with sectors of 4 KiB: only the cache takes less."""
    if not has_direct_io(tmp_path):
        pytest.skip(f"no direct I/O in {tmp_path}")
    preadv, pwritev = os.preadv, os.pwritev

    def check_whole_pages(buffer: memoryview, offset: int) -> None:
        if offset % 4096 or len(buffer) % 4096:
            raise OSError(errno.EINVAL, "Invalid argument")

    def strict_preadv(fd: int, buffers: list[memoryview], offset: int) -> int:
        check_whole_pages(buffers[0], offset)
        return preadv(fd, buffers, offset)

    def strict_pwritev(fd: int, buffers: list[memoryview], offset: int, flags: int) -> int:
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT:
            check_whole_pages(buffers[0], offset)
        return pwritev(fd, buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", strict_preadv)
    monkeypatch.setattr(os, "pwritev", strict_pwritev)
    path = filled_file(tmp_path)
    content = bytearray(path.read_bytes())
    with closing(FileMedium(path, writable=True, direct=True)) as medium:
        assert medium.read(512, 512) == content[512:1024]
        assert medium.read(SIZE_BYTES - 512, 512) == content[-512:]
        for offset, length in ((512, 1024), (4096, 512), (8192, 8192)):
            medium.write(offset, b"x" * length)
            content[offset : offset + length] = b"x" * length
        assert medium.read(0, SIZE_BYTES) == content


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
