# SPDX-License-Identifier: GPL-2.0-or-later
"""Times of traces: their units, and clocks that go back."""

from __future__ import annotations

from pathlib import Path

import pytest

from freezingtime.errors import InputError
from freezingtime.trace.readers import HintOptions, parse_hints
from tests.trace.readerlib import complaint, read, told

# Each: what a file has as times, the unit that must be taken, and what of that is said.
TIME_UNITS_FOUND = [
    ("time", "1764361234", "1764361235", 10**9, "time in s, inferred from its size"),
    ("time", "1764361234123", "1764361234124", 10**6, "time in ms, inferred from its size"),
    ("timestamp", "1600000000000000", "1600000000000001", 10**3, "timestamp in us, inferred"),
    ("ts", "1764361234123456789", "1764361234123456790", 1, "ts in ns, inferred from its size"),
    ("Timestamp", "128166372003061629", "128166372003061630", 100, "Timestamp in 100ns, inferred"),
    ("time", "12.5", "13.5", 10**9, "time in s, assumed without a unit (--time-unit)"),
    ("Time (us)", "7", "8", 10**3, ""),
    ("time_sec", "7", "8", 10**9, ""),
    ("Times", "1764361234123", "1764361234124", 10**6, "Times in ms, inferred from its size"),
]


@pytest.mark.parametrize(("name", "first", "second", "unit_ns", "says"), TIME_UNITS_FOUND)
def test_unit_of_times_is_found_and_said(
    name: str, first: str, second: str, unit_ns: int, says: str, tmp_path: Path
) -> None:
    text = f"{name},op,offset,size\n{first},R,0,512\n{second},R,0,512\n"
    assert [row.arrival_ns for row in read(tmp_path, text)] == [0, unit_ns]
    assert says in told(tmp_path, text).summary


def test_unit_of_times_can_be_said(tmp_path: Path) -> None:
    text = "time,op,offset,size\n0,R,0,512\n1000,R,0,512\n"
    assert complaint(tmp_path, text) == (
        "trace: has a request every 1000 s, if its times are in s; give their "
        "unit with --time-unit: s, ms, us, 100ns, ns"
    )
    for unit, unit_ns in {"s": 10**9, "ms": 10**6, "us": 10**3, "100ns": 100, "ns": 1}.items():
        hints = parse_hints(HintOptions(time_unit=unit))
        assert read(tmp_path, text, hints=hints)[1].arrival_ns == 1000 * unit_ns
        assert f"time in {unit}, as given" in told(tmp_path, text, hints=hints).summary
    with pytest.raises(InputError, match="--time-unit h: must be one of: s, ms, us, 100ns, ns"):
        parse_hints(HintOptions(time_unit="h"))


def test_unit_in_a_name_is_held_to_the_times(tmp_path: Path) -> None:
    text = "timestamp_ms,op,offset,size\n1600000000000000,R,0,512\n"
    assert complaint(tmp_path, text) == (
        "trace:2: timestamp_ms '1600000000000000': is a present-day time in us, not in ms; "
        "rename the column to its unit"
    )
    far = "timestamp_s,op,offset,size\n0,R,0,512\n200000,R,0,512\n"
    assert complaint(tmp_path, far).startswith("trace: has a request every 2.315 days, by")


# Each: times in us, what they are taken for, and what of that is said.
TIMES_THAT_GO_BACK = {
    "once more": ([0, 10, 20, 0, 10, 20, 30], [0, 10, 20, 30, 40, 50, 60], "2 traces in succ"),
    "thrice": (
        [5, 15, 25, 5, 15, 25, 6, 16, 26],
        [0, 10, 20, 30, 40, 50, 60, 70, 80],
        "3 traces in succession",
    ),
    "in order of completion": (
        [10, 20, 30, 0, 40, 50, 60],
        [0, 10, 20, 30, 40, 50, 60],
        "sorted by time: 1 request came after later ones, by up to 30 us",
    ),
    "disorder": ([0, 20, 10, 30], [0, 10, 20, 30], "1 request came after later ones, by up to"),
    "elsewhere": ([100, 120, 10, 20, 30], [0, 10, 20, 90, 110], "sorted by time: 3 requests"),
    "wraps": (
        [2**32 - 20, 2**32 - 10, 0, 10, 5],
        [0, 10, 20, 25, 30],
        "a clock of 32 bits of us wraps once: time continues there",
    ),
    "disorder at the wrap": (
        [2**32 - 20, 0, 2**32 - 10, 10],
        [0, 10, 20, 30],
        "a clock of 32 bits of us wraps",
    ),
}


@pytest.mark.parametrize("name", TIMES_THAT_GO_BACK)
def test_times_that_go_back_are_understood_and_said(name: str, tmp_path: Path) -> None:
    times_us, expected_us, says = TIMES_THAT_GO_BACK[name]
    text = "".join(["time_us,op,offset,size\n", *(f"{at},R,0,512\n" for at in times_us)])
    assert [row.arrival_ns for row in read(tmp_path, text)] == [1000 * at for at in expected_us]
    reading = told(tmp_path, text)
    assert any(says in note for note in reading.notes), reading.notes
    assert "in order of arrival" not in reading.summary
