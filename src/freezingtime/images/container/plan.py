# SPDX-License-Identifier: GPL-2.0-or-later
"""A container image that a user names as a guest: ``oci:PATH[:NAME]`` or ``dir:PATH``."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezingtime.errors import InputError
from freezingtime.images.container.archive import ImageFiles, VerifiedSection
from freezingtime.images.container.directory import read_directory
from freezingtime.images.container.documents import (
    FoundImage,
    ImageSettings,
    LayerFile,
    find_container_image,
)
from freezingtime.images.container.layer import LAYERS_MAX_BYTES, add_layer, unpack_layer
from freezingtime.images.container.tree import Tree

OCI, DIRECTORY = "oci:", "dir:"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """Choice of an image. Every :class:`InputError` of its methods names the option."""

    text: str
    """What ``--guest`` says."""
    path: Path
    reference: str | None = None
    """Which of the images in ``path``, if there are several."""
    is_directory: bool = False
    """``path`` is the root itself."""

    @property
    def named_by(self) -> str:
        """Text that named the image, for messages."""
        return self.text

    @property
    def stem(self) -> str:
        """Name of the image, for people."""
        return self.path.stem

    def identity(self) -> str:
        """Identity of the image, however it changes."""
        kind = DIRECTORY if self.is_directory else OCI
        return f"{kind}{self.path.resolve()}\n{self.reference or ''}"

    def check(self) -> None:
        """See to it that there is an image that a guest can be made of, as far as documents tell.

        Raises:
            InputError: there is none.
        """
        self.source()

    def source(self) -> str:
        """Return the image's content as a text that changes when the content does.

        Raises:
            InputError: it cannot be read.
        """
        with self.told():
            if self.is_directory:
                return f"container {read_directory(self.path)[1]}"
            return f"container {self._find().digest}"

    def settings(self) -> ImageSettings:
        """Return the settings of the image's containers.

        Raises:
            InputError: it cannot be read.
        """
        if self.is_directory:
            return ImageSettings()
        with self.told():
            return self._find().settings

    @contextlib.contextmanager
    def opened(self, scratch: Path, progress: Callable[[str, int, int], None]) -> Iterator[Tree]:
        """The files of the image; layers are unpacked into the directory ``scratch`` meanwhile.

        Raises:
            InputError: the image is damaged, or has in it what no guest can have.
            OSError: there is no room.
        """
        with contextlib.ExitStack() as cleanup:
            with self.told():
                if self.is_directory:
                    tree = read_directory(self.path)[0]
                else:
                    tree = self._read_layers(scratch, progress, cleanup)
            yield tree

    def as_dict(self) -> dict[str, Any]:
        """The image as plain values."""
        return {"container": self.text}

    def _find(self) -> FoundImage:
        with contextlib.ExitStack() as cleanup:
            return find_container_image(ImageFiles(self.path, cleanup), self.reference)

    def _read_layers(
        self,
        scratch: Path,
        progress: Callable[[str, int, int], None],
        cleanup: contextlib.ExitStack,
    ) -> Tree:
        files = ImageFiles(self.path, cleanup)
        found = find_container_image(files, self.reference)
        tree, left_bytes, left_out = Tree(), LAYERS_MAX_BYTES, []
        for number, layer in enumerate(found.layers):
            progress("unpack the layers", number, len(found.layers))
            archive = scratch / f"layer{number}.tar"
            with _about(f"layer {number + 1}: "):
                _unpack(files, layer, archive, left_bytes)
                left_bytes -= archive.stat().st_size
                file = cleanup.enter_context(archive.open("rb"))
                left_out += add_layer(tree, file, number)
        left_out = [name for name in left_out if not name.lstrip("./").startswith("dev/")]
        if left_out:
            _log.warning(
                "%s: skipped %d device nodes and the like, such as %r",
                self.text,
                len(left_out),
                left_out[0],
            )
        return tree

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Say in an InputError that it is about this image."""
        with _about(f"--guest {self.text}: "):
            yield


def parse_container(text: str) -> ContainerPlan | None:
    """The image that ``--guest`` names, or None if that names something else.

    Raises:
        InputError: it names an image that is not there.
    """
    if text.startswith(DIRECTORY):
        path = Path(text.removeprefix(DIRECTORY))
        if not path.is_dir():
            raise InputError(f"--guest {text}: is not a directory; name the root of a system")
        return ContainerPlan(text, path, is_directory=True)
    if not text.startswith(OCI):
        return None
    name = text.removeprefix(OCI)
    path, reference = Path(name), None
    while not path.exists() and ":" in name:
        # A tag has a colon in it, and a registry's port another.
        name, _, last = name.rpartition(":")
        reference = last if reference is None else f"{last}:{reference}"
        path = Path(name)
    if not name or not path.exists():
        raise InputError(
            f"--guest {text}: no such file or directory; name an OCI layout, or an archive that "
            "'docker save IMAGE -o FILE' writes"
        )
    return ContainerPlan(text, path, reference)


def _unpack(files: ImageFiles, layer: LayerFile, target: Path, limit_bytes: int) -> None:
    section = files.section(layer.name)
    if layer.digest is None:
        diff_id = unpack_layer(section, target, limit_bytes)
    else:
        verified = VerifiedSection(section, layer.digest)
        diff_id = unpack_layer(verified, target, limit_bytes)
        verified.require_digest()
    if diff_id != layer.diff_id:
        raise InputError(f"{layer.name} is damaged: its content's digest is not {layer.diff_id}")


@contextlib.contextmanager
def _about(prefix: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{prefix}{error}") from error
