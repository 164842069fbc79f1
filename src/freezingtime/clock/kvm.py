# SPDX-License-Identifier: GPL-2.0-or-later
"""The KVM clock: guest time is what the guest's cycle counter shows, and that waits for us.

KVM executes the guest at the host's speed. The agent keeps the counter still while the guest is
not executing: in a turn of the emulator, in QEMU, and while the host does something else. What the
exchange with the agent is, and what it means, is the virtual clock's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from freezingtime.clock.base import KvmAccount
from freezingtime.clock.protocol import Report, decode_kvm_account
from freezingtime.clock.virtual import VirtualClock


class KvmClock(VirtualClock):
    """Guest time as KVM's guests have it, but for a few hundred nanoseconds an exit."""

    # The rate is the host's then, whatever the settings say.
    own_environment: ClassVar[Mapping[str, str]] = {"FREEZINGTIME_CLOCK": "kvm"}

    def _kvm_account(self, report: Report) -> KvmAccount:
        return decode_kvm_account(report.kvm)
