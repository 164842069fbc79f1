# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent under AddressSanitizer and UndefinedBehaviorSanitizer, at work in a QEMU."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from freezingtime.clock.agent.digest import sources_digest
from freezingtime.errors import RunError
from freezingtime.frontend import Frontend
from tests.conftest import require_tool
from tests.support.agentlib import AGENT_DIRECTORY, SANITIZE
from tests.support.frontendlib import device_path
from tests.support.guestlib import fio_command, run_guest

pytestmark = [pytest.mark.guest, pytest.mark.slow]

#: QEMU's coroutines have stacks of their own, and QEMU ends without giving back its memory.
_OPTIONS = "detect_leaks=0:detect_stack_use_after_return=0:exitcode=99"


def build(agent: Path, library: Path) -> str:
    """Compile the agent; what to preload for it, the sanitizers' own libraries first."""
    compiler = require_tool("gcc")
    sources = sorted(str(path) for path in agent.rglob("*.c"))
    digest = f'-DFT_SOURCES="{sources_digest(AGENT_DIRECTORY)}"'
    options = ["-std=c11", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", *SANITIZE]
    command = [compiler, *options, digest, f"-I{agent}", *sources, "-o", str(library)]
    subprocess.run([*command, "-ldl", "-lpthread"], check=True, timeout=300)
    runtime = [
        os.path.realpath(
            subprocess.check_output([compiler, f"-print-file-name={name}"], text=True).strip()
        )
        for name in ("libasan.so", "libubsan.so")
    ]
    return ":".join([*runtime, str(library)])


def use(preloaded: str, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the machines of this test preload that, and their findings written to ``log``."""
    monkeypatch.setattr("freezingtime.clock.virtual.agent_path", lambda: preloaded)
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
        monkeypatch.setenv(name, f"{_OPTIONS}:log_path={log}")


def findings(log: Path) -> str:
    return "".join(
        line
        for path in log.parent.glob(f"{log.name}.*")
        for line in path.read_text(errors="replace").splitlines(keepends=True)
        if "ERROR: AddressSanitizer" in line or "runtime error" in line
    )


@pytest.mark.parametrize("cpu_count", [1, 4])
def test_nothing_is_found_behind_any_frontend(
    cpu_count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(build(AGENT_DIRECTORY, tmp_path / "agent.so"), tmp_path / "log", monkeypatch)
    disks = [
        f"constant:50us,size=64MiB,delay=1ms,name={each}.1,frontend={each}" for each in Frontend
    ]
    mixed = {"rw": "randrw", "ioengine": "libaio", "iodepth": 16, "number_ios": 300, "fsync": 16}
    jobs = [
        fio_command(filename=device_path(each, f"{each}.1"), size="64m", **mixed)
        for each in Frontend
    ]
    script = "set -e\n" + "\n".join(f"{job} >/dev/null" for job in jobs)
    ran = run_guest(script, *disks, cpu_count=cpu_count)
    assert ran.result.valid
    assert ran.result.totals.request_count > 1000
    assert list(tmp_path.glob("log.*")), "the sanitizers say nothing even of QEMU's coroutines"
    assert findings(tmp_path / "log") == ""


def test_a_planted_overflow_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = tmp_path / "agent"
    shutil.copytree(AGENT_DIRECTORY, agent)
    client = agent / "ours" / "emulator" / "nbd_client.c"
    text = client.read_text()
    assert "malloc(request->length_bytes);" in text
    client.write_text(text.replace("malloc(request->length_bytes);", "malloc(100);"))
    use(build(agent, tmp_path / "agent.so"), tmp_path / "log", monkeypatch)
    with pytest.raises(RunError):
        run_guest(fio_command(rw="read", number_ios=50), "constant:50us")
    assert "heap-buffer-overflow" in findings(tmp_path / "log")
