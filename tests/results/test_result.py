# SPDX-License-Identifier: GPL-2.0-or-later
"""What a result shows of itself: first of all, what is wrong."""

from __future__ import annotations

from pathlib import Path

import freezingtime as ft
from freezingtime.api.result import Result, warn
from freezingtime.results.recorded_run import open_recorded_run
from tests.results.test_compare import a_run, reads


def result(path: Path, exit_status: int, stdout: str, stderr: str | None, valid: bool) -> Result:
    job = {"exit_status": exit_status, "guest_ns": 7}
    directory = a_run(path, reads(10), job=job, audit={"valid": valid})
    (directory / "stdout.txt").write_text(stdout)
    return Result(open_recorded_run(directory, warn), stderr=stderr)


def test_a_failed_job_leads_with_its_status_and_last_words(tmp_path: Path) -> None:
    said = "starting\n" * 9 + "<b>no such\x1b]52;c;aGk=\x07 file</b>\n\n"
    failed = result(tmp_path / "run", 3, "out\n", said, valid=True)
    assert failed.last_words == ["starting"] * 4 + ["<b>no such\\x1b]52;c;aGk=\\x07 file</b>"]
    shown = failed._repr_html_()
    assert shown.startswith(
        "<p><strong>the job FAILED with exit status 3</strong></p>\n<pre>starting\n"
    )
    assert "&lt;b&gt;no such\\x1b]52;c;aGk=\\x07 file&lt;/b&gt;</pre>\n<table" in shown
    assert repr(failed).startswith(
        "<Result the job FAILED with exit status 3: '<b>no such\\x1b]52;c;aGk=\\x07 file</b>': "
        f"{tmp_path}/run: 1 request on "
    )


def test_what_was_opened_again_has_the_output_alone(tmp_path: Path) -> None:
    result(tmp_path / "run", 1, "one\n" + "x" * 999, None, valid=True)
    again = ft.open_run(tmp_path / "run")
    assert again.last_words == ["one", "x" * 197 + "..."]
    assert "<pre>one\nxxx" in again._repr_html_()


def test_figures_that_are_not_valid(tmp_path: Path) -> None:
    late = result(tmp_path / "run", 0, "", "", valid=False)
    assert late._repr_html_().startswith(
        "<p><strong>the results are NOT VALID</strong></p>\n<table"
    )
    assert repr(late).startswith("<Result the results are NOT VALID: ")


def test_a_good_one_shows_its_status_and_summary_only(tmp_path: Path) -> None:
    good = result(tmp_path / "run", 0, "out\n", "warning\n", valid=True)
    assert good.status.startswith("exact: 1 of 1 requests on time; the job took ")
    assert good._repr_html_().startswith(f"<p><strong>{good.status}</strong></p>\n<table")
    assert repr(good).startswith(f"<Result {tmp_path}/run: 1 request on ")
