# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration on other hosts: what its guests see must be the same to the nanosecond.

`make same-figures` runs this as a program. The hosts are bare Debian roots with nothing but Python,
in which the wheel is installed; the last one has lost its package tools as well. None has a QEMU.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import rich.console
import rich.table

from tests.install.roots import OpenRoot, debian_root

_REPOSITORY = Path(__file__).parents[2]
_PACKAGES = ("python3", "python3-venv", "ca-certificates")
#: What makes a Debian of a host; Python has what it needs without.
_PACKAGE_TOOLS = (
    "rm -rf /usr/bin/apt* /usr/bin/dpkg* /usr/bin/gpgv /usr/bin/sqv /usr/lib/apt /usr/lib/dpkg "
    "/usr/share/keyrings /etc/apt /etc/dpkg /var/lib/apt /var/lib/dpkg"
)
#: Prints what guests see of all devices and media of the demonstration.
_FIGURES = """
import json, sys
sys.path.insert(0, "/demo")
import demo
from rich.console import Console
from rich.progress import Progress
figures = {}
with Progress(console=Console(stderr=True)) as progress:
    for latency in demo.DEVICES:
        for medium in demo.MEDIA:
            result, seen = demo.run_one(latency, medium, demo.Watcher(progress))
            assert result.valid, (latency, medium)
            guest_ns = result.job.end_ns - result.job.start_ns
            figures[f"{latency}, {medium}"] = [seen["mean"], seen["p99"], guest_ns]
versions = result.as_dict()["versions"]
print(json.dumps({"versions": versions, "figures": figures}))
"""


class Host(NamedTuple):
    """A root, and whether it keeps its package tools."""

    name: str
    suite: str
    has_package_tools: bool = True


HOSTS = (
    Host("bookworm", "bookworm"),
    Host("trixie", "trixie"),
    Host("bare", "trixie", has_package_tools=False),
)


def main() -> int:
    """Run the demonstration on all hosts; 1 unless the figures are the same on all."""
    names = sys.argv[1:] or [host.name for host in HOSTS]
    table = rich.table.Table("host", "Python", "QEMU, by digest", "guest image", "figures")
    first: dict[str, list[float]] | None = None
    status = 0
    with tempfile.TemporaryDirectory() as directory:
        wheel = _build_wheel(Path(directory))
        for host in (host for host in HOSTS if host.name in names):
            versions, figures = _measure(host, wheel)
            first = first or figures
            same = figures == first
            status |= not same
            print(host.name, json.dumps(figures), flush=True)
            qemu = f"{versions['qemu'].split()[0]}, {versions['qemu_sha256'][:12]}"
            image = f"{versions['image'][:12]}, Linux {versions['kernel']}"
            table.add_row(host.name, versions["python"], qemu, image, "same" if same else "OTHER")
    console = rich.console.Console(width=120)
    console.print(table)
    seen = rich.table.Table("device, medium", "mean ns", "p99 ns", "guest time ns")
    for what, values in (first or {}).items():
        seen.add_row(what, *(f"{value:,.1f}".removesuffix(".0") for value in values))
    console.print(seen)
    return status


def _build_wheel(directory: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", directory]
    subprocess.run([*command, _REPOSITORY], check=True)
    (wheel,) = directory.glob("*.whl")
    return wheel


def _measure(host: Host, wheel: Path) -> tuple[dict[str, str], dict[str, list[float]]]:
    mounts = {f"/wheel/{wheel.name}": wheel, "/demo": _REPOSITORY / "demo"}
    with debian_root(host.suite, _PACKAGES, mounts=mounts) as root:
        root.check("python3", "-m", "venv", "/venv")
        root.check("/venv/bin/pip", "install", "-q", f"/wheel/{wheel.name}")
        if not host.has_package_tools:
            root.check("sh", "-c", _PACKAGE_TOOLS)
        _require_bare(root, host)
        printed = root.check("/venv/bin/python", "-c", _FIGURES, environment={"HOME": "/home"})
    found = json.loads(printed.splitlines()[-1])
    return found["versions"], found["figures"]


def _require_bare(root: OpenRoot, host: Host) -> None:
    """See to it that a host lacks what it is to lack."""
    absent = ["qemu-system-x86_64", "cc"]
    absent += [] if host.has_package_tools else ["apt-get", "dpkg", "dpkg-deb", "gpgv"]
    for program in absent:
        if root.run("sh", "-c", f"command -v {program}").returncode == 0:
            raise AssertionError(f"{host.name} has {program}")


if __name__ == "__main__":
    sys.exit(main())
