# SPDX-License-Identifier: GPL-2.0-or-later
"""Machine code of old sources is forgotten; whoever waits for a compilation is told."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from freezingtime.device import compile_cache

DEADLINE_S = 900.0
#: numba's version is looked at when the kernels are imported.
_REPLAY = """
import sys
from pathlib import Path
import numba
if sys.argv[1] == "unknown":
    numba.__version__ = "1000.0"
import freezingtime as ft
from freezingtime.device.flash import kernel_compiler
from freezingtime.trace.record_digest import record_digest
workload = "randrw,bs=4k,qd=8,count=20000,rwmixread=50"
ft.replay(workload, devices=[sys.argv[2]], seed=1, out=sys.argv[3])
print(kernel_compiler.LINKS_LATE, record_digest(Path(sys.argv[3])))
"""

NOW_S = time.time()
#: Where a model may keep its kernels.
SOURCES = ("model.py", "kernels/entry.py", "kernels/ftl/wear.py")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A model whose sources were made 100 s from now, their kept machine code at 200 s.

    What all models share is older than both.
    """
    model = tmp_path / "drum"
    for source in SOURCES:
        for path, time_s in ((model / source, NOW_S + 100), (index_of(model, source), NOW_S + 200)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (time_s, time_s))
    return model


def index_of(package: Path, source: str) -> Path:
    path = package / source
    return path.parent / "__pycache__" / f"{path.stem}.nbi"


def test_machine_code_that_is_newer_is_kept_in_silence(
    package: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        compile_cache.prepare(package)
    assert all(index_of(package, source).exists() for source in SOURCES)
    assert not caplog.records


@pytest.mark.parametrize("changed", SOURCES)
def test_machine_code_of_old_sources_is_forgotten_and_that_is_said(
    package: Path, changed: str, caplog: pytest.LogCaptureFixture
) -> None:
    os.utime(package / changed, (NOW_S + 300, NOW_S + 300))
    with caplog.at_level(logging.INFO):
        compile_cache.prepare(package)
    assert not any(index_of(package, source).exists() for source in SOURCES)
    assert caplog.messages == ["compiling the drum model, once per machine: up to 20 s of CPU"]


def digest(version: str, device: str, directory: Path) -> list[str]:
    """Whether kernels are linked together, and what the record has."""
    environment = dict(os.environ)
    if version == "unknown":
        environment["NUMBA_CACHE_DIR"] = str(directory / "kernels")
    done = subprocess.run(
        [sys.executable, "-c", _REPLAY, version, device, str(directory / f"{version}.parquet")],
        env=environment,
        check=True,
        timeout=DEADLINE_S,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.split()


@pytest.mark.slow
@pytest.mark.timeout(2 * DEADLINE_S)
def test_kernels_of_an_unknown_numba_are_compiled_one_by_one_to_the_same(tmp_path: Path) -> None:
    device = "micron-7450-max-800gb-steady"
    known, unknown = (digest(version, device, tmp_path) for version in ("known", "unknown"))
    assert (known[0], unknown[0]) == ("True", "False")
    assert known[1] == unknown[1]
