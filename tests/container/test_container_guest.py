# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests of container images: a job sees what a container's runtime would show it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from freezingtime.errors import InputError
from freezingtime.images.guest_image import remove_image
from freezingtime.runs.options import RunOptions
from freezingtime.runs.own.system import own_name
from freezingtime.runs.plan import make_plan
from freezingtime.runs.run import run
from freezingtime.runs.script import Command
from tests.support.containerlib import busybox, directory, layer_of, make_layout, member, symlink
from tests.support.guestlib import GuestRun, Output

APPLETS = ("sh", "cat", "env", "id", "ls", "pwd", "stat")


def run_container(
    guest: str, command: Command | bytes, *disks: str, exit_status: int = 0, **options: Any
) -> GuestRun:
    """Run a job in a container's image; it must end so, exactly."""
    plan = make_plan(RunOptions(guest=guest, **options), disks=disks, script=command)
    output = Output()
    result = run(plan, output)
    ran = GuestRun(result, bytes(output.stdout), bytes(output.stderr))
    assert result.job.exit_status == exit_status, ran.stderr.decode() + ran.stdout.decode()
    assert result.valid
    return ran


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    lower = layer_of(
        directory("bin"),
        (member("bin/busybox", mode=0o755), busybox()),
        *(symlink(f"bin/{name}", "busybox") for name in APPLETS),
        ("etc/passwd", b"root:x:0:0::/root:/bin/sh\npg:x:70:70::/data:/bin/sh\n"),
        ("etc/group", b"root:x:0:\npg:x:70:\nssl:x:101:pg\n"),
        directory("data", uid=70, gid=70, mode=0o700),
        directory("run/pg", uid=70, gid=70, mode=0o2775),
        (member("suid", mode=0o4755, uid=70, gid=3_000_000), b"x"),
        ("gone", b"1"),
    )
    entry = b'#!/bin/sh\necho "entry $#: $*"\nexec "$@"\n'
    upper = layer_of(".wh.gone", (member("entry", mode=0o755), entry))
    settings = {
        "Entrypoint": ["/entry"],
        "Cmd": ["id"],
        "Env": ["GREETING=good day", "PATH=/bin"],
        "User": "pg",
        "WorkingDir": "/data",
    }
    path = make_layout(tmp_path_factory.mktemp("image") / "layout", [lower, upper], settings)
    yield f"oci:{path}"
    plan = make_plan(RunOptions(guest=f"oci:{path}"), disks=[], script=Command())
    assert plan.system is not None
    remove_image(own_name(plan.system))


@pytest.mark.guest
class TestBusybox:
    """An image without a distribution: one static program, two layers."""

    def test_the_image_s_own_command_as_its_user(self, guest: str) -> None:
        ran = run_container(guest, Command())
        assert ran.stdout == b"entry 1: id\nuid=70(pg) gid=70(pg) groups=101(ssl)\n"

    def test_a_command_behind_the_entrypoint(self, guest: str, tmp_path: Path) -> None:
        """What it sees; the second run is the first again, and its image the one that is there."""
        line = (
            "pwd; env; ls /; ls -A /data /tmp; stat -c '%A %u:%g' /suid /data /run/pg /dev/shm; "
            "cat /etc/hosts; echo kept >made; ls /dev/vda"
        )
        ran, again = (
            run_container(
                guest, Command(line=line), "constant:1ms", out=tmp_path / name, collect=["made"]
            )
            for name in ("run", "again")
        )
        out = ran.stdout.decode()
        assert out.startswith(f"entry 3: /bin/sh -c {line}\n/data\n")
        for wanted in (
            "GREETING=good day", "HOME=/data", "PATH=/bin", "FREEZINGTIME_SEED=0",
            "-rwsr-xr-x 70:3000000", "drwx------ 70:70", "drwxrwsr-x 70:70", "drwxrwxrwt 0:0",
            "127.0.0.1 localhost guest", "/dev/vda",
        ):  # fmt: skip
            assert f"\n{wanted}\n" in out
        assert "gone" not in out
        assert "container" not in out
        assert (tmp_path / "run/collected/made").read_text() == "kept\n"
        assert again.stdout == ran.stdout
        assert again.result.job.end_ns == ran.result.job.end_ns
        assert again.result.image == ran.result.image

    def test_scripts_and_statuses_without_the_entrypoint(self, guest: str) -> None:
        script = b"#!/bin/sh\nid -u; pwd; exit 7\n"
        assert run_container(guest, script, exit_status=7).stdout == b"70\n/data\n"
        ran = run_container(guest, Command(("/no/such",)), exit_status=127)
        assert b"/no/such" in ran.stderr


def test_without_anything_to_start(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "layout", [layer_of("a")])
    with pytest.raises(InputError, match="neither an entrypoint nor a command of its own; give a"):
        make_plan(RunOptions(guest=f"oci:{layout}"), disks=[], script=Command())
    with pytest.raises(InputError, match=r"give one of: a COMMAND behind '--'"):
        make_plan(RunOptions(), disks=[], script=Command())
    with pytest.raises(InputError, match=r"--kernel: is for a system of your own"):
        make_plan(RunOptions(guest=f"oci:{layout}", kernel="k"), disks=[], script=Command(("a",)))
