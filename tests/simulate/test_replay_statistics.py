# SPDX-License-Identifier: GPL-2.0-or-later
"""The statistics of replayed devices over guest time, and that to take them changes nothing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import freezingtime as ft
from freezingtime.report.figures.internals_panels import internals
from freezingtime.report.read import read_run
from freezingtime.report.side_by_side import side_by_side
from freezingtime.simulate.replay import replay
from freezingtime.simulate.statistics_sampler import SAMPLES_MAX
from freezingtime.simulate.workload import parse_workload
from freezingtime.trace.statistics_file import statistics_metadata
from tests.conftest import RunProgram

SSD = """
model = "flash"
capacity = "64MiB"
[parameters]
precondition = "sequential"
[parameters.array]
channels = 2
chips_per_channel = 1
dies_per_chip = 1
planes_per_die = 2
pages_per_block = 64
page = "16KiB"
[parameters.cells]
t_read = "50us"
t_program = "600us"
t_erase = "3.5ms"
[parameters.channel]
bandwidth = "1.2GB/s"
[parameters.host]
bandwidth = "3.2GB/s"
t_read = "15us"
t_write = "8us"
[parameters.write_buffer]
size = "1MiB"
power_loss_protection = true
[parameters.mapping]
over_provisioning = 0.2
"""
#: All at once as far as the model can, and event by event: what differs is who takes the samples.
CASES = {
    "flash, open": ("ssd.toml", "randwrite,bs=4k,rate=4k,count=6k,size=64MiB", "programmed_bytes"),
    "flash, closed": (
        "ssd.toml",
        "randwrite,bs=16k,qd=4,count=1000,size=64MiB",
        "programmed_bytes",
    ),
    "disk, open": ("hgst-ultrastar-7k8-8tb", "randrw,rate=60,count=700", "seeks"),
    "disk, closed": ("hgst-ultrastar-7k8-8tb", "randrw,qd=40,count=700", "seeks"),
    "disk, steps": ("hgst-ultrastar-7k8-8tb", "randrw,qd=8,queue=4,count=200", "seeks"),
    "volume, open": ("aws-gp2-100gib", "randread,rate=2000,count=2000", None),
    "volume, closed": ("aws-gp2-100gib", "randread,qd=8,count=2000", None),
}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ssd.toml").write_text(SSD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("directory")
def test_samples_are_of_the_same_replay(case: str) -> None:
    device, workload, counter = CASES[case]
    result = ft.replay(workload, devices=[device])
    samples = result.statistics_over_time
    wide = samples.pivot(index="time_ns", columns="statistic", values="value")
    assert 7 <= len(wide) <= SAMPLES_MAX + 1
    assert wide.notna().all(axis=None)
    assert samples["time_ns"].is_monotonic_increasing
    requests = result.requests
    assert wide.index[0] < requests["delivery_ns"].max() / 5
    assert wide.index[-1] == requests["delivery_ns"].max()
    assert wide.iloc[-1].to_dict() == dict(result.statistics[device])
    if counter is not None:
        assert wide[counter].is_monotonic_increasing
        assert wide[counter].nunique() > len(wide) / 2

    [alone] = replay(
        parse_workload(workload), [device], seed=0, observer=lambda *_: None, notify=str
    )
    completions = requests.sort_values("sequence")["completion_ns"]
    assert completions.tolist() == alone.simulation.completion_ns.tolist()
    assert alone.statistics == result.statistics[device]
    assert not alone.samples


@pytest.mark.usefixtures("directory")
def test_they_are_in_the_record_and_in_its_report(freezingtime: RunProgram) -> None:
    device, workload = "aws-gp2-100gib", "randwrite,bs=4k,rate=4k,count=6k,size=64MiB"
    chosen = ("--device", "constant:1ms", "--device", device)
    ended = freezingtime("replay", "--workload", workload, *chosen, "--out", "replayed", "-q")
    assert ended.returncode == 0, ended.stderr
    here = ft.replay(workload, devices=["constant:1ms", device, "ssd.toml"], out="here")
    again = ft.open_run("replayed")
    samples = here.statistics_over_time.query("disk == @device").reset_index(drop=True)
    pd.testing.assert_frame_equal(again.statistics_over_time, samples, check_categorical=False)
    assert again.statistics == {device: here.statistics[device]}
    titles = {panel.title for panel in internals(side_by_side([read_run(Path("here"), str)]))}
    assert {"device: write amplification so far", "device: I/O credits"} <= titles


def test_what_is_damaged_is_one_line(tmp_path: Path) -> None:
    record = tmp_path / "record"
    ft.replay("randread,count=100", devices=["aws-gp2-100gib"], out=record)
    table = pq.read_table(record)
    [(key, text)] = statistics_metadata([("disk", 0, "depth", 1.0)]).items()
    for wrong in (text[:-1], b"AAAA", text[:200] + b"AAAA" + text[204:]):
        metadata = {**table.schema.metadata, key: wrong}
        pq.write_table(table.replace_schema_metadata(metadata), record)
        with pytest.raises(ft.InputError, match="is damaged") as raised:
            _ = ft.open_run(record).statistics_over_time
        assert "\n" not in str(raised.value)
    metadata = {name: value for name, value in table.schema.metadata.items() if name != key}
    pq.write_table(table.replace_schema_metadata(metadata), record)
    assert ft.open_run(record).statistics == {}
