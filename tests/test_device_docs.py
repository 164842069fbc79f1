"""The examples of docs/devices.md: every file is made, every command run, every device driven."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from freezingtime.device.registry import describe
from freezingtime.experiment.generator import RequestGenerator
from freezingtime.experiment.simulate import simulate_closed_loop
from freezingtime.experiment.workload import parse_workload
from tests.conftest import RunProgram

PAGE = Path(__file__).parent.parent / "docs" / "devices.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

BLOCKS = [(match[1], match[2]) for match in BLOCK.finditer(PAGE.read_text())]
#: Files begin with a comment that names them.
FILES = {
    text.split("\n", 1)[0].removeprefix("# "): text for kind, text in BLOCKS if kind != "console"
}
COMMANDS = [
    line.removeprefix("$ ")
    for kind, text in BLOCKS
    if kind == "console"
    for line in text.split("\n")
]
DEVICES = [name if name.endswith(".toml") else "tape.py:Tape" for name in FILES]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds the page's files, and is where we are."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_has_its_examples() -> None:
    assert {kind for kind, _ in BLOCKS} == {"toml", "python", "console"}
    assert all(re.fullmatch(r"\w+\.(toml|py)", name) for name in FILES)
    own_model = next(text for kind, text in BLOCKS if kind == "python")
    assert len([line for line in own_model.split("\n") if line.strip()]) <= 21


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.usefixtures("directory")
def test_a_device_of_the_page_serves(device: str) -> None:
    description = describe(device)
    pattern = "write" if device == "zoned.toml" else "randrw"  # zones are written in order
    workload = parse_workload(f"{pattern},bs=4k/50:16k/50,qd=4,count=300,size=256MiB")
    disk_bytes = description.capacity_bytes or 1 << 30
    batches = RequestGenerator(workload, seed=0, disk_bytes=disk_bytes).batches()
    simulation = simulate_closed_loop(description.build(0), batches, 4, count=300)
    assert len(simulation.completion_ns) == 300
    assert int(simulation.latency_ns.min()) > 0


@pytest.mark.parametrize("command", [command for command in COMMANDS if command])
def test_a_command_of_the_page_runs(
    freezingtime: RunProgram, directory: Path, command: str
) -> None:
    program, *arguments = shlex.split(command)
    assert program == "freezingtime"
    ended = freezingtime(*arguments)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout
