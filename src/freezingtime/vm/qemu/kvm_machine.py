# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine under KVM: whether there can be one here, and where it differs from one under TCG."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from freezingtime.clock.kind import ClockKind
from freezingtime.errors import InputError
from freezingtime.host.kvm.preflight import require_kvm

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KvmMachine:
    """The host's KVM, as a machine under it needs to know it."""

    tsc_khz: int
    """Frequency of the guest's cycle counter."""
    max_leak_ns: int
    """A request may be this late, and the run is valid."""

    @property
    def kernel_arguments(self) -> str:
        """The guest's clock is its cycle counter, whose frequency it cannot measure.

        It would time the counter by accesses to devices, which take no guest time.
        """
        return f"clocksource=tsc tsc_early_khz={self.tsc_khz}"


def choose_kvm(clock: ClockKind, max_leak_ns: int) -> KvmMachine | None:
    """Return the host's KVM if the machine is to be under it; None: its clock is exact.

    Raises:
        InputError: KVM is asked for, and will not do.
    """
    if clock is ClockKind.EXACT:
        return None
    try:
        host = require_kvm()
    except InputError as error:
        if clock is ClockKind.KVM:
            raise InputError(f"--clock kvm: {error}") from error
        _log.warning("the clock is exact: %s", error)
        return None
    return KvmMachine(host.tsc_khz, max_leak_ns)
