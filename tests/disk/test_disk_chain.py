# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks of the user's own that consist of several files: found, copied, and kept in their place."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from freezingtime.errors import InputError
from freezingtime.images.disk_chain import block_graph, chain_files, read_chain
from freezingtime.images.imported import ImportPlan
from freezingtime.runs.own.system import import_system
from tests.conftest import RunProgram, require_tool
from tests.store.test_image_import import KERNEL, silent

MIB = 1 << 20


@pytest.fixture
def qemu_img() -> Callable[..., str]:
    program = require_tool("qemu-img")

    def run(*arguments: str | Path) -> str:
        return subprocess.run(
            [program, *map(str, arguments)], check=True, capture_output=True, text=True
        ).stdout

    return run


@pytest.fixture
def images(tmp_path: Path, qemu_img: Callable[..., str]) -> Path:
    """A directory with ``top`` over ``middle`` over the raw ``base``."""
    directory = tmp_path / "images"
    (directory / "below").mkdir(parents=True)
    (directory / "base.raw").write_bytes(b"base".ljust(MIB, b"\0"))
    make = ("create", "-q", "-f", "qcow2", "-b")
    qemu_img(*make, "base.raw", "-F", "raw", directory / "middle.qcow2")
    qemu_img(*make, "middle.qcow2", "-F", "qcow2", directory / "top.qcow2")
    return directory


@pytest.fixture
def plan(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> ImportPlan:
    """A system on ``top``, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "kernel").write_bytes(bytes(KERNEL))
    (tmp_path / "initrd").write_bytes(b"initramfs")
    return ImportPlan(images / "top.qcow2", tmp_path / "kernel", tmp_path / "initrd")


def qcow2(
    path: Path,
    backing: bytes = b"",
    *,
    backing_format: bytes = b"",
    data_file: bytes = b"",
    version: int = 3,
    name_offset: int | None = None,
) -> Path:
    """Write the first cluster of an image that names files as its author likes."""
    extensions = b"".join(
        struct.pack(">II", kind, len(data)) + data.ljust(-(-len(data) // 8) * 8, b"\0")
        for kind, data in ((0xE2792ACA, backing_format), (0x44415441, data_file))
        if data
    ) + bytes(8)
    header_bytes = 104 if version > 2 else 72
    offset = header_bytes + len(extensions) if name_offset is None else name_offset
    header = struct.pack(
        ">4sIQIIQ", b"QFI\xfb", version, offset * bool(backing), len(backing), 16, MIB
    )
    header = header.ljust(72, b"\0")
    if version > 2:
        header += struct.pack(">QQQII", 4 if data_file else 0, 0, 0, 4, header_bytes)
    path.write_bytes((header + extensions + backing).ljust(65536, b"\0"))
    return path


class TestChain:
    def test_is_followed_to_its_end(self, images: Path) -> None:
        layers = read_chain(images / "top.qcow2", "--guest top")
        assert [(layer.path, layer.format) for layer in layers] == [
            (images / "top.qcow2", "qcow2"),
            (images / "middle.qcow2", "qcow2"),
            (images / "base.raw", "raw"),
        ]

    def test_is_what_qemu_img_says_it_is(self, images: Path, qemu_img: Callable[..., str]) -> None:
        told = qemu_img("info", "--backing-chain", images / "top.qcow2")
        files = [line.split(": ", 1)[1] for line in told.splitlines() if line.startswith("image:")]
        layers = read_chain(images / "top.qcow2", "--guest top")
        assert [os.path.realpath(file) for file in files] == list(map(str, chain_files(layers)))

    def test_qemu_is_told_of_every_file_and_that_there_is_no_other(self, images: Path) -> None:
        top, middle, base = chain_files(layers := read_chain(images / "top.qcow2", "x"))

        def file(path: Path) -> dict[str, str]:
            return {"driver": "file", "filename": str(path)}

        lowest = {"driver": "raw", "file": file(base)}
        below = {"driver": "qcow2", "file": file(middle), "backing": lowest}
        assert block_graph(layers) == {"driver": "qcow2", "file": file(top), "backing": below}
        alone = read_chain(qcow2(images / "alone"), "x")
        assert block_graph(alone)["backing"] is None

    @pytest.mark.parametrize("compatibility", ["0.10", "1.1"])
    def test_old_and_new_headers_without_a_format(
        self, images: Path, qemu_img: Callable[..., str], compatibility: str
    ) -> None:
        made = images / "made.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", "-o", f"compat={compatibility}", made, "1M")
        qemu_img("rebase", "-u", "-b", "top.qcow2", "-F", "qcow2", made)
        assert len(read_chain(made, "x")) == 4
        named = qcow2(images / "named", b"file:top.qcow2", version=2)
        assert [layer.format for layer in read_chain(named, "x")][:2] == ["qcow2", "qcow2"]


class TestIdentity:
    @pytest.mark.parametrize("name", ["top.qcow2", "middle.qcow2", "base.raw"])
    def test_takes_in_every_file(self, plan: ImportPlan, images: Path, name: str) -> None:
        before = plan.source()
        os.utime(images / name, ns=(1, 1))
        assert plan.source() != before

    def test_takes_in_the_data_file(
        self, plan: ImportPlan, images: Path, qemu_img: Callable[..., str]
    ) -> None:
        options = "data_file=data.raw,data_file_raw=on"
        made = images / "made.qcow2"
        cwd = Path.cwd()
        os.chdir(images)
        try:
            qemu_img("create", "-q", "-f", "qcow2", "-o", options, made, "1M")
        finally:
            os.chdir(cwd)
        (images / "data.raw").write_bytes(b"data".ljust(MIB, b"\0"))
        own = ImportPlan(made, plan.kernel, plan.initrd)
        image = import_system("own", own, silent)
        assert image.root_path is not None
        assert image.root_path.read_bytes() == (images / "data.raw").read_bytes()
        before = own.source()
        os.utime(images / "data.raw", ns=(1, 1))
        assert own.source() != before

    def test_content_of_all_is_copied(self, plan: ImportPlan, images: Path) -> None:
        image = import_system("own", plan, silent)
        assert image.root_path is not None
        assert image.root_path.read_bytes() == (images / "base.raw").read_bytes()


class TestHostile:
    """Images that name files which are none of theirs."""

    @pytest.fixture
    def secret(self, tmp_path: Path) -> Path:
        secret = tmp_path / "elsewhere" / "secret"
        secret.parent.mkdir()
        secret.write_bytes(b"secret".ljust(MIB, b"\0"))
        return secret

    def refusal(self, image: Path, *allowed: Path) -> str:
        with pytest.raises(InputError) as refused:
            read_chain(image, "--guest x", allowed)
        text = str(refused.value)
        assert text.startswith("--guest x: ")
        assert text.isprintable()
        return text

    def test_a_backing_file_elsewhere(self, plan: ImportPlan, images: Path, secret: Path) -> None:
        evil = qcow2(images / "evil", str(secret).encode(), backing_format=b"raw")
        said = f"its backing file '{secret}' is not in the image's own directory"
        assert said in self.refusal(evil)
        assert f"--allow-backing '{secret.parent}'" in self.refusal(evil)
        own = ImportPlan(evil, plan.kernel, plan.initrd)
        with pytest.raises(InputError, match=r"--root-disk .*own directory"):
            import_system("own", own, silent)

    def test_that_is_allowed(self, plan: ImportPlan, images: Path, secret: Path) -> None:
        require_tool("qemu-img")
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw"]
        subprocess.run([*command, images / "over"], check=True)
        allowed = ImportPlan(
            images / "over", plan.kernel, plan.initrd, allow_backing=(secret.parent,)
        )
        image = import_system("own", allowed, silent)
        assert image.root_path is not None
        assert image.root_path.read_bytes() == secret.read_bytes()
        assert allowed.as_dict()["allow_backing"] == [str(secret.parent)]

    @pytest.mark.parametrize(
        "name",
        ["../elsewhere/secret", "file:../elsewhere/secret", "link", "below/up/secret", "below/key"],
    )
    def test_by_another_way(self, images: Path, secret: Path, name: str) -> None:
        (images / "link").symlink_to(secret)
        (images / "below" / "up").symlink_to(secret.parent)
        (images / "below" / "key").write_bytes(b"of somebody")
        evil = qcow2(images / "evil", name.encode(), backing_format=b"raw")
        assert "is not in the image's own directory" in self.refusal(evil)
        inside = images / "below"
        if name == "below/key":
            assert chain_files(read_chain(evil, "x", [inside])) == [evil, inside / "key"]
        else:
            assert "is not in the image's own directory" in self.refusal(evil, inside)

    def test_further_down(self, images: Path, secret: Path) -> None:
        qcow2(images / "middle", str(secret).encode(), backing_format=b"raw")
        top = qcow2(images / "top", b"middle", backing_format=b"qcow2")
        assert "is not in the image's own directory" in self.refusal(top)

    def test_a_data_file_elsewhere(self, images: Path, secret: Path) -> None:
        evil = qcow2(images / "evil", data_file=str(secret).encode())
        assert f"its data file '{secret}' is not in" in self.refusal(evil)
        over = qcow2(images / "over", b"evil", backing_format=b"qcow2")
        assert f"its data file '{secret}' is not in" in self.refusal(over)

    @pytest.mark.parametrize(
        "name",
        [
            b'json:{"driver":"file","filename":"/etc/passwd"}',
            b"nbd://127.0.0.1:1/x",
            b"fat:rw:/",
            b"https://x/y",
            b"a\0b",
            b"x\x1b]52;c;aGk=\x07:y",
        ],
    )
    def test_no_file_at_all(self, images: Path, name: bytes) -> None:
        assert "which is not a plain file" in self.refusal(qcow2(images / "evil", name))
        in_data = qcow2(images / "evil", data_file=name)
        assert "which is not a plain file" in self.refusal(in_data)

    def test_special_files(self, images: Path) -> None:
        os.mkfifo(images / "pipe")
        for name in (b"pipe", b"below"):
            assert "is not a regular file" in self.refusal(qcow2(images / "evil", name))
            evil = qcow2(images / "evil", data_file=name)
            assert "is not a regular file" in self.refusal(evil)
        assert "is not a regular file" in self.refusal(images / "pipe")
        assert "is not a regular file" in self.refusal(Path("/dev/zero"))

    def test_circles_and_towers(self, images: Path) -> None:
        qcow2(images / "a", b"b")
        assert "its own backing file" in self.refusal(qcow2(images / "b", b"a"))
        assert "its own backing file" in self.refusal(qcow2(images / "c", b"c"))
        for number in range(120):
            qcow2(images / f"n{number}", f"n{number + 1}".encode())
        assert "has more than 100 files" in self.refusal(images / "n0")
        (images / "round").symlink_to("round")
        text = self.refusal(qcow2(images / "d", b"round"))
        assert "Too many levels" in text or "its links form a loop" in text

    @pytest.mark.parametrize(
        ("made", "said"),
        [
            ({"version": 7}, "its version is 7, not 2 or 3"),
            ({"backing": b"x", "name_offset": 1 << 40}, "outside its first cluster"),
            ({"backing": b"x", "name_offset": 8}, "outside its first cluster"),
            ({"backing": b"x" * 2000}, "the name of its backing file has 2000 bytes"),
            ({"backing": b"none"}, "none': No such file or directory"),
            ({"backing": b"top.qcow2", "backing_format": b"vmdk"}, "is declared as 'vmdk'"),
            ({"backing": b"base.raw", "backing_format": b"qcow2"}, "declared as 'qcow2'"),
        ],
    )
    def test_damage(self, images: Path, made: dict[str, object], said: str) -> None:
        assert said in self.refusal(qcow2(images / "evil", **made))  # type: ignore[arg-type]

    def test_no_first_bytes_make_it_fail_otherwise(self, images: Path) -> None:
        whole = qcow2(images / "evil", b"top.qcow2", backing_format=b"qcow2").read_bytes()
        for length in (0, 3, 4, 8, 31, 71, 72, 80, 103, 104, 110, 120, 130):
            (images / "cut").write_bytes(whole[:length])
            try:
                assert read_chain(images / "cut", "--guest x")[0].format in ("raw", "qcow2")
            except InputError as error:
                assert "damaged" in str(error)  # noqa: PT017
        for place in range(150):
            (images / "bent").write_bytes(
                whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
            )
            try:
                read_chain(images / "bent", "--guest x")
            except InputError as error:
                assert str(error).isprintable()  # noqa: PT017


def test_the_option(freezingtime: RunProgram, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "base").write_bytes(bytes(MIB))
    evil = qcow2(tmp_path / "evil.qcow2", b"/etc/passwd", backing_format=b"raw")
    for options, said in (
        ([], "--guest evil.qcow2: its backing file '/etc/passwd' is not in the image's own"),
        (["--allow-backing", "elsewhere"], "'/etc/passwd' is not in the image's own directory"),
        (["--allow-backing", "nosuch"], "--allow-backing nosuch: is not a directory"),
    ):
        refused = freezingtime("run", "--guest", evil.name, *options, "--", "true", cwd=tmp_path)
        assert refused.returncode == 2
        assert said in refused.stderr
    refused = freezingtime("run", "--allow-backing", ".", "--", "true", cwd=tmp_path)
    assert "--allow-backing: only for your own system" in refused.stderr
