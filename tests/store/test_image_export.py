# SPDX-License-Identifier: GPL-2.0-or-later
"""Images moved as one file: the same on the other side, or refused in one line, nothing kept."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.cli.guest.image import export_command, import_command
from freezingtime.errors import InputError, RunError
from freezingtime.host.json_document import write_document
from freezingtime.images.build import publish_image
from freezingtime.images.check import is_sound
from freezingtime.images.exported.export import QemuToExport, export_image
from freezingtime.images.exported.qemu import qemu_to_export
from freezingtime.images.exported.restore import import_exported
from freezingtime.images.guest_image import (
    GuestImage,
    ImageContent,
    find_image,
    images_directory,
    list_images,
)
from freezingtime.runs.guest import ready_image
from freezingtime.store.cache import cache_directory, unfinished_directory
from freezingtime.vm.config import MachineConfig
from freezingtime.vm.qemu.program import debian_directory, find_qemu
from tests.conftest import RunProgram, require_root
from tests.store.imagelib import PLACES, SIZE_BYTES, flip_bit, make_qemu, store
from tests.support.guestlib import run_guest

DESCRIPTION = "freezingtime-image.json"

UseCache = Callable[[str], Path]


def silent(_step: str, _done: int, _total: int) -> None:
    """No progress."""


@pytest.fixture
def use_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UseCache:
    """Has the cache of that name used from now on, as on another machine."""

    def use(name: str) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return cache_directory()

    return use


@pytest.fixture
def exported(use_cache: UseCache, tmp_path: Path) -> Path:
    """A file with the image ``img``; an empty cache is used."""
    export_image(store(use_cache("first"), "img"), tmp_path / "img.tar", silent)
    use_cache("second")
    return tmp_path / "img.tar"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[GuestImage, Path]:
    """An image and its file, never to be changed."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place))
        image = store(cache_directory(), "img")
        export_image(image, place / "img.tar", silent)
    return image, place / "img.tar"


def members_of(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as archive:
        contents = {each.name: archive.extractfile(each) for each in archive}
        return {name: content.read() for name, content in contents.items() if content}


def write_members(file: Path, members: dict[str, bytes], *others: tarfile.TarInfo) -> None:
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as archive:
        for other in others:
            archive.addfile(other)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def change_description(file: Path, change: Callable[[Any], object]) -> None:
    members = members_of(file)
    description = json.loads(members[DESCRIPTION])
    change(description)
    members[DESCRIPTION] = json.dumps(description).encode()
    write_members(file, members)


def refusal(file: Path, name: str | None = None, *, with_qemu: bool = False) -> str:
    """Why a file is not taken in; nothing is left of it."""
    before = sorted(images_directory().glob("**/*")) if images_directory().exists() else []
    with pytest.raises(InputError) as refused:
        import_exported(file, name, silent, with_qemu=with_qemu)
    left = sorted(images_directory().glob("**/*")) if images_directory().exists() else []
    assert left == before
    said = str(refused.value)
    assert "\n" not in said
    assert said.startswith(f"image import {file}: ")
    return said.removeprefix(f"image import {file}: ")


class TestTheSameImage:
    def test_is_what_it_was(self, exported: Path, use_cache: UseCache) -> None:
        restored = import_exported(exported, None, silent)
        image = restored.image
        assert not restored.was_there
        assert is_sound(image, whole=True)
        assert find_image("img") == image
        use_cache("first")
        original = find_image("img")
        assert original is not None
        assert image.manifest == original.manifest
        for name in (path.name for path in original.directory.iterdir()):
            assert (image.directory / name).read_bytes() == (original.directory / name).read_bytes()
        qemu = "/bin/true"  # by its bytes, which is all that is asked for here
        keys = {
            MachineConfig(each, 1 << 30, 4, qemu=qemu).identity().key for each in (image, original)
        }
        assert len(keys) == 1

    def test_takes_as_little_room(self, exported: Path) -> None:
        root = import_exported(exported, None, silent).image.root_path
        assert root is not None
        assert root.stat().st_size == SIZE_BYTES
        assert root.stat().st_blocks * 512 <= len(PLACES) * (1 << 16)
        assert exported.stat().st_size < 32 << 10

    def test_gives_the_same_bytes_again(self, exported: Path, tmp_path: Path) -> None:
        """Wherever zeros are holes, and wherever they are written."""
        image = import_exported(exported, None, silent).image
        assert image.root_path is not None
        with image.root_path.open("r+b") as file:
            file.seek(5 << 16)
            file.write(bytes(3 << 16))
        export_image(image, tmp_path / "again.tar", silent)
        assert (tmp_path / "again.tar").read_bytes() == exported.read_bytes()

    def test_tar_and_zstd_read_it(self, exported: Path, tmp_path: Path) -> None:
        subprocess.run(["tar", "-xf", exported, "-C", tmp_path], check=True)
        with pa.input_stream(tmp_path / "vmlinuz.zst", compression="zstd") as file:
            assert file.read() == b"kernel" * 999

    @pytest.mark.parametrize(
        ("imported", "source"), [(True, "disk 1 2"), (False, "container sha256:0"), (False, "")]
    )
    def test_of_every_kind(
        self, use_cache: UseCache, tmp_path: Path, imported: bool, source: str
    ) -> None:
        """Systems of one's own, containers, and one that is all in memory."""
        use_cache("first")
        content = ImageContent(b"k", b"i" * 9, "6.1", (), imported=imported, source=source)
        with unfinished_directory(images_directory()) as building:
            image = publish_image("it", content, building)
        export_image(image, tmp_path / "it.tar", silent)
        use_cache("second")
        restored = import_exported(tmp_path / "it.tar", None, silent).image
        assert restored.manifest == image.manifest
        assert restored.is_imported == imported
        assert restored.is_container == (bool(source) and not imported)

    def test_names(self, exported: Path) -> None:
        first = import_exported(exported, None, silent)
        again = import_exported(exported, None, silent)
        assert (again.image, again.was_there) == (first.image, True)
        other = import_exported(exported, "other", silent)
        assert (other.image.name, other.was_there) == ("other", False)
        assert other.image.image_id == first.image.image_id
        assert {image.name for image in list_images()} == {"img", "other"}

    def test_another_of_its_name_is_in_the_way(self, exported: Path) -> None:
        store(cache_directory(), "other")
        assert refusal(exported, "other").startswith("there is another image called other (")

    def test_command_line(
        self, use_cache: UseCache, freezingtime: RunProgram, tmp_path: Path
    ) -> None:
        image = store(use_cache("first"), "img")
        file = tmp_path / "img.tar"
        written = freezingtime("image", "export", image.image_id[:8], file)
        assert written.stdout == f"img {image.image_id[:12]} {file}\n"
        use_cache("second")
        taken = freezingtime("image", "import", file, "--name", "team")
        assert taken.stdout.startswith(f"team {image.image_id[:12]} {images_directory()}/team-")

    def test_arguments_that_do_not_fit(self, exported: Path, tmp_path: Path) -> None:
        import_exported(exported, "team", silent)
        file, nowhere = str(exported), tmp_path / "no" / "file"
        for call, said in (
            (lambda: export_command("nosuch", exported), "no image has the name or id prefix"),
            (lambda: export_command("team", nowhere), f"{nowhere}: No such file or directory; "),
            (lambda: export_command("team", tmp_path), f"{tmp_path}: is not a regular file"),
            (
                lambda: import_command(source="nosuch"),
                "nosuch: there is no such file; name one that ",
            ),
            (lambda: import_command(source=file, append="x"), "are for a system of your own"),
            (lambda: import_command(source=file, name="mini"), "--name mini: write up to 41 small"),
            (
                lambda: import_command(source="x", name="y", root_disk=exported),
                "--name y: is for an exported",
            ),
        ):
            with pytest.raises(InputError) as refused:
                call()
            assert said in str(refused.value)


class TestBadFiles:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is not a tar archive, and not what 'image export' writes"),
            (b"\x28\xb5\x2f\xfd" + bytes(999), "is zstd, and not what"),
            (b"QFI\xfb" + bytes(999), "is a qcow2 image, and not what"),
        ],
    )
    def test_what_is_none(
        self, use_cache: UseCache, tmp_path: Path, content: bytes, said: str
    ) -> None:
        use_cache("second")
        (tmp_path / "file").write_bytes(content)
        assert refusal(tmp_path / "file").startswith(said)
        assert refusal(tmp_path) == "is not a regular file"

    def test_another_tar_archive(self, use_cache: UseCache, tmp_path: Path) -> None:
        use_cache("second")
        write_members(tmp_path / "other.tar", {"vmlinuz": b"x"})
        assert refusal(tmp_path / "other.tar") == f"is a tar archive, but has no {DESCRIPTION}"

    @settings(max_examples=60)
    @given(data=st.data())
    def test_a_flipped_bit(self, whole: tuple[GuestImage, Path], data: st.DataObject) -> None:
        """It is found, or it is where nothing is: the image is what it was."""
        image, file = whole
        place = file.parent / "flipped"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(place))
            shutil.copy(file, flipped := place.with_suffix(".tar"))
            flip_bit(flipped, data.draw(st.integers(0, file.stat().st_size - 1)))
            try:
                restored = import_exported(flipped, None, silent).image
            except InputError:
                assert list(images_directory().glob("*")) == []
            else:
                assert restored.image_id == image.image_id
                assert is_sound(restored, whole=True)
                assert restored.manifest == image.manifest
                shutil.rmtree(restored.directory)

    def test_cut_short(self, exported: Path) -> None:
        content = exported.read_bytes()
        for size_bytes in range(1000, len(content) - 1024, 1777):
            exported.write_bytes(content[:size_bytes])
            assert "is damaged" in refusal(exported) or DESCRIPTION in refusal(exported)

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
    def test_links_and_devices(self, exported: Path, kind: bytes) -> None:
        other = tarfile.TarInfo("vmlinuz")
        other.type, other.linkname = kind, "/etc/passwd"
        write_members(exported, members_of(exported), other)
        assert refusal(exported) == "is damaged: 'vmlinuz' in it is not a plain file"

    @pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "root.sums", "evil.zst"])
    def test_other_names(self, exported: Path, name: str) -> None:
        write_members(exported, {name: b"x", **members_of(exported)})
        assert refusal(exported) == f"is damaged: its description does not have {name!r}"

    def test_names_that_are_described(self, exported: Path, tmp_path: Path) -> None:
        """Whatever the description calls parts, that is no name of a file here."""
        members = members_of(exported)
        description = json.loads(members[DESCRIPTION])
        for name in ("../../../evil", str(tmp_path / "evil")):
            description["parts"][name] = description["parts"]["vmlinuz"]
            members[f"{name}.zst"] = members["vmlinuz.zst"]
        members[DESCRIPTION] = json.dumps(description).encode()
        write_members(exported, members)
        import_exported(exported, None, silent)
        assert list(tmp_path.glob("**/*evil*")) == []

    def test_a_name_twice(self, exported: Path) -> None:
        write_members(exported, members_of(exported), tarfile.TarInfo("vmlinuz.zst"))
        assert refusal(exported) == "is damaged: 'vmlinuz.zst' in it is one too many"

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda d: d.update(format=2, freezingtime="9.9"), "freezingtime 9.9 wrote it; import"),
            (lambda d: d.update(architecture="aarch64"), "a guest for another CPU (aarch64); "),
            (lambda d: d.update(evil=1), "unknown field `evil`"),
            (lambda d: d.pop("parts"), "missing required field `parts`"),
            (lambda d: d["parts"].pop("vmlinuz"), "does not have 'vmlinuz.zst'"),
            (lambda d: d["parts"]["vmlinuz"].update(size_bytes=1 << 40), "vmlinuz has 1 frames"),
            (lambda d: d["parts"]["vmlinuz"].update(size_bytes=5993), "vmlinuz has not 5994 bytes"),
            (lambda d: d["parts"]["vmlinuz"].update(size_bytes=-1), "Expected `int` >= 0"),
            (lambda d: d["parts"]["root.img"].update(sha256="0" * 64), "digest of its root.img"),
            (lambda d: d["root_extents"].reverse(), "the root disk's data at"),
            (lambda d: d["root_extents"].append([1 << 40, 512]), "behind the end of its root disk"),
            (lambda d: d["root_extents"].pop(), "root.img has not"),
            (lambda d: d["root_extents"][0].__setitem__(0, 512), "content is not that of"),
        ],
    )
    def test_descriptions(self, exported: Path, change: Callable[[Any], object], said: str) -> None:
        change_description(exported, change)
        assert said in refusal(exported)

    def test_more_content_than_is_said(self, exported: Path) -> None:
        """A frame that would fill the memory is not unpacked."""
        members = members_of(exported)
        bomb = pa.Codec("zstd").compress(bytes(64 << 20), asbytes=True)
        members["vmlinuz.zst"] = bomb
        description = json.loads(members[DESCRIPTION])
        description["parts"]["vmlinuz"]["frames_bytes"] = [len(bomb)]
        members[DESCRIPTION] = json.dumps(description).encode()
        write_members(exported, members)
        assert refusal(exported).startswith("is damaged (vmlinuz: ")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"builder": "0" * 64}, "was built by another version of freezingtime"),
            ({"name": "../evil"}, "cannot be called '../evil' here; give it a name with --name"),
            ({"name": "mini"}, "cannot be called 'mini' here; give it a name with --name"),
            ({"append": "quiet\n"}, "its kernel's arguments have a control character"),
            ({"append": "loud"}, "its content is not that of"),
            ({"image_id": "../evil"}, "its content is not that of"),
            ({"kernel_bytes": "many"}, "Expected `int`, got `str` - at `$.kernel_bytes`"),
            ({"format": 9}, "its format is 9, not 1"),
        ],
    )
    def test_manifests(
        self, use_cache: UseCache, tmp_path: Path, change: dict[str, Any], said: str
    ) -> None:
        """Of whoever knows how such a file is made."""
        image = store(use_cache("first"), "img")
        manifest = msgspec.structs.replace(image.manifest, **change)
        write_document(image.manifest_path, manifest)
        (image.directory / "checksums.json").unlink()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("freezingtime.images.exported.export.is_sound", lambda *_, **__: True)
            export_image(GuestImage(image.directory, manifest), tmp_path / "img.tar", silent)
        use_cache("second")
        assert said in refusal(tmp_path / "img.tar")

    def test_a_damaged_image_is_not_exported(self, use_cache: UseCache, tmp_path: Path) -> None:
        image = store(use_cache("first"), "img")
        assert image.root_path is not None
        flip_bit(image.root_path, PLACES[1])
        with pytest.raises(InputError, match="image export img: the image is damaged"):
            export_image(image, tmp_path / "img.tar", silent)
        assert os.listdir(tmp_path) == ["first"]  # noqa: PTH208


class TestQemu:
    """In the file beside the image."""

    @pytest.fixture
    def with_qemu(self, use_cache: UseCache, tmp_path: Path) -> Path:
        cache = use_cache("first")
        root = make_qemu(cache / "qemus" / "bookworm")
        (root / "outside").symlink_to("/etc")
        (root / "nowhere").symlink_to("nothing")
        sha256 = find_qemu(str(root)).sha256
        qemu = QemuToExport("bookworm", root, sha256)
        export_image(store(cache, "img"), tmp_path / "img.tar", silent, qemu)
        use_cache("second")
        return tmp_path / "img.tar"

    def test_is_what_it_was(self, with_qemu: Path, use_cache: UseCache) -> None:
        restored = import_exported(with_qemu, None, silent, with_qemu=True)
        root = debian_directory("bookworm")
        assert not restored.was_there
        assert sorted(path.name for path in root.iterdir()) == ["lib", "usr"]
        assert (root / "usr/share/seabios").readlink() == Path("qemu")
        assert (root / "usr/share/seabios/bios.bin").read_bytes() == bytes(5 << 20)
        program = find_qemu("debian:bookworm")
        assert program.path.stat().st_mode & 0o777 == 0o755
        assert program.path.read_bytes() == b"program" * 999
        assert import_exported(with_qemu, None, silent, with_qemu=True).was_there
        export_image(
            restored.image, again := with_qemu.with_name("again.tar"), silent,
            QemuToExport("bookworm", root, program.sha256),
        )  # fmt: skip
        assert again.read_bytes() == with_qemu.read_bytes()

    def test_is_left_out_unless_it_is_asked_for(
        self, with_qemu: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As it is a program of whoever wrote the file."""
        import_command(source=str(with_qemu))
        assert "left out the QEMU in " in capsys.readouterr().err
        assert not debian_directory("bookworm").exists()
        restored = import_exported(with_qemu, None, silent, with_qemu=True)
        assert (restored.was_there, restored.left_out_qemu) == (True, False)
        assert debian_directory("bookworm").is_dir()

    def test_that_is_not_in_the_file(self, exported: Path) -> None:
        assert refusal(exported, with_qemu=True) == "has no QEMU in it; leave out --with-qemu"

    def test_another_is_in_the_way(self, with_qemu: Path) -> None:
        other = make_qemu(debian_directory("bookworm"))
        (other / "usr/bin/qemu-system-x86_64").write_bytes(b"newer")
        assert refusal(with_qemu, with_qemu=True).startswith(
            "another QEMU of bookworm than the file's is in "
        )

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda t: t["files"][0].__setitem__(0, "../evil"), "a file called '../evil'"),
            (lambda t: t["files"][0].__setitem__(0, "/evil"), "a file called '/evil'"),
            (lambda t: t["files"][0].__setitem__(0, "a/./b"), "a file called 'a/./b'"),
            (lambda t: t["files"][0].__setitem__(0, ""), "a file called ''"),
            (lambda t: t["files"].append(t["files"][0]), "a file called 'lib/x86_64"),
            (lambda t: t["files"][0].__setitem__(0, "usr/share/seabios/x"), "is below a file"),
            (lambda t: t["links"].append(["a", "/etc"]), "the link 'a' leads out of it"),
            (lambda t: t["links"].append(["a", "../../x"]), "the link 'a' leads out of it"),
            (lambda t: t["links"].append(["a", "a"]), "the link 'a' leads out of it, or nowhere"),
            (lambda t: t["links"].extend([["usr/l", "."], ["a", "usr/l/../.."]]), "'a' leads out"),
            (lambda t: t["files"][0].__setitem__(1, 5), "more content than its files have"),
            (lambda t: t["files"][2].__setitem__(1, 6 << 20), "is cut short"),
            (lambda t: t["files"][0].__setitem__(0, "lib/x"), "no ld-linux-x86-64.so.2; unpack"),
        ],
    )
    def test_damaged(
        self, with_qemu: Path, change: Callable[[Any], object], said: str, tmp_path: Path
    ) -> None:
        """Neither it nor the image is kept, nor anything elsewhere."""
        change_description(with_qemu, lambda d: change(d["qemu"]["tree"]))
        before = sorted(path for path in tmp_path.glob("**/*") if "second" not in path.parts)
        assert said in refusal(with_qemu, with_qemu=True)
        assert not list(debian_directory("bookworm").parent.glob("*"))
        left = sorted(path for path in tmp_path.glob("**/*") if "second" not in path.parts)
        assert left == before

    def test_that_is_installed_is_not_exported(self, with_qemu: Path) -> None:
        for name in ("system", "/usr/bin/qemu-system-x86_64", "."):
            with pytest.raises(InputError, match=f"--qemu {name}: only a QEMU that is fetched"):
                qemu_to_export(name, silent)


class TestFullDisk:
    @pytest.fixture
    def small(self, tmp_path: Path) -> Iterator[Path]:
        """A disk of 64 KiB."""
        require_root()
        place = tmp_path / "small"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64K", "none", place], check=True)
        yield place
        subprocess.run(["umount", place], check=True)

    def test_of_the_file(self, small: Path, use_cache: UseCache) -> None:
        image = store(use_cache("first"), "img")
        (small / "rest").write_bytes(bytes(60 << 10))
        with pytest.raises(InputError, match="No space left on device; name a file in a directory"):
            export_image(image, small / "img.tar", silent)
        assert os.listdir(small) == ["rest"]  # noqa: PTH208

    def test_of_the_cache(self, small: Path, exported: Path, use_cache: UseCache) -> None:
        use_cache("small")
        with pytest.raises(RunError, match=r"it takes 0 MiB, and 0 MiB are free; free space"):
            import_exported(exported, None, silent)
        assert list(images_directory().glob("*")) == []


@pytest.mark.guest
def test_its_runs_are_the_same(use_cache: UseCache, tmp_path: Path) -> None:
    """From the very snapshot that was taken of the image where it was built, and booted anew."""
    home = cache_directory()
    here = run_guest("dd if=/dev/vda of=/dev/null bs=4k count=9; date", "samsung-870-evo-1tb")
    export_image(ready_image("mini", silent), tmp_path / "mini.tar", silent)
    away = use_cache("away")
    import_exported(tmp_path / "mini.tar", None, silent)
    (away / "snapshots").symlink_to(home / "snapshots")
    before = sorted(path.name for path in (home / "snapshots").iterdir())
    there = run_guest("dd if=/dev/vda of=/dev/null bs=4k count=9; date", "samsung-870-evo-1tb")
    assert sorted(path.name for path in (home / "snapshots").iterdir()) == before
    assert there.stdout == here.stdout
    ours, theirs = (run.result.as_dict() for run in (here, there))
    for timed in (ours, theirs):
        timed["totals"] = {"warped_ns": timed["totals"]["warped_ns"]}
    assert theirs == ours
    assert theirs["versions"]["image"] == here.result.image.image_id
    assert theirs["versions"]["qemu_sha256"] == find_qemu().sha256
    shutil.rmtree(away / "images")
