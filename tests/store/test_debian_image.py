# SPDX-License-Identifier: GPL-2.0-or-later
"""Building a Debian image: what is refused, and what failing tools are said to have said."""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from freezingtime.errors import InputError, RunError
from freezingtime.images.debian import image as debian_image
from freezingtime.images.debian import root_user
from freezingtime.images.debian.image import DebianPackages, DebianPlan, require_tools
from freezingtime.images.debian.packages import Package
from freezingtime.images.debian.root_user import as_root
from freezingtime.images.guest_image import RootDisk

PLAN = DebianPlan((), RootDisk("ext4", 512 << 20))

Fake = Callable[[str, str], None]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put a shell script in front of a program."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def install(name: str, script: str) -> None:
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)

    return install


class TestRoot:
    def test_root_gets_mounts_of_its_own(self, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
        fake("unshare", "exit 0")
        monkeypatch.setattr(root_user.os, "geteuid", lambda: 0)
        assert "--mount" in as_root()
        assert "--user" not in as_root()

    def test_others_get_a_user_namespace(self, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
        fake("unshare", "exit 0")
        monkeypatch.setattr(root_user.os, "geteuid", lambda: 1000)
        assert {"--mount", "--user", "--map-auto"} <= set(as_root())

    @pytest.mark.parametrize(
        ("uid", "cure"), [(0, "takes mounts of its own"), (1000, "apt-get install uidmap")]
    )
    def test_a_host_that_refuses(
        self, fake: Fake, monkeypatch: pytest.MonkeyPatch, uid: int, cure: str
    ) -> None:
        fake("unshare", "echo 'unshare: Operation not permitted' >&2; exit 1")
        monkeypatch.setattr(root_user.os, "geteuid", lambda: uid)
        with pytest.raises(InputError, match="Operation not permitted") as refusal:
            as_root()
        assert cure in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_a_tool_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = debian_image.FileSystem("no-such-mkfs", "no-such-package", "no-such-package")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(debian_image, "FILE_SYSTEMS", {"ext4": missing})
    with pytest.raises(InputError, match="is not installed, which building a Debian guest takes"):
        require_tools(PLAN)


def test_each_package_is_listed_once() -> None:
    fio, busybox, kernel = (
        Package(name, "1", "amd64", "x", (), (), "0") for name in ("fio", "busybox-static", "linux")
    )
    packages = DebianPackages([fio, busybox], kernel, busybox)
    assert [package.name for package in packages.all] == ["busybox-static", "fio", "linux"]


class TestFormat:
    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        directory = tmp_path / "build"
        directory.mkdir()
        tree = directory / "system.tar"
        with tarfile.open(tree, "w") as archive:
            for name, kind in (("./a", tarfile.DIRTYPE), ("./a/b", tarfile.REGTYPE)):
                member = tarfile.TarInfo(name)
                member.type, member.mode, member.mtime = kind, 0o755, 1_577_836_800
                archive.addfile(member)
        return tree

    def test_nothing_is_left_but_the_file_system(self, tree: Path, tmp_path: Path) -> None:
        root_file = tmp_path / "root.img"
        debian_image._format((), tree, PLAN.root, root_file)
        assert root_file.stat().st_size == PLAN.root.size_bytes
        assert root_file.stat().st_blocks * 512 < PLAN.root.size_bytes
        assert list(tree.parent.iterdir()) == []

    @pytest.mark.simulation
    def test_equal_systems_give_equal_bytes(self, tree: Path, tmp_path: Path) -> None:
        content = tree.read_bytes()
        made = []
        for name in ("one", "two"):
            time.sleep(1.1)  # what is unpacked now was changed a second later
            tree.write_bytes(content)
            debian_image._format((), tree, PLAN.root, tmp_path / name)
            made.append((tmp_path / name).read_bytes())
        assert made[0] == made[1]

    @pytest.mark.parametrize(
        ("said", "error", "words"),
        [
            ("Could not allocate block in ext2 file", InputError, "--size 512MiB: the packages do"),
            ("something else", RunError, "mke2fs failed"),
        ],
    )
    def test_failure(
        self,
        tree: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        said: str,
        error: type[Exception],
        words: str,
    ) -> None:
        failing = ["sh", "-c", f"echo 'mke2fs: {said}' >&2; exit 1"]
        with pytest.raises(error, match=words):
            debian_image._format(failing, tree, PLAN.root, tmp_path / "root.img")
