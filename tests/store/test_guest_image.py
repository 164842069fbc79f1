# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache, Debian packages without root, and the guest image made of them."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from freezingtime.errors import InputError, RunError
from freezingtime.images import builder, guest_image
from freezingtime.images.debian.package import Package
from freezingtime.images.guest_image import (
    GuestImage,
    ImageContent,
    RootDisk,
    find_image,
    find_image_by_id,
    image_directory,
    images_lock_path,
    list_images,
    list_unusable_images,
    remove_image,
    store_image,
)
from freezingtime.runs.guest import require_image
from freezingtime.store import cache as cache_module
from freezingtime.store.cache import (
    cache_directory,
    exclusive_lock,
    publish,
    require_writable_cache,
    unfinished_directory,
)
from tests.conftest import RunProgram

PACKAGE = Package("fio", "1:3.33-3", "amd64", "utils", (), (), "0" * 64)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return require_writable_cache()


class TestCache:
    def test_is_where_the_user_says(self, cache: Path, tmp_path: Path) -> None:
        assert cache == cache_directory() == tmp_path / "cache" / "freezingtime"
        assert cache.is_dir()

    def test_that_cannot_be_made_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        for taking in (require_writable_cache, exclusive_lock(images_lock_path()).__enter__):
            with pytest.raises(InputError, match=r"file/freezingtime .*set XDG_CACHE_HOME"):
                taking()
        assert list_images() == []

    def test_waits_for_a_holder_as_long_as_it_lives_and_names_it(self, tmp_path: Path) -> None:
        lock = tmp_path / "lock"
        told: list[str] = []
        with hold(lock) as holder:

            def end_it(text: str) -> None:
                told.append(text)
                if len(told) == 2:
                    holder.kill()

            with exclusive_lock(lock, end_it):
                assert lock.read_text() == str(os.getpid())
        expected = f"waiting for process {holder.pid} (-c 'import sys, time"
        assert len(told) == 2
        assert told[0] == told[1]
        assert told[0].startswith(expected)
        assert told[0].endswith(f"), which holds {lock}")

    def test_says_that_a_holder_is_stopped_or_elsewhere(self, tmp_path: Path) -> None:
        lock = tmp_path / "lock"
        with hold(lock) as holder:
            holder.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
            assert ", stopped), which holds" in self.told_first(lock)
            for text, said in (
                ("4194305", "process 4194305 of another machine or container,"),
                ("\x1b]0;x", "another process,"),
                ("", "another process,"),
            ):
                lock.write_text(text)
                assert self.told_first(lock).startswith(f"waiting for {said}")

    @staticmethod
    def told_first(lock: Path) -> str:
        """What is said of a lock that another holds; then the wait is given up."""

        def give_up(text: str) -> None:
            raise InterruptedError(text)

        with pytest.raises(InterruptedError) as given_up, exclusive_lock(lock, give_up):
            pytest.fail("the lock was given out twice")
        return str(given_up.value)

    def test_full_disk_takes_no_lock_away(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_arguments: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(cache_module.os, "pwrite", full)
        with exclusive_lock(tmp_path / "lock"):
            assert self.told_first(tmp_path / "lock").startswith("waiting for another process,")

    def test_full_disk_says_so(self, tmp_path: Path) -> None:
        with (
            pytest.raises(RunError, match=rf"{tmp_path} \(No space left .*set XDG_CACHE_HOME"),
            unfinished_directory(tmp_path) as building,
            Path("/dev/full").open("wb", buffering=0) as file,
        ):
            file.write(bytes(building.is_dir()))

    def test_published_directory_replaces_the_old_one(self, tmp_path: Path) -> None:
        for content in ("old", "new"):
            with unfinished_directory(tmp_path) as building:
                (building / "built").mkdir()
                (building / "built" / "file").write_text(content)
                publish(building / "built", tmp_path / "final")
        assert (tmp_path / "final" / "file").read_text() == "new"
        assert [path.name for path in tmp_path.iterdir()] == ["final"]

    def test_failed_and_killed_builds_leave_nothing(self, tmp_path: Path) -> None:
        (tmp_path / ".unfinished-killed" / "half").mkdir(parents=True)
        with pytest.raises(IsADirectoryError), unfinished_directory(tmp_path) as building:
            building.read_bytes()
        assert list(tmp_path.iterdir()) == []


@contextmanager
def hold(lock: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds a lock until it is killed."""
    script = (
        "import sys, time; from pathlib import Path; "
        "from freezingtime.store.cache import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1])): print(flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", script, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            yield holder
        finally:
            holder.kill()


def manifest(image: GuestImage) -> Path:
    return image.directory / "manifest.json"


def store(cache: Path, initrd: bytes, age_s: int = 0) -> GuestImage:
    """Put a made-up image into the cache."""
    building = cache / "images" / "building"
    building.mkdir(parents=True)
    manifest = store_image(building, "mini", ImageContent(b"kernel", initrd, "6.1", (PACKAGE,)))
    final = cache / "images" / f"mini-{manifest.image_id[:12]}"
    publish(building, final)
    built_s = time.time() - age_s
    os.utime(final / "manifest.json", (built_s, built_s))
    return GuestImage(final, manifest)


def store_with_root(cache: Path, data: bytes, place_bytes: int = 5 << 20) -> GuestImage:
    """Put a made-up image with a sparse root disk into the cache."""
    building = cache / "images" / "building"
    building.mkdir(parents=True)
    root = RootDisk("ext4", 64 << 20)
    made = cache / "made.img"
    with made.open("wb") as file:
        file.truncate(root.size_bytes)
        file.seek(place_bytes)
        file.write(data)
    content = ImageContent(b"kernel", b"initrd", "6.1", (PACKAGE,), root, made)
    manifest = store_image(building, "big", content)
    final = image_directory(manifest)
    publish(building, final)
    return GuestImage(final, manifest)


class TestRootDisks:
    def test_is_found_again(self, cache: Path) -> None:
        image = store_with_root(cache, b"data")
        assert find_image("big") == image == list_images()[0]
        assert image.root_path is not None
        assert image.root_path.stat().st_size == 64 << 20
        assert find_image("mini") is None

    def test_id_depends_on_the_data_and_its_place(self, cache: Path) -> None:
        """But not on which zeros happen to be holes of the file."""
        same = store_with_root(cache, b"data").image_id
        assert store_with_root(cache, b"date").image_id != same
        assert store_with_root(cache, b"data", place_bytes=7 << 20).image_id != same
        assert store_with_root(cache, b"data" + bytes(9 << 20)).image_id == same

    def test_damage_is_noticed(self, cache: Path) -> None:
        image = store_with_root(cache, b"data")
        assert image.root_path is not None
        os.truncate(image.root_path, 1 << 20)
        assert list_images() == []
        (unusable,) = list_unusable_images()
        assert unusable.directory == image.directory
        assert re.match(r"it is damaged \(files of .* bytes, not ", unusable.reason)

    def test_images_with_and_without_have_builders_of_their_own(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mini, big = store(cache, b"x"), store_with_root(cache, b"data")
        monkeypatch.setattr(builder, "_ROOT_SOURCES", ("images/debian/image.py",))
        assert mini.is_of_these_sources
        assert not big.is_of_these_sources

    def test_a_guest_that_is_not_there(self, cache: Path) -> None:
        store_with_root(cache, b"data")
        require_image("big")
        require_image("mini")
        with pytest.raises(
            InputError, match=r"no image .debian.; available: big, mini; build it with"
        ):
            require_image("debian")

    def test_a_guest_of_other_sources(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store_with_root(cache, b"data")
        monkeypatch.setattr(builder, "_ROOT_SOURCES", ("images/debian/image.py",))
        with pytest.raises(InputError, match=r"another version .* image build debian --name big'"):
            require_image("big")


class TestImages:
    def test_there_are_none_at_first(self, cache: Path) -> None:
        assert cache.is_dir()
        assert list_images() == []
        assert find_image() is None

    def test_the_newest_comes_first(self, cache: Path) -> None:
        old, new = store(cache, b"old", age_s=100), store(cache, b"new")
        assert list_images() == [new, old]
        assert find_image("mini") == new
        assert new.initrd_path.read_bytes() == b"new"
        assert new.kernel_path.read_bytes() == b"kernel"

    def test_id_depends_on_content_alone(self, cache: Path) -> None:
        first, again, other = (store(cache, content) for content in (b"a", b"a", b"b"))
        assert first == again
        assert first.image_id != other.image_id

    def test_remove_by_id_prefix(self, cache: Path) -> None:
        kept, doomed = store(cache, b"kept"), store(cache, b"doomed")
        assert remove_image(doomed.image_id[:12]) == [doomed]
        assert list_images() == [kept]
        assert not doomed.directory.exists()

    @pytest.mark.parametrize("digit_count", [1, 3])
    def test_remove_refuses_a_prefix_that_is_a_slip(self, cache: Path, digit_count: int) -> None:
        image = store(cache, b"x")
        with pytest.raises(InputError, match=rf"takes 4 digits .* are: {image.directory.name}"):
            remove_image(image.image_id[:digit_count])
        assert list_images() == [image]
        assert remove_image(image.image_id[:4]) == [image]

    def test_remove_by_name_removes_all_of_them(self, cache: Path) -> None:
        images = [store(cache, b"old", age_s=100), store(cache, b"new")]
        assert remove_image("mini") == images[::-1]
        assert list_images() == []

    @pytest.mark.parametrize("unknown", ["maxi", ""])
    def test_remove_what_is_not_there(self, cache: Path, unknown: str) -> None:
        image = store(cache, b"x")
        with pytest.raises(InputError, match=rf"no image has .* there are: {image.directory.name}"):
            remove_image(unknown)

    def test_remove_refuses_an_ambiguous_prefix(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = store(cache, b"x")
        monkeypatch.setattr(guest_image, "list_images", lambda: [image, image])
        with pytest.raises(InputError, match="several images have"):
            remove_image(image.image_id[:4])
        assert image.directory.exists()

    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            (lambda image: image.initrd_path.write_bytes(b"longer"), r"damaged \(files of"),
            (lambda image: image.kernel_path.unlink(), r"damaged \(.*No such file"),
            (lambda image: manifest(image).write_text("{}"), r"damaged \(has no 'format'\)"),
            (lambda image: manifest(image).write_text("[]"), r"damaged \("),
            (lambda image: manifest(image).write_text("[" * 100_000), r"damaged \("),
            (lambda image: manifest(image).write_bytes(b"\xff"), r"damaged \("),
            (
                lambda image: manifest(image).write_text('{"format": 2}'),
                "format is 2, not 1: written",
            ),
        ],
    )
    def test_one_that_cannot_be_used_is_in_nobodys_way(
        self, cache: Path, damage: Callable[[GuestImage], object], said: str
    ) -> None:
        good, bad = store_with_root(cache, b"data"), store(cache, b"x")
        damage(bad)
        assert find_image("big") == good
        require_image("big")
        assert find_image_by_id(good.image_id) == good
        (unusable,) = list_unusable_images()
        assert unusable.directory == bad.directory
        assert re.search(said, unusable.reason)
        assert remove_image("big") == [good]

    def test_one_that_cannot_be_used_is_skipped_and_its_removal_offered(
        self, cache: Path, freezingtime: RunProgram
    ) -> None:
        good, bad = store_with_root(cache, b"data"), store(cache, b"x")
        manifest(bad).write_text('{"format": 2}')
        environment = {"XDG_CACHE_HOME": str(cache.parent)}
        listed = freezingtime("image", "list", environment=environment)
        assert listed.returncode == 0
        assert [line.split()[0] for line in listed.stdout.splitlines()] == ["name", "big"]
        removal = f"freezingtime image remove {bad.directory.name}"
        assert listed.stderr == (
            f"freezingtime: skipped {bad.directory.name}: its format is 2, not 1: written "
            f"by another version of freezingtime; remove it with '{removal}'\n"
        )
        removed = freezingtime(*removal.split()[1:], environment=environment)
        assert removed.stdout == f"removed {bad.directory.name}\n"
        assert not bad.directory.exists()
        assert list_unusable_images() == []
        assert list_images() == [good]

    def test_a_guest_that_cannot_be_used_is_named(self, cache: Path) -> None:
        image = store_with_root(cache, b"data")
        manifest(image).write_text("not JSON")
        with pytest.raises(
            InputError, match=rf"the image {image.directory.name} cannot be used: .* image build"
        ):
            require_image("big")
