# SPDX-License-Identifier: GPL-2.0-or-later
"""The decoders on their corpus; and, among the slow tests, on what a fuzzer makes of it."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require_tool, skip
from tests.fuzz import __main__ as fuzzing
from tests.fuzz.__main__ import AGENT, CORPUS, TARGETS, build_agent_fuzzer, fuzz
from tests.fuzz.decoders import DECODERS

SECONDS = 20


@pytest.mark.parametrize("target", DECODERS)
def test_a_decoder_keeps_its_promises_on_its_corpus(target: str) -> None:
    decoder = DECODERS[target]
    paths = sorted((CORPUS / target).iterdir()) if (CORPUS / target).is_dir() else []
    assert paths or target in ("trace", "device"), "their corpora are other tests' files"
    for path in paths:
        content = path.read_bytes()
        for length in {len(content), len(content) // 2, 0}:
            decoder(content[:length])


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_fuzzed_for_some_seconds(target: str, tmp_path: Path) -> None:
    if target == AGENT:
        require_tool("clang")
    elif importlib.util.find_spec("atheris") is None:
        skip("atheris is not installed: there is none for this Python")
    fuzzed = fuzz(target, SECONDS, tmp_path / "corpus", tmp_path)
    assert not fuzzed.output, fuzzed.output
    assert fuzzed.executions > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "checked", "unchecked", "found"),
    [
        (
            *("nbd_client.c", "cookie >= UNDER_WAY_MAX || !under_way[cookie]"),
            *("!under_way[cookie]", "AddressSanitizer"),
        ),
        # Behind the version and all sizes: only an order that is right in them gets there.
        ("control.c", " && (!order->command_bytes || !end[-1])", "", "deadly signal"),
    ],
)
def test_the_agents_fuzzer_finds_a_missing_check(
    file: str,
    checked: str,
    unchecked: str,
    found: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_tool("clang")
    agent = tmp_path / "agent"
    subprocess.run(["cp", "-r", fuzzing.AGENT_DIRECTORY, agent], check=True)
    source = agent / "ours" / "emulator" / file
    text = source.read_text()
    assert checked in text
    source.write_text(text.replace(checked, unchecked))
    monkeypatch.setattr(fuzzing, "AGENT_DIRECTORY", agent)
    monkeypatch.chdir(tmp_path)  # where the input is left
    build_agent_fuzzer(tmp_path / "fuzzer")
    fuzzed = fuzz(AGENT, 120, tmp_path / "corpus", tmp_path)
    assert found in fuzzed.output
