# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks in other forms, compressed ones, and other programs' files: told by their magic."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from freezingtime.device.registry import describe
from freezingtime.disk.disk import Disk
from freezingtime.disk.media import open_medium
from freezingtime.disk.spec import check_disk, parse_disk
from freezingtime.errors import InputError
from freezingtime.host.file_formats import (
    FORMATS,
    HEAD_BYTES,
    TAIL_BYTES,
    FileFormat,
    FileKind,
    recognize,
)
from freezingtime.images.imported import ImportPlan
from freezingtime.medium.file import FileMedium
from tests.conftest import RunProgram, require_tool

# What QEMU's own tool makes, by its name for the format, and what we call it.
MADE_BY_QEMU = {
    "qcow2": "a qcow2 image",
    "qcow": "a qcow2 image",
    "vmdk": "a VMDK image",
    "vdi": "a VDI image",
    "vhdx": "a VHDX image",
    "vpc": "a VHD image",
    "vpc,subformat=fixed": "a VHD image",
    "vmdk,subformat=monolithicFlat": "the descriptor of a VMDK image",
    "qed": "a QED image",
    "parallels": "a Parallels image",
}


def made_by_qemu(form: str, directory: Path) -> Path:
    kind, _, option = form.partition(",")
    path = directory / "disk.img"
    subprocess.run(
        [require_tool("qemu-img"), "create", "-q", "-f", kind, "-o", option, str(path), "16M"]
        if option
        else [require_tool("qemu-img"), "create", "-q", "-f", kind, str(path), "16M"],
        check=True,
        capture_output=True,
    )
    return path


@pytest.mark.parametrize("writable", ["", ",writable=yes"])
@pytest.mark.parametrize("form", MADE_BY_QEMU)
def test_an_image_in_another_form_is_no_medium(form: str, writable: str, tmp_path: Path) -> None:
    path = made_by_qemu(form, tmp_path)
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        open_medium(parse_disk(f"constant:1us,medium=file:{path}{writable}"), tmp_path)
    raw = tmp_path / "disk.raw"
    boot = f", boot it with --guest {path}" if form.startswith("qcow") else ""
    assert str(caught.value) == (
        f"--disk: medium=file:{path}: is {MADE_BY_QEMU[form]}, not a raw image; convert it "
        f"with 'qemu-img convert -O raw {path} {raw}'{boot}, or, if a guest wrote that "
        "to a raw disk, add format=raw"
    )
    assert path.read_bytes() == before


def test_the_cure_of_an_image_in_another_form_works(tmp_path: Path) -> None:
    path = made_by_qemu("qcow2", tmp_path)
    with pytest.raises(InputError) as caught:
        FileMedium(path, writable=True)
    command = str(caught.value).split("'")[1]
    subprocess.run(command, shell=True, check=True)
    with closing(FileMedium(tmp_path / "disk.raw", writable=True)) as medium:
        assert medium.size_bytes == 16 << 20


def test_what_a_guest_wrote_to_a_raw_disk_is_the_disks(tmp_path: Path) -> None:
    """A whole qcow2 image on a raw disk, which says that its backing file is the host's."""
    path = tmp_path / "disk.img"
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 65536)
    image = tmp_path / "in-guest.qcow2"
    subprocess.run(
        [
            *(require_tool("qemu-img"), "create", "-q", "-f", "qcow2"),
            *("-b", str(secret), "-F", "raw", str(image)),
        ],
        check=True,
    )
    path.write_bytes(image.read_bytes().ljust(1 << 20, b"\0"))
    with pytest.raises(InputError, match=r"is a qcow2 image.* add format=raw"):
        open_medium(parse_disk(f"constant:1us,medium=file:{path}"), tmp_path)
    disk = Disk("constant:1us", file=path, writable=True, format="raw")
    with closing(open_medium(check_disk(disk), tmp_path)) as medium:
        assert medium.size_bytes == 1 << 20
        assert medium.read(0, 65536) == path.read_bytes()[:65536]
        medium.write(0, b"Q" * 512)
    assert path.read_bytes()[:512] == b"Q" * 512


@pytest.mark.parametrize("known", FORMATS, ids=lambda known: known.name)
def test_every_format_is_known_by_its_magic(known: FileFormat) -> None:
    content = bytearray(4096)
    place = known.offset_bytes % len(content)
    content[place : place + len(known.magic)] = known.magic
    found = recognize(bytes(content[:HEAD_BYTES]), bytes(content[-TAIL_BYTES:]))
    assert found is known
    assert "'a b.x'" in known.command("a b.x")


# Names that commands take for options, or know nothing to do with.
@pytest.mark.parametrize(
    ("form", "name"),
    [
        *(("qcow2", name) for name in ("disk.img", "disk.raw", "-disk.raw", "a disk\n.raw")),
        *(("gzip", name) for name in ("disk.raw.gz", "disk", "-disk.raw", "a disk\n.raw")),
        ("xz", "disk"),
        ("bzip2", "disk"),
    ],
)
def test_a_cure_cures_whatever_the_file_is_called(
    form: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = bytes(1 << 20)
    if form == "qcow2":
        made_by_qemu(form, tmp_path).rename(name)
        content = bytes(16 << 20)
    else:
        compress = {"gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress}[form]
        Path(name).write_bytes(compress(content))
    # What is there already stays as it is.
    Path(name).with_suffix("").with_suffix(".out").write_bytes(b"of the user")
    there = {path: path.read_bytes() for path in tmp_path.iterdir()}
    known = recognize(Path(name).read_bytes()[:HEAD_BYTES])
    assert known is not None
    subprocess.run(["sh", "-c", known.command(name)], check=True, capture_output=True)
    assert {path: path.read_bytes() for path in there} == there
    made = [path for path in tmp_path.iterdir() if path not in there]
    assert [path.read_bytes() == content for path in made] == [True]


def test_compressed_disks_are_refused_and_other_data_is_a_disks(tmp_path: Path) -> None:
    path = tmp_path / "disk.img.gz"
    path.write_bytes(gzip.compress(bytes(1 << 20)).ljust(4096, b"\0"))
    with pytest.raises(InputError, match=f"is gzip, not a raw image; .*'gzip -dc < {path} > "):
        FileMedium(path, writable=False)
    for form in FORMATS:
        if form.kind not in (FileKind.DISK_IMAGE, FileKind.COMPRESSED):
            path.write_bytes((bytes(form.offset_bytes) + form.magic).ljust(4096, b"\0"))
            FileMedium(path, writable=False).close()
    # A guest that unlocks it gets what it wants; and an empty sector is any disk's.
    for start in (b"LUKS\xba\xbe\0\2", b"\xeb\x63\x90", b""):
        path.write_bytes(start.ljust(4096, b"\0"))
        FileMedium(path, writable=True).close()


def test_short_files_are_told_apart_as_well() -> None:
    assert recognize(b"") is None
    assert recognize(b"QF") is None
    assert recognize(b"x" * 100, b"conectix") is None
    assert recognize(b"x" * 512, b"conectix".ljust(512, b"\0")) is not None


@pytest.mark.parametrize("form", ["vmdk", "vdi", "vpc,subformat=fixed"])
def test_a_guest_in_another_form_is_refused_with_the_cure(form: str, tmp_path: Path) -> None:
    path = made_by_qemu(form, tmp_path)
    with pytest.raises(
        InputError, match=f"is {MADE_BY_QEMU[form]}, not a raw or qcow2 disk; convert"
    ):
        ImportPlan(path).check()


def test_a_device_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = made_by_qemu("qcow2", tmp_path).rename(tmp_path / "drive.toml")
    with pytest.raises(InputError, match=r"drive\.toml: is a qcow2 image; name a readable device"):
        describe(str(path))


def test_the_commands_refuse_in_one_line(tmp_path: Path, freezingtime: RunProgram) -> None:
    path = made_by_qemu("qcow2", tmp_path)
    disk = f"constant:1us,medium=file:{path},writable=yes"
    for command in (
        ["serve", disk, "--socket", str(tmp_path / "socket")],
        ["replay", str(path), "--device", "constant:1us"],
    ):
        done = freezingtime(*command)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"{path}: is a qcow2 image, " in done.stderr
    for wrong, said in {
        "constant:1us,format=raw": "format=raw: only for files; add medium=file:PATH",
        f"constant:1us,medium=file:{path},format=qcow2": "format=qcow2: write raw, or convert the",
    }.items():
        with pytest.raises(InputError, match=said):
            parse_disk(wrong)
