# SPDX-License-Identifier: GPL-2.0-or-later
"""Description of an exported image's file: its parts, and their content."""

from __future__ import annotations

from typing import Annotated

import msgspec

from freezingtime.errors import InputError
from freezingtime.host.document_fault import document_fault
from freezingtime.images.exported.tree import ProgramTree, check_tree

FORMAT = 1
#: Of guests. A file from another CPU's freezingtime is none that a machine here can boot.
ARCHITECTURE = "x86-64"

#: The part with a QEMU's files.
QEMU_PART = "qemu"

#: How much of a part is compressed at once.
FRAME_BYTES = 4 << 20

_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
_Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One file's content, compressed in frames of :data:`FRAME_BYTES` each but the last."""

    size_bytes: _Count
    """Of the content, not compressed."""
    sha256: _Sha256
    frames_bytes: tuple[_Count, ...]
    """The frames' sizes, compressed."""


class Extent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Extent of data in a sparse file."""

    start_bytes: _Count
    length_bytes: _Count


class ExportedQemu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A QEMU of a suite of Debian's, unpacked; its files are one part."""

    suite: Annotated[str, msgspec.Meta(pattern="^[a-z]+(-[a-z]+)*$")]
    sha256: _Sha256
    """Of its program."""
    tree: ProgramTree


class ExportDescription(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """All parts, by name. Those of a root disk's data stand in order of its extents."""

    format: int = msgspec.field(default_factory=lambda: FORMAT)
    freezingtime: str
    """The version that wrote it."""
    architecture: str = msgspec.field(default_factory=lambda: ARCHITECTURE)
    parts: dict[str, Part]
    root_extents: tuple[Extent, ...] = ()
    qemu: ExportedQemu | None = None

    def to_json(self) -> bytes:
        """Return the text of it."""
        return msgspec.json.encode(self) + b"\n"


class _Envelope(msgspec.Struct):
    """Fields common to every version's description."""

    format: int
    freezingtime: str
    architecture: str


def parse_description(text: bytes) -> ExportDescription:
    """Read the text of a description.

    Raises:
        InputError: it is none, of another version, or for another CPU.
    """
    try:
        envelope = msgspec.json.decode(text, type=_Envelope)
        if envelope.format != FORMAT:
            raise InputError(
                f"its format is {envelope.format}, not {FORMAT}: freezingtime "
                f"{envelope.freezingtime} wrote it; import it with that version, or have this one "
                "export it anew"
            )
        if envelope.architecture != ARCHITECTURE:
            raise InputError(
                f"holds a guest for another CPU ({envelope.architecture}); guests are for "
                f"{ARCHITECTURE}"
            )
        description = msgspec.json.decode(text, type=ExportDescription)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"is damaged (its description: {document_fault(error)})") from error
    _require_sense(description)
    return description


def _require_sense(description: ExportDescription) -> None:
    for name, part in description.parts.items():
        if len(part.frames_bytes) != -(-part.size_bytes // FRAME_BYTES):
            raise InputError(f"is damaged ({name} has {len(part.frames_bytes)} frames)")
        if max(part.frames_bytes, default=0) > 2 * FRAME_BYTES:
            raise InputError(f"is damaged ({name} has a frame of more bytes than its content)")
    end_bytes = 0
    for extent in description.root_extents:
        if extent.start_bytes < end_bytes or not extent.length_bytes:
            raise InputError(f"is damaged (the root disk's data at {extent.start_bytes})")
        end_bytes = extent.start_bytes + extent.length_bytes
    if description.qemu is not None:
        check_tree(description.qemu.tree)
