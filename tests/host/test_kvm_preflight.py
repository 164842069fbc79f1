# SPDX-License-Identifier: GPL-2.0-or-later
"""Which host's KVM will do, and what is said of one that will not.

What a KVM does is tried out on the one of this host, whatever it is, or none; and in the lab
(tests/kvm), where one will do.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from freezingtime.errors import InputError
from freezingtime.host.kvm import preflight
from freezingtime.host.kvm.preflight import KvmHost, require_kvm
from freezingtime.host.kvm.tiny_guest import KVM_PATH

KHZ = 2_000_000
CYCLES_OF_A_US = KHZ // 1000


class Guest:
    """A tiny guest as the preflight sees it, on a host that can be anything."""

    has_offset = True
    leaves_at_once = True
    tsc_khz = KHZ

    def __init__(self, *, host_cycles: int = 10**15, obeys: bool = True, late_us: int = 5) -> None:
        self._host_cycles = host_cycles
        self._obeys = obeys
        self._late_cycles = late_us * CYCLES_OF_A_US
        self._offset = 0

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def set_offset(self, offset: int) -> None:
        if self._obeys:
            self._offset = offset

    def read_counter(self) -> int:
        self._host_cycles += self._late_cycles
        return self._host_cycles + self._offset


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host that will do, whose files are in the directory that is returned."""
    (tmp_path / "kvm").touch()
    (tmp_path / "clocksource").write_text("tsc\n")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nvendor_id\t: GenuineIntel\n")
    monkeypatch.setattr(preflight, "CPUS_PATH", tmp_path / "cpuinfo")
    monkeypatch.setattr(preflight, "KVM_PATH", str(tmp_path / "kvm"))
    monkeypatch.setattr(preflight, "CLOCK_SOURCE_PATH", tmp_path / "clocksource")
    monkeypatch.setattr(preflight, "TinyGuest", Guest)
    monkeypatch.setattr(preflight, "require_perf_signal", lambda: None)
    return tmp_path


def refusal() -> str:
    with pytest.raises(InputError) as refused:
        require_kvm()
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_a_host_that_has_all_will_do(host: Path) -> None:
    assert require_kvm() == KvmHost(KHZ, "GenuineIntel")


def test_a_host_that_does_not_tell_its_cpus(host: Path) -> None:
    (host / "cpuinfo").write_text("Processor: unknown\n")
    assert "cpuinfo does not tell the CPUs' vendor; take another host, or" in refusal()


def test_no_device(host: Path) -> None:
    (host / "kvm").unlink()
    assert "kvm_intel or kvm_amd" in refusal()


def test_no_permission(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "usermod -aG kvm" in refusal()


@pytest.mark.parametrize("what", ["has_offset", "leaves_at_once"])
def test_an_old_kernel(host: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(Guest, what, False)
    assert "it takes Linux" in refusal()


def test_an_offset_without_effect(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "TinyGuest", lambda: Guest(obeys=False))
    assert "no effect" in refusal()


@pytest.mark.parametrize(("late_us", "will_do"), [(9_000, True), (11_000, False)])
def test_a_busy_host_is_given_some_time(
    host: Path, monkeypatch: pytest.MonkeyPatch, late_us: int, will_do: bool
) -> None:
    monkeypatch.setattr(preflight, "TinyGuest", lambda: Guest(late_us=late_us))
    if will_do:
        require_kvm()
    else:
        assert "no effect" in refusal()


def test_a_guest_that_does_not_run(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Guest) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(Guest, "read_counter", fail)
    assert "Invalid argument" in refusal()


def test_a_counter_that_linux_does_not_trust(host: Path) -> None:
    (host / "clocksource").write_text("hpet\n")
    assert "the host's own clock is hpet" in refusal()


def test_perf_forbidden(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid() -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(preflight, "require_perf_signal", forbid)
    assert "kernel.perf_event_paranoid=1" in refusal()


def test_this_host_is_tried_out_really() -> None:
    """What it is said of must be true of it, so it does not fail in any other way."""
    if not Path(KVM_PATH).exists():
        pytest.skip("there is no KVM")  # no tool: nobody has to have it
    try:
        host = require_kvm()
    except InputError as error:
        reason = str(error)
    else:
        reason = ""
        assert host.tsc_khz > 0
    assert "\n" not in reason
