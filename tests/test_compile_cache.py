"""Machine code of old sources is forgotten; whoever waits for a compilation is told."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from freezingtime.device import compile_cache

NOW_S = time.time()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A model of one source, made 100 s from now, and its kept machine code, made at 200 s.

    What all models share is older than both.
    """
    model = tmp_path / "drum"
    (model / "__pycache__").mkdir(parents=True)
    for name, time_s in (("kernels.py", NOW_S + 100), ("__pycache__/kernels.nbi", NOW_S + 200)):
        (model / name).touch()
        os.utime(model / name, (time_s, time_s))
    return model


def index_of(package: Path) -> Path:
    return package / "__pycache__" / "kernels.nbi"


def test_machine_code_that_is_newer_is_kept_in_silence(
    package: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        compile_cache.prepare(package)
    assert index_of(package).exists()
    assert not caplog.records


def test_machine_code_of_old_sources_is_forgotten_and_that_is_said(
    package: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.utime(package / "kernels.py", (NOW_S + 300, NOW_S + 300))
    with caplog.at_level(logging.INFO):
        compile_cache.prepare(package)
    assert not index_of(package).exists()
    assert caplog.messages == ["compiling the drum model, once per machine: up to a minute"]
