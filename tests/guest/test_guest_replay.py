# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest against a replay: the same requests, the same device, the same nanoseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from freezingtime.device.catalogue_search import catalogue_names
from freezingtime.device.registry import describe
from freezingtime.simulate.replay import TraceSource, replay
from tests.support.guestlib import read_record, run_guest

pytestmark = pytest.mark.guest

SEED = 3

#: Two writers at once, of several sizes; flushes come in pairs, which QEMU serves one by one.
JOB = (
    "fio --name=t --filename=/dev/{disk} --direct=1 --rw=randrw --bssplit=4k/60:16k/30:64k/10 "
    "--number_ios={count} --fsync=16 --ioengine=libaio --iodepth=16 --size=60m --numjobs=2 "
    "--output=/dev/null\n"
    # A hard disk does not discard.
    "[ $(cat /sys/block/{disk}/queue/discard_max_bytes) = 0 ] ||"
    " blkdiscard -l 1048576 /dev/{disk}\n"
)

#: One device for each model, with what makes it hard: several servers, a state, a schedule.
DEVICES = {
    "latency": 'model = "latency"\n[parameters]\nservers = 3\nread_iops_limit = 9000\n'
    '[parameters.read]\nfixed = {kind = "lognormal", median = "80us", p99 = "900us"}\n'
    '[parameters.write]\nfixed = "20us"\nbandwidth = "300MB/s"\n'
    '[parameters.flush]\nfixed = "700us"\n',
    "empirical": 'model = "empirical"\n[parameters]\ncorrelation = 0.3\n'
    + "".join(
        f'[[parameters.table]]\noperation = "{operation}"\nsize = "4KiB"\ndepth = 1\n'
        'quantiles = [[0.0, "60us"], [0.5, "65us"], [1.0, "2ms"]]\n'
        for operation in ("read", "write")
    ),
    "volume": 'model = "volume"\n[parameters.read]\nfixed = "300us"\n[parameters.write]\n'
    'fixed = "400us"\n[parameters.iops]\nbaseline = 2000\nburst = 8000\ncredits = 300\n'
    "start_credits = 0\n",
    "disk": 'model = "disk"\n[parameters]\ncapacity = "500GB"\nrpm = 7200\nheads = 4\n'
    'track_to_track = "0.8ms"\naverage_seek = "8.5ms"\nouter_rate = "180MB/s"\n'
    'cache = "2MiB"\nqueue = 8\n',
    "flash": 'model = "flash"\n[parameters]\nprecondition = "steady"\n[parameters.array]\n'
    "channels = 2\nchips_per_channel = 1\ndies_per_chip = 2\nplanes_per_die = 1\n"
    'pages_per_block = 64\npage = "8KiB"\n[parameters.cells]\nt_read = "40us, 60us"\n'
    't_program = "600us"\nt_erase = "3ms"\n[parameters.channel]\nbandwidth = "400MB/s"\n'
    '[parameters.host]\nbandwidth = "1GB/s"\nt_read = "15us"\nt_write = "8us"\n'
    '[parameters.write_buffer]\nsize = "512KiB"\n[parameters.mapping]\nover_provisioning = 0.1\n',
    "stripe": 'model = "stripe"\n[parameters]\nchunk = "16KiB"\n'
    '[[parameters.member]]\ndevice = "hitachi-travelstar-7k320-320gb"\n'
    '[[parameters.member]]\ndevice = "samsung-pm883-960gb"\n',
    "mirror": 'model = "mirror"\n[parameters]\ncount = 2\n'
    '[[parameters.member]]\ndevice = "intel-p4500-2tb"\n',
    "raid5": 'model = "raid5"\n[parameters]\ncount = 4\nchunk = "16KiB"\n'
    '[[parameters.member]]\ndevice = "hitachi-deskstar-7k1000-1tb"\n',
    "concatenation": 'model = "concatenation"\n'
    '[[parameters.member]]\ndevice = "samsung-870-evo-1tb"\nsize = "32MiB"\n'
    '[[parameters.member]]\ndevice = "hitachi-deskstar-7k1000-1tb"\nsize = "32MiB"\n',
    "cache": 'model = "cache"\n[parameters]\ncache = "8MiB"\nblock = "64KiB"\n'
    '[parameters.fast]\ndevice = "samsung-870-evo-1tb"\n'
    '[parameters.slow]\ndevice = "hitachi-deskstar-7k1000-1tb"\n',
    "perturb": 'model = "perturb"\n[parameters]\nhiccup_probability = 0.05\nhiccup = "20ms"\n'
    'pause_every = "50ms"\npause = "5ms"\n'
    '[parameters.device]\ndevice = "samsung-870-evo-1tb"\n',
}


def check_against_replay(devices: list[str], out: Path, *, count: int) -> None:
    """Run the job on all devices, one after the other, each a disk of one guest."""
    script = "set -e\n" + "".join(
        JOB.format(disk=f"vd{guest_letter(number)}", count=count) for number in range(len(devices))
    )
    run_guest(script, *devices, out=out, seed=SEED)
    rows = read_record(out)
    for number, device in enumerate(devices):
        name = f"disk{number + 1}"
        seen = sorted(
            (row["sequence"], row["arrival_ns"], row["completion_ns"])
            for row in rows
            if row["disk"] == name
        )
        (replayed,) = replay(
            TraceSource(out, disk=name),
            [device],
            seed=SEED + number,
            observer=lambda what, done, total: None,
            notify=pytest.fail,
        )
        assert len(seen) > 2 * count, device
        arrivals_ns, completions_ns = np.array(seen, dtype=np.int64)[:, 1:].T
        assert np.array_equal(replayed.simulation.trace.arrival_ns, arrivals_ns), device
        assert np.array_equal(replayed.simulation.completion_ns, completions_ns), device


def guest_letter(number: int) -> str:
    return chr(ord("a") + number)


def test_every_model_replays_to_the_nanosecond(tmp_path: Path) -> None:
    devices = []
    for name, text in DEVICES.items():
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        devices.append(f"{path},size=64MiB")
    check_against_replay(devices, tmp_path / "run", count=150)


@pytest.mark.slow
def test_every_entry_of_the_catalogue_serves_a_guest_and_replays(tmp_path: Path) -> None:
    names = catalogue_names()
    assert {describe(name).content["model"] for name in names} >= {"latency", "volume", "disk"}
    for start in range(0, len(names), 20):
        devices = [f"{name},size=64MiB" for name in names[start : start + 20]]
        check_against_replay(devices, tmp_path / f"run{start}", count=50)
