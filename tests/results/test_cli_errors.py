# SPDX-License-Identifier: GPL-2.0-or-later
"""What the program says to bad input: one line that names the cure, the right status, no traces."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from freezingtime.vm.qemu.program import VARIABLE
from tests.cli.conftest import RunHere
from tests.conftest import PROGRAM, RunProgram, require_root, require_tool
from tests.support.agentlib import CURE

FAILED, BAD_INPUT = 1, 2
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")


def complaint(
    freezingtime: RunProgram | RunHere,
    *arguments: str | Path,
    status: int = BAD_INPUT,
    **options: object,
) -> str:
    """Run what must fail; return the one line that it says, without the program's name."""
    ended = freezingtime(*arguments, **options)
    assert ended.returncode == status, ended.stderr
    assert ended.stdout == ""
    match = re.fullmatch(r"freezingtime: ([^\n]+)\n", ended.stderr)
    assert match, ended.stderr
    return match[1]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(1 << 20))
    return path


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Whatever the program makes in its temporary and working directory must be gone."""
    scratch, work = tmp_path_factory.mktemp("scratch"), tmp_path_factory.mktemp("work")
    scratch.chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.chdir(work)
    yield
    assert list(scratch.iterdir()) == []
    assert list(work.iterdir()) == []


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[None]:
    require_root()
    directory.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "run --disk nosuch:1us -- true",
            "--disk: unknown device 'nosuch:1us'; 'freezingtime devices PATTERN' searches the",
        ),
        ("run --disk constant:10xx -- true", "bad time '10xx': write a number and a unit"),
        ("run --disk constant:1.5ns -- true", "must be a whole number of nanoseconds"),
        ("run --disk constant -- true", "device 'constant' needs a time: constant:10us"),
        ("run --disk constant:1us,size=1XB -- true", "size=1XB: bad size '1XB': write a number"),
        ("run --disk constant:1us,size=513 -- true", "must be a positive multiple of 512 bytes"),
        ("run --disk constant:1us,foo=1 -- true", "unknown key 'foo'; the device 'constant' has"),
        ("run --disk aws-gp3,foo=1 -- true", "unknown key 'foo'; a disk has medium, size,"),
        ("run --disk constant:1us,size=1M,size=2M -- true", "size= is given twice; keep one"),
        ("run --disk constant:1us,name=a/b -- true", "name=a/b: write up to 63 letters"),
        ("run --disk constant:1us,medium=tape -- true", "unknown medium; write memory or file:"),
        ("run --disk constant:1us,writable=yes -- true", "only for files; add medium=file:PATH"),
        (
            "run --disk constant:1us,name=a --disk constant:2us,name=a -- true",
            "--disk: duplicate disk name: a, a; use name=NAME",
        ),
        (
            "run --disk constant:1us,name=disk2 --disk constant:2us -- true",
            "--disk: duplicate disk name: disk2, disk2; use name=NAME",
        ),
        (
            f"run{' --disk constant:1us,size=1MiB' * 29} -- true",
            "--disk: 29 disks; a machine takes at most 28",
        ),
        ("run --memory 5x -- true", "--memory: bad size '5x': write a number of bytes"),
        ("run --memory 64MiB -- true", "--memory 64MiB: must be whole MiB, from 128MiB to 256GiB"),
        ("run --memory 1TiB -- true", "--memory 1TiB: must be whole MiB, from 128MiB to 256GiB"),
        ("run --cpu-rate fast -- true", "--cpu-rate: bad rate 'fast': write a number per second"),
        ("run --cpu-rate 0 -- true", "--cpu-rate: bad rate '0': must be more than 0"),
        ("run --cpu-rate 999999 -- true", "--cpu-rate 999999: must be from 1M to 16G"),
        ("run --cpu-rate 17G -- true", "--cpu-rate 17G: must be from 1M to 16G"),
        ("run --medium-deadline soon -- true", "--medium-deadline: bad time 'soon': write"),
        ("run --medium-deadline 0 -- true", "--medium-deadline 0: must be more than 0"),
        ("run --seed -1 -- true", "invalid value for '--seed'"),
        ("run --seed one -- true", "invalid value for '--seed'"),
        ("run", "give one of: a COMMAND behind '--', --script FILE, --job DIR"),
        ("run --script /etc/passwd -- true", "give one of: a COMMAND behind '--', --script FILE"),
        ("run --job /etc -- true", "give one of: a COMMAND behind '--', --script FILE, --job DIR"),
        ("run --job nosuch", "--job nosuch: no such directory; name one with a program 'run'"),
        ("run --job /etc", "--job /etc: run: No such file or directory; put a program or script"),
        ("run --collect x -- true", "--collect: the files go to the run directory; set it with"),
        ("run --time-limit 0 -- true", "--time-limit 0: must be more than 0, such as 60s"),
        ("run --real-time-limit x -- true", "--real-time-limit: bad time 'x': write a number"),
        ("run --boot-deadline 0 -- true", "--boot-deadline 0: must be more than 0, such as 60s"),
        ("run --guest nosuch -- true", "--guest nosuch: no image 'nosuch'; available: "),
        ("run --guest ./nosuch.qcow2 -- true", "--guest nosuch.qcow2: No such file or directory;"),
        ("run --guest /etc/passwd -- true", "--guest /etc/passwd: has "),
        ("run --guest ./x --kernel /k -- true", "--kernel and --initrd go together; leave both"),
        ("run --kernel k --initrd i -- true", "--kernel: only for your own system; name its"),
        ("run --append x -- true", "--append: only for your own system; name its disk with"),
        ("run --root-device constant:1us,size=1M -- true", "name, size, medium and contr"),
        ("image build debian --packages a,/b", "--packages: '/b' is not a package name"),
        ("image build debian --size 1MiB", "--size 1MiB: must be whole MiB, from 512MiB to"),
        (
            "image build debian --file-system fat",
            "--file-system fat: must be one of ext4, xfs, btrfs",
        ),
        ("image build debian --name mini", "--name mini: write up to 41 small letters"),
        ("run --script nosuch.sh", "--script nosuch.sh: No such file or directory; name a read"),
        ("run --script /", "--script /: Is a directory; name a readable file"),
        ("run --script /etc/passwd", "--script /etc/passwd: must begin with '#!', such as"),
        ("run --out /proc/nosuch -- true", "--out /proc/nosuch: not writable"),
        ("run --out /etc/passwd -- true", "--out /etc/passwd: not writable"),
        ("run --qemu nonexistent -- true", "install it with 'apt-get install qemu-system-x86'"),
        ("run --qemu /etc/passwd -- true", "install it with 'apt-get install qemu-system-x86'"),
        ("run --memry 1G -- true", "no such option: --memry"),
        ("run --disk", "option '--disk' requires an argument; see 'freezingtime"),
        ("serve", "missing argument 'SPEC'; see 'freezingtime serve --help'"),
        ("serve constant:1us", "missing option '--socket'; see 'freezingtime serve --help'"),
        ("serve nosuch --socket s", "--disk: unknown device 'nosuch'; 'freezingtime dev"),
        ("serve constant:1us s --socket s", "see 'freezingtime serve --help'"),
        (
            "serve constant:1us --socket s --out /dev/null",
            "--out /dev/null: is not a regular file; name a",
        ),
        ("export", "missing argument 'RUN'; see 'freezingtime export --help'"),
        ("export . --format csv", "missing option '--out'"),
        ("export . --format xml -o x", "--format xml: unknown format; available: csv, fio-lat, "),
        ("export . --format csv -o x", ".: is not a run: it has no requests.parquet; name a run"),
        ("export nowhere --format csv -o x", "nowhere: no such file; name a run's directory or"),
        ("replay nowhere --device constant:1us", "nowhere: No such file or directory; name a"),
        ("replay . --device constant:1us", ".: is not a run: it has no requests.parquet; name a"),
        (
            "image build nosuch",
            "image build nosuch: unknown kind of image; available: mini, debian",
        ),
        ("image nosuch", "no such command 'nosuch'; see 'freezingtime image --help'"),
        ("image remove", "see 'freezingtime image remove --help'"),
        ("doctor extra", "(extra); see 'freezingtime doctor --help'"),
        ("nosuch", "no such command 'nosuch'; see 'freezingtime --help'"),
        ("--nosuch", "no such option: --nosuch"),
    ],
)
def test_bad_input_is_refused_in_one_line(run_here: RunHere, arguments: str, said: str) -> None:
    assert said in complaint(run_here, *arguments.split())


@pytest.mark.parametrize("command", ["run", "serve"])
@pytest.mark.parametrize(
    ("options", "size_bytes", "said"),
    [
        ("", None, "no such file; create it with 'truncate -s 1G {path}'"),
        ("", 0, "is empty; give it a size with 'truncate -s 1G {path}'"),
        ("", 1000, "1000 bytes is not a multiple of 512; pad it with 'truncate -s %512 {path}'"),
        (",size=2MiB", 1 << 20, "too small for size=2MiB, has 1MiB; extend it with 'truncate"),
    ],
)
def test_an_unfit_medium_is_refused(
    freezingtime: RunProgram,
    tmp_path: Path,
    command: str,
    options: str,
    size_bytes: int | None,
    said: str,
) -> None:
    path = tmp_path / "medium.raw"
    if size_bytes is not None:
        path.write_bytes(bytes(size_bytes))
    line = complaint(freezingtime, *on_disk(command, f"medium=file:{path}{options}"))
    assert line.startswith(f"--disk: medium=file:{path}: ")
    assert said.format(path=path) in line


def on_disk(command: str, options: str) -> list[str]:
    spec = f"constant:10us,{options}"
    if command == "run":
        return ["run", "--disk", spec, "--", "true"]
    return ["serve", spec, "--socket", "nbd.sock"]


@pytest.mark.parametrize("command", ["run", "serve"])
def test_a_directory_is_no_medium(freezingtime: RunProgram, tmp_path: Path, command: str) -> None:
    line = complaint(freezingtime, *on_disk(command, f"medium=file:{tmp_path}"))
    assert line == (
        f"--disk: medium=file:{tmp_path}: is a directory; name a file or a block device in it"
    )


@pytest.mark.parametrize("command", ["run", "serve"])
@pytest.mark.parametrize(
    ("mode", "options", "permission"), [(0o200, "", "u+r"), (0o444, ",writable=yes", "u+rw")]
)
def test_a_medium_that_may_not_be_opened_is_refused(
    freezingtime: RunProgram,
    disk: Path,
    command: str,
    mode: int,
    options: str,
    permission: str,
) -> None:
    prefix = as_nobody(freezingtime, disk.parent)
    disk.chmod(mode)
    line = complaint(
        freezingtime,
        *on_disk(command, f"medium=file:{disk}{options}"),
        prefix=prefix,
        environment={"XDG_CACHE_HOME": str(disk.parent / "cache")},
    )
    assert f"permission denied; allow it with 'chmod {permission} {disk}'" in line


def as_nobody(freezingtime: RunProgram, directory: Path) -> tuple[str, ...]:
    """What a command is prefixed with to run without root's rights, yet reach ``directory``."""
    if os.geteuid() != 0:
        return ()
    require_tool("setpriv")
    if freezingtime("--version", prefix=NOBODY).returncode != 0:
        pytest.skip("the interpreter is out of reach for other users")
    open_to_all(directory)
    return NOBODY


def open_to_all(directory: Path) -> None:
    """pytest's directories are private, but nobody must get at the file in one."""
    for parent in (directory, *directory.parents):
        if parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(parent.stat().st_mode | 0o055)


def test_an_immutable_file_is_not_writable(freezingtime: RunProgram, disk: Path) -> None:
    require_root()
    chattr = require_tool("chattr")
    if subprocess.run([chattr, "+i", disk], capture_output=True, check=False).returncode != 0:
        pytest.skip("no immutable files on this file system")
    try:
        line = complaint(freezingtime, *on_disk("serve", f"medium=file:{disk},writable=yes"))
        assert "permission denied" in line
    finally:
        subprocess.run([chattr, "-i", disk], check=True)


def test_a_file_on_a_read_only_mount_is_not_writable(
    freezingtime: RunProgram, tmp_path: Path
) -> None:
    directory = tmp_path / "fixed"
    with mounted(directory, "size=2m"):
        (directory / "disk.raw").write_bytes(bytes(1 << 20))
        subprocess.run(["mount", "-o", "remount,ro", directory], check=True)
        spec = f"medium=file:{directory}/disk.raw,writable=yes"
        line = complaint(freezingtime, *on_disk("run", spec))
        assert "is on a read-only file system; omit writable=yes" in line


def test_a_file_in_use_is_refused(freezingtime: RunProgram, disk: Path) -> None:
    flock = require_tool("flock")
    with subprocess.Popen(
        [flock, "--exclusive", str(disk), "sh", "-c", "echo; read x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        line = complaint(freezingtime, *on_disk("run", f"medium=file:{disk}"))
        assert "another process writes to it; wait for it to end, or use a copy" in line
        holder.communicate(b"\n")


def test_out_keeps_an_earlier_run(freezingtime: RunProgram, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_text("{}")
    line = complaint(freezingtime, "run", "--out", out, "--", "true")
    assert line == f"--out {out}: already contains a run; name another directory or remove it"
    assert [path.name for path in out.iterdir()] == ["run.json"]


def test_out_on_a_read_only_mount(freezingtime: RunProgram, tmp_path: Path) -> None:
    directory = tmp_path / "fixed"
    with mounted(directory, "ro"):
        line = complaint(freezingtime, "run", "--out", directory / "out", "--", "true")
        assert line == (
            f"--out {directory}/out: not writable (Read-only file system); name another directory"
        )


def test_without_qemu_the_cure_is_named(freezingtime: RunProgram, tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path)}
    line = complaint(freezingtime, "run", "--qemu", "system", "--", "true", environment=environment)
    assert line.startswith("qemu-system-x86_64 is not installed; install it with 'apt-get install")


def test_without_network_another_qemu_is_taken_only_when_asked_for(
    freezingtime: RunProgram, tmp_path: Path
) -> None:
    """The one that is installed here is not the pinned one."""
    (tmp_path / "qemu-system-x86_64").symlink_to("/bin/true")
    environment = {
        "PATH": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "FREEZINGTIME_DEBIAN_MIRROR": "http://127.0.0.1:1/debian http://127.0.0.1:1/security",
        "FREEZINGTIME_QEMU": "",
    }
    ended = freezingtime("run", "-q", "--", "true", environment=environment)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(
        "freezingtime: cannot fetch the pinned QEMU (suite bookworm: cannot fetch its package lists"
    )
    assert line.endswith("; --qemu system takes the one that is installed")
    assert not (tmp_path / "cache/freezingtime/qemus").exists()


@pytest.mark.parametrize("there", [False, True])
def test_a_run_that_comes_to_nothing_leaves_out_as_it_was(
    freezingtime: RunProgram, tmp_path: Path, there: bool
) -> None:
    """Its guest cannot be built, which it learns when the directory is made."""
    require_tool("qemu-system-x86_64")
    out = tmp_path / "some/out"
    if there:
        out.mkdir(parents=True)
        (out / "notes").write_text("mine")
    environment = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "FREEZINGTIME_DEBIAN_MIRROR": "http://127.0.0.1:1/debian http://127.0.0.1:1/security",
    }
    run = ("run", "-q", "--qemu", "system", "--out", out, "--", "true")
    line = complaint(freezingtime, *run, status=FAILED, environment=environment)
    assert line.startswith("suite bookworm: cannot fetch its package lists")
    assert out.parent.exists() == there
    assert not there or [path.name for path in out.iterdir()] == ["notes"]


@pytest.mark.guest
@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("/bin/true", "this QEMU does not export "),
        ("/bin/false", "this QEMU does not export "),
        ("/bin/sh", "prints no QEMU version; "),
    ],
)
def test_a_program_that_is_no_qemu_is_refused(
    freezingtime: RunProgram, program: str, said: str
) -> None:
    line = complaint(freezingtime, "run", "--quiet", "--qemu", program, "--", "true")
    assert line.startswith(f"{program}: {said}")
    assert CURE in line
    assert "; on this host --qemu " in line


@pytest.mark.guest
def test_a_qemu_that_cannot_be_executed_is_refused(
    freezingtime: RunProgram, tmp_path: Path
) -> None:
    program = tmp_path / "qemu-system-x86_64"
    program.write_bytes(b"\x7fELF, but not really")
    program.chmod(0o755)
    line = complaint(freezingtime, "run", "--quiet", "--qemu", program, "--", "true")
    assert line.startswith(f"{program}: is not a Linux program ")
    assert CURE in line


@pytest.mark.parametrize("arguments", ["run -- true", "image build", "image remove mini"])
def test_a_cache_that_cannot_be_made_is_refused(
    freezingtime: RunProgram, tmp_path: Path, arguments: str
) -> None:
    """As where no QEMU is installed, and the pinned one would have to be fetched into it."""
    environment = {"XDG_CACHE_HOME": "/proc/nosuch", "PATH": str(tmp_path), VARIABLE: ""}
    line = complaint(freezingtime, *arguments.split(), environment=environment)
    assert line.startswith("cannot write to the cache directory /proc/nosuch/freezingtime (")
    assert line.endswith("): set XDG_CACHE_HOME to a writable directory")


@pytest.mark.parametrize("arguments", ["run -- true", "image list", "snapshot list", "doctor"])
def test_a_cache_of_another_user_is_refused(
    freezingtime: RunProgram, disk: Path, arguments: str
) -> None:
    cache = disk.parent / "cache"
    cache.mkdir(mode=0o700)
    prefix = as_nobody(freezingtime, disk.parent)
    if not prefix:
        cache.chmod(0)
    ended = freezingtime(
        *arguments.split(), prefix=prefix, environment={"XDG_CACHE_HOME": str(cache)}
    )
    cache.chmod(0o700)
    assert ended.returncode in (1, BAD_INPUT)
    assert (
        f"cannot read the cache directory {cache}/freezingtime (Permission denied): "
        "set XDG_CACHE_HOME to a directory that you own"
    ) in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_read_only_cache_is_refused(freezingtime: RunProgram, tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    with mounted(directory, "ro"):
        environment = {"XDG_CACHE_HOME": str(directory)}
        line = complaint(freezingtime, "run", "--", "true", environment=environment)
        assert "Read-only file system" in line
        assert line.endswith("): set XDG_CACHE_HOME to a writable directory")


def test_removing_an_image_that_is_not_there(freezingtime: RunProgram, tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    line = complaint(freezingtime, "image", "remove", "nosuch", environment=environment)
    assert line == "no image has the name or id prefix 'nosuch'; there are: none"


@pytest.mark.guest
def test_a_full_scratch_ends_the_run_and_names_the_medium(
    freezingtime: RunProgram, disk: Path, tmp_path: Path
) -> None:
    """The guest must not see the medium's fault: guest time ends before the failed write."""
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    scratch = tmp_path / "tiny"
    job = "dd if=/dev/urandom of=/dev/vda bs=1M count=32 oflag=direct"
    with mounted(scratch, "size=4m"):
        line = complaint(
            freezingtime,
            *("run", "--quiet", "--disk", f"constant:10us,medium=file:{disk}"),
            *("--", *job.split()),
            environment={"TMPDIR": str(scratch)},
            status=FAILED,
        )
        assert list(scratch.iterdir()) == []
    assert f"copy-on-write file in {scratch}: cannot write" in line
    assert line.endswith(
        "No space left on device; free space there, or set TMPDIR to a larger directory"
    )
    assert disk.read_bytes().count(0) == 64 << 20


# Help, version, completion.


def test_version(freezingtime: RunProgram) -> None:
    ended = freezingtime("--version")
    assert ended.returncode == 0
    assert re.fullmatch(r"freezingtime \d+\.\d+\.\d+\S*\n", ended.stdout)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", ["run", "serve", "doctor", "image", "--version"]),
        (
            "run",
            [
                *("--disk", "--script", "--cpu-rate", "--memory", "--seed", "--out", "--json"),
                *("--allow-late", "--boot", "--quiet", "--medium-deadline", "--qemu"),
                *("medium=file:PATH", "size=SIZE", "writable=yes", "direct=yes", "delay=TIME"),
                "name=NAME",
            ],
        ),
        ("export", ["RUN", "--format", "--out", "--disk", "fio-iolog", "btt"]),
        ("serve", ["SPEC", "--socket", "--seed", "medium=file:PATH", "name=NAME"]),
        ("doctor", ["what to install"]),
        ("image", ["build", "list", "remove"]),
        ("image build", ["mini"]),
        ("image list", ["cache"]),
        ("image remove", ["Name, or prefix of an id"]),
    ],
)
@pytest.mark.parametrize(("flag", "columns"), [("--help", "80"), ("-h", "200")])
def test_help_mentions_everything_and_cuts_nothing_short(
    freezingtime: RunProgram, command: str, words: list[str], flag: str, columns: str
) -> None:
    ended = freezingtime(*command.split(), flag, environment={"COLUMNS": columns})
    assert ended.returncode == 0
    assert ended.stderr == ""
    for word in words:
        assert word in ended.stdout, ended.stdout
    assert "…" not in ended.stdout
    for line in ended.stdout.splitlines():  # Typer's own options are as they are
        assert "<bool>" not in line


def test_what_follows_the_command_is_the_commands_own(
    freezingtime: RunProgram, tmp_path: Path
) -> None:
    """Options behind COMMAND are not ours, with or without ``--``: the bad one is not noticed."""
    environment = {"PATH": str(tmp_path)}
    for between in ([], ["--"]):
        line = complaint(
            *(freezingtime, "run", "--qemu", "system", *between, "fio", "--seed", "x"),
            environment=environment,
        )
        assert line.startswith("qemu-system-x86_64 is not installed")


def test_completion_completes(freezingtime: RunProgram) -> None:
    environment = {
        "_FREEZINGTIME_COMPLETE": "complete_bash",
        "COMP_WORDS": "freezingtime do",
        "COMP_CWORD": "1",
    }
    assert freezingtime(environment=environment).stdout.split() == ["doctor"]


def test_completion_for_bash_is_shown() -> None:
    """The shell is found by looking at the parents, so there must be one."""
    bash = require_tool("bash")
    ended = subprocess.run(
        [bash, "-c", f"{PROGRAM} --show-completion; exit $?"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "complete -o default -F _freezingtime_completion freezingtime" in ended.stdout


def test_output_that_nobody_reads_is_no_traceback() -> None:
    bash = require_tool("bash")
    command = f"{PROGRAM} doctor | true; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        [bash, "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr


def test_a_script_without_end_is_refused(freezingtime: RunProgram) -> None:
    done = freezingtime("run", "--script", "/dev/zero")
    assert done.returncode == 2
    assert "--script /dev/zero: is longer than 1 MiB" in done.stderr


@pytest.mark.parametrize("command", ["guest.run", "guest.doctor", "guest.shell", "guest.image"])
def test_what_runs_a_guest_does_not_wait_for_numpy(command: str) -> None:
    code = f"import sys, freezingtime.cli.{command}; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
