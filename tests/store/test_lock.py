# SPDX-License-Identifier: GPL-2.0-or-later
"""Lock files: what they name is built, exactly that, or what cannot be had is named."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freezingtime.cli.guest.image import build_command
from freezingtime.errors import InputError, RunError
from freezingtime.host.json_document import write_document
from freezingtime.images.check import seal_image
from freezingtime.images.debian.archive import open_archive
from freezingtime.images.debian.mirror import KEYRING_VARIABLE, MIRROR_VARIABLE, find_mirror
from freezingtime.images.debian.suite import DEFAULT, Suite
from freezingtime.images.guest_image import (
    GuestImage,
    Manifest,
    PackageVersion,
    find_image,
    images_directory,
)
from freezingtime.images.locked.archive import LockedArchive
from freezingtime.images.locked.build import let_others_be_newer
from freezingtime.images.locked.lock_file import (
    Lock,
    LockedPackage,
    LockedQemu,
    LockedRoot,
    read_lock,
)
from freezingtime.images.locked.make import lock_guest, lock_packages, make_lock
from freezingtime.images.locked.qemu import lock_qemu, ready_locked_qemu
from freezingtime.runs.guest import ready_image
from freezingtime.runs.locked import build_from_lock, ready_locked_image, ready_qemu_of_lock
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import make_plan
from freezingtime.store.cache import cache_directory
from freezingtime.vm.qemu.program import debian_directory, find_qemu
from tests.conftest import RunProgram
from tests.store.imagelib import make_qemu, store
from tests.support.suitelib import SmallMirror

ALPHA = Suite("alpha")


def silent(_step: str, _done: int, _total: int) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def whole_mirror(tmp_path_factory: pytest.TempPathFactory) -> SmallMirror:
    """Never to be changed: one package is in the archive, its update in the security archive."""
    mirror = SmallMirror(tmp_path_factory.mktemp("mirror"))
    mirror.add_suite("alpha", version="1", security="2")
    return mirror


@pytest.fixture
def mirror(whole_mirror: SmallMirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the mirror, which is the one that is used."""
    copy = tmp_path / "mirror"
    shutil.copytree(whole_mirror.directory, copy, ignore=shutil.ignore_patterns("gnupg"))
    addresses = whole_mirror.addresses.replace(str(whole_mirror.directory), str(copy))
    monkeypatch.setenv(MIRROR_VARIABLE, addresses)
    monkeypatch.setenv(KEYRING_VARIABLE, str(whole_mirror.keyring))
    return copy


def locked_tool(directory: Path) -> LockedPackage:
    """The package that the suite has, as a lock has it."""
    archive = open_archive(directory, ALPHA)
    archive.update()
    tool = archive.candidate("tool")
    version = PackageVersion(
        *(tool.name, tool.version, tool.sha256, tool.architecture, tool.size_bytes, tool.path)
    )
    (package,) = lock_packages([version], "it", "")
    return package


def fetch(directory: Path, *packages: LockedPackage) -> LockedArchive:
    archive = LockedArchive(directory, ALPHA, find_mirror(), packages)
    archive.fetch("", silent)
    return archive


class TestPackages:
    def test_are_had_without_any_list(self, mirror: Path, tmp_path: Path) -> None:
        """As when the mirror has newer ones."""
        tool = locked_tool(tmp_path / "first")
        assert (tool.version, tool.path) == ("2", "pool/tool_2_all.deb")
        for lists in mirror.glob("*/dists"):
            shutil.rmtree(lists)
        archive = fetch(tmp_path / "second", tool)
        found = archive.candidate("tool")
        assert (found.version, found.sha256, found.path) == (tool.version, tool.sha256, tool.path)
        assert [deb.name for deb in archive.download([found])] == ["tool_2_all.deb"]
        assert archive.candidates(["nosuch"]) == {}

    def test_move_from_the_security_archive(self, mirror: Path, tmp_path: Path) -> None:
        """With the next point release, into the archive and another pool."""
        tool = locked_tool(tmp_path / "first")
        moved = mirror / "debian/pool/main/t"
        moved.mkdir(parents=True)
        (mirror / "debian-security/pool/tool_2_all.deb").rename(moved / "tool_2_all.deb")
        was = msgspec.structs.replace(tool, path="pool/updates/main/t/tool_2_all.deb")
        assert fetch(tmp_path / "second", was).candidate("tool").version == "2"

    def test_that_are_gone_are_all_named(self, mirror: Path, tmp_path: Path) -> None:
        tool = locked_tool(tmp_path / "first")
        gone = [
            msgspec.structs.replace(tool, name=name, version=version, path=f"pool/{name}.deb")
            for name, version in (("fio", "3.33-3"), ("linux-image-6.1.0-1-amd64", "6.1.2-1"))
        ]
        with pytest.raises(RunError) as refused:
            fetch(tmp_path / "second", gone[0], tool, gone[1])
        assert str(refused.value) == (
            f"2 of the 3 locked packages can no longer be had from file:{mirror}/debian or "
            f"file:{mirror}/debian-security: fio 3.33-3, linux-image-6.1.0-1-amd64 6.1.2-1; import "
            "what was built of them from a file that 'freezingtime image export' has written, or "
            f"name a mirror of that day with {MIRROR_VARIABLE}"
        )

    def test_of_another_digest(self, mirror: Path, tmp_path: Path) -> None:
        tool = locked_tool(tmp_path / "first")
        for changes, said in (
            ({"sha256": "0" * 64}, f"its SHA-256 is not {'0' * 64}"),
            (
                {"size_bytes": tool.size_bytes - 1},
                f"more than the {tool.size_bytes - 1} announced bytes",
            ),
        ):
            with pytest.raises(InputError) as refused:
                fetch(tmp_path / "second", msgspec.structs.replace(tool, **changes))
            assert "the lock's package tool 2 is not what the mirror has: " in str(refused.value)
            assert said in str(refused.value)
            assert list((tmp_path / "second").glob("**/*.deb")) == []

    def test_without_a_network(
        self, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tool = locked_tool(tmp_path / "first")
        monkeypatch.setenv(MIRROR_VARIABLE, "http://127.0.0.1:1/debian http://127.0.0.1:1/x")
        with pytest.raises(RunError) as refused:
            fetch(tmp_path / "second", tool)
        assert re.fullmatch(
            r"cannot fetch the package tool 2 \(http://127.0.0.1:1/\S+: .* refused\): check the "
            rf"network and the mirror \(the mirror's address is from {MIRROR_VARIABLE}\)",
            str(refused.value),
        )

    def test_under_another_name(self, mirror: Path, tmp_path: Path) -> None:
        tool = msgspec.structs.replace(locked_tool(tmp_path / "first"), name="fio")
        with pytest.raises(InputError, match="the lock's package fio 2 is another, by its digest"):
            fetch(tmp_path / "second", tool).candidate("fio")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_directory()


def with_packages(image: GuestImage) -> GuestImage:
    """The image, as if it had been made of two packages."""
    release = image.manifest.kernel_release
    packages = tuple(
        PackageVersion(name, "1.0", "0" * 64, "amd64", 7, f"pool/main/x/{name}_1.0_amd64.deb")
        for name in (f"linux-image-{release}", "busybox-static")
    )
    manifest = msgspec.structs.replace(
        image.manifest, packages=packages, suite="bookworm", not_installed=("busybox-static",)
    )
    return with_manifest(image, manifest)


def with_manifest(image: GuestImage, manifest: Manifest) -> GuestImage:
    write_document(image.manifest_path, manifest)
    changed = GuestImage(image.directory, manifest)
    seal_image(changed)
    return changed


def write(path: Path, lock: Lock) -> Path:
    path.write_bytes(lock.to_json())
    return path


class TestLockFile:
    @pytest.fixture
    def lock(self, cache: Path) -> Lock:
        return make_lock(lock_guest(with_packages(store(cache, "img"))), None)

    def test_says_what_the_image_is_made_of(self, lock: Lock, tmp_path: Path) -> None:
        image = find_image("img")
        assert image is not None
        assert read_lock(write(tmp_path / "lock", lock)) == lock
        guest = lock.guest
        assert (guest.name, guest.image_id, guest.suite) == ("img", image.image_id, "bookworm")
        assert guest.root == LockedRoot("ext4", image.manifest.root.size_bytes)  # type: ignore[union-attr]
        assert [package.name for package in guest.packages] == ["busybox-static", "linux-image-6.1"]
        assert guest.not_installed == ("busybox-static",)

    def test_white_space_is_not_part_of_its_digest(self, lock: Lock, tmp_path: Path) -> None:
        file = write(tmp_path / "lock", lock)
        file.write_text(json.dumps(json.loads(file.read_text())))
        assert read_lock(file).digest == lock.digest
        file.write_text(file.read_text().replace("1.0", "1.1"))
        assert read_lock(file).digest != lock.digest

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda d: d.update(format=2), "its format is 2, not 1: freezingtime"),
            (lambda d: d.update(architecture="arm64"), "is for another CPU (arm64, not amd64)"),
            (lambda d: d.update(evil=1), "unknown field `evil`"),
            (lambda d: d["guest"].update(evil=1), "unknown field `evil` - at `$.guest`"),
            (lambda d: d["guest"].pop("suite"), "missing required field `suite` - at `$.guest`"),
            (
                lambda d: d["guest"].update(suite="stable"),
                "guest.suite: stable will name another suite later",
            ),
            (
                lambda d: d["guest"]["packages"].pop(1),
                "linux-image-6.1 is not among guest.packages",
            ),
            (lambda d: d["guest"]["packages"].pop(0), "guest.not_installed: busybox-static is not"),
            (lambda d: d["guest"]["packages"].append(d["guest"]["packages"][0]), "is there twice"),
            (
                lambda d: package(d).update(size_bytes="7"),
                "got `str` - at `$.guest.packages[0].size_bytes`",
            ),
            (lambda d: package(d).update(sha256="abc"), "`$.guest.packages[0].sha256`"),
            (lambda d: package(d).update(name="../x"), "`$.guest.packages[0].name`"),
            (lambda d: package(d).update(version="1/../2"), "`$.guest.packages[0].version`"),
            (lambda d: package(d).update(path="/etc/passwd.deb"), "path '/etc/passwd.deb' is none"),
            (lambda d: package(d).update(path="pool/../../x.deb"), "is none of a mirror's"),
            (lambda d: d.clear(), "missing required field `format`"),
        ],
    )
    def test_that_is_none(
        self, lock: Lock, tmp_path: Path, change: Callable[[Any], object], said: str
    ) -> None:
        document = json.loads(lock.to_json())
        change(document)
        file = tmp_path / "bad.lock"
        file.write_text(json.dumps(document))
        with pytest.raises(InputError) as refused:
            read_lock(file)
        assert str(refused.value).startswith(f"--locked {file}: ")
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff", b"7"])
    def test_that_is_no_text_of_one(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "bad.lock").write_bytes(content)
        with pytest.raises(InputError, match="; write it anew with 'freezingtime lock'"):
            read_lock(tmp_path / "bad.lock")

    def test_that_is_not_there(self, tmp_path: Path) -> None:
        for path in (tmp_path / "nosuch", tmp_path):
            with pytest.raises(InputError, match=f"--locked {path}: .*name a file that"):
                read_lock(path)

    def test_of_what_is_not_made_of_packages(self, cache: Path) -> None:
        image = store(cache, "img")
        own = msgspec.structs.replace(image.manifest, source="container sha256:0")
        with pytest.raises(InputError, match="'freezingtime image export img FILE' keeps all"):
            lock_guest(GuestImage(image.directory, own))
        packages = (PackageVersion("fio", "1", "0" * 64),)
        older = msgspec.structs.replace(image.manifest, packages=packages)
        with pytest.raises(InputError, match="did not write down where its packages are; remove"):
            lock_guest(GuestImage(image.directory, older))


def package(document: Any) -> Any:
    return document["guest"]["packages"][0]


class TestRuns:
    @pytest.fixture
    def lock_path(self, cache: Path, tmp_path: Path) -> Path:
        lock = make_lock(lock_guest(with_packages(store(cache, "img"))), None)
        return write(tmp_path / "the.lock", lock)

    def test_are_in_the_image_of_the_lock(self, lock_path: Path, cache: Path) -> None:
        """Whatever else has its name."""
        plan = make_plan(RunOptions(locked=lock_path), script=b"")
        assert plan.guest == "img"
        assert plan.lock == read_lock(lock_path)
        locked = find_image("img")
        assert locked is not None
        newer = store(cache, "newer")
        with_manifest(newer, msgspec.structs.replace(newer.manifest, name="img"))
        assert find_image("img") != locked
        assert plan.lock is not None
        assert ready_locked_image(plan.lock, silent) == locked

    def test_that_name_no_lock_go_on_as_they_were(self, lock_path: Path, cache: Path) -> None:
        """When the image of a lock has been built beside theirs."""
        locked = find_image("img")
        assert locked is not None
        other = store(cache, "other")
        write_document(other.manifest_path, msgspec.structs.replace(other.manifest, name="img"))
        locked.manifest_path.touch()
        assert find_image("img") == locked
        let_others_be_newer(locked)
        found = find_image("img")
        assert found is not None
        assert found.image_id == other.image_id

    def test_options_that_do_not_fit(self, lock_path: Path) -> None:
        options = RunOptions(locked=lock_path, guest="mini")
        with pytest.raises(InputError, match=r"--guest mini: --locked \S+ is of the guest img; "):
            make_plan(options, script=b"")
        with pytest.raises(InputError, match=r"--packages: --locked \S+ says all of the image"):
            build_command(packages="fio", locked=lock_path)

    def test_of_other_sources(self, lock_path: Path) -> None:
        document = json.loads(lock_path.read_bytes())
        document["guest"] |= {"builder": "0" * 64, "image_id": "1" * 64}
        lock_path.write_text(json.dumps(document))
        with pytest.raises(InputError, match="built by other sources, those of freezingtime"):
            build_from_lock(lock_path, silent)

    def test_that_cannot_be_built(self, lock_path: Path, mirror: Path) -> None:
        document = json.loads(lock_path.read_bytes())
        document["guest"]["image_id"] = "1" * 64
        lock_path.write_text(json.dumps(document))
        before = sorted(images_directory().glob("**/*"))
        with pytest.raises(RunError, match="2 of the 2 locked packages can no longer be had"):
            build_from_lock(lock_path, silent)
        assert sorted(images_directory().glob("**/*")) == before


class TestQemu:
    """Of a package that was made for the test."""

    @pytest.fixture
    def locked(self, mirror: Path, cache: Path, tmp_path: Path) -> LockedQemu:
        tree = make_qemu(tmp_path / "tree")
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(
            "Package: qemu\nVersion: 1\nArchitecture: amd64\nMaintainer: nobody\n"
            "Description: for a test\n"
        )
        deb = mirror / "debian/pool/qemu_1_amd64.deb"
        subprocess.run(["dpkg-deb", "-Znone", "--build", tree, deb], check=True)
        content = deb.read_bytes()
        package = LockedPackage(
            *("qemu", "1", "amd64", hashlib.sha256(content).hexdigest(), len(content)),
            "pool/qemu_1_amd64.deb",
        )
        return LockedQemu("alpha", find_qemu(str(tree)).sha256, (package,))

    def test_is_fetched_once(self, locked: LockedQemu, mirror: Path) -> None:
        name = ready_locked_qemu(locked, silent)
        assert find_qemu(name).sha256 == locked.sha256
        assert find_qemu("debian:alpha") == find_qemu(name)
        assert lock_qemu("debian:alpha", silent) == locked
        shutil.rmtree(mirror)
        assert ready_locked_qemu(locked, silent) == name

    def test_is_beside_another_of_its_suite(self, locked: LockedQemu) -> None:
        other = make_qemu(debian_directory("alpha"))
        (other / "usr/bin/qemu-system-x86_64").write_bytes(b"newer")
        name = ready_locked_qemu(locked, silent)
        assert find_qemu(name).sha256 == locked.sha256
        assert find_qemu("debian:alpha").root == other
        assert ready_locked_qemu(locked, silent) == name
        with pytest.raises(InputError, match="remove that directory, and lock again"):
            lock_qemu("debian:alpha", silent)

    def test_with_another_program(self, locked: LockedQemu, cache: Path) -> None:
        other = msgspec.structs.replace(locked, sha256="0" * 64)
        with pytest.raises(RunError, match="the QEMU of the locked packages is "):
            ready_locked_qemu(other, silent)
        assert list((cache / "qemus").glob("*")) == []

    def test_that_is_installed_is_in_no_lock(self) -> None:
        assert lock_qemu("system", silent) is None

    def test_is_that_of_the_run(self, locked: LockedQemu, cache: Path, tmp_path: Path) -> None:
        guest = lock_guest(with_packages(store(cache, "img")))
        file = write(tmp_path / "the.lock", make_lock(guest, locked))
        lock = read_lock(file)
        assert lock.qemu == locked
        name = ready_qemu_of_lock(lock, None, silent)
        assert find_qemu(name).sha256 == locked.sha256
        with pytest.raises(InputError, match=r"--qemu system: --locked \S+ has a QEMU; leave out"):
            make_plan(RunOptions(locked=file, qemu="system"), script=b"")


@pytest.mark.guest
def test_from_a_lock_to_its_image(
    freezingtime: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the mini guest that is there: its lock, a run in it, the record of that."""
    file = tmp_path / "freezingtime.lock"
    ready_image("mini", silent)
    written = freezingtime("lock", "-o", file, "--qemu", "system")
    assert written.returncode == 0, written.stderr
    assert written.stdout.startswith(f"{file}: ")
    ran = freezingtime("run", "-q", "--locked", file, "--out", tmp_path / "out", "--", "true")
    assert ran.returncode == 0, ran.stderr
    document = json.loads((tmp_path / "out" / "run.json").read_text())
    lock = read_lock(file)
    assert document["plan"]["locked"] == lock.digest
    assert document["versions"]["image"] == lock.guest.image_id


@pytest.mark.guest
@pytest.mark.slow
def test_two_builds_of_one_lock_are_one_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = make_lock(lock_guest(ready_image("mini", silent)), None)
    assert lock.guest.suite == DEFAULT.name
    for name in ("first", "second"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        image = build_from_lock(write(tmp_path / "the.lock", lock), silent)
        assert image.image_id == lock.guest.image_id
        assert make_lock(lock_guest(image), None) == lock
