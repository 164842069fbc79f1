# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line before a command begins: help, lists, completion, and what they import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from freezingtime.cli.completion import completer
from freezingtime.cli.main import _COMMANDS, app
from freezingtime.device.catalogue_search import catalogue_names
from freezingtime.images.debian.image import FILE_SYSTEMS
from freezingtime.images.names import FILE_SYSTEM_NAMES
from freezingtime.option import Values
from freezingtime.trace.readers import formats
from freezingtime.trace.readers.format_names import FORMAT_NAMES
from tests.cli.conftest import RunHere
from tests.conftest import PROGRAM

#: Packages, and rooms of our own, that take long to import.
HEAVY = {
    "numpy",
    "numba",
    "pandas",
    "pyarrow",
    "matplotlib",
    "qemu",
    "urllib3",
    "elftools",
    "httpx",
}
HEAVY_ROOMS = {"emulator", "images", "report", "runs", "simulate", "store", "trace", "vm"}


#: Lists of options, and words that help texts have: they import nothing heavy themselves.
LIGHT_MODULES = ("runs.options", "runs.script", "runs.progress", "trace.writers", "trace.readers")
# What the command `store` is made of.
LIGHT_MODULES += ("store.results", "store.cache", "store.checksums", "store.lock_holder")
LIGHT_MODULES += ("simulate.options", "images.names", "trace.explored")
HELP = """
from freezingtime.cli.main import app
for command in {commands}:
    app([command, "--help"], standalone_mode=False)
"""


def imported(*arguments: str) -> set[str]:
    """The modules that a command imports, by their full names."""
    return imported_by("-m", "freezingtime", *arguments)


def imported_by(*arguments: str) -> set[str]:
    """The modules that Python imports, started with these arguments."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize(
    "arguments", [["--help"], [], ["devices"], ["devices", "--class", "scm"], ["explain", "p99"]]
)
def test_what_answers_at_once_imports_nothing_heavy(arguments: list[str]) -> None:
    names = imported(*arguments)
    assert "freezingtime.cli.main" in names  # else nothing was seen
    assert {name.partition(".")[0] for name in names} & HEAVY == set()
    rooms = {name.split(".")[1] for name in names if name.startswith("freezingtime.")}
    assert rooms & HEAVY_ROOMS == set()


def test_a_commands_help_imports_nothing_heavy() -> None:
    names = imported_by("-c", HELP.format(commands=list(_COMMANDS)))
    assert {name.partition(".")[0] for name in names} & HEAVY == set()
    own = {name.removeprefix("freezingtime.") for name in names if name.startswith("freezingtime.")}
    assert {"runs.options", "trace.writers.format_names"} <= own  # else nothing was seen
    heavy = {name for name in own if "." in name and name.split(".")[0] in HEAVY_ROOMS}
    assert {name for name in heavy if not name.startswith(LIGHT_MODULES)} == set()


def test_what_writes_a_record_does_not_import_pandas(tmp_path: Path) -> None:
    """It would take longer than the replay."""
    workload = ("--workload", "randread,bs=4k,qd=1,count=100", "--device", "aws-gp3")
    names = imported("replay", *workload, "--out", str(tmp_path / "record.parquet"))
    assert "pyarrow.parquet" in names  # else nothing was seen
    assert "pandas" not in names


def test_names_that_help_texts_have_are_those_that_there_are() -> None:
    assert (formats.RECORD_FORMAT, *formats._FORMATS) == FORMAT_NAMES
    assert tuple(FILE_SYSTEMS) == FILE_SYSTEM_NAMES


def test_the_list_of_commands_says_what_their_own_help_says() -> None:
    group = typer.main.get_command(app)
    listed = {name: command.summary for name, command in _COMMANDS.items()}
    own = {name: group.get_command(None, name).help.partition("\n\n")[0] for name in listed}
    assert {name: " ".join(text.split()) for name, text in own.items()} == listed


@pytest.mark.parametrize("group", [[], ["image"]])
def test_a_group_alone_prints_its_help(run_here: RunHere, group: list[str]) -> None:
    alone, asked = run_here(*group), run_here(*group, "--help")
    assert (alone.returncode, alone.stderr) == (0, "")
    assert alone.stdout == asked.stdout
    assert "Commands" in alone.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "replya",
            "no such command 'replya'; did you mean 'replay' or 'explain'? see "
            "'freezingtime --help'",
        ),
        (
            "image buidl",
            "no such command 'buidl'; did you mean 'build'? see 'freezingtime image --help'",
        ),
        (
            "devices --min-capcity 1TB",
            "no such option: --min-capcity; did you mean --min-capacity? see "
            "'freezingtime devices --help'",
        ),
        (
            "replay --device constant:1us --workload randraed",
            "--workload: randraed: unknown pattern; did you mean randread? "
            "available: read, write, rw, randread, randwrite, randrw, randtrim",
        ),
        (
            "replay --device constant:1us --workload read,tmie=1s",
            "--workload: tmie=1s: unknown key; did you mean time? available: bs, qd, queue,"
            " think, rate, arrival, count, time, rwmixread, size, offset, seed, fsync, zipf",
        ),
        (
            "crash --depth 3 -- true",
            "invalid value for '--depth': 3: must be a whole number from 1 to 2; see "
            "'freezingtime crash --help'",
        ),
        (
            "crash --workers 2.5 -- true",
            "invalid value for '--workers': 2.5: must be a whole number, 1 or more; see "
            "'freezingtime crash --help'",
        ),
        (
            "sweep --workload read,count=9 --disk constant:1us --set disk.parameters.raed=1us,2us",
            "--disk constant:1us,parameters.raed=1us: constant:1us: parameters.raed: unknown "
            "key; did you mean read? allowed: discard, flush, read, write",
        ),
        (
            "run --disk constant:1us,parameters.read=abc -- true",
            "--disk: constant:1us: parameters.read = 'abc': must be a time such as \"75us\"",
        ),
        (
            "devices --class falsh",
            "--class falsh: no such device; did you mean flash? available: disk, flash, mobile, "
            "scm, volume",
        ),
        (
            "devices --sort p98",
            "--sort p98: did you mean p99? available: name, class, capacity, mean, p50, p99, p99.9",
        ),
        (
            "devices --class scm --min-capacity 900TB",
            "no device is of that class and capacity; 'freezingtime devices' has all",
        ),
        (
            "devices --min-capacity 1XB",
            "--min-capacity: bad size '1XB': write a number of bytes with an optional unit, such "
            "as 512, 4KiB, 1GiB or 1GB",
        ),
        (
            "devices aws-gp3 --plot x.svg --sort p99",
            "--plot x.svg: name the devices to plot, without --class, --min-capacity or --sort",
        ),
    ],
)
def test_a_mistyped_word_is_said_with_the_nearest(
    run_here: RunHere, arguments: str, said: str
) -> None:
    ended = run_here(*arguments.split())
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"freezingtime: {said}\n"


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("freezingtime re", ["replay", "report"]),
        ("freezingtime devices --cl", ["--class"]),
        ("freezingtime devices intel-optane-p4", ["intel-optane-p4800x-750gb"]),
    ],
)
def test_a_shell_is_told_what_to_complete_with(line: str, completed: list[str]) -> None:
    ended = subprocess.run(
        [PROGRAM],
        env={
            **{"PATH": "/usr/bin:/bin", "COMP_WORDS": line},
            **{"COMP_CWORD": str(line.count(" ")), "_FREEZINGTIME_COMPLETE": "complete_bash"},
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout.split(), ended.stderr) == (completed, "")


def complete(values: Values, text: str) -> list[str]:
    listed = completer(values)
    assert listed is not None
    return listed(text)


def test_values_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert complete(Values.DEVICE, "") == catalogue_names()
    assert complete(Values.DEVICE_CLASS, "m") == ["mobile"]
    assert complete(Values.GUEST, "") == ["mini"]
    assert complete(Values.IMAGE, "") == []
    assert complete(Values.SNAPSHOT, "") == []
    assert complete(Values.TRACE_FORMAT, "blkparse-") == ["blkparse-csv", "blkparse-queue"]
    assert complete(Values.EXPORT_FORMAT, "blkt") == ["blktrace"]
    assert complete(Values.TERM, "f") == ["frozen"]


def test_runs_are_completed_as_far_as_a_shell_can_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in ("results/one", "results/deep/two", "results/deep/a/b/far"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "run.json").write_text("{}")
    (tmp_path / "results" / "none").mkdir()
    monkeypatch.chdir(tmp_path)
    assert complete(Values.RUN, "re") == ["results/deep/two", "results/one"]
    assert complete(Values.RUN, "results/deep/") == ["results/deep/a/b/far", "results/deep/two"]
    assert complete(Values.RUN, f"{tmp_path}/results/o") == [f"{tmp_path}/results/one"]
    assert complete(Values.RUN, "nowhere/x") == []
