# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime clock-check`: the exact clock has no error, and what is said of others."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from freezingtime.calibrate import clock_check
from freezingtime.calibrate.clock_check import (
    LATENCIES,
    CheckedDevice,
    ClockCheck,
    check_clocks,
    make_clock_check_plan,
)
from freezingtime.calibrate.clock_check_options import ClockCheckOptions
from freezingtime.cli.guest import clock_check as command
from freezingtime.clock.kind import ClockKind
from freezingtime.errors import InputError
from freezingtime.host.kvm import preflight
from freezingtime.runs.options import RunOptions


@pytest.fixture
def no_kvm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "KVM_PATH", "/not/there")


@pytest.mark.guest
@pytest.mark.slow
def test_the_exact_clock_has_no_error_over_any_medium(no_kvm: None) -> None:
    """It is checked where KVM will not do, too; that is told."""
    options = ClockCheckOptions(requests=100, delay="200us")
    found = check_clocks(make_clock_check_plan(options))
    places = [(device.latency, device.medium) for device in found.devices]
    assert places == [(latency, medium) for latency in LATENCIES for medium in ("memory", "200us")]
    for fast, slow in zip(found.devices[::2], found.devices[1::2], strict=True):
        assert len(fast.beyond_ns) == 100
        assert np.array_equal(fast.beyond_ns, slow.beyond_ns)
        assert 1_000 < fast.beyond_ns[0] <= fast.beyond_ns[-1] < 50_000  # the guest's own software
        for device in (fast, slow):
            assert len(device.late_ns) >= 200  # those of the warm-up, too
            assert not device.late_ns.any()
    assert list(found.leaks()) == [(ClockKind.EXACT, {"p50": 0, "p99": 0, "p99.9": 0})]
    assert found.reasons_invalid == []
    assert (found.reason_without_kvm or "").startswith("--clocks kvm: there is no /not/there: ")


def test_without_kvm_there_is_nothing_to_check_of_it_alone(no_kvm: None) -> None:
    with pytest.raises(InputError, match=r"^--clocks kvm: there is no /not/there: "):
        check_clocks(make_clock_check_plan(ClockCheckOptions(clocks="kvm")))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"clocks": "tsc"}, "--clocks tsc: must be one of: exact, kvm, exact,kvm"),
        ({"clocks": "kvm,kvm"}, "--clocks kvm,kvm: must be one of"),
        ({"clocks": ""}, "--clocks : must be one of"),
        ({"requests": 99}, "--requests 99: must be from 100 to 1000000"),
        ({"delay": "0"}, "--delay 0: must be from 1ns to 1s"),
        ({"delay": "2..3ms"}, "--delay: bad time '2..3ms'"),
    ],
)
def test_options_are_refused_in_one_line(options: dict[str, object], expected: str) -> None:
    with pytest.raises(InputError) as refused:
        make_clock_check_plan(ClockCheckOptions(**options), RunOptions())  # type: ignore[arg-type]
    assert str(refused.value).startswith(expected)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("clocks", "run", "expected"),
    [
        ("exact,kvm", {"max_leak": "3"}, "--max-leak: bad time '3'"),
        ("exact", {"max_leak": "3us"}, "--max-leak 3us: --clock exact has no leak"),
        ("exact,kvm", {"memory": "1KiB"}, "--memory 1KiB: must be whole MiB"),
    ],
)
def test_what_runs_cannot_have_is_refused_before_the_first(
    clocks: str, run: dict[str, str], expected: str
) -> None:
    with pytest.raises(InputError) as refused:
        make_clock_check_plan(ClockCheckOptions(clocks=clocks), RunOptions(**run))  # type: ignore[arg-type]
    assert str(refused.value).startswith(expected)
    assert make_clock_check_plan(run=RunOptions(max_leak="3us")).run.max_leak == "3us"


def check_of(reasons_invalid: list[str], without_kvm: str | None) -> ClockCheck:
    fast_ns, slow_ns = np.arange(1_000, 2_000), np.arange(1_007, 2_007)
    late_ns = np.array([0] * 999 + [12_345])
    devices = [
        CheckedDevice(ClockKind.KVM, "10us", medium, beyond_ns, late_ns)
        for medium, beyond_ns in (("memory", fast_ns), ("3ms", slow_ns))
    ]
    return ClockCheck(devices, reasons_invalid, without_kvm)


@pytest.mark.parametrize(
    ("reasons", "without_kvm", "status"),
    [([], None, 0), (["kvm over 3ms: 1 of 1000 requests were not on time"], None, 3)],
)
def test_what_is_printed(
    monkeypatch: pytest.MonkeyPatch, reasons: list[str], without_kvm: str | None, status: int
) -> None:
    monkeypatch.setattr(
        clock_check, "check_clocks", lambda *_, **__: check_of(reasons, without_kvm)
    )
    # The command's function returns its status, which the main program exits with.
    ended = CliRunner().invoke(command.app, ["-q"], standalone_mode=False)
    assert (ended.exception, ended.return_value) == (None, status)
    assert ended.stdout.splitlines() == [
        "clock  device  medium      p50      p99    p99.9  late p50  late p99  late p99.9",
        "kvm    10us    memory  1.499us  1.989us  1.998us       0ns       0ns         0ns",
        "kvm    10us    3ms     1.506us  1.996us  2.005us       0ns       0ns         0ns",
        "kvm: between the media, at most: p50 7ns, p99 7ns, p99.9 7ns",
    ]
    assert [line for line in ended.stderr.splitlines() if line] == [
        f"freezingtime: NOT VALID: {reason}" for reason in reasons
    ]


def test_json_has_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "--clocks kvm: there is none"
    monkeypatch.setattr(clock_check, "check_clocks", lambda *_, **__: check_of([], reason))
    ended = CliRunner().invoke(command.app, ["-q", "--json"], standalone_mode=False)
    assert isinstance(ended.exception, InputError)
    assert str(ended.exception) == reason
    document = json.loads(ended.stdout)
    assert document["devices"][1] == {
        "clock": "kvm",
        "device": "10us",
        "medium": "3ms",
        "requests": 1000,
        "beyond_ns": {"p50": 1506, "p99": 1996, "p99.9": 2005},
        "late_ns": {"p50": 0, "p99": 0, "p99.9": 0},
    }
    assert document["between_media_ns"] == {"kvm": {"p50": 7, "p99": 7, "p99.9": 7}}
    assert document["without_kvm"] == reason
