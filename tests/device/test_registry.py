# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptions: nesting, own models, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from freezingtime.device import own_model
from freezingtime.device.registry import describe, search_catalogue
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


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files may name code, as with ``--allow-code``."""
    monkeypatch.setattr(own_model, "_is_code_allowed", True)


@pytest.mark.usefixtures("trusted")
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
        ('model = "stripe"\nspeed = 3', "speed: unknown key; allowed: assumed, at, capacity"),
        ('model = "stripe"\n[parameters]\nchunk = 64', "parameters.chunk = 64: must be a size"),
        ('model = "stripe"\n[parameters]\nchunk = "-1"', "parameters.chunk = '-1': must be a size"),
        (
            'model = "perturb"\n[parameters]\npause = "2us"\npause_every = "1us"\n'
            '[parameters.device]\nmodel = "stripe"',
            "parameters.pause = '2us': must be shorter than pause_every",
        ),
        (
            'model = "perturb"\n[parameters.device]\nmodel = "stripe"',
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
        (
            "nosuch",
            "unknown device 'nosuch'; 'freezingtime devices PATTERN' searches the catalogue",
        ),
        (
            "samsng-870-evo",
            "unknown device 'samsng-870-evo'; did you mean samsung-870-evo-1tb or samsung-",
        ),
        ("OPTANE", "unknown device 'OPTANE'; did you mean intel-optane-p4800x-750gb or intel-opta"),
        ("constant", "device 'constant' needs a time: constant:10us, or constant:read=10us"),
        ("constant:10us,10us", "10us: a time is given twice; keep one"),
        ("constant:read=10us,size=1us", "unknown key 'size'; the device 'constant' has read"),
        ("constant:read=1h", "read=1h: bad time '1h': write a number and a unit"),
        ("constant:2000000s", "2000000s: a device's time must be at most 1000000s"),
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


MIRROR = """
model = "mirror"
[[parameters.member]]
device = "{first}"
[[parameters.member]]
device = "{second}"
"""


@pytest.mark.usefixtures("trusted")
def test_members_are_beside_the_file_that_names_them(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory of descriptions works from anywhere, also through several of them."""
    shelf = tmp_path / "shelf" / "parts"
    shelf.mkdir(parents=True)
    Path(own.partition(":")[0]).rename(shelf / "mine.py")
    (shelf / "half.toml").write_text(MIRROR.format(first="mine.py:Doubling", second="constant:3us"))
    whole = shelf.parent / "whole.toml"
    whole.write_text(MIRROR.format(first="parts/half.toml", second="constant:read=1us,write=5us"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for directory in (shelf.parent, elsewhere):
        monkeypatch.chdir(directory)
        named = whole if directory == elsewhere else Path(whole.name)
        device = describe(str(named)).build(0)
        device.submit(Request(Operation.WRITE, 0, 4096), 0)
        times_ns = []
        while (event_ns := device.next_event_ns()) is not None:
            times_ns.append(event_ns)
            device.advance(event_ns)
        assert times_ns[-2:] == [3000, 5000]


def test_a_member_that_is_not_there_is_named_by_its_whole_path(tmp_path: Path) -> None:
    path = write(tmp_path, MIRROR.format(first="nosuch.toml", second="constant:1us"))
    with pytest.raises(InputError) as caught:
        describe(path).build(0)
    assert f"{tmp_path / 'nosuch.toml'}: No such file" in str(caught.value)


def test_a_constant_device_is_described_as_any_other() -> None:
    description = describe("constant:10us,flush=1ms")
    assert description.content["parameters"] == {
        **{"read": "10us", "write": "10us"},
        **{"flush": "1ms", "discard": "10us"},
    }
    device = description.build(0)
    device.submit(Request(Operation.FLUSH, 0, 0), 5)
    assert device.next_event_ns() == 1_000_005


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("optane", ["intel-optane-p4800x-750gb", "intel-optane-p5800x-1.6tb"]),
        ("intel-optane-*", ["intel-optane-p4800x-750gb", "intel-optane-p5800x-1.6tb"]),
        ("SHINGLED", ["seagate-archive-st8000as0002-8tb"]),
    ],
)
def test_the_catalogue_can_be_searched(pattern: str, names: list[str]) -> None:
    assert [device.name for device in search_catalogue(pattern)] == names


def test_a_search_without_a_match_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no device matches 'aws-pg3'; did you mean aws-gp3"):
        search_catalogue("aws-pg3")
