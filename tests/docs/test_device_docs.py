# SPDX-License-Identifier: GPL-2.0-or-later
"""The examples of docs/reference/devices: files are made, commands run, devices driven."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from website.__main__ import pages_of
from website.model_page import models_page

from freezingtime.device.disk.parameters import DiskParams
from freezingtime.device.faults.rule import FaultRule
from freezingtime.device.latency.distribution import Mixture
from freezingtime.device.latency.service_time import FlushTime
from freezingtime.device.registry import MODELS, declared_parameters, describe
from freezingtime.device.schema import keys_of, walk
from freezingtime.disk.disk import DISK_KEYS
from freezingtime.disk.mount import FILE_SYSTEMS
from freezingtime.errors import InputError
from freezingtime.frontend import Frontend, queues_of
from freezingtime.request import FaultKind
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
GUESTS = ("reference/devices/identity", "reference/devices/faults")
DEVICES = [name if name.endswith(".toml") else "tape.py:Tape" for name in FILES]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds the page's files, and is where we are."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_of(page: str, header: str) -> dict[str, str]:
    """The rest of each row of the table with that first cell in its header, by the first cell."""
    lines = read_page(page).split("\n")
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {header} |"))
    rows = [line.strip("| ").partition(" | ") for line in lines[start + 2 : lines.index("", start)]]
    return {first: rest for first, _, rest in rows}


def names_in(text: str) -> list[str]:
    return re.findall(r"`[^\w`]*([\w-]+)[^\w`]*`", text)


def test_the_table_of_distributions_is_what_is_declared() -> None:
    (fixed,) = (key for key in keys_of(FlushTime) if key.name == "fixed")
    rows = rows_of("reference/devices/description", "kind")
    assert {kind: set(names_in(text)) - {"weight"} for kind, text in rows.items()} == {
        f"`{kind}`": {key.name for key in keys_of(declared)}
        for kind, declared in fixed.tagged_tables.items()
    }
    parts = next(key for key in keys_of(Mixture) if key.name == "parts")
    assert set(parts.tagged_tables) == set(fixed.tagged_tables)
    page = pages_of(models_page(), lambda heading: heading)["distributions"]
    for kind, declared in fixed.tagged_tables.items():
        for key in keys_of(declared):
            assert f"`{key.name}`" in page.partition(f"## {kind}\n")[2].partition("\n## ")[0]


#: Said in a model's row in other words, or on a page of its own.
ELSEWHERE = {
    "latency": {f"{of}_{what}_limit" for of in ("read", "write") for what in ("iops", "bandwidth")},
    "disk": {*names_in("".join(rows_of("reference/devices/disk", "optional key")))},
}


def test_the_tables_of_models_have_the_keys_that_are_declared() -> None:
    rows = rows_of("reference/devices/description", "model")
    assert {model for models in rows for model in names_in(models)} == set(MODELS)
    for models, text in rows.items():
        named = {name for name in names_in(text) if name not in ("read_", "write_")}
        top: set[str] = set()
        below: set[str] = set()
        for model in names_in(models):
            declared = declared_parameters(model)
            top |= {key.name for key in keys_of(declared)} - ELSEWHERE.get(model, set())
            below |= {path.rpartition(".")[2] for path, _ in walk(declared)}
        assert top <= named <= top | below | {"size", "table", "member"}, models
    optional = {key.name for key in keys_of(DiskParams) if not key.needed and not key.is_table}
    assert ELSEWHERE["disk"] == optional


def test_the_page_of_the_disk_option_has_its_keys_and_words() -> None:
    rows = rows_of("reference/disk-option", "key")
    assert names_in("".join(rows)) == list(DISK_KEYS)
    assert names_in(rows["`frontend`"].partition(" | ")[0]) == list(Frontend)
    assert names_in(rows["`fs`"].partition(" | ")[0]) == list(FILE_SYSTEMS)


def test_the_tables_of_faults_have_the_keys_that_are_declared() -> None:
    named = re.findall(r"^\| `(\w+)` \| ", read_page("reference/devices/faults"), re.MULTILINE)
    assert sorted(named) == sorted(key.name for key in keys_of(FaultRule))
    page = read_page("reference/record/index")
    assert all(f"`{kind.name.lower()}`" in page for kind in FaultKind)


def test_the_table_of_queues_is_what_the_controllers_have() -> None:
    rows = rows_of("reference/frontends", "`frontend=` | `queue-depth=`, default")
    assert [f"`{frontend}`" for frontend in Frontend] == list(rows)
    for frontend in Frontend:
        depth, span, _, counts = rows[f"`{frontend}`"].split(" | ")
        assert int(depth) == queues_of(frontend).depth
        least, most = map(int, re.findall(r"\d+", span))
        for fits in (least, most):
            assert queues_of(frontend, depth=fits).depth == fits
        for wrong in (least - 1, most + 1, *([most - 1] if "power" in span else [])):
            with pytest.raises(InputError, match="takes a"):
                queues_of(frontend, depth=wrong)
        count = int(counts.split()[-1])
        assert queues_of(frontend, count=count).count == count
        with pytest.raises(InputError, match="has "):
            queues_of(frontend, count=count + 1)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        pytest.param(page, block.text, id=f"{page}:{block.line}")
        for page in page_names()
        if page not in PAGES  # whose devices serve, above
        for block in blocks_of(read_page(page))
        if block.kind == "toml"
        and block.file not in ("plan.toml", "curve.toml")  # of a sweep, and of a fit
    ],
)
@pytest.mark.usefixtures("directory")
def test_every_description_file_of_the_other_pages_can_be_copied(page: str, text: str) -> None:
    Path("copied.toml").write_text(text)
    device = describe("copied.toml").build(0)
    assert device.next_event_ns() is None, page


def test_the_example_of_a_flash_drive_programs_as_fast_as_it_says(directory: Path) -> None:
    """All planes of all dies at once; a channel's transfers take some of the time."""
    workload = parse_workload("write,bs=128k,qd=32,count=8000,size=1GiB")
    batches = RequestGenerator(workload, seed=0, disk_bytes=1 << 31).batches()
    ssd = describe(str(directory / "ssd.toml")).build(0)
    simulation = simulate_closed_loop(ssd, batches, 32, count=8000)
    rate = 8000 * 131_072 / simulation.duration_ns * 1e9
    [said] = re.findall(r"per 2 ms, at most (\d+) MB/s", read_page("reference/devices/flash"))
    assert int(said) == 8 * 4 * 3 * 16384 * 500 // 10**6
    assert 0.88 * float(said) < rate / 1e6 < float(said)


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
    [pytest.param(page, marks=[pytest.mark.guest] * (page in GUESTS)) for page in RUNNABLE],
)
def test_every_example_runs(page: str, tmp_path: Path) -> None:
    ran = list(run_examples(read_page(page), tmp_path))
    assert {kind for kind, _ in ran} == {"console"}
    into_files = re.findall(r"^\$ .* > \S+$", read_page(page), re.MULTILINE)
    assert [printed for _, printed in ran].count("") == len(into_files)
