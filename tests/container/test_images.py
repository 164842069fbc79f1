# SPDX-License-Identifier: GPL-2.0-or-later
"""Container images as they are kept: layouts, archives, what is found and what is refused."""

from __future__ import annotations

import gzip
import json
import lzma
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from freezingtime.errors import InputError
from freezingtime.images.container.plan import ContainerPlan, parse_container
from freezingtime.images.container.prepare import guest_files, prepare_root
from tests.support.containerlib import (
    digest_of,
    directory,
    layer_of,
    make_docker_archive,
    make_layout,
    symlink,
)

LOWER, UPPER = layer_of(("a", b"1"), ("b", b"1")), layer_of(".wh.a", ("c", b"2"))
SETTINGS = {"Entrypoint": ["/run me"], "Cmd": ["x"], "Env": ["A=1 2"], "WorkingDir": "data/./"}


def zstd(layer: bytes) -> bytes:
    """In two frames, as of whoever compresses in parallel."""
    codec = pa.Codec("zstd")
    half = len(layer) // 2
    return b"".join(codec.compress(part, asbytes=True) for part in (layer[:half], layer[half:]))


def two_members(layer: bytes) -> bytes:
    return gzip.compress(layer[:1000]) + gzip.compress(layer[1000:])


def plan_of(path: Path, reference: str = "") -> ContainerPlan:
    plan = parse_container(f"oci:{path}{reference}")
    assert plan is not None
    return plan


def names_in(plan: ContainerPlan, tmp_path: Path) -> list[str]:
    scratch = tmp_path / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    with plan.opened(scratch, lambda step, done, total: None) as tree:
        return [name for name, _ in tree.walk()]


def refused(path: Path, tmp_path: Path, reference: str = "") -> str:
    with pytest.raises(InputError) as caught:
        names_in(plan_of(path, reference), tmp_path)
    text = str(caught.value)
    assert text.startswith("--guest oci:")
    assert "\n" not in text
    return text


def packed(layout: Path, target: Path) -> Path:
    with tarfile.open(target, "w") as tar:
        tar.add(layout, ".")
    return target


class TestFound:
    @pytest.mark.parametrize("compress", [gzip.compress, two_members, zstd, bytes])
    def test_a_layout_as_directory_and_archive(
        self, tmp_path: Path, compress: Callable[[bytes], bytes]
    ) -> None:
        layout = make_layout(tmp_path / "layout", [LOWER, UPPER], SETTINGS, compress=compress)
        archive = packed(layout, tmp_path / "archive.tar")
        for plan in (plan_of(layout), plan_of(archive)):
            plan.check()
            assert names_in(plan, tmp_path) == ["b", "c"]
            assert plan.source() == plan_of(layout).source()
            settings = plan.settings()
            assert (settings.entrypoint, settings.command) == (("/run me",), ("x",))
            assert (settings.environment, settings.working_directory) == (("A=1 2",), "/data")

    def test_an_archive_of_docker_save(self, tmp_path: Path) -> None:
        """Equal layers are links in it. Its identity is that of the same image as a layout."""
        layers = [LOWER, UPPER, LOWER]
        archive = make_docker_archive(tmp_path / "saved.tar", layers, SETTINGS)
        assert names_in(plan_of(archive), tmp_path) == ["a", "b", "c"]
        layout = make_layout(tmp_path / "layout", layers, SETTINGS)
        assert plan_of(archive).source() == plan_of(layout).source()

    def test_one_of_several_is_named(self, tmp_path: Path) -> None:
        layout = tmp_path / "layout"
        make_layout(layout, [LOWER], name="docker.io/library/one:v1")
        make_layout(layout, [UPPER], name="two")
        assert names_in(plan_of(layout, ":two"), tmp_path) == ["c"]
        assert names_in(plan_of(layout, ":one:v1"), tmp_path) == ["a", "b"]
        assert "name one after a colon: docker.io/library/one:v1, two" in refused(layout, tmp_path)
        assert "holds no image called 'three'" in refused(layout, tmp_path, ":three")

    def test_the_platform_of_an_index_in_an_index(self, tmp_path: Path) -> None:
        layout = make_layout(tmp_path / "layout", [LOWER])
        index = json.loads((layout / "index.json").read_text())
        inner = {
            "manifests": [
                {"digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": arch}}
                for arch in ("arm64", "unknown")
            ]
        }
        inner["manifests"] += index["manifests"]
        blob = json.dumps(inner).encode()
        digest = digest_of(blob)
        (layout / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(blob)
        (layout / "index.json").write_text(json.dumps({"manifests": [{"digest": digest}]}))
        assert names_in(plan_of(layout), tmp_path) == ["a", "b"]


class TestRefused:
    def test_what_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(
            InputError, match=r"oci:.*no such file or directory; name an OCI layout"
        ):
            parse_container(f"oci:{tmp_path}/none:tag")
        with pytest.raises(InputError, match="no such file or directory"):
            parse_container("oci:")
        with pytest.raises(InputError, match="is not a directory"):
            parse_container(f"dir:{tmp_path}/none")
        assert parse_container("debian") is None
        assert "neither index.json" in refused(tmp_path, tmp_path)

    def test_another_cpu(self, tmp_path: Path) -> None:
        layout = make_layout(tmp_path / "layout", [LOWER], architecture="arm64")
        assert "is an image for linux/arm64" in refused(layout, tmp_path)
        archive = make_docker_archive(tmp_path / "a.tar", [LOWER], architecture="riscv64")
        assert "is an image for linux/riscv64" in refused(archive, tmp_path)

    def test_damaged_blobs(self, tmp_path: Path) -> None:
        """Each of them, whether it is a document or a layer, and whole otherwise."""
        layout = make_layout(tmp_path / "layout", [LOWER, UPPER])
        for blob in (layout / "blobs/sha256").iterdir():
            whole = blob.read_bytes()
            for damaged in (whole[:-1], whole + b" ", bytes([whole[0] ^ 1]) + whole[1:]):
                blob.write_bytes(damaged)
                assert "is damaged" in refused(layout, tmp_path)
            blob.write_bytes(whole)
            blob.rename(tmp_path / "away")
            assert "is missing in it" in refused(layout, tmp_path)
            (tmp_path / "away").rename(blob)
        assert names_in(plan_of(layout), tmp_path) == ["b", "c"]

    def test_a_layer_that_is_another(self, tmp_path: Path) -> None:
        """Blobs are whole; but the configuration is of other layers."""
        archive = make_docker_archive(tmp_path / "a.tar", [LOWER])
        archive.write_bytes(
            archive.read_bytes().replace(b"\x31" + b"\0" * 511, b"\x32" + b"\0" * 511)
        )
        assert "content's digest is not" in refused(archive, tmp_path)

    def test_archives_cut_short_and_compressed(self, tmp_path: Path) -> None:
        whole = make_docker_archive(tmp_path / "a.tar", [LOWER]).read_bytes()
        path = tmp_path / "b.tar"
        for content in (whole[: len(whole) // 2], whole[:3000], b"", b"nothing" * 1000):
            path.write_bytes(content)
            text = refused(path, tmp_path)
            assert "is neither an OCI layout nor a tar archive, or is damaged" in text
        path.write_bytes(gzip.compress(whole))
        assert "is compressed; decompress it first" in refused(path, tmp_path)

    def test_damaged_documents(self, tmp_path: Path) -> None:
        layout = make_layout(tmp_path / "layout", [LOWER])
        index = layout / "index.json"
        for text in ("{", "[]", "1", '{"manifests": 1}', '{"manifests": [1]}', "[" * 100_000,
                     '{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}', "\xff",
                     '{"manifests": [{"digest": 5}]}', '{"manifests": []}'):  # fmt: skip
            index.write_text(text)
            refused(layout, tmp_path)

    @pytest.mark.parametrize(
        "settings",
        [{"Env": ["A"]}, {"Env": ["=x"]}, {"Env": 5}, {"Cmd": "text"}, {"Cmd": ["a\0b"]},
         {"Entrypoint": [1]}, {"User": ["x"]}, {"Volumes": ["x"]}, {"Cmd": ["\ud800"]}],
    )  # fmt: skip
    def test_damaged_settings(self, tmp_path: Path, settings: Any) -> None:
        refused(make_layout(tmp_path / "layout", [LOWER], settings), tmp_path)

    def test_a_layer_compressed_otherwise(self, tmp_path: Path) -> None:
        layout = make_layout(tmp_path / "layout", [LOWER], compress=lzma.compress)
        assert "is compressed by xz" in refused(layout, tmp_path)

    def test_more_layers_than_the_configuration_knows(self, tmp_path: Path) -> None:
        layout = make_layout(
            tmp_path / "layout", [LOWER, UPPER], rootfs={"diff_ids": ["sha256:" + "0" * 64]}
        )
        assert "has 2 layers, and its configuration 1" in refused(layout, tmp_path)

    def test_more_than_can_be(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A small blob may hold any number of zeros."""
        monkeypatch.setattr("freezingtime.images.container.plan.LAYERS_MAX_BYTES", 1 << 20)
        layout = make_layout(tmp_path / "layout", [layer_of(("zeros", bytes(2 << 20)))])
        assert "of files" in refused(layout, tmp_path)
        assert (tmp_path / "scratch/layer0.tar").stat().st_size <= 1 << 20


class TestPrepared:
    def settings_of(self, tmp_path: Path, layer: bytes, **config: Any) -> str:
        """The shell's assignments that the guest gets, in its part of the initramfs."""
        layout = tmp_path / f"layout{len(list(tmp_path.iterdir()))}"
        plan = plan_of(make_layout(layout, [layer], config))
        scratch = tmp_path / f"scratch{layout.name}"
        scratch.mkdir()
        with plan.opened(scratch, lambda step, done, total: None) as tree:
            settings = plan.settings()
            prepare_root(tree, settings)
            text = guest_files(tree, settings).decode()
        return text[text.index("image_user=") : text.index("\0", text.index("image_user="))]

    def test_the_user_is_looked_up_in_the_image(self, tmp_path: Path) -> None:
        passwd = b"root:x:0:0::/root:/bin/sh\npg:x:70:71::/var/lib/pg:/bin/sh\ndamaged\n"
        group = b"pg:x:71:\nssl:x:101:www,pg\ndisk:x:6:pg\n"
        layer = layer_of(("etc/passwd", passwd), ("etc/group", group))
        for user, wanted, groups, home in (
            ("", "+0:+0", "", "/root"),
            ("pg", "+70:+71", "+6,+101", "/var/lib/pg"),
            ("70", "+70:+71", "+6,+101", "/var/lib/pg"),
            ("pg:ssl", "+70:+101", "''", "/var/lib/pg"),
            ("1000:5", "+1000:+5", "''", "/"),
            ("1000", "+1000:+0", "''", "/"),
        ):
            text = self.settings_of(tmp_path, layer, User=user)
            assert f"image_user={wanted}\n" in text
            assert f"image_groups={groups or chr(39) * 2}\n" in text
            assert f"HOME={home}" in text
        for user in ("nobody", "pg:nogroup", "99999999999", "-1"):
            with pytest.raises(InputError):
                self.settings_of(tmp_path, layer, User=user)

    def test_mount_points_and_names(self, tmp_path: Path) -> None:
        """Whatever the image has there."""
        layer = layer_of(
            ("dev/null", b"x"), symlink("run", "var/run"), directory("tmp", mode=0o700)
        )
        plan = plan_of(make_layout(tmp_path / "layout", [layer], {"Volumes": {"/data/pg": {}}}))
        (tmp_path / "scratch").mkdir()
        with plan.opened(tmp_path / "scratch", lambda step, done, total: None) as tree:
            prepare_root(tree, plan.settings())
            nodes = dict(tree.walk())
        assert {"proc", "sys", "dev", "job", "etc/hosts", "data/pg"} < set(nodes)
        assert "dev/null" not in nodes
        assert nodes["run"].is_directory
        assert nodes["tmp"].attributes.permissions == 0o700
