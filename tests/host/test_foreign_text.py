# SPDX-License-Identifier: GPL-2.0-or-later
"""What others have written reaches no terminal as commands, wherever it is shown."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezingtime.cli.output.columns import print_columns
from freezingtime.errors import FreezingTimeError, GuestError, InputError, RunError
from freezingtime.host.foreign_text import printable, say, show
from freezingtime.vm.job_messages import unexpected_message
from tests.conftest import RunProgram

#: Writes to the clipboard, turns what follows red, goes back to the line's beginning, turns round.
HOSTILE = "a\x1b]52;c;aGk=\x07b\x1b[31m\rc\x9b31m\u202ed\ne"


def has_commands(text: str) -> bool:
    return any(not line.isprintable() for line in text.split("\n"))


@given(st.text(st.characters(codec=None, categories=None)))
def test_printable_text_stays_and_all_else_is_escaped(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()  # lone surrogates, too
    if text.isprintable():
        assert shown == text


def test_escapes_are_readable() -> None:
    assert printable(HOSTILE) == r"a\x1b]52;c;aGk=\x07b\x1b[31m\rc\x9b31m\u202ed\ne"
    assert printable("Größe 漢字 \udcff") == r"Größe 漢字 \udcff"


@pytest.mark.parametrize("kind", [FreezingTimeError, InputError, RunError, GuestError])
def test_errors_are_one_printable_line(kind: type[FreezingTimeError]) -> None:
    assert str(kind(f"the console's last lines: {HOSTILE}")).isprintable()


def test_a_guest_that_failed_says_it_in_one_line() -> None:
    assert (
        str(unexpected_message(f"FAILED {HOSTILE}", "EXIT")) == f"the guest: {printable(HOSTILE)}"
    )


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    show(HOSTILE)
    say(HOSTILE)
    print_columns([("name", "what"), (HOSTILE, HOSTILE)])
    out, err = capsys.readouterr()
    assert not has_commands(out)
    assert len(out.splitlines()) == 3
    assert err == f"freezingtime: {printable(HOSTILE)}\n"


def test_names_of_directories(freezingtime: RunProgram, tmp_path: Path) -> None:
    """In runs, compare, report and errors; JSON has them as they are."""
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival_ns,operation,offset_bytes,length_bytes\n0,read,0,4096\n")
    name = HOSTILE.replace("/", "")
    record = tmp_path / f"{name}.parquet"
    replayed = freezingtime("replay", trace, "--device", "constant:10us", "--out", record)
    assert replayed.returncode == 0, replayed.stderr
    (tmp_path / name).mkdir()
    shutil.copy(record, tmp_path / name / "requests.parquet")
    (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / name / "run.json").write_text("{}")
    for words in (
        ["runs", tmp_path / "runs"],
        ["compare", tmp_path / name, record],
        ["report", tmp_path / f"no{name}", "-o", tmp_path / "page.html"],
        ["run", "--disk", f"{name},size=1", "--", "true"],
        ["devices", name],
        [name],
    ):
        ended = freezingtime(*words)
        assert not has_commands(ended.stdout), ended.stdout
        assert not has_commands(ended.stderr), ended.stderr
        assert r"\x1b]52;c;aGk=" in ended.stdout + ended.stderr
    listed = json.loads(freezingtime("runs", tmp_path / "runs", "--json").stdout)
    assert [entry["path"] for entry in listed] == [str(tmp_path / "runs" / name)]


def test_the_log() -> None:
    from freezingtime.cli.main import OneLine

    record = logging.LogRecord("freezingtime", logging.INFO, "", 0, "%s", (HOSTILE,), None)
    assert OneLine("freezingtime: %(message)s").format(record) == (
        f"freezingtime: {printable(HOSTILE)}"
    )
