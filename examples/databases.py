"""A database on devices that are not here: SQLite's or PostgreSQL's own figures on each.

``python examples/databases.py sqlite`` or ``postgresql``, with devices of the catalogue (or
descriptions) behind it if the ones below are not yours. The first time it builds a guest
image called ``databases``; that takes minutes, and what ``image build debian`` takes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from freezingtime.cli.columns import print_columns
from freezingtime.cli.progress import RunProgress
from freezingtime.errors import FreezingTimeError, InputError, RunError
from freezingtime.experiment.run import RunPlan, run
from freezingtime.machine.debian_image import DebianPlan
from freezingtime.machine.guest_image import RootDisk, find_image
from freezingtime.machine.image_build import build_debian_image
from freezingtime.machine.job import directory_script
from freezingtime.spec import parse_disk

IMAGE = "databases"
PACKAGES = ("fio", "postgresql", "sqlite3")
ROOT = RootDisk("ext4", 4 << 30)
DISK_SIZE = "2GiB"
DEVICES = (
    "intel-optane-p5800x-1.6tb",
    "micron-7450-pro-960gb",
    "samsung-870-evo-1tb",
    "aws-gp3",
    "wd-ultrastar-dc-hc310-6tb",
)
JOBS = Path(__file__).parent


def job_output(job: str, device: str) -> dict[str, str]:
    """The names and values that the job prints on a device.

    Raises:
        RunError: the job found something wrong, or its figures are not valid.
    """
    directory = JOBS / job
    plan = RunPlan(
        [parse_disk(f"{device},size={DISK_SIZE}")],
        directory_script(directory),
        guest=IMAGE,
        job_directory=directory,
    )
    with RunProgress(quiet=not sys.stderr.isatty(), forward_output=False) as progress:
        result = run(plan, progress)
    text = progress.stdout.decode()
    if result.job.exit_status or not result.valid:
        raise RunError(f"{job} on {device} failed: {text}{progress.stderr.decode()}")
    return dict(line.split(" ", 1) for line in text.splitlines())


def main() -> None:
    """Print the table."""
    job, *devices = sys.argv[1:] or [""]
    if not job or not (JOBS / job).is_dir():
        raise InputError(f"{job!r}: name a job: sqlite or postgresql")
    if find_image(IMAGE) is None:
        print("building the guest image, once ...", file=sys.stderr)
        build_debian_image(IMAGE, DebianPlan(PACKAGES, ROOT))
    outputs = {device: job_output(job, device) for device in devices or DEVICES}
    names = list(next(iter(outputs.values())))
    rows = [[device, *(output[name] for name in names)] for device, output in outputs.items()]
    print_columns([["device", *names], *rows])


if __name__ == "__main__":
    try:
        main()
    except FreezingTimeError as error:
        raise SystemExit(f"databases: {error}") from None
