# SPDX-License-Identifier: GPL-2.0-or-later
"""One disk for any NBD client, in host time."""

from __future__ import annotations

import contextlib
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from freezingtime.clock.host import HostClock
from freezingtime.disk.media import open_medium
from freezingtime.disk.spec import DiskSpec
from freezingtime.emulator.loop import EmulatedDisk, Emulator, Totals
from freezingtime.emulator.medium_queue import MediumQueue, new_workers
from freezingtime.errors import InputError, RunError
from freezingtime.host.os_errors import os_errors_as
from freezingtime.host.poller import Poller
from freezingtime.host.required_platform import require_linux
from freezingtime.nbd.export import Export
from freezingtime.nbd.server import NbdServer
from freezingtime.runs.disks import check_displacement
from freezingtime.trace.live_record import LiveRecord
from freezingtime.trace.record_file import RecordFile
from freezingtime.trace.record_header import RecordedDisk, RecordHeader

_CONNECT_DEADLINE_S = 2.0
_STOP_DEADLINE_S = 2.0
#: How long one turn of the emulator may keep a signal waiting.
_STUCK_DEADLINE_S = 5.0
_HANDLED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


def serve(
    spec: DiskSpec,
    socket_path: Path,
    *,
    seed: int,
    out: Path | None = None,
    on_ready: Callable[[], None],
    on_disconnected: Callable[[str | None], None] = lambda reason: None,
) -> Totals:
    """Serve one disk at a Unix socket until SIGINT or SIGTERM; return what happened.

    ``on_ready`` is called once clients may connect, ``on_disconnected`` whenever one has
    gone, with the reason unless it left in order. A medium's failure is reported to the client
    that asked, and a client waits for a slow medium as long as it likes. ``out`` is where the
    record goes, if any. Main thread only, for the signals.

    Raises:
        InputError: the medium cannot be opened, or the socket or the record not be made.
        RunError: the record cannot be written, or the device broke its contract.
    """
    require_linux("serving a device")
    if spec.device.disappears:
        raise InputError(
            f"{spec.given.place}fault disappear: a client of serve has no controller that it could "
            "be unplugged from; use hang, or error=EIO"
        )
    with contextlib.ExitStack() as cleanup:
        medium = open_medium(spec, Path(tempfile.gettempdir()))
        cleanup.callback(medium.close)
        poller = Poller()
        cleanup.callback(poller.close)
        clock = HostClock(poller)
        cleanup.callback(clock.close)
        server = NbdServer(poller, waits_for_readers=False, on_disconnected=on_disconnected)
        cleanup.callback(server.close)
        workers = new_workers()
        cleanup.callback(_stop, workers)

        name = spec.name or "disk1"
        queue = MediumQueue(medium, workers, threading.TIMEOUT_MAX, on_done=clock.nudge)
        device = spec.device.build(seed, medium.size_bytes)
        disk = EmulatedDisk(0, name, device, queue, may_fail=bool(spec.device.faults))
        export = Export(
            name,
            medium.size_bytes,
            read_only=not medium.writable,
            min_block_bytes=spec.traits.logical_block_bytes,
        )
        _make_way(socket_path)
        about = f"--socket {socket_path}"
        with os_errors_as(InputError, about, "name a path in a writable directory"):
            server.listen(str(socket_path), {name: (0, export)})

        emulator = Emulator([disk], clock, server)
        if out is not None:
            header = RecordHeader(
                disks=[RecordedDisk(name, spec.text, spec.device.fault_texts)], seed=seed
            )
            with os_errors_as(InputError, f"--out {out}", "name a file in a directory"):
                file = RecordFile(out, header)
            emulator.on_completed = cleanup.enter_context(LiveRecord(file, disk.index)).write
        with _ending_on_signals(clock.end, emulator.totals):
            on_ready()
            emulator.run()
        check_displacement(medium, written=spec.writable)
        return emulator.totals


def _stop(workers: ThreadPoolExecutor) -> None:
    """Let the workers finish what they do, so that the medium can be closed behind them."""
    stopping = threading.Thread(
        target=workers.shutdown, kwargs={"cancel_futures": True}, daemon=True
    )
    stopping.start()
    stopping.join(_STOP_DEADLINE_S)


def _make_way(socket_path: Path) -> None:
    """Remove a socket that a killed server has left; refuse anything else."""
    about = f"--socket {socket_path}"
    with os_errors_as(InputError, about, "name another path"):
        if not socket_path.exists():
            return
        if not socket_path.is_socket():
            raise InputError(f"{about}: exists and is not a socket; name another path")
        if _is_dead(socket_path):
            socket_path.unlink()
            return
    raise InputError(f"{about}: another server listens there; stop it or name another path")


def _is_dead(socket_path: Path) -> bool:
    """Return whether no process listens on a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_DEADLINE_S)
        try:
            probe.connect(str(socket_path))
        except ConnectionRefusedError:
            return True
        except BlockingIOError:  # too many clients wait for a server: there is one
            return False
    return False


@contextlib.contextmanager
def _ending_on_signals(end: Callable[[], None], totals: Totals) -> Iterator[None]:
    """End in order on a signal; on the second, or when that takes too long, out of order.

    A device whose call does not return would keep the loop from ever hearing of the first.
    """
    is_ending = False

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_ending
        if is_ending:
            raise _stuck(totals)
        is_ending = True
        end()
        signal.setitimer(signal.ITIMER_REAL, _STUCK_DEADLINE_S)

    previous = {number: signal.signal(number, handle) for number in _HANDLED_SIGNALS}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _stuck(totals: Totals) -> RunError:
    disk = totals.device_at_work
    if disk is None:
        return RunError("the server did not stop by itself and was ended")
    return RunError(f"the device of {disk} hangs in a call; the server was ended")
