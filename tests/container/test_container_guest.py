# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests of container images: a job sees what a container's runtime would show it."""

from __future__ import annotations

import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import freezingtime as ft
from freezingtime.application.clock_tie import ClockTie
from freezingtime.errors import GuestError, InputError
from freezingtime.images.container.plan import parse_container
from freezingtime.images.guest_image import find_image, remove_image
from freezingtime.runs.options import RunOptions
from freezingtime.runs.own import container
from freezingtime.runs.own.system import own_name
from freezingtime.runs.plan import make_plan
from freezingtime.runs.run import run
from freezingtime.runs.script import Command
from tests.conftest import require_root, require_tool
from tests.support.containerlib import (
    busybox,
    digest_of,
    directory,
    layer_of,
    make_docker_archive,
    make_layout,
    member,
    symlink,
)
from tests.support.guestlib import GuestRun, Output, run_guest

APPLETS = ("sh", "cat", "env", "grep", "id", "ls", "pwd", "stat")


def run_container(
    guest: str, command: Command | bytes, *disks: str, exit_status: int = 0, **options: Any
) -> GuestRun:
    """Run a job in a container's image; it must end so, exactly."""
    plan = make_plan(RunOptions(guest=guest, disks=disks, **options), script=command)
    output = Output()
    result = run(plan, output)
    ran = GuestRun(result, bytes(output.stdout), bytes(output.stderr))
    assert result.job.exit_status == exit_status, ran.stderr.decode() + ran.stdout.decode()
    assert result.valid
    return ran


def remove_guest(guest: str) -> None:
    plan = make_plan(RunOptions(guest=guest), script=Command(("x",)))
    assert plan.system is not None
    name = own_name(plan.system)
    if find_image(name) is not None:
        remove_image(name)


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
    remove_guest(f"oci:{path}")


@pytest.mark.guest
@pytest.mark.slow
class TestBusybox:
    """An image without a distribution: one static program, two layers."""

    def test_the_image_s_own_command_as_its_user(self, guest: str, only_named_qemu: str) -> None:
        """The image is made in the QEMU of the run, too."""
        remove_guest(guest)
        ran = run_container(guest, Command(), qemu=only_named_qemu)
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

    def test_the_guest_s_clock_is_read_if_its_user_may(self, guest: str, tmp_path: Path) -> None:
        """An image's user who may not read the control disk has a log without guest times."""
        line = 'echo "0 1 5 0 ${EPOCHREALTIME%.*} ${EPOCHREALTIME#*.}" >/tmp/pgbench_log.1'
        options: dict[str, Any] = {"collect": ["/tmp/pgbench_log*"]}
        ran = run_container(guest, Command(line=line), out=tmp_path / "as-pg", **options)
        assert isinstance(ran.result.realtime, str)
        assert "may not read the control disk" in ran.result.realtime
        files = [(member("bin/busybox", mode=0o755), busybox()), symlink("bin/sh", "busybox")]
        path = make_layout(tmp_path / "layout", [layer_of(directory("bin"), *files)], {})
        out = tmp_path / "as-root"
        ran = run_container(f"oci:{path}", Command(line=line), out=out, **options)
        remove_guest(f"oci:{path}")
        assert isinstance(ran.result.realtime, ClockTie)
        [ended_ns] = ft.open_run(out).slow_operations().end_ns
        assert ran.result.job.start_ns < ended_ns < ran.result.job.end_ns

    def test_a_disk_is_mounted_with_what_the_image_has_there(self, guest: str) -> None:
        """Before the job: owner and content are the image's, and nothing else is on it."""
        line = (
            "grep -c '/dev/vd. ' /proc/mounts; grep /data /proc/mounts; "
            "ls -A . sub; stat -c '%a %u' ."
        )
        ran = run_container(
            guest,
            Command(line=line),
            "constant:1ms,mount=/data",
            "constant:1ms,name=a-name-of-more-than-twenty-characters,mount=/data/sub",
            "constant:1ms,name=pg,mount=/run/pg,frontend=virtio-scsi",
        )
        assert ran.stdout.decode().splitlines()[1:] == [
            "2",
            "/dev/vda /data ext4 rw,relatime,noinit_itable 0 0",
            "/dev/vdb /data/sub ext4 rw,relatime,noinit_itable 0 0",
            ".:", "sub", "", "sub:", "700 70",
        ]  # fmt: skip


@pytest.mark.guest
def test_a_disk_of_the_mini_guest_is_mounted(tmp_path: Path) -> None:
    """A file that has a file system on it keeps it, and is not formatted again."""
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    spec = f"constant:1ms,medium=file:{disk},writable=yes,mount=/mnt/new/data"
    for number in (1, 2):
        ran = run_guest("cd /mnt/new/data; cat kept; echo kept >>kept; ls -A", spec)
        assert ran.stdout.decode() == "kept\n" * number
    disk.write_bytes(b"something else".ljust(64 << 20, b"\0"))
    with pytest.raises(GuestError, match=r"cannot mount /dev/vda as ext4 on /mnt: "):
        run_guest("true", f"constant:1ms,medium=file:{disk},mount=/mnt")
    with pytest.raises(GuestError, match=r"fs=xfs: there is no mkfs.xfs in this guest"):
        run_guest("true", "constant:1ms,mount=/mnt,fs=xfs")
    with pytest.raises(InputError, match="two disks have mount=/mnt; mount one elsewhere"):
        run_guest("true", *["constant:1ms,mount=/mnt"] * 2)


def other_cpu(path: Path) -> None:
    make_layout(path, [layer_of("a")], {"Cmd": ["a"]}, architecture="arm64")


def cut_short(path: Path) -> None:
    make_docker_archive(path, [layer_of(("a", bytes(5000)))], {"Cmd": ["a"]})
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def damaged_layer(path: Path) -> None:
    """Documents and the first layer are whole."""
    lower, upper = layer_of(("a", b"1")), layer_of(("b", b"2"))
    make_layout(path, [lower, upper], {"Cmd": ["a"]}, compress=bytes)
    blob = path / "blobs/sha256" / digest_of(upper).removeprefix("sha256:")
    blob.write_bytes(upper.replace(b"2", b"3"))


def no_file_system(path: Path) -> None:
    """Whole, but what it would be is no tree."""
    make_layout(path, [layer_of(("a", b"1"), ("a/b", b"1"))], {"Cmd": ["a"]})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (other_cpu, "is an image for linux/arm64"),
        (cut_short, "or is damaged"),
        (damaged_layer, "is damaged"),
        (no_file_system, "is not a directory"),
    ],
)
def test_what_is_refused_leaves_nothing(
    spoil: Callable[[Path], None], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(container, "ready_mini_guest", lambda progress, qemu: None)
    path = tmp_path / "image"
    spoil(path)
    plan = parse_container(f"oci:{path}")
    assert plan is not None
    with pytest.raises(InputError, match=rf"^--guest oci:{path}: .*{said}") as refused:
        container.import_container("refused", plan, lambda step, done, total: None)
    assert "\n" not in str(refused.value)
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert [path.name for path in left if path.name != "lock"] == []


def test_without_anything_to_start(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "layout", [layer_of("a")])
    with pytest.raises(InputError, match="neither an entrypoint nor a command; give a"):
        make_plan(RunOptions(guest=f"oci:{layout}"), script=Command())
    with pytest.raises(InputError, match=r"give one of: a COMMAND behind '--'"):
        make_plan(RunOptions(), script=Command())
    with pytest.raises(InputError, match=r"--kernel: only for your own system"):
        make_plan(RunOptions(guest=f"oci:{layout}", kernel="k"), script=Command(("a",)))


ENTRYPOINT = rb"""#!/bin/sh
set -e
PATH=$PATH:/usr/lib/postgresql/15/bin
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --no-locale --encoding=UTF8 --data-checksums >/dev/null
fi
pg_ctl -w -l /tmp/postgresql.log -o "-k /tmp" start >/dev/null
"$@"
pg_ctl -w -m fast stop >/dev/null
"""

TRANSACTIONS = 100


@pytest.mark.guest
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_postgresql_of_a_debian_image(tmp_path: Path) -> None:
    """A saved image with an entrypoint that makes the database on a volume, on two devices.

    The database is whole, a second run is the first again, and the figures are the devices'.
    """
    require_root()  # mmdebstrap's tar archive has all owners then
    require_tool("mmdebstrap")
    tree = tmp_path / "debian.tar"
    build = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=postgresql", "bookworm"]
    subprocess.run([*build, tree], check=True)
    with tarfile.open(tree) as tar:
        home = tar.getmember("./var/lib/postgresql")
    data = "/var/lib/postgresql/data"
    upper = layer_of(
        (member("usr/local/bin/entrypoint", mode=0o755), ENTRYPOINT),
        directory(data.lstrip("/"), mode=0o700, uid=home.uid, gid=home.gid),
    )
    settings = {
        "Entrypoint": ["entrypoint"],
        "Env": [f"PGDATA={data}", "PGHOST=127.0.0.1"],
        "User": "postgres",
        "Cmd": ["psql", "-Atc", "select 1"],
    }
    archive = make_docker_archive(tmp_path / "pg.tar", [tree.read_bytes(), upper], settings)
    tree.unlink()
    job = Command(
        line=f"pgbench -q -i -s 1 postgres >&2; pgbench -n -c 2 -t {TRANSACTIONS // 2} postgres; "
        "psql -Atc 'select count(*), sum(delta) from pgbench_history' postgres; "
        "psql -Atc 'select sum(abalance) from pgbench_accounts' postgres; "
        "/usr/lib/postgresql/15/bin/pg_amcheck -a --install-missing && echo whole"
    )

    def measure(device: str) -> tuple[GuestRun, float]:
        ran = run_container(
            f"oci:{archive}", job, f"{device},size=2GiB,mount={data}", memory="1GiB"
        )
        text = ran.stdout.decode()
        history, accounts, whole = text.splitlines()[-3:]
        assert whole == "whole"
        assert history == f"{TRANSACTIONS}|{accounts}"
        latency = re.search(r"latency average = ([0-9.]+) ms", text)
        assert latency is not None
        return ran, float(latency[1])

    fast, fast_ms = measure("intel-optane-p5800x-1.6tb")
    again, _ = measure("intel-optane-p5800x-1.6tb")
    _, slow_ms = measure("wd-ultrastar-dc-hc310-6tb")
    assert again.stdout == fast.stdout
    assert again.result.job.end_ns == fast.result.job.end_ns
    # A transaction is one flush of the log at least; a disk turns once in 8.3 ms.
    assert fast_ms < 4 < slow_ms
