# SPDX-License-Identifier: GPL-2.0-or-later
"""Which QEMUs are refused before anything is built for them, and in which words."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from freezingtime.errors import InputError
from freezingtime.images import qemu as images_qemu
from freezingtime.images.debian.mirror import KEYRING_VARIABLE, MIRROR_VARIABLE
from freezingtime.images.debian.root_user import as_root
from freezingtime.images.qemu import ready_qemu
from freezingtime.vm.qemu import probe as qemu_probe
from freezingtime.vm.qemu import program
from freezingtime.vm.qemu.probe import probe, require_qemu
from freezingtime.vm.qemu.program import VARIABLE, QemuProgram, debian_directory, find_qemu
from tests.conftest import RunProgram, require_tool
from tests.store import imagelib
from tests.support.agentlib import AGENT_DIRECTORY, CURE
from tests.support.suitelib import SmallMirror

#: Where e_machine is in an ELF header; 183 is AArch64.
_MACHINE_OFFSET, _AARCH64 = 18, 183

#: A function as clang's control-flow integrity has it: a jump in a table, padded with traps.
_GUARDED = """
__asm__(".globl {name}\\n.type {name}, @function\\n"
        "{name}: {landing}.byte 0xe9, 0, 0, 0, 0, 0xcc, 0xcc, 0xcc\\n");
"""


def exported_names() -> list[str]:
    """What the exact clock needs of a QEMU under one name."""
    needed = re.compile(r"NEED(?:_FOR\(TCG, |\()(\w+)\),")
    return needed.findall((AGENT_DIRECTORY / "qemu" / "exports.c").read_text())


def compile_program(path: Path, source: str, *options: str) -> QemuProgram:
    """A program that says of itself what QEMU does, and has these functions."""
    main = '#include <stdio.h>\nint main(void) { puts("QEMU emulator version 1.2.3"); return 0; }\n'
    subprocess.run(
        [require_tool("gcc"), "-w", "-x", "c", "-", "-o", path, *options],
        input=source + main,
        text=True,
        check=True,
    )
    return QemuProgram(path)


def of_another_architecture(path: Path) -> QemuProgram:
    content = bytearray(Path("/bin/true").read_bytes())
    content[_MACHINE_OFFSET : _MACHINE_OFFSET + 2] = _AARCH64.to_bytes(2, "little")
    path.write_bytes(content)
    path.chmod(0o755)
    return QemuProgram(path)


def functions(names: list[str]) -> str:
    return "".join(f"void {name}(void) {{}}\n" for name in names)


def refusal(qemu: QemuProgram) -> str:
    with pytest.raises(InputError) as caught:
        probe(qemu)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{qemu.path}: ")
    assert CURE in line
    return line


def test_the_installed_one_will_do() -> None:
    require_tool("qemu-system-x86_64")
    found = require_qemu(None)
    assert re.match(r"\d+\.\d+\.\d+", found.version)
    assert found.hooks.count("(") == 17


def test_one_that_exports_nothing(tmp_path: Path) -> None:
    """As QEMU does where it is built without modules."""
    line = refusal(compile_program(tmp_path / "qemu", functions(exported_names())))
    assert "does not export icount_get, as one that is built with modules does" in line


def test_what_is_not_exported_is_named(tmp_path: Path) -> None:
    names = exported_names()
    assert len(names) > 30
    for missing in (names[0], names[-1]):
        source = functions([name for name in names if name != missing])
        line = refusal(compile_program(tmp_path / "qemu", source, "-rdynamic"))
        assert f"does not export {missing}," in line


def test_a_lock_of_unknown_names(tmp_path: Path) -> None:
    source = functions(exported_names())
    line = refusal(compile_program(tmp_path / "qemu", source, "-rdynamic"))
    assert "functions of its big lock" in line
    some = functions(["bql_locked", "bql_lock_impl", "bql_unlock"])
    line = refusal(compile_program(tmp_path / "qemu", source + some, "-rdynamic"))
    assert "functions of its big lock" in line


@pytest.mark.parametrize("landing", ["", ".byte 0xf3, 0x0f, 0x1e, 0xfa; "])
def test_one_with_control_flow_integrity(tmp_path: Path, landing: str) -> None:
    *names, guarded = sorted(exported_names(), key="qemu_clock_deadline_ns_all".__eq__)
    source = functions(names) + _GUARDED.format(name=guarded, landing=landing)
    line = refusal(compile_program(tmp_path / "qemu", source, "-rdynamic"))
    assert "control-flow integrity (CFI)" in line


def test_one_of_another_architecture(tmp_path: Path) -> None:
    program = of_another_architecture(tmp_path / "qemu")
    assert "is built for another CPU (aarch64)" in refusal(program)


def test_one_that_is_static(tmp_path: Path) -> None:
    assert "linked statically" in refusal(compile_program(tmp_path / "qemu", "", "-static"))


def test_a_script(tmp_path: Path) -> None:
    script = tmp_path / "qemu"
    script.write_text("#!/bin/sh\nexec qemu-system-x86_64\n")
    script.chmod(0o755)
    assert "name the program that it starts" in refusal(QemuProgram(script))


def test_a_program_that_is_no_qemu() -> None:
    assert "prints no QEMU version" in refusal(QemuProgram(Path("/bin/sh")))


def test_one_for_another_guest(tmp_path: Path) -> None:
    """The machine of a run is unknown to it: here, its name is another."""
    installed = Path(require_tool("qemu-system-x86_64"))
    other = tmp_path / "qemu"
    other.write_bytes(installed.read_bytes().replace(b"pc-i440fx-7.2", b"pc-i440fx-0.9"))
    other.chmod(0o755)
    assert "unsupported machine type" in refusal(QemuProgram(other))


def test_one_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_probe, "_DEADLINE_S", 0.2)
    hanging = compile_program(
        tmp_path / "qemu",
        "unsigned sleep(unsigned);\n"
        "__attribute__((constructor)) static void hang(void) { sleep(600); }\n",
    )
    assert "did not end within 0.2 s" in refusal(hanging)


@pytest.mark.parametrize("missing", ["usr/bin/qemu-system-x86_64", "ld-linux-x86-64.so.2"])
def test_a_directory_that_lacks_something(tmp_path: Path, missing: str) -> None:
    binary = tmp_path / "usr/bin/qemu-system-x86_64"
    binary.parent.mkdir(parents=True)
    if missing != "usr/bin/qemu-system-x86_64":
        shutil.copy("/bin/true", binary)
    with pytest.raises(InputError, match=re.escape(f"--qemu {tmp_path}: contains no {missing}; ")):
        find_qemu(str(tmp_path))


def test_the_environment_names_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    shutil.copy("/bin/true", mine)
    monkeypatch.setenv("FREEZINGTIME_QEMU", str(mine))
    assert find_qemu().path == mine
    assert find_qemu("/bin/false").path == Path("/bin/false")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: compile_program(path, ""), "this QEMU does not export icount_get"),
        (lambda path: compile_program(path, "", "-static"), "is linked statically"),
        (of_another_architecture, "is built for another CPU (aarch64)"),
    ],
    ids=["exports nothing", "static", "another architecture"],
)
def test_a_run_with_one_that_will_not_do_ends_before_anything_is_fetched_or_written(
    freezingtime: RunProgram, tmp_path: Path, make: Callable[[Path], QemuProgram], said: str
) -> None:
    installed = require_tool("qemu-system-x86_64")
    program = make(tmp_path / "qemu").path
    ended = freezingtime(
        *("run", "--quiet", "--qemu", program, "--out", tmp_path / "out", "--", "true"),
        environment={"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": os.environ["PATH"]},
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert f"{program}: {said}" in line
    assert f"; {CURE}; on this host --qemu {installed} (" in line
    assert line.endswith(" works")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [program]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [[], ["--boot"]], ids=" ".join)
def test_so_does_one_of_an_image_that_it_has_never_booted(
    freezingtime: RunProgram,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    imagelib.store(tmp_path / "cache/freezingtime", "mine")
    before = sorted(tmp_path.rglob("*"))
    ended = freezingtime(
        *("run", "--quiet", "--guest", "mine", "--qemu", "/bin/true", *options),
        *("--out", tmp_path / "some/out", "--", "true"),
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("freezingtime: /bin/true: this QEMU does not export ")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["image", "import", "mine", "--root-disk", "{disk}"],
        ["image", "build", "debian", "--file-system", "xfs"],
        ["run", "--guest", "{disk}", "--", "true"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_what_else_takes_a_guest_ends_before_anything_is_fetched(
    freezingtime: RunProgram, tmp_path: Path, arguments: list[str]
) -> None:
    """What would be fetched first is behind an address that nothing answers at."""
    for tool in ("mmdebstrap", "qemu-img"):
        require_tool(tool)
    if "build" in arguments:
        try:
            as_root()
        except InputError as error:
            pytest.skip(str(error))  # which is what is said first there
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    unreachable = "http://127.0.0.1:1/debian"
    ended = freezingtime(
        *(argument.format(disk=disk) for argument in arguments),
        environment={
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            VARIABLE: "/bin/true",
            MIRROR_VARIABLE: f"{unreachable} {unreachable}",
        },
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("freezingtime: /bin/true: this QEMU does not export ")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [disk]


def test_a_system_is_taken_in_by_the_pinned_one_which_is_fetched(
    freezingtime: RunProgram, tmp_path: Path
) -> None:
    """As the first thing ever done on a host: the QEMU is fetched before the guest is."""
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    unreachable = "http://127.0.0.1:1/debian"
    ended = freezingtime(
        *("image", "import", "mine", "--root-disk", disk),
        environment={
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "PATH": str(tmp_path),
            VARIABLE: "",
            MIRROR_VARIABLE: f"{unreachable} {unreachable}",
        },
    )
    assert ended.returncode == 1
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("freezingtime: cannot fetch the pinned QEMU (suite bookworm: ")


def test_one_that_will_do_is_started_once_in_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal is not kept: its cause may be gone."""
    started: list[list[str]] = []
    run = qemu_probe._run

    def counting(
        qemu: QemuProgram, command: list[str], agent: Path | None
    ) -> subprocess.CompletedProcess[str]:
        started.append(command)
        return run(qemu, command, agent)

    monkeypatch.setattr(qemu_probe, "_run", counting)
    qemu_probe._probe_started.cache_clear()
    installed = QemuProgram(Path(require_tool("qemu-system-x86_64")))
    assert probe(installed) == probe(installed)
    assert len(started) == 2  # once for its version, once for its hooks
    other = compile_program(tmp_path / "qemu", "")
    for _ in range(2):
        refusal(other)
    assert len(started) == 6


@pytest.mark.parametrize("name", ["debian:nosuch", "debian:../images", "debian:..", "debian:"])
def test_a_suite_that_was_not_fetched_is_said_to_be_none(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "freezingtime" / "qemus").mkdir(parents=True)
    (tmp_path / "freezingtime" / "images").mkdir()
    with pytest.raises(
        InputError, match=f"^{re.escape(name)}: not fetched yet; 'freezingtime run --qemu "
    ):
        find_qemu(name)


@pytest.mark.parametrize(
    ("suite", "said"), [("testing", "will name another suite later"), ("../x", "must be")]
)
def test_a_qemu_of_no_suite_is_refused(suite: str, said: str) -> None:
    with pytest.raises(InputError, match=f"^--qemu debian:{re.escape(suite)}: .*{said}"):
        ready_qemu(f"debian:{suite}", lambda *_: pytest.fail("it fetches"))


def test_a_fetched_qemu_is_found_by_its_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is fetched again, whatever the archive has by now."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = debian_directory("trixie")
    for file in ("usr/bin/qemu-system-x86_64", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    ready_qemu("debian:trixie", lambda *_: pytest.fail("it fetches"))
    found = find_qemu("debian:trixie")
    assert (found.path, found.root) == (root / "usr/bin/qemu-system-x86_64", root)


def test_the_pinned_one_is_taken_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its bytes; else the one in the cache, and never another that is installed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("FREEZINGTIME_QEMU", raising=False)
    monkeypatch.setattr(program, "PINNED_SHA256", hashlib.sha256(b"pinned").hexdigest())
    installed = tmp_path / "qemu-system-x86_64"
    cached = debian_directory(program.PINNED_SUITE)
    for content, found in ((b"", None), (b"other", None), (b"pinned", installed)):
        if content:
            installed.write_bytes(content)
            installed.chmod(0o755)
        if found is None:
            with pytest.raises(
                InputError, match=r"^the pinned QEMU .* is not there yet; .*system$"
            ):
                find_qemu()
        else:
            assert (find_qemu().path, find_qemu("auto").path) == (found, found)
    for file in ("usr/bin/qemu-system-x86_64", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"):
        (cached / file).parent.mkdir(parents=True, exist_ok=True)
        (cached / file).touch()
    assert find_qemu().root is None
    installed.write_bytes(b"updated")
    assert find_qemu().root == cached
    assert find_qemu("system").path == installed


def test_the_pinned_one_is_fetched_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that is installed is not taken in its place, without a network neither."""
    mirror = SmallMirror(tmp_path)
    for part in ("debian/dists/alpha", "debian/dists/alpha-updates"):
        mirror.add_part(part, "7" * (part[-1] == "a"), package="qemu-system-x86")
    mirror.add_part("debian-security/dists/alpha-security", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(KEYRING_VARIABLE, str(mirror.keyring))
    monkeypatch.setenv(MIRROR_VARIABLE, "file:/nosuch/debian file:/nosuch/debian-security")
    monkeypatch.delenv("FREEZINGTIME_QEMU", raising=False)
    monkeypatch.setattr(program, "PINNED_SHA256", hashlib.sha256(b"6").hexdigest())
    for module in (program, images_qemu):
        monkeypatch.setattr(module, "PINNED_SUITE", "alpha")
    with pytest.raises(InputError) as refused:
        ready_qemu(None, lambda *_: None)
    assert re.match(
        r"cannot fetch the pinned QEMU \(suite alpha: \S+ does not exist ", str(refused.value)
    )
    assert str(refused.value).endswith("--qemu system takes the one that is installed")
    assert not debian_directory("alpha").exists()
    monkeypatch.setenv(MIRROR_VARIABLE, mirror.addresses)
    ready_qemu(None, lambda *_: None)
    assert find_qemu().path.read_text() == "7"
    (message,) = caplog.messages
    assert message.startswith("Debian alpha has another QEMU by now than the pinned 7.2.")
    ready_qemu(None, lambda *_: pytest.fail("it fetches again"))
