# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that breaks its contract ends what drives it, at once, with its name and the time."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from freezingtime.device.base import Device
from freezingtime.device.compose.composite import Stripe
from freezingtime.device.compose.perturb import Perturb, PerturbParams
from freezingtime.device.constant import ConstantDevice
from freezingtime.device.contract import FRUITLESS_MAX, GuardedDevice
from freezingtime.errors import RefusalError, RunError
from freezingtime.request import Operation, Request
from freezingtime.simulate.simulate import simulate_closed_loop, simulate_open_loop
from freezingtime.trace.readers.columns import Trace
from tests.conftest import PROGRAM
from tests.medium.emulatorlib import arrival
from tests.medium.emulatorlib import run as emulate
from tests.medium.test_serve import qemu_io, started

_DEADLINE_S = 60.0


class Sound(ConstantDevice):
    """100 ns for everything."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(read_ns=100, write_ns=100, flush_ns=100, discard_ns=100)


class Stuck(Sound):
    def advance(self, now_ns: int) -> list[Request]:
        return []


class Stutters(Sound):
    def advance(self, now_ns: int) -> list[Request]:
        return super().advance(now_ns) * 2


class Repeats(Sound):
    """Completes its first request again with each later one."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.first: list[Request] = []

    def advance(self, now_ns: int) -> list[Request]:
        completed = self.first + super().advance(now_ns)
        self.first = self.first or completed[:1]
        return completed


class Invents(Sound):
    def advance(self, now_ns: int) -> list[Request]:
        return [*super().advance(now_ns), Request(Operation.FLUSH, 0, 0)]


class Loses(Sound):
    def advance(self, now_ns: int) -> list[Request]:
        super().advance(now_ns)
        return []


class SaysNone(Sound):
    def advance(self, now_ns: int) -> list[Request]:
        return None  # type: ignore[return-value]  # that is what is wrong


class OffersText(Sound):
    def next_event_ns(self) -> int | None:
        return None if super().next_event_ns() is None else "soon"  # type: ignore[return-value]


class OffersFractions(Sound):
    def next_event_ns(self) -> int | None:
        event_ns = super().next_event_ns()
        return None if event_ns is None else event_ns + 0.5  # type: ignore[return-value]


class GoesBack(Sound):
    def next_event_ns(self) -> int | None:
        event_ns = super().next_event_ns()
        return None if event_ns is None else event_ns - 150


class Never(Sound):
    def next_event_ns(self) -> int | None:
        return None if super().next_event_ns() is None else 2**63


class CompletesEarly(Device):
    def __init__(self, seed: int = 0) -> None:
        self.inner = Sound()

    def submit(self, request: Request, now_ns: int) -> None:
        raise KeyError("read_ns")

    def next_event_ns(self) -> int | None:
        return None

    def advance(self, now_ns: int) -> list[Request]:
        return []


READ = "the read of 4096 bytes at 0"
BROKEN: dict[type[Device], str] = {
    Stuck: "had 100000 events at one instant that completed nothing; guest time is 200 ns",
    Stutters: f"completed {READ}, which it does not have (any more); guest time is 200 ns",
    Repeats: f"completed {READ}, which it does not have (any more); guest time is 300 ns",
    Invents: "completed the flush, which it does not have (any more); guest time is 200 ns",
    Loses: f"has no next event, and yet 1 of its requests is not completed, the oldest {READ}, "
    "which arrived at 100 ns; guest time is 200 ns",
    SaysNone: "returned a NoneType from advance(); must be a list of requests; "
    "guest time is 100 ns",
    OffersText: "has its next event at 'soon'; must be a whole number of ns; guest time is 100",
    OffersFractions: "has its next event at 200.5; must be a whole number of ns; guest time",
    GoesBack: "has its next event at 50 ns, which is past; guest time is 100 ns",
    Never: f"has its next event at {2**63} ns, which no clock can reach; guest time is 100 ns",
    CompletesEarly: "failed in submit() at 100 ns of guest time: KeyError: 'read_ns' "
    "(test_contract.py:",
}


def trace() -> Trace:
    return Trace(
        np.array([100, 200]),
        np.array([0, 0], np.uint8),
        np.array([0, 0]),
        np.array([4096, 4096]),
        np.array([False, False]),
    )


@pytest.fixture(scope="module")
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def in_emulator(device: Device, workers: ThreadPoolExecutor) -> None:
    emulate([arrival(100), arrival(200, cookie=2)], workers, device=device)


def in_simulator(device: Device, workers: ThreadPoolExecutor) -> None:
    simulate_open_loop(device, trace())


def in_stripe(device: Device, workers: ThreadPoolExecutor) -> None:
    simulate_open_loop(Stripe([device, Sound()], 65536), trace())


def in_perturbation(device: Device, workers: ThreadPoolExecutor) -> None:
    simulate_open_loop(Perturb(device, PerturbParams(), 0), trace())


DRIVERS = {
    in_emulator: "the device of disk1 ({})",
    in_simulator: "the device {}",
    in_stripe: "the device of member 0 ({})",
    in_perturbation: "the device of the perturbed ({})",
}


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.__name__)
@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_whoever_drives_it_says_what_is_broken(
    kind: type[Device],
    driver: Callable[[Device, ThreadPoolExecutor], None],
    workers: ThreadPoolExecutor,
) -> None:
    expected = f"{DRIVERS[driver].format(kind.__name__)} {BROKEN[kind]}"
    with pytest.raises(RunError, match=f"^{re.escape(expected)}"):
        driver(kind(), workers)


def test_a_closed_loop_says_so_too() -> None:
    with pytest.raises(RunError, match=r"the device Loses has no next event.*arrived at 0 ns"):
        simulate_closed_loop(Loses(), [trace()], 2, count=2)


def test_a_sound_device_is_not_disturbed(workers: ThreadPoolExecutor) -> None:
    assert simulate_open_loop(Sound(), trace()).completion_ns.tolist() == [200, 300]
    in_emulator(Sound(), workers)
    in_stripe(Sound(), workers)


def test_numbers_of_numpy_are_whole_numbers() -> None:
    class OffersNumpy(Sound):
        def next_event_ns(self) -> int | None:
            event_ns = super().next_event_ns()
            return None if event_ns is None else np.int64(event_ns)  # type: ignore[return-value]

    assert simulate_open_loop(OffersNumpy(), trace()).completion_ns.tolist() == [200, 300]


def test_what_a_device_refuses_is_told_as_it_says_it() -> None:
    class Refuses(Sound):
        def submit(self, request: Request, now_ns: int) -> None:
            raise RefusalError("elsewhere in a zone")

    with pytest.raises(RefusalError, match=r"^elsewhere in a zone$"):
        simulate_open_loop(Refuses(), trace())


def test_events_without_end_that_complete_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is put off for ever, at ever later times; not so a device that only idles."""

    class PutsOff(Sound):
        def __init__(self) -> None:
            super().__init__()
            self.event_ns = 0

        def next_event_ns(self) -> int | None:
            return self.event_ns

        def advance(self, now_ns: int) -> list[Request]:
            self.event_ns = now_ns + 1000
            return []

    assert FRUITLESS_MAX == 1_000_000
    monkeypatch.setattr("freezingtime.device.contract.FRUITLESS_MAX", 100)
    idle = GuardedDevice(PutsOff())
    for _ in range(200):
        idle.advance(idle.next_event_ns() or 0)
    with pytest.raises(RunError, match=r"PutsOff had 100 events, and still 2 of its requests"):
        simulate_open_loop(PutsOff(), trace())


OWN = """
from freezingtime.device.constant import ConstantDevice

class Stuck(ConstantDevice):
    def __init__(self, seed):
        super().__init__(read_ns=10, write_ns=10, flush_ns=10, discard_ns=10)
    def advance(self, now_ns):
        return []

class Loops(Stuck):
    def advance(self, now_ns):
        while True:
            pass
"""


def test_serve_ends_with_a_device_that_stands_still(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    path = tmp_path / "socket"
    command = [str(PROGRAM), "serve", f"{tmp_path}/own.py:Stuck,size=1MiB", "--socket", str(path)]
    with started(command, path) as server:
        qemu_io(server.uri, "read 0 4k", status=1)
        _, said = server.process.communicate(timeout=_DEADLINE_S)
    assert "freezingtime: the device of disk1 (Stuck) had 100000 events at one" in said
    assert "Traceback" not in said
    assert server.process.returncode == 1
    assert not path.exists()


def test_serve_can_be_ended_while_a_device_does_not_return(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    path = tmp_path / "socket"
    command = [str(PROGRAM), "serve", f"{tmp_path}/own.py:Loops,size=1MiB", "--socket", str(path)]
    with started(command, path) as server:
        reading = subprocess.Popen(
            ["qemu-io", "-f", "raw", "-c", "read 0 4k", server.uri], stdout=subprocess.DEVNULL
        )
        time.sleep(1.0)  # at whatever point it is: the signal ends it
        assert reading.poll() is None
        server.process.send_signal(signal.SIGTERM)
        _, said = server.process.communicate(timeout=_DEADLINE_S)
        reading.wait(_DEADLINE_S)
    assert "the device of disk1 hangs" in said
    assert server.process.returncode == 1
    assert not path.exists()
