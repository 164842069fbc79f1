# SPDX-License-Identifier: GPL-2.0-or-later
"""Header of a record: the run that it belongs to, and the version of its format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec

from freezingtime._version import __version__
from freezingtime.errors import InputError
from freezingtime.host.json_document import OtherFormatError, parse_document

#: Changes whenever a reader of the version before would misread or miss something.
RECORD_VERSION = 2

_KEY = b"freezingtime"


class RecordedDisk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One disk of a run: its name in the record, and the option that described it."""

    name: str
    spec: str
    faults: tuple[str, ...] = ()
    """The rules by which it was to fail, its description's included."""
    changes: tuple[str, ...] = ()
    """How its parameters changed while the job ran, likewise."""


class RecordHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Properties that all requests of a record share."""

    record_version: int = RECORD_VERSION
    disks: Sequence[RecordedDisk]
    seed: int
    cpu_rate_hz: int | None = None
    """None: no guest took part, or one under KVM did."""
    is_repeatable: bool = True
    """Whether the clock was exact, so that another run of its plan is the same."""
    source: str | None = None
    """Of a replay: the name of its trace, or its workload."""
    tool_version: str = __version__

    @property
    def has_faults(self) -> bool:
        """Whether a disk was to fail, so that the record says which requests were hit."""
        return any(disk.faults for disk in self.disks)

    def metadata(self) -> dict[bytes, bytes]:
        """For the schema of an Arrow table."""
        document = msgspec.to_builtins(self)
        if self.is_repeatable:
            del document["is_repeatable"]  # as it is in records from before there was a choice
        if self.source is None:
            del document["source"]
        return {_KEY: json.dumps(document).encode()}


def parse_header(file: str, metadata: Mapping[bytes, bytes] | None) -> RecordHeader:
    """The header in the metadata of an Arrow schema; ``file`` is its name in messages.

    Raises:
        InputError: it is no record, is damaged, or is one of another version.
    """
    text = (metadata or {}).get(_KEY)
    if text is None:
        raise InputError(f"{file}: is not a record; name a run's directory or its record")
    try:
        return parse_document(text, RecordHeader, RECORD_VERSION, format_key="record_version")
    except OtherFormatError as error:
        raise InputError(
            f"{file}: has record version {error.found}, of freezingtime "
            f"{error.document.get('tool_version')}; this is "
            f"{__version__}, which reads version {RECORD_VERSION}; read it with the other"
        ) from error
    except ValueError as error:
        raise InputError(f"{file}: its header is damaged: {error}; repeat the run") from error
