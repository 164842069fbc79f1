"""Guest images: build the mini image, find, list and remove what was built.

An image is a directory of the cache with a kernel, an initramfs and a manifest. Its
identity is its content, so that a result can name the exact image it was made with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from freezingtime.errors import InputError, RunError
from freezingtime.machine.cache import (
    cache_directory,
    exclusive_lock,
    publish,
    unfinished_directory,
    withdraw,
)
from freezingtime.machine.debian import Package, PackageArchive, Progress
from freezingtime.machine.mini_image import ImageContent, kernel_package, make_content

MINI = "mini"

_KERNEL = "vmlinuz"
_INITRD = "initrd.cpio"
_MANIFEST = "manifest.json"
_MANIFEST_FORMAT = 1
_ID_DIGITS_IN_NAME = 12
#: The sources whose change may change an image.
_BUILDER_SOURCES = (
    *("guest/init", "mini_image.py", "initramfs.py", "kernel_modules.py"),
    *("shared_libraries.py", "stub_library.py"),
)


@dataclass(frozen=True, slots=True)
class PackageVersion:
    """One Debian package that an image was made from."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an image is: ``image_id`` is the SHA-256 of its kernel and initramfs.

    ``builder`` identifies the sources that put the image together.
    """

    name: str
    image_id: str
    builder: str
    kernel_release: str
    kernel_bytes: int
    initrd_bytes: int
    packages: tuple[PackageVersion, ...]
    format: int = _MANIFEST_FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Raises ValueError, TypeError or KeyError when ``text`` is no manifest."""
        fields: dict[str, Any] = json.loads(text)
        if fields["format"] != _MANIFEST_FORMAT:
            raise ValueError(f"its format is {fields['format']}, not {_MANIFEST_FORMAT}")
        packages = tuple(PackageVersion(**package) for package in fields.pop("packages"))
        return cls(packages=packages, **fields)


@dataclass(frozen=True, slots=True)
class GuestImage:
    """A built image; ``directory`` belongs to the cache."""

    directory: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def image_id(self) -> str:
        """SHA-256 of the content, 64 hexadecimal digits."""
        return self.manifest.image_id

    @property
    def kernel_path(self) -> Path:
        return self.directory / _KERNEL

    @property
    def initrd_path(self) -> Path:
        return self.directory / _INITRD


def _no_progress(_step: str, _done: int, _total: int) -> None:
    """For callers who do not want to know."""


def build_mini_image(progress: Progress = _no_progress) -> GuestImage:
    """Build the mini image from the newest packages, or return it if it is there already.

    Raises InputError when this system cannot build images or the cache is not writable,
    RunError when packages cannot be fetched or unpacked.
    """
    root = cache_directory()
    with exclusive_lock(_lock_path()):
        try:
            return _find_or_build(PackageArchive(root / "debian"), progress)
        except OSError as error:
            raise RunError(
                f"cannot build the guest image in {root} ({error}): "
                "free some space, or set XDG_CACHE_HOME to another directory"
            ) from error


def _find_or_build(archive: PackageArchive, progress: Progress) -> GuestImage:
    progress("fetch the package lists", 0, 1)
    archive.update()
    progress("fetch the package lists", 1, 1)
    return _find_current(archive) or _build(archive, progress)


def _build(archive: PackageArchive, progress: Progress) -> GuestImage:
    with unfinished_directory(_images_directory()) as building:
        unpacked = building / "unpacked"
        unpacked.mkdir()
        content = make_content(archive, unpacked, progress)
        archive.forget_all_but(content.packages)
        image = building / "image"
        image.mkdir()
        manifest = store_image(image, content)
        final = _images_directory() / f"{MINI}-{manifest.image_id[:_ID_DIGITS_IN_NAME]}"
        publish(image, final)
    return GuestImage(final, manifest)


def store_image(directory: Path, content: ImageContent) -> Manifest:
    """Write an image's files into the empty ``directory``."""
    manifest = Manifest(
        name=MINI,
        image_id=hashlib.sha256(content.kernel + content.initrd).hexdigest(),
        builder=_builder_identity(),
        kernel_release=content.kernel_release,
        kernel_bytes=len(content.kernel),
        initrd_bytes=len(content.initrd),
        packages=tuple(_package_version(package) for package in content.packages),
    )
    (directory / _KERNEL).write_bytes(content.kernel)
    (directory / _INITRD).write_bytes(content.initrd)
    (directory / _MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def _package_version(package: Package) -> PackageVersion:
    return PackageVersion(package.name, package.version, package.sha256)


def _builder_identity() -> str:
    digest = hashlib.sha256()
    sources = resources.files("freezingtime.machine")
    for name in _BUILDER_SOURCES:
        digest.update(sources.joinpath(*name.split("/")).read_bytes())
    return digest.hexdigest()


def _find_current(archive: PackageArchive) -> GuestImage | None:
    """The image that these sources and these packages would make, if it was made before."""
    builder = _builder_identity()
    for image in _named(list_images(), MINI):
        if image.manifest.builder == builder and _is_current(image.manifest, archive):
            return image
    return None


def _is_current(manifest: Manifest, archive: PackageArchive) -> bool:
    """Whether apt would download the very packages that the image was made from."""
    names = {kernel_package(archive).name, *(package.name for package in manifest.packages)}
    candidates = archive.candidates(names).values()
    return set(manifest.packages) == {_package_version(package) for package in candidates}


def list_images() -> list[GuestImage]:
    """All images, the newest first.

    Raises InputError when one of them is damaged, naming its directory.
    """
    manifests = _images_directory().glob(f"[!.]*/{_MANIFEST}")
    newest_first = sorted(manifests, key=lambda path: (-path.stat().st_mtime_ns, path))
    return [_load(path.parent) for path in newest_first]


def find_image(name: str = MINI) -> GuestImage | None:
    """The newest image called ``name`` that these sources have built, or None.

    An image of another version's sources may hold another version's init: it is passed by.
    """
    builder = _builder_identity()
    images = [image for image in list_images() if image.manifest.builder == builder]
    return next(iter(_named(images, name)), None)


def remove_image(name_or_id_prefix: str) -> list[GuestImage]:
    """Remove the images with this name, or the one whose id starts so; return what was removed.

    Raises InputError when there is no such image, or when a prefix fits several.
    """
    with exclusive_lock(_lock_path()):
        images = list_images()
        doomed = _named(images, name_or_id_prefix) or _by_id_prefix(images, name_or_id_prefix)
        for image in doomed:
            withdraw(image.directory)
    return doomed


def _named(images: Iterable[GuestImage], name: str) -> list[GuestImage]:
    return [image for image in images if image.name == name]


def _by_id_prefix(images: list[GuestImage], prefix: str) -> list[GuestImage]:
    matching = [image for image in images if prefix and image.image_id.startswith(prefix)]
    if len(matching) == 1:
        return matching
    known = ", ".join(image.directory.name for image in images) or "none"
    problem = "several images have" if matching else "no image has"
    raise InputError(f"{problem} the name or id prefix {prefix!r}; there are: {known}")


def _load(directory: Path) -> GuestImage:
    try:
        manifest = Manifest.from_json((directory / _MANIFEST).read_text(encoding="utf-8"))
        image = GuestImage(directory, manifest)
        sizes = (image.kernel_path.stat().st_size, image.initrd_path.stat().st_size)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"the guest image in {directory} is damaged ({error}): delete that directory"
        ) from error
    if sizes != (manifest.kernel_bytes, manifest.initrd_bytes):
        raise InputError(
            f"the guest image in {directory} is damaged (files of {sizes} bytes, not "
            f"{(manifest.kernel_bytes, manifest.initrd_bytes)}): delete that directory"
        )
    return image


def _images_directory() -> Path:
    return cache_directory() / "images"


def _lock_path() -> Path:
    return cache_directory() / "lock"
