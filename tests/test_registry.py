"""Descriptions: nesting, own models, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from freezingtime.device.registry import describe
from freezingtime.errors import InputError
from freezingtime.request import Operation, Request

OWN_MODEL = '''
from freezingtime.device.base import TimedDevice


class Doubling(TimedDevice):
    """Every request takes twice as long as the one before it."""

    def __init__(self, seed):
        super().__init__()
        self.service_ns = 1000 + seed

    def completion_ns(self, request, now_ns):
        self.service_ns *= 2
        return now_ns + self.service_ns
'''

NESTED = """
summary = "a mirror of stripes of one's own"
class = "example"
capacity = "1GiB"
model = "mirror"
[[parameters.member]]
model = "stripe"
[parameters.member.parameters]
chunk = "64KiB"
count = 2
[[parameters.member.parameters.member]]
device = "{own}"
[[parameters.member]]
device = "{own}"
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(OWN_MODEL)
    return f"{path}:Doubling"


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "device.toml"
    path.write_text(text)
    return str(path)


def test_own_model_gets_the_seed(own: str) -> None:
    device = describe(own).build(7)
    device.submit(Request(Operation.READ, 0, 512), 0)
    assert device.next_event_ns() == 2 * 1007


def test_compositions_nest_in_one_file(own: str, tmp_path: Path) -> None:
    description = describe(write(tmp_path, NESTED.format(own=own)))
    assert description.capacity_bytes == 1 << 30
    device = description.build(0)
    write_all = Request(Operation.WRITE, 0, 128 * 1024)
    device.submit(write_all, 0)
    completed = []
    while (event_ns := device.next_event_ns()) is not None:
        completed += device.advance(event_ns)
    assert completed == [write_all]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('model = "warp"', "model = 'warp': must be one of: "),
        ("summary = 'x'", "model: is missing"),
        ('model = "mirror"', "parameters.member: needs at least 2 members"),
        ('model = "stripe"\nspeed = 3', "speed: unknown key; allowed: assumed, capacity"),
        ('model = "stripe"\n[parameters]\nchunk = 64', "parameters.chunk = 64: must be a size"),
        ('model = "stripe"\n[parameters]\nchunk = "-1"', "parameters.chunk = '-1': must be a size"),
        (
            'model = "perturb"\n[parameters]\npause = "2us"\npause_every = "1us"\n'
            '[parameters.device]\nmodel = "stripe"',
            "parameters.device.parameters.member: needs at least 1 members",
        ),
        ("model = ", "not TOML: "),
    ],
)
def test_mistakes_are_named_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        describe(path).build(0)
    assert str(caught.value).startswith(f"{path}: {said}"), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nosuch", "unknown device 'nosuch'; there is: "),
        ("missing.toml", "missing.toml: No such file"),
        ("json:Nothing", "json:Nothing: json has no class 'Nothing'"),
        ("no_such_module:X", "no_such_module:X: cannot load no_such_module: "),
        ("json:JSONDecoder", "json:JSONDecoder: "),
    ],
)
def test_unknown_devices_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        describe(text).build(0)
    assert str(caught.value).startswith(said), caught.value
