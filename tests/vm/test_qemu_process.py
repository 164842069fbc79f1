# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU that does not get as far as to be spoken to, and what is said of it."""

from __future__ import annotations

import socket

import pytest

from freezingtime.errors import InputError, RunError
from freezingtime.vm.capture import Captures
from freezingtime.vm.qemu.process import QemuProcess

WARNING = "qemu: warning: Machine type 'pc-i440fx-7.2' is deprecated"


def connect(script: str) -> None:
    """Start a shell script in the place of QEMU, and wait for its greeting."""
    ours, theirs = socket.socketpair()
    with (
        Captures() as captures,
        QemuProcess(
            ["/bin/sh", "-c", script],
            name="/a/qemu",
            qmp=ours,
            qmp_peer=theirs,
            environment={},
            log=captures.add("QEMU's output"),
            inherit=[],
            answer_deadline_s=10.0,
        ) as process,
    ):
        process.connect()


def test_what_was_said_last_is_said_of_it() -> None:
    with pytest.raises(RunError, match=r"ended with exit status 3: it is broken$"):
        connect("echo 'all is well' >&2; echo 'it is broken' >&2; exit 3")


def test_a_warning_is_no_last_word() -> None:
    """The newest QEMUs have one for each old machine type, at the start of every run."""
    with pytest.raises(RunError, match=r"ended with exit status 3: it is broken$"):
        connect(f'echo "it is broken" >&2; echo "{WARNING}" >&2; exit 3')
    with pytest.raises(RunError) as caught:
        connect(f'echo "{WARNING}" >&2; kill -9 $$')
    assert "was killed by signal 9 (Killed)" in str(caught.value)
    assert "deprecated" not in str(caught.value)


def test_a_qemu_that_the_agent_refuses_is_bad_input() -> None:
    with pytest.raises(InputError) as caught:
        connect(f'echo "{WARNING}" >&2; echo "freezingtime agent: not this one" >&2; exit 64')
    assert str(caught.value) == "/a/qemu: not this one"
