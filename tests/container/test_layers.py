# SPDX-License-Identifier: GPL-2.0-or-later
"""Layers put on top of each other: whiteouts, links, owners, and what an archive may not do."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import tempfile
from pathlib import Path

import pytest

from freezingtime.errors import InputError
from freezingtime.images.container.directory import read_directory
from freezingtime.images.container.layer import add_layer
from freezingtime.images.container.root_tar import write_root_tar
from freezingtime.images.container.tree import Tree
from tests.support.containerlib import directory, hard_link, layer_of, member, symlink


def tree_of(tmp_path: Path, *layers: bytes) -> Tree:
    """The layers on top of each other."""
    tree = Tree()
    for number, layer in enumerate(layers):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(layer)
        add_layer(tree, path.open("rb"), number)
    return tree


def written(tree: Tree) -> bytes:
    with tempfile.TemporaryFile() as file:
        write_root_tar(tree, file)
        file.seek(0)
        return file.read()


def members_of(tree: Tree) -> dict[str, tarfile.TarInfo]:
    """What the guest gets of a tree, by name, read back from the archive."""
    with tarfile.open(fileobj=io.BytesIO(written(tree))) as tar:
        members = {info.name: info for info in tar}
        for info in members.values():
            extracted = tar.extractfile(info) if info.isreg() else None
            info.pax_headers = {"content": (extracted.read() if extracted else b"").decode()}
    del members["."]
    return members


def names_of(tmp_path: Path, *layers: bytes) -> list[str]:
    return sorted(members_of(tree_of(tmp_path, *layers)))


def refused(tmp_path: Path, *layers: bytes) -> str:
    with pytest.raises(InputError) as caught:
        members_of(tree_of(tmp_path, *layers))
    return str(caught.value)


class TestLayers:
    def test_files_keep_content_owner_mode_time(self, tmp_path: Path) -> None:
        layer = layer_of(
            directory("home/", mode=0o1777),
            (member("home/a", uid=70, gid=3_000_000, mode=0o4755, mtime=1234567890), b"content"),
            member("home/pipe", type=tarfile.FIFOTYPE, mode=0o600),
            symlink("home/l", "/etc/passwd"),
            hard_link("home/b", "./home/a"),
        )
        members = members_of(tree_of(tmp_path, layer))
        a = members["home/a"]
        assert (a.uid, a.gid, a.mode, a.mtime) == (70, 3_000_000, 0o4755, 1234567890)
        assert a.pax_headers["content"] == "content"
        assert members["home"].mode == 0o1777
        assert members["home/pipe"].isfifo()
        assert (members["home/l"].issym(), members["home/l"].linkname) == (True, "/etc/passwd")
        assert (members["home/b"].islnk(), members["home/b"].linkname) == (True, "home/a")

    def test_equal_trees_give_equal_bytes_whatever_their_order(self, tmp_path: Path) -> None:
        layers = [layer_of((one, b"x"), (other, b"x")) for one, other in ("ab", "ba")]
        assert layers[0] != layers[1]
        (one, other) = (written(tree_of(tmp_path, layer)) for layer in layers)
        assert one == other

    @pytest.mark.parametrize("size_bytes", [1, 511, 512, 513, (1 << 20) + 1])
    def test_content_of_any_size_with_and_without_zeros(
        self, tmp_path: Path, size_bytes: int
    ) -> None:
        for content in (b"\0" * size_bytes, b"x" * size_bytes):
            members = members_of(tree_of(tmp_path, layer_of(("a", content), ("b", b"y"))))
            assert members["a"].pax_headers["content"].encode() == content
            assert members["b"].pax_headers["content"] == "y"

    def test_an_upper_layer_replaces_files_and_keeps_directories(self, tmp_path: Path) -> None:
        lower = layer_of(directory("d"), ("d/kept", b"1"), ("d/new", b"1"), ("file", b"1"))
        upper = layer_of(directory("d", mode=0o700), ("d/new", b"2"), directory("file"))
        members = members_of(tree_of(tmp_path, lower, upper))
        assert members["d"].mode == 0o700
        assert members["d/new"].pax_headers["content"] == "2"
        assert "d/kept" in members
        assert members["file"].isdir()

    def test_a_whiteout_hides_what_is_below(self, tmp_path: Path) -> None:
        lower = layer_of(("d/a", b"1"), ("d/b", b"1"), ("d/sub/c", b"1"))
        upper = layer_of("d/.wh.a", "d/.wh.sub", "d/.wh.never-there", "other/.wh.x")
        assert names_of(tmp_path, lower, upper) == ["d", "d/b"]

    def test_a_whiteout_spares_its_own_layer(self, tmp_path: Path) -> None:
        """In whatever order they come; a directory that is there anew has nothing old in it."""
        lower = layer_of(("d/old", b"1"), ("d/deep/old", b"1"))
        new = [("d/deep/new", b"2"), "d/.wh.deep", ".wh.d"]
        for members in (new, new[::-1]):
            assert names_of(tmp_path, lower, layer_of(*members)) == ["d", "d/deep", "d/deep/new"]

    def test_an_opaque_directory_has_nothing_of_lower_layers(self, tmp_path: Path) -> None:
        lower = layer_of(("d/a", b"1"), ("d/sub/b", b"1"), ("e", b"1"))
        for order in (1, -1):
            upper = layer_of(*[directory("d"), ("d/.wh..wh..opq"), ("d/sub/new", b"2")][::order])
            assert names_of(tmp_path, lower, upper) == ["d", "d/sub", "d/sub/new", "e"]

    def test_a_whiteout_leaves_other_names_of_a_file(self, tmp_path: Path) -> None:
        lower = layer_of(("a", b"1"), hard_link("b", "a"))
        members = members_of(tree_of(tmp_path, lower, layer_of(".wh.a")))
        assert members["b"].pax_headers["content"] == "1"

    def test_books_of_aufs_are_no_files(self, tmp_path: Path) -> None:
        assert names_of(tmp_path, layer_of(".wh..wh.plnk", (".wh..wh.aufs", b"1"))) == []

    def test_a_name_below_a_link_is_where_the_link_leads(self, tmp_path: Path) -> None:
        """Within the image: an absolute link and one upwards end at its root."""
        lower = layer_of(
            directory("usr/lib"), symlink("lib", "usr/lib"), symlink("up", "../../../usr"),
            symlink("usr/abs", "/usr/lib"),
        )  # fmt: skip
        upper = layer_of(("lib/a", b"1"), ("up/b", b"1"), ("usr/abs/c", b"1"), ("lib/.wh.x", b""))
        names = names_of(tmp_path, lower, upper)
        assert {"usr/lib/a", "usr/b", "usr/lib/c"} < set(names)
        assert not [name for name in names if name.startswith(("lib/", "up/"))]

    def test_absolute_names_are_below_the_root(self, tmp_path: Path) -> None:
        assert names_of(tmp_path, layer_of(("/etc/a", b"1"), "./b")) == ["b", "etc", "etc/a"]

    def test_device_nodes_are_left_out(self, tmp_path: Path) -> None:
        path = tmp_path / "layer.tar"
        path.write_bytes(layer_of("a", member("dev/sda", type=tarfile.BLKTYPE)))
        tree = Tree()
        assert add_layer(tree, path.open("rb"), 0) == ["dev/sda"]
        assert [name for name, _ in tree.walk()] == ["a"]


class TestRefused:
    def test_a_name_that_leads_elsewhere(self, tmp_path: Path) -> None:
        assert "leads outside" in refused(tmp_path, layer_of("../a"))
        assert "leads outside" in refused(tmp_path, layer_of("a/../../b"))
        assert "leads outside" in refused(tmp_path, layer_of(hard_link("a", "../b")))
        assert "is an invalid whiteout" in refused(
            tmp_path, layer_of("a/.wh..."), layer_of("a/.wh...")
        )

    def test_a_link_to_what_is_not_there(self, tmp_path: Path) -> None:
        for layer in (
            layer_of(hard_link("a", "b")),
            layer_of(hard_link("a", "a")),
            layer_of(directory("d"), hard_link("a", "d")),
            layer_of(symlink("s", "/etc"), hard_link("a", "s/passwd")),
        ):
            assert "is not a file in it" in refused(tmp_path, layer)

    def test_links_in_a_circle(self, tmp_path: Path) -> None:
        layer = layer_of(symlink("a", "b"), symlink("b", "a"), ("a/x", b"1"))
        assert "too many symbolic links" in refused(tmp_path, layer)

    def test_a_file_in_a_file(self, tmp_path: Path) -> None:
        assert "is not a directory" in refused(tmp_path, layer_of(("a", b"1"), ("a/b", b"1")))
        assert "is not a directory" in refused(tmp_path, layer_of(("a", b"1"), ("a/b/c", b"1")))
        assert "root is not a directory" in refused(tmp_path, layer_of(("./", b"1")))

    def test_names_and_depths_that_no_file_system_has(self, tmp_path: Path) -> None:
        assert "is too long" in refused(tmp_path, layer_of("a" * 256))
        assert "is too long" in refused(tmp_path, layer_of("/".join(["a" * 200] * 21)))
        assert "in each other" in refused(tmp_path, layer_of("/".join(["a"] * 300)))
        # Each name is short, and leads through a link into the depth.
        deep = "/".join(["d"] * 100)
        layer = layer_of(
            directory(deep), symlink("s", deep), directory(f"s/{deep}"),
            symlink("t", f"s/{deep}"), directory(f"t/{deep}"),
        )  # fmt: skip
        assert "in each other" in refused(tmp_path, layer)

    def test_owners_that_cannot_be(self, tmp_path: Path) -> None:
        assert "an invalid owner" in refused(tmp_path, layer_of(member("a", uid=1 << 33)))

    def test_an_empty_or_endless_link(self, tmp_path: Path) -> None:
        assert "an invalid or too long link" in refused(
            tmp_path, layer_of(symlink("a", "b" * 5000))
        )

    def test_damage(self, tmp_path: Path) -> None:
        whole = layer_of(("a", b"x" * 5000), ("b", b"y"))
        assert "is damaged" in refused(tmp_path, whole[:2048])
        assert "is damaged" in refused(tmp_path, b"no archive at all" * 100)
        broken = bytearray(whole)
        broken[512 + 5120 + 150] ^= 1
        assert "is damaged" in refused(tmp_path, bytes(broken))


class TestDirectory:
    def test_a_directory_of_the_host(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        (root / "sub").mkdir(parents=True)
        (root / "sub/a").write_text("1")
        (root / "sub/a").chmod(0o640)
        (root / "b").hardlink_to(root / "sub/a")
        (root / "out").symlink_to("/etc")
        os.mkfifo(root / "pipe")
        tree, digest = read_directory(root)
        members = members_of(tree)
        assert members["b"].pax_headers["content"] == "1"
        assert stat.filemode(members["b"].mode) == stat.filemode(0o640)
        assert (members["sub/a"].islnk(), members["sub/a"].linkname) == (True, "b")
        assert (members["sub/a"].uid, members["out"].linkname) == (os.getuid(), "/etc")
        assert read_directory(root)[1] == digest
        (root / "sub/a").write_text("2")
        assert read_directory(root)[1] != digest
        with pytest.raises(InputError, match="changed while it was read"):
            members_of(tree)

    def test_a_file_that_has_become_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "root").mkdir()
        (tmp_path / "root/a").write_text("1")
        tree, _ = read_directory(tmp_path / "root")
        (tmp_path / "root/a").unlink()
        (tmp_path / "root/a").symlink_to("/etc/shadow")
        with pytest.raises(InputError, match=r"root/a: .*you need read permission"):
            members_of(tree)
