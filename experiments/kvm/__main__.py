# SPDX-License-Identifier: GPL-2.0-or-later
"""What leaks into a guest's time under the KVM clock, in the lab: ``python -m experiments.kvm``.

A program in the guest reads 4 KiB from devices of several latencies, over memory, over a medium
that takes 3 ms a read, and beside a process of the outer host that computes; while the guest idles
and while another process of its own computes. What it measures with its own clock is shown beside
what the record says of the same requests. ``--drift COUNT`` has it read that often from one device
over the slow medium instead, and compares the first reads with the last. ``--boots COUNT`` has a
machine of ``--cpus`` boot that often. ``--paper`` repeats the paper's experiments B and D.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tests.kvm.lab.machine import run_in_lab

from freezingtime.percentile import percentile_ns
from freezingtime.units import format_time_ns, parse_time_ns
from freezingtime.vm.qemu.program import PINNED_SUITE

_LATENCIES = ("20us", "100us", "1ms", "10ms")
#: By name: over memory, over a medium that takes 3 ms, and beside a process of the outer host's.
_RUNS = {
    "memory": "run memory {memory}",
    "slow": "run slow {slow}",
    "hog": "while :; do :; done & hog=$!; run hog {memory}; kill $hog",
}
_WARM_UP = 20

_JOB = """#!/bin/sh
set -e
for disk in vda vdb vdc vdd; do
  /job/reads /dev/$disk {warm_up} >/dev/null
  /job/reads /dev/$disk {idle} >/tmp/$disk-idle.ns
  /job/reads /dev/$disk {busy} busy >/tmp/$disk-busy.ns
done
"""

_DRIFT_RUN = "run drift --disk constant:20us,size=16MiB,delay=3ms"
_DRIFT_JOB = """#!/bin/sh
/job/reads /dev/vda {count} >/tmp/vda.ns
"""

_PAPER = """
export PYTHONPATH=/product/files:$PYTHONPATH
status=0
for experiment in emulated_ssd overhead; do
  python3 -m experiments.paper.$experiment --clock kvm --no-figures --out /tmp/paper || status=$?
done
exit $status
"""

_BOOTS = "python3 /product/files/boots.py {count} {cpus} kvm /product/files/kernel"
#: A boot takes seconds of this host's, if it is not busy.
_BOOT_DEADLINE_S = 60.0
_START_DEADLINE_S = 1800.0
#: How sure the bound is of boots that may fail.
_CONFIDENCE = 0.95

_SCRIPT = """
run() {{
  name=$1; shift
  freezingtime run --quiet --clock kvm --memory 256MiB --collect '/tmp/*.ns' --out /tmp/$name \\
    "$@" --job /product/files/job || [ $? = 3 ]
  mkdir $name
  cp /tmp/$name/run.json /tmp/$name/requests.parquet /tmp/$name/collected/tmp/*.ns $name
}}
{runs}
"""


class Row(NamedTuple):
    """Reads of one device in one of the runs; times are in order."""

    run: str
    guest: str
    latency: str
    beyond_ns: NDArray[np.int64]
    """What each took in the guest beyond the device's time."""
    late_ns: NDArray[np.int64]
    """By how much each was delivered after the device's time."""


def main() -> int:
    """Print the tables; the exit status."""
    parser = argparse.ArgumentParser(prog="experiments.kvm", allow_abbrev=False)
    parser.add_argument("--idle", type=int, default=200, help="an idle guest's reads per device")
    parser.add_argument("--busy", type=int, default=50, help="a busy guest's")
    parser.add_argument("--suite", default=PINNED_SUITE, help="whose QEMU the guest has")
    parser.add_argument("--runs", nargs="+", choices=list(_RUNS), default=list(_RUNS))
    parser.add_argument("--drift", type=int, metavar="COUNT", help="only so many reads at 20us")
    parser.add_argument("--boots", type=int, metavar="COUNT", help="only boot so often")
    parser.add_argument("--cpus", type=int, default=4, help="of the machine that boots")
    parser.add_argument("--paper", action="store_true", help="only the paper's experiments")
    parser.add_argument("--out", type=Path, help="keep the runs' records in this directory")
    settings = parser.parse_args()
    if settings.drift is not None:
        return _measure_drift(settings.drift, settings.suite, settings.out)
    if settings.boots is not None:
        return _boot(settings.boots, settings.cpus, settings.suite)
    if settings.paper:
        return _repeat_paper(settings.suite)
    disks = {"memory": _disks(""), "slow": _disks(",delay=3ms")}
    job = _JOB.format(warm_up=_WARM_UP, idle=settings.idle, busy=settings.busy)
    result = run_in_lab(
        _SCRIPT.format(runs="\n".join(_RUNS[run] for run in settings.runs).format(**disks)),
        files={"job/run": job.encode(), "job/reads": _compiled()},
        suite=settings.suite,
        deadline_s=7200,
    )
    if result.status != 0:
        print(result.stderr, file=sys.stderr)
        return 1
    if settings.out is not None:
        _keep(settings.out, result.files)
    counts = {"idle": settings.idle, "busy": settings.busy}
    print(
        "What the guest sees of a read beyond the device's time, and the latest delivery, in ns:\n"
    )
    _print_table(_table(settings.runs, _rows(settings.runs, result.files, counts)))
    _print_table([_ACCOUNT_HEAD, *(_account(run, result.files) for run in settings.runs)])
    return 0


def _measure_drift(count: int, suite: str, out: Path | None) -> int:
    """Print how long reads take at the beginning and at the end of a run; the exit status."""
    result = run_in_lab(
        _SCRIPT.format(runs=_DRIFT_RUN),
        files={"job/run": _DRIFT_JOB.format(count=count).encode(), "job/reads": _compiled()},
        suite=suite,
        deadline_s=7200,
    )
    if result.status != 0:
        print(result.stderr, file=sys.stderr)
        return 1
    if out is not None:
        _keep(out, result.files)
    took_ns = np.array(result.files["drift/vda.ns"].split(), np.int64)
    tenth = count // 10
    rows = [["reads", "p50", "mean", "max"]]
    for name, part_ns in (("first tenth", took_ns[:tenth]), ("last tenth", took_ns[-tenth:])):
        times_ns = (percentile_ns(np.sort(part_ns), 50_000), part_ns.mean(), part_ns.max())
        rows.append([name, *(f"{time_ns:,.0f}" for time_ns in times_ns)])
    _print_table(rows)
    _print_table([_ACCOUNT_HEAD, _account("drift", result.files)])
    return 0


def _boot(count: int, cpus: int, suite: str) -> int:
    """Print what became of a machine that boots so often; the exit status."""
    result = run_in_lab(
        _BOOTS.format(count=count, cpus=cpus),
        files={
            "boots.py": Path(__file__).with_name("boots.py").read_bytes(),
            "kernel": _compiled_kernel(cpus),
        },
        suite=suite,
        deadline_s=_START_DEADLINE_S + count * _BOOT_DEADLINE_S,
    )
    if result.status != 0:
        print(result.stderr, file=sys.stderr)
        return 1
    account = json.loads(result.stdout)
    kvm = account["kvm"]
    bound = 1 - (1 - _CONFIDENCE) ** (1 / count)
    head = (
        *("CPUs", "boots", "failed, at most", "requests", "latest", "left in", "stolen"),
        *("counter behind in", "by, at most"),
    )
    times_ns = (kvm["left_in_ns"], kvm["stolen_ns"])
    row = [
        *(f"{cpus}", f"{count:,}", f"{100 * bound:.2f} %", f"{account['requests']:,}"),
        f"{account['latest_ns']:,} ns",
        *(format_time_ns(time_ns) for time_ns in times_ns),
        *(f"{account['behind_boots']:,}", f"{account['most_behind_cycles']:,} cycles"),
    ]
    _print_table([head, row])
    return 0


def _repeat_paper(suite: str) -> int:
    """Print what the paper's experiments come to; the exit status."""
    root = Path(__file__).parents[2]
    sources = [
        path.relative_to(root)
        for pattern in ("experiments/paper/*", "bench/stock_qemu.py", "examples/**/*")
        for path in root.glob(pattern)
        if path.is_file() and path.suffix != ".pyc"
    ]
    result = run_in_lab(
        _PAPER,
        files={str(source): (root / source).read_bytes() for source in sources},
        suite=suite,
        deadline_s=3 * 7200,
    )
    print(result.stdout)
    if result.status != 0:
        print(result.stderr, file=sys.stderr)
    return result.status


def _keep(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _disks(option: str) -> str:
    return " ".join(
        f"--disk constant:{latency},size=16MiB,name=c{latency}{option}" for latency in _LATENCIES
    )


def _compiled() -> bytes:
    source = Path(__file__).with_name("reads.c")
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "reads"
        subprocess.run(["gcc", "-std=c11", "-O2", "-static", "-o", program, source], check=True)
        return program.read_bytes()


def _compiled_kernel(cpus: int) -> bytes:
    here = Path(__file__).parent
    flags = [
        *("-m32", "-std=gnu11", "-O2", "-ffreestanding", "-fno-pic", "-fno-stack-protector"),
        *("-fcf-protection=none", "-mgeneral-regs-only", "-nostdlib", "-static", "-no-pie"),
        f"-Wl,-T,{here / 'boots.lds'},--build-id=none,--no-warn-rwx-segments",
        f"-DCPUS={cpus}",
    ]
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "kernel"
        subprocess.run(["gcc", *flags, "-o", program, here / "boots_kernel.c"], check=True)
        return program.read_bytes()


def _rows(
    runs: Sequence[str], files: Mapping[str, bytes], counts: Mapping[str, int]
) -> Iterator[Row]:
    for run in runs:
        record = pq.read_table(pa.BufferReader(files[f"{run}/requests.parquet"]))
        for number, latency in enumerate(_LATENCIES):
            target_ns = parse_time_ns(latency)
            of_disk = record.filter(pc.equal(record["disk"], f"c{latency}")).sort_by("sequence")
            late_ns = pc.subtract(of_disk["delivery_ns"], of_disk["completion_ns"]).to_numpy()
            # The kernel's own reads and the warm-up come first.
            last = {"busy": len(late_ns), "idle": len(late_ns) - counts["busy"]}
            for guest, count in counts.items():
                text = files[f"{run}/vd{'abcd'[number]}-{guest}.ns"]
                took_ns = np.array(text.split(), np.int64)
                of_guest = late_ns[last[guest] - count : last[guest]]
                yield Row(run, guest, latency, np.sort(took_ns - target_ns), np.sort(of_guest))


def _table(runs: Sequence[str], rows: Iterable[Row]) -> Iterator[Sequence[str]]:
    """A line for each guest and device, with the runs side by side."""
    figures = ("p50", "p99", "max", "latest")
    yield ["guest", "device", *(f"{run}: {figure}" for run in runs for figure in figures)]
    lines: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        times_ns = [percentile_ns(row.beyond_ns, per_100k) for per_100k in (50_000, 99_000)]
        times_ns += [row.beyond_ns[-1], row.late_ns[-1]]
        cells = lines.setdefault((row.guest, row.latency), [row.guest, row.latency])
        cells += [f"{time_ns:,}" for time_ns in times_ns]
    for guest in ("idle", "busy"):
        yield from (cells for cells in lines.values() if cells[0] == guest)


_ACCOUNT_HEAD = (
    *("run", "requests", "not within 10 us", "host took the CPU", "taken out", "left in"),
    *("skipped", "frozen", "guest time"),
)


def _account(run: str, files: Mapping[str, bytes]) -> Sequence[str]:
    document = json.loads(files[f"{run}/run.json"])
    audit, kvm = document["audit"], document["audit"]["kvm"]
    spans = (kvm["taken_out_ns"], kvm["left_in_ns"], kvm["skipped_ns"])
    times = (document["totals"]["frozen_host_ns"], document["job"]["guest_ns"])
    return [
        *(run, f"{audit['requests']:,}", f"{audit['late']:,}", f"{kvm['preemption_count']:,}"),
        *(format_time_ns(span_ns) for span_ns in (*spans, *times)),
    ]


def _print_table(lines: Iterable[Sequence[str]]) -> None:
    head, *rows = lines
    for cells in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(cells)} |")
    print()


if __name__ == "__main__":
    sys.exit(main())
