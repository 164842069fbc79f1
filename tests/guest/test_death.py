# SPDX-License-Identifier: GPL-2.0-or-later
"""Whoever dies, and whenever: a prompt end, one clear line, the right status, nothing left.

Each run gets a temporary directory and an environment variable of its own, so that what it
leaves behind (files, processes, sockets) can be told from everybody else's.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from freezingtime.images.build import build_mini_image
from freezingtime.images.debian.suite import DEFAULT
from freezingtime.images.guest_image import find_image
from freezingtime.store.cache import cache_directory
from tests.conftest import PROGRAM

pytestmark = pytest.mark.guest

#: Printed with every failure, since it is in the test's name; change it to try other moments.
SEED = 20180925
MOMENT_COUNT = 20
#: Each death, and each delay of the medium, at least once.
QUICK_MOMENT_COUNT = 6

#: Generous: the machine that runs the tests may be busy.
END_DEADLINE_S = 10.0
GONE_DEADLINE_S = 5.0
START_DEADLINE_S = 60.0
RUN_DEADLINE_S = 240.0

#: Shells have their background processes ignore it, and we may be one.
HEEDING_CTRL_C = ["env", "--default-signal=INT"]
MARK = "FREEZINGTIME_TEST_MARK"
READ_FOR_EVER = (
    "echo begun; "
    "while :; do dd if=/dev/vda of=/dev/null bs=4k count=16 iflag=direct status=none; done"
)


@dataclass
class Run:
    """A command under test, and how to find all that belongs to it."""

    process: subprocess.Popen[bytes]
    mark: str
    temporary: Path
    output: Path
    messages: Path

    def wait(self, timeout_s: float) -> int:
        return self.process.wait(timeout_s)

    def stderr(self) -> str:
        return self.messages.read_text(errors="replace")

    def last_line(self) -> str:
        lines = self.stderr().splitlines()
        return lines[-1] if lines else ""

    def processes(self) -> dict[int, str]:
        """Living processes of the run, by id, with their names."""
        found = {}
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (directory / "environ").read_bytes():
                    found[int(directory.name)] = program_name(directory)
            except OSError:
                continue  # it has ended meanwhile, or is somebody else's
        return found

    def sockets(self) -> list[str]:
        """Abstract sockets of the run."""
        prefix = f"@freezingtime-{self.process.pid}-"
        return [line for line in Path("/proc/net/unix").read_text().splitlines() if prefix in line]

    def await_qemu(self) -> int:
        """The process id of QEMU, once there is one."""

        def find() -> int | None:
            for pid, name in self.processes().items():
                if name.startswith("qemu-system"):
                    return pid
            assert self.process.poll() is None, f"ended early: {self.stderr()}"
            return None

        return await_value(find, START_DEADLINE_S, "QEMU")

    def await_text(self, text: str) -> None:
        """Wait until the job has printed ``text``."""
        await_value(
            lambda: text in self.output.read_text(errors="replace") or None,
            START_DEADLINE_S,
            f"{text!r} on stdout; stderr: {self.stderr()}",
        )

    def await_signal_handlers(self) -> None:
        """Wait until our code runs in the process, and no longer only the interpreter's."""

        def handles_sigterm() -> bool | None:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
            return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1) or None

        await_value(handles_sigterm, START_DEADLINE_S, "the signal handlers")

    def await_no_processes(self, timeout_s: float) -> None:
        await_value(
            lambda: not self.processes() or None,
            timeout_s,
            lambda: f"the end of {self.processes()}",
        )

    def assert_nothing_left(self) -> None:
        self.await_no_processes(GONE_DEADLINE_S)
        assert self.sockets() == []
        assert list(self.temporary.iterdir()) == []

    def assert_clear_end(self, status: int, *words: str) -> None:
        """The run has ended with ``status`` and one line that has ``words`` in it."""
        text = self.stderr()
        assert self.process.returncode == status, text
        assert "Traceback" not in text
        assert "Exception" not in text
        assert self.last_line().startswith("freezingtime: "), text
        for word in words:
            assert word in self.last_line()


def program_name(process: Path) -> str:
    """What a process executes; a QEMU that was unpacked is started by its own loader."""
    name = (process / "comm").read_text().strip()
    if name.startswith("ld-linux"):
        words = (process / "cmdline").read_text(errors="replace").split("\0")
        names = [Path(word).name for word in words]
        return next((each for each in names if each.startswith("qemu-system")), name)
    return name


Value = TypeVar("Value")


def await_value(
    look: Callable[[], Value | None], timeout_s: float, what: str | Callable[[], str]
) -> Value:
    deadline_s = time.monotonic() + timeout_s
    while (value := look()) is None:
        if time.monotonic() > deadline_s:
            pytest.fail(f"waited {timeout_s} s for {what if isinstance(what, str) else what()}")
        time.sleep(0.01)
    return value


Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `freezingtime` with arguments and a changed environment.

    ``reader``: somebody reads its output, instead of a file. What is left at the end of the
    test is killed.
    """
    runs: list[Run] = []

    def start(*arguments: str, reader: bool = False, **environment: str) -> Run:
        directory = tmp_path / f"run{len(runs)}"
        temporary = directory / "tmp"
        temporary.mkdir(parents=True)
        mark = uuid.uuid4().hex
        with (directory / "out").open("wb") as output, (directory / "err").open("wb") as messages:
            process = subprocess.Popen(
                [*HEEDING_CTRL_C, PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if reader else output,
                stderr=messages,
                env={**os.environ, MARK: mark, "TMPDIR": str(temporary), **environment},
                process_group=0,
            )
        runs.append(Run(process, mark, temporary, directory / "out", directory / "err"))
        return runs[-1]

    yield start
    for run in runs:
        for pid in run.processes():
            os.kill(pid, signal.SIGKILL)
        run.wait(END_DEADLINE_S)


@pytest.fixture(scope="session")
def _snapshot() -> None:
    """See to it that no run under test has to boot."""
    if find_image() is None:
        build_mini_image(DEFAULT)
    subprocess.run([PROGRAM, "run", "-q", "--", "true"], check=True, timeout=RUN_DEADLINE_S)


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    path = tmp_path / "medium"
    path.write_bytes(random.Random(SEED).randbytes(1 << 20))
    return path


def interrupt(run: Run) -> None:
    os.killpg(run.process.pid, signal.SIGINT)


def interrupt_while_qemu_is_stopped(run: Run) -> None:
    for pid, name in run.processes().items():
        if name.startswith("qemu-system"):
            os.kill(pid, signal.SIGSTOP)
    interrupt(run)


def kill_qemu(number: signal.Signals) -> Callable[[Run], None]:
    return lambda run: os.kill(run.await_qemu(), number)


@dataclass(frozen=True)
class Death:
    """Who dies, and what the run's exit status and last line must be."""

    strike: Callable[[Run], None]
    status: int
    word: str
    needs_qemu: bool = False
    deadline_s: float = END_DEADLINE_S


DEATHS = {
    "SIGINT": Death(interrupt, 130, "interrupted"),
    "SIGTERM": Death(lambda run: run.process.terminate(), 143, "terminated"),
    "SIGKILL": Death(lambda run: run.process.kill(), -signal.SIGKILL, ""),
    "QEMU-SIGKILL": Death(kill_qemu(signal.SIGKILL), 1, "QEMU", needs_qemu=True),
    # QEMU ends in order, and waits for its requests, one delay of the medium after the other.
    "QEMU-SIGTERM": Death(
        kill_qemu(signal.SIGTERM), 1, "QEMU", needs_qemu=True, deadline_s=END_DEADLINE_S + 20.0
    ),
    "QEMU-SIGSTOP-SIGINT": Death(
        interrupt_while_qemu_is_stopped, 130, "interrupted", needs_qemu=True
    ),
}

#: The medium's delays: none, some that are met as freezes, and one that nobody waits for.
DELAYS = ["0s", "20ms", "5s"]


def moments() -> list[tuple[str, str, int]]:
    """A few moments: who dies, the medium's delay, and milliseconds after the start."""
    numbers = random.Random(SEED)
    names = list(DEATHS)
    return [
        (names[i % len(names)], DELAYS[i // len(names) % len(DELAYS)], numbers.randrange(3000))
        for i in range(QUICK_MOMENT_COUNT)
    ]


def all_moments() -> list[tuple[str, str, int]]:
    numbers = random.Random(SEED + 1)
    return [
        (name, DELAYS[i % len(DELAYS)], numbers.randrange(3000))
        for i in range(MOMENT_COUNT)
        for name in DEATHS
    ]


@pytest.mark.usefixtures("_snapshot")
class TestDeath:
    @pytest.mark.parametrize(("name", "delay", "after_ms"), moments())
    def test_at_a_random_moment(
        self, start: Start, medium: Path, name: str, delay: str, after_ms: int
    ) -> None:
        die(start, medium, DEATHS[name], delay, after_ms / 1e3)

    def test_many_signals_are_one(self, start: Start, medium: Path) -> None:
        """As from an impatient hand, or from `timeout`, which also signals the group."""
        spec = f"constant:10us,medium=file:{medium},delay=20ms"
        run = start("run", "--disk", spec, "--", "sh", "-c", READ_FOR_EVER)
        run.await_text("begun")
        while run.process.poll() is None:
            interrupt(run)
            time.sleep(0.01)
        run.assert_clear_end(130, "interrupted")
        assert run.stderr().count("interrupted") == 1
        run.assert_nothing_left()

    @pytest.mark.slow
    @pytest.mark.parametrize(("name", "delay", "after_ms"), all_moments())
    def test_each_at_twenty_random_moments(
        self, start: Start, medium: Path, name: str, delay: str, after_ms: int
    ) -> None:
        die(start, medium, DEATHS[name], delay, after_ms / 1e3)


def die(start: Start, medium: Path, death: Death, delay: str, after_s: float) -> None:
    content = medium.read_bytes()
    spec = f"constant:10us,medium=file:{medium},delay={delay}"
    run = start("run", "--disk", spec, "--", "sh", "-c", READ_FOR_EVER)
    if death.needs_qemu:
        run.await_qemu()
    else:
        run.await_signal_handlers()
    time.sleep(after_s)
    death.strike(run)
    run.wait(death.deadline_s)
    if death.status == -signal.SIGKILL:
        assert run.process.returncode == -signal.SIGKILL
    else:
        run.assert_clear_end(death.status, death.word)
    run.assert_nothing_left()
    assert_unharmed(medium, content)
    assert_next_run_works(start, medium)


def assert_unharmed(medium: Path, content: bytes) -> None:
    """The file is as it was, and nobody holds a lock on it."""
    assert medium.read_bytes() == content
    with medium.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def assert_next_run_works(start: Start, medium: Path) -> None:
    command = ["dd", "if=/dev/vda", "bs=4k", "count=4", "iflag=direct", "status=none"]
    run = start("run", "--disk", f"constant:10us,medium=file:{medium}", "--", *command)
    assert run.wait(RUN_DEADLINE_S) == 0, run.stderr()
    assert run.output.read_bytes() == medium.read_bytes()[: 4 * 4096]
    run.assert_nothing_left()


@pytest.mark.usefixtures("_snapshot")
class TestFreeze:
    """Whoever waits for a medium that does not answer must not have to wait for it to end."""

    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL", "QEMU-SIGKILL"])
    def test_end_does_not_wait_for_the_medium(self, start: Start, medium: Path, name: str) -> None:
        content = medium.read_bytes()
        death = DEATHS[name]
        spec = f"constant:10us,medium=file:{medium},writable=yes,delay=1000s"
        write = "echo begun; dd if=/dev/zero of=/dev/vda bs=4k count=1 oflag=direct"
        run = start("run", "--medium-deadline", "2000s", "--disk", spec, "--", "sh", "-c", write)
        run.await_qemu()
        time.sleep(3.0)
        death.strike(run)
        run.wait(END_DEADLINE_S)
        assert run.process.returncode == death.status
        if death.word:
            run.assert_clear_end(death.status, death.word)
        run.assert_nothing_left()
        assert_unharmed(medium, content)

    def test_medium_deadline(self, start: Start, medium: Path) -> None:
        spec = f"constant:10us,medium=file:{medium},delay=1000s"
        run = start("run", "--medium-deadline", "200ms", "--disk", spec, "--", "true")
        run.wait(START_DEADLINE_S)
        run.assert_clear_end(1, "has not finished a read of", "--medium-deadline", str(medium))
        run.assert_nothing_left()


@pytest.mark.usefixtures("_snapshot")
class TestGuest:
    """What a guest may do to itself."""

    @pytest.mark.parametrize(
        ("job", "words"),
        [
            ("echo c >/proc/sysrq-trigger", "Kernel panic"),
            ("poweroff -f", "the guest shut down or rebooted"),
            pytest.param("reboot -f", "the guest shut down or rebooted", marks=pytest.mark.slow),
        ],
    )
    @pytest.mark.parametrize(
        "device",
        ["constant:10s,delay=10ms", pytest.param("constant:10us", marks=pytest.mark.slow)],
    )
    def test_machine_ends_before_the_job(
        self, start: Start, device: str, job: str, words: str
    ) -> None:
        """With a request in flight, which under the slow device would take ten more seconds."""
        read = "dd if=/dev/vda of=/dev/null bs=4k iflag=direct"
        run = start("run", "--disk", device, "--", "sh", "-c", f"{read} & usleep 50000; {job}")
        run.wait(START_DEADLINE_S)
        run.assert_clear_end(4, words, "the console's last lines")
        run.assert_nothing_left()

    def test_device_that_is_reset_with_a_request_in_flight(self, start: Start) -> None:
        """QEMU waits for the request in the vCPU thread: guest time cannot reach its event."""
        reset_by_writing_the_virtio_status = """
            dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct &
            usleep 100000
            device=$(dirname "$(readlink -f /sys/block/vda/device)")
            echo resetting
            dd if=/dev/zero of="$device/resource0" bs=1 seek=18 count=1 conv=notrunc 2>/dev/null
            echo reset
        """
        job = ["sh", "-c", reset_by_writing_the_virtio_status]
        # The driver knows nothing of the reset: its request is lost. Were the vCPU still blocked,
        # no guest time would pass, and the job not end.
        run = start("run", "--allow-late", "--disk", "constant:10s", "--", *job)
        assert run.wait(START_DEADLINE_S) == 0, run.stderr()
        assert run.output.read_text() == "resetting\nreset\n"
        run.assert_nothing_left()

    def test_driver_that_is_unbound_with_requests_in_flight(self, start: Start) -> None:
        unbind = """
            fio --name=t --filename=/dev/vda --direct=1 --rw=randread --bs=4k --size=1m \
                --ioengine=libaio --iodepth=8 --number_ios=32 >/dev/null 2>&1 &
            usleep 500000
            device=$(basename "$(dirname "$(readlink -f /sys/block/vda/device)")")
            echo "$device" >/sys/bus/pci/drivers/virtio-pci/unbind
            [ -e /sys/block/vda ] || echo unbound
        """
        run = start("run", "--allow-late", "--disk", "constant:10s", "--", "sh", "-c", unbind)
        assert run.wait(START_DEADLINE_S) == 0, run.stderr()
        assert run.output.read_text() == "unbound\n"
        run.assert_nothing_left()


@pytest.mark.usefixtures("_snapshot")
class TestReaderThatLeaves:
    @pytest.mark.parametrize("arguments", [[], ["--json"]])
    def test_stdout_is_closed_early(self, start: Start, arguments: list[str]) -> None:
        words = "seq 1 100000" if arguments else "while :; do echo word; done"
        run = start("run", *arguments, "--", "sh", "-c", words, reader=True)
        stdout = run.process.stdout
        assert stdout is not None
        assert stdout.read(1)
        stdout.close()
        assert run.wait(START_DEADLINE_S) == 1
        assert "Traceback" not in run.stderr()
        assert "BrokenPipe" not in run.stderr()
        run.assert_nothing_left()


class TestFirstBoot:
    """A cache in which only the image is there yet."""

    @pytest.fixture
    def cache(self, tmp_path: Path) -> Path:
        image = find_image() or build_mini_image(DEFAULT)
        root = tmp_path / "cache" / "freezingtime"
        root.mkdir(parents=True)
        (root / "images").symlink_to(image.directory.parent)
        return root

    @pytest.mark.parametrize(
        ("name", "when"),
        [
            ("SIGKILL", "saving"),
            ("SIGINT", "saving"),
            ("QEMU-SIGKILL", "saving"),
            ("SIGKILL", "booting"),
            ("SIGTERM", "booting"),
            ("QEMU-SIGTERM", "booting"),
        ],
    )
    @pytest.mark.slow
    def test_cache_stays_usable(self, start: Start, cache: Path, name: str, when: str) -> None:
        environment = {"XDG_CACHE_HOME": str(cache.parent)}
        death = DEATHS[name]
        run = start("run", "--", "true", **environment)
        run.await_qemu()
        if when == "booting":
            time.sleep(random.Random(SEED).uniform(0.5, 5.0))
        else:
            await_value(lambda: self.is_saving(cache) or None, RUN_DEADLINE_S, "the saving")
        death.strike(run)
        run.wait(death.deadline_s)
        assert run.process.returncode == death.status
        run.assert_nothing_left()

        next_run = start("run", "--", "echo", "well", **environment)
        assert next_run.wait(RUN_DEADLINE_S) == 0, next_run.stderr()
        assert next_run.output.read_text() == "well\n"
        assert list(cache.glob("snapshots/.unfinished-*")) == []

    def is_saving(self, cache: Path) -> bool:
        states = cache.glob("snapshots/.unfinished-*/state")
        return any(state.stat().st_size for state in states)


@pytest.mark.slow
class TestImageBuild:
    """A cache that has the packages, so that the build takes seconds, but no image."""

    @pytest.fixture
    def cache(self, tmp_path: Path) -> Path:
        build_mini_image(DEFAULT)
        root = tmp_path / "cache" / "freezingtime"
        shutil.copytree(cache_directory() / "debian", root / "debian")
        return root

    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
    def test_next_build_works(self, start: Start, cache: Path, name: str) -> None:
        environment = {"XDG_CACHE_HOME": str(cache.parent)}
        death = DEATHS[name]
        numbers = random.Random(f"{SEED} {name}")
        for _ in range(4):
            run = start("image", "build", **environment)
            run.await_signal_handlers()
            time.sleep(numbers.uniform(0.0, 3.0))
            death.strike(run)
            run.wait(END_DEADLINE_S)
            assert run.process.returncode == death.status
            assert "Traceback" not in run.stderr()
            # What apt has started may need a moment to see that nobody reads on.
            run.await_no_processes(START_DEADLINE_S)
            assert list(run.temporary.iterdir()) == []
        run = start("image", "build", **environment)
        assert run.wait(RUN_DEADLINE_S) == 0, run.stderr()
        assert [path.name[:5] for path in (cache / "images").iterdir()] == ["mini-"]
