# SPDX-License-Identifier: GPL-2.0-or-later
"""The store's own commands: what is there, whether it is sound, and how it is moved."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from freezingtime.cli.results.store import app
from freezingtime.errors import InputError
from freezingtime.explore.sweep.replay_unit import ReplayUnit
from freezingtime.explore.sweep.worker import Task, execute
from freezingtime.simulate.workload import parse_workload
from freezingtime.store.results.result_store import ResultStore


def command(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert result.return_value == status
    return result.output


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three results, exported."""
    directory = tmp_path_factory.mktemp("store")
    store = ResultStore(directory / "store")
    for seed in range(3):
        unit = ReplayUnit(parse_workload("randread,count=20"), "constant:1us", seed)
        execute(Task(unit, unit.key().digest, store))
    command("export", directory / "a.tar", "--store", store.root)
    return directory / "a.tar"


@pytest.fixture
def store(archive: Path, tmp_path: Path) -> ResultStore:
    said = command("import", archive, "--store", tmp_path / "store")
    assert said == "freezingtime: 3 results taken, 0 were there\n"
    return ResultStore(tmp_path / "store")


def keys(store: ResultStore) -> list[str]:
    listed = json.loads(command("list", "--json", "--store", store.root))
    return [entry["key"] for entry in listed]


def test_what_is_moved_is_the_same_to_the_byte(
    store: ResultStore, archive: Path, tmp_path: Path
) -> None:
    command("export", tmp_path / "b.tar", "--store", store.root)
    assert (tmp_path / "b.tar").read_bytes() == archive.read_bytes()
    assert "3 results, 0 damaged" in command("verify", "--store", store.root)
    again = command("import", archive, "--store", store.root)
    assert again == "freezingtime: 0 results taken, 3 were there\n"
    text = command("list", "--store", store.root)
    assert text.count("replay: randread,count=20 on constant:1us") == 3
    assert "3 results, " in text
    first = keys(store)[0]
    assert "1 result in" in command("export", tmp_path / "c.tar", first[:9], "--store", store.root)
    command("import", tmp_path / "c.tar", "--store", tmp_path / "other")
    assert keys(ResultStore(tmp_path / "other")) == [first]


def test_damage_is_found_and_removed(store: ResultStore) -> None:
    [one, two, _] = keys(store)
    store.place(one).joinpath("key.json").write_bytes(b"{}")
    record = store.place(two) / "run" / "requests.parquet"
    record.write_bytes(record.read_bytes()[:-1])
    said = command("verify", "--store", store.root, status=1)
    assert "3 results, 2 damaged" in said
    assert f"{two}: run/requests.parquet: its checksum" in said
    assert "removed" in command("verify", "--remove", "--store", store.root, status=1)
    assert "1 result, 0 damaged" in command("verify", "--store", store.root)


def test_what_was_not_used_for_longest_goes_first(store: ResultStore) -> None:
    [one, two, three] = keys(store)
    for age, key in enumerate((two, one, three)):
        os.utime(store.place(key) / "result.json", (1_000_000 + age,) * 2)
    assert store.find(two) is not None  # which makes it the one used last
    assert command("prune", "--limit", "1TiB", "--store", store.root).startswith("removed 0")
    size_bytes = sum(f.stat().st_size for f in store.place(two).rglob("*") if f.is_file())
    command("prune", "--limit", size_bytes, "--store", store.root)
    assert keys(store) == [two]
    assert command("prune", "--limit", "0", "--store", store.root) == ("removed 1 result, kept 0\n")


def member(name: str, content: bytes = b"{}", kind: bytes = tarfile.REGTYPE) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
        tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


KEY = "a" * 64


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is no archive that 'store export' has written"),
        (b"x" * 2000, "is no archive that 'store export' has written"),
        (member("../x"), "has '../x', which is no part of a result"),
        (member(f"{KEY}/../../x"), "which is no part of a result"),
        (member(f"/{KEY}/key.json"), "which is no part of a result"),
        (member(f"{KEY}/run/.bashrc"), "which is no part of a result"),
        (member(f"{KEY}/run/x", kind=tarfile.SYMTYPE, content=b""), "is no part of a result"),
        (member(f"{KEY}/key.json"), f"{KEY}: is damaged: checksums.json: "),
    ],
)
def test_an_archive_is_not_trusted(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tar: ") as raised:
        command("import", tmp_path / "a.tar", "--store", tmp_path / "store")
    assert problem in str(raised.value)
    assert not list((tmp_path / "store").rglob("*.json"))
    assert not list((tmp_path / "store").rglob(".unfinished-*"))


def test_a_result_under_another_s_key_is_refused(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as tar, tarfile.open(tmp_path / "b.tar", "w") as forged:
        first = tar.getnames()[0][:64]
        for info in tar.getmembers():
            if info.name.startswith(first):
                content = tar.extractfile(info)
                info.name = f"{KEY}{info.name[64:]}"
                forged.addfile(info, content)
    with pytest.raises(InputError, match=r"is damaged: key\.json: is of another result"):
        command("import", tmp_path / "b.tar", "--store", tmp_path / "store")
    with pytest.raises(InputError, match="no such result"):
        command("export", tmp_path / "c.tar", "ffff", "--store", tmp_path / "store")
