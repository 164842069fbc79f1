# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest images: store, find, list and remove what was built.

An image is a directory of the cache with a kernel, an initramfs, a root disk unless the
initramfs is all of the system, and a manifest. Its identity is its content, so that a
result can name the exact image it was made with.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from freezingtime.errors import InputError
from freezingtime.host.json_document import parse_document, write_document
from freezingtime.images.builder import builder_identity
from freezingtime.images.debian.package import Package
from freezingtime.images.names import MINI
from freezingtime.images.sparse_file import digest_data
from freezingtime.store.cache import cache_directory, exclusive_lock, withdraw
from freezingtime.store.checksums import DamagedError
from freezingtime.store.unusable import Unusable

_KERNEL = "vmlinuz"
_INITRD = "initrd.cpio"
_MANIFEST = "manifest.json"
_ROOT = "root.img"
_DAMAGED = "damaged"
_MANIFEST_FORMAT = 1
_IMPORTED = "imported"
_ID_DIGITS_IN_NAME = 12
#: Fewer digits of an id name an image by mistake.
_ID_DIGITS_MIN = 4


class PackageVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One Debian package that an image was made from, and where mirrors have it."""

    name: str
    version: str
    sha256: str
    architecture: str = ""
    size_bytes: int = 0
    path: str = ""


class RootDisk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The root disk of an image: a raw, sparse file of ``size_bytes``."""

    file_system: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ImageContent:
    """Content of an image, and the packages it was made from."""

    kernel: bytes
    initrd: bytes
    kernel_release: str
    packages: tuple[Package, ...]
    root: RootDisk | None = None
    root_file: Path | None = None
    """Where the root disk has been made; it is moved into the image."""
    append: str = ""
    """What the kernel is told beside what every guest's is."""
    suite: str = ""
    """The suite of Debian's that the packages are from."""
    imported: bool = False
    """It was not built here."""
    source: str = ""
    """What it was imported from, or made of that are no packages: the files, as they were."""
    base_packages: tuple[PackageVersion, ...] = ()
    """Those of an image that this one is made on top of."""
    not_installed: tuple[str, ...] = ()
    """Those of the packages that are not installed in the system on the root disk."""


class Manifest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """Description of an image: ``image_id`` is the SHA-256 of its kernel, initramfs and root disk.

    ``append`` is part of that. ``builder`` identifies the sources that put the image together.
    """

    name: str
    image_id: str
    builder: str
    kernel_release: str
    kernel_bytes: int
    initrd_bytes: int
    packages: tuple[PackageVersion, ...]
    root: RootDisk | None = None
    append: str = ""
    suite: str = ""
    source: str = ""
    not_installed: tuple[str, ...] = ()
    format: int = msgspec.field(default_factory=lambda: _MANIFEST_FORMAT)

    @classmethod
    def parse(cls, text: bytes) -> Manifest:
        """Raise ValueError when ``text`` is no manifest, or one of another version."""
        return parse_document(text, cls, _MANIFEST_FORMAT)


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
    def append(self) -> str:
        """Kernel arguments of its own."""
        return self.manifest.append

    @property
    def kernel_path(self) -> Path:
        return self.directory / _KERNEL

    @property
    def initrd_path(self) -> Path:
        return self.directory / _INITRD

    @property
    def manifest_path(self) -> Path:
        return self.directory / _MANIFEST

    @property
    def root_path(self) -> Path | None:
        """The root disk, never to be changed; None if the image has none."""
        return None if self.manifest.root is None else self.directory / _ROOT

    @property
    def is_imported(self) -> bool:
        """Whether it is a system of the user's own."""
        return self.manifest.builder == _IMPORTED

    @property
    def is_container(self) -> bool:
        """Whether it is a container's image beside the mini guest."""
        return bool(self.manifest.source) and not self.is_imported

    @property
    def is_of_these_sources(self) -> bool:
        """Whether these very sources have built it, as another version's guest may differ; or
        nobody's, since it was imported."""
        if self.is_imported:
            return True
        return self.manifest.builder == builder_identity(
            has_root=self.manifest.root is not None, is_container=self.is_container
        )

    def is_made_from(self, packages: Iterable[Package]) -> bool:
        """Whether these versions of these packages, and no others, are in it."""
        return {(each.name, each.version, each.sha256) for each in self.manifest.packages} == {
            (package.name, package.version, package.sha256) for package in packages
        }


def image_directory(manifest: Manifest) -> Path:
    """Return the directory of an image in the cache."""
    return images_directory() / f"{manifest.name}-{manifest.image_id[:_ID_DIGITS_IN_NAME]}"


def store_image(directory: Path, name: str, content: ImageContent) -> Manifest:
    """Write an image's files into the empty ``directory``."""
    (directory / _KERNEL).write_bytes(content.kernel)
    (directory / _INITRD).write_bytes(content.initrd)
    root_path = None if content.root_file is None else content.root_file.rename(directory / _ROOT)
    manifest = Manifest(
        name=name,
        image_id=content_id(directory, content.append, root_path),
        builder=_IMPORTED
        if content.imported
        else builder_identity(has_root=content.root is not None, is_container=bool(content.source)),
        kernel_release=content.kernel_release,
        kernel_bytes=len(content.kernel),
        initrd_bytes=len(content.initrd),
        packages=(*map(package_version, content.packages), *content.base_packages),
        root=content.root,
        append=content.append,
        suite=content.suite,
        source=content.source,
        not_installed=content.not_installed,
    )
    write_document(directory / _MANIFEST, manifest)
    return manifest


def content_id(directory: Path, append: str, root_path: Path | None) -> str:
    """The identity of an image, from its files; OSError when one cannot be read."""
    digest = hashlib.sha256((directory / _KERNEL).read_bytes())
    digest.update((directory / _INITRD).read_bytes() + append.encode())
    if root_path is not None:
        digest_data(root_path, digest)
    return digest.hexdigest()


def package_version(package: Package) -> PackageVersion:
    """Return the recorded version of a package."""
    return msgspec.convert(package, PackageVersion, from_attributes=True)


def list_images() -> list[GuestImage]:
    """All images that can be used, the newest first."""
    return [image for image in _load_all() if isinstance(image, GuestImage)]


def list_unusable_images() -> list[Unusable]:
    """The images that are damaged, or that another version of freezingtime made."""
    return [image for image in _load_all() if isinstance(image, Unusable)]


def is_called(unusable: Unusable, name: str) -> bool:
    """Whether an image that cannot be used is, by its directory's name, called ``name``."""
    return unusable.directory.name.rpartition("-")[0] == name


def _load_all() -> list[GuestImage | Unusable]:
    directories = [path for path in images_directory().glob("[!.]*") if path.is_dir()]
    newest_first = sorted(directories, key=lambda path: (-_made_ns(path), path))
    return [_load(path) for path in newest_first]


def _made_ns(directory: Path) -> int:
    for path in (directory / _MANIFEST, directory):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime_ns
    return 0  # somebody has just removed it


def find_image_by_id(image_id: str) -> GuestImage | None:
    """The image with this content, if it is there and these sources have built it."""
    return next((image for image in _current() if image.image_id == image_id), None)


def _current() -> list[GuestImage]:
    return [image for image in list_images() if image.is_of_these_sources]


def find_image(name: str = MINI) -> GuestImage | None:
    """The newest image called ``name`` that these sources have built, or None.

    An image of another version's sources may hold another version's init: it is passed by.
    """
    return next(iter(named(_current(), name)), None)


def find_by_name_or_id(name_or_id_prefix: str) -> GuestImage:
    """The image that a run would use of this name, or the one whose id starts so.

    Raises InputError when there is none, when a prefix fits several or is too short, or when it
    was built by another version's sources.
    """
    images = list_images()
    image = find_image(name_or_id_prefix)
    if image is None:
        found = named(images, name_or_id_prefix) or _by_id_prefix(images, name_or_id_prefix)
        image = found[0]
    if not image.is_of_these_sources:
        raise InputError(
            f"the image {image.directory.name} was built by another version of freezingtime; "
            "use that version, or build it anew with this one"
        )
    return image


def remove_image(name_or_id_prefix: str) -> list[GuestImage]:
    """Remove the images with this name, or the one whose id starts so; return what was removed.

    Raises InputError when there is no such image, or when a prefix fits several or is too short.
    """
    with exclusive_lock(images_lock_path()):
        images = list_images()
        doomed = named(images, name_or_id_prefix) or _by_id_prefix(images, name_or_id_prefix)
        for image in doomed:
            withdraw(image.directory)
    return doomed


def remove_unusable_image(directory_name: str) -> bool:
    """Remove the image in this directory if it cannot be used; whether there was one."""
    with exclusive_lock(images_lock_path()):
        for unusable in list_unusable_images():
            if unusable.directory.name == directory_name:
                withdraw(unusable.directory)
                return True
    return False


def named(images: Iterable[GuestImage], name: str) -> list[GuestImage]:
    """Return those of ``images`` with this name."""
    return [image for image in images if image.name == name]


def _by_id_prefix(images: list[GuestImage], prefix: str) -> list[GuestImage]:
    matching = [image for image in images if prefix and image.image_id.startswith(prefix)]
    if matching and len(prefix) < _ID_DIGITS_MIN:
        raise InputError(
            f"no image is called {prefix!r}, and an id takes {_ID_DIGITS_MIN} digits or more; "
            f"there are: {_names(images)}"
        )
    if len(matching) == 1:
        return matching
    problem = "several images have" if matching else "no image has"
    raise InputError(f"{problem} the name or id prefix {prefix!r}; there are: {_names(images)}")


def _names(images: Iterable[GuestImage]) -> str:
    return ", ".join(image.directory.name for image in images) or "none"


def _load(directory: Path) -> GuestImage | Unusable:
    try:
        manifest = Manifest.parse((directory / _MANIFEST).read_bytes())
        image = GuestImage(directory, manifest)
        files = [image.kernel_path, image.initrd_path, *filter(None, [image.root_path])]
        sizes = [file.stat().st_size for file in files]
        wanted = [manifest.kernel_bytes, manifest.initrd_bytes]
        if manifest.root is not None:
            wanted.append(manifest.root.size_bytes)
        if sizes != wanted:
            raise DamagedError(f"files of {sizes} bytes, not {wanted}")
        if (mark := directory / _DAMAGED).exists():
            raise DamagedError(mark.read_text(encoding="utf-8").strip())
    except (OSError, ValueError, DamagedError) as error:
        return Unusable.because(error, directory, f"freezingtime image remove {directory.name}")
    return image


def mark_damaged(image: GuestImage, reason: str) -> None:
    """Have nobody use an image any more, for a reason that is said from now on."""
    # Where nothing may be written, whoever uses it next finds out anew.
    with contextlib.suppress(OSError):
        (image.directory / _DAMAGED).write_text(f"{reason}\n", encoding="utf-8")


def images_directory() -> Path:
    """Return the directory of all images."""
    return cache_directory() / "images"


def images_lock_path() -> Path:
    """The lock of whoever changes images, or downloads packages."""
    return cache_directory() / "lock"
