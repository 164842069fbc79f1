# SPDX-License-Identifier: GPL-2.0-or-later
"""The container image runs guests: as its user, without capabilities, network, KVM or a daemon."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from container.oci_archive import write_oci_archive

from tests.conftest import require_root, require_tool
from tests.support.doclib import ROOT

_RUN = (
    "run",
    "--disk",
    "constant:100us",
    "--",
    "dd",
    "if=/dev/vda",
    "of=/dev/null",
    "bs=4k",
    "iflag=direct",
)


def unpacked(archive: Path, directory: Path) -> Path:
    """A bundle for an OCI runtime, unpacked by a program that is not ours."""
    layout, bundle = directory / "layout", directory / "bundle"
    layout.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", layout], check=True)
    image = f"{layout}:freezingtime:latest"
    subprocess.run(["umoci", "unpack", "--image", image, bundle], check=True, capture_output=True)
    return bundle


class Container:
    """An image's bundle, whose settings are the image's but for the arguments."""

    def __init__(self, bundle: Path) -> None:
        self.bundle = bundle
        # What a runtime mounts on: the archive has no devices.
        for name in ("dev", "proc", "tmp"):
            (bundle / "rootfs" / name).mkdir(exist_ok=True)
        for directory in (bundle, bundle.parent):
            directory.chmod(0o755)
        self._settings = json.loads((bundle / "config.json").read_text())

    @property
    def process(self) -> dict[str, object]:
        return dict(self._settings["process"])

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the image's entrypoint with other arguments, with nothing that root has."""
        process = self._settings["process"]
        user = process["user"]
        unprivileged = ["setpriv", f"--reuid={user['uid']}", f"--regid={user['gid']}"]
        contained = ["bwrap", "--unshare-all", "--die-with-parent", "--clearenv"]
        for setting in process["env"]:
            contained += ["--setenv", *setting.split("=", 1)]
        mounts = ["--bind", str(self.bundle / "rootfs"), "/", "--proc", "/proc", "--dev", "/dev"]
        return subprocess.run(
            [
                *(*unprivileged, "--clear-groups", "--no-new-privs"),
                *(*contained, *mounts, "--tmpfs", "/tmp", "--chdir", process["cwd"]),
                *(process["args"][0], *arguments),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


@pytest.fixture(scope="module")
def container() -> Iterator[Container]:
    """The image that ``make container`` makes, where others may reach it: pytest's are private."""
    require_root()
    for tool in ("make", "mmdebstrap", "umoci", "bwrap"):
        require_tool(tool)
    made = subprocess.run(
        ["make", "-C", str(ROOT), "container", f"VENV={sys.prefix}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    print(made.stdout.splitlines()[-2])
    (archive,) = (ROOT / "dist").glob("*-oci.tar")
    with tempfile.TemporaryDirectory() as directory:
        yield Container(unpacked(archive, Path(directory)))


@pytest.mark.slow
@pytest.mark.guest
def test_the_first_run_is_ready_at_once_and_exact(container: Container) -> None:
    assert container.process["user"]["uid"] == 1000  # type: ignore[index]
    start_s = time.monotonic()
    ran = container.run(*_RUN, "count=1000")
    print(f"{time.monotonic() - start_s:.1f} s: {ran.stderr}")
    assert ran.returncode == 0, ran.stderr
    assert "exact: 1003 of 1003 requests on time" in ran.stderr
    # Neither fetched, nor built, nor booted:
    assert not any(word in ran.stderr for word in ("fetch", "build", "unpack", "boot"))
    assert ran.stdout == ""


@pytest.mark.slow
def test_what_needs_no_guest_works_in_it(container: Container) -> None:
    replay = "replay --workload randread,bs=4k,qd=4,count=2k --device aws-gp3 --json --quiet"
    replayed = container.run(*replay.split())
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["devices"][0]["summaries"][0]["count"] == 2000


@pytest.mark.slow
def test_an_archive_is_what_others_read(tmp_path: Path) -> None:
    """Its layer, its settings, and no more."""
    for tool in ("umoci", "tar"):
        require_tool(tool)
    require_root()
    root, layer, archive = tmp_path / "root", tmp_path / "root.tar", tmp_path / "image.tar"
    (root / "srv").mkdir(parents=True)
    (root / "srv" / "file").write_text("content")
    subprocess.run(["tar", "-cf", layer, "-C", root, "."], check=True)
    settings = {"User": "1000:1000", "Env": ["A=b"], "Entrypoint": ["/srv/file"], "Cmd": ["c"]}
    write_oci_archive(layer, archive, settings, "freezingtime:latest", "2026-01-01T00:00:00+00:00")
    bundle = unpacked(archive, tmp_path)
    assert (bundle / "rootfs" / "srv" / "file").read_text() == "content"
    process = json.loads((bundle / "config.json").read_text())["process"]
    assert process["args"] == ["/srv/file", "c"]
    assert "A=b" in process["env"]
    assert process["user"]["uid"] == 1000
    assert sorted(path.name for path in tmp_path.glob("image*")) == ["image.tar"]
