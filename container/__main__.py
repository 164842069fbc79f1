# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m container``: the container image as an OCI archive, without a registry or a daemon.

mmdebstrap makes the Debian that Containerfile begins with, and runs the same script in it. What the
image runs as is Containerfile's last lines, read from there.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from container.oci_archive import write_oci_archive

_ROOT = Path(__file__).parent.parent
_WHEELS = "freezingtime-*-manylinux*.whl"
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_DEADLINE_S = 3600.0


def main() -> int:
    """Build ``dist/freezingtime-VERSION-oci.tar`` of the wheel that is there."""
    wheels = sorted((_ROOT / "dist").glob(_WHEELS))
    if len(wheels) != 1:
        sys.exit(f"dist/{_WHEELS}: {len(wheels)} files; run 'make wheel' first")
    (wheel,) = wheels
    lines = (_ROOT / "Containerfile").read_text()
    version = wheel.name.split("-")[1]
    out = wheel.with_name(f"freezingtime-{version}-oci.tar")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "root.tar")
        _make_root(lines, wheel, root)
        created = datetime.fromtimestamp(root.stat().st_mtime, UTC).isoformat(timespec="seconds")
        write_oci_archive(root, out, run_settings(lines), "freezingtime:latest", created)
    print(f"{out.relative_to(_ROOT)}: {out.stat().st_size / 1e6:.0f} MB")
    print(f"podman load -i {out.relative_to(_ROOT)}, or skopeo copy oci-archive:... to a registry")
    return 0


def run_settings(lines: str) -> dict[str, Any]:
    """Return the "config" of an image from what Containerfile says of running it."""
    said = dict(re.findall(r"^(ENV|USER|WORKDIR|ENTRYPOINT|CMD) (.*)$", lines, re.MULTILINE))
    return {
        "User": said["USER"],
        "Env": shlex.split(said["ENV"]),
        "WorkingDir": said["WORKDIR"],
        "Entrypoint": json.loads(said["ENTRYPOINT"]),
        "Cmd": json.loads(said["CMD"]),
    }


def _make_root(lines: str, wheel: Path, out: Path) -> None:
    base = re.search(r"^FROM debian:(\w+)-slim$", lines, re.MULTILINE)
    packages = re.search(r"--no-install-recommends (.*?) \\$", lines, re.MULTILINE)
    assert base
    assert packages
    # A network whose certificates are its own: pip asks for the file, and where it is otherwise.
    certificates = os.environ.get("PIP_CERT")
    hooks = [
        'mkdir -p "$1/tmp/image" "$1/etc/ssl/certs"',
        f"copy-in {shlex.quote(str(_ROOT / 'container' / 'set-up'))} /tmp/image",
        f"copy-in {shlex.quote(str(wheel))} /tmp/image",
        *([f"upload {shlex.quote(certificates)} {_CERTIFICATES}"] if certificates else []),
        f'chroot "$1" /tmp/image/set-up /tmp/image/{wheel.name}',
        'rm -r "$1/tmp/image"',
        *([f'rm "$1{_CERTIFICATES}"'] if certificates else []),
    ]
    settings = dict(line.split("=", 1) for line in run_settings(lines)["Env"])
    environment = {**os.environ, **settings, "PATH": os.environ["PATH"]}
    if certificates:
        environment["PIP_CERT"] = _CERTIFICATES
    command = [
        *("mmdebstrap", "--variant=minbase", "--skip=output/dev", "--quiet"),
        f"--include={','.join(packages[1].split())}",
        # As in Debian's own images.
        '--dpkgopt=path-exclude="/usr/share/doc/*"',
        '--dpkgopt=path-exclude="/usr/share/man/*"',
        '--dpkgopt=path-exclude="/usr/share/locale/*"',
        *(f"--customize-hook={hook}" for hook in hooks),
        *(base[1], str(out)),
    ]
    subprocess.run(command, check=True, env=environment, timeout=_DEADLINE_S)


if __name__ == "__main__":
    sys.exit(main())
