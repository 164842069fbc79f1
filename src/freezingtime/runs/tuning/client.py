# SPDX-License-Identifier: GPL-2.0-or-later
"""Asking a run in progress to change parameters, by the socket in its directory."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from freezingtime.errors import InputError, RunError
from freezingtime.host.os_errors import os_errors_as
from freezingtime.runs.tuning.messages import (
    MAX_ANSWER_BYTES,
    MAX_LINE_BYTES,
    TuneAnswer,
    Tuned,
    TuneRequest,
    decode,
    encode,
)
from freezingtime.runs.tuning.server import short_path
from freezingtime.trace.record_paths import RECORD_NAME, stream_path
from freezingtime.trace.run_directory import (
    DOCUMENT_NAME,
    TUNE_SOCKET_NAME,
    locked_run_directory,
)

#: A turn comes after 100 ms of guest time at the latest, for which a busy guest on a slow medium
#: may take long.
ANSWER_DEADLINE_S = 120.0
_NO_RUN = "what answers there is no run of freezingtime's"


def tune_run(
    directory: Path, changes: Sequence[str] = (), deadline_s: float = ANSWER_DEADLINE_S
) -> Tuned:
    """Have a run in progress change parameters of its devices from now on.

    ``directory`` is the run's; ``changes`` are as in ``--at``, without a time. Returns the change
    with its guest time, and what can change; without changes, that alone.

    Raises:
        InputError: there is no such run in progress, or no such change.
        RunError: the run does not answer, or ended meanwhile.
    """
    with (
        os_errors_as(InputError, directory, "name the --out of a run in progress"),
        contextlib.ExitStack() as cleanup,
    ):
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        cleanup.callback(os.close, fd)
        connection = cleanup.enter_context(socket.socket(socket.AF_UNIX))
        connection.settimeout(deadline_s)
        try:
            connection.connect(short_path(fd))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise InputError(f"{directory}: {_reason(directory)}") from error
        except PermissionError as error:
            raise InputError(f"{directory}: only the user who runs it may change it") from error
        except BlockingIOError as error:
            raise RunError(f"{directory}: too many ask the run at once; try again") from error
        answer = _exchange(connection, directory, TuneRequest(changes=tuple(changes)))
    if answer.tuned is None:
        raise InputError(answer.error or f"{directory}: the run has sent no answer")
    return answer.tuned


def _exchange(connection: socket.socket, directory: Path, request: TuneRequest) -> TuneAnswer:
    line = encode(request)
    if len(line) > MAX_LINE_BYTES:
        raise InputError("these are too many changes at once; give fewer")
    received = b""
    try:
        connection.sendall(line)
        while not received.endswith(b"\n") and (piece := connection.recv(MAX_LINE_BYTES)):
            received += piece
            if len(received) > MAX_ANSWER_BYTES:
                raise RunError(f"{directory}: {_NO_RUN}")
    except TimeoutError as error:
        raise RunError(
            f"{directory}: the run has not answered for {connection.gettimeout():.0f} s (it may be "
            "stopped, or wait for a slow medium); whether it makes the change, its run.json will "
            "say"
        ) from error
    except ConnectionError:
        received = b""
    if not received.endswith(b"\n"):
        raise RunError(f"{directory}: the run ended before it could answer, or is asked by others")
    try:
        return decode(received, TuneAnswer)
    except ValueError as error:
        raise RunError(f"{directory}: {_NO_RUN}") from error


def _reason(directory: Path) -> str:
    """Say why a directory has no run that takes changes; remove the socket of one that was killed.

    Nobody else's: while we have the directory's lock, no run has.
    """
    record = directory / RECORD_NAME
    if (directory / DOCUMENT_NAME).exists():
        return "the run is over"
    try:
        with locked_run_directory(directory):
            (directory / TUNE_SOCKET_NAME).unlink(missing_ok=True)
    except InputError:
        return "the run takes no changes yet, or at all: only those of run, shell and ft.run do"
    except OSError:
        pass  # a directory that is not ours to change
    if record.exists() or stream_path(record).exists():
        return "the run is over: it was killed, or failed"
    return "is not the directory of a run; name the --out of one in progress"
