"""Jobs on the host's side: directories packed, files unpacked, the control disk's layout."""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from freezingtime.errors import InputError, RunError
from freezingtime.machine.control_disk import (
    COLLECTED_OFFSET_BYTES,
    FILES_OFFSET_BYTES,
    MESSAGE_OFFSET_BYTES,
    SCRIPT_MAX_BYTES,
    ControlDisk,
)
from freezingtime.machine.job import Job, directory_script, pack, unpack_collected
from freezingtime.machine.qemu_frontends import ToldDepth


def make_job(directory: Path) -> Path:
    (directory / "data").mkdir(parents=True)
    (directory / "data" / "numbers").write_bytes(bytes(range(256)) * 300)
    (directory / "run").write_text("#!/bin/sh\n")
    (directory / "run").chmod(0o755)
    return directory


class TestDirectory:
    def test_equal_content_gives_equal_bytes(self, tmp_path: Path) -> None:
        one, other = make_job(tmp_path / "one"), make_job(tmp_path / "other")
        os.utime(other / "run", (1, 1))
        with closing(pack(one)) as first, closing(pack(other)) as second:
            first.seek(0)
            second.seek(0)
            content = first.read()
            assert content == second.read()
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            members = tar.getmembers()
        assert [member.name for member in members] == ["data", "data/numbers", "run"]
        assert {(member.uid, member.mtime) for member in members} == {(0, 1_577_836_800)}
        assert members[-1].mode & 0o777 == 0o755

    def test_program_that_cannot_be_executed(self, tmp_path: Path) -> None:
        job = make_job(tmp_path / "job")
        assert directory_script(job).startswith(b"#!/bin/sh\n")
        (job / "run").chmod(0o644)
        with pytest.raises(InputError, match=r"run: cannot be executed; allow it with 'chmod \+x"):
            directory_script(job)


def archive_of(*names: str) -> io.BytesIO:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))
    return archive


def collected(content: bytes) -> ControlDisk:
    """A control disk on which the guest has put this, in pieces as a driver would."""
    disk = ControlDisk(lambda message: None)
    for start in range(0, len(content), 4096):
        disk.write(COLLECTED_OFFSET_BYTES + start, content[start : start + 4096])
    return disk


class TestCollected:
    def test_files_come_back(self, tmp_path: Path) -> None:
        with closing(collected(archive_of("etc/a", "b c").getvalue())) as disk:
            assert unpack_collected(disk.collected, tmp_path / "out") == ["b c", "etc/a"]
        assert (tmp_path / "out" / "etc" / "a").read_bytes() == b"abc"

    def test_nothing(self, tmp_path: Path) -> None:
        with closing(collected(b"")) as disk:
            assert unpack_collected(disk.collected, tmp_path / "out") == []
        assert not (tmp_path / "out").exists()

    def test_nothing_lands_elsewhere(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        with (
            closing(collected(archive_of("../escaped").getvalue())) as disk,
            pytest.raises(RunError, match="cannot write what was collected"),
        ):
            unpack_collected(disk.collected, out)
        assert not (tmp_path / "escaped").exists()


class TestControlDisk:
    def test_layout(self, tmp_path: Path) -> None:
        messages: list[str] = []
        with (
            closing(ControlDisk(messages.append)) as disk,
            closing(pack(make_job(tmp_path / "job"))) as files,
        ):
            files.seek(0)
            archive = files.read()
            job = Job(b"#!script", {"A": "b"}, files, ["x*", "y"], sync=True)
            disk.set_job(job, disk_count=3, depths=[ToldDepth("a-disk", 7)])
            header = bytes(disk.read(0, 4096)).rstrip(b"\0").decode().split("\n")
            assert header[:-1] == [
                "FREEZINGTIME-JOB 3",
                "script_bytes=8",
                "env_bytes=4",
                "collect_bytes=5",
                f"files_bytes={len(archive)}",
                "disks=3",
                "sync=1",
                "unmount=0",
                "depth:a-disk=7",
            ]
            assert bytes(disk.read(4096, 4096)).rstrip(b"\0") == b"#!scriptA=b\nx*\ny\n"
            first = bytes(disk.read(FILES_OFFSET_BYTES, 4096))
            rest = bytes(disk.read(FILES_OFFSET_BYTES + 4096, 1 << 20))
            assert (first + rest)[: len(archive)] == archive
            assert not any((first + rest)[len(archive) :])
            disk.write(MESSAGE_OFFSET_BYTES, b"EXIT 0".ljust(4096, b"\0"))
        assert messages == ["EXIT 0"]

    def test_long_script_is_refused(self) -> None:
        with (
            closing(ControlDisk(lambda message: None)) as disk,
            pytest.raises(InputError, match="put large data into a job directory, or on a disk"),
        ):
            disk.set_job(Job(bytes(SCRIPT_MAX_BYTES + 1)), disk_count=0)
