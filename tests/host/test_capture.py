# SPDX-License-Identifier: GPL-2.0-or-later
"""What a child prints: all of it kept, little of it in memory, and never in the child's way."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from freezingtime.cli.output.json_stream import print_document
from freezingtime.errors import RunError
from freezingtime.runs.job_output import JobOutput
from freezingtime.vm.capture import Capture, Captures
from freezingtime.vm.console import complaints

MIB = 1 << 20
PIECE = bytes(range(256)) * 256


@pytest.fixture
def captures() -> Iterator[Captures]:
    with Captures() as captures:
        yield captures


def print_much(capture: Capture, size_bytes: int) -> None:
    """As a child would: far more than a pipe holds, so that somebody has to empty it."""
    for _ in range(size_bytes // len(PIECE)):
        rest = PIECE
        while rest:
            rest = rest[os.write(capture.fileno(), rest) :]


def test_all_of_it_is_kept_without_anybody_asking(captures: Captures) -> None:
    stdout, stderr = captures.add("the output"), captures.add("the errors")
    print_much(stdout, 4 * MIB)
    os.write(stderr.fileno(), b"one\n\ntwo\n \nthree")
    assert stdout.read_all() == PIECE * (4 * MIB // len(PIECE))
    assert b"".join(iter(stdout.read_new, b"")) == stdout.read_all()
    assert stdout.read_new() == b""
    assert stderr.last_lines(2) == ["two", "three"]
    assert list(stderr.lines()) == ["one", "", "two", " ", "three"]


def test_what_cannot_be_kept_is_said_and_is_in_nobodys_way(
    captures: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _data: bytes, _offset: int) -> int:
        raise OSError(28, os.strerror(28))

    stdout = captures.add("the output")
    captures.check()
    monkeypatch.setattr(os, "pwrite", full)
    print_much(stdout, 4 * MIB)  # would wait for ever if the pipe stayed full
    stdout.take()
    for look in (captures.check, stdout.read_new, stdout.read_all):
        with pytest.raises(RunError, match=r"the output cannot be stored in .*: No space left"):
            look()


def test_output_of_a_job_that_fails_is_not_held_in_memory(tmp_path: Path) -> None:
    passed_bytes = 0

    def count(out: bytes, err: bytes) -> None:
        nonlocal passed_bytes
        passed_bytes += len(out) + len(err)

    def fail() -> None:
        with Captures() as captures:
            stdout, stderr = captures.add("the output"), captures.add("the errors")
            print_much(stdout, 64 * MIB)
            print_much(stderr, 64 * MIB)
            with JobOutput(stdout, stderr, count, tmp_path / "stdout.txt"):
                raise RunError("the job failed")

    tracemalloc.start()
    with pytest.raises(RunError) as ended:
        fail()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 8 * MIB
    assert passed_bytes == 128 * MIB
    assert (tmp_path / "stdout.txt").stat().st_size == 64 * MIB
    # Whoever asks gets it, though the machine has long been closed.
    assert len(ended.value.stdout) == len(ended.value.stderr) == 64 * MIB


def test_a_console_without_end_or_line_ends(captures: Captures) -> None:
    console = captures.add("the console")
    os.write(console.fileno(), b"BUG: " + b"x" * 60_000 + b"\n")
    print_much(console, MIB)
    os.write(console.fileno(), b"\n" + b"[    1.5] WARNING: CPU: 0\n" * 2000)
    found = complaints(console.lines())
    assert len(found) == 1000
    assert found[1] == "WARNING: CPU: 0"


def test_a_document_with_large_texts_is_that_of_json() -> None:
    texts = {"stdout": 'aé€\U0001f600\n"\\\x1b\x00'.encode() * 50_000 + b"\xe2\x82", "stderr": b""}
    document = {"valid": True, "nested": {"list": [1, None]}}
    target = io.StringIO()
    print_document(document, {key: io.BytesIO(text) for key, text in texts.items()}, target)
    whole = {**document, **{key: text.decode(errors="replace") for key, text in texts.items()}}
    assert target.getvalue() == json.dumps(whole, indent=2) + "\n"
