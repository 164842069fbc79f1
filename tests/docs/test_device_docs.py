# SPDX-License-Identifier: GPL-2.0-or-later
"""The examples of docs/reference/devices: files are made, commands run, devices driven."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from freezingtime.device.registry import describe
from freezingtime.simulate.generator import RequestGenerator
from freezingtime.simulate.simulate import simulate_closed_loop
from freezingtime.simulate.workload import parse_workload
from tests.support.doclib import blocks_of, page_names, read_page, run_examples

PAGES = [name for name in page_names() if name.startswith("reference/devices/")]
FILES = {
    block.file: block.text
    for page in PAGES
    for block in blocks_of(read_page(page))
    if block.file is not None
}
RUNNABLE = [
    page
    for page in PAGES
    if any(
        block.kind == "console" and not block.reason_not_run for block in blocks_of(read_page(page))
    )
]
GUEST = "reference/devices/identity"
DEVICES = [name if name.endswith(".toml") else "tape.py:Tape" for name in FILES]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds the page's files, and is where we are."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_model_of_ones_own_is_short() -> None:
    assert len([line for line in FILES["tape.py"].split("\n") if line.strip()]) <= 21


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.usefixtures("directory")
def test_a_device_of_the_page_serves(device: str) -> None:
    description = describe(device)
    pattern = "write" if device == "zoned.toml" else "randrw"  # zones are written in order
    workload = parse_workload(f"{pattern},bs=4k/50:16k/50,qd=4,count=300,size=256MiB")
    disk_bytes = description.capacity_bytes or 1 << 30
    batches = RequestGenerator(workload, seed=0, disk_bytes=disk_bytes).batches()
    simulation = simulate_closed_loop(description.build(0), batches, 4, count=300)
    assert len(simulation.completion_ns) == 300
    assert int(simulation.latency_ns.min()) > 0


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.guest] * (page == GUEST)) for page in RUNNABLE],
)
def test_every_example_runs(page: str, tmp_path: Path) -> None:
    ran = list(run_examples(read_page(page), tmp_path))
    assert {kind for kind, _ in ran} == {"console"}
    into_files = re.findall(r"^\$ .* > \S+$", read_page(page), re.MULTILINE)
    assert [printed for _, printed in ran].count("") == len(into_files)
