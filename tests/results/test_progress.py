# SPDX-License-Identifier: GPL-2.0-or-later
"""Signs of life in Python and on pipes: a notebook's one output, plain lines, no long silence."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from freezingtime.api import progress as progress_module
from freezingtime.api.progress import LineObserver, ProgressLine
from freezingtime.cli.device.replay_progress import ReplayProgress
from freezingtime.cli.guest.progress import RunProgress
from freezingtime.emulator.loop import Totals
from freezingtime.runs.progress import step_lines
from freezingtime.runs.progress.heartbeat import Heartbeat
from freezingtime.runs.progress.step_lines import StepLines
from tests.conftest import skip

_DEADLINE_S = 20.0

#: For 2.2 s, faster than anybody reads, in the cell's thread and in another.
NOTEBOOK = """
import threading, time
from freezingtime.api.progress import ProgressLine
with ProgressLine(None) as line:
    def show(name):
        for number in range(55):
            line.show(name, f"<{name}> {number}")
            time.sleep(0.02)
    show("one")
    other = threading.Thread(target=show, args=["two"])
    other.start(); other.join()
"done"
"""


class TestNotebook:
    def test_keeps_one_output_that_is_renewed_twice_a_second(self) -> None:
        try:
            import nbclient
            import nbformat
        except ImportError:
            skip("nbclient is not installed")
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK)])
        messages: list[dict[str, Any]] = []

        class Client(nbclient.NotebookClient):  # type: ignore[misc]
            def process_message(self, msg: dict[str, Any], *rest: Any) -> Any:
                messages.append(msg)
                return super().process_message(msg, *rest)

        Client(notebook, timeout=60).execute()
        progress, result = notebook.cells[0].outputs
        assert progress["output_type"] == "display_data"
        assert progress["data"] == {"text/plain": "", "text/html": ""}
        assert result["data"]["text/plain"] == "'done'"
        kinds = [message["msg_type"] for message in messages]
        assert "stream" not in kinds
        updates = [m["content"] for m in messages if m["msg_type"] == "update_display_data"]
        texts = [update["data"]["text/plain"] for update in updates]
        assert 4 <= len(texts) <= 6  # about 2.2 s and the clearing
        assert texts[0] == "<one> 0"
        assert texts[-2].startswith("<two>")
        assert updates[0]["data"]["text/html"] == "<pre>&lt;one&gt; 0</pre>"

    def test_a_mere_import_makes_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class OnATerminal:
            """IPython's shell, where there is no kernel."""

        class IPython:
            get_ipython = staticmethod(OnATerminal)

        monkeypatch.setitem(sys.modules, "ipykernel", IPython)
        monkeypatch.setitem(sys.modules, "IPython", IPython)
        with ProgressLine(True) as line:
            assert isinstance(line._surface, progress_module._PlainLines)


class TestPipe:
    def test_has_lines_that_stay(self, capsys: pytest.CaptureFixture[str]) -> None:
        with ProgressLine(True) as line:
            for number in range(100):
                line.show("reading", f"reading: {number}%")
            line.show("running", "running: 0%")
        printed = capsys.readouterr().err
        assert printed == "freezingtime: reading: 0%\nfreezingtime: running: 0%\n"

    def test_has_none_unless_wanted(self, capsys: pytest.CaptureFixture[str]) -> None:
        for wanted in (None, False):
            with ProgressLine(wanted) as line:
                line.show("reading", "reading: 0%")
        assert capsys.readouterr().err == ""


class Told(list[float]):
    """When a beat came."""

    def __init__(self) -> None:
        self.enough = threading.Event()

    def __call__(self) -> None:
        self.append(time.monotonic())
        if len(self) >= 2:
            self.enough.set()


class TestHeartbeat:
    def test_beats_while_nothing_is_shown(self) -> None:
        told = Told()
        begun_s = time.monotonic()
        with Heartbeat(told, 0.1) as heart:
            heart.shown()
            assert told.enough.wait(_DEADLINE_S)
        assert told[0] - begun_s >= 0.1
        count = len(told)
        time.sleep(0.25)
        assert len(told) == count

    def test_rests_while_something_is(self) -> None:
        told = Told()
        with Heartbeat(told, 60.0) as heart:
            heart.shown()
            heart.rest()
            heart.rest()
            assert "heartbeat" not in [thread.name for thread in threading.enumerate()]
        assert told == []


def await_text(capsys: pytest.CaptureFixture[str], wanted: str) -> str:
    """All that is printed to stderr until ``wanted`` is."""
    deadline_s, printed = time.monotonic() + _DEADLINE_S, ""
    while wanted not in (printed := printed + capsys.readouterr().err):
        assert time.monotonic() < deadline_s, printed
        time.sleep(0.02)
    return printed


class TestNoSilence:
    """A step that reports nothing by itself; the commands' 4 s are made shorter."""

    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert step_lines.SILENCE_S < 5.0
        for name in (
            "freezingtime.runs.progress.step_lines.SILENCE_S",
            "freezingtime.cli.device.replay_progress.SILENCE_S",
            "freezingtime.api.progress._BEAT_S",
        ):
            monkeypatch.setattr(name, 0.05)
        monkeypatch.setattr(progress_module._PlainLines, "period_s", 0.05)

    def test_of_a_build(self, capsys: pytest.CaptureFixture[str]) -> None:
        with StepLines() as steps:
            steps("unpack", 1, 2)
            printed = await_text(capsys, "unpack 1/2 (0 s) ...\n")
        assert printed.startswith("freezingtime: unpack ...\nfreezingtime: unpack 1/2 (0 s) ...\n")

    def test_of_a_run(self, capsys: pytest.CaptureFixture[str]) -> None:
        with RunProgress(quiet=False, forward_output=True) as progress:
            progress.preparing("boot", 0, 1)
            await_text(capsys, "freezingtime: boot (0 s) ...\n")
            progress.running(Totals(), [])
            capsys.readouterr()
            time.sleep(0.2)
            assert "boot" not in capsys.readouterr().err
            progress.preparing("boot", 0, 1)  # another one
            await_text(capsys, "freezingtime: boot ...\n")
        with RunProgress(quiet=True, forward_output=True) as progress:
            progress.preparing("boot", 0, 1)
            time.sleep(0.2)
        assert capsys.readouterr().err == ""

    def test_of_a_replay(self, capsys: pytest.CaptureFixture[str]) -> None:
        with ReplayProgress(quiet=False) as progress:
            progress("reading", 1, 4)
            await_text(capsys, "freezingtime: reading: 25%\n")

    def test_in_python(self, capsys: pytest.CaptureFixture[str]) -> None:
        with ProgressLine(True) as line, LineObserver(line) as observer:
            observer.preparing("boot", 0, 1)
            await_text(capsys, "freezingtime: boot (0 s)\nfreezingtime: boot (0 s)\n")
            observer.running(Totals(), [])
            capsys.readouterr()
            time.sleep(0.2)
            assert "boot" not in capsys.readouterr().err


def test_a_cells_command_draws_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has a pseudo terminal, whose every byte the notebook keeps."""

    class Console:
        is_terminal = True

    from freezingtime.cli.guest.progress import is_drawn_on

    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    assert is_drawn_on(Console())  # type: ignore[arg-type]
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert not is_drawn_on(Console())  # type: ignore[arg-type]
