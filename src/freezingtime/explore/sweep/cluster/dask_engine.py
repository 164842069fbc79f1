# SPDX-License-Identifier: GPL-2.0-or-later
"""Points of a sweep on the workers of a Dask cluster, which is there or is made here."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezingtime.device.own_model import allow_code, is_code_allowed
from freezingtime.errors import FreezingTimeError, InputError, RunError
from freezingtime.explore.sweep import worker
from freezingtime.explore.sweep.names import DASK_LOCAL
from freezingtime.explore.sweep.pool import (
    Ended,
    Numbered,
    TaskQueue,
    choose_workers,
    until_broken,
    without_main,
)
from freezingtime.explore.sweep.request import SweepRequest
from freezingtime.explore.sweep.sweep import Engine, Sweep
from freezingtime.explore.sweep.worker import PointOutcome, Task
from freezingtime.store.results.code import code_identity
from freezingtime.store.results.result_store import ResultStore

if TYPE_CHECKING:
    from distributed import Client

_FILE_SUFFIX = ".json"
_CONNECT_S = 10
#: So many tasks are handed out where there are no workers yet: a cluster may grow with its work.
_TASKS_MIN = 16
_TASKS_PER_THREAD = 2
_COUNT_S = 1.0

#: A process runs one point at a time, however many threads its worker has: points change the
#: working directory.
_one_point = threading.Lock()


class DaskEngine(Engine):
    """Executes tasks on a cluster's workers, through the executor of its client."""

    def __init__(self, address: str, workers: int | None = None) -> None:
        """``address``: of a scheduler, the name of its file, or :data:`DASK_LOCAL`: then there are
        ``workers`` processes.
        """
        self._address = address
        self._wanted = workers
        self._threads = 0

    @property
    def workers(self) -> int:
        """Return the number of threads that the workers have."""
        return self._threads

    def execute(
        self, tasks: Sequence[Numbered], sweep: Sweep, request: SweepRequest, store: ResultStore
    ) -> Ended:
        """Execute the tasks, all of them by the scheduler's own rules."""
        if not tasks:
            return
        task_bytes = max(request.unit_bytes(task.unit) for _, task in tasks)
        count = choose_workers(self._wanted, len(tasks), task_bytes)
        with _connected(self._address, count) as client:
            executor = client.get_executor(pure=False)
            place = (str(Path.cwd()), is_code_allowed(), code_identity())
            counted_s = 0.0

            def room() -> int:
                nonlocal counted_s
                if time.monotonic() - counted_s > _COUNT_S:
                    self._threads = sum(client.nthreads().values())
                    counted_s = time.monotonic()
                return max(_TASKS_MIN, _TASKS_PER_THREAD * self._threads)

            ended = until_broken(
                lambda task: executor.submit(_execute_there, task, *place),
                TaskQueue(tasks),
                room,
                None,
                _explain,
            )
            try:
                for each in ended:
                    yield each
                    if client.status != "running":
                        raise self._lost()
            except (CancelledError, OSError) as error:
                raise self._lost() from error
            finally:
                with contextlib.suppress(Exception):  # whatever a scheduler that is gone gives
                    executor.shutdown(wait=False)

    def _lost(self) -> RunError:
        return RunError(
            f"--dask {self._address}: the scheduler is gone; what has been run is in the store: "
            "the same command goes on"
        )


def _execute_there(
    task: Task, directory: str, is_allowed: bool, code: Mapping[str, str]
) -> PointOutcome:
    """Execute a task on a worker, in the same directory as its sweep."""
    if is_allowed:
        allow_code()
    here = code_identity()
    for name, digest in code.items():
        if here.get(name) != digest:
            reason = f"{socket.gethostname()} has another {name}; install the same on every worker"
            return PointOutcome.of_error(reason, task.digest)
    try:
        with _one_point, contextlib.chdir(directory):
            if task.unit.key().digest != task.digest:
                reason = f"its files are not the same on {socket.gethostname()}"
                return PointOutcome.of_error(reason, task.digest)
            return worker.execute(task)
    except FreezingTimeError as error:
        return PointOutcome.of_error(f"on {socket.gethostname()}: {error}", task.digest)
    except OSError as error:
        reason = f"{directory}: {error.strerror} on {socket.gethostname()}; share it"
        return PointOutcome.of_error(reason, task.digest)


def _explain(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return "its worker died, each time that it was tried; out of memory?"
    return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _connected(address: str, count: int) -> Iterator[Client]:
    """A client of a cluster.

    Raises:
        InputError: there is no scheduler at the address, or Dask is not installed.
    """
    try:
        from distributed import Client, LocalCluster
        from distributed.comm.addressing import get_address_host_port
    except ImportError as error:
        raise InputError(
            f"--dask {address}: needs Dask's scheduler; install it with: "
            "pip install 'freezingtime[dask]'"
        ) from error
    # What becomes of a worker or scheduler is said by the outcomes.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as cleanup:
        target: Any = address
        if address == DASK_LOCAL:
            scratch = cleanup.enter_context(
                tempfile.TemporaryDirectory(prefix="freezingtime-", ignore_cleanup_errors=True)
            )
            with without_main():
                target = cleanup.enter_context(
                    LocalCluster(
                        n_workers=count,
                        threads_per_worker=1,
                        dashboard_address=None,
                        local_directory=scratch,
                        silence_logs=logging.CRITICAL,
                    )
                )
        try:
            if address != DASK_LOCAL:  # a client that fails would try on, and print how it ends
                target = _address(address)
                with socket.create_connection(get_address_host_port(target), _CONNECT_S):
                    pass
            client = Client(target, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"--dask {address}: no scheduler answers there; write tcp://HOST:PORT as "
                f"'dask scheduler' prints it, the name of its --scheduler-file, or {DASK_LOCAL}"
            ) from error
        cleanup.callback(_close, client)
        yield client


def _address(text: str) -> str:
    """The address of a scheduler, which may be in its file. Raises OSError, ValueError."""
    if not text.endswith(_FILE_SUFFIX):
        return text
    document = json.loads(Path(text).read_text())
    if not isinstance(document, dict) or not isinstance(document.get("address"), str):
        raise ValueError("has no address")
    return str(document["address"])


def _close(client: Client) -> None:
    with contextlib.suppress(Exception):  # a scheduler that is gone has been told about
        client.close(timeout=2)
