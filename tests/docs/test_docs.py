# SPDX-License-Identifier: GPL-2.0-or-later
"""Documentation: every code block of every page is run by a test, or says why it is not.

Pages with tests of their own are run there, by ``run_examples``, too.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from website.command_page import commands_page

from freezingtime.cli.main import app
from freezingtime.option import list_options
from freezingtime.runs.options import RunOptions
from tests.conftest import require_root, require_tool
from tests.support.doclib import (
    ROOT,
    agrees,
    blocks_of,
    page_names,
    page_path,
    read_page,
    run_examples,
    session_of,
)

GUEST = (pytest.mark.guest, pytest.mark.slow)
#: Pages whose blocks are run here, with what they need.
PAGES = {
    "gallery": (pytest.mark.slow,),
    "README": GUEST,
    "explanation/clocks": GUEST,
    "explanation/figures": GUEST,
    "how-to/fail/index": GUEST,
    "how-to/database/index": (*GUEST, pytest.mark.timeout(1800)),
    "how-to/fit": GUEST,
    "how-to/ci/index": GUEST,
    "how-to/own-device": GUEST,
    "how-to/own-image": GUEST,
    "how-to/own-model": GUEST,
    "how-to/another-kernel": (*GUEST, pytest.mark.timeout(1800)),
    "how-to/prepare-once": (*GUEST, pytest.mark.timeout(1800)),
    "how-to/regression-test": GUEST,
    "how-to/power-cut/index": (*GUEST, pytest.mark.timeout(1800)),
    "how-to/replay-a-trace": GUEST,
    "how-to/serve": (),
    "how-to/share": (*GUEST, pytest.mark.timeout(1800)),
    "how-to/sweep": GUEST,
    "how-to/which-drive": GUEST,
    "reference/disk-option": pytest.mark.slow,
    "reference/gate": pytest.mark.slow,
    "reference/guests/figures": GUEST,
    "reference/guests/slow-operations": GUEST,
    "tutorial": GUEST,
}
#: Pages, or all pages of a folder, whose blocks are run by their own tests, which look further at
#: what comes out.
OWN_TESTS = {
    "explanation/accuracy-curves": "docs/test_accuracy_docs.py",
    "how-to/on-a-cluster": "docs/test_cluster_docs.py",
    "reference/compare": "docs/test_compare_docs.py",
    "reference/devices": "docs/test_device_docs.py",
    "reference/python/index": "results/test_api.py",
    "reference/record": "docs/test_record_docs.py",
    "reference/report": "docs/test_report_docs.py",
}
#: Programs that a page's blocks use beside our own.
TOOLS = {
    "how-to/database/index": ("mmdebstrap",),
    "how-to/fit": ("fio",),
    "how-to/own-image": ("mke2fs", "debugfs"),
    "how-to/power-cut/index": ("sqlite3", "e2fsck"),
    "how-to/prepare-once": ("mmdebstrap",),
    "how-to/serve": ("nbdinfo", "nbdcopy"),
}

SPAN = re.compile(r"(?<!`)`(freezingtime(?: [^`|]+)?)`(?!`)")


def runnable(page: str) -> bool:
    return any(block.reason_not_run is None for block in blocks_of(read_page(page)))


@pytest.mark.parametrize("page", page_names())
def test_every_block_of_the_page_is_covered(page: str) -> None:
    uncovered = [block.line for block in blocks_of(read_page(page)) if not block.is_covered]
    assert not uncovered, (
        f"{page_path(page)}: blocks at lines {uncovered}: name a language that "
        "tests/support/doclib.py runs, or say why not above it: <!-- not run: ... -->"
    )
    own_test = OWN_TESTS.get(page) or OWN_TESTS.get(page.rpartition("/")[0])
    if own_test is not None:
        assert "run_examples(" in (ROOT / "tests" / own_test).read_text()
        assert page not in PAGES
    else:
        assert runnable(page) == (page in PAGES), f"add {page} to, or drop it from, PAGES"


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=marks, id=page) for page, marks in PAGES.items()]
)
def test_every_example_of_the_page_runs(page: str, tmp_path: Path) -> None:
    for tool in TOOLS.get(page, ()):
        require_tool(tool)
    if "image build debian" in read_page(page):
        require_root()
    assert list(run_examples(read_page(page), tmp_path))


@pytest.mark.guest
@pytest.mark.slow
def test_the_readme_shows_what_the_demo_prints() -> None:
    """The guest's part of it: the rest is real time."""
    command = [sys.executable, ROOT / "demo" / "demo.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    printed = re.findall(r"^│ (\S+) +│ (.*)│$", done.stdout, re.MULTILINE)
    shown = re.findall(
        r"^\| (\S+) \| ((?:memory|3 ms each) \|.*)\|$", read_page("README"), re.MULTILINE
    )
    assert [device for device, _ in shown] == [device for device, _ in printed[-len(shown) :]]
    for (_, row), (_, cells) in zip(printed[-len(shown) :], shown, strict=True):
        found, expected = row.split("│")[:5], cells.split("|")[:5]
        found, expected = ([cell.strip() for cell in part] for part in (found, expected))
        assert (found[0], found[4]) == (expected[0], expected[4])
        for ours, readme in zip(found[1:3], expected[1:3], strict=True):
            assert agrees(f"{ours}\n", readme, within=0.01)
        if expected[3]:
            assert abs(float(found[3]) - float(expected[3])) < 30  # ns


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options of each command and subcommand."""

    def walk(command: Any, path: str) -> Iterator[tuple[str, set[str]]]:
        yield path, {option for parameter in command.params for option in parameter.opts}
        for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
            yield from walk(command.get_command(None, name), f"{path} {name}")

    return dict(walk(typer.main.get_command(app), "freezingtime"))


@pytest.mark.parametrize("page", page_names())
def test_commands_in_the_text_exist(page: str, options: dict[str, set[str]]) -> None:
    """Also of those that are not run, such as the ones that show a command's syntax."""
    text = read_page(page)
    named = SPAN.findall(text)
    for block in blocks_of(text):
        named += re.findall(r"^(?:\$ )?(freezingtime .*)$", block.text, re.MULTILINE)
    check_options(named, options)


def test_commands_in_the_help_exist(options: dict[str, set[str]]) -> None:
    page = " ".join(commands_page().split())
    named = SPAN.findall(page)
    assert len(named) > len(options)
    check_options(named, options)
    for name, option in list_options(RunOptions).items():
        assert option.declared.help in page, f"the page of the commands lacks {name}"


def check_options(commands: list[str], options: dict[str, set[str]]) -> None:
    for command in commands:
        words = re.sub(r"[][]", " ", command).partition(" -- ")[0].split()
        path = next(
            (" ".join(words[:n]) for n in (3, 2) if " ".join(words[:n]) in options), words[0]
        )
        named = set(re.findall(r"(?<!\S)--[a-z-]+", " ".join(words)))
        assert path != "freezingtime" or len(words) == 1 or words[1].startswith(("-", "COMMAND")), (
            f"there is no command {words[1]}: {command}"
        )
        assert named <= options[path] | {"--help"}, f"{path} has no {named - options[path]}"


class TestTheMechanism:
    def test_a_session_is_compared_to_the_letter(self, tmp_path: Path) -> None:
        page = "```console\n$ echo a \\\n    b; echo c >&2\na b\nc\n$ echo d\n```\n"
        assert list(run_examples(page, tmp_path)) == [("console", "a b\nc\nd\n")]
        with pytest.raises(AssertionError, match="line 1: echo a"):
            list(run_examples(page.replace("\nc\n", "\nx\n"), tmp_path))
        with pytest.raises(AssertionError):
            list(run_examples("```console\n$ false\n$ echo never\n```\n", tmp_path))

    def test_text_is_what_the_block_before_prints(self, tmp_path: Path) -> None:
        page = "```python\nprint(1)\n```\n\n```text\n1\n```\n"
        assert list(run_examples(page, tmp_path)) == [("python", "1\n")]
        with pytest.raises(AssertionError, match="is not"):
            list(run_examples(page.replace("\n1\n", "\n2\n"), tmp_path))

    def test_files_are_written(self, tmp_path: Path) -> None:
        page = (
            '```sh title="job/run"\n#!/bin/sh\necho yes\n```\n\n'
            "```toml\n# a.toml\nx = 1\n```\n\n```console\n$ job/run; cat a.toml\nyes\n...\n```\n"
        )
        assert list(run_examples(page, tmp_path)) == [("console", "yes\n# a.toml\nx = 1\n")]

    def test_what_cannot_be_run_must_say_why(self, tmp_path: Path) -> None:
        for block in ("```\nx\n```\n", "    indented\n", "```yaml\nx\n```\n"):
            assert [part.is_covered for part in blocks_of(block)] == [False]
            with pytest.raises(AssertionError, match="nobody knows"):
                list(run_examples(block, tmp_path))
            marked = f"<!-- not run: a reason -->\n{block}" if block[0] == "`" else None
            if marked:
                assert [part.reason_not_run for part in blocks_of(marked)] == ["a reason"]
                assert list(run_examples(marked, tmp_path)) == []
        assert not blocks_of("<!-- not run: -->\n```\nx\n```\n")[0].is_covered

    def test_dots_are_any_text(self) -> None:
        assert agrees("a b c\n", "a ... c\n", 0)
        assert not agrees("a\nc\n", "a ... c\n", 0)
        assert agrees("x\ny\nend\n", "...\nend\n", 0)
        assert not agrees("end\nx\n", "...\nend\n", 0)
        assert not agrees("1x5\n", "1.5\n", 0)

    def test_numbers_may_be_off_where_it_is_said(self, tmp_path: Path) -> None:
        assert not agrees("took 1,010 ms\n", "took 1,000 ms\n", 0)
        assert agrees("took 1,010 ms\n", "took 1,000 ms\n", 0.01)
        assert not agrees("took 1,011 ms\n", "took 1,000 ms\n", 0.01)
        assert not agrees("took 1,010 us\n", "took 1,000 ms\n", 0.01)
        assert agrees("a  9.99  b\n", "a  10.0   b\n", 0.01)
        page = "<!-- within 5 %: so it is -->\n```console\n$ echo 104\n100\n```\n"
        assert list(run_examples(page, tmp_path))
        with pytest.raises(AssertionError):
            list(run_examples(page.replace("within 5", "within 3"), tmp_path))

    def test_a_session_begins_with_a_prompt(self) -> None:
        with pytest.raises(AssertionError, match="no prompt"):
            session_of("echo a\n")
