# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine under KVM: whether there can be one here, and where it differs from one under TCG."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from freezingtime.clock.kind import ClockKind
from freezingtime.errors import InputError
from freezingtime.host.cpus import usable_cpu_count
from freezingtime.host.kvm.preflight import require_kvm
from freezingtime.store.machine_identity import KvmBoot

_log = logging.getLogger(__name__)

#: Linux measures the counter's frequency at each start, and finds it a little different.
_TSC_TOLERANCE = 250e-6


@dataclass(frozen=True, slots=True)
class KvmMachine:
    """The host's KVM, as a machine under it needs to know it."""

    host: KvmBoot
    """What a guest finds that is booted here."""
    max_leak_ns: int
    """A request may be this late, and the run is valid."""


def kernel_arguments_under(booted: KvmBoot) -> str:
    """The guest's clock is its cycle counter, whose frequency it cannot measure.

    It would time the counter by accesses to devices, which take no guest time.
    """
    return f"clocksource=tsc tsc_early_khz={booted.tsc_khz}"


def choose_kvm(
    clock: ClockKind, max_leak_ns: int, booted: KvmBoot | None = None, cpu_count: int = 1
) -> KvmMachine | None:
    """Return the host's KVM if the machine is to be under it; None: its clock is exact.

    ``booted``: the guest is there already, and was booted under such a KVM.

    Raises:
        InputError: KVM is asked for, and will not do.
    """
    if clock is ClockKind.EXACT:
        return None
    try:
        found = require_kvm()
        host = KvmBoot(found.tsc_khz, found.cpu_vendor)
        if booted is not None:
            _require_alike(host, booted)
    except InputError as error:
        if clock is ClockKind.KVM:
            raise InputError(f"--clock kvm: {error}") from error
        _log.warning("the clock is exact: %s", error)
        return None
    _warn_of_too_few(cpu_count)
    return KvmMachine(host, max_leak_ns)


def _warn_of_too_few(cpu_count: int) -> None:
    host_count = usable_cpu_count()
    if cpu_count > host_count:
        _log.warning(
            "--cpus %d under --clock kvm: the host has %d for them, so they wait for each other, "
            "and guest time may go on meanwhile; what does counts against --max-leak",
            cpu_count,
            host_count,
        )


def _require_alike(host: KvmBoot, booted: KvmBoot) -> None:
    off_khz = abs(host.tsc_khz - booted.tsc_khz)
    if host.cpu_vendor != booted.cpu_vendor or off_khz > _TSC_TOLERANCE * booted.tsc_khz:
        raise InputError(
            f"the guest was booted on {_shown(booted)}, and this host is {_shown(host)}; "
            "take --clock exact, or boot one here"
        )


def _shown(kvm: KvmBoot) -> str:
    return f"{kvm.cpu_vendor} with a counter at {kvm.tsc_khz / 1e6:.4f} GHz"
