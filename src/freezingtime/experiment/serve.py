"""One disk for any NBD client, in host time."""

from __future__ import annotations

import contextlib
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from freezingtime.clock.host import HostClock
from freezingtime.emulator import Disk, Emulator, Totals
from freezingtime.errors import InputError
from freezingtime.medium_queue import MediumQueue
from freezingtime.nbd.export import Export
from freezingtime.nbd.server import NbdServer
from freezingtime.poller import Poller
from freezingtime.spec import DiskSpec, build_device, open_medium

_MEDIUM_WORKERS = 64
_CONNECT_DEADLINE_S = 2.0
_END_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(
    spec: DiskSpec,
    socket_path: Path,
    *,
    seed: int,
    medium_deadline_s: float,
    on_ready: Callable[[], None],
) -> Totals:
    """Serve one disk at a Unix socket until SIGINT or SIGTERM; return what happened.

    ``on_ready`` is called once clients may connect. Main thread only, for the signals.

    Raises:
        InputError: the medium cannot be opened or the socket not be made.
        RunError: a client or the medium blocked for too long.
    """
    with contextlib.ExitStack() as cleanup:
        medium = open_medium(spec, Path(tempfile.gettempdir()))
        cleanup.callback(medium.close)
        poller = Poller()
        cleanup.callback(poller.close)
        clock = HostClock(poller)
        cleanup.callback(clock.close)
        server = NbdServer(poller)
        cleanup.callback(server.close)
        workers = ThreadPoolExecutor(_MEDIUM_WORKERS, thread_name_prefix="medium")
        cleanup.callback(workers.shutdown, wait=False, cancel_futures=True)

        name = spec.name or "disk1"
        queue = MediumQueue(medium, workers, medium_deadline_s, on_done=clock.nudge)
        disk = Disk(0, name, build_device(spec, seed), queue)
        export = Export(name, medium.size_bytes, read_only=not medium.writable)
        _make_way(socket_path)
        try:
            server.listen(str(socket_path), {name: (0, export)})
        except OSError as error:
            raise InputError(
                f"--socket {socket_path}: {error.strerror or error}; "
                "name a path in a directory that you may write to"
            ) from error

        emulator = Emulator([disk], clock, server)
        with _ending_on_signals(clock.end):
            on_ready()
            emulator.run()
        return emulator.totals


def _make_way(socket_path: Path) -> None:
    """Remove a socket that a killed server has left; refuse anything else."""
    if not socket_path.exists():
        return
    if not socket_path.is_socket():
        raise InputError(f"--socket {socket_path}: exists and is no socket; name another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_DEADLINE_S)
        try:
            probe.connect(str(socket_path))
        except ConnectionRefusedError:
            socket_path.unlink()
            return
        except OSError as error:
            raise InputError(f"--socket {socket_path}: {error.strerror or error}") from error
    raise InputError(
        f"--socket {socket_path}: another server listens there; stop it or name another path"
    )


@contextlib.contextmanager
def _ending_on_signals(end: Callable[[], None]) -> Iterator[None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        end()

    previous = {number: signal.signal(number, handle) for number in _END_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
