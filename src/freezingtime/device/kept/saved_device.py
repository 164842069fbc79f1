# SPDX-License-Identifier: GPL-2.0-or-later
"""A device's state together with what tells whether it is another one's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from freezingtime.device.changes.change import AT_TABLES
from freezingtime.device.contract import GuardedDevice
from freezingtime.device.description import Description
from freezingtime.device.faults.rule import FAULT_TABLES
from freezingtime.device.kept.file import arrays_bytes, read_head, read_state, write_state
from freezingtime.device.kept.state import State, StateError, entry, items
from freezingtime.request import Request

#: How much of a name is told.
_NAME_MOST = 100
#: How much more than a new device of its description has one may have in arrays.
_GROWN_MOST_BYTES = 1 << 30
#: The state of a device in which nothing is left of what it did.
_NOTHING: State = {"model": {}, "pending": []}


class OtherDeviceError(StateError):
    """Raised for the state of a device with another description."""


def identity_digest(description: Description, size_bytes: int) -> str:
    """Return the digest of all that decides what a device's state means.

    Rules of faults and changes while it runs do not: they are around the device.

    Raises:
        InputError: the description is not right.
    """
    identity = {
        name: value
        for name, value in description.identity().items()
        if name not in (FAULT_TABLES, AT_TABLES)
    }
    content = msgspec.json.encode([identity, size_bytes], enc_hook=str, order="deterministic")
    return hashlib.sha256(content).hexdigest()


def save_device(
    path: Path, device: GuardedDevice, description: Description, size_bytes: int
) -> None:
    """Write the state of a device to a file.

    Raises:
        NotKeptError: the device does not say what its state is.
        OSError: it cannot be written.
    """
    state = device.save_state()
    saved = {
        "name": description.name,
        "identity": identity_digest(description, size_bytes),
        "fails": bool(description.faults),
        "remembers": state["device"] != _NOTHING,
        "device": state,
    }
    write_state(path, saved)


def is_of(path: Path, description: Description, size_bytes: int) -> bool:
    """Return whether a file has the state of a device of that description; it may be damaged.

    Raises:
        OSError: it cannot be read.
    """
    try:
        identity = entry(read_head(path), "identity")
    except StateError:
        return False
    return bool(identity == identity_digest(description, size_bytes))


def load_device(
    path: Path, device: GuardedDevice, description: Description, size_bytes: int
) -> Sequence[Request]:
    """Have a new device go on from a file; return what was under way in it.

    It is to be thrown away if this raises.

    Raises:
        OtherDeviceError: it is the state of another device.
        NotKeptError: the device does not say how.
        StateError: the file is damaged, or of another version.
        OSError: it cannot be read.
    """
    head = read_head(path)
    if entry(head, "identity") != identity_digest(description, size_bytes):
        if not entry(head, "remembers"):
            return ()  # nothing is lost
        raise OtherDeviceError(f"is that of the device {str(entry(head, 'name'))[:_NAME_MOST]}")
    saved = read_state(path, arrays_bytes(device.save_state()) + _GROWN_MOST_BYTES)
    state = entry(saved, "device")
    if entry(saved, "fails") != bool(description.faults):
        state = _without_faults(state) if entry(saved, "fails") else _with_faults(state)
    return device.load_state(state)


def _without_faults(state: State) -> State:
    """The state of the device inside one that fails."""
    inner: State = entry(entry(state, "device"), "inner")
    return inner


def _with_faults(state: State) -> State:
    """The state of a device that fails, around one that did not."""
    arrivals_ns = items(entry(state, "arrivals_ns"), "the arrivals")
    numbers = list(range(len(arrivals_ns)))
    return {
        **state,
        "device": {
            "inner": state,
            "in_inner": numbers,
            "faults": None,
            "slowed": [[number, arrivals_ns[number], []] for number in numbers],
            "held": [],
        },
    }
