# SPDX-License-Identifier: GPL-2.0-or-later
"""Container images for tests, made here: layers, an OCI layout, an archive of ``docker save``."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from freezingtime.images.names import MINI
from freezingtime.runs.guest import ready_image


def member(name: str, **attributes: Any) -> tarfile.TarInfo:
    """A member of a layer; what is not named is as tarfile has it."""
    info = tarfile.TarInfo(name)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def layer_of(*members: tarfile.TarInfo | tuple[tarfile.TarInfo | str, bytes]) -> bytes:
    """A layer's plain archive: members without content, or with."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for each in members:
            info, content = each if isinstance(each, tuple) else (each, b"")
            info = member(info) if isinstance(info, str) else info
            if content:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def directory(name: str, **attributes: Any) -> tarfile.TarInfo:
    return member(name, type=tarfile.DIRTYPE, **{"mode": 0o755, **attributes})


def symlink(name: str, target: str) -> tarfile.TarInfo:
    return member(name, type=tarfile.SYMTYPE, linkname=target, mode=0o777)


def hard_link(name: str, target: str) -> tarfile.TarInfo:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def config_of(layers: Sequence[bytes], settings: Mapping[str, Any], **others: Any) -> bytes:
    """An image's configuration."""
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(settings),
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        **others,
    }
    return json.dumps(document).encode()


def make_layout(
    path: Path,
    layers: Sequence[bytes],
    settings: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    compress: Any = gzip.compress,
    **others: Any,
) -> Path:
    """An OCI layout, as a directory; a second image in the same one has another ``name``."""
    blobs = path / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def add(content: bytes) -> dict[str, Any]:
        digest = digest_of(content)
        (blobs / digest.removeprefix("sha256:")).write_bytes(content)
        return {"digest": digest, "size": len(content)}

    manifest = {
        "schemaVersion": 2,
        "config": add(config_of(layers, settings or {}, **others)),
        "layers": [add(compress(layer)) for layer in layers],
    }
    descriptor = add(json.dumps(manifest).encode())
    if name is not None:
        descriptor["annotations"] = {"org.opencontainers.image.ref.name": name}
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    index = path / "index.json"
    there = json.loads(index.read_text())["manifests"] if index.exists() else []
    index.write_text(json.dumps({"schemaVersion": 2, "manifests": [*there, descriptor]}))
    return path


def make_docker_archive(
    path: Path, layers: Sequence[bytes], settings: Mapping[str, Any] | None = None, **others: Any
) -> Path:
    """What older versions of ``docker save`` write; equal layers are there once, and links."""
    config = config_of(layers, settings or {}, **others)
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    first: dict[bytes, str] = {}
    names = [f"{number:064x}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": config_name, "RepoTags": ["test:latest"], "Layers": names}]
    members: list[Any] = [(config_name, config)]
    for name, layer in zip(names, layers, strict=True):
        there = first.setdefault(layer, name)
        members.append((name, layer) if there == name else symlink(name, f"../{there}"))
    members.append(("manifest.json", json.dumps(manifest).encode()))
    path.write_bytes(layer_of(*members))
    return path


def busybox() -> bytes:
    """A static busybox of Debian's, which is in the mini guest's initramfs."""
    archive = ready_image(MINI, lambda step, done, total: None).initrd_path.read_bytes()
    position = 0
    while True:  # the kernel's buffer-format.rst: 13 numbers, name, content, each padded to 4
        size_bytes, name_bytes = (
            int(archive[position + field : position + field + 8], 16) for field in (54, 94)
        )
        start = position + 110
        name = archive[start : start + name_bytes - 1].decode()
        content = (start + name_bytes + 3) // 4 * 4
        if name == "usr/bin/busybox":
            return archive[content : content + size_bytes]
        position = (content + size_bytes + 3) // 4 * 4
