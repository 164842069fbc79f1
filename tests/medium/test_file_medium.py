# SPDX-License-Identifier: GPL-2.0-or-later
"""Files as media: what reaches them, who else may have them, and each failure by what it says."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from freezingtime.errors import InputError
from freezingtime.medium import fallocate
from freezingtime.medium.base import Medium
from freezingtime.medium.delay import Delay, DelayMedium
from freezingtime.medium.file import FileMedium
from freezingtime.medium.overlay import OverlayMedium
from tests.conftest import require_tool
from tests.support.medialib import (
    SIZE_BYTES,
    OpenMedium,
    fail_with_eio,
    filled_file,
    has_direct_io,
    open_buffered,
    open_direct,
)


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
