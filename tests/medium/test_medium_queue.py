# SPDX-License-Identifier: GPL-2.0-or-later
"""Transfers on a medium: in an order that data cannot tell, and never waited for without end."""

from __future__ import annotations

import errno
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.emulator.medium_queue import MediumQueue, Transfer
from freezingtime.errors import RunError
from freezingtime.medium.memory import MemoryMedium
from freezingtime.request import Buffer, Operation, Request

SIZE_BYTES = 1 << 20
BLOCK_BYTES = 4096
#: How long a test waits for what must happen; reaching it is a failure.
DEADLINE_S = 60.0
#: How long a test looks out for what must not happen.
LOOKOUT_S = 0.05

READ, WRITE, FLUSH = Operation.READ, Operation.WRITE, Operation.FLUSH
DISCARD, WRITE_ZEROES = Operation.DISCARD, Operation.WRITE_ZEROES


class SteeredMedium(MemoryMedium):
    """Memory whose calls wait to be released one by one, and which notes what it does."""

    may_block = True

    def __init__(self) -> None:
        super().__init__(SIZE_BYTES)
        self._changed = threading.Condition()
        self._released: set[int] = set()
        self.entered: list[str] = []
        self.finished: list[str] = []

    def release(self, *offsets_bytes: int) -> None:
        """Let calls at these offsets through, now and later."""
        with self._changed:
            self._released.update(offsets_bytes)
            self._changed.notify_all()

    def await_entered(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.entered) >= count, DEADLINE_S)

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        self._pass("read", offset_bytes)
        return super().read(offset_bytes, length_bytes)

    def write(self, offset_bytes: int, data: Buffer) -> None:
        self._pass("write", offset_bytes)
        super().write(offset_bytes, data)
        self.finished.append(f"write {offset_bytes}")

    def flush(self) -> None:
        self.finished.append("flush")

    def _pass(self, name: str, offset_bytes: int) -> None:
        with self._changed:
            self.entered.append(f"{name} {offset_bytes}")
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: offset_bytes in self._released, DEADLINE_S)


@pytest.fixture(scope="module")
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16, thread_name_prefix="test") as pool:
        yield pool


@pytest.fixture
def medium() -> Iterator[SteeredMedium]:
    medium = SteeredMedium()
    yield medium
    medium.release(*range(0, SIZE_BYTES, 512))


def read(offset_bytes: int, length_bytes: int = BLOCK_BYTES) -> Request:
    return Request(READ, offset_bytes, length_bytes)


def write(offset_bytes: int, fill: bytes, length_bytes: int = BLOCK_BYTES) -> Request:
    return Request(WRITE, offset_bytes, length_bytes, fill * length_bytes)


def test_a_read_waits_for_the_write_before_it(
    medium: SteeredMedium, workers: ThreadPoolExecutor
) -> None:
    queue = MediumQueue(medium, workers, DEADLINE_S)
    writing = queue.start(write(0, b"w", 8192))
    reading = queue.start(read(4096))
    medium.await_entered(1)
    time.sleep(LOOKOUT_S)
    assert medium.entered == ["write 0"]
    assert not writing.done
    assert not reading.done
    medium.release(0, 4096)
    assert queue.wait(reading) > 0
    assert reading.data == b"w" * BLOCK_BYTES


def test_a_write_waits_for_the_read_before_it(
    medium: SteeredMedium, workers: ThreadPoolExecutor
) -> None:
    queue = MediumQueue(medium, workers, DEADLINE_S)
    reading = queue.start(read(0, 8192))
    writing = queue.start(write(4096, b"w"))
    medium.await_entered(1)
    time.sleep(LOOKOUT_S)
    assert medium.entered == ["read 0"]
    medium.release(0, 4096)
    queue.wait(writing)
    assert reading.data == bytes(8192)


def test_a_chain_keeps_its_order(medium: SteeredMedium, workers: ThreadPoolExecutor) -> None:
    """The middle one overlaps both its neighbours, which do not overlap each other."""
    queue = MediumQueue(medium, workers, DEADLINE_S)
    queue.start(write(0, b"a", 2 * BLOCK_BYTES))
    queue.start(write(BLOCK_BYTES, b"b", 2 * BLOCK_BYTES))
    last = queue.start(write(2 * BLOCK_BYTES, b"c", 2 * BLOCK_BYTES))
    medium.await_entered(1)
    medium.release(2 * BLOCK_BYTES)
    time.sleep(LOOKOUT_S)
    assert medium.entered == ["write 0"]
    medium.release(0, BLOCK_BYTES)
    queue.wait(last)
    assert medium.finished == ["write 0", "write 4096", "write 8192"]
    content = MemoryMedium.read(medium, 0, 4 * BLOCK_BYTES)
    assert content == b"".join(fill * BLOCK_BYTES for fill in (b"a", b"b", b"c", b"c"))


@pytest.mark.parametrize(
    "requests",
    [
        [read(0), read(0), read(0)],
        [write(0, b"a"), write(BLOCK_BYTES, b"b"), read(2 * BLOCK_BYTES)],
    ],
    ids=["reads of one place", "places apart"],
)
def test_what_does_not_conflict_runs_at_once(
    medium: SteeredMedium, workers: ThreadPoolExecutor, requests: list[Request]
) -> None:
    queue = MediumQueue(medium, workers, DEADLINE_S)
    transfers = [queue.start(request) for request in requests]
    medium.await_entered(len(requests))
    assert not any(transfer.done for transfer in transfers)
    medium.release(0, BLOCK_BYTES, 2 * BLOCK_BYTES)
    for transfer in transfers:
        queue.wait(transfer)


def test_a_forced_write_is_flushed_behind_its_data(
    medium: SteeredMedium, workers: ThreadPoolExecutor
) -> None:
    medium.release(0)
    queue = MediumQueue(medium, workers, DEADLINE_S)
    request = write(0, b"w")
    request.fua = True
    queue.wait(queue.start(request))
    assert medium.finished == ["write 0", "flush"]


def test_a_flush_flushes(medium: SteeredMedium, workers: ThreadPoolExecutor) -> None:
    queue = MediumQueue(medium, workers, DEADLINE_S)
    queue.wait(queue.start(Request(FLUSH, 0, 0)))
    assert medium.finished == ["flush"]


def test_the_deadline_names_medium_request_and_cure(
    medium: SteeredMedium, workers: ThreadPoolExecutor
) -> None:
    queue = MediumQueue(medium, workers, 0.01)
    with pytest.raises(RunError) as raised:
        queue.wait(queue.start(read(8192)))
    assert str(raised.value) == (
        "memory has not finished a read of 4096 bytes at 8192 within 0.01 s; "
        "raise --medium-deadline if it is merely slow"
    )


def test_an_abandoned_medium_is_waited_for_no_more(
    medium: SteeredMedium, workers: ThreadPoolExecutor
) -> None:
    queue = MediumQueue(medium, workers, DEADLINE_S)
    transfer = queue.start(read(0))
    medium.await_entered(1)
    threading.Timer(LOOKOUT_S, queue.abandon).start()
    with pytest.raises(RunError, match="memory was abandoned"):
        queue.wait(transfer)


class FailingMedium(MemoryMedium):
    may_block = True

    def __init__(self, error: Exception) -> None:
        super().__init__(SIZE_BYTES)
        self._error = error

    def write(self, *_: object) -> None:
        raise self._error


def test_a_fault_is_the_transfers_own(workers: ThreadPoolExecutor) -> None:
    """It is told by the transfer, and what waited for it goes on."""
    fault = OSError(errno.ENOSPC, "file:/x: cannot write: No space left on device")
    queue = MediumQueue(FailingMedium(fault), workers, DEADLINE_S)
    failing, reading = queue.start(write(0, b"w")), queue.start(read(0))
    queue.wait(reading)
    assert failing.error is fault
    assert reading.error is None
    assert reading.data == bytes(BLOCK_BYTES)


def test_an_unforeseen_fault_in_a_worker_is_not_lost(workers: ThreadPoolExecutor) -> None:
    queue = MediumQueue(FailingMedium(MemoryError("no more")), workers, DEADLINE_S)
    transfer = queue.start(write(0, b"w"))
    queue.wait(transfer)
    assert transfer.error is not None
    assert transfer.error.errno == errno.EIO
    assert "memory: MemoryError: no more" in str(transfer.error)


def test_who_wants_to_know_is_told_of_each_end(workers: ThreadPoolExecutor) -> None:
    told = threading.Semaphore(0)
    medium = FailingMedium(OSError(errno.EIO, "broken"))
    queue = MediumQueue(medium, workers, DEADLINE_S, on_done=told.release)
    for request in (write(0, b"w"), read(0), read(BLOCK_BYTES)):
        queue.start(request)
    for _ in range(3):
        assert told.acquire(timeout=DEADLINE_S)


def test_a_medium_that_never_blocks_needs_no_worker() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    queue = MediumQueue(MemoryMedium(SIZE_BYTES), pool, DEADLINE_S)
    queue.start(write(0, b"w"))
    transfer = queue.start(read(0))
    assert transfer.done
    assert queue.wait(transfer) == 0
    assert transfer.data == b"w" * BLOCK_BYTES


def test_the_time_on_the_medium_is_measured(
    medium: SteeredMedium, workers: ThreadPoolExecutor
) -> None:
    queue = MediumQueue(medium, workers, DEADLINE_S)
    transfer = queue.start(read(0))
    medium.await_entered(1)
    time.sleep(LOOKOUT_S)
    medium.release(0)
    waited_ns = queue.wait(transfer)
    assert transfer.duration_ns >= LOOKOUT_S * 1e9
    assert waited_ns <= transfer.duration_ns + 10e9


class JitteryMedium(MemoryMedium):
    """Memory whose calls take 0 to 300 us, and which checks the promise of its caller."""

    may_block = True

    def __init__(self, seed: int) -> None:
        super().__init__(SIZE_BYTES)
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._running: list[Request] = []
        self.broken_promises: list[tuple[Request, Request]] = []

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        return self._during(
            Request(READ, offset_bytes, length_bytes),
            lambda: super(JitteryMedium, self).read(offset_bytes, length_bytes),
        )

    def write(self, offset_bytes: int, data: Buffer) -> None:
        self._during(
            Request(WRITE, offset_bytes, len(data)),
            lambda: super(JitteryMedium, self).write(offset_bytes, data),
        )

    def zero(self, offset_bytes: int, length_bytes: int) -> None:
        self._during(
            Request(WRITE_ZEROES, offset_bytes, length_bytes),
            lambda: super(JitteryMedium, self).zero(offset_bytes, length_bytes),
        )

    def _during(self, request: Request, action: Callable[[], object]) -> bytes:
        with self._lock:
            self.broken_promises += [
                (request, other) for other in self._running if request.conflicts_with(other)
            ]
            self._running.append(request)
            delay_s = self._rng.random() * 300e-6
        time.sleep(delay_s)
        result = action()
        with self._lock:
            self._running.remove(request)
        return result if isinstance(result, bytes) else b""


@given(
    script=st.lists(
        st.tuples(
            st.sampled_from([READ, WRITE, DISCARD, WRITE_ZEROES, FLUSH]),
            st.integers(0, 11),
            st.integers(1, 5),
        ),
        min_size=1,
        max_size=60,
    ),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_what_is_read_never_depends_on_the_medium(
    script: list[tuple[Operation, int, int]], seed: int, workers: ThreadPoolExecutor
) -> None:
    """All requests at once on a medium of changing speed, against a plain bytearray in order."""
    medium, model = JitteryMedium(seed), bytearray(SIZE_BYTES)
    queue = MediumQueue(medium, workers, DEADLINE_S)
    started: list[tuple[Transfer, bytes]] = []
    for number, (operation, block, blocks) in enumerate(script, start=1):
        place = slice(block * 512, (block + blocks) * 512)
        length_bytes = 0 if operation is FLUSH else blocks * 512
        request = Request(operation, 0 if operation is FLUSH else place.start, length_bytes)
        if operation is WRITE:
            request.data = bytes([number]) * length_bytes
            model[place] = request.data
        elif operation in (DISCARD, WRITE_ZEROES):
            model[place] = bytes(length_bytes)
        expected = bytes(model[place]) if operation is READ else b""
        started.append((queue.start(request), expected))
    for transfer, expected in started:
        queue.wait(transfer)
        assert transfer.error is None
        assert bytes(transfer.data) == expected
    assert MemoryMedium.read(medium, 0, SIZE_BYTES) == model
    assert medium.broken_promises == []
