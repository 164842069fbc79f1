# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that disappears and comes back, without a guest: when, and what becomes of requests."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import freezingtime as ft
from freezingtime.cli.output.fault_lines import fault_lines
from freezingtime.clock.base import DiskChannel
from freezingtime.device.base import presence_changes_of
from freezingtime.device.kept.state import NotKeptError
from freezingtime.disk.disk import Disk
from freezingtime.disk.spec import check_disk, parse_disk
from freezingtime.emulator.flight import RequestUnderWay
from freezingtime.emulator.medium_queue import MediumQueue, new_workers
from freezingtime.errors import InputError
from freezingtime.frontend import Frontend
from freezingtime.medium.memory import MemoryMedium
from freezingtime.request import Fault, FaultKind, Operation, Request
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import make_plan
from freezingtime.serve import serve as serve_socket
from freezingtime.vm.qemu.frontends import QmpCommand
from freezingtime.vm.qemu.surprise import PciBus, free_slots, plugging
from tests.faults.test_faulty_device import FLUSH, READ, WRITE, asked, device_with, serve

GONE = Fault(FaultKind.DISAPPEAR, errno.EIO)
#: Reads of 100 ns that arrive at 0, 250, 500 and so on.
ARRIVALS = [number * 250 for number in range(8)]


def fates(rule: str, operation: Operation = READ) -> tuple[list[int], list[int]]:
    """Which of the requests end with an error, and when all of them end."""
    requests = [(arrival_ns, asked(operation)) for arrival_ns in ARRIVALS]
    ends_ns = serve(device_with(rule), requests)
    assert {request.fault for _, request in requests} <= {None, GONE}
    return [at for at, (_, request) in enumerate(requests) if request.fault], ends_ns


@pytest.mark.parametrize(
    ("rule", "ended"),
    [
        ("disappear,from=550ns", [2, 3, 4, 5, 6, 7]),
        ("disappear,from=601ns", [3, 4, 5, 6, 7]),
        ("disappear,from=550ns,for=600ns", [2, 3, 4]),
        ("disappear,from=550ns,until=1us", [2, 3]),
        ("disappear,nth=3,for=1ns", [2]),
        ("disappear,nth=3,from=300ns,for=400ns", [4, 5]),
        ("disappear,nth=3", [2, 3, 4, 5, 6, 7]),
        ("disappear,nth=9", []),
        ("disappear,nth=3,until=400ns", []),
        ("disappear,nth=1,operation=write", []),
    ],
)
def test_what_is_under_way_or_comes_in_its_absence_ends_with_an_error(
    rule: str, ended: list[int]
) -> None:
    assert fates(rule)[0] == ended


def test_an_absence_ends_requests_at_once() -> None:
    assert fates("disappear,from=550ns,for=600ns")[1] == [
        *(100, 350, 550, 750, 1000),
        *(1350, 1600, 1850),
    ]


def test_it_disappears_when_so_many_flushes_have_completed() -> None:
    assert fates("disappear,after_flush=3,for=300ns", FLUSH) == (
        [3],
        [100, 350, 600, 750, 1100, 1350, 1600, 1850],
    )


def test_what_hangs_ends_too() -> None:
    request = asked(READ)
    device = device_with("hang,for=1s", "disappear,from=5us")
    assert serve(device, [(0, request)]) == [5000]
    assert request.fault == GONE
    assert presence_changes_of(device) == [False]
    assert device.hit_counts() == [("hang,for=1s", 1), ("disappear,from=5us", 1)]


def test_whoever_plugs_it_is_told_once_and_nothing_before_the_job() -> None:
    device = device_with("disappear,from=5us,for=2us")
    device.await_start()
    assert device.next_event_ns() is None
    device.start(1000)
    changes = []
    while (event_ns := device.next_event_ns()) is not None:
        device.advance(event_ns)
        changes.append((event_ns, *presence_changes_of(device)))
    assert changes == [(6000, False), (8000, True)]
    assert presence_changes_of(device) == []


def test_a_device_that_disappeared_has_no_state_to_go_on_from() -> None:
    device = device_with("disappear,from=5us,for=2us")
    device.save_state({})
    device.advance(5000)
    with pytest.raises(NotKeptError, match="has disappeared"):
        device.save_state({})


def test_a_write_that_its_medium_has_is_answered_with_an_error() -> None:
    medium, workers = MemoryMedium(2**20), new_workers()
    request = Request(WRITE, 0, 512, b"\1" * 512)
    transfer = MediumQueue(medium, workers, 10.0).start(request)
    workers.shutdown()
    sent: list[Any] = []
    wire = SimpleNamespace(
        reply=lambda *parts: sent.append(parts),
        reply_error=lambda channel, request, error: sent.append(error.errno),
    )
    channel = cast(DiskChannel, SimpleNamespace(disk_index=1))
    flight = RequestUnderWay(request, channel, 0, transfer, True, False, 0, 1, 0)
    request.fault = GONE
    flight.send(cast(Any, wire))
    assert sent == [errno.EIO]
    assert bytes(medium.read(0, 1)) == b"\1"


def test_a_replay_has_requests_fail_in_its_absence(tmp_path: Path) -> None:
    result = ft.replay(
        "randread,bs=4k,rate=1k,count=50,size=8MiB",
        ["constant:1ms,size=16MiB"],
        faults=["disappear,from=10ms,for=20ms"],
        out=tmp_path / "r.parquet",
    )
    requests = result.requests
    failed = requests[requests.fault == "disappear"]
    in_time = (requests.arrival_ns < 30_000_000) & (requests.completion_ns >= 10_000_000)
    assert len(failed)
    assert set(failed.sequence) == set(requests[in_time].sequence)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (["disappear,every=1s,for=1ms"], "every = '1s': goes not with disappear"),
        (["disappear,probability=0.5"], "probability = 0.5: goes not with disappear"),
        (["disappear,count=2"], "count = 2: goes not with disappear"),
        (["disappear,sectors=8"], "sectors = 8: whatever it is, it goes"),
        (["disappear,hang,for=1s"], "goes not with hang; write two rules"),
        (["disappear", "disappear,nth=5"], "fault disappear,nth=5: disappear = True: a device"),
    ],
)
def test_a_rule_that_cannot_be_is_one_line(rules: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        check_disk(Disk("constant:1us", faults=rules))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"disks": ["constant:0,frontend=sata,fault=disappear"]},
            "frontend=sata: QEMU's controller goes on using a disk that is gone; use virtio-blk, "
            "virtio-scsi, nvme, or hang",
        ),
        (
            {"disks": ["constant:0,fault=disappear"], "save": "gone"},
            "--save gone: a machine whose disk is to disappear is not saved",
        ),
        (
            {"disks": ["constant:0,fault=disappear"], "clock": "kvm"},
            "fault disappear: no disk disappears under --clock kvm",
        ),
        ({"root_device": "constant:0,fault=disappear"}, "the guest lives on that disk"),
    ],
)
def test_a_run_in_which_none_can_disappear_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        make_plan(RunOptions(**options), script=b"#!/bin/sh\n")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_serve_refuses_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no controller that it could be unplugged from"):
        serve_socket(
            parse_disk("constant:0,fault=disappear"),
            tmp_path / "socket",
            seed=0,
            on_ready=lambda: None,
        )


def test_the_summary_says_whether_it_did() -> None:
    assert [*fault_lines("data", [("disappear,nth=3", 0), ("disappear", 1), ("hang", 0)])] == [
        "fault disappear,nth=3 of data: NEVER DISAPPEARED",
        "fault disappear of data: it disappeared",
        "fault hang of data: NEVER HIT",
    ]


BUS = PciBus("/bus", "/handler")
CONTROLLER = QmpCommand("device_add", {"driver": "nvme", "id": "disk1-controller"})


def test_a_disk_that_comes_back_has_a_slot_of_its_own() -> None:
    free = free_slots([{"bus": 0, "devices": [{"slot": slot} for slot in (0, 1, 1, 2, 31)]}])
    assert free == [*range(30, 2, -1)]
    back = plugging(Frontend.NVME, "disk1", [CONTROLLER], BUS, free).insert
    assert back == [
        '{"execute": "device_add", "arguments": {"driver": "nvme", "id": "disk1-controller", '
        '"addr": "0x1e"}}'
    ]
    assert free[0] == 29


def test_a_machine_that_is_full_says_so() -> None:
    with pytest.raises(InputError, match="this machine has none free; use fewer disks"):
        plugging(Frontend.NVME, "disk1", [CONTROLLER], BUS, [])
