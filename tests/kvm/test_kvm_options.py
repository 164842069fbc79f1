# SPDX-License-Identifier: GPL-2.0-or-later
"""What the KVM clock is asked for with, and what has no meaning with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from freezingtime.calibrate.validate.options import ValidateOptions, make_validate_plan
from freezingtime.clock.kind import ClockKind
from freezingtime.errors import InputError
from freezingtime.host.kvm import preflight
from freezingtime.host.kvm.preflight import KvmHost
from freezingtime.runs import plan as runs_plan
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import RunPlan, make_plan
from freezingtime.store.machine_identity import KvmBoot, MachineIdentity
from freezingtime.store.saved_machine import MachineDescription, SavedMachine
from freezingtime.vm.qemu import kvm_machine
from freezingtime.vm.qemu.kvm_machine import KvmMachine, choose_kvm

SCRIPT = b"#!/bin/sh\n"
BOOTED = KvmBoot(2_000_000, "GenuineIntel")
ONE_CPU = ValidateOptions(cpus="1")

NOT_WITH_KVM = [
    ({"cpu_rate": "1G"}, "--cpu-rate 1G"),
]


def plan_of(**options: object) -> RunPlan:
    return make_plan(RunOptions(**options), script=SCRIPT)  # type: ignore[arg-type]


def chosen(**options: object) -> KvmMachine | None:
    plan = plan_of(**options)
    return choose_kvm(plan.clock, plan.max_leak_ns)


@pytest.mark.parametrize(("options", "named"), NOT_WITH_KVM)
def test_what_has_no_meaning_under_kvm_is_refused(
    options: dict[str, object], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By `kvm`; `auto` takes the exact clock, and says why."""
    with pytest.raises(InputError, match=f"^{named}: .* under --clock kvm"):
        plan_of(clock="kvm", **options)
    assert plan_of(clock="auto", **options).clock is ClockKind.EXACT
    [warning] = caplog.messages
    assert warning.startswith(f"the clock is exact: {named}")
    caplog.clear()
    assert plan_of(**options).clock is ClockKind.EXACT
    assert not caplog.records


def saved(booted: KvmBoot | None) -> SavedMachine:
    machine = MachineIdentity("0.1", "1" * 64, 512 << 20, 1, "board", "qemu", "agent")
    return SavedMachine(
        Path("prepared"), MachineDescription(machine, "mini", "7.2.0", 42, (), booted)
    )


def test_only_a_guest_that_was_booted_under_kvm_goes_on_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under the exact clock either does."""
    monkeypatch.setattr(runs_plan, "find_saved", lambda _: saved(None))
    with pytest.raises(InputError, match=r"^--from prepared: a guest that was booted under --clo"):
        plan_of(clock="kvm", start_from="prepared")
    assert plan_of(clock="auto", start_from="prepared").clock is ClockKind.EXACT
    assert plan_of(start_from="prepared").clock is ClockKind.EXACT
    monkeypatch.setattr(runs_plan, "find_saved", lambda _: saved(BOOTED))
    for clock in ("kvm", "auto"):
        assert plan_of(clock=clock, start_from="prepared").clock == clock
    assert plan_of(start_from="prepared").clock is ClockKind.EXACT


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        (KvmHost(2_000_000, "GenuineIntel"), True),
        (KvmHost(2_000_499, "GenuineIntel"), True),
        (KvmHost(1_999_400, "GenuineIntel"), False),
        (KvmHost(3_100_000, "GenuineIntel"), False),
        (KvmHost(2_000_000, "AuthenticAMD"), False),
    ],
)
def test_a_guest_goes_on_where_it_finds_what_it_found(
    host: KvmHost, fits: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kvm_machine, "require_kvm", lambda: host)
    if fits:
        machine = choose_kvm(ClockKind.KVM, 10_000, BOOTED)
        assert machine == KvmMachine(KvmBoot(host.tsc_khz, host.cpu_vendor), 10_000)
        return
    with pytest.raises(InputError, match=r"^--clock kvm: the guest was booted on GenuineIntel wi"):
        choose_kvm(ClockKind.KVM, 10_000, BOOTED)
    assert choose_kvm(ClockKind.AUTO, 10_000, BOOTED) is None
    assert choose_kvm(ClockKind.EXACT, 10_000, BOOTED) is None
    assert len(caplog.messages) == 1


def test_a_guest_has_several_cpus_under_either_clock() -> None:
    for clock in ("exact", "kvm"):
        assert plan_of(clock=clock, cpus=16).cpu_count == 16


def test_a_leak_is_of_kvm_only() -> None:
    assert plan_of(clock="kvm", max_leak="3us").max_leak_ns == 3_000
    with pytest.raises(InputError, match="--max-leak 3us: --clock exact has no leak"):
        plan_of(max_leak="3us")
    with pytest.raises(InputError, match="--clock tsc: must be one of: exact, kvm, auto"):
        plan_of(clock="tsc")


def test_all_guests_of_a_validation_have_one_clock(caplog: pytest.LogCaptureFixture) -> None:
    """What one of them cannot have is refused before the first is run; `auto` says it once."""
    plan = make_validate_plan(run=RunOptions(clock="kvm", max_leak="3us"), options=ONE_CPU)
    assert (plan.run.clock, plan.run.max_leak) == ("kvm", "3us")
    with pytest.raises(InputError, match=r"^--cpu-rate 1G: .* under --clock kvm"):
        make_validate_plan(run=RunOptions(clock="kvm", cpu_rate="1G"))
    assert not caplog.records
    plan = make_validate_plan(run=RunOptions(clock="auto", cpu_rate="1G", max_leak="3us"))
    assert len(caplog.messages) == 1
    for count in plan.cpus:
        options = replace(plan.run, cpus=count)
        assert make_plan(options, script=SCRIPT).clock is ClockKind.EXACT


@pytest.mark.parametrize(("cpus", "warns"), [(1, False), (2, False), (3, True)])
def test_more_cpus_than_the_host_has_are_said(
    cpus: int, warns: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They wait for each other. Under the exact clock they never do."""
    monkeypatch.setattr(kvm_machine, "require_kvm", lambda: KvmHost(2_000_000, "GenuineIntel"))
    monkeypatch.setattr(kvm_machine, "usable_cpu_count", lambda: 2)
    assert choose_kvm(ClockKind.EXACT, 10_000, cpu_count=cpus) is None
    assert not caplog.messages
    assert choose_kvm(ClockKind.KVM, 10_000, cpu_count=cpus) is not None
    assert (
        caplog.messages
        == [
            "--cpus 3 under --clock kvm: the host has 2 for them, so they wait for each other, and "
            "guest time may go on meanwhile; what does counts against --max-leak"
        ]
        * warns
    )


def test_a_host_that_will_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """`kvm` says why, and `auto` takes the exact clock."""
    monkeypatch.setattr(preflight, "KVM_PATH", "/not/there")
    with pytest.raises(InputError, match=r"^--clock kvm: there is no /not/there: "):
        chosen(clock="kvm")
    assert chosen(clock="auto") is None
    assert chosen() is None


def test_a_host_that_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm_machine, "require_kvm", lambda: KvmHost(2_000_000, "GenuineIntel"))
    for asked in ("kvm", "auto"):
        assert chosen(clock=asked) == KvmMachine(BOOTED, 10_000)
    assert chosen() is None
