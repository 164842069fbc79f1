"""Looking at the host: is everything there that a run needs?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Symbol, SymbolTableSection

from freezingtime.clock.agent import agent_path
from freezingtime.errors import FreezingTimeError
from freezingtime.machine.cache import cache_directory, require_writable_cache
from freezingtime.machine.guest_image import find_image

_QEMU = "qemu-system-x86_64"
_SUPPORTED_QEMU = "7.2"
_QEMU_CURE = "apt-get install qemu-system-x86"
_MIN_FREE_BYTES = 1 << 30
_DEADLINE_S = 30.0


class State(Enum):
    GOOD = "good"
    MISSING = "missing"
    INFORMATION = "information"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; ``cure`` says what to do about it if it is missing."""

    what: str
    state: State
    detail: str
    cure: str = ""


def examine() -> list[Finding]:
    """Look at everything, in the order in which a run needs it."""
    checks: list[Callable[[], Finding]] = [
        _qemu_version,
        _qemu_symbols,
        _agent,
        _compiler,
        _package_tools,
        _cache,
        _image,
        _kvm,
    ]
    return [check() for check in checks]


def _qemu_version() -> Finding:
    path = shutil.which(_QEMU)
    if path is None:
        return Finding("QEMU", State.MISSING, "not installed", _QEMU_CURE)
    try:
        output = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_DEADLINE_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("QEMU", State.MISSING, f"{path} cannot be run: {error}", _QEMU_CURE)
    version = output.splitlines()[0] if output else f"{path} printed no version"
    if re.search(rf"version {re.escape(_SUPPORTED_QEMU)}\b", version):
        return Finding("QEMU", State.GOOD, version)
    cure = f"version {_SUPPORTED_QEMU} is needed, which is Debian 12's: {_QEMU_CURE}"
    return Finding("QEMU", State.MISSING, version, cure)


def _qemu_symbols() -> Finding:
    what = "QEMU's symbols"
    path = shutil.which(_QEMU)
    if path is None:
        return Finding(what, State.MISSING, "no QEMU", "install QEMU first")
    try:
        wanted = _wanted_symbols(agent_path())
    except FreezingTimeError:
        return Finding(what, State.MISSING, "no agent", "build the agent first")
    try:
        missing = sorted(wanted - _exported_symbols(Path(path)))
    except (ELFError, OSError) as error:
        detail = f"{path} is no program that can be examined: {error}"
        return Finding(what, State.MISSING, detail, f"use Debian 12's QEMU: {_QEMU_CURE}")
    if missing:
        detail = f"not exported: {', '.join(missing)}"
        return Finding(what, State.MISSING, detail, f"use Debian 12's QEMU: {_QEMU_CURE}")
    return Finding(what, State.GOOD, f"all {len(wanted)} that the agent uses")


def _agent() -> Finding:
    try:
        return Finding("agent", State.GOOD, str(agent_path()))
    except FreezingTimeError as error:
        return Finding(
            "agent",
            State.MISSING,
            str(error),
            "apt-get install gcc libc6-dev, then pip install --force-reinstall freezingtime",
        )


def _compiler() -> Finding:
    path = shutil.which("cc")
    if path is None:
        detail = "none; only needed to build the agent: apt-get install gcc libc6-dev"
        return Finding("C compiler", State.INFORMATION, detail)
    return Finding("C compiler", State.INFORMATION, path)


def _package_tools() -> Finding:
    missing = [tool for tool in ("apt-get", "apt-cache", "dpkg-deb") if not shutil.which(tool)]
    if missing:
        return Finding(
            "Debian's package tools",
            State.MISSING,
            f"no {', '.join(missing)}",
            "the guest image is made from Debian packages: apt-get install apt dpkg",
        )
    return Finding("Debian's package tools", State.GOOD, "apt-get, apt-cache, dpkg-deb")


def _cache() -> Finding:
    try:
        directory = require_writable_cache()
    except FreezingTimeError as error:
        if next(cache_directory().glob("images/*"), None) is None:
            return Finding("cache", State.MISSING, "none that can be used", str(error))
        return Finding("cache", State.INFORMATION, f"only what is in it can be used: {error}")
    free_bytes = shutil.disk_usage(directory).free
    detail = f"{directory}, {free_bytes / (1 << 30):.1f} GiB free"
    if free_bytes < _MIN_FREE_BYTES:
        return Finding("cache", State.MISSING, detail, "free at least 1 GiB, or set XDG_CACHE_HOME")
    return Finding("cache", State.GOOD, detail)


def _image() -> Finding:
    try:
        image = find_image()
        if image is None:
            require_writable_cache()
    except FreezingTimeError as error:
        return Finding("guest image", State.MISSING, "none that can be used", str(error))
    if image is None:
        detail = "not built yet; the first run builds it, or: freezingtime image build"
        return Finding("guest image", State.INFORMATION, detail)
    kernel = image.manifest.kernel_release
    return Finding("guest image", State.GOOD, f"{image.name} {image.image_id[:12]}, Linux {kernel}")


def _kvm() -> Finding:
    usable = os.access("/dev/kvm", os.R_OK | os.W_OK)
    return Finding("KVM", State.INFORMATION, f"{'usable' if usable else 'not usable'}; not needed")


def _wanted_symbols(agent: Path) -> set[str]:
    """The functions that the agent looks for in QEMU: it declares them weak."""
    return {
        symbol.name
        for symbol in _dynamic_symbols(agent)
        if symbol["st_shndx"] == "SHN_UNDEF"
        and symbol["st_info"]["bind"] == "STB_WEAK"
        and not symbol.name.startswith("_")  # the C library's own
    }


def _exported_symbols(program: Path) -> set[str]:
    return {
        symbol.name for symbol in _dynamic_symbols(program) if symbol["st_shndx"] != "SHN_UNDEF"
    }


def _dynamic_symbols(path: Path) -> list[Symbol]:
    """The dynamic symbol table; empty for a static program. ELFError if it is no ELF file."""
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dynsym")
        return list(section.iter_symbols()) if isinstance(section, SymbolTableSection) else []
