# SPDX-License-Identifier: GPL-2.0-or-later
"""One QEMU process: started with the agent, spoken to over QMP, and certain to end.

If our own process is killed, the agent sees its control socket close and ends QEMU.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Self

from qemu.qmp import ConnectError, ExecuteError, QMPError
from qemu.qmp.legacy import QEMUMonitorProtocol

from freezingtime.clock.agent import EXIT_REFUSED, WORDS_OF_AGENT
from freezingtime.errors import InputError, RunError
from freezingtime.vm.capture import Capture

_START_DEADLINE_S = 60.0
_EXIT_DEADLINE_S = 1.0
_KILL_DEADLINE_S = 10.0
#: How many lines the last words are looked for in.
_LAST_LINES = 20


class QemuProcess:
    """A running QEMU. A context manager: QEMU is dead when the block is left."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str,
        qmp: socket.socket,
        qmp_peer: socket.socket,
        environment: Mapping[str, str],
        log: Capture,
        inherit: Sequence[int],
        answer_deadline_s: float,
    ) -> None:
        """Start ``command``, whose QMP chardev is the descriptor of ``qmp_peer``.

        ``name`` is its name in messages. Output of QEMU and the agent goes to ``log``;
        ``inherit`` are further descriptors that the command line speaks of.
        ``answer_deadline_s`` bounds :meth:`execute`.

        Raises:
            InputError: there is no such program, or it cannot be executed.
        """
        self._name = name
        self._log = log
        self._answer_deadline_s = answer_deadline_s
        self._qmp_socket = qmp
        self._qmp: QEMUMonitorProtocol | None = None
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log.fileno(),
                stderr=log.fileno(),
                env={**os.environ, **environment},
                pass_fds=[qmp_peer.fileno(), *inherit],
                start_new_session=True,  # Ctrl-C is for us; we end QEMU
            )
        except OSError as error:
            raise InputError(
                f"cannot start {name}: {error.strerror}; "
                "install it with 'apt-get install qemu-system-x86'"
            ) from error
        finally:
            qmp_peer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    def connect(self) -> None:
        """Wait for QMP's greeting: the machine is built, and stopped.

        Raises:
            InputError: the QEMU is unusable, with the agent's message.
            RunError: QEMU did not start, with its output.
        """
        try:
            self._qmp = QEMUMonitorProtocol(self._qmp_socket)
            self._qmp.settimeout(_START_DEADLINE_S)
            self._qmp.connect()
        except (ConnectError, QMPError, OSError, EOFError) as error:
            failure = self._failure("QEMU did not start", error)
            if self.exit_status() == EXIT_REFUSED:
                words = self.last_words().removeprefix(WORDS_OF_AGENT)
                raise InputError(f"{self._name}: {words}") from error
            raise failure from error

    def execute(self, command: str, **arguments: object) -> Any:
        """Run a QMP command and return its result.

        Raises:
            RunError: QEMU refused, died, or did not answer within the deadline.
        """
        if self._qmp is None:
            raise RuntimeError("call connect() first")
        try:
            self._qmp.settimeout(self._answer_deadline_s)
            return self._qmp.cmd(command, **arguments)
        except ExecuteError as error:
            raise RunError(f"QEMU refused {command}: {error}") from error
        except (QMPError, OSError, EOFError, TimeoutError) as error:
            raise self._failure(f"QEMU was lost during {command}", error) from error

    def hand_over(self, file: int, name: str) -> None:
        """Hand an open file to QEMU, which knows it by this name and never opens one itself.

        Raises:
            RunError: as :meth:`execute` does.
        """
        if self._qmp is None:
            raise RuntimeError("call connect() first")
        try:
            self._qmp.send_fd_scm(file)
        except (QMPError, OSError) as error:
            raise self._failure(f"QEMU was lost when it was given {name}", error) from error
        self.execute("getfd", fdname=name)

    def exit_status(self) -> int | None:
        """QEMU's exit status (negative: killed by that signal), or None while it runs."""
        return self._process.poll()

    def await_exit(self) -> int | None:
        """Return :meth:`exit_status`, waiting for a QEMU that is about to end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_EXIT_DEADLINE_S)
        return self.exit_status()

    def last_words(self) -> str:
        """The last line that QEMU or the agent printed, or an empty text.

        Warnings are skipped: newer QEMUs have one for each old machine type.
        """
        lines = [line for line in self._log.last_lines(_LAST_LINES) if ": warning: " not in line]
        return lines[-1] if lines else ""

    def kill(self) -> None:
        """End QEMU at once; everything worth keeping is on the disks' media. Idempotent."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(_KILL_DEADLINE_S)
        if self._qmp is not None:
            with contextlib.suppress(QMPError, OSError, EOFError):
                self._qmp.close()
            self._qmp = None
        self._qmp_socket.close()

    def _failure(self, what: str, error: BaseException) -> RunError:
        status = self.await_exit()
        words = self.last_words() or str(error) or type(error).__name__
        return RunError(f"{what}; it {describe_exit(status)}: {words}")


def describe_exit(status: int | None) -> str:
    """Put an exit status into words, to follow a name."""
    if status is None:
        return "does not answer"
    if status < 0:
        return f"was killed by signal {-status} ({signal.strsignal(-status)})"
    return f"ended with exit status {status}"
