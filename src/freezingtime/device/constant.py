# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that takes the same time for every request of a kind, however many are in flight.

In text, ``constant:10us`` is one time for everything, ``constant:read=10us,write=20us`` one for
each operation; both can be mixed, and a time that is not named is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import structs

from freezingtime.device.base import Device, TimedDevice
from freezingtime.device.model_parameters import Making, ModelParameters
from freezingtime.device.schema import TIME_NS_MOST, TimeNs, key, keys_of
from freezingtime.errors import InputError
from freezingtime.request import Operation, Request
from freezingtime.units import format_time_ns, parse_time_ns

#: What ``constant`` is called in text.
CONSTANT = "constant"
#: Where the one value without a key is kept: the time in "constant:10us".
UNNAMED = ""


class ConstantDevice(TimedDevice):
    """Service times that depend on the operation only; the device never queues.

    Times are in nanoseconds, 0 or more. Writing zeros counts as a write. Raises
    ValueError for a negative time.
    """

    def __init__(self, *, read_ns: int, write_ns: int, flush_ns: int, discard_ns: int) -> None:
        super().__init__()
        self._service_ns = {
            Operation.READ: read_ns,
            Operation.WRITE: write_ns,
            Operation.FLUSH: flush_ns,
            Operation.DISCARD: discard_ns,
            Operation.WRITE_ZEROES: write_ns,
        }
        for operation, service_ns in self._service_ns.items():
            if service_ns < 0:
                raise ValueError(f"{operation.name} takes {service_ns} ns; must be 0 or more")

    def completion_ns(self, request: Request, now_ns: int) -> int:
        return now_ns + self._service_ns[request.operation]


class ConstantParams(ModelParameters, frozen=True, kw_only=True):
    """The same time for every request of a kind."""

    read_ns: Annotated[TimeNs, key("the time of a read")] = 0
    write_ns: Annotated[TimeNs, key("the time of a write")] = 0
    flush_ns: Annotated[TimeNs, key("the time of a flush")] = 0
    discard_ns: Annotated[TimeNs, key("the time of a discard")] = 0

    def make(self, _making: Making) -> Device:
        return ConstantDevice(**structs.asdict(self))


CONSTANT_KEYS = tuple(declared.name for declared in keys_of(ConstantParams))


def split_constant(text: str) -> dict[str, str]:
    """The times of ``constant:10us``, ``constant:read=10us,write=20us`` or a mixture, by key.

    Raises:
        InputError: it is not of this form.
    """
    parameters: dict[str, str] = {}
    for part in text.removeprefix(CONSTANT).removeprefix(":").split(","):
        name, equals, value = part.partition("=")
        if not equals:
            name, value = UNNAMED, part
        if name not in (UNNAMED, *CONSTANT_KEYS) or name in parameters or not value:
            raise InputError(
                f"{text}: write constant:10us, or constant:read=10us,write=20us with any of "
                f"{', '.join(CONSTANT_KEYS)}, each once"
            )
        parameters[name] = value
    return parameters


def constant_text(parameters: Mapping[str, str]) -> str:
    """The text that :func:`split_constant` makes these times of."""
    fields = (f"{name}={value}" if name else value for name, value in parameters.items())
    return f"{CONSTANT}:{','.join(fields)}"


def constant_content(parameters: Mapping[str, str]) -> dict[str, Any]:
    """A description's content; what stands at :data:`UNNAMED` is for all that are not named.

    Raises:
        InputError: there is no time, or one is not right.
    """
    if not parameters:
        raise InputError("device 'constant' needs a time: constant:10us, or constant:read=10us")
    times_ns = {name: _time_ns(name, text) for name, text in parameters.items()}
    others_ns = times_ns.pop(UNNAMED, 0)
    return {
        "summary": (ConstantParams.__doc__ or "").rstrip(".").lower(),
        "class": CONSTANT,
        "model": CONSTANT,
        "parameters": {
            name: format_time_ns(times_ns.get(name, others_ns)) for name in CONSTANT_KEYS
        },
    }


def _time_ns(name: str, text: str) -> int:
    about = f"{name}={text}: " if name else ""
    try:
        time_ns = parse_time_ns(text)
    except InputError as error:
        raise InputError(f"{about}{error}") from error
    if time_ns > TIME_NS_MOST:
        most = format_time_ns(TIME_NS_MOST)
        raise InputError(f"{about or f'{text}: '}a device's time must be at most {most}")
    return time_ns
