# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest that has broken out of its machine would still lack; seen from the host."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from freezingtime.disk.spec import parse_disk
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.run import run
from freezingtime.vm.qemu.program import QemuProgram, find_qemu
from tests.support.guestlib import Output

_NETWORK = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet")


@dataclass
class Watch(Output):
    """Looks at QEMU while the job speaks."""

    statuses: list[str] = field(default_factory=list)
    """Of each of QEMU's threads."""
    sockets: set[str] = field(default_factory=set)
    network_sockets: set[str] = field(default_factory=set)

    def output(self, stdout: bytes, stderr: bytes) -> None:
        super().output(stdout, stderr)
        for process in children():
            self.statuses += [path.read_text() for path in process.glob("task/*/status")]
            links = [str(path.readlink()) for path in (process / "fd").iterdir()]
            self.sockets |= {link for link in links if link.startswith("socket:")}
            for name in _NETWORK:
                table = process / "net" / name
                if table.exists():
                    inodes = {line.split()[9] for line in table.read_text().splitlines()[1:]}
                    self.network_sockets |= {f"socket:[{inode}]" for inode in inodes}


def children() -> list[Path]:
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            status = (directory / "status").read_text()
            command = (directory / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if value(status, "PPid") == str(os.getpid()) and b"-nodefaults" in command:
            found.append(directory)
    return found


def value(status: str, name: str) -> str:
    found = re.search(rf"^{name}:\t(.*)$", status, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.slow
@pytest.mark.guest
def test_qemu_can_start_nothing_has_no_network_and_gains_no_rights() -> None:
    watch = Watch()
    result = run(RunPlan([parse_disk("constant:10us")], b"#!/bin/sh\nls /sys/class/net\n"), watch)
    assert watch.stdout == b"lo\n"
    assert result.valid
    assert len(watch.statuses) > 1
    assert watch.sockets
    assert not watch.sockets & watch.network_sockets
    for status in watch.statuses:
        assert value(status, "Uid").split() == [str(os.geteuid())] * 4
        if find_qemu().has_sandbox:
            assert (value(status, "Seccomp"), value(status, "NoNewPrivs")) == ("2", "1")


def test_a_sandbox_is_asked_for_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that is not linked with what it needs for that would not know the option."""
    qemu = find_qemu()
    assert qemu.has_sandbox
    sandbox = qemu.options[qemu.options.index("-sandbox") + 1].split(",")
    assert {"on", "spawn=deny", "elevateprivileges=deny"} <= {*sandbox}
    for other in (Path("/bin/true"), tmp_path / "none", Path(__file__)):
        assert "-sandbox" not in QemuProgram(other).options
    monkeypatch.setattr("freezingtime.vm.qemu.program._SECCOMP", tmp_path / "none")
    assert "-sandbox" not in qemu.options
