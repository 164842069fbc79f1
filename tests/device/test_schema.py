# SPDX-License-Identifier: GPL-2.0-or-later
"""A model's parameters are declared once: reading, reference, listing and schema follow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import field
from website.model_page import models_page

from freezingtime.calibrate.fit.device_toml import device_toml
from freezingtime.device.base import Device
from freezingtime.device.catalogue_search import catalogue_entry, catalogue_names
from freezingtime.device.constant import ConstantDevice
from freezingtime.device.description import Description
from freezingtime.device.model_parameters import Making, ModelParameters
from freezingtime.device.parameters import Table, content_of
from freezingtime.device.registry import (
    MODELS,
    declared_parameters,
    defaults_of,
    describe,
    from_content,
)
from freezingtime.device.schema import Bandwidth, Parameters, SizeBytes, TimeNs, key
from freezingtime.device.toml.json_schema import SCHEMA_FILE, SCHEMA_LINE, device_schema
from freezingtime.device.toml.toml_file import parse_toml
from freezingtime.errors import InputError

FILE = "device.toml"
Devices = Callable[[type[ModelParameters]], None]


class Arm(Parameters, frozen=True, kw_only=True):
    """What moves."""

    swing_ns: Annotated[TimeNs, key("a swing", least=1000, most=10**6)]
    teeth: Annotated[int, key("its teeth", least=1, most=32)] = 8


class Arms(ModelParameters, frozen=True, kw_only=True):
    """A machine."""

    arm: Arm
    spare: Arm | None = None
    reach_bytes: Annotated[SizeBytes, key("how far it goes")] = field(default=4096, name="range")
    rate_bytes_per_s: Annotated[Bandwidth, key("how fast", missing="any")] | None = None
    mood: Annotated[Literal["calm", "wild"], key("how it is")] = "calm"

    def make(self, _making: Making) -> Device:
        swing_ns = self.arm.swing_ns * self.arm.teeth
        return ConstantDevice(read_ns=swing_ns, write_ns=0, flush_ns=0, discard_ns=0)


class LouderArms(Arms, frozen=True, kw_only=True):
    """The same, with another default and another text."""

    mood: Annotated[Literal["calm", "wild"], key("how loud it is")] = "wild"


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Devices:
    """Makes a declared model the model ``arms``."""

    def declare(declared: type[ModelParameters]) -> None:
        monkeypatch.setitem(MODELS, "arms", f"{__name__}:{declared.__name__}")

    return declare


def described(**parameters: Any) -> dict[str, Any]:
    return {"model": "arms", "parameters": {"arm": {"swing": "2us"}, **parameters}}


def property_of(schema: Mapping[str, Any], table: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schema["definitions"][table]["properties"][name]
    return found


def test_the_catalogue_has_the_schema_that_its_files_name() -> None:
    """A clone and an installed package have it, as it is now: ``make schema`` writes it."""
    directory = resources.files("freezingtime.device.catalogue")
    written = directory.joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    assert written == json.dumps(device_schema(), indent=2) + "\n", "run 'make schema'"


@pytest.mark.parametrize(
    ("declared", "default", "text"),
    [(Arms, "calm", "how it is"), (LouderArms, "wild", "how loud it is")],
)
def test_one_place_for_defaults_and_texts(
    declare: Devices, declared: type[ModelParameters], default: str, text: str
) -> None:
    declare(declared)
    description = from_content(described(), FILE, "x")
    assert description.build(0)
    assert ("mood", default, text) in list(defaults_of(description))
    assert f"| `mood` | word | calm, wild | `{default}` | {text} |" in models_page()
    assert content_of(declared(arm=Arm(swing_ns=2000)))["mood"] == default
    mood = property_of(device_schema(), declared.__name__, "mood")
    assert mood == {"enum": ["calm", "wild"], "description": text, "default": default}


def test_what_is_declared_is_written_by_its_declared_name() -> None:
    spare = Arm(swing_ns=1500, teeth=3)
    arms = Arms(arm=Arm(swing_ns=2000), spare=spare, reach_bytes=512, rate_bytes_per_s=5_000_000)
    content = content_of(arms)
    assert content == {
        "arm": {"swing": "2us", "teeth": 8},
        "spare": {"swing": "1.5us", "teeth": 3},
        "range": "512B",
        "rate": "5MB/s",
        "mood": "calm",
    }
    assert Table(content, FILE).read(Arms) == arms


# Of flash, mapping.gc_idle must not be written without its partner, not even at its default.
@pytest.mark.parametrize(
    "description",
    [entry for entry in map(describe, catalogue_names()) if entry.content["model"] != "flash"],
    ids=lambda entry: entry.name,
)
def test_the_catalogues_parameters_are_written_as_they_are_read(description: Description) -> None:
    declared = declared_parameters(description.content["model"])
    read = Table(description.content["parameters"], FILE).read(declared)
    written = content_of(read)
    assert content_of(Table(written, FILE).read(declared)) == written
    again = parse_toml(device_toml({"parameters": written}), FILE)["parameters"]
    assert again == written


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"arm": {"swing": "2ms"}}, "arm.swing = '2ms': must be at most 1ms"),
        ({"arm": {"swing": "2ns"}}, "arm.swing = '2ns': must be at least 1us"),
        ({"arm": {"swing": 2}}, 'arm.swing = 2: must be a time such as "75us"'),
        ({"arm": {}}, 'arm.swing: is missing; it must be a time such as "75us"'),
        ({"arm": 3}, "arm = 3: must be a table: [parameters.arm]"),
        (
            {"arm": {"swing": "2us", "teeth": 33}},
            "arm.teeth = 33: must be a whole number from 1 to 32",
        ),
        (
            {"arm": {"swing": "2us", "tooth": 3}},
            "arm.tooth: unknown key; did you mean teeth? allowed: swing, teeth",
        ),
        ({"mood": "mild"}, "mood = 'mild': must be one of: calm, wild"),
        ({"rate": "1B/s"}, "rate = '1B/s': must be at least 1kB/s"),
        ({"range": True}, 'range = True: must be a size such as "16KiB"'),
        ({"spare": {}}, 'spare.swing: is missing; it must be a time such as "75us"'),
    ],
)
def test_a_bad_value_is_named_with_its_path(
    declare: Devices, parameters: dict[str, Any], said: str
) -> None:
    declare(Arms)
    with pytest.raises(InputError) as caught:
        from_content(described(**parameters), FILE, "x").build(0)
    assert str(caught.value) == f"{FILE}: parameters.{said}"


def test_what_is_left_out_is_what_holds(declare: Devices) -> None:
    declare(Arms)
    assert list(defaults_of(from_content(described(range="1KiB"), FILE, "x"))) == [
        ("arm.teeth", "8", "its teeth"),
        ("rate", "any", "how fast"),
        ("mood", "calm", "how it is"),
    ]


def test_the_schema_says_kinds_ranges_and_defaults(declare: Devices) -> None:
    declare(Arms)
    schema = device_schema()
    assert json.loads(json.dumps(schema)) == schema
    teeth = {"type": "integer", "minimum": 1, "maximum": 32}
    about = {"description": "its teeth", "default": 8}
    assert property_of(schema, "Arm", "teeth") == teeth | about
    assert property_of(schema, "Arms", "range")["default"] == "4KiB"
    assert schema["definitions"]["Arms"]["required"] == ["arm"]
    assert {one["properties"]["model"]["const"] for one in schema["oneOf"]} == set(MODELS)


def contents() -> list[tuple[str, dict[str, Any]]]:
    """The catalogue's descriptions, and those of the tests of every model."""
    path = Path(__file__).parent / "model_parameters.toml"
    of_models = parse_toml(path.read_text(), str(path))
    return [
        *((name, parse_toml(catalogue_entry(name), name)) for name in catalogue_names()),
        *(
            (model, {"model": model, "parameters": parameters})
            for model, cases in of_models.items()
            for parameters in cases
        ),
    ]


def test_every_file_of_the_catalogue_names_the_schema() -> None:
    for name in catalogue_names():
        assert catalogue_entry(name).startswith(f"{SCHEMA_LINE}\n"), name


def test_what_is_right_fits_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft7Validator(device_schema())
    for name, content in contents():
        assert not list(validator.iter_errors(content)), name


def test_what_is_wrong_does_not_fit_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft7Validator(device_schema())
    content = parse_toml(catalogue_entry("wd-dc-960gb-steady"), "x")
    for change in ({"sumary": "x"}, {"model": "flsh"}, {"parameters": {}}):
        assert not validator.is_valid(content | change), change
    content["parameters"]["array"]["channels"] = 0
    assert not validator.is_valid(content)
