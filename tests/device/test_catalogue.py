# SPDX-License-Identifier: GPL-2.0-or-later
"""Every catalogue entry: it builds, repeats, predicts what is published, names its sources."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freezingtime.device.catalogue_search import catalogue_names
from freezingtime.device.description import Description
from freezingtime.device.registry import describe, from_content
from freezingtime.errors import InputError
from freezingtime.predict.fill import published_cliff
from freezingtime.predict.predict import (
    METRICS,
    TOLERANCE,
    Case,
    predict,
    published_figures,
)
from freezingtime.simulate.generator import RequestGenerator
from freezingtime.simulate.load_curve import measured_curve
from freezingtime.simulate.simulate import Simulation, simulate_closed_loop
from freezingtime.simulate.workload import parse_workload
from freezingtime.units import parse_size_bytes
from tests.conftest import RunProgram

NAMES = catalogue_names()
#: A simulated SSD takes its time; one that is collected and one with a cache are enough for each
#: commit.
SLOW_TO_PREDICT = {name for name in NAMES if describe(name).content["model"] == "flash"} - {
    "micron-7450-pro-960gb-steady",
    "samsung-970-evo-plus-1tb",
}
CLASSES = {"scm", "flash", "disk", "volume", "mobile"}
REFERENCE = re.compile(r"\[([A-Z][A-Z0-9]*)\]")

OWN = {
    "summary": "a device of one's own",
    "model": "latency",
    "capacity": "1GiB",
    "parameters": {"servers": 4, "read": {"fixed": "100us"}, "write": {"fixed": "20us"}},
}


@pytest.fixture(params=NAMES)
def entry(request: pytest.FixtureRequest) -> Description:
    return describe(request.param)


def own(published: dict[str, Any]) -> Description:
    return from_content(OWN | {"published": published}, "own.toml", "own")


def simulate(device_of: Description, seed: int) -> Simulation:
    workload = parse_workload("randrw,bs=4k/60:64k/40,qd=8,count=400,fsync=16")
    batches = RequestGenerator(workload, seed=1, disk_bytes=device_of.capacity_bytes).batches()
    return simulate_closed_loop(device_of.build(seed), batches, 8, count=400)


def leaves(value: object, path: str = "") -> Iterator[str]:
    """The paths of a table's values; a list is one value."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    else:
        yield path


def accounted(path: str, texts: dict[str, str]) -> bool:
    """Whether the path or a table that it is in stands among the texts."""
    parts = path.split(".")
    return any(".".join(parts[:count]) in texts for count in range(1, len(parts) + 1))


def test_there_are_devices_of_every_class() -> None:
    assert len(NAMES) >= 60
    assert {describe(name).device_class for name in NAMES} == CLASSES


def test_an_entry_names_itself_and_its_size(entry: Description) -> None:
    assert entry.summary != entry.name
    assert entry.capacity_bytes is not None
    assert entry.capacity_bytes % 512 == 0
    assert re.fullmatch(r"[a-z0-9.-]+(@datasheet)?", entry.name)


def test_the_same_seed_gives_the_same_times(entry: Description) -> None:
    first, second = simulate(entry, seed=3), simulate(entry, seed=3)
    assert np.array_equal(first.completion_ns, second.completion_ns)
    assert int(first.latency_ns.min()) >= 0


def test_a_device_can_be_made_smaller(entry: Description) -> None:
    device = entry.build(0, parse_size_bytes("1GiB"))
    assert device.next_event_ns() is None or device.next_event_ns() >= 0


@pytest.mark.parametrize(
    "entry",
    [pytest.param(n, marks=pytest.mark.slow) if n in SLOW_TO_PREDICT else n for n in NAMES],
    indirect=True,
)
def test_predictions_are_near_what_is_published(entry: Description) -> None:
    """Within 10 %, or an exception with its reason: and then it must really be one."""
    predictions = [p for p in predict(entry) if p.published is not None]
    assert predictions, "nothing published to compare with"
    for prediction in predictions:
        published = prediction.published
        assert published is not None
        said = f"{published.name}: {prediction.value:g} against {published.value:g}"
        assert prediction.holds == (published.exception == ""), said


def published_bandwidths() -> list[tuple[str, str, float]]:
    """Of the models that have a limit of it: name, operation and bytes per second."""
    entries = [describe(name) for name in NAMES]
    return [
        (entry.name, figure.name.removesuffix("_bandwidth"), figure.value)
        for entry in entries
        if entry.content["model"] in ("latency", "volume")
        for figure in published_figures(entry)
        if figure.name.endswith("_bandwidth")
    ]


@pytest.mark.parametrize(("name", "operation", "most_bytes_per_s"), published_bandwidths())
def test_large_requests_do_not_exceed_the_published_bandwidth(
    name: str, operation: str, most_bytes_per_s: float
) -> None:
    entry = describe(name)
    workload = parse_workload(f"{operation},bs=8m,qd=4,count=200")
    batches = RequestGenerator(workload, seed=1, disk_bytes=entry.capacity_bytes).batches()
    simulation = simulate_closed_loop(entry.build(0), batches, 4, count=200)
    rate_bytes_per_s = 200 * (8 << 20) / (int(simulation.completion_ns.max()) / 1e9)
    assert rate_bytes_per_s == pytest.approx(most_bytes_per_s, rel=0.02)


def test_every_figure_and_parameter_has_an_origin(entry: Description) -> None:
    content = entry.content
    sources = content["sources"]
    for figure in published_figures(entry):
        assert figure.source in sources, figure
        assert figure.condition, figure
    derived, fitted, assumed = (content.get(key, {}) for key in ("derived", "fitted", "assumed"))
    for path in leaves(content["parameters"]):
        origin = f"{path}: neither derived, fitted nor assumed"
        assert accounted(path, derived | fitted | assumed), origin
    for path, text in (derived | fitted).items():
        assert REFERENCE.search(text), f"{path}: derived or fitted, but names no source"


def test_sources_are_named_and_used(entry: Description) -> None:
    content = entry.content
    keys = ("derived", "fitted", "assumed", "notes")
    texts = [text for key in keys for text in content.get(key, {}).values()]
    exceptions = [figure.exception for figure in published_figures(entry)]
    named = {name for text in [*texts, *exceptions] for name in REFERENCE.findall(text)}
    named |= {figure.source for figure in published_figures(entry)}
    if cliff := published_cliff(entry):
        named.add(cliff.source)
        named |= {
            n for t in content["cliff"].get("exception", {}).values() for n in REFERENCE.findall(t)
        }
    if curve := measured_curve(entry):
        named.add(curve.source)
    assert named == set(content["sources"])
    for text in content["sources"].values():
        assert "http" in text


def test_a_prediction_is_what_the_model_does() -> None:
    """Little's law by hand: 4 servers of 100 us read 40,000 times a second, 32 wait 800 us."""
    description = own(
        {
            "read_latency": {"value": "100us", "source": "X"},
            "read_iops": {"value": 40_000, "source": "X"},
            "read_latency_qd32": {"value": "800us", "depth": 32, "source": "X"},
            "write_iops": {"value": 100_000, "source": "X", "exception": "half of the truth"},
            "write_latency": {"value": "15us", "bound": True, "source": "X"},
        }
    )
    predictions = {p.published.name: p for p in predict(description) if p.published is not None}
    assert predictions["read_latency"].value == 100_000
    assert predictions["read_iops"].value == pytest.approx(40_000, rel=1e-3)
    assert predictions["read_latency_qd32"].value == pytest.approx(800_000, rel=0.02)
    assert predictions["write_iops"].difference == pytest.approx(1.0, rel=1e-3)
    assert predictions["write_latency"].difference == pytest.approx(1 / 3)
    held = {name for name, prediction in predictions.items() if prediction.holds}
    assert held == {"read_latency", "read_iops", "read_latency_qd32"}


def test_every_metric_is_predicted_even_if_none_is_published() -> None:
    predictions = predict(own({}))
    assert [prediction.case.metric for prediction in predictions] == list(METRICS)
    assert all(p.holds and p.difference is None for p in predictions)


def test_what_a_write_buffer_takes_at_once_is_not_the_rate_of_writes() -> None:
    """The drive's buffer takes 2,048 writes without moving the arm; it does not move 10 kHz."""
    content = copy.deepcopy(describe("hgst-ultrastar-7k8-8tb").content)
    del content["published"]
    content["parameters"] |= {"cache": "64MiB", "write_buffer": "8MiB", "write_extents": 4096}
    predictions = predict(from_content(content, "own.toml", "own"))
    rate_hz = next(p.value for p in predictions if p.case.metric == "write_iops")
    assert 100 < rate_hz < 550  # 694 where the first 1,000 writes only are left out


def test_a_drained_volume_has_its_baseline_only() -> None:
    case = Case("read_iops", 32, 4096, drained=True)
    by_case = {prediction.case: prediction.value for prediction in predict(describe("azure-p10"))}
    assert by_case[case] == pytest.approx(500, rel=TOLERANCE)
    assert by_case[Case("read_iops", 32, 4096)] == pytest.approx(3500, rel=TOLERANCE)


@pytest.mark.parametrize(
    ("published", "said"),
    [
        ({"reed_iops": {}}, "published.reed_iops: must begin with one of: read_latency, "),
        ({"read_iops": {"source": "X"}}, "published.read_iops.value: is missing"),
        ({"read_iops": {"value": 1}}, "published.read_iops.source: is missing"),
        ({"read_iops": {"value": "1us", "source": "X"}}, "value = '1us': must be a whole number"),
        ({"read_iops": {"value": 1, "source": "X", "qd": 1}}, "read_iops.qd: unknown key; allowed"),
        ({"read_latency": {"value": "1GB/s", "source": "X"}}, "must be a time such as"),
        ({"read_iops": 3}, "published.read_iops = 3: must be a table"),
    ],
)
def test_mistakes_in_published_figures_are_named(published: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        predict(own(copy.deepcopy(published)))
    assert str(caught.value).startswith("own.toml: published.")
    assert said in str(caught.value)


def test_a_device_inside_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "worm.toml"
    path.write_text(f'model = "stripe"\n[[parameters.member]]\ndevice = "{path}"\n')
    with pytest.raises(InputError, match=r"nests deeper than 8 levels, or contains itself"):
        describe(str(path)).build(0)


def test_the_registry_needs_no_numpy_and_no_compiler() -> None:
    code = (
        "import sys, freezingtime.device.registry as r; r.describe('aws-gp3');"
        "print([m for m in ('numpy', 'numba') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_devices_lists_all(freezingtime: RunProgram) -> None:
    listed = freezingtime("devices").stdout.splitlines()
    assert listed[0].split() == ["name", "class", "model", "capacity", "summary"]
    assert [line.split()[0] for line in listed[1:]] == NAMES
    documents = json.loads(freezingtime("devices", "--json").stdout)
    assert [document["name"] for document in documents] == NAMES


def test_devices_shows_one_uncut(freezingtime: RunProgram) -> None:
    name = "micron-7300-pro-3.84tb"
    shown = freezingtime("devices", name).stdout
    content = describe(name).content
    for key in ("sources", "derived", "assumed", "notes"):
        for text in content[key].values():
            assert text in shown
    assert re.search(r"read latency, 4KiB, QD1 +123\.9us +90us +\+37\.\d% +UB ", shown)
    assert content["published"]["read_latency"]["exception"] in shown
    assert "no tail" not in shown  # its reads have a distribution
    document = json.loads(freezingtime("devices", name, "--json").stdout)
    assert document["parameters"] == content["parameters"]
    by_metric = {p["metric"]: p for p in document["predictions"] if p["exception"] is None}
    assert by_metric["write_iops"]["published"] == 75_000
    assert abs(by_metric["write_iops"]["difference"]) < TOLERANCE


def test_devices_takes_a_file_of_ones_own(freezingtime: RunProgram, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'model = "latency"\n[parameters.read]\nfixed = "3us"\n[parameters.write]\n'
        'fixed = "1us"\n[published.read_latency]\nvalue = "4us"\nsource = "me"\n'
    )
    shown = freezingtime("devices", str(path)).stdout
    assert re.search(r"read latency, 4KiB, QD1 +3us +4us +-25\.0% +me", shown)
    assert "no tail in this model: requests of one length take the same time" in shown


def test_devices_refuses_the_unknown(freezingtime: RunProgram) -> None:
    ended = freezingtime("devices", "nosuch")
    assert ended.returncode == 2
    assert re.fullmatch(
        r"freezingtime: no device matches 'nosuch'; 'freezingtime devices PATTERN' [^\n]+\n",
        ended.stderr,
    )
