# SPDX-License-Identifier: GPL-2.0-or-later
"""The KVM clock: guest time is what the guest's cycle counter shows, and that waits for us.

KVM executes the guest at the host's speed. The agent keeps the counter still while the guest is
not executing: in a turn of the emulator, in QEMU, and while the host does something else. What the
exchange with the agent is, and what it means, is the virtual clock's.
"""

from __future__ import annotations

from freezingtime.clock.base import KvmAccount
from freezingtime.clock.protocol import Report, decode_kvm_account
from freezingtime.clock.virtual import EXACT_TSC_KHZ, VirtualClock


class KvmClock(VirtualClock):
    """Guest time as KVM's guests have it, but for a few hundred nanoseconds an exit."""

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
        """The agent's settings; the rate is the host's, whatever ``rate_hz`` says."""
        settings = super().environment(
            socket_name=socket_name,
            nbd_prefix=nbd_prefix,
            start_ns=start_ns,
            rate_hz=rate_hz,
            tsc_khz=tsc_khz,
        )
        return {**settings, "FREEZINGTIME_CLOCK": "kvm"}

    def _kvm_account(self, report: Report) -> KvmAccount:
        return decode_kvm_account(report.kvm)
