# SPDX-License-Identifier: GPL-2.0-or-later
"""Experiment D: the overhead: what emulation costs, in wall time and in latency.

The same jobs on the same slow medium (2.5 to 10 ms for each request): in stock QEMU, in real time
and without emulation, and here. And what is left of a request's latency on a device that takes no
time. ``python -m experiments.paper.overhead``; with ``--clock kvm``, KVM executes the guest on both
sides, as the paper's did, and the reads and writes are the only job.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.stock_qemu import KVM, REAL, nbd_disk, stock_s
from examples.example_table import build_image
from examples.video import video_example
from experiments.paper import published
from experiments.paper.emulated_ssd import DEVICES, SLOW_MEDIUM, SSD
from experiments.paper.figures import draw_bars, panels
from experiments.paper.guest import OPERATIONS, measure, run_quietly
from experiments.paper.nbd import serve_command, serving
from experiments.paper.outcome import Outcome, Settings, Table, main, show

from freezingtime.clock.kind import ClockKind
from freezingtime.disk.spec import parse_disk
from freezingtime.errors import RunError
from freezingtime.images.guest_image import GuestImage, find_image
from freezingtime.images.names import MINI
from freezingtime.runs.plan import RunPlan

FRAMES = 100
_REQUESTS = 400
_ROUNDS = 2
_SIZE = "256MiB"
#: Under KVM: what `--max-leak` is by default.
_DELAY_0_LIMIT_US = {ClockKind.EXACT: 0, ClockKind.KVM: 10}
_JOB_HEAD = ("job", "emulated device", "without, wall s", "with, wall s", "ratio", "paper's ratio")
_DELAY_0_HEAD = ("operation", "D2C, mean us", "D2C, max us", "paper, us")


@dataclass(frozen=True)
class Job:
    """A job on ``/dev/vda``, its guest and the device that it is to see."""

    title: str
    image: str
    device: str
    device_title: str
    script: bytes

    def emulated_s(self, clock: ClockKind) -> float:
        """Wall time here."""
        disk = parse_disk(f"{self.device},size={_SIZE}{SLOW_MEDIUM}")
        plan = RunPlan([disk], self.script, guest=self.image, clock=clock)
        return run_quietly(plan)[0].job.host_s

    def plain_s(self, clock: ClockKind) -> float:
        """Wall time in stock QEMU, on the medium as it is."""
        accelerator = KVM if clock is ClockKind.KVM else REAL
        with serving(serve_command(f"constant:0,size={_SIZE}{SLOW_MEDIUM}")) as socket:
            disk = nbd_disk(socket, "disk1")
            return stock_s(self._image(), self.script, disk, accelerator=accelerator)

    def _image(self) -> GuestImage:
        image = find_image(self.image)
        if image is None:
            raise RunError(f"the guest image {self.image} is gone")
        return image


def fio_job(count: int) -> Job:
    """Synchronous reads and writes, on the SSD of experiment B."""
    script = (
        "#!/bin/sh\nexec fio --name=job --filename=/dev/vda --direct=1 --ioengine=psync --bs=4k "
        f"--rw=randrw --number_ios={count} --randseed=1 --output=/dev/null\n"
    )
    return Job(f"{count} reads and writes", MINI, DEVICES[SSD], "SSD", script.encode())


def ffmpeg_job(frames: int) -> Job:
    """The paper's: a conversion on a RAM disk that is emulated."""
    example = video_example(frames)
    environment = "".join(
        f"export {name}={shlex.quote(text)}\n" for name, text in example.environment.items()
    )
    script = f"#!/bin/sh\n{environment}{(example.directory / 'run').read_text()}"
    return Job(f"ffmpeg, {frames} frames", example.image, "constant:0", "RAM disk", script.encode())


def experiment(settings: Settings) -> Sequence[Outcome]:
    """Wall times in rounds, with and without in turn; then the device that takes no time."""
    outcome = Outcome("D. The overhead")
    count, clock = _REQUESTS * settings.scale, settings.clock
    jobs = [fio_job(count)]
    if clock is ClockKind.EXACT:
        build_image(video_example())
        jobs.append(ffmpeg_job(FRAMES * settings.scale))
    zero = measure("constant:0", SLOW_MEDIUM, count=count, clock=clock)
    walls = [(job, *_walls_s(job, clock)) for job in jobs]
    rows = [
        [
            *(job.title, job.device_title, f"{plain_s:.2f}", f"{emulated_s:.2f}"),
            *(f"{emulated_s / plain_s:.2f}", _paper_ratio(job)),
        ]
        for job, plain_s, emulated_s in walls
    ]
    outcome.tables.append(
        Table(
            f"Wall time on a medium of 2.5 to 10 ms for each request, median of {_ROUNDS} rounds",
            [_JOB_HEAD, *rows],
        )
    )
    outcome.notes.append(
        f"Without: stock QEMU under {'KVM' if clock is ClockKind.KVM else 'TCG'} as well, in real "
        "time, and the guest sees the slow medium as it is. Booting is left out on both sides. The "
        "paper had KVM on both."
    )
    low_us, high_us = published.RESIDUAL_US
    delay_0 = {name: zero.device[name] / 1000 for name in OPERATIONS}
    rows = [
        [name, f"{us.mean():.3f}", f"{us.max():.3f}", f"{low_us} to {high_us}"]
        for name, us in delay_0.items()
    ]
    title = "What is left of the latency where it is to be 0, same medium"
    outcome.tables.append(Table(title, [_DELAY_0_HEAD, *rows]))
    worst_us = max(float(us.max()) for us in delay_0.values())
    limit_us = _DELAY_0_LIMIT_US[clock]
    outcome.require(
        f"delay-0 error, largest of all requests, at most {limit_us} us",
        f"{worst_us:.3f} us",
        worst_us <= limit_us,
    )
    if settings.draws:
        _draw(outcome, settings, walls)
    return [show(outcome)]


def _draw(outcome: Outcome, settings: Settings, walls: Sequence[tuple[Job, float, float]]) -> None:
    with panels(outcome, settings.directory / "overhead", 1) as (axes,):
        draw_bars(
            axes,
            {
                f"{job.title}, {what}": wall_s
                for job, plain_s, emulated_s in walls
                for what, wall_s in (("without", plain_s), ("with", emulated_s))
            },
        )
        axes.set_xlabel("wall time with and without emulation, s")


def _walls_s(job: Job, clock: ClockKind) -> tuple[float, float]:
    """Without and with emulation."""
    rounds = [(job.plain_s(clock), job.emulated_s(clock)) for _ in range(_ROUNDS)]
    plain_s, emulated_s = (median(values) for values in zip(*rounds, strict=True))
    return plain_s, emulated_s


def _paper_ratio(job: Job) -> str:
    if job.image == MINI:
        return ""
    emulated_s, plain_s = published.WALL_EMULATED_S, published.WALL_PLAIN_S
    return f"{emulated_s / plain_s:.2f} ({emulated_s} s against {plain_s} s)"


if __name__ == "__main__":
    main("overhead", experiment, [ClockKind.EXACT, ClockKind.KVM])
