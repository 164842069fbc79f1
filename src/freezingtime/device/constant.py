"""A device that takes the same time for every request of a kind, however many are in flight."""

from __future__ import annotations

from freezingtime.device.base import TimedDevice
from freezingtime.request import Operation, Request


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
