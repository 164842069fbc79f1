# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing an OCI image of one layer: a tar of an image layout, as podman, skopeo and umoci read.

Source: the OCI image specification 1.0, image-layout.md, manifest.md and config.md.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

_TYPE = "application/vnd.oci.image"
_PIECE_BYTES = 1 << 20
_TAG = "org.opencontainers.image.ref.name"


class _Digested:
    """A file that knows the SHA-256 and the length of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size_bytes += len(data)
        return self._file.write(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def write_oci_archive(
    layer: Path, out: Path, run: Mapping[str, Any], tag: str, created: str
) -> None:
    """Write the image whose only layer is a plain tar.

    Args:
        layer: the tar of the root.
        out: the archive to write.
        run: the configuration's "config": user, environment, entrypoint.
        tag: what the image is called in the archive.
        created: RFC 3339.
    """
    packed = out.with_suffix(".layer")
    try:
        diff_id, layer_part = _pack(layer, packed)
        config = {
            **{"created": created, "architecture": "amd64", "os": "linux", "config": dict(run)},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
        config_part, config_text = _document(f"{_TYPE}.config.v1+json", config)
        manifest = {"schemaVersion": 2, "config": config_part, "layers": [layer_part]}
        manifest_part, manifest_text = _document(f"{_TYPE}.manifest.v1+json", manifest)
        index = {
            "schemaVersion": 2,
            "manifests": [{**manifest_part, "annotations": {_TAG: tag}}],
        }
        with tarfile.open(out, "w") as archive:
            _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
            _add(archive, "index.json", json.dumps(index).encode())
            _add(archive, _place(config_part), config_text)
            _add(archive, _place(manifest_part), manifest_text)
            info = tarfile.TarInfo(_place(layer_part))
            info.size = layer_part["size"]
            with packed.open("rb") as file:
                archive.addfile(info, file)
    finally:
        packed.unlink(missing_ok=True)


def _pack(layer: Path, packed: Path) -> tuple[str, dict[str, Any]]:
    """Compress the layer; return its digest before that, and its descriptor."""
    plain = hashlib.sha256()
    with layer.open("rb") as source, packed.open("wb") as file:
        digested = _Digested(file)
        with gzip.GzipFile("", "wb", 6, digested, mtime=0) as target:  # type: ignore[call-overload]
            while piece := source.read(_PIECE_BYTES):
                plain.update(piece)
                target.write(piece)
    part = {
        "mediaType": f"{_TYPE}.layer.v1.tar+gzip",
        "digest": digested.digest,
        "size": digested.size_bytes,
    }
    return f"sha256:{plain.hexdigest()}", part


def _document(media_type: str, content: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    text = json.dumps(content).encode()
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(text)}, text


def _place(part: Mapping[str, Any]) -> str:
    return "blobs/" + str(part["digest"]).replace(":", "/")


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))
