# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether this host's KVM will do for a clock: tried out, not looked up.

A KVM inside another one, or one for other guests than Linux, may have all that is asked for by
name, and keep none of it. So a guest of a few instructions reads its cycle counter.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from freezingtime.errors import InputError
from freezingtime.host.kvm.perf_signal import paranoia, require_perf_signal
from freezingtime.host.kvm.tiny_guest import KVM_PATH, TinyGuest

CLOCK_SOURCE_PATH: Final = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")

#: Where the guest's counter is put, far from the host's.
_SET_TO: Final = 1 << 40
#: What may go by between setting the counter and the guest's reading it, on a busy host.
_TOLERANCE_S: Final = 0.01
_ROUNDS: Final = 5

CPUS_PATH: Final = Path("/proc/cpuinfo")
_INSTEAD: Final = "take another host, or --clock exact"


@dataclass(frozen=True, slots=True)
class KvmHost:
    """A host whose KVM will do."""

    tsc_khz: int
    """Frequency of the cycle counter."""
    cpu_vendor: str
    """As its CPUs tell it, such as ``GenuineIntel``."""


def require_kvm() -> KvmHost:
    """Try out the host's KVM.

    Raises:
        InputError: it will not do; why, and what to change.
    """
    _require_access()
    try:
        with TinyGuest() as guest:
            host = _examine(guest)
    except OSError as error:
        raise InputError(
            f"KVM does not run a guest of a few instructions here ({error}); {_INSTEAD}"
        ) from error
    _require_stable_counter()
    try:
        require_perf_signal()
    except OSError as error:
        raise InputError(
            f"Linux does not tell when it takes the CPU from a guest ({error.strerror}; "
            f"perf_event_paranoid is {paranoia()}): set it with 'sysctl "
            "kernel.perf_event_paranoid=1', or grant CAP_PERFMON"
        ) from error
    return host


def _require_access() -> None:
    if not Path(KVM_PATH).exists():
        raise InputError(
            f"there is no {KVM_PATH}: load the module kvm_intel or kvm_amd and turn on "
            "virtualisation in the firmware; in a virtual machine, have its host allow nesting"
        )
    if not os.access(KVM_PATH, os.R_OK | os.W_OK):
        raise InputError(
            f"{KVM_PATH} may not be used by this user: join its group with 'usermod -aG kvm USER' "
            "and log in anew"
        )


def _examine(guest: TinyGuest) -> KvmHost:
    if not guest.has_offset:
        raise InputError(
            "this KVM has no offset of the guest's cycle counter: it takes Linux 5.16 or later"
        )
    if not guest.leaves_at_once:
        raise InputError("this KVM cannot be left at once: it takes Linux 4.13 or later")
    khz = guest.tsc_khz
    gaps = [_gap(guest) for _ in range(_ROUNDS)]
    if min(gaps) < 0 or min(gaps) > _TOLERANCE_S * khz * 1000:
        raise InputError(
            "this KVM's offset of the guest's cycle counter has no effect, so the guest's time "
            f"cannot stand still; {_INSTEAD}"
        )
    return KvmHost(khz, _cpu_vendor())


def _cpu_vendor() -> str:
    with CPUS_PATH.open() as file:
        for line in file:
            if line.startswith("vendor_id"):
                return line.partition(":")[2].strip()
    raise InputError(f"{CPUS_PATH} does not tell the CPUs' vendor; {_INSTEAD}")


def _gap(guest: TinyGuest) -> int:
    """By how many cycles a counter that is set to a number is past it when the guest reads it."""
    guest.set_offset(0)
    host = guest.read_counter()
    guest.set_offset(_SET_TO - host)
    return guest.read_counter() - _SET_TO


def _require_stable_counter() -> None:
    """Where Linux does not trust the counter itself, it is none to make time of."""
    try:
        source = CLOCK_SOURCE_PATH.read_text(encoding="ascii").strip()
    except OSError:
        return  # no such file on this kernel: nobody distrusts it
    if source != "tsc":
        raise InputError(
            f"the host's own clock is {source}, not its cycle counter (tsc), so that is not "
            f"stable; see what 'dmesg | grep -i tsc' says, or {_INSTEAD}"
        )
