# SPDX-License-Identifier: GPL-2.0-or-later
"""Saved machines in the cache, without a guest: what fits them, what is damaged, what is in use."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from freezingtime.clock import agent
from freezingtime.errors import InputError
from freezingtime.images.guest_image import GuestImage, ImageContent, store_image
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import RunPlan, make_plan
from freezingtime.runs.progress.observer import RunObserver
from freezingtime.runs.run import run
from freezingtime.runs.saving import require_machine_fits
from freezingtime.store.cache import cache_directory, publish
from freezingtime.store.checksums import write_checksums
from freezingtime.store.machine_identity import MachineIdentity
from freezingtime.store.saved_machine import (
    MachineDescription,
    SavedDisk,
    SavedMachine,
    find_saved,
    list_saved,
    remove_saved,
    save_machine,
)
from freezingtime.store.snapshot import Snapshot
from freezingtime.vm.config import MachineConfig, find_qemu
from freezingtime.vm.qemu.cpu_model import CpuModel
from freezingtime.vm.qemu.program import VARIABLE
from tests.conftest import RunProgram, require_tool


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_directory()


@pytest.fixture
def config(cache: Path, monkeypatch: pytest.MonkeyPatch) -> MachineConfig:
    require_tool("qemu-system-x86_64")
    monkeypatch.setenv(VARIABLE, "system")  # the cache is empty, so the pinned one is not there
    building = cache / "images" / "building"
    building.mkdir(parents=True)
    manifest = store_image(building, "mini", ImageContent(b"kernel", b"initrd", "6.1", ()))
    final = cache / "images" / f"mini-{manifest.image_id[:12]}"
    publish(building, final)
    return MachineConfig(GuestImage(final, manifest), 512 << 20, 4_000_000_000)


MACHINE = MachineIdentity("0.1", "1" * 64, 512 << 20, 1, "board", "qemu", "agent")


def save(name: str, machine: MachineIdentity = MACHINE, guest: str = "mini") -> SavedMachine:
    def write_files(snapshot: Snapshot) -> None:
        snapshot.state_path.write_bytes(bytes(range(256)) * 4096)

    disks = (SavedDisk("disk1", 1 << 20),)
    return save_machine(name, MachineDescription(machine, guest, "7.2.0", 42, disks), write_files)


class TestIdentity:
    def test_what_is_installed_again_is_the_same(
        self, config: MachineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Other places and times, and an agent that another compiler made of the same sources."""
        sources = tmp_path / "agent"
        shutil.copytree(Path(agent.__file__).parent, sources)
        built = sources / "_agent.so"
        os.utime(built, (0, 0))
        with built.open("ab") as file:
            file.write(b"debug information")
        qemu = shutil.copy(find_qemu(config.qemu).path, tmp_path / "qemu")
        os.utime(qemu, (0, 0))
        before = config.identity()
        monkeypatch.setattr(agent, "__file__", str(sources / "__init__.py"))
        again = replace(config, qemu=str(qemu)).identity()
        assert again == before
        assert again.key == before.key

    def test_what_differs_is_named(self, config: MachineConfig, tmp_path: Path) -> None:
        machine = config.identity()
        qemu = shutil.copy(find_qemu(config.qemu).path, tmp_path / "qemu")
        with Path(qemu).open("r+b") as file:
            file.seek(1000)
            file.write(b"\0other\0")
        saved = save("x", machine)
        require_machine_fits(saved, config)
        others = {
            "it has 1GiB of memory, not 512MiB": replace(config, memory_bytes=1 << 30),
            "it has 2 CPUs, not 1": replace(config, cpu_count=2),
            "the QEMU binary differs": replace(config, qemu=str(qemu)),
        }
        for said, other in others.items():
            assert other.identity().key != machine.key
            with pytest.raises(InputError) as caught:
                require_machine_fits(saved, other)
            assert f"a different machine: {said} (it was saved with QEMU 7.2.0); " in str(
                caught.value
            )
            assert "save it again after 'freezingtime snapshot remove x'" in str(caught.value)
        for said, was in {
            f"freezingtime is {machine.version}, not 9": structs.replace(machine, version="9"),
            f"image is {machine.image_id[:12]}, not 000000000000": structs.replace(
                machine, image_id="0" * 64
            ),
            "agent was built from different sources": structs.replace(machine, agent="other"),
            "its CPU is v1, not v3": structs.replace(machine, cpu_model="v3"),
            "kernel arguments": structs.replace(machine, board="other"),
        }.items():
            (difference,) = machine.differences(was)
            assert said in difference
            assert machine.key != was.key


def planned(options: RunOptions) -> RunPlan:
    return make_plan(options, script=b"#!/bin/sh\n")


@pytest.mark.usefixtures("cache")
def test_the_options_of_a_run_are_the_saved_machines_unless_named() -> None:
    save("x", structs.replace(MACHINE, memory_bytes=1 << 30, cpu_count=3, cpu_model="v2"))
    plan = planned(RunOptions(start_from="x"))
    assert (plan.guest, plan.memory_bytes, plan.cpu_count) == ("mini", 1 << 30, 3)
    assert plan.cpu_model is CpuModel.V2
    plan = planned(RunOptions(start_from="x", memory="2GiB", cpus=1))
    assert (plan.memory_bytes, plan.cpu_count) == (2 << 30, 1)
    with pytest.raises(InputError, match="--memory 2GiB: --from x: was saved with --memory 1GiB"):
        run(plan, RunObserver())
    plan = planned(RunOptions())
    assert (plan.guest, plan.memory_bytes, plan.cpu_count) == ("mini", 512 << 20, 1)


def test_the_image_it_was_saved_with_is_missing(config: MachineConfig) -> None:
    image = config.image
    save("x", config.identity(), "big")
    plan = planned(RunOptions(start_from="x"))
    (image.directory / "vmlinuz").unlink()
    with pytest.raises(
        InputError,
        match=rf"saved with the image big {image.image_id[:12]}, which no longer exists.*save",
    ):
        run(plan, RunObserver())


def rewrite(saved: SavedMachine, **fields: object) -> None:
    """Change the description as another version of freezingtime would have written it."""
    description = saved.directory / "saved.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), **fields}))
    write_checksums(saved.directory)


def flip_bit(path: Path, offset_bytes: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset_bytes)
        (byte,) = file.read(1)
        file.seek(offset_bytes)
        file.write(bytes([byte ^ 4]))


class TestUnusable:
    def test_another_format_is_in_nobodys_way(self, cache: Path, freezingtime: RunProgram) -> None:
        save("good")
        rewrite(save("older"), format=2)
        environment = {"XDG_CACHE_HOME": str(cache.parent)}
        listed = freezingtime("snapshot", "list", environment=environment)
        assert listed.returncode == 0
        lines = [line.split() for line in listed.stdout.splitlines()]
        assert lines[0] == [
            "name",
            "guest",
            "memory",
            "cpus",
            "cpu",
            "guest",
            "time",
            "size",
            "disks",
        ]
        assert lines[1][:6] == ["good", "mini", "512MiB", "1", "v1", "42ns"]
        assert lines[1][-1] == "disk1=1MiB"
        assert len(lines) == 2
        assert listed.stderr == (
            "freezingtime: skipped older: its format is 2, not 3: written by another version of "
            "freezingtime; remove it with 'freezingtime snapshot remove older'\n"
        )
        used = freezingtime("run", "--from", "older", "--", "true", environment=environment)
        assert used.returncode == 2
        assert "the snapshot older cannot be used: its format is 2, not 3" in used.stderr
        unknown = freezingtime("run", "--from", "x", "--", "true", environment=environment)
        assert "there is no snapshot 'x', only: good;" in unknown.stderr
        remove_saved("older")
        assert [saved.name for saved in list_saved()[0]] == ["good"]
        assert list_saved()[1] == []

    @pytest.mark.parametrize("text", ["", "{}", "[]", "[" * 100_000, '{"format": 3}', "\x00"])
    def test_a_damaged_description_is_in_nobodys_way(self, cache: Path, text: str) -> None:
        save("good")
        (save("bad").directory / "saved.json").write_text(text)
        usable, (unusable,) = list_saved()
        assert [saved.name for saved in usable] == ["good"]
        assert unusable.reason.startswith("it is damaged (")
        with pytest.raises(InputError, match=r"cannot be used: it is damaged .*snapshot remove ba"):
            find_saved("bad")

    @pytest.mark.usefixtures("cache")
    def test_a_flipped_bit_of_the_description(self) -> None:
        saved = save("x")
        description = saved.directory / "saved.json"
        flip_bit(description, description.read_text().index(": 42,") + len(": 4"))
        with pytest.raises(InputError, match=r"damaged \(saved.json: its checksum is .*, not "):
            find_saved("x")


@pytest.mark.usefixtures("cache")
class TestCheck:
    def test_what_is_whole_passes(self) -> None:
        save("x")
        with contextlib.ExitStack() as cleanup:
            find_saved("x").check(cleanup)

    @pytest.mark.parametrize("offset_bytes", [0, 700_001, (1 << 20) - 1])
    def test_one_flipped_bit_is_refused_with_the_cure(self, offset_bytes: int) -> None:
        flip_bit(save("x").snapshot.state_path, offset_bytes)
        saved = find_saved("x")
        with (
            contextlib.ExitStack() as cleanup,
            pytest.raises(
                InputError,
                match=r"--from x: the snapshot is damaged \(state: its checksum is .*\), and "
                r"cannot be rebuilt: remove it with 'freezingtime snapshot remove x'",
            ),
        ):
            saved.check(cleanup)

    def test_files_that_are_gone_or_cut_short(self) -> None:
        saved = save("x")
        for damage in (
            lambda: os.truncate(saved.snapshot.state_path, 5),
            saved.snapshot.state_path.unlink,
        ):
            damage()
            with (
                contextlib.ExitStack() as cleanup,
                pytest.raises(InputError, match=r"damaged \(state: "),
            ):
                saved.check(cleanup)

    def test_what_is_in_use_is_not_removed(self) -> None:
        save("x")
        with contextlib.ExitStack() as cleanup:
            find_saved("x").check(cleanup)
            with pytest.raises(InputError, match="snapshot remove x: in use by a run"):
                remove_saved("x")
        remove_saved("x")
        with pytest.raises(InputError, match="there is no snapshot 'x', only: none"):
            remove_saved("x")
