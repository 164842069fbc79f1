# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON documents of a container image: its layers, and how to start it.

An OCI layout has them by digest, from ``index.json`` on (the OCI image specification: image-layout,
image-index, manifest, config); ``docker save`` has ``manifest.json``. Where both are there, the
layout is used, as all of it can be verified.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from freezingtime.errors import InputError
from freezingtime.host.document_fault import document_fault
from freezingtime.images.container.archive import ImageFiles, blob_name

Value = TypeVar("Value")

ARCHITECTURE, SYSTEM = "amd64", "linux"

_INDEX, _DOCKER_MANIFEST = "index.json", "manifest.json"
_NAME_ANNOTATIONS = ("org.opencontainers.image.ref.name", "io.containerd.image.name")
#: Indexes in indexes, and images in one; more are nobody's.
_INDEX_DEPTH_MAX = 4
_IMAGES_MAX = 1000
_LAYERS_MAX = 1000


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Settings of the image's containers, as far as a guest can honour them."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    """``NAME=value`` each."""
    user: str = ""
    working_directory: str = "/"
    volumes: tuple[str, ...] = ()
    """Directories that are to be there."""

    @property
    def starts_something(self) -> bool:
        """Whether the image says what is started in it."""
        return bool(self.entrypoint or self.command)


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A layer: the name of its file, the file's digest if it is known, and the archive's in it."""

    name: str
    digest: str | None
    diff_id: str


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image: ``digest`` is that of its configuration, so of all its content."""

    digest: str
    settings: ImageSettings
    layers: tuple[LayerFile, ...]


def find_container_image(files: ImageFiles, reference: str | None) -> FoundImage:
    """The image for the guest's CPU; of several, the one that is called ``reference``.

    Raises:
        InputError: there is none, or more than one, or a document is damaged.
    """
    if _INDEX in files:
        return _of_layout(files, reference)
    if _DOCKER_MANIFEST in files:
        return _of_docker(files, reference)
    raise InputError(
        f"has neither {_INDEX} (an OCI layout) nor {_DOCKER_MANIFEST} (what 'docker save' writes)"
    )


def _of_layout(files: ImageFiles, reference: str | None) -> FoundImage:
    index = _parsed(files.document(_INDEX), _INDEX)
    named: dict[str, str] = {}
    others = set()
    for name, platform, digest in _manifests(files, index, _INDEX, None, 0):
        if reference is not None and not _is_called(name, reference):
            continue
        if platform not in (None, f"{SYSTEM}/{ARCHITECTURE}"):
            others.add(platform)
        elif len(named) < _IMAGES_MAX:
            named.setdefault(digest, name or digest)
    digest = _only_one(named, others, reference)
    manifest = _parsed(files.blob_document(digest), digest)
    config_digest = _text(_get(manifest, "config", dict, digest), "digest", digest)
    config = files.blob_document(config_digest)
    digests = [
        _text(_of_type(layer, dict, "layers", digest), "digest", digest)
        for layer in _get(manifest, "layers", list, digest)
    ]
    return _image(config, config_digest, [(blob_name(one), one) for one in digests])


def _of_docker(files: ImageFiles, reference: str | None) -> FoundImage:
    about = _DOCKER_MANIFEST
    listed = _of_type(_parsed(files.document(about), about), list, "all of it", about)
    named, images = {}, {}
    for image in listed[:_IMAGES_MAX]:
        config = _text(_of_type(image, dict, "an entry", about), "Config", about)
        tags = [tag for tag in image.get("RepoTags") or [] if isinstance(tag, str)]
        if reference is None or any(_is_called(tag, reference) for tag in tags):
            named[config] = ", ".join(tags) or config
            images[config] = image
    name = _only_one(named, set(), reference)
    layers = [
        _of_type(layer, str, "Layers", about) for layer in _get(images[name], "Layers", list, about)
    ]
    text = files.document(name)
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
    return _image(text, digest, [(layer, None) for layer in layers])


def _manifests(
    files: ImageFiles, index: Any, about: str, name: str | None, depth: int
) -> Iterator[tuple[str | None, str | None, str]]:
    """Of each image in an index, and in the indexes in it: its name, platform and digest."""
    if depth >= _INDEX_DEPTH_MAX:
        raise InputError(f"{about} nests indexes {depth} deep")
    for descriptor in _get(_of_type(index, dict, "all of it", about), "manifests", list, about):
        digest = _text(_of_type(descriptor, dict, "manifests", about), "digest", about)
        annotations = descriptor.get("annotations")
        own = annotations if isinstance(annotations, dict) else {}
        called = next((str(own[key]) for key in _NAME_ANNOTATIONS if key in own), name)
        platform = _platform(descriptor.get("platform"))
        if platform not in (None, f"{SYSTEM}/{ARCHITECTURE}"):
            yield called, platform, digest
            continue
        document = _parsed(files.blob_document(digest), digest)
        if isinstance(document, dict) and "manifests" in document:
            yield from _manifests(files, document, digest, called, depth + 1)
        else:
            yield called, platform, digest


def _platform(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    return f"{value.get('os')}/{value.get('architecture')}"


def _is_called(name: str | None, reference: str) -> bool:
    """Whether that is the image's name, with or without its registry and path."""
    if name is None:
        return False
    return name == reference or name.endswith((f"/{reference}", f":{reference}"))


def _only_one(named: Mapping[str, str], others: set[str], reference: str | None) -> str:
    if len(named) == 1:
        return next(iter(named))
    if named:
        names = ", ".join(sorted(named.values()))
        raise InputError(f"holds several images; name one after a colon: {names}")
    real = sorted(others - {"unknown/unknown"})  # BuildKit's attestations
    if real:
        raise _wrong_platform(", ".join(real))
    called = "" if reference is None else f" called {reference!r}"
    raise InputError(f"holds no image{called}")


def _wrong_platform(platform: str) -> InputError:
    return InputError(
        f"is an image for {platform}, but the guest's CPU is x86-64; "
        f"get it for {SYSTEM}/{ARCHITECTURE}, as 'docker pull --platform' does"
    )


def _image(text: bytes, digest: str, layers: list[tuple[str, str | None]]) -> FoundImage:
    config = _of_type(_parsed(text, digest), dict, "all of it", digest)
    platform = f"{config.get('os')}/{config.get('architecture')}"
    if platform != f"{SYSTEM}/{ARCHITECTURE}":
        raise _wrong_platform(platform)
    diff_ids = _texts(_get(config, "rootfs", dict, digest), "diff_ids", digest)
    if len(diff_ids) != len(layers) or len(layers) > _LAYERS_MAX:
        raise InputError(f"has {len(layers)} layers, and its configuration {len(diff_ids)}")
    files = tuple(
        LayerFile(name, layer, diff_id)
        for (name, layer), diff_id in zip(layers, diff_ids, strict=True)
    )
    return FoundImage(digest, _settings(config.get("config") or {}, digest), files)


def _settings(config: Any, about: str) -> ImageSettings:
    config = _of_type(config, dict, "config", about)
    environment = _texts(config, "Env", about)
    for assignment in environment:
        name, equals, _ = assignment.partition("=")
        if not name or not equals:
            raise InputError(f"{about}: Env has {assignment[:80]!r}, not NAME=value")
    working_directory = config.get("WorkingDir") or "/"
    return ImageSettings(
        _texts(config, "Entrypoint", about),
        _texts(config, "Cmd", about),
        environment,
        _checked(config.get("User") or "", "User", about),
        _path(working_directory, "WorkingDir", about),
        tuple(
            _path(path, "Volumes", about)
            for path in _of_type(config.get("Volumes") or {}, dict, "Volumes", about)
        ),
    )


def _parsed(text: bytes, about: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{about} is damaged, or not JSON: {document_fault(error)}") from error


def _get(document: Any, key: str, kind: type[Value], about: str) -> Value:
    if not isinstance(document, dict) or key not in document:
        raise InputError(f"{about} has no {key!r}")
    return _of_type(document[key], kind, key, about)


def _text(document: Any, key: str, about: str) -> str:
    return _checked(_get(document, key, str, about), key, about)


def _texts(document: Mapping[str, Any], key: str, about: str) -> tuple[str, ...]:
    values = _of_type(document.get(key) or [], list, key, about)
    return tuple(_checked(value, key, about) for value in values)


def _checked(value: Any, key: str, about: str) -> str:
    """A text that a guest can be given."""
    text = _of_type(value, str, key, about)
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{about}: {key} has a character that is invalid in an argument")
    return text


def _path(value: Any, key: str, about: str) -> str:
    """A path in the image, from its root."""
    return "/" + posixpath.normpath(f"/{_checked(value, key, about)}").lstrip("/")


def _of_type(value: Any, kind: type[Value], key: str, about: str) -> Value:
    if not isinstance(value, kind):
        raise InputError(f"{about}: {key} is no {_KINDS[kind]}")
    return value


_KINDS: dict[type, str] = {dict: "object", list: "list", str: "text"}
