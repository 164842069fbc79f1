# SPDX-License-Identifier: GPL-2.0-or-later
"""Fuzz what reads bytes of others: Python with atheris, the agent with libFuzzer.

``python -m tests.fuzz --seconds 600`` gives each target that long, prints how many inputs it was
given, and ends with 1 if one did what it must not; the input is left in the current directory.
New inputs that reach new code are kept in ``--corpus``, beside those in the repository.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from freezingtime.clock.base import Reply
from freezingtime.clock.protocol import encode_order
from tests.fuzz.decoders import DECODERS
from tests.support.agentlib import AGENT_DIRECTORY

CORPUS = Path(__file__).parent / "corpus"
AGENT = "agent"
TARGETS = (AGENT, *DECODERS)
#: Inputs that others have: of the traces that were once misread, and of the catalogue.
_MORE = {
    "trace": Path(__file__).parents[1] / "cases",
    "device": Path(__file__).parents[2] / "src/freezingtime/device/catalogue",
}
_COMMANDS = (
    '{"execute":"device_del","arguments":{"id":"disk0"}}',
    '{"execute":"qom-set","arguments":{"path":"/a","property":"b","value":"c"}}',
)
_REPLIES = (Reply(1, 2, 100), Reply(3, 4, 100))
_SCHEDULED = (Reply(1, 5, 200), Reply(0, 6, 300))
#: Orders as the emulator sends them. They are encoded anew each time: a kept one would be of a
#: version that the agent refuses before it has read any of it.
AGENT_ORDERS = {
    "order-idle": encode_order(None, ()),
    "order-replies": encode_order(400, _REPLIES, _SCHEDULED, rate_hz=10**9, stop=True),
    "order-command": encode_order(400, (), (), _COMMANDS[:1]),
    "order-all": encode_order(400, _REPLIES, _SCHEDULED, _COMMANDS),
}
#: An input's first byte: of the two protocols the exchange of orders.
_EXCHANGE = b"\x01"
#: Beyond the time that a target is given: to start, and to read its corpus.
_MARGIN_S = 600
_LENGTH_MAX = 4096
#: The agent's sockets, which the target has in their place.
_SOCKET_CALLS = ("recvmsg", "sendmsg", "recv", "send")


class Fuzzed(NamedTuple):
    """What came of one target."""

    executions: int
    output: str
    """Empty if all was well."""


def build_agent_fuzzer(program: Path) -> None:
    """Compile the agent's protocols and the target with clang."""
    emulator = AGENT_DIRECTORY / "ours" / "emulator"
    command = [
        *("clang", "-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror"),
        *("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"),
        *(f"-D{name}=fuzz_{name}" for name in _SOCKET_CALLS),
        *(f"-I{AGENT_DIRECTORY}", "-o", str(program)),
        str(Path(__file__).with_name("agent_fuzzer.c")),
        *(str(emulator / name) for name in ("nbd_client.c", "control.c")),
        "-lpthread",
    ]
    subprocess.run(command, check=True, timeout=_MARGIN_S)


def write_agent_orders(directory: Path) -> None:
    """Write the emulator's orders as inputs of the agent's target."""
    directory.mkdir(exist_ok=True)
    for name, order in AGENT_ORDERS.items():
        (directory / name).write_bytes(_EXCHANGE + order)


def fuzz(target: str, seconds: int, corpus: Path, scratch: Path) -> Fuzzed:
    """Fuzz one target; what reaches new code is put into ``corpus``."""
    command: list[str] = [sys.executable, "-m", "tests.fuzz.with_atheris", target]
    more = [_MORE[target]] if target in _MORE else []
    if target == AGENT:
        program = scratch / "agent_fuzzer"
        build_agent_fuzzer(program)
        command = [str(program)]
        write_agent_orders(orders := scratch / "orders")
        more.append(orders)
    corpus.mkdir(parents=True, exist_ok=True)
    directories = [corpus, CORPUS / target, *more]
    ended = subprocess.run(
        [
            *command,
            *(f"-max_total_time={seconds}", f"-max_len={_LENGTH_MAX}", "-print_final_stats=1"),
            *("-rss_limit_mb=4096", "-timeout=60", "-verbosity=1"),
            *(str(directory) for directory in directories if directory.is_dir()),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds + _MARGIN_S,
        check=False,
    )
    said = re.search(r"number_of_executed_units: ([0-9]+)", ended.stdout)
    wrong = ended.stdout[-4000:] if ended.returncode or said is None else ""
    return Fuzzed(int(said[1]) if said else 0, wrong)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz all targets, one after the other; the exit status."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--only", choices=TARGETS, action="append", help="these targets")
    parser.add_argument("--corpus", type=Path, help="keep new inputs in this directory")
    options = parser.parse_args(arguments)
    if shutil.which("clang") is None and AGENT in (options.only or TARGETS):
        parser.error(f"{AGENT}: clang is not installed")
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        for target in options.only or TARGETS:
            corpus = (options.corpus or Path(scratch)) / target
            fuzzed = fuzz(target, options.seconds, corpus, Path(scratch))
            verdict = "FAILED" if fuzzed.output else "well"
            print(f"{target}: {fuzzed.executions:,} inputs: {verdict}", flush=True)
            if fuzzed.output:
                print(fuzzed.output, flush=True)
                failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
