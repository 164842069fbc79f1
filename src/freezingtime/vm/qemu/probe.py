# SPDX-License-Identifier: GPL-2.0-or-later
"""Probing a QEMU in a fraction of a second: the agent looks for its hooks in it.

QEMU is started with the agent in it, builds a machine like that of a run, and ends before that
executes anything. What the host has beside that QEMU is looked through only if it will not do.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from freezingtime.clock.agent import PROBE_ENVIRONMENT, WORDS_OF_AGENT, agent_path
from freezingtime.errors import InputError
from freezingtime.vm.qemu.command import probe_command
from freezingtime.vm.qemu.cpu_model import CpuModel, require_sound_cpu
from freezingtime.vm.qemu.program import PROGRAM_NAME, QemuProgram, find_qemu

#: What to do about a QEMU that will not do; the agent's own messages end with it as well.
CURE = "use the qemu-system-x86_64 of Debian 12 or later"

_DEADLINE_S = 30.0

#: Places of a user's own QEMUs, beside PATH.
_PLACES = ("/usr/bin", "/usr/local/bin", "/opt/qemu/bin")


@dataclass(frozen=True, slots=True)
class Probe:
    """Properties of a usable QEMU."""

    qemu: QemuProgram
    version: str
    """Such as "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)"."""
    hooks: str
    """What the agent found in it, in one line."""


def probe(qemu: QemuProgram, cpu_model: CpuModel = CpuModel.V1) -> Probe:
    """Look for the agent's hooks in a QEMU, and whether it has such a CPU.

    One that will do is started for this once in a process, whoever asks.

    Raises:
        InputError: it will not do; why, and what would.
    """
    agent = agent_path()
    _require_fit(qemu.path)
    require_sound_cpu(cpu_model, qemu.path)
    return _probe_started(qemu, qemu.sha256, agent, cpu_model)


@lru_cache  # a refusal is not kept
def _probe_started(qemu: QemuProgram, _sha256: str, agent: Path, cpu_model: CpuModel) -> Probe:
    version = _version(qemu)
    ended = _run(qemu, probe_command(qemu.command + qemu.options, cpu_model), agent)
    found = [line for line in ended.stdout.splitlines() if line.startswith(WORDS_OF_AGENT)]
    if ended.returncode == 0 and found:
        return Probe(qemu, version, found[-1].removeprefix(WORDS_OF_AGENT))
    words = _reason(ended)
    raise InputError(f"{qemu.path}: {words}" + ("" if CURE in words else f"; {CURE}"))


def require_qemu(name: str | None, cpu_model: CpuModel = CpuModel.V1) -> Probe:
    """Return the QEMU of this name or path, if usable for a machine with such a CPU.

    Raises:
        InputError: it is not there, or will not do; the message names those here that would.
    """
    try:
        return probe(find_qemu(name), cpu_model)
    except InputError as error:
        if not (others := probe_others(name, cpu_model)):
            raise
        words = " or ".join(f"{other.qemu.path} ({other.version.split()[0]})" for other in others)
        raise InputError(f"{error}; on this host --qemu {words} works") from error


def probe_others(name: str | None, cpu_model: CpuModel = CpuModel.V1) -> list[Probe]:
    """Find the host's other usable QEMUs, beside the one of this name or path."""

    def try_out(qemu: QemuProgram) -> Probe | None:
        try:
            return probe(qemu, cpu_model)
        except InputError:
            return None

    with ThreadPoolExecutor() as pool:
        return [found for found in pool.map(try_out, _others(name)) if found is not None]


def _others(name: str | None) -> Iterator[QemuProgram]:
    try:
        seen = {find_qemu(name).path.resolve()}
    except InputError:
        seen = set()
    for directory in [*os.environ.get("PATH", "").split(os.pathsep), *_PLACES]:
        path = Path(directory, PROGRAM_NAME)
        if os.access(path, os.X_OK) and path.is_file() and path.resolve() not in seen:
            seen.add(path.resolve())
            yield QemuProgram(path)


def _reason(ended: subprocess.CompletedProcess[str]) -> str:
    """Return why a QEMU ended: the agent's message, else QEMU's first error."""
    lines = [line for line in ended.stderr.splitlines() if line and ": warning: " not in line]
    agent = [line for line in lines if line.startswith(WORDS_OF_AGENT)]
    if lines:
        return (agent or lines)[0].removeprefix(WORDS_OF_AGENT)
    return f"it ended with exit status {ended.returncode} and no output"


def _require_fit(path: Path) -> None:
    """Refuse what the agent cannot even be loaded into."""
    try:
        with path.open("rb") as file:
            program = ELFFile(file)
            machine = program["e_machine"]
            loader = program.get_section_by_name(".interp") or any(
                segment["p_type"] == "PT_INTERP" for segment in program.iter_segments()
            )
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name a readable program") from error
    except ELFError as error:
        raise InputError(
            f"{path}: is not a Linux program ({error}); if it is a script, name the program "
            f"that it starts, or {CURE}"
        ) from error
    if machine != "EM_X86_64":
        architecture = machine.removeprefix("EM_").lower()
        raise InputError(
            f"{path}: is built for another CPU ({architecture}), but the agent is for "
            f"x86-64; {CURE}"
        )
    if not loader:
        raise InputError(f"{path}: is linked statically, so the agent cannot be loaded; {CURE}")


def _version(qemu: QemuProgram) -> str:
    printed = _run(qemu, [*qemu.command, "--version"], None).stdout
    version = re.search(r"version (\S.*)", printed)
    if version is None:
        raise InputError(f"{qemu.path}: prints no QEMU version; {CURE}")
    return version.group(1)


def _run(
    qemu: QemuProgram, command: list[str], agent: Path | None
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **qemu.environment}
    if agent is not None:
        environment |= {**PROBE_ENVIRONMENT, "LD_PRELOAD": str(agent)}
    try:
        return subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{qemu.path}: did not end within {_DEADLINE_S:g} s; {CURE}") from error
    except OSError as error:
        raise InputError(f"{qemu.path}: cannot be run ({error.strerror}); {CURE}") from error
