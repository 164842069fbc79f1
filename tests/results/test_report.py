# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime report`: the page's structure, its figures, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

import freezingtime.report
from freezingtime._version import __version__
from freezingtime.report.figures import run_panels
from freezingtime.report.figures.inline_svg import INLINE_SETTINGS
from freezingtime.report.figures.run_figures import (
    FAULTS,
    INTERNALS,
    RUN_FIGURES,
    THROUGHPUT,
    draw_run_figure,
)
from freezingtime.report.figures.style import COLORS, DARK_COLORS
from freezingtime.report.page import notices, report_page
from freezingtime.report.read import read_run
from freezingtime.trace.record_paths import RECORD_NAME
from freezingtime.trace.run_directory import STATISTICS_NAME
from freezingtime.trace.statistics_file import write_statistics
from tests.cli.conftest import RunHere
from tests.conftest import RunProgram
from tests.results.test_report_data import DOCUMENT, random_requests, read
from tests.support.recordlib import HEADER, completed, stream_of, write_record

HEADINGS = [
    "Summary",
    "Latency distribution",
    "Latency over time",
    "Queue depth",
    "Throughput over time",
    "Service time against target",
    "Freeze and warp",
    "Device internals",
    "Guest output",
    "Configuration",
]
#: A replay has neither an audit nor a guest.
REPLAY_HEADINGS = [*HEADINGS[:5], "Device internals", "Configuration"]
VOID = {"meta", "link", "br", "hr", "img"}


class Page(HTMLParser):
    """Elements of a page, which must be closed in the order in which they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.attributes: dict[str, list[dict[str, str | None]]] = {}
        self.text: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)
            self.text.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.attributes.setdefault(tag, []).append(values)
        self.ids += [value for name, value in attributes if name == "id" and value]
        for name, value in attributes:
            if name in ("href", "xlink:href", "clip-path"):
                self.references += re.findall(r"#([\w.-]+)", value or "")
            elif name == "aria-labelledby":
                self.references += (value or "").split()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text[self.open[-1]][-1] += data


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def make_run(directory: Path, seed: int = 0, **parts: Any) -> Path:
    directory.mkdir()
    write_record(directory, random_requests(400, seed))
    plan = {"script": "#!/bin/sh\nexec fio <job>\n", "memory_bytes": 512 << 20, "guest": "mini"}
    document = {**DOCUMENT, "plan": plan, "job": {"exit_status": 0, "guest_ns": 1_500_000_000}}
    (directory / "run.json").write_text(json.dumps({**document, **parts}))
    write_statistics(
        directory / STATISTICS_NAME,
        [
            ("data", time_ns, name, value)
            for time_ns in range(10**9, 2 * 10**9, 10**8)
            for name, value in (
                ("programmed_bytes", time_ns * 3.0),
                ("host_written_bytes", time_ns * 2.0),
                ("gc_moved_units", time_ns // 10**6),
                ("die_utilisation", 0.25),
                ("0.iops_credits_balance", 10**10 - time_ns),
                ("erases", 0.0),
            )
        ],
    )
    (directory / "stdout.txt").write_bytes(b"<b>bold</b> & \x1b[1mloud\n")
    return directory


def cells(page: Page, tag: str) -> list[str]:
    return page.text.get(tag, [])


def test_devices_that_say_nothing_have_no_internals(tmp_path: Path) -> None:
    record = write_record(tmp_path / "record", [completed()])
    text = report_page([read(record)])
    assert "These device models report no internals" in text
    assert "figure-internals" not in text
    assert draw_run_figure(INTERNALS, [read(record)], [".svg"]) == []


@pytest.mark.slow
def test_internals_are_what_the_devices_said(run: Path) -> None:
    page = Page(report_page([read(run)]))
    labels = " ".join(cells(page, "text"))
    for title in ("held by program", "held by collection", "reads from memory"):
        assert f"data: {title}" in labels
        assert f"log: {title}" in labels
    for title in ("write amplification", "garbage collection", "die utilisation"):
        assert f"data: {title}" in labels
    assert "data: I/O credits (member 0)" in labels
    rows = list(cells(page, "td"))
    assert "3e+09" not in rows  # counters are for reading
    assert "erases" not in cells(page, "th") + rows  # nothing in it


def test_the_page_has_everything(run: Path) -> None:
    text = report_page([read(run)])
    page = Page(text)
    assert cells(page, "h2") == HEADINGS
    assert [figure["id"] for figure in page.attributes["figure"]] == [
        f"figure-{name}"
        for name in (
            *("latency-distribution", "latency-over-time", "queue-depth", "throughput"),
            *("service", "freeze", "warp", "internals"),
        )
    ]
    figures = [svg for svg in page.attributes["svg"] if svg.get("class") != "bar"]
    assert len(figures) == len(cells(page, "desc")) == len(RUN_FIGURES) - 1  # without faults
    assert all(svg["role"] == "img" for svg in page.attributes["svg"])
    assert len(cells(page, "caption")) == len(page.attributes["table"]) == 8
    assert all(head["scope"] in ("row", "col") for head in page.attributes["th"])
    heads = cells(page, "th")
    for head in ("IOPS", "MB/s", "mean", "p50", "p99.99", "max", "worst deviation"):
        assert head in heads
    assert len(page.ids) == len(set(page.ids))
    assert set(page.references) <= set(page.ids)
    assert "fio &lt;job&gt;" in text
    assert cells(page, "pre") == [
        "<b>bold</b> & \N{SYMBOL FOR ESCAPE}[1mloud\n",
        "freezingtime run -- fio <job>",
    ]


def test_nothing_is_loaded_and_nothing_foreign_is_executed(run: Path) -> None:
    """The one script is the package's own, which the page's policy names by its digest."""
    text = report_page([read(run)])
    page = Page(text)
    assert not {"link", "img", "iframe", "object"} & set(page.attributes)
    scripts = [script for script in page.attributes["script"] if "type" not in script]
    assert scripts == [{}]
    own = (Path(freezingtime.report.__file__).parent / "layout" / "page.js").read_bytes()
    digest = base64.b64encode(hashlib.sha256(own).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text
    assert f"<script>{own.decode()}</script>" in text
    assert all(
        name not in ("src", "srcset") and not name.startswith("on")
        for elements in page.attributes.values()
        for attributes in elements
        for name in attributes
    )
    assert not re.search(r"url\((?!#)|@import", text)


@pytest.mark.slow
def test_every_colour_is_the_pages(run: Path) -> None:
    """What a figure said itself would not change with light and dark."""
    text = report_page([read(run), read(run)])
    body = text[text.index("<body>") :]
    assert not re.search(r"(?:fill|stroke): *#", body)
    used = set(re.findall(r"var\((--[\w-]+)\)", text))
    light, dark = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    assert used <= set(re.findall(r"(--[\w-]+):", light))
    assert set(re.findall(r"(--[\w-]+):", light)) == set(re.findall(r"(--[\w-]+):", dark))
    assert len(COLORS) == len(DARK_COLORS)


def test_rows_hold_the_records_numbers(tmp_path: Path) -> None:
    rows = [
        completed(arrival_ns=0, completion_ns=10_000, delivery_ns=10_000),
        completed(arrival_ns=0, completion_ns=20_000, delivery_ns=20_500, on_time=False),
    ]
    text = report_page([read(write_record(tmp_path, rows))])
    [summary] = re.findall(
        r'<tr><th scope="row">data</th><th scope="row">read</th>(.*?)</tr>', text, re.DOTALL
    )
    numbers = re.findall(r"<td[^>]*>([^<]*)</td>", summary)
    assert numbers[:4] == ["2", "97,561", "399.61", "15.25us"]
    assert numbers[4:] == ["10us", *["20.5us"] * 5]
    [audit] = re.findall(r'<tr><th scope="row">data</th>\s*<td(.*?)</tr>', text, re.DOTALL)[:1]
    assert re.findall(r">([^<]*)</td>", audit) == ["2", "1", "1", "500ns"]
    assert "NOT EXACT:" in text
    assert f"1 of 2 requests on time ({tmp_path})" in text


def test_a_run_under_kvm_is_not_called_exact(tmp_path: Path) -> None:
    header = msgspec.structs.replace(HEADER, cpu_rate_hz=None, is_repeatable=False)
    text = report_page([read(write_record(tmp_path, [completed()], header))])
    assert "kvm clock:" in text
    assert "exact:" not in text
    assert "the host's, through KVM" in html.unescape(text)


def test_several_runs_stand_side_by_side(tmp_path: Path) -> None:
    first, second = make_run(tmp_path / "first", 1), make_run(tmp_path / "second", 2)
    text = report_page([read(first), read(second)])
    rows = re.findall(
        r'<th scope="row">(data|log)</th><th scope="row">(\w+)</th><th scope="row">([^<]*)<',
        text[text.index('id="summary"') : text.index('id="latency-distribution"')],
    )
    assert rows[:2] == [("data", "read", "A"), ("data", "read", "B")]
    assert len(rows) == 2 * 2 * 5  # read, write, flush, all, fsync
    assert "var(--series-1)" in text
    # The legends of all figures, as text.
    assert text.count(">B</text>") == len(RUN_FIGURES) - 1  # without faults
    # What the letters are is said once, and no path is anywhere else.
    assert text.count(str(second)) == 1


@pytest.mark.slow
def test_same_runs_same_bytes(tmp_path: Path) -> None:
    """Whatever the runs' names are, as long as there is one only."""
    first, again = read(make_run(tmp_path / "first")), read(make_run(tmp_path / "again"))
    for extension in (".svg", ".png"):
        drawn = [draw_run_figure(THROUGHPUT, [run], [extension]) for run in (first, again)]
        assert drawn[0] == drawn[1]
        other = read(make_run(tmp_path / f"other{extension}", seed=1))
        assert drawn[0] != draw_run_figure(THROUGHPUT, [other], [extension])
    # All the other figures are in the pages.
    assert report_page([first]) == report_page([replace(again, name=first.name)])


@pytest.mark.slow
def test_killed_and_mixed_runs_are_noticed(tmp_path: Path) -> None:
    stream_of(tmp_path / RECORD_NAME, [[completed()]])
    killed = read_run(tmp_path, lambda notice: None)
    audit = {"kernel_complaints": ["BUG: soft lockup"], "disturbed_ns": 1234}
    old = make_run(tmp_path / "old", audit=audit)
    table = pq.read_table(old / RECORD_NAME)
    metadata = table.schema.metadata[b"freezingtime"].replace(
        f'"{__version__}"'.encode(), b'"0.0.9"'
    )
    pq.write_table(table.replace_schema_metadata({b"freezingtime": metadata}), old / RECORD_NAME)
    found = notices([killed, read(old)])
    assert [re.sub(str(tmp_path), "RUN", notice) for notice in found] == [
        "the runs are of different versions of freezingtime (0.0.9, "
        f"{__version__}): what differs may be due to that",
        "RUN: the run was killed, or is still running: this is what it had recorded",
        "RUN/old: not valid: at 1234 ns of guest time an interrupt of the host's reached the guest",
        "RUN/old: kernel message: BUG: soft lockup",
    ]
    page = Page(report_page([killed, read(old)]))
    assert set(found) <= set(cells(page, "p"))


def test_many_disks_are_drawn_in_part_and_listed_in_full(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = read(run)
    assert len(run_panels.operations_shown([data])) == 6
    monkeypatch.setattr(run_panels, "SUBJECTS_MAX", 2)
    counts = {
        (disk, name): operation.count
        for disk, of_disk in data.disks.items()
        for name, operation in of_disk.operations.items()
        if name != "all"
    }
    shown = run_panels.operations_shown([data])
    assert sorted(counts[subject] for subject in shown) == sorted(counts.values())[-2:]
    assert notices([data]) == [
        "6 pairs of a disk and an operation: figures show those with the most requests, "
        "at most 2, and tables all"
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [completed(arrival_ns=5, completion_ns=5, delivery_ns=5)],
        [completed()] * 3,
        [completed(arrival_ns=1, completion_ns=2**62, delivery_ns=2**62)],
    ],
)
def test_odd_runs_can_be_drawn(tmp_path: Path, rows: Sequence[Any]) -> None:
    run = read(write_record(tmp_path, rows))
    assert cells(Page(report_page([run])), "h2") == HEADINGS
    replayed = replace(run, header=msgspec.structs.replace(run.header, cpu_rate_hz=None))
    assert cells(Page(report_page([replayed])), "h2") == REPLAY_HEADINGS


@pytest.mark.slow
def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    """Neither matplotlib nor HTML takes a part of them for its own."""
    names = ["_hidden", "a$x^2$b", "<i>&amp;"]
    run = read(make_run(tmp_path / "run"))
    page = Page(report_page([replace(run, name=name) for name in names]))
    specs = ", ".join(disk.spec for disk in run.header.disks)
    assert [cell.strip() for cell in cells(page, "dd")] == [f"{name}: {specs}" for name in names]
    labelled = [replace(run, label=name) for name in names]
    [drawn] = draw_run_figure(THROUGHPUT, labelled, [".svg"], **INLINE_SETTINGS)
    texts = {element.text for element in ElementTree.fromstring(drawn).iter()}
    assert {"./_hidden", "a$x^2$b", "<i>&amp;"} <= texts


def test_command_writes_page_and_figures(
    freezingtime: RunProgram, run: Path, tmp_path: Path
) -> None:
    out, figures = tmp_path / "report.html", tmp_path / "figures"
    ended = freezingtime("report", run, "-o", out, "--figures", figures)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""
    wrote = [line for line in ended.stderr.splitlines() if line.startswith("freezingtime: wrote")]
    assert wrote == [
        f"freezingtime: wrote {out}",
        f"freezingtime: wrote 16 files into {figures}",
    ]
    Page(out.read_text())
    names = {
        f"{kind.name}{extension}"
        for kind in RUN_FIGURES
        if kind is not FAULTS
        for extension in (".svg", ".png")
    }
    assert {path.name for path in figures.iterdir()} == names
    for path in figures.iterdir():
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
        else:
            assert ElementTree.fromstring(path.read_text()).tag.endswith("svg")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", "missing argument 'RUN'; see 'freezingtime report --help'"),
        ("run", "missing option '--out'"),
        ("nowhere -o x.html", "nowhere: no such file; name a run's directory or its requests.parq"),
        ("empty -o x.html", "empty: is not a run: it has no requests.parquet; name a run's direc"),
        ("bad -o x.html", "bad/requests.parquet: is damaged: "),
        ("future -o x.html", "future/requests.parquet: has record version 3, of freezingtime 0.1"),
        ("run run run run run run run -o x.html", "7 runs; at most 6 fit into one report"),
        (
            "run -o empty",
            "--out empty: is not a regular file; name another file",
        ),
        (
            "run -o run/requests.parquet",
            "--out run/requests.parquet: is itself a record; name another file",
        ),
        ("plan.toml -o x.html", "plan.toml: is no run; if it is the plan of a sweep, run 'free"),
        ("text -o x.html", "text: is no record; name a run's directory or its requests.parquet"),
        ("run -o no/x.html", "--out no/x.html: no directory no; create it first"),
        ("run -o x.html --figures run/run.json", "--figures run/run.json: name an existing d"),
        ("run -o x.html --figures no/f", "--figures no/f: name an existing directory, or"),
    ],
)
def test_what_cannot_be_reported_is_one_line(
    run_here: RunHere,
    run: Path,
    tmp_path: Path,
    arguments: str,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "plan.toml").write_text('workload = "read"\n')
    (tmp_path / "text").write_text("text\n")
    record = (run / RECORD_NAME).read_bytes()
    bad = make_run(tmp_path / "bad") / RECORD_NAME
    bad.write_bytes(record[: len(record) // 2] + bytes(10) + record[len(record) // 2 + 10 :])
    table = pq.read_table(run / RECORD_NAME)
    header = json.loads(table.schema.metadata[b"freezingtime"])
    header["record_version"] += 1
    future = make_run(tmp_path / "future") / RECORD_NAME
    pq.write_table(
        table.replace_schema_metadata({b"freezingtime": json.dumps(header).encode()}), future
    )
    ended = run_here("report", *arguments.split())
    assert ended.returncode == 2
    assert expected in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "x.html").exists()
    assert (run / RECORD_NAME).read_bytes() == record


@pytest.mark.slow
@pytest.mark.guest
def test_two_runs_of_a_guest_make_the_same_figures(
    freezingtime: RunProgram, tmp_path: Path
) -> None:
    job = "echo hello; dd if=/dev/vda of=/dev/null bs=4k count=300 iflag=direct 2>/dev/null"
    disk = "constant:read=80us,name=data"
    drawn = []
    for name in ("first", "second"):
        run, figures = tmp_path / name, tmp_path / f"{name}-figures"
        ended = freezingtime("run", "--disk", disk, "--out", run, "--", "sh", "-c", job)
        assert ended.returncode == 0, ended.stderr
        ended = freezingtime("report", run, "-o", tmp_path / f"{name}.html", "--figures", figures)
        assert ended.returncode == 0, ended.stderr
        drawn.append({path.name: path.read_bytes() for path in figures.iterdir()})
    # How long the medium took is never the same twice.
    for name, content in drawn[0].items():
        assert name.startswith("freeze.") or content == drawn[1][name], name
    page = Page((tmp_path / "first.html").read_text())
    output, command = cells(page, "pre")
    assert command.startswith("freezingtime run --disk ")
    assert output == "hello\n"
    assert "80us" in cells(page, "td")
