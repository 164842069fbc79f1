# SPDX-License-Identifier: GPL-2.0-or-later
"""Bare Debian roots, made once by mmdebstrap and kept in the cache: other hosts to be tried out.

What a command does in a root is written to a layer of its own above it, which ends with the `with`
block: the next one finds the root as Debian made it. Each command has processes and mounts of its
own, which end with it, and nothing of the host's but what it is given, and its network.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezingtime.images.debian.mirror import find_mirror
from freezingtime.images.debian.suite import Suite
from freezingtime.store.cache import (
    cache_directory,
    exclusive_lock,
    publish,
    unfinished_directory,
)
from tests.conftest import require_tool, skip

_BUILD_DEADLINE_S = 1200.0
_COMMAND_DEADLINE_S = 1800.0
#: Where a host keeps the certificates that pip trusts, if its network has one of its own.
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
#: What a command has of the host's environment: how packages are reached.
_PASSED = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT")
#: /proc and /dev as a container has them. $1 is the root; the rest, the command.
_ENTER = """
set -e
root=$1; shift
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for name in null zero full random urandom tty; do
    : >"$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"; ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"
rm -f "$root/etc/resolv.conf"; cat /etc/resolv.conf >"$root/etc/resolv.conf"
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class OpenRoot:
    """A root that commands may run in and write to; ``mounts`` are host paths by their place."""

    lower: Path
    layer: Path
    mounts: Mapping[str, Path]

    def run(
        self,
        *command: str | Path,
        user: str = "root",
        directory: str = "/",
        environment: Mapping[str, str] | None = None,
        network: bool = True,
        timeout_s: float = _COMMAND_DEADLINE_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its status; its output is captured."""
        merged = self.layer / "root"
        layers = f"lowerdir={self.lower},upperdir={self.layer / 'upper'},workdir={self.layer}/work"
        lines = [f"mount -t overlay overlay -o {shlex.quote(layers)} {shlex.quote(str(merged))}"]
        for place, source in self.mounts.items():
            inside = shlex.quote(f"{merged}{place}")
            made = f"mkdir -p {inside}"
            if not source.is_dir():
                made = f'mkdir -p "$(dirname {inside})"; : >{inside}'
            lines += [made, f"mount --bind {shlex.quote(str(source))} {inside}"]
        script = "\n".join(["set -e", *lines, _ENTER])
        home = "/root" if user == "root" else f"/home/{user}"
        variables = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": home,
            "LANG": "C.UTF-8",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            **{name: os.environ[name] for name in _PASSED if name in os.environ},
            **({"PIP_CERT": str(_CERTIFICATES)} if _CERTIFICATES.exists() else {}),
            **(environment or {}),
        }
        inner = [
            *("chroot", f"--userspec={user}", str(merged), "/usr/bin/env", "-i", "-C", directory),
            *(f"{name}={value}" for name, value in variables.items()),
            *map(str, command),
        ]
        contained = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return subprocess.run(
            [
                *contained,
                *([] if network else ["--net"]),
                *("sh", "-c", script, "enter", str(merged), *inner),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )

    def check(self, *command: str | Path, **options: Any) -> str:
        """Run a command and return its stdout; show all that it said, and fail, if it fails."""
        done = self.run(*command, **options)
        if done.returncode != 0:
            sys.stdout.write(done.stdout)
            sys.stderr.write(done.stderr)
            words = shlex.join(map(str, command))
            raise AssertionError(f"exit status {done.returncode} in {self.lower.name}: {words}")
        return done.stdout

    def path(self, place: str) -> Path:
        """Where a file that a command wrote is on the host."""
        return self.layer / "upper" / place.lstrip("/")


@contextmanager
def debian_root(
    suite: str,
    packages: Sequence[str] = (),
    *,
    variant: str = "minbase",
    mounts: Mapping[str, Path] | None = None,
) -> Iterator[OpenRoot]:
    """A Debian of this suite with these packages and no others but what mmdebstrap's variant has.

    All roots share one cache of pip's, and know the host's certificates.
    """
    if os.geteuid() != 0:
        skip("only root may mount what a bare Debian needs")
    for tool in ("mmdebstrap", "unshare"):
        require_tool(tool)
    lower = _made_root(suite, sorted(packages), variant)
    pip_cache = cache_directory() / "test-roots" / "pip"
    pip_cache.mkdir(exist_ok=True)
    shared = {"/root/.cache/pip": pip_cache}
    if _CERTIFICATES.exists():
        shared[str(_CERTIFICATES)] = _CERTIFICATES
    layer = Path(tempfile.mkdtemp(prefix=f"{suite}-"))
    try:
        for name in ("upper", "work", "root"):
            (layer / name).mkdir()
        root = OpenRoot(lower, layer, {**shared, **(mounts or {})})
        if (reason := root.run("true")).returncode != 0:
            skip(f"no root can be entered here: {reason.stderr.strip()}")
        yield root
    finally:
        shutil.rmtree(layer, ignore_errors=True)


def _made_root(suite: str, packages: Sequence[str], variant: str) -> Path:
    """The directory of a root, made if it is not there."""
    mirror = find_mirror()
    parts = Suite(suite)
    sources = [f"deb {mirror.archive} {part} main" for part in parts.main_parts]
    sources += [f"deb {mirror.security} {part} main" for part in parts.security_parts]
    key = hashlib.sha256("\n".join([variant, *packages, *sources]).encode()).hexdigest()
    roots = cache_directory() / "test-roots"
    final = roots / f"{suite}-{key[:12]}"
    with exclusive_lock(roots / "lock"):
        if not final.is_dir():
            with unfinished_directory(roots) as building:
                _make_root(building / "root", suite, packages, variant, sources)
                publish(building / "root", final)
    return final


def _make_root(
    target: Path, suite: str, packages: Sequence[str], variant: str, sources: Sequence[str]
) -> None:
    command = ["mmdebstrap", f"--variant={variant}", "--quiet", "--mode=root"]
    if packages:
        command.append(f"--include={','.join(packages)}")
    done = subprocess.run(
        [*command, suite, str(target), *sources],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_BUILD_DEADLINE_S,
        check=False,
    )
    if done.returncode != 0:
        skip(f"mmdebstrap cannot make a root of {suite}: {done.stdout.strip()[-400:]}")
