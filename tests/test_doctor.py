"""`freezingtime doctor`: what it finds on hosts that lack something, and how it prints it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from freezingtime.clock import agent
from freezingtime.errors import InputError
from freezingtime.experiment import doctor
from freezingtime.experiment.doctor import Finding, State, examine
from tests.conftest import RunProgram, require_tool

QEMU = "qemu-system-x86_64"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with no program at all and an empty cache; the directory that is its PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return programs


def finding(what: str) -> Finding:
    (found,) = [found for found in examine() if found.what == what]
    return found


def make_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def compile_program(compiler: str, path: Path, functions: list[str], *options: str) -> None:
    source = "".join(f"void {name}(void) {{}}\n" for name in functions)
    subprocess.run(
        [compiler, "-x", "c", "-", "-o", str(path), *options],
        input=f"{source}int main(void) {{ return 0; }}\n".encode(),
        env={"PATH": "/usr/bin:/bin"},
        check=True,
    )


def test_on_this_host_a_run_has_what_it_needs() -> None:
    require_tool(QEMU)
    missing = [found for found in examine() if found.state is State.MISSING]
    assert missing == []


def test_whatever_is_missing_has_a_cure(host: Path) -> None:
    findings = examine()
    missing = {found.what: found for found in findings if found.state is State.MISSING}
    assert set(missing) >= {"QEMU", "QEMU's symbols", "Debian's package tools"}
    assert all(found.cure for found in missing.values())
    assert missing["QEMU"].cure == "apt-get install qemu-system-x86"
    assert list(host.iterdir()) == []


def test_another_version_of_qemu_is_named(host: Path) -> None:
    make_program(host / QEMU, "echo QEMU emulator version 9.2.1")
    found = finding("QEMU")
    assert found.state is State.MISSING
    assert found.detail == "QEMU emulator version 9.2.1"
    assert found.cure.startswith("version 7.2 is needed, which is Debian 12's")


def test_the_version_is_not_only_a_prefix(host: Path) -> None:
    make_program(host / QEMU, "echo QEMU emulator version 7.20.0")
    assert finding("QEMU").state is State.MISSING
    make_program(host / QEMU, "echo 'QEMU emulator version 7.2.22 (Debian 1:7.2)'")
    assert finding("QEMU").state is State.GOOD


@pytest.mark.parametrize("content", ["#!/bin/sh\nexit 1\n", "#!/nonexistent\n", "\x7fELF"])
def test_a_qemu_that_does_not_run_is_reported(host: Path, content: str) -> None:
    (host / QEMU).write_text(content)
    (host / QEMU).chmod(0o755)
    found = finding("QEMU")
    assert found.state is State.MISSING
    assert str(host / QEMU) in found.detail


def test_a_qemu_that_hangs_is_reported(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_DEADLINE_S", 0.1)
    make_program(host / QEMU, "exec /bin/sleep 600")
    assert "timed out" in finding("QEMU").detail


def test_a_script_has_no_symbols(host: Path) -> None:
    make_program(host / QEMU, "exec real-qemu")
    found = finding("QEMU's symbols")
    assert found.state is State.MISSING
    assert f"{host / QEMU} is no program that can be examined" in found.detail


def test_missing_symbols_are_named_and_found_when_there(host: Path) -> None:
    compiler = shutil.which("cc", path="/usr/bin:/bin") or require_tool("cc")
    compile_program(compiler, host / QEMU, [], "-rdynamic")
    bare = finding("QEMU's symbols")
    assert bare.state is State.MISSING
    names = bare.detail.removeprefix("not exported: ").split(", ")
    assert "aio_poll" in names

    compile_program(compiler, host / QEMU, names[1:], "-rdynamic")
    assert finding("QEMU's symbols").detail == f"not exported: {names[0]}"

    compile_program(compiler, host / QEMU, names, "-rdynamic")
    assert finding("QEMU's symbols") == Finding(
        "QEMU's symbols", State.GOOD, f"all {len(names)} that the agent uses"
    )

    # There, but only for the program itself, as in a QEMU without modules.
    compile_program(compiler, host / QEMU, names)
    assert finding("QEMU's symbols").state is State.MISSING


def test_without_an_agent_the_cure_is_to_build_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_built() -> Path:
        raise InputError("the agent is not built")

    assert agent.agent_path().is_file()
    monkeypatch.setattr(doctor, "agent_path", not_built)
    found = finding("agent")
    assert found.state is State.MISSING
    assert "pip install" in found.cure
    assert finding("QEMU's symbols").state is State.MISSING


def test_a_cache_that_cannot_be_used_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nosuch")
    for what in ("cache", "guest image"):
        found = finding(what)
        assert found.state is State.MISSING
        assert "set XDG_CACHE_HOME to a directory that you may write to" in found.cure


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
    environment = {"XDG_CACHE_HOME": str(cache), "COLUMNS": columns}
    ended = freezingtime("doctor", environment=environment)
    assert ended.stderr == ""
    assert f"{cache}/freezingtime, " in ended.stdout
    assert str(agent.agent_path()) in ended.stdout
    assert "…" not in ended.stdout
    lines = ended.stdout.splitlines()
    assert [line.split()[0] for line in lines if "KVM" in line] == ["info"]
    assert len([line for line in lines if line.startswith(("ok ", "missing ", "info "))]) == 8


def test_the_status_says_whether_anything_is_missing(
    freezingtime: RunProgram, tmp_path: Path
) -> None:
    require_tool(QEMU)
    assert freezingtime("doctor").returncode == 0
    ended = freezingtime("doctor", environment={"PATH": str(tmp_path)})
    assert ended.returncode == 1
    assert "\nQEMU: apt-get install qemu-system-x86\n" in ended.stdout
