# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever number stands at a key of whatever model: it is refused by name, or the device works.

The keys are those that the models declare.
"""

from __future__ import annotations

import copy
import functools
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.device.base import Device
from freezingtime.device.registry import MODELS, declared_parameters, from_content
from freezingtime.device.schema import walk
from freezingtime.errors import InputError, RefusalError
from freezingtime.request import Operation, Request
from tests.compose.test_composite import completions_ns

FILE = "device.toml"
SIZE_BYTES = 64 << 20
NUMERIC = {"number", "whole number", "time", "time or table", "size", "bandwidth"}
#: Parameters of each model that are right, which together have each of its tables.
CONTENTS = tomllib.loads((Path(__file__).parent / "model_parameters.toml").read_text())
TIME_END_NS = 2**63

HOSTILE: tuple[object, ...] = (
    *(float("inf"), float("-inf"), float("nan"), -1, -0.5, 0, 1, 1e-308, 1e308),
    *(10**18, 2**63 - 1, 2**63, 10**30, True),
    *("0", "-1us", "inf", "1ns", "1000000s", "9223372036s", "1e9s"),
    *("1B", "1000B", "1TiB", "8388607TiB", "1B/s", "1kB/s", "1000TB/s", "8388607TiB/s"),
)


def places(model: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """A description that is right, and the path of a number that may stand in it."""
    for path, key in walk(declared_parameters(model)):
        if key.kind not in NUMERIC:
            continue
        for content in CONTENTS[model]:
            if table_at(content, path) is not None:
                yield content, path


@functools.cache
def all_places() -> list[tuple[str, Mapping[str, Any], str]]:
    return [(model, *place) for model in MODELS for place in places(model)]


@pytest.mark.parametrize("model", MODELS)
def test_every_table_of_a_model_is_tried(model: str) -> None:
    numeric = {path for path, key in walk(declared_parameters(model)) if key.kind in NUMERIC}
    assert numeric <= {path for _, path in places(model)}


def table_at(content: Mapping[str, Any], path: str) -> Any:
    """The table in which the last key of a path stands; None if it is not there."""
    table: Any = content
    for part in path.split(".")[:-1]:
        table = table.get(part.removesuffix("[]"))
        if isinstance(table, list):
            table = table[0] if table else None
        if not isinstance(table, dict):
            return None
    return table


def serve(device: Device) -> None:
    """Have a new device do something of each kind, and see that time goes on."""
    kinds = (Operation.READ, Operation.WRITE, Operation.FLUSH, Operation.DISCARD)
    requests = []
    for number in range(12):
        kind = kinds[number % len(kinds)]
        offset_bytes, length_bytes = (0, 0) if kind is Operation.FLUSH else (number * 65536, 4096)
        requests.append((number * 1000, Request(kind, offset_bytes, length_bytes)))
    done_ns = completions_ns(device, requests)
    assert len(done_ns) == len(requests)
    for arrived_ns, request in requests:
        assert arrived_ns <= done_ns[request] < TIME_END_NS


@settings(max_examples=150)
@given(st.deferred(lambda: st.sampled_from(all_places())), st.sampled_from(HOSTILE))
def test_a_number_is_refused_by_name_or_works(
    place: tuple[str, Mapping[str, Any], str], value: object
) -> None:
    model, content, path = place
    changed = copy.deepcopy(dict(content))
    table_at(changed, path)[path.rpartition(".")[2]] = value
    refusal = None
    try:
        device = from_content({"model": model, "parameters": changed}, FILE, "x").build(
            0, SIZE_BYTES
        )
    except InputError as error:
        refusal = str(error)
    if refusal is not None:
        assert refusal.startswith(FILE)
        assert "\n" not in refusal
        return
    try:
        serve(device)
    except RefusalError:
        assert "zones" in content  # a device with zones may refuse a write elsewhere in one


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("slow_factor", "inf"),
        ("slow_factor", "nan"),
        ("slow_factor", "1e300"),
        ("slow_factor", "-1.0"),
        ("hiccup_probability", "inf"),
        ("hiccup", '"9223372036s"'),
        ("pause", '"-1us"'),
    ],
)
def test_a_perturbation_without_bounds_is_refused(key: str, text: str) -> None:
    content = tomllib.loads(
        f'model = "perturb"\n[parameters]\n{key} = {text}\n'
        '[parameters.device]\ndevice = "constant:10us"\n'
    )
    with pytest.raises(InputError, match=rf"^{FILE}: parameters\.{key} = .*: must be "):
        from_content(content, FILE, "x").build(0)


def test_factors_of_factors_end_before_time_does() -> None:
    member: dict[str, Any] = {"device": "constant:1000000s"}
    for _ in range(7):
        member = {"model": "perturb", "parameters": {"slow_factor": 1e6, "device": member}}
    serve(from_content(member, FILE, "x").build(0))


def test_what_a_model_finds_out_late_names_its_file() -> None:
    text = 'model = "volume"\n[parameters.read]\nfixed = "1us"\n[parameters.write]\nfixed = "1us"\n'
    content = tomllib.loads(f"{text}[parameters.iops]\nbaseline_per_gib = 3\n")
    with pytest.raises(InputError, match=rf"^{FILE}: a volume with limits per GiB"):
        from_content(content, FILE, "x").build(0)
