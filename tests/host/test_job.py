# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs on the host's side: directories packed, files unpacked, the control disk's layout."""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from freezingtime.errors import GuestError, InputError, RunError
from freezingtime.vm.collected_files import Collected, unpack_collected
from freezingtime.vm.control_disk import (
    COLLECTED_OFFSET_BYTES,
    FILES_OFFSET_BYTES,
    MESSAGE_OFFSET_BYTES,
    SCRIPT_MAX_BYTES,
    ControlDisk,
)
from freezingtime.vm.job import Job, directory_script, pack
from freezingtime.vm.job_messages import exit_status, first_word, unexpected_message
from freezingtime.vm.qemu.frontends import DriverSetting


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


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    made.size = 3 if kind == tarfile.REGTYPE else 0
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def archive_of(*members: tarfile.TarInfo | str, content: bytes = b"abc") -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for given in members:
            tar.addfile(member(given) if isinstance(given, str) else given, io.BytesIO(content))
    return archive.getvalue()


def collected(content: bytes) -> ControlDisk:
    """A control disk on which the guest has put this, in pieces as a driver would."""
    disk = ControlDisk()
    for start in range(0, len(content), 4096):
        disk.write(COLLECTED_OFFSET_BYTES + start, content[start : start + 4096])
    return disk


def unpack(content: bytes, out: Path, limit_bytes: int = 1 << 20) -> Collected:
    with closing(collected(content)) as disk:
        return unpack_collected(disk.collected, out, limit_bytes=limit_bytes)


def refused(content: bytes, directory: Path) -> str:
    """Why it is not unpacked; asserts that nothing is left of it."""
    with pytest.raises(RunError, match="cannot write the collected files") as caught:
        unpack(content, directory / "collected")
    assert list(directory.iterdir()) == []
    return str(caught.value)


class TestCollected:
    def test_files_come_back(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert unpack(archive_of("etc/a", "b c"), out).names == ["b c", "etc/a"]
        assert (out / "etc" / "a").read_bytes() == b"abc"

    def test_nothing(self, tmp_path: Path) -> None:
        assert unpack(b"", tmp_path / "out") == Collected()
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("name", ["../escaped", "a/../../escaped", "/tmp/escaped"])
    def test_nothing_lands_elsewhere(self, tmp_path: Path, name: str) -> None:
        assert "leads outside the directory" in refused(archive_of("first", name), tmp_path)

    def test_only_files_and_directories_without_rights_of_others(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        result = unpack(
            archive_of(
                member("link", tarfile.SYMTYPE, linkname="/etc"),
                member("null", tarfile.CHRTYPE, devmajor=1, devminor=3),
                member("disk", tarfile.BLKTYPE, devmajor=8),
                member("pipe", tarfile.FIFOTYPE),
                member("directory", tarfile.DIRTYPE, mode=0o7777),
                member("directory/root", mode=0o7777, uid=65534, gid=65534, uname="nobody"),
                member("nothing", mode=0),
                member("again", tarfile.LNKTYPE, linkname="nothing"),
            ),
            out,
        )
        assert result.left_out == ["link", "null", "disk", "pipe"]
        assert result.names == ["again", "directory/root", "nothing"]
        found = {path.name: path.lstat() for path in out.rglob("*")}
        assert set(found) == {"directory", "root", "again", "nothing"}
        assert all(state.st_uid == os.getuid() for state in found.values())
        assert not any(state.st_mode & 0o7022 for state in found.values())
        assert found["nothing"].st_mode & 0o777 == 0o600
        assert found["nothing"].st_ino == found["again"].st_ino

    def test_a_link_of_an_earlier_run_leads_nowhere(self, tmp_path: Path) -> None:
        victim, out = tmp_path / "victim", tmp_path / "out"
        victim.mkdir()
        out.mkdir()
        (out / "collected.unfinished").symlink_to(victim)
        (out / "collected").symlink_to(victim)
        with pytest.raises(RunError, match="cannot write the collected files"):
            unpack(archive_of("a"), out / "collected")
        assert list(victim.iterdir()) == []

    def test_a_file_through_a_link_of_the_same_archive(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        link = member("way", tarfile.SYMTYPE, linkname=str(tmp_path))
        assert unpack(archive_of(link, "way/file"), out).names == ["way/file"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]

    def test_a_link_to_what_is_not_in_it(self, tmp_path: Path) -> None:
        link = member("shadow", tarfile.LNKTYPE, linkname="etc/shadow")
        assert "which is not a file" in refused(archive_of(link), tmp_path)
        link = member("shadow", tarfile.LNKTYPE, linkname="../../etc/shadow")
        assert "leads outside the directory" in refused(archive_of(link), tmp_path)

    def test_a_file_twice(self, tmp_path: Path) -> None:
        first = archive_of("a", content=b"old")[:1024]
        assert unpack(first + archive_of("a", content=b"new"), tmp_path / "out").names == ["a"]
        assert (tmp_path / "out" / "a").read_bytes() == b"new"

    def test_too_much(self, tmp_path: Path) -> None:
        content = bytes(1 << 19)
        members = [member(name, size=len(content)) for name in ("a", "b", "c")]
        assert unpack(archive_of(*members[:2], content=content), tmp_path / "o").names == ["a", "b"]
        assert (tmp_path / "o" / "a").stat().st_blocks == 0
        (tmp_path / "other").mkdir()
        reason = refused(archive_of(*members, content=content), tmp_path / "other")
        assert "the files exceed 1MiB" in reason
        assert "allow more with --collect-limit" in reason

    @pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
    def test_a_header_that_would_fill_memory(self, tmp_path: Path, kind: bytes) -> None:
        """Of a gigabyte that is not there."""
        header = member("name", kind, size=1 << 30).tobuf(tarfile.USTAR_FORMAT)
        assert "damaged" in refused(archive_of("a")[:1024] + header, tmp_path)

    def test_headers_within_headers_without_end(self, tmp_path: Path) -> None:
        long_name = member("name", tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.USTAR_FORMAT)
        assert "damaged" in refused(long_name * 3000, tmp_path)

    def test_an_archive_that_ends_too_early(self, tmp_path: Path) -> None:
        assert "damaged" in refused(
            archive_of(member("a", size=5000), content=bytes(5000))[:2048], tmp_path
        )
        damaged = bytearray(archive_of("a", "b"))
        damaged[1024 + 150] ^= 1
        assert "damaged" in refused(bytes(damaged), tmp_path)

    def test_a_sparse_file_fills_no_disk(self) -> None:
        with closing(ControlDisk()) as disk:
            for start in range(0, 64 << 20, 1 << 20):
                disk.write(COLLECTED_OFFSET_BYTES + start, bytes(1 << 20))
            state = os.fstat(disk.collected.fileno())
            assert (state.st_size, state.st_blocks) == (64 << 20, 0)

    def test_more_than_is_to_be_handed_over_ends_the_run(self) -> None:
        with closing(ControlDisk()) as disk:
            disk.set_job(Job(b"#!", collect_limit_bytes=1 << 20), disk_count=0)
            disk.write(COLLECTED_OFFSET_BYTES + (1 << 20), b"abc")
            with pytest.raises(RunError, match=r"files of more than 1MiB.*--collect-limit"):
                disk.write(COLLECTED_OFFSET_BYTES + (1 << 30), b"abc")


class TestMessages:
    def test_exit_status(self) -> None:
        assert [exit_status(f"EXIT {status}") for status in (0, 7, 255)] == [0, 7, 255]

    @pytest.mark.parametrize(
        "text",
        ["EXIT", "EXIT ", "EXIT 256", "EXIT -1", "EXIT 1e2", "EXIT 0 0", "EXIT \u0661", "EXIT 0x1"],
    )
    def test_no_exit_status(self, text: str) -> None:
        with pytest.raises(GuestError, match="expected 'EXIT <0 to 255>'") as caught:
            exit_status(text)
        assert repr(text) in str(caught.value)

    def test_words(self) -> None:
        assert first_word("READY") == "READY"
        assert first_word("LIMIT") == first_word("EXITED 1") == first_word("") == ""
        assert "sent 'READY' over" in str(unexpected_message("READY", "EXIT"))
        assert str(unexpected_message("FAILED no port", "EXIT")) == "the guest: no port"


class TestControlDisk:
    def test_layout(self, tmp_path: Path) -> None:
        with (
            closing(ControlDisk()) as disk,
            closing(pack(make_job(tmp_path / "job"))) as files,
        ):
            files.seek(0)
            archive = files.read()
            job = Job(b"#!script", {"A": "b"}, files, ["x*", "y"], sync=True)
            disk.set_job(job, disk_count=3, driver_settings=[DriverSetting("depth", "a-disk", 7)])
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
            disk.write(MESSAGE_OFFSET_BYTES, b" DONE\n".ljust(4096, b"\0"))
            assert disk.take_messages() == ["EXIT 0", "DONE"]
            assert disk.take_messages() == []

    def test_long_script_is_refused(self) -> None:
        with (
            closing(ControlDisk()) as disk,
            pytest.raises(InputError, match="put large data in a job directory or on a disk"),
        ):
            disk.set_job(Job(bytes(SCRIPT_MAX_BYTES + 1)), disk_count=0)
