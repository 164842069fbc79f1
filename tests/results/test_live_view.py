# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person sees while a run goes on: on a terminal, and off it.

A small terminal of our own interprets what is drawn, so that the tests see what a person would.
"""

from __future__ import annotations

import io
import os
import pty
import re
import sys
import termios
import threading
from pathlib import Path

import pytest

from freezingtime.cli.guest import progress as progress_module
from freezingtime.cli.guest.progress import RunProgress
from freezingtime.device.base import TimedDevice
from freezingtime.emulator.loop import Totals
from freezingtime.request import Request
from freezingtime.runs.progress.meter import HISTORY_LENGTH, DiskHistory, DiskMeter, RunMeter
from freezingtime.runs.progress.text import (
    JobTimes,
    disks_line,
    plain_time,
    running_line,
    short_time,
    sparkline,
)
from freezingtime.simulate.statistics_sampler import SAMPLES_MAX, StatisticsSampler
from tests.support.recordlib import completed

SPLIT = re.compile(r"\x1b\[(\?)?([0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Screen:
    """As much of a terminal as is needed: lines, a cursor, and erasing."""

    def __init__(self) -> None:
        self.lines = [""]
        self._row = self._column = 0

    def feed(self, text: str) -> list[str]:
        """Draw; return the lines without trailing blanks and empty lines at the end."""
        for private, count, command, control, written in SPLIT.findall(text):
            if written:
                line = self.lines[self._row].ljust(self._column)
                end = self._column + len(written)
                self.lines[self._row] = line[: self._column] + written + line[end:]
                self._column = end
            elif control == "\r":
                self._column = 0
            elif control == "\n":
                self._row += 1
                self.lines += [""] * (self._row + 1 - len(self.lines))
            elif command == "A" and not private:
                self._row = max(0, self._row - int(count or 1))
            elif command == "K":
                assert count == "2"
                self.lines[self._row] = ""
            else:
                assert private or command == "m", f"{command} is not known"
        shown = [line.rstrip() for line in self.lines]
        while shown and not shown[-1]:
            shown.pop()
        return shown


class Terminal:
    """A pseudo terminal in the place of stdout, stderr or both, and what has come to it."""

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        attributes = termios.tcgetattr(theirs)
        attributes[1] &= ~termios.OPOST  # no \r of its own before \n
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        termios.tcsetwinsize(theirs, (24, 100))
        self.stream = io.TextIOWrapper(os.fdopen(theirs, "wb"), write_through=True)
        self._received = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._ours, 65536):
                self._received += data
        except OSError:
            return  # the other end is closed

    def take(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        """Be stdout or stderr. In the test itself: pytest puts its own there before."""
        for name in names:
            monkeypatch.setattr(sys, name, self.stream)

    def text(self) -> str:
        """All that was written; nothing can be written any more."""
        self.stream.close()
        self._reader.join(10)
        os.close(self._ours)
        return self._received.decode().replace("\r\n", "\n").replace("\n", "\r\n")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(progress_module, "_TERMINAL_PERIOD_S", 0.0)
    return terminal


def run_view(progress: RunProgress, meter: DiskMeter, steps: int) -> None:
    """A run in whose every step 10 ms of guest time and 100 requests of 80 us go by."""
    if not meter.request_count:
        progress.running(Totals(), [meter])
    for step in range(1, steps + 1):
        meter.request_count += 100
        meter.latency_sum_ns += 100 * 80_000 * step
        totals = Totals(now_ns=step * 10_000_000, request_count=100 * step)
        progress.running(totals, [meter])


def test_the_view_shows_times_and_each_disk(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.take(monkeypatch, "stderr")
    with RunProgress(quiet=False, forward_output=True) as progress:
        run_view(progress, DiskMeter("data"), 3)
    text = terminal.text()
    # As it was drawn last, before it went away.
    before_end = text[: text.rindex("data")] + text[text.rindex("data") :].split("\x1b")[0]
    shown = Screen().feed(before_end)
    assert len(shown) == 2
    assert re.match(
        r"guest 0\.030 s, real \d+\.\d s, .* times (slower|faster), 300 requests$", shown[0]
    )
    assert re.match(r"data +10,000 IOPS +240 us +▃▆█$", shown[1])
    # And it leaves nothing behind.
    assert Screen().feed(text) == []


def test_what_the_job_prints_is_whole(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are one terminal: a line that the job has only begun must not be drawn over."""
    terminal.take(monkeypatch, "stdout", "stderr")
    meter = DiskMeter("data")
    with RunProgress(quiet=False, forward_output=True) as progress:
        run_view(progress, meter, 2)
        progress.output(b"first line\nsecond", b"")
        run_view(progress, meter, 2)
        progress.output(b" line\n", b"warning\n")
        run_view(progress, meter, 2)
        progress.output(b"no end", b"")
        run_view(progress, meter, 2)
    assert Screen().feed(terminal.text()) == ["first line", "second line", "warning", "no end"]


def test_a_job_whose_output_goes_elsewhere_does_not_stop_the_view(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "out").open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        terminal.take(monkeypatch, "stderr")
        with RunProgress(quiet=False, forward_output=True) as progress:
            progress.output(b"no end", b"")
            run_view(progress, DiskMeter("data"), 2)
    assert (tmp_path / "out").read_bytes() == b"no end"
    assert "IOPS" in terminal.text()


def test_quiet_draws_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.take(monkeypatch, "stderr")
    with RunProgress(quiet=True, forward_output=True) as progress:
        progress.preparing("boot the guest", 1, 2)
        run_view(progress, DiskMeter("data"), 2)
    assert terminal.text() == ""


def test_off_a_terminal_there_are_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "_PLAIN_PERIOD_S", 0.0)
    with RunProgress(quiet=False, forward_output=True) as progress:
        progress.preparing("boot the guest", 1, 2)
        progress.preparing("boot the guest", 2, 2)
        run_view(progress, DiskMeter("data"), 1)
    first, _, second = capsys.readouterr().err.splitlines()
    assert first == "freezingtime: boot the guest ..."
    assert re.fullmatch(
        r"freezingtime: guest 0\.010 s, real .* s, .* times (slower|faster), 100 requests; "
        r"data 10,000 IOPS 80 us",
        second,
    )


def test_many_disks_leave_room(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.take(monkeypatch, "stderr")
    meters = [DiskMeter(f"disk{number}") for number in range(1, 21)]
    with RunProgress(quiet=False, forward_output=True) as progress:
        progress.running(Totals(now_ns=1), meters)
    text = terminal.text()
    assert "disk8" in text
    assert "disk9" not in text
    assert "and 12 more disks" in text


def test_a_job_has_its_own_times() -> None:
    times = JobTimes()
    assert times.since_start(5_000) == (0, 0.0)
    guest_ns, host_s = times.since_start(7_000)
    assert guest_ns == 2_000
    assert host_s > 0


def test_words_of_progress() -> None:
    totals = Totals(now_ns=7_000_000_000, waiting_for="data: file", frozen_host_ns=10**9)
    assert running_line(totals, 3_000_000_000, 1.5, verbose=True) == (
        "guest 3.000 s, real 1.5 s, 2 times faster, 0 requests, frozen 1.0 s, warped 0.0 s, "
        "waiting for data: file"
    )
    assert sparkline([1, None, 8, 4]) == "▂ █▅"
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert [short_time(value) for value in (0.0, 999, 83_200, 999_600, 1.5e9)] == [
        "0 ns",
        "999 ns",
        "83.2 us",
        "1,000 us",
        "1.5 s",
    ]


def test_when_a_run_ends_is_said_until_the_time_that_was_expected_is_over() -> None:
    def said(guest_s: float, host_s: float, expected_s: int | None = 30) -> str:
        expected_ns = expected_s and expected_s * 10**9
        return running_line(Totals(), int(guest_s * 10**9), host_s, expected_ns)

    assert said(3, 84) == "guest 3.000 s of 30 s, real 84.0 s, about 12 min 36 s left, 0 requests"
    assert said(29.5, 118) == "guest 29.500 s of 30 s, real 118.0 s, about 2 s left, 0 requests"
    assert said(31, 1240) == "guest 31.000 s, real 1240.0 s, 40 times slower, 0 requests"
    assert said(3, 84, None) == "guest 3.000 s, real 84.0 s, 28 times slower, 0 requests"
    assert said(0, 0) == "guest 0.000 s, real 0.0 s, 0 requests"


def test_times_are_said_as_people_say_them() -> None:
    expected = {
        0: "0 ns",
        2_100_000_000: "2.1 s",
        84_123_000_000: "84.1 s",
        99_600_000_000: "1 min 40 s",
        180_000_000_000: "3 min",
        3_599_600_000_000: "1 h",
        7_830_000_000_000: "2 h 10 min",
    }
    assert {time_ns: plain_time(time_ns) for time_ns in expected} == expected


def test_a_history_is_of_intervals() -> None:
    meter = RunMeter(["data", "log"], first_disk_index=1)
    data, log = (DiskHistory(disk, 0) for disk in meter.disks)
    for _ in range(20):
        meter.note(completed(disk_index=2, arrival_ns=0, delivery_ns=5000))
    for history in (data, log):
        history.advance(10_000_000)
    meter.note(completed(disk_index=2, arrival_ns=0, delivery_ns=9000))
    log.advance(20_000_000)
    log.advance(20_000_000)  # guest time stands still: the rate is that of before
    assert (log.iops, list(log.latencies_ns), log.latency_ns) == (100.0, [5000, 9000, None], 9000)
    assert (data.iops, list(data.latencies_ns), data.latency_ns) == (0.0, [None], None)
    assert disks_line([data, log]) == "data 0 IOPS; log 100 IOPS 9 us"
    for step in range(100):
        log.advance(30_000_000 + step)
    assert len(log.latencies_ns) == HISTORY_LENGTH


class Counting(TimedDevice):
    """Says how many requests it has had."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.asked = 0

    def completion_ns(self, request: Request, now_ns: int) -> int:
        return now_ns

    def statistics(self) -> dict[str, float]:
        self.asked += 1
        return {"requests": float(self.count)}


def test_samples_are_bounded_and_the_last_one_is_exact() -> None:
    device = Counting()
    sampler = StatisticsSampler({"data": device, "log": _Silent()})
    for step in range(100_000):
        device.count = step
        sampler.note(step * 1_000_000)
    sampler.finish(99_999 * 1_000_000)
    rows = sampler.rows()
    assert SAMPLES_MAX // 2 <= len(rows) <= SAMPLES_MAX
    assert device.asked < 20 * SAMPLES_MAX
    assert rows[-1] == ("data", 99_999_000_000, "requests", 99_999.0)
    assert rows == sorted(set(rows))
    assert sampler.totals() == {"data": {"requests": 99_999.0}}


class _Silent(TimedDevice):
    def completion_ns(self, request: Request, now_ns: int) -> int:
        return now_ns


def test_devices_that_say_nothing_have_no_samples() -> None:
    sampler = StatisticsSampler({"log": _Silent()})
    sampler.note(5)
    sampler.finish(6)
    assert sampler.rows() == []
    assert sampler.totals() == {}
