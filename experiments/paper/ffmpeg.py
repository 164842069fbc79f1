# SPDX-License-Identifier: GPL-2.0-or-later
"""Experiment C: ffmpeg on an emulated RAM disk over a slow medium, and on true RAM disks.

The Debian guest makes a video, converts it from the disk to the disk (``examples/ffmpeg``), and
says how long that took. The disk is an emulated device that takes no time, over memory and over
a medium of 2.5 to 10 ms for each request; and the guest's own RAM disk (brd).
``python -m experiments.paper.ffmpeg``; the first time it builds the guest image ``video``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from examples.example_table import build_image
from examples.video import video_example
from experiments.paper import published
from experiments.paper.errors import variation_percent
from experiments.paper.figures import draw_bars, panels
from experiments.paper.guest import run_quietly
from experiments.paper.outcome import Outcome, Settings, Table, main, show

FRAMES = 100
EMULATED_SLOW, EMULATED_FAST, OWN = "emulated, slow medium", "emulated, memory", "the guest's brd"
#: The device with its medium, and the disk in the guest.
RAM_DISKS = {
    EMULATED_SLOW: (f"constant:0,delay={published.MEDIUM_DELAY}", "/dev/vda"),
    EMULATED_FAST: ("constant:0", "/dev/vda"),
    OWN: ("constant:0", "/dev/ram0"),
}

_REPEATS = 2
_NS_PER_S = 1_000_000_000
_HEAD = (
    *("RAM disk", "conversion, guest s", "frames/s", "variation of guest time %"),
    *("job, guest s", "job, wall s", "variation of wall time %"),
)


@dataclass(frozen=True)
class Conversion:
    """One run of the job."""

    printed: Mapping[str, str]
    """What the job said, by name."""
    job_ns: int
    """Guest time of the whole job."""
    wall_s: float

    @property
    def conversion_ns(self) -> int:
        """Guest time of ffmpeg's conversion alone, from its start to its end."""
        return int(self.printed["conversion_ns"])


def convert(device: str, disk: str, frames: int) -> Conversion:
    """Run the job once.

    Raises:
        RunError: it failed, or its figures are not valid.
    """
    example = video_example(frames, disk)
    result, stdout = run_quietly(example.plan(device))
    printed = dict(line.split(" ", 1) for line in stdout.splitlines())
    return Conversion(printed, result.job.end_ns - result.job.start_ns, result.job.host_s)


def experiment(settings: Settings) -> Sequence[Outcome]:
    """Each RAM disk several times, in turn."""
    outcome = Outcome("C. ffmpeg on a RAM disk: emulated over a slow medium, and true")
    frames = FRAMES * settings.scale
    build_image(video_example(frames))
    found: dict[str, list[Conversion]] = {name: [] for name in RAM_DISKS}
    for _ in range(_REPEATS + settings.scale):
        for name, (device, disk) in RAM_DISKS.items():
            found[name].append(convert(device, disk, frames))
    rows = [_HEAD, *(_row(name, runs) for name, runs in found.items())]
    outcome.tables.append(Table(f"{frames} frames, {len(found[OWN])} runs each", rows))
    slow, fast, own = (found[name] for name in (EMULATED_SLOW, EMULATED_FAST, OWN))
    apart_percent = 100 * (slow[0].conversion_ns / own[0].conversion_ns - 1)
    outcome.notes.append(
        f"Over the slow medium the conversion takes {apart_percent:+.2f} % of guest time against "
        f"the guest's own RAM disk. The paper, table I: within {published.FFMPEG_WITHIN_PERCENT} % "
        "of a RAM disk. (What else stands in its table I is not known here.)"
    )
    outcome.require(
        "guest time of the job over the slow medium is that over memory, in each run",
        f"{sorted({run.job_ns for run in slow})} and {sorted({run.job_ns for run in fast})} ns",
        len({run.job_ns for run in (*slow, *fast)}) == 1,
    )
    outcome.require(
        "what ffmpeg and the job print is the same, too",
        "same" if all(run.printed == fast[0].printed for run in (*slow, *fast)) else "differs",
        all(run.printed == fast[0].printed for run in (*slow, *fast)),
    )
    outcome.require(
        "the video is the same on all three",
        ", ".join(sorted({run.printed["video"] for runs in found.values() for run in runs})),
        len({run.printed["video"] for runs in found.values() for run in runs}) == 1,
    )
    with panels(outcome, settings.directory / "ffmpeg", 2) as (guest, wall):
        draw_bars(guest, {name: runs[0].conversion_ns / 1e6 for name, runs in found.items()})
        guest.set_xlabel("conversion, ms of guest time")
        draw_bars(wall, {name: mean(run.wall_s for run in runs) for name, runs in found.items()}, 1)
        wall.set_xlabel("job, s of wall time")
    return [show(outcome)]


def _row(name: str, runs: Sequence[Conversion]) -> list[str]:
    conversions_s = [run.conversion_ns / _NS_PER_S for run in runs]
    frames = int(runs[0].printed["frames"])
    walls_s = [run.wall_s for run in runs]
    return [
        name,
        f"{mean(conversions_s):.9f}",
        f"{frames / mean(conversions_s):.3f}",
        f"{variation_percent(conversions_s):.6f}",
        f"{runs[0].job_ns / _NS_PER_S:.9f}",
        f"{mean(walls_s):.2f}",
        f"{variation_percent(walls_s):.1f}",
    ]


if __name__ == "__main__":
    main("ffmpeg", experiment)
