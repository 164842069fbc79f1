# SPDX-License-Identifier: GPL-2.0-or-later
"""What the device models cost: requests per second, compilation, memory.

Speeds are of whole traces: the best of several rounds, since the machine may be busy otherwise,
and slower rounds say more of it than of the model. Compilation and peaks of memory are each of a
process of its own. All times are CPU times.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from freezingtime.device.registry import from_content
from freezingtime.request import Operation
from freezingtime.simulate.simulate import CompletesClosed

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
MIB, GIB = 1 << 20, 1 << 30
BLOCK_BYTES = 4096
DEPTH = 32

Int64s = NDArray[np.int64]

LATENCY = """
servers = 32
iops_limit = 500_000
read = {fixed = {kind = "lognormal", mean = "80us", p99 = "200us"}, bandwidth = "3.2GB/s"}
write = {fixed = "15us", bandwidth = "2GB/s"}
"""
VOLUME = """
io_size = "256KiB"
merge_sequential = true
read.fixed = "500us"
write.fixed = "600us"
iops = {baseline = 3_000, burst = 10_000, credits = 5_400_000}
throughput = {baseline = "128MiB/s"}
"""
EMPIRICAL = """
[[table]]
operation = "read"
size = "4KiB"
depth = 1
quantiles = [[0.0, "60us"], [0.5, "65us"], [0.9, "80us"], [0.99, "232us"], [1.0, "1ms"]]
[[table]]
operation = "read"
size = "4KiB"
depth = 32
quantiles = [[0.0, "70us"], [0.5, "95us"], [0.9, "180us"], [0.99, "900us"], [1.0, "3ms"]]
[[table]]
operation = "write"
size = "4KiB"
quantiles = [[0.0, "7us"], [0.99, "14us"], [1.0, "220us"]]
"""
FLASH = """
precondition = "{precondition}"
array = {{channels = 8, chips_per_channel = 4, dies_per_chip = 2, planes_per_die = 2, \
pages_per_block = 512, page = "16KiB"}}
cells = {{t_read = "50us", t_program = "600us", t_erase = "3.5ms"}}
channel = {{bandwidth = "1.2GB/s"}}
host = {{bandwidth = "7GB/s"}}
write_buffer = {{size = "16MiB", power_loss_protection = true}}
mapping = {{over_provisioning = 0.12, unit = "{unit}"}}
"""
DISK = """
capacity = "8TB"
rpm = 7200
heads = 12
track_to_track = "0.6ms"
average_seek = "8.5ms"
outer_rate = "205MB/s"
"""
SMR = DISK + "[smr]\nmap_entries = {entries}\n"


def build(model: str, text: str, size_bytes: int = 64 * GIB) -> Any:
    """A device with the parameters of a text."""
    content = {"model": model, "parameters": tomllib.loads(text)}
    return from_content(content, "bench.toml", "bench").build(1, size_bytes)


def flash(precondition: str, size_bytes: int = 64 * GIB, unit: str = "4KiB") -> Any:
    """An SSD of 8 channels and 64 dies."""
    return build("flash", FLASH.format(precondition=precondition, unit=unit), size_bytes)


def smr(entries: int) -> Any:
    """A shingled disk whose persistent cache takes so many random writes."""
    return build("disk", SMR.format(entries=entries))


def operations(count: int, written: float) -> Int64s:
    """Reads with a share of writes among them."""
    generator = np.random.default_rng(1)
    return np.where(
        generator.random(count) < written, int(Operation.WRITE), int(Operation.READ)
    ).astype(np.int64)


def places(count: int, size_bytes: int) -> Int64s:
    """Random blocks of a disk."""
    blocks: Int64s = np.random.default_rng(2).integers(0, size_bytes // BLOCK_BYTES, count)
    return blocks * BLOCK_BYTES


@dataclass(frozen=True)
class Speed:
    """A model, the requests that it gets, and how many it must do in a second (None: any)."""

    name: str
    model: Callable[[], Any]
    count: int
    written: float
    target_per_s: int | None
    gap_ns: int | None = None
    """Between arrivals of an open loop; None: a closed loop at depth 32."""
    size_bytes: int = 64 * GIB

    def per_s(self) -> float:
        """Requests per second of CPU time: the best round."""
        return max(self._round() for _ in range(ROUNDS + 1))

    def _round(self) -> float:
        device = self.model()
        columns = (
            operations(self.count, self.written),
            places(self.count, self.size_bytes),
            np.full(self.count, BLOCK_BYTES, np.int64),
        )
        arrivals_ns = np.arange(self.count, dtype=np.int64) * (self.gap_ns or 0)
        begin_s = time.process_time()
        if self.gap_ns is None:
            device.complete_closed(DEPTH, *columns)
        else:
            device.complete_all(arrivals_ns, *columns)
        return self.count / (time.process_time() - begin_s)


MILLION = 1_000_000
SPEEDS = [
    Speed("latency, open loop", lambda: build("latency", LATENCY), MILLION, 0.3, MILLION, 3_000),
    Speed("latency, closed loop", lambda: build("latency", LATENCY), MILLION, 0.3, MILLION),
    Speed("volume, open loop", lambda: build("volume", VOLUME), MILLION, 0.3, MILLION, 100_000),
    Speed("volume, closed loop", lambda: build("volume", VOLUME), MILLION, 0.3, MILLION),
    Speed(
        "empirical, open loop", lambda: build("empirical", EMPIRICAL), MILLION, 0.3, MILLION, 9_000
    ),
    Speed("empirical, closed loop", lambda: build("empirical", EMPIRICAL), MILLION, 0.3, MILLION),
    Speed("flash, reads, all there at once", lambda: flash("sequential"), MILLION, 0.0, MILLION, 0),
    Speed("flash, reads, closed loop", lambda: flash("sequential"), MILLION, 0.0, MILLION),
    Speed("flash, 70/30, closed loop", lambda: flash("sequential"), MILLION, 0.3, MILLION),
    Speed("flash, writes, no collection", lambda: flash("fresh"), MILLION, 1.0, MILLION),
    Speed("flash, writes, steady state", lambda: flash("steady"), MILLION, 1.0, 300_000),
    Speed("disk, reads", lambda: build("disk", DISK), 100_000, 0.0, 200_000),
    Speed("disk, writes", lambda: build("disk", DISK), 100_000, 1.0, 200_000),
    Speed("SMR disk, mixed, room in its cache", lambda: smr(250_000), 100_000, 0.5, None),
    Speed("SMR disk, writes, each waits for cleaning", lambda: smr(1_000), 5_000, 1.0, None),
]

#: One small device of each kind that compiles kernels of its own.
FAMILIES = {
    "latency": lambda: build("latency", LATENCY),
    "volume": lambda: build("volume", VOLUME),
    "empirical": lambda: build("empirical", EMPIRICAL),
    "disk": lambda: build("disk", DISK),
    "flash": lambda: flash("fresh"),
}


def compile_once(family: str) -> None:
    """Have new devices work off traces: everything is compiled then."""
    columns = operations(4, 0.5), places(4, GIB), np.full(4, BLOCK_BYTES, np.int64)
    FAMILIES[family]().complete_all(np.zeros(4, np.int64), *columns)
    device = FAMILIES[family]()
    if isinstance(device, CompletesClosed):
        device.complete_closed(1, *columns)


def fill(device: Any, begin_bytes: int, end_bytes: int, start_ns: int = 0) -> int:
    """Write a part of the disk in sequence, in requests of 4 MiB; returns when that was done."""
    step_bytes, batch = 4 * MIB, 10_000
    for batch_bytes in range(begin_bytes, end_bytes, batch * step_bytes):
        offsets = np.arange(
            batch_bytes, min(end_bytes, batch_bytes + batch * step_bytes), step_bytes
        )
        count = len(offsets)
        completions_ns = device.complete_all(
            np.full(count, start_ns, np.int64),
            np.full(count, int(Operation.WRITE), np.int64),
            offsets,
            np.full(count, step_bytes, np.int64),
        )
        start_ns = int(completions_ns.max())
    return start_ns


TB = 1_000_000_000_000 // (4 * MIB) * (4 * MIB)


def written_in_sequence() -> Iterator[str]:
    """A disk that was written once from end to end."""
    fill(flash("fresh", TB), 0, TB)
    yield "flash, 1 TB, 4 KiB units, written in sequence"


def in_steady_state() -> Iterator[str]:
    """A disk on which everything has been written many times."""
    device = flash("steady", 4 * TB, "16KiB")
    yield "flash, 4 TB, 16 KiB units, steady state"
    del device


def written_in_part() -> Iterator[str]:
    """A large disk takes memory for what is written on it only."""
    device = flash("fresh", 4 * TB)
    yield "flash, 4 TB, 4 KiB units, fresh"
    now_ns = fill(device, 0, TB // 10)
    yield "flash, 4 TB, 4 KiB units, 0.1 TB written"
    fill(device, TB // 10, TB // 5, now_ns)
    yield "flash, 4 TB, 4 KiB units, 0.2 TB written"


def written_at_random() -> Iterator[str]:
    """Random writes to a drive that is far larger than what they write."""
    count, size_bytes = 10_000_000, 64 * TB
    device = flash("fresh", size_bytes, "16KiB")
    units = np.random.default_rng(2).integers(0, size_bytes // 16384, count)
    lengths = np.full(count, 16384, np.int64)
    yield "flash, 64 TB, 16 KiB units, fresh"
    device.complete_closed(DEPTH, operations(count, 1.0), units * 16384, lengths)
    yield "flash, 64 TB, 16 KiB units, 10 million random writes"


#: Cases of memory, and the most that the peak may grow by in each, in bytes (None: any).
MEMORY: dict[str, tuple[Callable[[], Iterator[str]], int | None]] = {
    "written_in_sequence": (written_in_sequence, None),
    "in_steady_state": (in_steady_state, 4_000_000_000),
    "written_at_random": (written_at_random, 4_000_000_000),
    "written_in_part": (written_in_part, 1_000_000_000),
}


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def print_memory(name: str) -> None:
    """Print by how many bytes each step of a case made the peak grow, in all."""
    fill(flash("fresh", GIB), 0, 64 * MIB)  # the compiler's own memory does not count
    before_bytes = peak_bytes()
    for step in MEMORY[name][0]():
        print(f"{peak_bytes() - before_bytes} {step}", flush=True)


def in_a_process(*arguments: str, **environment: str) -> str:
    """What this program prints when it is called with arguments."""
    return subprocess.run(
        [sys.executable, __file__, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def children_s() -> float:
    """The CPU time of all processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def add_speeds(table: Table) -> Iterator[str]:
    """Measure the speeds; yield what is missed."""
    for case in SPEEDS:
        per_s = case.per_s()
        target = f"at least {case.target_per_s:,}" if case.target_per_s else ""
        table.add_row(case.name, f"{per_s:,.0f} requests/s", target)
        if case.target_per_s and per_s < case.target_per_s:
            yield f"{case.name}: {per_s:,.0f} requests/s, not {case.target_per_s:,}"


def add_compilation(table: Table) -> None:
    """Measure how long the first trace takes, with nothing compiled and with everything."""
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as cache:
            seconds = []
            for _ in range(2):
                begin_s = children_s()
                in_a_process("compile", family, NUMBA_CACHE_DIR=cache)
                seconds.append(children_s() - begin_s)
        cold_s, warm_s = seconds
        table.add_row(f"{family}, first trace", f"{cold_s:.1f} s empty cache, {warm_s:.1f} s warm")


def add_memory(table: Table) -> Iterator[str]:
    """Measure the peaks; yield what is missed."""
    for name, (_, most_bytes) in MEMORY.items():
        target = f"less than {most_bytes / 1e9:.0f} GB" if most_bytes else ""
        for line in in_a_process("memory", name).splitlines():
            grown, step = line.split(" ", 1)
            table.add_row(step, f"{int(grown) / 1e9:.2f} GB more", target)
            if most_bytes and int(grown) >= most_bytes:
                yield f"{step}: {int(grown) / 1e9:.2f} GB, not {target}"


def main() -> None:
    """Print the table; exit 1 if a target is missed."""
    table = Table("model", "measured", "target")
    missed = list(add_speeds(table))
    add_compilation(table)
    missed += add_memory(table)
    Console().print(
        f"CPU times; speeds on one core, best of {ROUNDS} rounds: the machine may be shared",
        table,
    )
    if missed:
        raise SystemExit("models: missed:\n" + "\n".join(missed))


if __name__ == "__main__":
    if sys.argv[1:2] == ["compile"]:
        compile_once(sys.argv[2])
    elif sys.argv[1:2] == ["memory"]:
        print_memory(sys.argv[2])
    else:
        main()
