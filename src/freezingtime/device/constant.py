# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that takes the same time for every request of a kind, however many are in flight.

In text, ``constant:10us`` is one time for everything, ``constant:read=10us,write=20us`` one for
each operation; both can be mixed, and a time that is not named is 0.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import structs

from freezingtime.device.base import Device, TimedDevice
from freezingtime.device.kept.state import State
from freezingtime.device.model_parameters import Making, ModelParameters
from freezingtime.device.schema import TIME_NS_MOST, TimeNs, key, keys_of
from freezingtime.errors import InputError, about
from freezingtime.request import Operation, Request
from freezingtime.units import format_time_ns, parse_time_ns

#: What ``constant`` is called in text.
CONSTANT = "constant"
#: Where the one value without a key is kept: the time in "constant:10us".
_UNNAMED = ""


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

    def change_parameters(self, params: ModelParameters, _now_ns: int) -> None:
        """Take other times for what arrives from now on."""
        assert isinstance(params, ConstantParams)
        changed = ConstantDevice(**structs.asdict(params))
        self._service_ns = changed._service_ns

    def model_state(self) -> State:
        return {}

    def restore_model(self, state: State) -> None:
        """Restore nothing: no time depends on the past."""


class ConstantParams(ModelParameters, frozen=True, kw_only=True):
    """The same time for every request of a kind."""

    changeable = ("read", "write", "flush", "discard")
    read_ns: Annotated[TimeNs, key("service time of a read")] = 0
    write_ns: Annotated[TimeNs, key("service time of a write")] = 0
    flush_ns: Annotated[TimeNs, key("service time of a flush")] = 0
    discard_ns: Annotated[TimeNs, key("service time of a discard")] = 0

    def make(self, _making: Making) -> Device:
        return ConstantDevice(**structs.asdict(self))


CONSTANT_KEYS = tuple(declared.name for declared in keys_of(ConstantParams))


def is_constant(text: str) -> bool:
    """Whether a device's name is of this form; its times may still not be right."""
    return text.partition(":")[0] == CONSTANT


def constant_content(text: str) -> dict[str, Any]:
    """The content of a description, of ``constant:10us`` and the like.

    Raises:
        InputError: there is no time, or one is not right.
    """
    fields = text.removeprefix(CONSTANT).removeprefix(":")
    if not fields:
        raise InputError("device 'constant' needs a time: constant:10us, or constant:read=10us")
    times_ns: dict[str, int] = {}
    for field in fields.split(","):
        name, equals, value = field.partition("=") if "=" in field else (_UNNAMED, "", field)
        if equals and name not in CONSTANT_KEYS:
            known = ", ".join(CONSTANT_KEYS)
            raise InputError(f"unknown key {name!r}; the device 'constant' has {known}")
        if name in times_ns:
            raise InputError(f"{field}: {name}{equals or 'a time'} is given twice; keep one")
        with about(f"{field}: " if equals else ""):
            times_ns[name] = parse_time_ns(value)
        if times_ns[name] > TIME_NS_MOST:
            most = format_time_ns(TIME_NS_MOST)
            raise InputError(f"{field}: a device's time must be at most {most}")
    others_ns = times_ns.pop(_UNNAMED, 0)
    return {
        "summary": (ConstantParams.__doc__ or "").rstrip(".").lower(),
        "class": CONSTANT,
        "model": CONSTANT,
        "parameters": {
            name: format_time_ns(times_ns.get(name, others_ns)) for name in CONSTANT_KEYS
        },
    }
