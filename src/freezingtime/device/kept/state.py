# SPDX-License-Identifier: GPL-2.0-or-later
"""State of a device as plain data, from which another one of the same description goes on.

A state is a tree: dictionaries with text as keys, lists, whole numbers of 64 bits, floats, text,
bytes, booleans, None, and numpy arrays of numbers. It holds what the past has left in the device,
not what its description says. A request that is under way is its number there: the
one that drives the device keeps the requests themselves (:mod:`freezingtime.device.contract`).

Nothing in a state is trusted, as it may come from elsewhere: whoever takes a value out of one says
which values are possible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from freezingtime.annotation import Annotation
from freezingtime.request import Fault, FaultKind, Operation, Request
from freezingtime.units import MAX_VALUE

State: TypeAlias = dict[str, Any]

#: NBD's lengths have 32 bits; and compositions' parts are no longer than the whole.
_LENGTH_MOST = 2**33
_FLIPPED_MOST = 2**20


class StateError(Exception):
    """Raised for a state that a device cannot go on from: damaged, or of another device."""


class NotKeptError(StateError):
    """Raised by a device whose state cannot be saved."""


def require(condition: object, what: str) -> None:
    """Require something of a state. Raises StateError."""
    if not condition:
        raise StateError(f"{what} is not possible")


def entry(state: object, name: str) -> Any:
    """Return what is called so in a state. Raises StateError."""
    if not isinstance(state, dict) or name not in state:
        raise StateError(f"has no {name}")
    return state[name]


def integer(value: object, what: str, least: int = 0, most: int = MAX_VALUE) -> int:
    """Return a whole number of that range. Raises StateError."""
    if type(value) is not int or not least <= value <= most:
        raise StateError(f"{what} is not possible")
    return value


def items(value: object, what: str, most: int | None = None) -> list[Any]:
    """Return a list, of at most so many. Raises StateError."""
    if not isinstance(value, list) or (most is not None and len(value) > most):
        raise StateError(f"{what} is not possible")
    return value


def one_of(sequence: Sequence[Any], number: object, what: str) -> Any:
    """Return what has that number in a sequence. Raises StateError."""
    return sequence[integer(number, what, most=len(sequence) - 1)]


def packed_request(request: Request) -> list[Any]:
    """Return a request as plain data, without the bytes that it writes."""
    fault = request.fault
    return [
        *(int(request.operation), request.offset_bytes, request.length_bytes, request.fua),
        None if request.annotation is None else [int(value) for value in request.annotation],
        None
        if fault is None
        else [
            *(int(fault.kind), fault.errno, [int(bit) for bit in fault.flipped_bits]),
            *(fault.moved_bytes, fault.kept_bytes),
        ],
    ]


def unpacked_request(value: object) -> Request:
    """Return a request that was packed. Raises StateError."""
    packed = items(value, "a request")
    require(len(packed) == 6 and type(packed[3]) is bool, "a request")
    operation = integer(packed[0], "an operation")
    require(operation in set(Operation), "an operation")
    offset_bytes = integer(packed[1], "an offset")
    length_bytes = integer(packed[2], "a length", most=_LENGTH_MOST)
    request = Request(Operation(operation), offset_bytes, length_bytes, fua=packed[3])
    if packed[4] is not None:
        said = [integer(each, "an annotation", -1) for each in items(packed[4], "an annotation")]
        require(len(said) == len(Annotation._fields), "an annotation")
        request.annotation = Annotation._make(said)
    if packed[5] is not None:
        request.fault = _unpacked_fault(items(packed[5], "a fault"))
    return request


def _unpacked_fault(packed: list[Any]) -> Fault:
    require(len(packed) == 5, "a fault")
    kind, errno, flipped_bits, moved_bytes, kept_bytes = packed
    return Fault(
        FaultKind(integer(kind, "a fault", most=max(FaultKind))),
        integer(errno, "an error", most=4095),
        [integer(bit, "a bit") for bit in items(flipped_bits, "bits", _FLIPPED_MOST)] or (),
        integer(moved_bytes, "a distance", -MAX_VALUE),
        None if kept_bytes is None else integer(kept_bytes, "a length", most=_LENGTH_MOST),
    )


def numbered(requests: Sequence[Request]) -> Mapping[Request, int]:
    """Return the number of each request."""
    return {request: number for number, request in enumerate(requests)}
