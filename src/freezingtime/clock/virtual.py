# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtual clock: guest time is what the guest has executed, and it waits for us.

The agent in QEMU reports arrivals and events and is held until it is answered, so the
guest's time stands still from :meth:`VirtualClock.wait` to :meth:`VirtualClock.resume`.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from typing import ClassVar

from freezingtime.clock.agent import agent_path
from freezingtime.clock.base import (
    Arrival,
    Clock,
    Delivery,
    DiskChannel,
    KvmAccount,
    Moment,
    Verdict,
    Wire,
)
from freezingtime.clock.pace import RealTimePace
from freezingtime.clock.protocol import (
    ADRIFT,
    DELIVERY,
    DISTURBED,
    DRAIN,
    HOST,
    MAX_COMMAND_BYTES,
    MAX_REPLIES,
    MAX_REPORT_BYTES,
    MAX_SCHEDULED,
    MORE,
    ORDER,
    REPLY,
    SCHEDULED_REPLY,
    Report,
    Stamp,
    decode_report,
    encode_order,
)
from freezingtime.errors import RunError
from freezingtime.host.patience import Patience
from freezingtime.host.poller import Poller, same_user
from freezingtime.request import Request

#: The cycle counter of a guest that TCG has booted: QEMU's, a cycle a nanosecond.
EXACT_TSC_KHZ = 1_000_000

#: How long bytes that QEMU has already sent may take to be read.
_RECEIVE_DEADLINE_S = 30.0
_RECEIVE_POLL_S = 1.0

#: An order is sent as a whole.
_MAX_ORDER_BYTES = (
    ORDER.size + MAX_REPLIES * REPLY.size + MAX_SCHEDULED * SCHEDULED_REPLY.size + MAX_COMMAND_BYTES
)

#: The agent reports at least this often in guest time, also while the guest only computes:
#: so a run that goes on can be told from one that hangs. The guest cannot notice.
_HEARTBEAT_NS = 100_000_000

#: The same for a guest throttled to real time: input waits no longer than this.
_PACED_HEARTBEAT_NS = 10_000_000


class VirtualClock(Clock):
    """Guest time, held still by the agent while the emulator has its turn.

    Call :meth:`request_wakeup` from any thread to end :meth:`wait`; everything else
    belongs to the emulator's thread.
    """

    stands_still = True
    reports_deliveries = True
    own_environment: ClassVar[Mapping[str, str]] = {}
    """Settings of the agent that a kind of clock adds to :meth:`environment`."""

    def __init__(self, socket_name: str, poller: Poller, *, paced: bool = False) -> None:
        """Listen for the agent at the abstract Unix socket ``socket_name``.

        ``paced``: guest time does not run ahead of the host's, as it does when a guest idles.
        """
        self._now_ns = 0
        self._pace = RealTimePace() if paced else None
        self._heartbeat_ns = _PACED_HEARTBEAT_NS if paced else _HEARTBEAT_NS
        # A guest that is throttled is so at each of its turns: it has to have them.
        self.schedule_gap_ns = -1 if paced else _HEARTBEAT_NS
        self._poller = poller
        self._report: Report | None = None
        self._stamps: list[Stamp] = []  # of a report that comes in several messages
        self._closed = False
        self._agent: socket.socket | None = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(f"\0{socket_name}")
        self._listener.listen(1)
        poller.register(self._listener.fileno(), self._accept)
        self._wakeup_receiver, self._wakeup_sender = socket.socketpair()
        poller.register(self._wakeup_receiver.fileno(), self._end)

    @classmethod
    def environment(
        cls,
        *,
        socket_name: str,
        nbd_prefix: str,
        start_ns: int,
        rate_hz: int,
        tsc_khz: int = EXACT_TSC_KHZ,
    ) -> dict[str, str]:
        """The agent's settings, as environment variables of QEMU.

        ``nbd_prefix`` followed by a disk's index is the name of its abstract socket;
        ``tsc_khz`` is what the guest's kernel takes for the frequency of its cycle counter.
        """
        return {
            "LD_PRELOAD": str(agent_path()),
            "FREEZINGTIME_CONTROL": socket_name,
            "FREEZINGTIME_NBD_PREFIX": nbd_prefix,
            "FREEZINGTIME_START_NS": str(start_ns),
            "FREEZINGTIME_RATE_HZ": str(rate_hz),
            "FREEZINGTIME_TSC_KHZ": str(tsc_khz),
            **cls.own_environment,
        }

    def now_ns(self) -> int:
        return self._now_ns

    def wait(self, wire: Wire) -> Moment | None:
        if not self._await_report() or self._report is None:
            return None
        report, self._report = self._report, None
        self._now_ns = report.now_ns
        arrivals: list[Arrival] = []
        deliveries: list[Delivery] = []
        for disk, flags, cookie, time_ns, warped_ns in report.stamps:
            adrift = bool(flags & ADRIFT)
            if flags & DELIVERY:
                deliveries.append(Delivery(disk, cookie, time_ns, adrift, warped_ns))
            else:
                received = self._receive_request(wire, disk, cookie, time_ns)
                if received is None:
                    return None
                request, channel = received
                arrivals.append(Arrival(request, channel, time_ns, adrift, bool(flags & HOST)))
        return Moment(
            report.now_ns,
            arrivals,
            deliveries,
            bool(report.flags & DRAIN),
            report.warped_ns,
            # Typed input comes from the host and is meant to reach the guest.
            bool(report.flags & DISTURBED) and self._pace is None,
            self._kvm_account(report),
        )

    def resume(self, verdict: Verdict) -> None:
        if self._agent is None:
            return
        if self._pace is not None:
            self._pace.throttle(self._now_ns)
        scheduled = verdict.scheduled
        heartbeat_ns = self._heartbeat_ns + (scheduled[-1].time_ns if scheduled else self._now_ns)
        event_ns = verdict.next_event_ns
        order = encode_order(
            heartbeat_ns if event_ns is None else min(event_ns, heartbeat_ns),
            verdict.replies,
            scheduled,
            verdict.commands,
            stop=verdict.stop_machine,
            rate_hz=verdict.rate_hz,
        )
        try:
            self._agent.send(order)
        except (BrokenPipeError, ConnectionResetError):
            self._end()

    def request_wakeup(self) -> None:
        """End :meth:`wait` from another thread: it returns None from now on."""
        self._wakeup_sender.send(b"\0")

    def hang_up(self) -> None:
        """Disconnect from the agent, which then ends QEMU."""
        if self._agent is not None:
            with contextlib.suppress(OSError):
                self._agent.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for end in (self._listener, self._agent, self._wakeup_receiver, self._wakeup_sender):
            if end is not None:
                end.close()

    def _kvm_account(self, _report: Report) -> KvmAccount | None:
        return None

    def _await_report(self) -> bool:
        while self._report is None and not self._closed:
            self._poller.poll(None)
        return not self._closed

    def _accept(self) -> None:
        agent, _ = self._listener.accept()
        if not same_user(agent):
            agent.close()
            return
        agent.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MAX_ORDER_BYTES)
        self._agent = agent
        self._poller.unregister(self._listener.fileno())
        self._poller.register(self._agent.fileno(), self._receive)

    def _receive(self) -> None:
        if self._agent is None:
            return
        try:
            message = self._agent.recv(MAX_REPORT_BYTES)
        except ConnectionResetError:
            message = b""
        if not message:
            self._end()
            return
        report = decode_report(message)
        self._stamps += report.stamps
        if not report.flags & MORE:
            self._report = report._replace(stamps=self._stamps)
            self._stamps = []

    def _end(self) -> None:
        self._closed = True

    def _receive_request(
        self, wire: Wire, disk: int, cookie: int, time_ns: int
    ) -> tuple[Request, DiskChannel] | None:
        """The request that was stamped; None if QEMU dies before it has come in."""
        patience = Patience(_RECEIVE_DEADLINE_S)
        while (taken := wire.take_request(disk)) is None:
            if self._closed:
                return None
            # The agent stamps a request once QEMU has sent all of it: it is on its way.
            self._poller.poll(_RECEIVE_POLL_S)
            if patience.is_over:
                raise RunError(
                    f"disk {disk}: a request stamped at {time_ns} ns was not received "
                    f"within {_RECEIVE_DEADLINE_S:.0f} s"
                )
        request, channel = taken
        if request.cookie != cookie:
            raise RunError(
                f"disk {disk}: expected request {cookie:#x} stamped at {time_ns} ns, "
                f"received {request.cookie:#x}"
            )
        return request, channel
