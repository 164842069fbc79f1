# SPDX-License-Identifier: GPL-2.0-or-later
"""A request from its arrival to its delivery, and the wire that its reply goes over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from freezingtime.clock.base import DiskChannel, KvmAccount, Wire
from freezingtime.emulator.medium_queue import Transfer
from freezingtime.medium.base import SectorError
from freezingtime.request import Buffer, Request


class ReplyWire(Wire, Protocol):
    """The wire as the emulator sees it: requests in, replies out."""

    def reply(self, channel: DiskChannel, request: Request, data: Buffer) -> None:
        """Send as much of a reply as fits without waiting."""

    def reply_error(self, channel: DiskChannel, request: Request, error: OSError) -> None:
        """Answer a request that the medium failed."""

    def flush(self) -> None:
        """Send the rest of all replies."""


@dataclass(slots=True, eq=False)
class RequestUnderWay:
    """A request between arrival and delivery."""

    request: Request
    channel: DiskChannel
    arrival_ns: int
    transfer: Transfer
    exact: bool
    from_host: bool
    sequence: int
    queue_depth: int
    warped_before_ns: int
    answered: bool = False
    given_up: bool = False
    """Answered before its time: the guest has reset a disk on which a fault kept something back."""
    sent: bool = False
    """Its reply has been sent, perhaps before it is due."""
    delivered: bool = False
    """It was delivered on schedule."""
    completion_ns: int = 0
    warped_ns: int = 0
    frozen_host_ns: int = 0
    kvm_before: KvmAccount | None = None
    """Under the KVM clock: what that had cost when it arrived..."""
    kvm_after: KvmAccount | None = None
    """...and when it was delivered, as far as that was in a turn."""

    @property
    def key(self) -> tuple[int, int]:
        """Return disk and cookie, which no other request under way has both of."""
        return self.channel.disk_index, self.request.cookie

    @property
    def may_be_sent(self) -> bool:
        """Whether its reply is known before it is due: the medium is done, and well."""
        return not self.answered and self.transfer.done and self.transfer.error is None

    def send(self, wire: ReplyWire) -> None:
        """Send the reply, unless that was done when its completion was foreseen."""
        if self.sent:
            return
        self.sent = True
        error = self.transfer.error
        if error is None and self.request.fault is not None and self.request.fault.errno:
            # The device has disappeared after the medium was done.
            error = SectorError(self.request.fault.errno, "the device fails by a rule")
        if error is None:
            wire.reply(self.channel, self.request, self.transfer.data)
        else:
            wire.reply_error(self.channel, self.request, error)
