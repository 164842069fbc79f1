# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules of faults as their users write them: read, refused in one line, and written again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.device.faults.places import Sectors
from freezingtime.device.faults.rule import FaultTable
from freezingtime.device.faults.rule_text import parse_rule, rule_text
from freezingtime.device.faults.sector_set import SectorSet
from freezingtime.device.parameters import content_of
from freezingtime.disk.disk import Disk
from freezingtime.disk.faults import with_faults
from freezingtime.disk.identity import disk_identity
from freezingtime.disk.spec import check_disk, parse_disk, read_option
from freezingtime.errors import InputError

few = settings(max_examples=50, deadline=None)
TIMES = st.integers(1, 10**12).map(lambda ns: f"{ns}ns")


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """Tables of rules that are right."""
    rule: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"error": "EIO"},
                {"error": "ENOSPC", "operation": "write_zeroes+write"},
                {"error": "timeout", "operation": "flush"},
                {"unreadable": True, "heals": False, "sectors": "8..15/64"},
                {"unreadable": True, "sectors": 7},
                {"slow": 2.5},
                {"slow": 3, "size": "4KiB"},
                {"slow_by": "1ms..5ms", "operation": "read+discard"},
                {"slow_distribution": {"kind": "lognormal", "mean": "1ms", "p99": "5ms"}},
                {"hang": True, "for": "5ms", "every": "1s"},
                {"hang": True, "until": "5s"},
                {"read_only": True},
                {"flip": 3, "size": "4KiB"},
                {"lose": True, "operation": "discard"},
                {"torn": True},
                {"misdirect": 8, "operation": "read+write"},
            ]
        )
    )
    rule = dict(rule)
    if "hang" not in rule:
        rule |= draw(
            st.sampled_from(
                [
                    {},
                    {"nth": 3},
                    {"nth": 2, "for": "1s", "count": 4},
                    {"after_flush": 2, "count": 1},
                ]
            )
        )
        if "nth" not in rule:
            rule["probability"] = draw(st.floats(0.0, 1.0))
    if "until" not in rule:
        rule["from"] = draw(TIMES)
    return rule


def refusal_of(read: Callable[[], object]) -> str:
    """The error's text; empty if there is none."""
    try:
        read()
    except InputError as error:
        return str(error)
    return ""


@few
@given(rules())
def test_a_rule_is_the_same_as_a_table_and_as_text(rule: dict[str, Any]) -> None:
    assert parse_rule(rule_text(rule)) == rule
    of_table = check_disk(Disk("constant:1us", faults=[rule])).device
    text = Disk("constant:1us", name="d", faults=[rule, rule_text(rule)]).spec
    of_text = parse_disk(text).device
    contents = [content_of(each.rule) for each in (*of_table.faults, *of_text.faults)]
    assert contents == [contents[0]] * 3
    assert of_text.fault_texts == (rule_text(rule),) * 2


@few
@given(st.text(max_size=60) | st.lists(st.sampled_from(list("=.,/aeorsn01 []\"'\n")), max_size=30))
def test_any_text_is_a_rule_or_refused(given_text: str | list[str]) -> None:
    text = given_text if isinstance(given_text, str) else "".join(given_text)
    refusal = refusal_of(lambda: FaultTable(parse_rule(text), "--fault").given())
    assert "\n" not in refusal


@few
@given(
    st.dictionaries(
        st.sampled_from(
            [
                *("error", "unreadable", "slow", "slow_by", "hang", "sectors", "size"),
                *("read_only", "flip", "lose", "torn", "misdirect"),
                *("operation", "from", "until", "for", "every", "nth", "after_flush"),
                *("probability", "count"),
            ]
        ),
        st.integers() | st.floats() | st.booleans() | st.text(max_size=12) | st.just([1]),
    )
)
def test_any_values_are_a_rule_or_refused(rule: dict[str, Any]) -> None:
    refusal = refusal_of(lambda: FaultTable(rule, "a.toml", "fault[1].").given())
    assert not refusal or refusal.startswith("a.toml: fault[1].")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("eror=EIO", "eror: unknown key; did you mean error? allowed: "),
        ("error=EIEIO", "error = 'EIEIO': must be one of: EIO, ENOSPC, timeout"),
        ("operation=read", "error: say how it fails: give one of error, unreadable, read_"),
        ("error=EIO,hang,for=1s", "hang = True: goes not with error; write two rules"),
        ("error=EIO,operation=reed", "operation = 'reed': did you mean read? must be some of "),
        ("error=EIO,operation=read+read", "operation = 'read+read': must be some of read, write"),
        ("error=ENOSPC,operation=read", "operation = 'read': error is of these: write, write_zer"),
        ("unreadable,operation=write", "operation = 'write': unreadable is of these: read"),
        ("error=EIO,operation=flush,sectors=0", "sectors = 0: a flush has no range; write two"),
        ("error=EIO,sectors=9..8", "sectors = '9..8': the last sector must not be below"),
        ("error=EIO,sectors=0..8/8", "sectors = '0..8/8': the number behind the slash must be"),
        ("error=EIO,sectors=-1", "sectors = -1: must be sectors of 512 bytes such as"),
        ("error=EIO,size=100", "size = 100: must be a size such as"),
        ("error=EIO,size=8KiB..4KiB", "size = '8KiB..4KiB': the second end must not be below"),
        ("error=EIO,size=1B", "size = '1B': must be at least 512 bytes"),
        ("error=EIO,probability=1.5", "probability = 1.5: must be a number from 0 to 1"),
        ("error=EIO,probability=-0.5", "probability = -0.5: must be a number from 0 to 1"),
        ("error=EIO,nth=0", "nth = 0: must be a whole number from 1 to "),
        ("error=EIO,after_flush=0", "after_flush = 0: must be a whole number from 1 to "),
        ("error=EIO,count=0", "count = 0: must be a whole number from 1 to "),
        ("error=EIO,nth=2,count=1", "count = 1: goes not with nth; leave one out"),
        ("error=EIO,nth=2,after_flush=1", "after_flush = 1: goes not with nth; leave one out"),
        ("error=EIO,from=2s,until=2s", "until = '2s': must be after from, 2s"),
        ("error=EIO,for=1s,until=2s", "until = '2s': goes not with for, unless there is every"),
        ("error=EIO,every=1s", "every = '1s': needs a span: add for"),
        ("error=EIO,every=1s,for=1s", "for = '1s': must be shorter than every"),
        ("error=EIO,from=soon", "from = 'soon': must be a time such as"),
        ("error=EIO,heals=false", "heals = False: is only for unreadable sectors; leave it out"),
        ("hang", "hang = True: needs an end: add for, or until"),
        ("hang,for=1s,probability=0.5", "probability = 0.5: goes not with hang; leave one out"),
        ("flip=0", "flip = 0: must be a whole number from 1 to 4096"),
        ("misdirect=-8", "misdirect = -8: must be a whole number from 1 to "),
        ("torn,operation=discard", "operation = 'discard': torn is of these: write, write_zeroes"),
        ("lose,operation=read", "operation = 'read': lose is of these: write, discard, write_z"),
        ("flip=1,torn", "torn = True: goes not with flip; write two rules"),
        ("slow=0.5", "slow = 0.5: must be a number from 1 to 1e+06"),
        ("slow_by=-1ms", "slow_by = '-1ms': must be a time such as"),
        ("slow_distribution=1", "slow_distribution = 1: must be a table"),
        ("slow_distribution.kind=flat", "slow_distribution.kind = 'flat': must be one of: const"),
        ("slow_distribution.kind=gamma", "slow_distribution.mean: is missing; it must be a time"),
        ("unreadable=no", "unreadable = 'no': must be true or false"),
        ("error=", "'error=': write KEY=VALUE,..., such as error=EIO,operation=read"),
        ("", "'': write KEY=VALUE,..."),
        ("error=EIO,error=EIO", "error: is given twice; keep one"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_place(rule: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        with_faults(["constant:1us"], [rule])
    assert str(refused.value).startswith(f"--fault {rule}: {message}")
    with pytest.raises(InputError, match=re.escape(message)):
        check_disk(Disk("constant:1us", faults=[rule]))


def write_device(path: Path, faults: str) -> Path:
    path.write_text(f'model = "constant"\n[parameters]\nread = "1us"\n{faults}')
    return path


def test_rules_in_a_file_are_refused_with_file_key_and_value(tmp_path: Path) -> None:
    path = write_device(
        tmp_path / "bad.toml", '[[fault]]\nhang = true\nfor = "1s"\n[[fault]]\nnth = 0'
    )
    with pytest.raises(InputError, match=r"bad\.toml: fault\[2\]\.nth = 0: must be a whole number"):
        parse_disk(str(path))
    path = write_device(tmp_path / "bad.toml", 'fault = "EIO"\n')
    with pytest.raises(InputError, match=r"bad\.toml: parameters.fault: unknown key"):
        parse_disk(str(path))
    path.write_text('model = "constant"\nfault = "EIO"\n')
    for disk in (str(path), f"{path},fault=hang\\,for=1s"):
        with pytest.raises(InputError, match=r"bad\.toml: fault = 'EIO': must be a list of tables"):
            parse_disk(disk)


def test_sectors_beyond_the_disk_are_refused(tmp_path: Path) -> None:
    path = write_device(tmp_path / "d.toml", '[[fault]]\nerror = "EIO"\nsectors = "2000..2048"\n')
    device = parse_disk(str(path)).device
    device.build(0, 2049 * 512)
    with pytest.raises(
        InputError,
        match=r"d\.toml: fault\[1\]\.sectors = '2000\.\.2048': the disk's "
        r"last sector is 2047",
    ):
        device.build(0, 2048 * 512)


def test_rules_of_a_disk_come_behind_those_of_its_file_and_their_keys_can_be_set(
    tmp_path: Path,
) -> None:
    path = write_device(tmp_path / "d.toml", '[[fault]]\nerror = "EIO"\nprobability = 0.5\n')
    text = f"{path},fault[1].probability=0.25,fault[2].slow=7,fault=slow=2\\,nth=3,size=1GiB"
    for disk in (
        parse_disk(text),
        check_disk(read_option(text)),
        parse_disk(read_option(text).spec),
    ):
        assert disk.device.fault_texts == ("error=EIO,probability=0.25", "slow=7,nth=3")
        assert disk.device.settings()["fault"] == disk.device.content["fault"]
    with pytest.raises(
        InputError, match=r"fault\[3\]\.slow: there is no fault\[3\]; .* has 2 of them"
    ):
        parse_disk(f"{text},fault[3].slow=2")
    with pytest.raises(InputError, match=r"parameters\.fault: unknown key"):
        parse_disk(f"{path},parameters.fault=1")


def test_a_fault_is_part_of_a_disk_s_identity() -> None:
    plain, failing, other = (
        disk_identity(check_disk(Disk("constant:1us", faults=faults)))
        for faults in ([], ["error=EIO"], ["error=EIO,nth=1"])
    )
    assert plain["device"] != failing["device"] != other["device"] != plain["device"]


def test_own_code_can_fail(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from freezingtime.device.constant import ConstantDevice\n"
        "class Mine(ConstantDevice):\n"
        "    def __init__(self, seed):\n"
        "        super().__init__(read_ns=1, write_ns=1, flush_ns=1, discard_ns=1)\n"
    )
    name = f"{tmp_path}/mine.py:Mine"
    plain, failing = parse_disk(name), parse_disk(f"{name},fault=error=EIO")
    assert failing.device.fault_texts == ("error=EIO",)
    assert plain.device.identity() != failing.device.identity()


def test_a_part_of_a_composition_does_not_fail(tmp_path: Path) -> None:
    write_device(tmp_path / "part.toml", '[[fault]]\nerror = "EIO"\n')
    whole = tmp_path / "whole.toml"
    whole.write_text(
        'model = "mirror"\n[[parameters.member]]\ndevice = "part.toml"\n' * 1
        + '[[parameters.member]]\ndevice = "part.toml"\n'
    )
    with pytest.raises(
        InputError,
        match=r"member\[1\]\.device = 'part.toml': has faults, and is a part: compositions have no "
        r"answer to a part's error; give them to the whole device, or hold the part up with the "
        r"model perturb$",
    ):
        parse_disk(str(whole)).device.build(0, 2**20)


def test_the_option_finds_its_disk() -> None:
    data, log = "constant:1us,name=data", Disk("constant:1us")
    assert with_faults([data], ["error=EIO,nth=1"]) == [f"{data},fault=error=EIO\\,nth=1"]
    changed = with_faults([data, log], ["disk2:hang,for=1s", "data:slow=2", "disk2:slow=3"])
    assert changed == [
        f"{data},fault=slow=2",
        Disk("constant:1us", faults=("hang,for=1s", "slow=3")),
    ]
    for disks, rule, message in [
        ([], "slow=2", "there is no disk; add --disk"),
        ([data, log], "slow=2", "say of which disk, such as data:RULE; there are data, disk2"),
        ([data, log], "date:slow=2", "there is no disk 'date'; did you mean data? available: data"),
    ]:
        with pytest.raises(InputError, match=re.escape(f"--fault {rule}: {message}")):
            with_faults(disks, [rule])


@few
@given(
    st.integers(0, 30),
    st.integers(0, 9),
    st.integers(0, 20),
    st.integers(0, 60),
    st.integers(1, 40),
)
def test_sectors_within_a_range(first: int, more: int, gap: int, start: int, count: int) -> None:
    last, end = first + more, start + count
    once, repeated = Sectors(first, last), Sectors(first, last, last + 1 + gap)
    for sectors, is_in in [
        (once, lambda sector: first <= sector <= last),
        (repeated, lambda sector: first <= sector % repeated.period <= last),
    ]:
        found = [sector for run in sectors.within(start, end) for sector in range(*run)]
        assert found == [sector for sector in range(start, end) if is_in(sector)]


@few
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40), st.integers(1, 12)), max_size=30))
def test_a_set_of_sectors_is_a_set(changes: list[tuple[bool, int, int]]) -> None:
    sectors, expected = SectorSet(), set[int]()
    for adds, first, count in changes:
        wanted = range(first, first + count)
        assert sectors.has_some(first, first + count) == bool(expected & set(wanted))
        assert sectors.has_all(first, first + count) == (set(wanted) <= expected)
        if adds:
            sectors.add(first, first + count)
            expected |= set(wanted)
        else:
            sectors.remove(first, first + count)
            expected -= set(wanted)
        for sector in range(55):
            assert sectors.has_some(sector, sector + 1) == (sector in expected)
