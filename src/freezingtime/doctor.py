# SPDX-License-Identifier: GPL-2.0-or-later
"""Looking at the host: is everything there that a run needs?"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from freezingtime.clock.agent import agent_path
from freezingtime.errors import FreezingTimeError, InputError
from freezingtime.host.kvm.preflight import require_kvm
from freezingtime.host.required_platform import require_guest_platform
from freezingtime.images.guest_image import find_image
from freezingtime.store.cache import cache_directory, require_writable_cache
from freezingtime.vm.qemu.probe import probe, probe_others
from freezingtime.vm.qemu.program import (
    AUTO,
    PINNED_SHA256,
    QemuProgram,
    find_qemu,
    requested_qemu,
)

_QEMU_CURE = f"apt-get install qemu-system-x86, or leave --qemu at {AUTO}, which a run fetches"
_MIN_FREE_BYTES = 1 << 30


class State(Enum):
    GOOD = "good"
    MISSING = "missing"
    INFORMATION = "information"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check; ``cure`` says what to do if it failed."""

    what: str
    state: State
    detail: str
    cure: str = ""


def examine(qemu: str | None = None) -> list[Finding]:
    """Look at everything, in the order in which a run needs it; ``qemu`` as in ``--qemu``."""
    try:
        require_guest_platform()
    except InputError as error:
        return [Finding("platform", State.MISSING, platform.platform(), str(error))]
    checks: list[Callable[[], Finding]] = [
        _agent,
        _compiler,
        _cache,
        _image,
        _kvm,
    ]
    return [*_qemu(qemu), *(check() for check in checks)]


def _qemu(name: str | None) -> list[Finding]:
    """QEMU, what the agent finds in it, and which others there are."""
    what, hooks = "QEMU", "QEMU's hooks"
    try:
        found = find_qemu(name)
    except InputError as error:
        # The pinned one is no more than not there yet.
        state = State.INFORMATION if requested_qemu(name) == AUTO else State.MISSING
        findings = [
            Finding(what, state, str(error), _QEMU_CURE),
            Finding(hooks, state, "no QEMU yet", "have a QEMU first"),
        ]
    else:
        findings = _probe(found, what, hooks)
    others = ", ".join(f"{other.qemu.path} ({other.version})" for other in probe_others(name))
    if others:
        findings.append(Finding("other QEMUs", State.INFORMATION, f"usable: {others}"))
    return findings


def _probe(found: QemuProgram, what: str, hooks: str) -> list[Finding]:
    try:
        agent_path()
    except InputError:
        path = Finding(what, State.INFORMATION, f"{found.path}, not checked")
        return [path, Finding(hooks, State.MISSING, "no agent", "build the agent first")]
    try:
        probed = probe(found)
    except InputError as error:
        unfit = Finding(what, State.MISSING, str(error), _QEMU_CURE)
        return [unfit, Finding(hooks, State.MISSING, "none", "use another QEMU")]
    digest = f"SHA-256 {found.sha256[:12]}"
    if found.sha256 == PINNED_SHA256:
        digest += ", the pinned one"
    places = f"all places that the agent needs, and how found: {probed.hooks}"
    return [
        Finding(what, State.GOOD, f"{found.path}, {probed.version}, {digest}"),
        Finding(hooks, State.GOOD, places),
    ]


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


def _cache() -> Finding:
    try:
        is_empty = next(cache_directory().glob("images/*"), None) is None
    except FreezingTimeError as error:
        return Finding("cache", State.MISSING, "not usable", str(error))
    try:
        directory = require_writable_cache()
    except FreezingTimeError as error:
        if is_empty:
            return Finding("cache", State.MISSING, "not usable", str(error))
        return Finding("cache", State.INFORMATION, f"read-only: {error}")
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
        return Finding("guest image", State.MISSING, "not usable", str(error))
    if image is None:
        detail = "not built yet; the first run builds it, or: freezingtime image build"
        return Finding("guest image", State.INFORMATION, detail)
    kernel = image.manifest.kernel_release
    return Finding("guest image", State.GOOD, f"{image.name} {image.image_id[:12]}, Linux {kernel}")


def _kvm() -> Finding:
    """Whether the KVM clock can be had, which nothing else needs."""
    try:
        host = require_kvm()
    except InputError as error:
        return Finding("KVM clock", State.INFORMATION, f"not here: {error}")
    return Finding("KVM clock", State.GOOD, f"usable, counter at {host.tsc_khz / 1e6:.2f} GHz")
