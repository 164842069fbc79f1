# SPDX-License-Identifier: GPL-2.0-or-later
"""Closed standard streams: what would go there goes nowhere, and nothing else does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from freezingtime.cli.output.standard_streams import prepare_standard_streams
from tests.conftest import RunProgram

REPLAY = ("replay", "--workload", "randread,bs=4k,qd=1,count=10", "--device", "constant:100us")


def closing(redirection: str) -> list[str]:
    """A command that runs the program with a stream closed."""
    return ["sh", "-c", f'exec "$@" {redirection}', "sh"]


CLOSED = [">&-", "2>&-", "<&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize(
    ("arguments", "redirection"),
    [
        *((("devices",), redirection) for redirection in CLOSED),
        *((arguments, CLOSED[-1]) for arguments in (REPLAY, ("runs", "."))),
    ],
)
def test_a_closed_stream_is_an_open_one_that_goes_nowhere(
    freezingtime: RunProgram, tmp_path: Path, arguments: tuple[str, ...], redirection: str
) -> None:
    plain = freezingtime(*arguments, cwd=tmp_path)
    ended = freezingtime(*arguments, prefix=closing(redirection), cwd=tmp_path)
    assert ended.returncode == plain.returncode == 0
    assert ended.stdout == ("" if " >&-" in f" {redirection}" else plain.stdout)
    assert ended.stderr == ("" if "2>&-" in redirection else plain.stderr)


def test_a_reader_that_has_gone_is_noticed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the stream at the end would fail again, which Python 3.13 prints."""
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    monkeypatch.setattr(sys, "stderr", sys.stderr)  # to have it back
    with os.fdopen(write_fd, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        prepare_standard_streams()
        sys.stdout.write("words")
        with pytest.raises(BrokenPipeError):
            sys.stdout.flush()
        sys.stdout.close()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_has_not_is_escaped(
    freezingtime: RunProgram, tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    name = "\N{SNOWMAN}"
    ended = freezingtime(*REPLAY, "--out", f"{name}.parquet", cwd=tmp_path)
    shown = freezingtime("compare", f"{name}.parquet", f"{name}.parquet", cwd=tmp_path)
    refused = freezingtime("report", f"{name}.csv", "--out", "x.html", cwd=tmp_path)
    assert (ended.returncode, shown.returncode, refused.returncode) == (0, 0, 2)
    expected = name if encoding == "utf-8" else r"\u2603"
    assert shown.stdout.startswith(f"{expected}.parquet -> {expected}.parquet: identical")
    assert expected in refused.stderr


def test_an_error_does_not_go_to_stdout(freezingtime: RunProgram) -> None:
    ended = freezingtime("replay", prefix=closing("2>&-"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "")


@pytest.mark.guest
def test_the_summary_of_a_run_does_not_go_to_stdout(freezingtime: RunProgram) -> None:
    ended = freezingtime("run", "--", "echo hi; echo there >&2", prefix=closing("2>&-"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "hi\n", "")
