# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime serve` as foreign NBD clients see it: libnbd, QEMU's and fio's, no code of ours.

Where the protocol leaves no room, other servers must give the same answers: the checks that
say so run against nbdkit and qemu-nbd too. Times are asserted from below only, since that is
what an emulated device promises under the host's clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from struct import pack
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.conftest import PROGRAM, RunProgram, require_root, require_tool

MIB = 2**20
SIZE_BYTES = 64 * MIB
_READY_DEADLINE_S = 120.0
_CLIENT_DEADLINE_S = 120.0
#: Far more than an orderly end takes, far less than any deadline of ours.
_PROMPT_S = 10.0


class Server:
    """A running NBD server."""

    def __init__(self, process: subprocess.Popen[str], socket_path: Path) -> None:
        self.process = process
        self.socket_path = socket_path
        self.uri = f"nbd+unix:///?socket={socket_path}"

    def end(self, number: signal.Signals = signal.SIGTERM) -> str:
        """End it by a signal; return what it said on stderr. Asserts that it ends well, soon."""
        start_s = time.monotonic()
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=_CLIENT_DEADLINE_S)
        assert time.monotonic() - start_s < _PROMPT_S
        assert self.process.returncode == 0, said
        assert not self.socket_path.exists()
        return said


@contextmanager
def started(command: list[str], socket_path: Path, **options: Any) -> Iterator[Server]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options
    )
    try:
        await_listener(process, socket_path)
        yield Server(process, socket_path)
    finally:
        process.kill()
        process.communicate()


def await_listener(process: subprocess.Popen[str], socket_path: Path) -> None:
    deadline_s = time.monotonic() + _READY_DEADLINE_S
    while time.monotonic() < deadline_s:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(socket_path)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    pytest.fail(f"{process.args!r} does not listen: {process.communicate()[1]}")


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "nbd.sock"


@pytest.fixture
def serve(socket_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts our server on a disk; it is gone after the test."""
    running = []

    def start(spec: str, arguments: Sequence[str | Path] = (), **options: Any) -> Server:
        command = [str(PROGRAM), "serve", spec, "--socket", str(socket_path), *map(str, arguments)]
        context = started(command, socket_path, **options)
        running.append(context)
        return context.__enter__()

    yield start
    for context in running:
        context.__exit__(None, None, None)


@pytest.fixture(params=["freezingtime", "nbdkit", "qemu-nbd"])
def any_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Ours and two others, each serving 64 MiB of zeros that may be written."""
    path = tmp_path / "nbd.sock"
    if request.param == "freezingtime":
        spec = f"constant:20us,size={SIZE_BYTES}"
        command = [str(PROGRAM), "serve", spec, "--socket", str(path)]
    elif request.param == "nbdkit":
        tool = require_tool("nbdkit")
        command = [tool, "--foreground", "--unix", str(path), "memory", str(SIZE_BYTES)]
    else:
        disk = tmp_path / "disk.raw"
        with disk.open("wb") as file:
            file.truncate(SIZE_BYTES)
        options = ["--persistent", "--shared=16", "--format=raw", "--discard=unmap"]
        command = [require_tool("qemu-nbd"), *options, "--socket", str(path), str(disk)]
    with started(command, path) as server:
        yield server


def client(*command: str | Path, status: int = 0) -> str:
    """Run a client to its end; return its stdout and stderr."""
    require_tool(str(command[0]))
    ended = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_CLIENT_DEADLINE_S,
        check=False,
    )
    assert ended.returncode == status, ended.stdout
    return ended.stdout


def qemu_io(uri: str, *commands: str, status: int = 0) -> str:
    """Run qemu-io's commands; it reports data that is not the pattern as a failure."""
    words = [word for command in commands for word in ("-c", command)]
    return client("qemu-io", "-f", "raw", "-t", "none", *words, uri, status=status)


def random_file(path: Path, size_bytes: int = SIZE_BYTES) -> Path:
    """A file of random data with holes, the same each time."""
    rng = random.Random(1)
    with path.open("wb") as file:
        for offset_bytes in range(0, size_bytes, 4 * MIB):
            file.seek(offset_bytes)
            file.write(rng.randbytes(MIB))
        file.truncate(size_bytes)
    return path


# What every server must answer alike.


def test_nbdinfo_sees_the_size_and_what_may_be_done(any_server: Server) -> None:
    (export,) = json.loads(client("nbdinfo", "--json", any_server.uri))["exports"]
    assert export["export-size"] == SIZE_BYTES
    assert export["is_read_only"] is False
    for ability in ("can_flush", "can_fua", "can_trim", "can_zero", "can_multi_conn"):
        assert export[ability] is True, ability


def test_nbdinfo_lists_one_export(any_server: Server) -> None:
    """Its connection for the list ends with an abort, and its ways are not ours to know."""
    (export,) = json.loads(client("nbdinfo", "--list", "--json", any_server.uri))["exports"]
    assert export["export-size"] == SIZE_BYTES


@pytest.mark.parametrize("connections", ["1", "4"])
def test_nbdcopy_there_and_back_is_the_same(
    any_server: Server, tmp_path: Path, connections: str
) -> None:
    source, copy = random_file(tmp_path / "source"), tmp_path / "copy"
    options = [f"--connections={connections}", "--requests=16", "--flush"]
    client("nbdcopy", *options, source, any_server.uri)
    client("nbdcopy", *options, any_server.uri, copy)
    assert copy.read_bytes() == source.read_bytes()


def test_qemu_io_reads_what_it_wrote(any_server: Server) -> None:
    """Patterns over patterns; -P of a read makes qemu-io compare."""
    output = qemu_io(
        any_server.uri,
        "read -P 0 0 1M",
        "write -P 0x11 0 1M",
        "write -f -P 0x22 4k 8k",
        "write -z 64k 64k",
        "discard 128k 64k",
        "flush",
        "read -P 0x11 0 4k",
        "read -P 0x22 4k 8k",
        "read -P 0x11 12k 52k",
        "read -P 0 64k 128k",
        "read -P 0x11 192k 832k",
        "read -P 0 1M 1M",
        "aio_write -P 0x33 2M 1M",
        "aio_write -P 0x44 3M 1M",
        "aio_flush",
        "read -P 0x33 2M 1M",
        "read -P 0x44 3M 1M",
        f"write -P 0x55 {SIZE_BYTES - 512} 512",
        f"read -P 0x55 {SIZE_BYTES - 512} 512",
    )
    assert "Pattern verification failed" not in output


def test_qemu_io_notices_a_wrong_pattern(any_server: Server) -> None:
    """What the test above relies on."""
    output = qemu_io(any_server.uri, "write -P 1 0 4k", "read -P 2 0 4k", status=1)
    assert "Pattern verification failed" in output


def test_qemu_io_is_told_of_a_write_beyond_the_end(any_server: Server) -> None:
    output = qemu_io(any_server.uri, f"write {SIZE_BYTES - 512} 1024", status=1)
    assert "failed" in output


def test_a_second_client_sees_what_the_first_wrote(any_server: Server) -> None:
    qemu_io(any_server.uri, "write -P 0x77 1M 1M", "flush")
    qemu_io(any_server.uri, "read -P 0x77 1M 1M")


def test_qemu_img_converts_and_compares(any_server: Server, tmp_path: Path) -> None:
    source, copy = random_file(tmp_path / "source"), tmp_path / "copy.qcow2"
    client("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", source, any_server.uri)
    same = client("qemu-img", "compare", "-f", "raw", "-F", "raw", source, any_server.uri)
    assert "Images are identical" in same
    client("qemu-img", "convert", "-f", "raw", "-O", "qcow2", any_server.uri, copy)
    assert "identical" in client("qemu-img", "compare", "-f", "raw", any_server.uri, copy)
    qemu_io(any_server.uri, "write -P 0x99 32M 512")
    different = client(
        "qemu-img", "compare", "-f", "raw", "-F", "raw", source, any_server.uri, status=1
    )
    assert "Content mismatch at offset 33554432" in different


@pytest.mark.parametrize("direction", [(), ("-w",), ("-w", "--flush-interval=64")], ids=str)
def test_qemu_img_bench_runs_deep(any_server: Server, direction: tuple[str, ...]) -> None:
    depth = ("-c", "2000", "-d", "32", "-s", "4k", "-S", "16k")
    output = client(
        "qemu-img", "bench", "-f", "raw", "-t", "none", *depth, *direction, any_server.uri
    )
    assert "Run completed" in output


def test_fio_verifies_its_checksums(any_server: Server, tmp_path: Path) -> None:
    options = {
        "name": "verify",
        "ioengine": "nbd",
        "uri": any_server.uri,
        "rw": "randwrite",
        "bsrange": "4k-64k",
        "size": "32m",
        "iodepth": "16",
        "verify": "crc32c",
        "verify_fatal": "1",
        "randseed": "1",
        "fsync": "64",
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    output = client("env", "-C", str(tmp_path), require_tool("fio"), "--output-format=json", *words)
    (job,) = json.loads(output[output.index("{") :])["jobs"]
    assert job["error"] == 0
    # What was written was read back and compared.
    assert job["read"]["io_bytes"] == job["write"]["io_bytes"] == 32 * MIB


def test_two_clients_at_once(any_server: Server) -> None:
    def work(number: int) -> str:
        start = number * 8 * MIB
        commands = []
        for step in range(40):
            offset = start + step * 128 * 1024
            commands += [
                f"write -P {number + 1} {offset} 64k",
                f"read -P {number + 1} {offset} 64k",
            ]
        return qemu_io(any_server.uri, *commands)

    with ThreadPoolExecutor(4) as pool:
        for output in pool.map(work, range(4)):
            assert "failed" not in output


# What is ours alone.


def test_block_sizes_and_name_are_announced(serve: Callable[..., Server]) -> None:
    server = serve("constant:1us,size=1MiB,name=tiny")
    (export,) = json.loads(client("nbdinfo", "--json", server.uri))["exports"]
    assert (export["block_size_minimum"], export["block_size_preferred"]) == (512, 4096)
    assert export["block_size_maximum"] == 32 * MIB
    listed = json.loads(client("nbdinfo", "--list", "--json", server.uri))["exports"]
    assert [entry["export-name"] for entry in listed] == ["tiny"]
    client("nbdinfo", f"nbd+unix:///tiny?socket={server.socket_path}")
    assert "No such file or directory for export: huge" in client(
        "nbdinfo", f"nbd+unix:///huge?socket={server.socket_path}", status=1
    )


def test_blocks_of_4_kib_are_announced(
    serve: Callable[..., Server], freezingtime: RunProgram, tmp_path: Path
) -> None:
    server = serve("constant:1ms,size=1MiB,block-size=4KiB,name=native")
    (export,) = json.loads(client("nbdinfo", "--json", server.uri))["exports"]
    assert export["block_size_minimum"] == 4096
    fd = os.open(tmp_path / "odd", os.O_CREAT | os.O_WRONLY)
    os.truncate(fd, (1 << 20) + 512)
    os.close(fd)
    odd = f"constant:1ms,block-size=4KiB,medium=file:{tmp_path / 'odd'}"
    ended = freezingtime("serve", odd, "--socket", tmp_path / "other.sock")
    assert ended.returncode == 2
    assert "has 1049088 bytes, not a multiple of its logical block, 4096 bytes" in ended.stderr


def test_a_served_file_is_read_as_it_is(serve: Callable[..., Server], tmp_path: Path) -> None:
    source = random_file(tmp_path / "disk.raw")
    server = serve(f"constant:10us,medium=file:{source}")
    client("qemu-img", "compare", "-f", "raw", "-F", "raw", source, server.uri)


def test_a_file_is_not_changed_unless_asked(serve: Callable[..., Server], tmp_path: Path) -> None:
    disk = random_file(tmp_path / "disk.raw")
    before, modified_ns = disk.read_bytes(), disk.stat().st_mtime_ns
    server = serve(f"constant:10us,medium=file:{disk}")
    qemu_io(server.uri, "write -f -P 0x66 0 1M", "discard 4M 1M", "write -z 8M 1M", "flush")
    qemu_io(server.uri, "read -P 0x66 0 1M", "read -P 0 4M 1M", "read -P 0 8M 1M")
    server.end()
    assert disk.read_bytes() == before
    assert disk.stat().st_mtime_ns == modified_ns


def test_a_writable_file_is_changed_and_synced(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    """strace shows that the file was synced once for the flush and once for the FUA write."""
    disk = random_file(tmp_path / "disk.raw")
    server = serve(f"constant:10us,medium=file:{disk},writable=yes")
    log = tmp_path / "strace.log"
    with traced(server.process.pid, log, "fdatasync,fsync"):
        qemu_io(server.uri, "write -P 0x66 0 1M")
        assert disk.read_bytes()[:MIB] == b"\x66" * MIB
        unforced = syncs(log)
        qemu_io(server.uri, "write -f -P 0x67 2M 64k")
        forced = syncs(log)
        assert forced > unforced
        qemu_io(server.uri, "flush")
        assert syncs(log) > forced
    server.end()
    data = disk.read_bytes()
    assert data[:MIB] == b"\x66" * MIB
    assert data[2 * MIB : 2 * MIB + 65536] == b"\x67" * 65536


@contextmanager
def traced(pid: int, log: Path, calls: str) -> Iterator[None]:
    command = [require_tool("strace"), "-f", "-y", "-e", f"trace={calls}", "-p", str(pid)]
    tracer = subprocess.Popen(
        [*command, "-o", str(log)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert tracer.stderr is not None
    attached = tracer.stderr.readline()
    if "attached" not in attached:
        pytest.skip(f"strace cannot attach: {attached.strip()}")
    try:
        yield
    finally:
        tracer.terminate()
        tracer.communicate()


def syncs(log: Path) -> int:
    return len(re.findall(r"disk\.raw>\)\s+= 0", log.read_text()))


def test_reads_take_as_long_as_the_device(serve: Callable[..., Server]) -> None:
    """QD1: not less than its time each. QD16: less than one after the other."""
    server = serve("constant:20ms,size=64MiB")
    start_s = time.monotonic()
    qemu_io(server.uri, *(f"read {number * 4096} 4k" for number in range(5)))
    assert time.monotonic() - start_s >= 5 * 0.020

    deep = client("qemu-img", "bench", "-f", "raw", "-c", "64", "-d", "16", server.uri)
    match = re.search(r"Run completed in ([0-9.]+) seconds", deep)
    assert match
    assert 64 / 16 * 0.020 <= float(match[1]) < 64 * 0.020


def test_the_record_has_what_clients_did(serve: Callable[..., Server], tmp_path: Path) -> None:
    record = tmp_path / "record.parquet"
    server = serve(
        "constant:read=20ms,write=5ms,size=1MiB,name=served", arguments=["--out", record]
    )
    qemu_io(server.uri, "write -P 7 4k 8k", "read -P 7 8k 4k")
    server.end()
    rows = [row for row in pq.read_table(record).to_pylist() if row["length_bytes"]]
    asked = [(row["operation"], row["offset_bytes"], row["length_bytes"]) for row in rows]
    assert asked[-2:] == [("write", 4096, 8192), ("read", 8192, 4096)]
    for row in rows:
        device_ns = {"read": 20_000_000, "write": 5_000_000}[row["operation"]]
        assert row["completion_ns"] - row["arrival_ns"] >= device_ns
        assert row["delivery_ns"] >= row["completion_ns"]
        assert (row["disk"], row["queue_depth"], row["frozen_host_ns"]) == ("served", 1, 0)


def test_a_killed_client_leaves_the_server_alive(serve: Callable[..., Server]) -> None:
    server = serve("constant:500ms,size=64MiB")
    words = [
        "qemu-img",
        "bench",
        "-w",
        "-f",
        "raw",
        "-c",
        "1000",
        "-d",
        "64",
        "-s",
        "1M",
        server.uri,
    ]
    require_tool("qemu-img")
    for _ in range(3):
        victim = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        victim.kill()
        victim.wait()
    qemu_io(server.uri, "write -P 5 0 4k", "read -P 5 0 4k")
    server.end()


def test_a_stopped_client_does_not_hold_up_another(serve: Callable[..., Server]) -> None:
    """It has asked for more than fits into any socket buffer, and reads nothing."""
    server = serve("constant:10us,size=1GiB")
    words = ["nbdcopy", "--connections=1", "--requests=64", "--request-size=4194304"]
    require_tool("nbdcopy")
    for _ in range(3):
        idler = subprocess.Popen([*words, server.uri, "null:"], stdout=subprocess.DEVNULL)
        time.sleep(0.1)
        idler.send_signal(signal.SIGSTOP)
        try:
            qemu_io(server.uri, "write -P 5 0 64k", "read -P 5 0 64k")
        finally:
            idler.kill()
            idler.wait()
    server.end()


def test_garbage_is_answered_by_hanging_up(serve: Callable[..., Server]) -> None:
    server = serve("constant:10us,size=64MiB")
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(_CLIENT_DEADLINE_S)
        peer.connect(str(server.socket_path))
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n" * 20)
        while peer.recv(4096):
            pass
    client("nbdinfo", server.uri)
    assert "lost a client: client sent" in server.end()


def test_many_connections_are_served_or_wait(serve: Callable[..., Server]) -> None:
    """More than the server takes at once: the rest wait until some have gone."""
    server = serve("constant:10us,size=64MiB")
    peers = []
    for _ in range(200):
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(str(server.socket_path))
        peer.settimeout(_CLIENT_DEADLINE_S)
        peers.append(peer)
    for peer in peers[:128]:
        assert peer.recv(8) == b"NBDMAGIC"
    for peer in peers[:128]:
        peer.close()
    for peer in peers[128:]:
        assert peer.recv(8) == b"NBDMAGIC"
        peer.close()
    client("nbdinfo", server.uri)
    server.end()


def test_many_connections_leave_descriptors_for_all_else(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    record = tmp_path / "record.parquet"
    few = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (48, 48))
    server = serve("constant:10us,size=64MiB", ["--out", record], preexec_fn=few)
    with contextlib.ExitStack() as peers:
        for _ in range(100):
            peer = peers.enter_context(socket.socket(socket.AF_UNIX))
            peer.settimeout(_CLIENT_DEADLINE_S)
            peer.connect(str(server.socket_path))
            assert peer.recv(8) == b"NBDMAGIC"
        qemu_io(server.uri, "write 0 4k")
        said = server.end()
    assert "served" in said
    assert pq.read_metadata(record).num_rows >= 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(serve: Callable[..., Server], number: signal.Signals) -> None:
    server = serve("constant:10us,size=64MiB")
    qemu_io(server.uri, "write 0 4k")
    said = server.end(number)
    assert re.search(r"freezingtime: served \d+ requests\n", said)
    assert "Traceback" not in said


def test_a_signal_ends_it_while_clients_wait(serve: Callable[..., Server]) -> None:
    server = serve("constant:60s,size=64MiB")
    require_tool("qemu-io")
    words = ["qemu-io", "-f", "raw", "-c", "read 0 4k", server.uri]
    waiting = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(0.5)
        server.end()
    finally:
        waiting.kill()
        waiting.wait()


def test_ctrl_c_ends_it_well(serve: Callable[..., Server]) -> None:
    """Ctrl-C is a SIGINT to the whole process group, which a terminal sends."""
    server = serve("constant:10us,size=64MiB", start_new_session=True)
    os.killpg(server.process.pid, signal.SIGINT)
    server.process.communicate(timeout=_PROMPT_S)
    assert server.process.returncode == 0
    assert not server.socket_path.exists()


def test_the_socket_of_a_killed_server_is_replaced(serve: Callable[..., Server]) -> None:
    killed = serve("constant:10us,size=64MiB")
    killed.process.kill()
    killed.process.wait()
    assert killed.socket_path.is_socket()
    client("nbdinfo", serve("constant:10us,size=64MiB").uri)


def test_a_socket_in_use_is_left_alone(
    serve: Callable[..., Server], freezingtime: RunProgram
) -> None:
    server = serve("constant:10us,size=64MiB")
    second = freezingtime("serve", "constant:10us", "--socket", server.socket_path)
    assert second.returncode == 2
    assert second.stderr == (
        f"freezingtime: --socket {server.socket_path}: another server listens there; "
        "stop it or name another path\n"
    )
    client("nbdinfo", server.uri)


def test_a_successors_socket_is_left_alone(serve: Callable[..., Server], socket_path: Path) -> None:
    first = serve("constant:10us,size=64MiB")
    socket_path.unlink()
    second = serve("constant:10us,size=64MiB")
    first.process.terminate()
    first.process.wait(_PROMPT_S)
    client("nbdinfo", second.uri)


def test_a_path_that_is_no_socket_is_left_alone(freezingtime: RunProgram, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    ended = freezingtime("serve", "constant:10us", "--socket", path)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"freezingtime: --socket {path}: exists and is not a socket; name another path\n"
    )
    assert path.read_text() == "data"


@pytest.mark.parametrize("name", ["missing/nbd.sock", "x" * 200], ids=["directory", "length"])
def test_a_path_that_cannot_be_is_refused(
    freezingtime: RunProgram, tmp_path: Path, name: str
) -> None:
    ended = freezingtime("serve", "constant:10us", "--socket", tmp_path / name)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"freezingtime: --socket {tmp_path / name}: ")
    assert ended.stderr.endswith("; name a path in a writable directory\n")
    assert list(tmp_path.iterdir()) == []


def test_a_full_scratch_reaches_the_client_and_the_server_lives_on(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    """Writes to a file that must not change go to TMPDIR, where there is 1 MiB."""
    require_root()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    disk = random_file(tmp_path / "disk.raw")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", scratch], check=True)
    try:
        server = serve(
            f"constant:10us,medium=file:{disk}", env={**os.environ, "TMPDIR": str(scratch)}
        )
        output = qemu_io(server.uri, "write -P 1 0 4M", status=1)
        assert "No space left on device" in output
        # The space comes back, and so does the disk.
        qemu_io(server.uri, "discard 0 4M", "write -P 2 0 64k", "read -P 2 0 64k")
        server.end()
    finally:
        subprocess.run(["umount", "--lazy", scratch], check=True)


@pytest.mark.parametrize("writable", [True, False], ids=["written", "read"])
def test_a_file_that_was_replaced_meanwhile_is_told(
    serve: Callable[..., Server], tmp_path: Path, writable: bool
) -> None:
    disk = random_file(tmp_path / "disk.raw", 4 * MIB)
    server = serve(f"constant:10us,medium=file:{disk}" + ",writable=yes" * writable)
    qemu_io(server.uri, "write -P 1 0 4k")
    disk.unlink()
    server.process.terminate()
    _, said = server.process.communicate(timeout=_CLIENT_DEADLINE_S)
    fate = "the writes to it are lost" if writable else "reads saw the old file"
    assert f"freezingtime: file:{disk} was deleted while it was in use: {fate}" in said
    assert server.process.returncode == (1 if writable else 0)


def test_nothing_is_left_in_the_temporary_directory(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    scratch, disk = tmp_path / "scratch", random_file(tmp_path / "disk.raw")
    scratch.mkdir()
    server = serve(f"constant:10us,medium=file:{disk}", env={**os.environ, "TMPDIR": str(scratch)})
    qemu_io(server.uri, "write 0 1M")
    server.process.kill()
    server.process.wait()
    assert list(scratch.iterdir()) == []
    shutil.rmtree(scratch)


@pytest.mark.slow
def test_clients_that_never_read_do_not_fill_the_hosts_memory(
    serve: Callable[..., Server], socket_path: Path
) -> None:
    """A hundred, each with replies of gigabytes coming; whoever reads is served meanwhile."""
    server = serve(f"constant:10us,size={SIZE_BYTES}")
    flags, go = pack(">I", 3), b"IHAVEOPT" + pack(">IIIH", 7, 6, 0, 0)
    reads = b"".join(pack(">IHHQQI", 0x25609513, 0, 0, n, 0, 32 * MIB) for n in range(100))
    clients = []
    for _ in range(100):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(socket_path))
        client.sendall(flags + go + reads)
        clients.append(client)
    time.sleep(3.0)
    qemu_io(server.uri, "write -P 7 0 1M", "read -P 7 0 1M")
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (peak_kib,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    assert int(peak_kib) < 1536 * 1024
    for client in clients:
        client.close()
    server.end()
