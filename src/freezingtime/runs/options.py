# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user says of a run, as text, made into a plan: the one way to make one.

The names are those of the options of ``freezingtime run`` (``--from`` is ``start_from``, as
``from`` is a word of Python's), and messages name the option.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from freezingtime.disk.spec import DiskSpec, parse_disk
from freezingtime.errors import InputError
from freezingtime.frontend import DEFAULT_QUEUES, Frontend
from freezingtime.images.guest_image import MINI
from freezingtime.images.imported import ImportPlan
from freezingtime.runs.own_system import is_disk_file, own_name
from freezingtime.runs.run import RunPlan
from freezingtime.store.saved_machine import find_saved
from freezingtime.units import (
    format_size_bytes,
    parse_option,
    parse_rate_hz,
    parse_size_bytes,
    parse_time_ns,
)
from freezingtime.vm.control_disk import COLLECT_MAX_BYTES
from freezingtime.vm.qemu.command import CPUS_MAX

CPU_RATE = "4G"
MEMORY = "512MiB"
MEDIUM_DEADLINE = "60s"
BOOT_DEADLINE = "300s"
COLLECT_LIMIT = "4GiB"

_MEMORY_MIN_BYTES = 128 << 20
_MEMORY_MAX_BYTES = 256 << 30  # the CPU model's addresses end at 1 TiB
_RATE_MIN_HZ = 1_000_000
_RATE_MAX_HZ = 16_000_000_000
_MEDIUM_DEADLINE_MAX_S = 1_000_000


class _Machine(NamedTuple):
    """What machine it is unless the options say so."""

    guest: str = MINI
    memory: str = MEMORY
    cpus: int = 1


#: A file or pipe without end is not read into memory.
_SCRIPT_BYTES_MAX = 1 << 20


def make_plan(
    *,
    disks: Sequence[str],
    script: bytes,
    job_directory: Path | None = None,
    guest: str | None = None,
    kernel: Path | None = None,
    initrd: Path | None = None,
    append: str | None = None,
    allow_backing: Sequence[Path] = (),
    root_device: str | None = None,
    collect: Sequence[str] = (),
    collect_limit: str = COLLECT_LIMIT,
    time_limit: str | None = None,
    real_time_limit: str | None = None,
    cpu_rate: str = CPU_RATE,
    memory: str | None = None,
    cpus: int | None = None,
    seed: int = 0,
    boot: bool = False,
    start_from: str | None = None,
    save: str | None = None,
    medium_deadline: str = MEDIUM_DEADLINE,
    boot_deadline: str = BOOT_DEADLINE,
    qemu: str | None = None,
    out: Path | None = None,
) -> RunPlan:
    """The plan of a run.

    Where ``start_from`` names a saved machine, that brings guest, memory and CPUs along.

    Raises:
        InputError: an option has a value that it cannot have, or there is no such machine.
    """
    machine = _Machine() if start_from is None else _saved_machine(start_from)
    guest = machine.guest if guest is None else guest
    system = _system(guest, kernel, initrd, append, allow_backing)
    return RunPlan(
        disks=[parse_disk(text) for text in disks],
        script=script,
        guest=guest if system is None else own_name(system),
        system=system,
        root_device=_root_device(root_device),
        job_directory=job_directory,
        collect=collect,
        collect_limit_bytes=_collect_limit_bytes(collect_limit),
        limit_ns=_limit_ns("--time-limit", time_limit),
        host_limit_s=_limit_s("--real-time-limit", real_time_limit),
        rate_hz=_rate_hz(cpu_rate),
        memory_bytes=_memory_bytes(machine.memory if memory is None else memory),
        cpu_count=_cpu_count(machine.cpus if cpus is None else cpus),
        seed=seed,
        fresh_boot=boot,
        start_from=start_from,
        save_as=save,
        qemu=qemu,
        medium_deadline_s=_medium_deadline_s(medium_deadline),
        boot_deadline_s=_limit_s("--boot-deadline", boot_deadline) or 0.0,
        out=out,
    )


def _saved_machine(name: str) -> _Machine:
    was = find_saved(name).description
    memory = format_size_bytes(was.machine.memory_bytes)
    return _Machine(was.guest, memory, was.machine.cpu_count)


def command_script(command: Sequence[str]) -> bytes:
    """The script that runs one command with its arguments."""
    return shell_script(f"exec {shlex.join(command)}")


def shell_script(line: str) -> bytes:
    """The script that a line of the shell makes."""
    return f"#!/bin/sh\n{line}\n".encode()


def file_script(path: Path) -> bytes:
    """The script in a file.

    Raises:
        InputError: it cannot be read, is no script, or is longer than any script is.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_SCRIPT_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"--script {path}: {error.strerror}; name a readable file") from error
    if len(content) > _SCRIPT_BYTES_MAX:
        raise InputError(f"--script {path}: is longer than 1 MiB; hand large files over with --job")
    if not content.startswith(b"#!"):
        raise InputError(f"--script {path}: must begin with '#!', such as #!/bin/sh")
    return content


def _system(
    guest: str,
    kernel: Path | None,
    initrd: Path | None,
    append: str | None,
    allow_backing: Sequence[Path],
) -> ImportPlan | None:
    """The user's own, if ``guest`` names a file."""
    if is_disk_file(guest):
        return ImportPlan(
            Path(guest),
            kernel,
            initrd,
            append or "",
            disk_option="--guest",
            allow_backing=tuple(allow_backing),
        )
    given = {
        "--kernel": kernel,
        "--initrd": initrd,
        "--append": append,
        "--allow-backing": allow_backing or None,
    }
    for option, value in given.items():
        if value is not None:
            raise InputError(
                f"{option}: is for a system of your own; name its disk with --guest ./FILE"
            )
    return None


def _root_device(text: str | None) -> DiskSpec | None:
    if text is None:
        return None
    spec = parse_disk(text)
    attached = (
        spec.frontend is Frontend.VIRTIO_BLK and spec.write_cache and spec.queues == DEFAULT_QUEUES
    )
    if spec.name or spec.size_bytes or "medium=" in text or not attached:
        raise InputError(
            f"--root-device {text}: the image gives its name, size and medium, and no controller; "
            "write DEVICE or DEVICE,delay=TIME"
        )
    return spec


def _limit_ns(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    limit_ns = parse_option(option, text, parse_time_ns)
    if limit_ns <= 0:
        raise InputError(f"{option} {text}: must be more than 0, such as 60s")
    return limit_ns


def _limit_s(option: str, text: str | None) -> float | None:
    limit_ns = _limit_ns(option, text)
    return None if limit_ns is None else limit_ns / 1e9


def _rate_hz(text: str) -> int:
    rate_hz = parse_option("--cpu-rate", text, parse_rate_hz)
    if not _RATE_MIN_HZ <= rate_hz <= _RATE_MAX_HZ:
        raise InputError(f"--cpu-rate {text}: must be from 1M to 16G instructions per second")
    return rate_hz


def _cpu_count(count: int) -> int:
    if not 1 <= count <= CPUS_MAX:
        raise InputError(f"--cpus {count}: must be from 1 to {CPUS_MAX}")
    return count


def _memory_bytes(text: str) -> int:
    size_bytes = parse_option("--memory", text, parse_size_bytes)
    if not _MEMORY_MIN_BYTES <= size_bytes <= _MEMORY_MAX_BYTES or size_bytes % (1 << 20):
        raise InputError(f"--memory {text}: must be whole MiB, from 128MiB to 256GiB")
    return size_bytes


def _collect_limit_bytes(text: str) -> int:
    limit_bytes = parse_option("--collect-limit", text, parse_size_bytes)
    if not 0 < limit_bytes <= COLLECT_MAX_BYTES:
        raise InputError(
            f"--collect-limit {text}: must be more than 0 and at most "
            f"{format_size_bytes(COLLECT_MAX_BYTES)}; put larger files on a disk"
        )
    return limit_bytes


def _medium_deadline_s(text: str) -> float:
    deadline_s = parse_option("--medium-deadline", text, parse_time_ns) / 1e9
    if not 0 < deadline_s <= _MEDIUM_DEADLINE_MAX_S:
        raise InputError(
            f"--medium-deadline {text}: must be more than 0 and at most {_MEDIUM_DEADLINE_MAX_S}s"
        )
    return deadline_s
