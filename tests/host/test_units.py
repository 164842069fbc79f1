# SPDX-License-Identifier: GPL-2.0-or-later
"""Units: what is accepted, what is refused and how, and that nothing is ever rounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezingtime.errors import InputError
from freezingtime.units import (
    MAX_VALUE,
    counted,
    format_size_bytes,
    format_time_ns,
    parse_rate_hz,
    parse_size_bytes,
    parse_time_ns,
)


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("0", 0),
        ("0ns", 0),
        ("7ns", 7),
        ("10us", 10_000),
        ("10\u00b5s", 10_000),
        ("10\u03bcs", 10_000),
        ("1.001us", 1_001),
        ("2.5ms", 2_500_000),
        (" 1 s ", 1_000_000_000),
        ("9223372036.854775807s", MAX_VALUE),
    ],
)
def test_parse_time(text: str, time_ns: int) -> None:
    assert parse_time_ns(text) == time_ns


@pytest.mark.parametrize(
    "text", ["", "10", "-1us", "us", "10 parsecs", "1e3us", "1_0us", "10US", "٣us", "1,5us"]
)
def test_a_bad_time_is_named_and_shown_how_to_write(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_time_ns(text)
    assert str(caught.value) == (
        f"bad time {text!r}: write a number and a unit (ns, us, ms, s), such as 10us, 2.5ms or 1s"
    )


def test_a_fraction_of_a_nanosecond_is_refused() -> None:
    with pytest.raises(InputError, match=r"^bad time '1\.0001us': must be a whole number of nano"):
        parse_time_ns("1.0001us")


@pytest.mark.parametrize("text", ["9223372036.854775808s", "9" * 24 + "s"])
def test_a_time_beyond_64_bits_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="at most 9223372036854775807 nanoseconds"):
        parse_time_ns(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("4KiB", 4096),
        ("4kib", 4096),
        ("4K", 4096),
        ("4k", 4096),
        ("4kB", 4000),
        ("4KB", 4000),
        ("1MB", 10**6),
        ("1M", 2**20),
        ("1GB", 10**9),
        ("1GiB", 2**30),
        ("1.5G", 3 * 2**29),
        ("2TiB", 2**41),
        ("2TB", 2 * 10**12),
    ],
)
def test_parse_size(text: str, size_bytes: int) -> None:
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "-1", "4 apples", "KiB", "4KiBs", "0x200"])
def test_a_bad_size_is_named_and_shown_how_to_write(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_size_bytes(text)
    assert str(caught.value) == (
        f"bad size {text!r}: write a number of bytes with an optional unit, "
        "such as 512, 4KiB, 1GiB or 1GB"
    )


def test_a_fraction_of_a_byte_is_refused() -> None:
    with pytest.raises(InputError, match=r"^bad size '0\.3K': must be a whole number of bytes$"):
        parse_size_bytes("0.3K")


@pytest.mark.parametrize(
    ("text", "rate_hz"),
    [("1", 1), ("500M", 500_000_000), ("2.5G", 2_500_000_000), ("4G", 4 * 10**9), ("3k", 3000)],
)
def test_parse_rate(text: str, rate_hz: int) -> None:
    assert parse_rate_hz(text) == rate_hz


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("fast", r"^bad rate 'fast': write .* such as 500M or 2\.5G$"),
        ("1m", r"^bad rate '1m': write "),
        ("0", r"^bad rate '0': must be more than 0"),
        ("0.5", r"^bad rate '0\.5': must be a whole number of events per second$"),
    ],
)
def test_a_bad_rate_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        parse_rate_hz(text)


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "0ns"),
        (999, "999ns"),
        (12_345, "12.345us"),
        (12_000, "12us"),
        (1_000_001, "1.000001ms"),
        (60_000_000_000, "60s"),
        (-1_500, "-1.5us"),
    ],
)
def test_format_time(time_ns: int, text: str) -> None:
    assert format_time_ns(time_ns) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0B"),
        (513, "513B"),
        (1000, "1kB"),
        (4096, "4KiB"),
        (10**9, "1GB"),
        (2**30, "1GiB"),
        (2**40 + 512, "1099511628288B"),
        (2**20 * 1000, "1000MiB"),
    ],
)
def test_format_size(size_bytes: int, text: str) -> None:
    assert format_size_bytes(size_bytes) == text


@given(st.integers(min_value=0, max_value=MAX_VALUE))
def test_a_time_survives_being_written_and_read(time_ns: int) -> None:
    assert parse_time_ns(format_time_ns(time_ns)) == time_ns


@given(st.integers(0, 10**6), st.sampled_from([1, 512, 1000, 2**20, 10**9, 2**40]))
def test_a_size_survives_being_written_and_read(count: int, unit_bytes: int) -> None:
    assert parse_size_bytes(format_size_bytes(count * unit_bytes)) == count * unit_bytes


@given(st.text(), st.sampled_from([parse_time_ns, parse_size_bytes, parse_rate_hz]))
def test_any_text_is_parsed_or_refused_by_name(text: str, parse: object) -> None:
    """No text may raise anything but InputError; what is accepted is in range."""
    assert callable(parse)
    try:
        value = parse(text)
    except InputError as error:
        assert repr(text) in str(error)  # noqa: PT017 -- either outcome is right
    else:
        assert 0 <= value <= MAX_VALUE


def test_things_are_counted_in_words() -> None:
    assert counted(1, "point") == "1 point"
    assert counted(0, "point") == "0 points"
    assert counted(1234, "request", grouped=True) == "1,234 requests"
