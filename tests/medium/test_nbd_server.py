# SPDX-License-Identifier: GPL-2.0-or-later
"""The NBD server's sockets in process: clients that are slow, greedy, rude or gone.

The test's own thread drives the server, so that every interleaving is chosen.
"""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import pack, unpack
from types import SimpleNamespace

import pytest

from freezingtime.errors import RunError
from freezingtime.host.poller import Poller
from freezingtime.nbd import connection as connection_module
from freezingtime.nbd import server as server_module
from freezingtime.nbd.connection import Connection
from freezingtime.nbd.export import Export
from freezingtime.nbd.server import CONNECTIONS_MAX, NbdServer
from freezingtime.request import Operation, Request
from tests.conftest import require_root

MIB = 2**20
DEADLINE_S = 60.0
EXPORT = Export("disk", 256 * MIB)
READ, WRITE, DISC, FLUSH = 0, 1, 2, 3

# From the protocol: flags, then NBD_OPT_GO for the default export, without information.
CLIENT_FLAGS = pack(">I", 3)
GO = CLIENT_FLAGS + b"IHAVEOPT" + pack(">IIIH", 7, 6, 0, 0)
ABORT = CLIENT_FLAGS + b"IHAVEOPT" + pack(">II", 2, 0)
GREETING_BYTES = 18
#: NBD_INFO_EXPORT, NBD_INFO_BLOCK_SIZE and the acknowledgement, each behind 20 bytes.
GO_REPLY_BYTES = 20 + 12 + 20 + 14 + 20


def command(kind: int, cookie: int, offset_bytes: int = 0, length_bytes: int = 0) -> bytes:
    return pack(">IHHQQI", 0x25609513, 0, kind, cookie, offset_bytes, length_bytes)


@dataclass
class Harness:
    """A server, and the reasons why its clients have gone."""

    server: NbdServer
    poller: Poller
    path: Path
    reasons: list[str | None]

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.path))
        client.settimeout(DEADLINE_S)
        return client

    def connect_in_transmission(self) -> socket.socket:
        """Connect and shake hands."""
        client = self.connect()
        client.sendall(GO)
        self.pump_until(lambda: readable_bytes(client) >= GREETING_BYTES + GO_REPLY_BYTES)
        receive(client, GREETING_BYTES + GO_REPLY_BYTES)
        return client

    def pump_until(self, condition: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline_s, "what was waited for has not happened"
            self.poller.poll(0.01)

    def take(self, count: int) -> list[tuple[Request, Connection]]:
        taken: list[tuple[Request, Connection]] = []

        def enough() -> bool:
            taken.extend(self.server.take_requests())
            return len(taken) >= count

        self.pump_until(enough)
        return taken


def readable_bytes(client: socket.socket) -> int:
    client.setblocking(False)
    try:
        return len(client.recv(1 << 20, socket.MSG_PEEK))
    except BlockingIOError:
        return 0
    finally:
        client.settimeout(DEADLINE_S)


def receive(client: socket.socket, size_bytes: int) -> bytes:
    data = bytearray()
    while len(data) < size_bytes:
        part = client.recv(min(1 << 20, size_bytes - len(data)))
        assert part, f"the server has hung up after {len(data)} of {size_bytes} bytes"
        data += part
    return bytes(data)


def receive_reply(client: socket.socket, data_bytes: int = 0) -> tuple[int, int, bytes]:
    """Receive a simple reply: cookie, error and data."""
    magic, error, cookie = unpack(">IIQ", receive(client, 16))
    assert magic == 0x67446698
    return cookie, error, receive(client, data_bytes)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Harness]]:
    poller = Poller()
    harnesses: list[Harness] = []

    def begin(**options: object) -> Harness:
        reasons: list[str | None] = []
        server = NbdServer(poller, on_disconnected=reasons.append, **options)
        path = tmp_path / f"nbd{len(harnesses)}.sock"
        server.listen(str(path), {"disk": (0, EXPORT)})
        harnesses.append(Harness(server, poller, path, reasons))
        return harnesses[-1]

    yield begin
    for harness in harnesses:
        harness.server.close()
    poller.close()


@pytest.fixture
def harness(start: Callable[..., Harness]) -> Harness:
    """A server as the virtual clock has it."""
    return start()


@pytest.fixture
def patient(start: Callable[..., Harness]) -> Harness:
    """A server as the host clock has it."""
    return start(waits_for_readers=False)


def test_requests_come_in_order_of_receipt(harness: Harness) -> None:
    first, second = harness.connect_in_transmission(), harness.connect_in_transmission()
    first.sendall(command(READ, 1, 0, 512))
    harness.pump_until(lambda: list(harness.server._arrived))
    second.sendall(command(READ, 2, 0, 512) + command(READ, 3, 0, 512))
    harness.pump_until(lambda: len(harness.server._arrived) == 3)
    first.sendall(command(READ, 4, 0, 512))
    harness.pump_until(lambda: len(harness.server._arrived) == 4)
    cookies = []
    while taken := harness.server.take_request(0):
        cookies.append(taken[0].cookie)
    assert cookies == [1, 2, 3, 4]
    assert harness.server.take_request(1) is None


def test_replies_may_come_in_any_order(harness: Harness) -> None:
    client = harness.connect_in_transmission()
    client.sendall(command(READ, 1, 0, 512) + command(FLUSH, 2) + command(WRITE, 3, 0, 3) + b"bad")
    for request, channel in reversed(harness.take(2)):
        data = b"d" * 512 if request.operation is Operation.READ else b""
        harness.server.reply(channel, request, data)
    answers = {
        cookie: (error, data)
        for cookie, error, data in [
            receive_reply(client),  # the write was rejected on receipt: EINVAL
            receive_reply(client),
            receive_reply(client, 512),
        ]
    }
    assert answers == {3: (22, b""), 2: (0, b""), 1: (0, b"d" * 512)}


def test_an_error_has_its_number_on_the_wire(harness: Harness) -> None:
    client = harness.connect_in_transmission()
    client.sendall(command(READ, 5, 0, 512))
    ((request, channel),) = harness.take(1)
    harness.server.reply_error(channel, request, OSError(28, "full"))
    assert receive_reply(client) == (5, 28, b"")


def test_a_write_arrives_whole_however_it_is_sent(harness: Harness) -> None:
    client = harness.connect_in_transmission()
    payload = bytes(range(256)) * (16 * 1024)
    message = command(WRITE, 1, 0, len(payload)) + payload
    sender = threading.Thread(target=client.sendall, args=(message,))
    sender.start()
    ((request, _),) = harness.take(1)
    sender.join()
    assert request.data == payload


def test_flush_sends_all_of_a_reply_to_a_slow_reader(harness: Harness) -> None:
    client = harness.connect_in_transmission()
    client.sendall(command(READ, 1, 0, 32 * MIB))
    ((request, channel),) = harness.take(1)
    payload = bytes(range(256)) * (32 * MIB // 256)
    harness.server.reply(channel, request, payload)
    received: list[tuple[int, int, bytes]] = []
    reader = threading.Timer(0.05, lambda: received.append(receive_reply(client, len(payload))))
    reader.start()
    harness.server.flush()
    reader.join()
    assert received == [(1, 0, payload)]


def test_flush_gives_up_on_a_client_that_reads_nothing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_FLUSH_DEADLINE_S", 0.1)
    client = harness.connect_in_transmission()
    client.sendall(command(READ, 1, 0, 32 * MIB))
    ((request, channel),) = harness.take(1)
    harness.server.reply(channel, request, bytes(32 * MIB))
    with pytest.raises(RunError, match="a client has not read its replies for"):
        harness.server.flush()


def test_flush_ends_when_the_client_goes(harness: Harness) -> None:
    client = harness.connect_in_transmission()
    client.sendall(command(READ, 1, 0, 32 * MIB))
    ((request, channel),) = harness.take(1)
    harness.server.reply(channel, request, bytes(32 * MIB))
    threading.Timer(0.05, client.close).start()
    harness.server.flush()
    (reason,) = harness.reasons
    assert reason is not None
    assert reason.startswith("the client disconnected: ")


def test_a_client_that_reads_nothing_holds_up_nobody(patient: Harness) -> None:
    idler, busy = patient.connect_in_transmission(), patient.connect_in_transmission()
    idler.sendall(command(READ, 1, 0, 32 * MIB))
    ((request, channel),) = patient.take(1)
    patient.server.reply(channel, request, b"i" * (32 * MIB))
    patient.server.flush()
    for cookie in range(10):
        busy.sendall(command(READ, cookie, 0, 512))
        ((request, channel),) = patient.take(1)
        patient.server.reply(channel, request, b"b" * 512)
        patient.server.flush()
        assert receive_reply(busy, 512) == (cookie, 0, b"b" * 512)
    # The idler has lost nothing by its sleep.
    received: list[tuple[int, int, bytes]] = []
    reader = threading.Thread(target=lambda: received.append(receive_reply(idler, 32 * MIB)))
    reader.start()
    patient.pump_until(lambda: not reader.is_alive())
    assert received == [(1, 0, b"i" * (32 * MIB))]


def test_a_greedy_client_gets_no_more_than_its_share(patient: Harness) -> None:
    """Of 5000 requests at once, so many are under way that memory is bounded; none is lost."""
    client = patient.connect_in_transmission()
    sender = threading.Thread(
        target=lambda: client.sendall(b"".join(command(FLUSH, n) for n in range(5000)))
    )
    sender.start()
    taken = patient.take(1000)
    for _ in range(20):
        patient.poller.poll(0.01)
        taken += patient.server.take_requests()
    assert 1000 <= len(taken) < 2000
    cookies = []
    while taken:
        for request, channel in taken:
            cookies.append(request.cookie)
            patient.server.reply(channel, request, b"")
        taken = patient.take(1) if len(cookies) < 5000 else []
    sender.join()
    assert cookies == list(range(5000))
    assert sorted(receive_reply(client)[0] for _ in range(5000)) == cookies


def test_large_reads_are_bounded_by_their_bytes(patient: Harness) -> None:
    client = patient.connect_in_transmission()
    client.sendall(b"".join(command(READ, n, 0, 32 * MIB) for n in range(20)))
    taken = patient.take(4)
    patient.poller.poll(0.05)
    taken += patient.server.take_requests()
    assert len(taken) == 4


def test_what_all_clients_hold_together_is_bounded(
    start: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten that ask for 8 MiB each, and four times over, of a server that holds 32 MiB."""
    monkeypatch.setattr(server_module, "HELD_BYTES_MAX", 32 * MIB)
    monkeypatch.setattr(server_module, "_CROWDED_STALL_DEADLINE_S", 0.5)
    monkeypatch.setattr(server_module, "_WATCH_PERIOD_S", 0.1)
    server = start(waits_for_readers=False)
    clients = [server.connect_in_transmission() for _ in range(10)]
    for client in clients:
        client.sendall(b"".join(command(READ, n, 0, 8 * MIB) for n in range(4)))
    taken = server.take(4)
    server.poller.poll(0.05)
    assert server.server.take_requests() == []
    for request, channel in taken:
        server.server.reply(channel, request, bytes(8 * MIB))
    # None of them reads; whoever is owed something gives way to the others.
    held_bytes = []

    def all_gone() -> bool:
        for request, channel in server.server.take_requests():
            server.server.reply(channel, request, bytes(request.length_bytes))
            held_bytes.append(sum(c.unsent_bytes for c in server.server._connections))
        return len(server.reasons) == len(clients)

    server.pump_until(all_gone)
    assert max(held_bytes) <= 32 * MIB
    honest = server.connect_in_transmission()
    honest.sendall(command(READ, 99, 0, MIB))
    ((request, channel),) = server.take(1)
    server.server.reply(channel, request, bytes(MIB))
    assert set(server.reasons) == {"it made no progress for 0.5 s"}
    answer: list[tuple[int, int, bytes]] = []
    reader = threading.Thread(target=lambda: answer.append(receive_reply(honest, MIB)))
    reader.start()
    server.pump_until(lambda: not reader.is_alive())
    assert answer == [(99, 0, bytes(MIB))]


def test_writes_that_are_not_whole_count_as_well(
    start: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that have been begun come in whole, beyond the bound; the others wait."""
    monkeypatch.setattr(server_module, "HELD_BYTES_MAX", 16 * MIB)
    server = start(waits_for_readers=False)
    clients = [server.connect_in_transmission() for _ in range(3)]
    for client in clients[:2]:
        client.sendall(command(WRITE, 1, 0, 8 * MIB) + bytes(1000))
        for _ in range(5):
            server.poller.poll(0.01)
    clients[2].sendall(command(FLUSH, 7))
    for _ in range(20):
        server.poller.poll(0.01)
    assert server.server.take_requests() == []
    senders = [
        threading.Thread(target=client.sendall, args=(bytes(8 * MIB - 1000),))
        for client in clients[:2]
    ]
    for sender in senders:
        sender.start()
    taken = server.take(2)
    assert {request.operation for request, _ in taken} == {Operation.WRITE}
    for request, channel in taken:
        server.server.reply(channel, request, b"")
    ((request, _),) = server.take(1)
    assert request.cookie == 7
    for sender in senders:
        sender.join()


def test_a_client_that_stops_in_the_middle_of_a_write_is_dropped(
    start: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_STALL_DEADLINE_S", 0.2)
    monkeypatch.setattr(server_module, "_WATCH_PERIOD_S", 0.05)
    server = start(waits_for_readers=False)
    client, idle = server.connect_in_transmission(), server.connect_in_transmission()
    client.sendall(command(WRITE, 1, 0, MIB) + bytes(1000))
    server.pump_until(lambda: server.reasons)
    assert client.recv(1) == b""
    time.sleep(0.3)
    server.poller.poll(0.1)
    assert len(server.reasons) == 1
    idle.sendall(command(FLUSH, 3))  # whoever has nothing to do may be silent
    assert server.take(1)[0][0].cookie == 3


def test_a_client_is_not_to_blame_for_a_slow_disk(
    start: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has sent more than is taken in at once, and has to wait with the rest."""
    monkeypatch.setattr(server_module, "_WATCH_PERIOD_S", 0.05)
    monkeypatch.setattr(connection_module, "_BACKLOG_BYTES_MAX", MIB)
    server = start(waits_for_readers=False)
    client = server.connect_in_transmission()
    write = command(WRITE, 1, 0, MIB) + bytes(MIB)
    sender = threading.Thread(target=client.sendall, args=(write * 3,))
    sender.start()
    # Until it is the server that takes no more, a slow host might keep the client from sending.
    (connection,) = server.server._connections
    server.pump_until(lambda: connection._is_behind)
    with monkeypatch.context() as impatient:
        impatient.setattr(server_module, "_STALL_DEADLINE_S", 0.2)
        deadline_s = time.monotonic() + 1.0
        while time.monotonic() < deadline_s:
            server.poller.poll(0.05)
    assert server.reasons == []
    assert len(server.take(3)) == 3
    sender.join()


def test_a_stop_of_the_server_is_no_stall_of_its_clients(
    start: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stopped it (Ctrl-Z) may have stopped them as well."""
    now_s = [1000.0]
    for module in (server_module, connection_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    server = start(waits_for_readers=False)
    shaking = server.connect()
    writer = server.connect_in_transmission()
    writer.sendall(command(WRITE, 1, 0, MIB) + bytes(1000))
    (_, connection) = server.server._connections
    server.pump_until(lambda: connection._is_within_payload)

    def watch(step_s: float) -> None:
        now_s[0] += step_s
        server.server._drop_stalled()

    watch(0.5)
    watch(3600.0)
    assert server.reasons == []
    for _ in range(20):
        watch(1.0)
    # Of the handshake's 10 s, and the stall's 30.
    assert server.reasons == ["no handshake within 10 s"]
    for _ in range(20):
        watch(1.0)
    assert server.reasons[1:] == ["it made no progress for 30 s"]
    shaking.close()
    writer.close()


def test_whoever_does_not_shake_hands_makes_room_for_others(patient: Harness) -> None:
    server, idlers = patient, []
    for _ in range(CONNECTIONS_MAX + 5):
        idlers.append(server.connect())
        server.poller.poll(1)
    busy = server.connect_in_transmission()
    busy.sendall(command(FLUSH, 1))
    assert server.take(1)[0][0].cookie == 1
    assert len(server.reasons) == 6
    assert [idlers[0].recv(100)[:8], idlers[0].recv(1)] == [b"NBDMAGIC", b""]


def test_a_handshake_has_a_deadline(
    start: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often something of it comes."""
    monkeypatch.setattr(server_module, "HANDSHAKE_DEADLINE_S", 0.3)
    monkeypatch.setattr(server_module, "_WATCH_PERIOD_S", 0.05)
    server = start(waits_for_readers=False)
    idler, busy = server.connect(), server.connect_in_transmission()
    idler.sendall(CLIENT_FLAGS)
    option = b"IHAVEOPT" + pack(">II", 99, 0)

    def talk_on() -> bool:
        if not server.reasons:
            idler.sendall(option)
        return bool(server.reasons)

    server.pump_until(talk_on)
    assert server.reasons[0] in ("no handshake within 0.3 s", "client sent more than 256 options")
    busy.sendall(command(FLUSH, 1))
    assert server.take(1)[0][0].cookie == 1


def test_a_server_works_beyond_1024_descriptors(start: Callable[..., Harness]) -> None:
    """Its epoll as well, which select(2) could not wait for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    taken: list[int] = []
    try:
        while not taken or taken[-1] < 1100:
            taken.append(os.dup(0))
        poller = Poller()
        start_s = time.monotonic()
        assert not poller.poll(0.0123)
        assert time.monotonic() - start_s >= 0.0123
        reader, writer = os.pipe()
        poller.register(reader, lambda: None)
        assert not poller.poll(0)
        os.write(writer, b"x")
        assert poller.poll(10)
        poller.unregister(reader)
        poller.close()
        os.close(reader)
        os.close(writer)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_poller_calls_back_in_time_and_in_order() -> None:
    poller, called = Poller(), []
    start_s = time.monotonic()
    for delay_s in (0.02, 0.01, 0.0):
        poller.call_later(delay_s, lambda delay_s=delay_s: called.append(delay_s))
    while len(called) < 3:
        assert not poller.poll(None)
    assert called == [0.0, 0.01, 0.02]
    assert time.monotonic() - start_s >= 0.02
    poller.close()


def test_a_client_that_only_looks_in_leaves_no_trace(harness: Harness) -> None:
    """It is gone before the greeting, as whoever probes a socket is."""
    for _ in range(20):
        harness.connect().close()
    harness.pump_until(lambda: len(harness.reasons) == 20)
    assert set(harness.reasons) == {None}
    harness.connect_in_transmission().close()


def test_an_abort_is_in_order_even_if_nobody_awaits_its_answer(harness: Harness) -> None:
    client = harness.connect()
    client.sendall(ABORT)
    client.close()
    harness.pump_until(lambda: harness.reasons)
    assert harness.reasons == [None]


def test_an_abort_is_answered_and_then_the_connection_ends(harness: Harness) -> None:
    client = harness.connect()
    client.sendall(ABORT)
    harness.pump_until(lambda: harness.reasons)
    answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer[GREETING_BYTES:] == bytes.fromhex("0003e889045565a9") + pack(">III", 2, 1, 0)
    assert harness.reasons == [None]


def test_what_was_sent_before_a_disconnect_is_done_and_answered(harness: Harness) -> None:
    client = harness.connect_in_transmission()
    client.sendall(command(WRITE, 1, 0, 512) + b"w" * 512 + command(DISC, 2))
    ((request, channel),) = harness.take(1)
    assert request.data == b"w" * 512
    assert harness.reasons == []
    harness.server.reply(channel, request, b"")
    assert receive_reply(client) == (1, 0, b"")
    assert client.recv(1) == b""
    assert harness.reasons == [None]


def test_what_was_sent_before_a_client_vanished_is_done(harness: Harness) -> None:
    client = harness.connect_in_transmission()
    client.sendall(command(WRITE, 1, 0, 512) + b"w" * 512)
    client.close()
    ((request, channel),) = harness.take(1)
    assert request.data == b"w" * 512
    harness.server.reply(channel, request, b"")
    assert harness.reasons == ["the client disconnected: Broken pipe"]
    # A second reply to nobody must be harmless, whatever the emulator still has under way.
    harness.server.reply(channel, request, b"")


def test_a_half_request_is_no_request(harness: Harness) -> None:
    client = harness.connect_in_transmission()
    client.sendall(command(WRITE, 1, 0, 512) + b"half")
    client.close()
    harness.pump_until(lambda: harness.reasons)
    assert harness.server.take_requests() == []


def test_a_client_that_vanishes_is_not_polled_for_ever(harness: Harness) -> None:
    """While its request is under way there is nothing to poll it for: no busy waiting."""
    client = harness.connect_in_transmission()
    client.sendall(command(FLUSH, 1))
    client.close()
    ((request, channel),) = harness.take(1)
    for _ in range(3):
        harness.poller.poll(0.0)
    assert not harness.poller.poll(0.0)
    harness.server.reply(channel, request, b"")
    assert len(harness.reasons) == 1


def test_a_client_that_breaks_the_protocol_is_dropped_with_the_reason(harness: Harness) -> None:
    client = harness.connect_in_transmission()
    client.sendall(b"\xff" * 28)
    harness.pump_until(lambda: harness.reasons)
    (reason,) = harness.reasons
    assert reason == "client sent a request with bad magic 0xffffffff"
    assert client.recv(1) == b""


def test_more_clients_than_there_is_room_for_wait_their_turn(harness: Harness) -> None:
    clients = [harness.connect_in_transmission() for _ in range(CONNECTIONS_MAX)]
    late = harness.connect()
    for _ in range(5):
        harness.poller.poll(0.01)
    assert readable_bytes(late) == 0
    clients.pop().close()
    harness.pump_until(lambda: readable_bytes(late) == GREETING_BYTES)
    for number, client in enumerate(clients):
        client.sendall(command(FLUSH, number))
    taken = harness.take(len(clients))
    for request, channel in taken:
        harness.server.reply(channel, request, b"")
    assert [receive_reply(client)[0] for client in clients] == list(range(len(clients)))


def test_closing_hangs_up_and_removes_the_socket(harness: Harness) -> None:
    client = harness.connect_in_transmission()
    harness.server.close()
    assert client.recv(1) == b""
    assert not harness.path.exists()
    assert harness.reasons == [None]


def test_closing_leaves_a_successors_socket(harness: Harness) -> None:
    harness.path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(harness.path))
        harness.server.close()
        assert harness.path.exists()


def test_an_address_that_cannot_be_is_refused(harness: Harness, tmp_path: Path) -> None:
    for address in (tmp_path / "missing" / "nbd.sock", harness.path):
        with pytest.raises(OSError, match=r"No such file|in use"):
            harness.server.listen(str(address), {})


def test_an_abstract_address_is_for_our_own_user_only(start: Callable[..., Harness]) -> None:
    require_root()
    harness = start()
    name = f"freezingtime-test-{harness.path}"
    harness.server.listen(f"\0{name}", {"disk": (0, EXPORT)})
    assert received_as(0, name, harness) == GREETING_BYTES
    assert received_as(65534, name, harness) == 0


def received_as(user: int, name: str, harness: Harness) -> int:
    """How much another user's process is told when it connects to an abstract address."""
    child = os.fork()
    if child == 0:
        try:
            os.setuid(user)
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(DEADLINE_S)
                client.connect(f"\0{name}")
                os._exit(len(client.recv(100)))
        finally:
            os._exit(255)
    ended: list[int] = []

    def has_ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid == child:
            ended.append(os.waitstatus_to_exitcode(status))
        return bool(ended)

    harness.pump_until(has_ended)
    return ended[0]


def test_a_reply_to_another_servers_client_is_a_bug(harness: Harness) -> None:
    class Stranger:
        disk_index = 0

    with pytest.raises(TypeError, match="not a connection of this server"):
        harness.server.reply(Stranger(), Request(Operation.FLUSH, 0, 0), b"")
