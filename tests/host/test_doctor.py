# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime doctor`: what it finds on hosts that lack something, and how it prints it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from freezingtime import doctor
from freezingtime.clock import agent
from freezingtime.doctor import Finding, State, examine
from freezingtime.errors import InputError
from freezingtime.vm.qemu import probe as qemu_probe
from freezingtime.vm.qemu.program import PINNED_SHA256
from tests.conftest import RunProgram, require_tool
from tests.support.agentlib import AGENT_DIRECTORY

QEMU = "qemu-system-x86_64"
#: Of the exact clock: those of both, and those of TCG.
HOOKS = re.findall(
    r'= \{"(\w+)",\s+\w+,\s+(?:BOTH|TCG)\}', (AGENT_DIRECTORY / "qemu" / "hooks.c").read_text()
)


@pytest.fixture
def installed_qemu() -> str:
    """The path of the QEMU that is installed; asked for before the PATH is another."""
    return require_tool(QEMU)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with no program at all and an empty cache; the directory that is its PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FREEZINGTIME_QEMU", raising=False)
    monkeypatch.setattr(qemu_probe, "_PLACES", ())
    return programs


def finding(what: str) -> Finding:
    (found,) = [found for found in examine() if found.what == what]
    return found


def make_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_on_this_host_a_run_has_what_it_needs() -> None:
    require_tool(QEMU)
    missing = [found for found in examine() if found.state is State.MISSING]
    assert missing == []


def test_whatever_is_missing_has_a_cure(host: Path) -> None:
    """The pinned QEMU is not missing: a run fetches it; this does not."""
    findings = examine()
    assert all(found.cure for found in findings if found.state is State.MISSING)
    for what in ("QEMU", "QEMU's hooks"):
        assert finding(what).state is State.INFORMATION
    assert "'freezingtime run' fetches it" in finding("QEMU").detail
    missing = {found.what: found for found in examine("system") if found.state is State.MISSING}
    assert set(missing) == {"QEMU", "QEMU's hooks"}
    assert missing["QEMU"].cure.startswith("apt-get install qemu-system-x86, or leave --qemu at ")
    assert list(host.iterdir()) == []
    assert not (host.parent / "cache" / "freezingtime" / "qemus").exists()


@pytest.mark.parametrize("content", ["#!/bin/sh\nexit 1\n", "#!/nonexistent\n", "\x7fELF"])
def test_what_is_no_program_is_reported(
    host: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (host / QEMU).write_text(content)
    (host / QEMU).chmod(0o755)
    monkeypatch.setenv("FREEZINGTIME_QEMU", "system")
    found = finding("QEMU")
    assert found.state is State.MISSING
    assert found.detail.startswith(f"{host / QEMU}: is not a Linux program (")
    assert finding("QEMU's hooks").state is State.MISSING


def test_what_the_agent_finds_is_named(
    installed_qemu: str, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of hook, and how it was found, in one line."""
    monkeypatch.setenv("FREEZINGTIME_QEMU", "system")
    (host / QEMU).symlink_to(installed_qemu)
    found = finding("QEMU's hooks")
    assert found.state is State.GOOD
    said, _, hooks = found.detail.partition(": ")
    assert said == "all places that the agent needs, and how found"
    names = [hook.split()[0] for hook in hooks.split(", ")]
    assert names == HOOKS
    assert len(names) == len(set(names)) > 10
    assert "not found" not in found.detail
    detail = finding("QEMU").detail
    digest = hashlib.sha256((host / QEMU).read_bytes()).hexdigest()
    assert detail.startswith(f"{host / QEMU}, ")
    assert f", SHA-256 {digest[:12]}" in detail
    assert detail.endswith(", the pinned one") == (digest == PINNED_SHA256)


def test_another_qemu_of_this_host_that_would_do_is_named(
    installed_qemu: str, host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / QEMU).symlink_to(installed_qemu)
    make_program(host / QEMU, "exit 1")
    monkeypatch.setenv("PATH", f"{host}:{other}")
    monkeypatch.setattr(qemu_probe, "_PLACES", ())
    monkeypatch.setenv("FREEZINGTIME_QEMU", "system")
    assert finding("QEMU").state is State.MISSING
    assert finding("other QEMUs").detail.startswith(f"usable: {other / QEMU} (")


@pytest.mark.usefixtures("installed_qemu")
def test_without_an_agent_the_cure_is_to_build_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_built() -> Path:
        raise InputError("the agent is not built")

    assert agent.agent_path().is_file()
    monkeypatch.setattr(doctor, "agent_path", not_built)
    found = finding("agent")
    assert found.state is State.MISSING
    assert "pip install" in found.cure
    assert finding("QEMU's hooks").state is State.MISSING


def test_a_cache_that_cannot_be_used_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nosuch")
    for what in ("cache", "guest image"):
        found = finding(what)
        assert found.state is State.MISSING
        assert "set XDG_CACHE_HOME to a writable directory" in found.cure


def test_a_nearly_full_cache_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_MIN_FREE_BYTES", 1 << 62)
    assert finding("cache").state is State.MISSING
    assert "free at least 1 GiB" in finding("cache").cure


def test_a_missing_image_is_no_fault(host: Path) -> None:
    found = finding("guest image")
    assert found.state is State.INFORMATION
    assert "the first run builds it" in found.detail
    assert list(host.iterdir()) == []


@pytest.mark.parametrize("columns", ["20", "80", "500"])
def test_no_line_is_cut_short_or_wrapped(
    freezingtime: RunProgram, tmp_path: Path, columns: str
) -> None:
    """A path in square brackets is a path, too, and no markup."""
    cache = tmp_path / ("[red]long" * 20) / "cache"
    environment = {"XDG_CACHE_HOME": str(cache), "COLUMNS": columns, "FREEZINGTIME_QEMU": "system"}
    ended = freezingtime("doctor", environment=environment)
    assert ended.stderr == ""
    assert f"{cache}/freezingtime, " in ended.stdout
    assert str(agent.agent_path()) in ended.stdout
    assert "…" not in ended.stdout
    lines = ended.stdout.splitlines()
    assert [line.split()[0] for line in lines if "KVM" in line] == ["info"]
    assert len([line for line in lines if line.startswith(("ok ", "missing ", "info "))]) == 7


def test_the_status_says_whether_anything_is_missing(
    freezingtime: RunProgram, tmp_path: Path
) -> None:
    require_tool(QEMU)
    assert freezingtime("doctor").returncode == 0
    ended = freezingtime("doctor", "--qemu", "system", environment={"PATH": str(tmp_path)})
    assert ended.returncode == 1
    assert "\nQEMU: apt-get install qemu-system-x86, or leave --qemu at auto," in ended.stdout
