# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that takes the same time for every request of a kind, however many are in flight.

In text, ``constant:10us`` is one time for everything, ``constant:read=10us,write=20us`` one for
each operation; both can be mixed, and a time that is not named is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from freezingtime.device.base import TimedDevice
from freezingtime.device.parameters import TIME_NS_MOST
from freezingtime.errors import InputError
from freezingtime.request import Operation, Request
from freezingtime.units import format_time_ns, parse_time_ns

#: What ``constant`` is called in text.
CONSTANT = "constant"
CONSTANT_KEYS = ("read", "write", "flush", "discard")
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


@dataclass(frozen=True, slots=True)
class ConstantTimes:
    """One service time (ns) for each operation."""

    read_ns: int = 0
    write_ns: int = 0
    flush_ns: int = 0
    discard_ns: int = 0

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> ConstantTimes:
        """Read texts by key; what stands at :data:`UNNAMED` is for all that are not named.

        Raises:
            InputError: there is no time, or one is not right.
        """
        if not parameters:
            raise InputError("device 'constant' needs a time: constant:10us, or constant:read=10us")
        others_ns = _time_ns(parameters, UNNAMED, 0)
        times_ns = {f"{key}_ns": _time_ns(parameters, key, others_ns) for key in CONSTANT_KEYS}
        return cls(**times_ns)

    @classmethod
    def parse_text(cls, text: str) -> ConstantTimes:
        """Read ``constant:10us``, ``constant:read=10us,write=20us`` or a mixture of both.

        Raises:
            InputError: it is not of this form.
        """
        parameters: dict[str, str] = {}
        for field in text.removeprefix(CONSTANT).removeprefix(":").split(","):
            key, equals, value = field.partition("=")
            if not equals:
                key, value = UNNAMED, field
            if key not in (UNNAMED, *CONSTANT_KEYS) or key in parameters or not value:
                raise InputError(
                    f"{text}: write constant:10us, or constant:read=10us,write=20us with any of "
                    f"{', '.join(CONSTANT_KEYS)}, each once"
                )
            parameters[key] = value
        return cls.parse(parameters)

    def build(self) -> ConstantDevice:
        """Make a new device; nothing about it is random."""
        return ConstantDevice(**asdict(self))


def _time_ns(parameters: Mapping[str, str], key: str, default_ns: int) -> int:
    text = parameters.get(key)
    if text is None:
        return default_ns
    about = f"{key}={text}: " if key else ""
    try:
        time_ns = parse_time_ns(text)
    except InputError as error:
        raise InputError(f"{about}{error}") from error
    if time_ns > TIME_NS_MOST:
        most = format_time_ns(TIME_NS_MOST)
        raise InputError(f"{about or f'{text}: '}a device's time must be at most {most}")
    return time_ns
