# SPDX-License-Identifier: GPL-2.0-or-later
"""Output of the job: passed on as it comes, and all of it, however the job ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Self

from freezingtime.errors import RunError
from freezingtime.vm.capture import Capture


class JobOutput:
    """A context manager around the job; when it is left, the rest is passed on.

    Be it a time limit or the death of the guest that ends the job: what it had printed is in
    ``stdout_path``, with ``on_output``, and with the error that says why.
    """

    def __init__(
        self,
        stdout: Capture,
        stderr: Capture,
        on_output: Callable[[bytes, bytes], None],
        stdout_path: Path | None,
    ) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._on_output = on_output
        self._stdout_path = stdout_path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self.pass_on()
            return
        if isinstance(error, RunError):
            error.output = (self._stdout.copy_handle(), self._stderr.copy_handle())
        # What has failed first is what counts, and may be why the rest cannot be passed on.
        with contextlib.suppress(RunError, OSError):
            self.pass_on()

    def pass_on(self) -> None:
        """Pass on what has been printed since the last time.

        Raises:
            RunError: it cannot be written.
        """
        while True:
            stdout, stderr = self._stdout.read_new(), self._stderr.read_new()
            if stdout:
                self._write(stdout)
            self._on_output(stdout, stderr)
            if not (stdout or stderr):
                return

    def _write(self, stdout: bytes) -> None:
        if self._stdout_path is None:
            return
        try:
            with self._stdout_path.open("ab") as file:
                file.write(stdout)
        except OSError as error:
            raise RunError(
                f"cannot write the job's output to {self._stdout_path}: {error.strerror}; "
                "free space, or name another --out"
            ) from error
